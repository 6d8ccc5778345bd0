//! Parts of a message or of a tool's output: read from a client.

use serde_json::value::RawValue;

use super::members::{Extra, Members, keep, missing, wrong};
use crate::blocks::{CacheMark, Media, MediaKind, MediaSource, Part};
use crate::dialects::Dialect;
use crate::request::BadRequest;

/// A text, or a list of parts.
pub(super) fn read(raw: &RawValue, param: &'static str, extra: &mut Extra) -> Result<Vec<Part>, BadRequest> {
    let wanted = "a string or an array of parts";
    if raw.get().starts_with('"') {
        let text: String = serde_json::from_str(raw.get()).map_err(|_| wrong(param, wanted))?;
        return Ok(if text.is_empty() { Vec::new() } else { vec![Part::text(text)] });
    }
    let list: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| wrong(param, wanted))?;
    let mut parts = Vec::with_capacity(list.len());
    for raw in list {
        let mut part = Members::of(raw.get()).ok_or_else(|| wrong(param, wanted))?;
        let kind = part
            .text("type", "input.content.type")?
            .ok_or_else(|| missing("input.content.type", "each part of `content` must have a `type`"))?;
        match kind.as_str() {
            "input_text" | "output_text" | "text" => parts.extend(text(&mut part)?),
            "refusal" => {
                let text = part.text("refusal", "input.content.refusal")?.unwrap_or_default();
                parts.push(Part::Refusal { text });
            }
            "input_image" => parts.push(image(&mut part)?),
            "input_file" => parts.push(file(&mut part)?),
            "input_audio" => parts.push(audio(&mut part)?),
            _ => {
                let raw = keep(raw).ok_or_else(|| wrong(param, wanted))?;
                parts.push(Part::Unknown { dialect: Dialect::Responses, kind, raw });
                continue;
            }
        }
        part.rest("input.content.", extra);
    }
    Ok(parts)
}

fn text(part: &mut Members<'_>) -> Result<Option<Part>, BadRequest> {
    let text = part
        .text("text", "input.content.text")?
        .ok_or_else(|| missing("input.content.text", "a text part must have a `text`"))?;
    let annotations = part.list("annotations", "input.content.annotations")?.unwrap_or_default();
    let citations = annotations.into_iter().filter_map(keep).collect();
    // Of an answer: they say nothing to the model.
    part.take("logprobs");
    let cache = cache(part)?;
    Ok((!text.is_empty()).then_some(Part::Text { text, citations, opaque: None, cache }))
}

fn cache(part: &mut Members<'_>) -> Result<Option<CacheMark>, BadRequest> {
    let param = "input.content.prompt_cache_breakpoint";
    let Some(mut mark) = part.inner("prompt_cache_breakpoint", param)? else { return Ok(None) };
    Ok(Some(CacheMark { ttl: mark.text("ttl", param)? }))
}

fn image(part: &mut Members<'_>) -> Result<Part, BadRequest> {
    let url = part.text("image_url", "input.content.image_url")?;
    let id = part.text("file_id", "input.content.file_id")?;
    let (source, mime) = match (url, id) {
        (Some(url), _) => address(url, "input.content.image_url")?,
        (None, Some(id)) => (MediaSource::FileId(id), None),
        (None, None) => {
            let message = "an `input_image` must have an `image_url` or a `file_id`";
            return Err(missing("input.content.image_url", message));
        }
    };
    media(part, MediaKind::Image, source, mime, None)
}

fn file(part: &mut Members<'_>) -> Result<Part, BadRequest> {
    let data = part.text("file_data", "input.content.file_data")?;
    let url = part.text("file_url", "input.content.file_url")?;
    let id = part.text("file_id", "input.content.file_id")?;
    let name = part.text("filename", "input.content.filename")?;
    let (source, mime) = match (data, url, id) {
        (Some(data), ..) if data.starts_with("data:") => address(data, "input.content.file_data")?,
        (Some(data), ..) => (MediaSource::Base64(base64(data, "input.content.file_data")?), None),
        (None, Some(url), _) => (MediaSource::Url(url), None),
        (None, None, Some(id)) => (MediaSource::FileId(id), None),
        (None, None, None) => {
            let message = "an `input_file` must have `file_data`, a `file_url` or a `file_id`";
            return Err(missing("input.content.file_data", message));
        }
    };
    media(part, MediaKind::File, source, mime, name)
}

fn audio(part: &mut Members<'_>) -> Result<Part, BadRequest> {
    let param = "input.content.input_audio";
    let absent = || missing(param, "an `input_audio` must have `input_audio` with `data` and `format`");
    let mut sound = part.inner("input_audio", param)?.ok_or_else(absent)?;
    let data = sound.text("data", param)?.ok_or_else(absent)?;
    let format = sound.text("format", param)?.ok_or_else(absent)?;
    let mime = match format.as_str() {
        "mp3" => "audio/mpeg".to_owned(),
        other => format!("audio/{other}"),
    };
    media(part, MediaKind::Audio, MediaSource::Base64(base64(data, param)?), Some(mime), None)
}

fn media(
    part: &mut Members<'_>,
    kind: MediaKind,
    source: MediaSource,
    mime: Option<String>,
    name: Option<String>,
) -> Result<Part, BadRequest> {
    let detail = part.text("detail", "input.content.detail")?;
    let cache = cache(part)?;
    Ok(Part::Media(Media { kind, source, mime, name, detail, cache, extra: Vec::new() }))
}

/// A data URL taken apart, or an address.
fn address(url: String, param: &'static str) -> Result<(MediaSource, Option<String>), BadRequest> {
    let Some(inline) = url.strip_prefix("data:") else { return Ok((MediaSource::Url(url), None)) };
    let wanted = "an address, or a data URL in base64 (`data:image/png;base64,…`)";
    let (head, data) = inline.split_once(',').ok_or_else(|| wrong(param, wanted))?;
    let head = head.strip_suffix(";base64").ok_or_else(|| wrong(param, wanted))?;
    let mime = head.split(';').next().filter(|mime| !mime.is_empty()).map(str::to_owned);
    Ok((MediaSource::Base64(base64(data.to_owned(), param)?), mime))
}

/// Standard base64 of either alphabet, without line ends.
fn base64(mut data: String, param: &'static str) -> Result<String, BadRequest> {
    if data.bytes().any(|byte| matches!(byte, b'-' | b'_' | b'\r' | b'\n')) {
        data = data
            .chars()
            .filter(|letter| !matches!(letter, '\r' | '\n'))
            .map(|letter| match letter {
                '-' => '+',
                '_' => '/',
                other => other,
            })
            .collect();
        while !data.len().is_multiple_of(4) {
            data.push('=');
        }
    }
    let plain = data.trim_end_matches('=');
    let valid = plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'));
    if valid { Ok(data) } else { Err(wrong(param, "base64")) }
}
