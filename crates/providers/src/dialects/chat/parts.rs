//! The parts of a message's content: read into the form and written from it.

use serde_json::value::RawValue;

use super::json::Json;
use super::members::{Members, array, missing, own, text, wrong_type};
use crate::blocks::{CacheMark, Media, MediaKind, MediaSource, Part, Refused};
use crate::dialects::Dialect;
use crate::request::BadRequest;

const PARAM: &str = "messages";

/// `content`: a string or an array of parts. Empty texts are no parts.
pub(super) fn read_content(raw: &RawValue, path: &str) -> Result<Vec<Part>, BadRequest> {
    if let Some(text) = text(raw) {
        return Ok(if text.is_empty() { Vec::new() } else { vec![Part::text(text)] });
    }
    let items = array(raw).ok_or_else(|| wrong_type(PARAM, path, "a string or an array of content parts"))?;
    let mut parts = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let path = format!("{path}[{number}]");
        if let Some(text) = text(item) {
            // Some clients put bare strings into the array.
            parts.push(Part::text(text));
            continue;
        }
        let members = Members::of(item).ok_or_else(|| wrong_type(PARAM, &path, "an object"))?;
        parts.push(read_part(item, &members, &path)?);
    }
    parts.retain(|part| !matches!(part, Part::Text { text, cache: None, .. } if text.is_empty()));
    Ok(parts)
}

pub(super) fn read_part(raw: &RawValue, members: &Members<'_>, path: &str) -> Result<Part, BadRequest> {
    let kind = members.text("type").ok_or_else(|| missing(PARAM, &format!("{path}.type")))?.into_owned();
    let cache = cache_mark(members);
    let said = |name: &str| {
        let path = format!("{path}.{name}");
        let value = members.get(name).ok_or_else(|| missing(PARAM, &path))?;
        text(value).map(String::from).ok_or_else(|| wrong_type(PARAM, &path, "a string"))
    };
    Ok(match kind.as_str() {
        "text" => Part::Text { text: said("text")?, citations: Vec::new(), opaque: None, cache },
        "refusal" => Part::Refusal { text: said("refusal")? },
        "image_url" | "video_url" => {
            let path = format!("{path}.{kind}");
            let value = members.get(&kind).ok_or_else(|| missing(PARAM, &path))?;
            let of = Members::of(value).unwrap_or_default();
            let url = text(value)
                .or_else(|| of.text("url"))
                .ok_or_else(|| wrong_type(PARAM, &format!("{path}.url"), "a string"))?;
            let (source, mime) = from_url(&url);
            let detail = of.text("detail").map(String::from);
            let kind = if kind == "image_url" { MediaKind::Image } else { MediaKind::Video };
            Part::Media(Media { detail, cache, ..media(kind, source, mime) })
        }
        "input_audio" => {
            let of = inner(members, "input_audio", path)?;
            let data = of.text("data").ok_or_else(|| missing(PARAM, &format!("{path}.input_audio.data")))?;
            let (source, mime) =
                if data.starts_with("data:") { from_url(&data) } else { (base64(&data), None) };
            let mime = mime.or_else(|| of.text("format").map(|format| audio_mime(&format)));
            Part::Media(Media { cache, ..media(MediaKind::Audio, source, mime) })
        }
        "file" => read_file(&inner(members, "file", path)?, cache, path)?,
        _ => Part::Unknown {
            dialect: Dialect::Chat,
            kind,
            raw: own(raw).ok_or_else(|| wrong_type(PARAM, path, "an object"))?,
        },
    })
}

fn inner<'a>(members: &Members<'a>, name: &str, path: &str) -> Result<Members<'a>, BadRequest> {
    let path = format!("{path}.{name}");
    let value = members.get(name).ok_or_else(|| missing(PARAM, &path))?;
    Members::of(value).ok_or_else(|| wrong_type(PARAM, &path, "an object"))
}

fn read_file(of: &Members<'_>, cache: Option<CacheMark>, path: &str) -> Result<Part, BadRequest> {
    let (source, mime) = if let Some(data) = of.text("file_data") {
        // Some servers take an address here.
        if data.starts_with("data:") || data.starts_with("https://") || data.starts_with("http://") {
            from_url(&data)
        } else {
            (base64(&data), None)
        }
    } else if let Some(id) = of.text("file_id") {
        (MediaSource::FileId(id.into_owned()), None)
    } else {
        return Err(missing(PARAM, &format!("{path}.file.file_data")));
    };
    let name = of.text("filename").map(String::from);
    Ok(Part::Media(Media { name, cache, ..media(MediaKind::File, source, mime) }))
}

fn media(kind: MediaKind, source: MediaSource, mime: Option<String>) -> Media {
    Media { kind, source, mime, name: None, detail: None, cache: None, extra: Vec::new() }
}

/// OpenAI's breakpoint, or Anthropic's `cache_control` as OpenRouter and others take it in Chat.
pub(super) fn cache_mark(members: &Members<'_>) -> Option<CacheMark> {
    let mark = members.object("prompt_cache_breakpoint").or_else(|| members.object("cache_control"))?;
    Some(CacheMark { ttl: mark.text("ttl").map(String::from) })
}

