//! Parts of a request written as content blocks.

use super::encoding::{decode, guess};
use super::json::{Object, Out, one_line};
use crate::blocks::{CacheMark, Media, MediaKind, MediaSource, Part, Raw, Refused, Request, Tool, Written};
use crate::dialects::Dialect;

/// The most cache marks of a request.
const MOST_MARKS: usize = 4;

/// Which cache marks are written: the last ones, since each covers all that stands before it.
pub(super) struct Marks {
    skip: usize,
}

impl Marks {
    /// For the marks of a request, of which `taken` are already used.
    pub(super) fn of(request: &Request, taken: usize) -> Self {
        let tools = request.tools.iter().filter(|tool| matches!(tool, Tool::Function { cache: Some(_), .. }));
        let parts = request.turns.iter().flat_map(|turn| &turn.parts);
        let marks = tools.count() + parts.map(marks_of).sum::<usize>();
        Self { skip: marks.saturating_sub(MOST_MARKS.saturating_sub(taken)) }
    }
}

fn marks_of(part: &Part) -> usize {
    let own = match part {
        Part::Text { cache, .. } => cache.is_some(),
        Part::Media(media) => media.cache.is_some(),
        Part::ToolCall(call) => call.cache.is_some(),
        Part::ToolResult(result) => {
            return usize::from(result.cache.is_some())
                + result.parts.iter().map(marks_inside).sum::<usize>();
        }
        Part::Reasoning(_) | Part::Refusal { .. } | Part::Unknown { .. } => false,
    };
    usize::from(own)
}

/// Results hold no results, so that this does not call itself.
fn marks_inside(part: &Part) -> usize {
    usize::from(match part {
        Part::Text { cache, .. } => cache.is_some(),
        Part::Media(media) => media.cache.is_some(),
        _ => false,
    })
}

/// Writes `cache_control`.
pub(super) fn write_cache(
    mark: Option<&CacheMark>,
    marks: &mut Marks,
    out: &mut Out<'_>,
    written: &mut Written,
) {
    let Some(mark) = mark else { return };
    if marks.skip > 0 {
        marks.skip -= 1;
        written.drop_param("cache_control");
        return;
    }
    let mut control = Out::object(out.key("cache_control"));
    control.text("type", "ephemeral");
    match mark.ttl.as_deref() {
        Some(ttl @ ("5m" | "1h")) => {
            control.text("ttl", ttl);
        }
        Some(_) => written.drop_param("cache_control"),
        None => {}
    }
    control.end();
}

/// Whether a text may stand in a block: the target refuses empty ones and those of white space alone.
pub(super) fn is_text(text: &str) -> bool {
    !text.trim().is_empty()
}

/// Writes a text block. Citations are kept only in the assistant's turns, the only place that takes them.
pub(super) fn write_text(
    part: (&str, &[Raw], Option<&CacheMark>),
    assistant: bool,
    marks: &mut Marks,
    list: &mut Out<'_>,
    written: &mut Written,
) {
    let (text, citations, cache) = part;
    let mut out = Out::object(list.item());
    out.text("type", "text").text("text", text);
    let own: Vec<&Raw> = citations.iter().filter(|raw| assistant && is_citation(raw)).collect();
    if own.len() < citations.len() {
        written.drop_param("annotations");
    }
    write_citations(&own, &mut out);
    write_cache(cache, marks, &mut out, written);
    out.end();
}

/// Writes `citations` where there are any.
pub(super) fn write_citations(own: &[&Raw], out: &mut Out<'_>) {
    if !own.is_empty() {
        let mut array = Out::array(out.key("citations"));
        for raw in own {
            one_line(raw.get(), array.item());
        }
        array.end();
    }
}

/// Whether a citation is of this dialect's shape.
pub(super) fn is_citation(raw: &Raw) -> bool {
    let kind = Object::read(raw.get()).and_then(|object| object.kind());
    matches!(
        kind.as_deref(),
        Some(
            "char_location"
                | "page_location"
                | "content_block_location"
                | "web_search_result_location"
                | "search_result_location"
        )
    )
}

