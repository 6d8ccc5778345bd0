//! JSON out, member by member, into one buffer; and the parts that requests and answers have in common.

use crate::blocks::{Media, MediaKind, MediaSource, Raw, ToolCall, ToolKind};
use crate::json::text::encode;

use super::members::Members;

/// An object that is being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    any: bool,
}

impl<'o> Object<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, any: false }
    }

    /// Writes a name; its value goes to what is returned.
    pub(super) fn name(&mut self, name: &str) -> &mut Vec<u8> {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
        encode(name, self.out);
        self.out.push(b':');
        self.out
    }

    pub(super) fn text(&mut self, name: &str, text: &str) {
        encode(text, self.name(name));
    }

    /// Valid JSON, verbatim.
    pub(super) fn json(&mut self, name: &str, json: &str) {
        self.name(name).extend_from_slice(json.as_bytes());
    }

    pub(super) fn number(&mut self, name: &str, number: impl std::fmt::Display) {
        self.json(name, &number.to_string());
    }

    pub(super) fn flag(&mut self, name: &str, flag: bool) {
        self.json(name, if flag { "true" } else { "false" });
    }

    pub(super) fn texts(&mut self, name: &str, texts: &[String]) {
        let mut list = List::new(self.name(name));
        for text in texts {
            encode(text, list.item());
        }
        list.end();
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }
}

/// A list that is being written.
pub(super) struct List<'o> {
    out: &'o mut Vec<u8>,
    any: bool,
}

impl<'o> List<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'[');
        Self { out, any: false }
    }

    /// The next item goes to what is returned.
    pub(super) fn item(&mut self) -> &mut Vec<u8> {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
        self.out
    }

    pub(super) fn end(self) {
        self.out.push(b']');
    }
}

/// `{"text": …}`, a thought when `thought`.
pub(super) fn text_part(out: &mut Vec<u8>, text: &str, thought: bool, signature: Option<&str>) {
    let mut part = Object::new(out);
    part.text("text", text);
    if thought {
        part.flag("thought", true);
    }
    if let Some(signature) = signature {
        part.text("thoughtSignature", signature);
    }
    part.end();
}

/// `{"functionCall": …}`.
pub(super) fn call_part(out: &mut Vec<u8>, call: &ToolCall, signature: Option<&str>) {
    let mut part = Object::new(out);
    let mut function = Object::new(part.name("functionCall"));
    if !call.id.is_empty() {
        function.text("id", &call.id);
    }
    function.text("name", &call.name);
    let args = function.name("args");
    if call.kind == ToolKind::Custom {
        wrapped(&call.arguments, args);
    } else {
        as_object(&call.arguments, args);
    }
    function.end();
    if let Some(signature) = signature {
        part.text("thoughtSignature", signature);
    }
    part.end();
}

/// Arguments as the object that Google wants: nothing is `{}`, and what is no object is wrapped so that none is lost.
fn as_object(arguments: &str, out: &mut Vec<u8>) {
    let arguments = arguments.trim();
    if arguments.is_empty() || arguments == "null" {
        out.extend_from_slice(b"{}");
    } else if is_object(arguments) {
        out.extend_from_slice(arguments.as_bytes());
    } else {
        wrapped(arguments, out);
    }
}

fn wrapped(text: &str, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    object.text("input", text);
    object.end();
}

/// Whether a text is one whole JSON object.
pub(super) fn is_object(text: &str) -> bool {
    text.trim_start().starts_with('{') && crate::json::validate(text.as_bytes()).is_ok()
}

/// The members of a medium that say where its bytes are, with `more` (known) members of its part. Text in place of a
/// file is a text part.
pub(super) fn media_part(out: &mut Vec<u8>, media: &Media, more: &[(&str, &Raw)]) {
    let mut part = Object::new(out);
    match &media.source {
        MediaSource::Text(text) => part.text("text", text),
        MediaSource::Base64(data) => {
            let mut blob = Object::new(part.name("inlineData"));
            blob.text("mimeType", media.mime.as_deref().unwrap_or_else(|| sniffed(media.kind, data)));
            blob.text("data", data);
            blob.end();
        }
        MediaSource::Url(uri) | MediaSource::FileId(uri) => {
            let mut file = Object::new(part.name("fileData"));
            if let Some(mime) = media.mime.as_deref().or_else(|| mime_of_address(uri)) {
                file.text("mimeType", mime);
            }
            file.text("fileUri", uri);
            file.end();
        }
    }
    for (name, raw) in more {
        part.json(name, raw.get());
    }
    part.end();
}

/// The type of bytes that nobody named, by how they begin.
fn sniffed(kind: MediaKind, data: &str) -> &'static str {
    const BEGINNINGS: [(&str, &str); 9] = [
        ("iVBORw0KGgo", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
        ("JVBER", "application/pdf"),
        ("SUQz", "audio/mp3"),
        ("//", "audio/mp3"),
        ("T2dnUw", "audio/ogg"),
        ("ZkxhQ", "audio/flac"),
    ];
    let riff = if kind == MediaKind::Audio { "audio/wav" } else { "image/webp" };
    match BEGINNINGS.iter().find(|(beginning, _)| data.starts_with(beginning)) {
        Some(("UklGR", _)) => riff,
        Some((_, mime)) => mime,
        None => match kind {
            MediaKind::Image => "image/jpeg",
            MediaKind::Audio => "audio/wav",
            MediaKind::Video => "video/mp4",
            MediaKind::File => "application/octet-stream",
        },
    }
}

/// The type of a file by the end of its address.
pub(super) fn mime_of_address(address: &str) -> Option<&'static str> {
    const ENDINGS: [(&str, &str); 18] = [
        ("png", "image/png"),
        ("jpg", "image/jpeg"),
        ("jpeg", "image/jpeg"),
        ("webp", "image/webp"),
        ("gif", "image/gif"),
        ("heic", "image/heic"),
        ("heif", "image/heif"),
        ("pdf", "application/pdf"),
        ("txt", "text/plain"),
        ("html", "text/html"),
        ("csv", "text/csv"),
        ("wav", "audio/wav"),
        ("mp3", "audio/mp3"),
        ("flac", "audio/flac"),
        ("ogg", "audio/ogg"),
        ("mp4", "video/mp4"),
        ("mov", "video/quicktime"),
        ("webm", "video/webm"),
    ];
    let path = address.split(['?', '#']).next()?;
    let (_, ending) = path.rsplit('/').next()?.rsplit_once('.')?;
    ENDINGS.iter().find(|(known, _)| known.eq_ignore_ascii_case(ending)).map(|(_, mime)| *mime)
}

/// What kind of medium a MIME type is.
pub(super) fn kind_of(mime: &str) -> MediaKind {
    match mime.split('/').next() {
        Some("image") => MediaKind::Image,
        Some("audio") => MediaKind::Audio,
        Some("video") => MediaKind::Video,
        _ => MediaKind::File,
    }
}

/// Whether `raw` is an object with the member `name`: the shape in which this dialect keeps what it does not know.
pub(super) fn has_member(raw: &Raw, name: &str) -> bool {
    raw.is_object() && Members::parse(raw.get()).is_some_and(|members| members.get(name).is_some())
}
