//! Images and files in input items.

use super::build::{Object, object};
use super::known::{DETAILS, TTLS};
use super::write_items::comma;
use crate::blocks::{CacheMark, Media, MediaKind, MediaSource, Refused, Written};

/// Writes a mark; `5m` and `1h` are Anthropic's, here the default takes their place.
pub(super) fn write_cache(mark: Option<&CacheMark>, o: &mut Object<'_>, written: &mut Written) {
    let Some(mark) = mark else { return };
    let ttl = mark.ttl.as_deref();
    let known = ttl.filter(|ttl| TTLS.contains(ttl));
    if known.is_none() && ttl.is_some_and(|ttl| ttl != "5m") {
        written.drop_param("cache_control");
    }
    o.object("prompt_cache_breakpoint", |o| _ = o.text("mode", "explicit").text_if("ttl", known));
}

/// Writes a medium with its comma.
pub(super) fn write_media(media: &Media, out: &mut Vec<u8>, written: &mut Written) -> Result<(), Refused> {
    for (name, _) in &media.extra {
        written.drop_param(name);
    }
    match media.kind {
        MediaKind::Image => write_image(media, out, written),
        MediaKind::File => {
            write_file(media, out, written);
            Ok(())
        }
        MediaKind::Audio | MediaKind::Video => {
            let what = if media.kind == MediaKind::Audio { "audio" } else { "video" };
            let message = format!(
                "`messages` holds {what}, which the Responses API does not take: use a model of another API"
            );
            Err(Refused::new("messages", message))
        }
    }
}

fn write_image(media: &Media, out: &mut Vec<u8>, written: &mut Written) -> Result<(), Refused> {
    if matches!(media.source, MediaSource::Text(_)) {
        return Err(Refused::new("messages", "`messages` holds an image that is a text"));
    }
    if media.name.is_some() {
        written.drop_param("filename");
    }
    let detail = media.detail.as_deref();
    if detail.is_some_and(|detail| !DETAILS.contains(&detail)) {
        written.drop_param("detail");
    }
    comma(out);
    object(out, |o| {
        o.text("type", "input_image");
        // The type of the SDK requires it.
        o.text("detail", detail.filter(|detail| DETAILS.contains(detail)).unwrap_or("auto"));
        match &media.source {
            MediaSource::Base64(data) => {
                let mime = media.mime.as_deref().unwrap_or_else(|| sniff(data));
                data_url("image_url", mime, data, o);
            }
            MediaSource::Url(url) | MediaSource::Text(url) => _ = o.text("image_url", url),
            MediaSource::FileId(id) => _ = o.text("file_id", id),
        }
        write_cache(media.cache.as_ref(), o, written);
    });
    Ok(())
}

fn write_file(media: &Media, out: &mut Vec<u8>, written: &mut Written) {
    let detail = media.detail.as_deref();
    let known = detail.filter(|detail| ["auto", "low", "high"].contains(detail));
    if detail.is_some() && known.is_none() {
        written.drop_param("detail");
    }
    comma(out);
    object(out, |o| {
        if let MediaSource::Text(text) = &media.source {
            // The model reads the same; a name has no place.
            o.text("type", "input_text").text("text", text);
            if media.name.is_some() {
                written.drop_param("filename");
            }
        } else {
            o.text("type", "input_file");
            write_source(media, o);
            o.text_if("detail", known);
        }
        write_cache(media.cache.as_ref(), o, written);
    });
}

fn write_source(media: &Media, o: &mut Object<'_>) {
    let name = media.name.as_deref();
    match &media.source {
        MediaSource::Base64(data) => {
            let mime = media.mime.as_deref().unwrap_or("application/pdf");
            // A file of this kind must have a name.
            o.text("filename", name.unwrap_or_else(|| default_name(mime)));
            data_url("file_data", mime, data, o);
        }
        MediaSource::Url(url) => _ = o.text_if("filename", name).text("file_url", url),
        MediaSource::FileId(id) => _ = o.text_if("filename", name).text("file_id", id),
        MediaSource::Text(_) => {}
    }
}

fn default_name(mime: &str) -> &'static str {
    match mime {
        "application/pdf" => "file.pdf",
        "text/plain" => "file.txt",
        "text/markdown" => "file.md",
        "text/csv" => "file.csv",
        "text/html" => "file.html",
        "application/json" => "file.json",
        _ => "file",
    }
}

/// Base64 needs no escapes, so that a picture of 20 MB is copied and not looked through.
fn data_url(key: &str, mime: &str, data: &str, o: &mut Object<'_>) {
    let mut head = String::with_capacity(mime.len() + 16);
    head.push_str("data:");
    head.push_str(mime);
    head.push_str(";base64,");
    let out = o.value(key);
    let before = out.len();
    crate::json::text::encode(&head, out);
    if data.bytes().any(|byte| matches!(byte, b'"' | b'\\') || byte < 0x20) {
        out.truncate(before);
        head.push_str(data);
        crate::json::text::encode(&head, out);
        return;
    }
    out.pop();
    out.extend_from_slice(data.as_bytes());
    out.push(b'"');
}

/// The kind of a picture by its first bytes, where nobody said.
fn sniff(data: &str) -> &'static str {
    match data.get(..4) {
        Some("/9j/") => "image/jpeg",
        Some("R0lG") => "image/gif",
        Some("UklG") => "image/webp",
        _ => "image/png",
    }
}