/// Bytes in a data URL, or an address.
fn from_url(url: &str) -> (MediaSource, Option<String>) {
    let embedded = url.strip_prefix("data:").and_then(|data| data.split_once(','));
    match embedded {
        Some((head, data)) if head.ends_with(";base64") => {
            let mime = head.split(';').next().filter(|mime| !mime.is_empty());
            (base64(data), mime.map(str::to_ascii_lowercase))
        }
        _ => (MediaSource::Url(url.to_owned()), None),
    }
}

/// In the standard alphabet, padded, without line ends.
fn base64(data: &str) -> MediaSource {
    let odd = |byte: u8| matches!(byte, b'-' | b'_') || byte.is_ascii_whitespace();
    let mut data = if data.bytes().any(odd) {
        data.chars()
            .filter(|letter| !letter.is_ascii_whitespace())
            .map(|letter| match letter {
                '-' => '+',
                '_' => '/',
                letter => letter,
            })
            .collect()
    } else {
        data.to_owned()
    };
    while data.len() % 4 > 1 {
        data.push('=');
    }
    MediaSource::Base64(data)
}

fn audio_mime(format: &str) -> String {
    if format == "mp3" { "audio/mpeg".to_owned() } else { format!("audio/{format}") }
}

fn audio_format(mime: Option<&str>) -> Option<&'static str> {
    match mime?.split(';').next()?.trim() {
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => Some("wav"),
        "audio/mpeg" | "audio/mp3" | "audio/x-mp3" => Some("mp3"),
        _ => None,
    }
}

/// An image's type by the beginning of its bytes, where nobody said it.
fn image_mime(data: &str) -> &'static str {
    match data.as_bytes() {
        [b'/', b'9', b'j', ..] => "image/jpeg",
        [b'R', b'0', b'l', b'G', ..] => "image/gif",
        [b'U', b'k', b'l', b'G', ..] => "image/webp",
        _ => "image/png",
    }
}

/// The URL that shows an image to a client; `None` where it has none.
pub(super) fn image_url(media: &Media) -> Option<String> {
    match &media.source {
        MediaSource::Base64(data) => {
            let mime = media.mime.as_deref().unwrap_or_else(|| image_mime(data));
            Some(format!("data:{mime};base64,{data}"))
        }
        MediaSource::Url(url) => Some(url.clone()),
        MediaSource::Text(_) | MediaSource::FileId(_) => None,
    }
}

/// Writes a medium as a content part.
pub(super) fn write_media(media: &Media, mark: Option<&CacheMark>, json: &mut Json) -> Result<(), Refused> {
    json.open(b'{');
    match media.kind {
        MediaKind::Image => {
            let url = image_url(media).ok_or_else(|| {
                refused("an image that is an uploaded file; send its bytes or an address of it")
            })?;
            json.text("type", "image_url");
            json.object("image_url");
            json.text("url", &url);
            json.text_if("detail", media.detail.as_deref());
            json.close(b'}');
        }
        MediaKind::Audio => write_audio(media, json)?,
        MediaKind::File => write_file(media, json)?,
        MediaKind::Video => return Err(refused("video")),
    }
    write_mark(mark, json);
    json.close(b'}');
    Ok(())
}

fn write_audio(media: &Media, json: &mut Json) -> Result<(), Refused> {
    let MediaSource::Base64(data) = &media.source else {
        return Err(refused("audio that is not in the request itself; send its bytes"));
    };
    let format =
        audio_format(media.mime.as_deref()).ok_or_else(|| refused("audio other than wav and mp3"))?;
    json.text("type", "input_audio");
    json.object("input_audio");
    json.text("data", data);
    json.text("format", format);
    json.close(b'}');
    Ok(())
}

fn write_file(media: &Media, json: &mut Json) -> Result<(), Refused> {
    match &media.source {
        MediaSource::Base64(data) => {
            let mime = media.mime.as_deref().unwrap_or("application/pdf");
            json.text("type", "file");
            json.object("file");
            json.text("file_data", &format!("data:{mime};base64,{data}"));
            // OpenAI refuses bytes without a name.
            let name = if mime == "application/pdf" { "file.pdf" } else { "file" };
            json.text("filename", media.name.as_deref().unwrap_or(name));
            json.close(b'}');
        }
        // Ids of other vendors mean nothing to this one.
        MediaSource::FileId(id) if id.starts_with("file-") => {
            json.text("type", "file");
            json.object("file");
            json.text("file_id", id);
            json.close(b'}');
        }
        MediaSource::FileId(_) => {
            return Err(refused("a file that was uploaded to another provider; send its bytes"));
        }
        MediaSource::Url(_) => return Err(refused("a file by its address; send its bytes")),
        MediaSource::Text(text) => {
            json.text("type", "text");
            json.text("text", text);
        }
    }
    Ok(())
}

/// `prompt_cache_breakpoint`, whose only lifetimes are `30m` and `12h`.
pub(super) fn write_mark(mark: Option<&CacheMark>, json: &mut Json) {
    if let Some(mark) = mark {
        json.object("prompt_cache_breakpoint");
        json.text("mode", "explicit");
        json.text_if("ttl", mark.ttl.as_deref().filter(|ttl| matches!(*ttl, "30m" | "12h")));
        json.close(b'}');
    }
}

fn refused(what: &str) -> Refused {
    Refused::new(PARAM, format!("`messages`: the chosen model's API (Chat Completions) does not take {what}"))
}