/// Writes a picture or document, in a message or in a result.
pub(super) fn write_media(
    media: &Media,
    marks: &mut Marks,
    list: &mut Out<'_>,
    written: &mut Written,
) -> Result<(), Refused> {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::File => "document",
        MediaKind::Audio => return Err(refused("sound")),
        MediaKind::Video => return Err(refused("video")),
    };
    if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
        written.drop_param("detail");
    }
    let mut out = Out::object(list.item());
    out.text("type", kind);
    let verbatim = media.extra.iter().find(|(name, raw)| name == "source" && raw.is_object());
    match verbatim {
        Some((_, raw)) if kind == "document" => {
            out.raw("source", raw.get());
        }
        _ => write_source(media, &mut out)?,
    }
    for (name, raw) in &media.extra {
        match (kind, name.as_str()) {
            ("document", "context" | "citations") | ("image", "transformations") => {
                out.raw(name, raw.get());
            }
            ("document", "source") => {}
            _ => report(name, written),
        }
    }
    match &media.name {
        Some(name) if kind == "document" && !name.is_empty() => {
            out.text("title", name);
        }
        Some(_) if kind != "document" => report("filename", written),
        _ => {}
    }
    write_cache(media.cache.as_ref(), marks, &mut out, written);
    out.end();
    Ok(())
}

fn refused(what: &str) -> Refused {
    Refused::new("messages", format!("the target takes texts, images and documents, but no {what}"))
}

fn write_source(media: &Media, out: &mut Out<'_>) -> Result<(), Refused> {
    let is_image = media.kind == MediaKind::Image;
    let mut source = Out::object(out.key("source"));
    match &media.source {
        MediaSource::Url(url) => {
            let odd = !is_image && media.mime.as_deref().is_some_and(|mime| mime != "application/pdf");
            if odd {
                return Err(refused("documents by URL other than PDF"));
            }
            source.text("type", "url").text("url", url);
        }
        MediaSource::FileId(id) if id.starts_with("file_") => {
            source.text("type", "file").text("file_id", id);
        }
        MediaSource::FileId(id) => {
            let id: String = id.chars().take(80).collect();
            let message = format!("file `{id}` was uploaded to another provider: send its bytes");
            return Err(Refused::new("messages", message));
        }
        MediaSource::Text(_) if is_image => return Err(refused("text as an image")),
        MediaSource::Text(text) => plain(text, &mut source),
        MediaSource::Base64(data) => {
            let mime = media.mime.as_deref().map(plain_mime);
            let known = mime.filter(|mime| *mime != "application/octet-stream").or_else(|| guess(data));
            match (is_image, known) {
                (true, Some("image/jpg")) => bytes("image/jpeg", data, &mut source),
                (true, Some(mime @ ("image/jpeg" | "image/png" | "image/gif" | "image/webp"))) => {
                    bytes(mime, data, &mut source);
                }
                (true, _) => return Err(refused("images other than JPEG, PNG, GIF and WebP")),
                (false, Some(mime @ "application/pdf")) => bytes(mime, data, &mut source),
                (false, Some(mime)) if is_textual(mime) => {
                    let text = decode(data).and_then(|bytes| String::from_utf8(bytes).ok());
                    plain(&text.ok_or_else(|| refused("text files that are not UTF-8"))?, &mut source);
                }
                (false, _) => return Err(refused("documents other than PDF and plain text")),
            }
        }
    }
    source.end();
    Ok(())
}

fn plain_mime(mime: &str) -> &str {
    mime.split(';').next().unwrap_or_default().trim()
}

fn is_textual(mime: &str) -> bool {
    mime.starts_with("text/") || matches!(mime, "application/json" | "application/xml" | "application/yaml")
}

fn bytes(mime: &str, data: &str, source: &mut Out<'_>) {
    source.text("type", "base64").text("media_type", mime).text("data", data);
}

fn plain(text: &str, source: &mut Out<'_>) {
    source.text("type", "text").text("media_type", "text/plain").text("data", text);
}

/// Writes what is this dialect's own verbatim, and reports anything else.
pub(super) fn write_unknown(
    (dialect, kind, raw): (Dialect, &str, &Raw),
    list: &mut Out<'_>,
    written: &mut Written,
) {
    if dialect == Dialect::Messages && raw.is_object() {
        list.item().extend_from_slice(raw.get().as_bytes());
    } else {
        report(kind, written);
    }
}

/// Reports a name that a client made up. Of very many the rest is one, so that neither this nor the header that tells
/// them grows without bound.
pub(super) fn report(name: &str, written: &mut Written) {
    const MOST: usize = 64;
    let known = written.dropped.len() < MOST;
    written.drop_param(if known { name } else { "others" });
}
