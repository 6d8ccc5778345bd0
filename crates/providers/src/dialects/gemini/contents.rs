//! The conversation as a client writes it.
//!
//! Clients that streamed an answer send its pieces back one by one, often each as a content of its own, so what the
//! model said in a row is put together again: text with text, thought with thought. A signature ends what it stands on.

use std::collections::{HashMap, HashSet, VecDeque};

use serde_json::value::RawValue;

use crate::blocks::request::Unreadable;
use crate::blocks::{
    Media, MediaKind, MediaSource, Opaque, Part, Raw, Reasoning, Role, ToolCall, ToolKind, ToolResult, Turn,
};
use crate::dialects::Dialect;

use super::emit::{is_object, kind_of, mime_of_address};
use super::members::{Members, flag, invalid, keep, missing, object, objects, text, wrong};
use super::signature;

/// Turns, while they are read.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    turns: Vec<Turn>,
    extra: Vec<(String, Raw)>,
    calls: Calls,
}

impl Conversation {
    pub(super) fn finish(self) -> (Vec<Turn>, Vec<(String, Raw)>) {
        (self.turns, self.extra)
    }

    /// `systemInstruction`: a content, or the bare text that some clients send.
    pub(super) fn system(&mut self, value: &RawValue) -> Result<(), Unreadable> {
        if value.get().starts_with('"') {
            let text = text(value, "systemInstruction")?;
            if !text.is_empty() {
                self.turns.push(Turn { role: Role::System, parts: vec![Part::text(text)], name: None });
            }
            return Ok(());
        }
        let mut content = object(value, "systemInstruction")?;
        if let Some(parts) = content.take("parts") {
            self.parts(Role::System, parts, "systemInstruction.parts")?;
        }
        Ok(())
    }

    pub(super) fn contents(&mut self, value: &RawValue) -> Result<(), Unreadable> {
        // Google's own servers take a single content too.
        let contents = if value.get().starts_with('{') {
            vec![object(value, "contents")?]
        } else {
            objects(value, "contents")?
        };
        for mut content in contents {
            let role = content.take("role").map(|role| text(role, "contents.role")).transpose()?;
            let role = match role.as_deref() {
                None | Some("" | "user" | "function") => Role::User,
                Some("model") => Role::Assistant,
                Some(_) => {
                    let message = "contents.role must be user, model or function".to_owned();
                    return Err(invalid("contents.role", message));
                }
            };
            if let Some(parts) = content.take("parts") {
                self.parts(role, parts, "contents.parts")?;
            }
            for (name, value) in content.rest() {
                self.remember(&format!("contents.{name}"), value);
            }
        }
        Ok(())
    }

    fn parts(&mut self, role: Role, value: &RawValue, param: &'static str) -> Result<(), Unreadable> {
        let first = self.turns.len();
        let values: Vec<&RawValue> =
            if value.get().starts_with('{') { vec![value] } else { super::request::items(value, param)? };
        for value in values {
            if let Some(part) = self.part(value)? {
                if role != Role::Assistant && matches!(part, Part::ToolCall(_)) {
                    let param = "contents.parts.functionCall";
                    return Err(invalid(param, format!("{param} must stand in a content of role model")));
                }
                self.push(role, part, first);
            }
        }
        Ok(())
    }

    /// Adds a part to the last turn where it belongs there: `first` is the first turn of this content.
    fn push(&mut self, role: Role, part: Part, first: usize) {
        let role = if matches!(part, Part::ToolResult(_)) { Role::Tool } else { role };
        let last = self.turns.len().checked_sub(1);
        match (last, self.turns.last_mut()) {
            // What the model says in a row is one turn, and so are the results of one step.
            (Some(at), Some(turn))
                if turn.role == role && (at >= first || matches!(role, Role::Assistant | Role::Tool)) =>
            {
                if role != Role::Assistant {
                    turn.parts.push(part);
                } else if let Some(part) = joined(turn.parts.last_mut(), part) {
                    turn.parts.push(part);
                }
            }
            _ => self.turns.push(Turn { role, parts: vec![part], name: None }),
        }
    }

    fn part(&mut self, value: &RawValue) -> Result<Option<Part>, Unreadable> {
        let mut part = object(value, "contents.parts")?;
        let thought = part.take("thought").map(|value| flag(value, "contents.parts.thought")).transpose()?;
        let signed = part.take("thoughtSignature");
        let opaque = signed.map(|value| text(value, "contents.parts.thoughtSignature")).transpose()?;
        let opaque = opaque.filter(|text| !text.is_empty()).map(|text| signature::received(&text));
        if let Some(said) = part.take("text") {
            let text = text(said, "contents.parts.text")?;
            self.rest(part);
            return Ok(said_part(text, thought == Some(true), opaque));
        }
        let is_thought = thought == Some(true);
        if !is_thought && let Some(call) = part.take("functionCall") {
            let call = self.call(object(call, "contents.parts.functionCall")?, opaque)?;
            self.rest(part);
            return Ok(Some(Part::ToolCall(call)));
        }
        if let Some(response) = part.take("functionResponse") {
            let result = self.result(object(response, "contents.parts.functionResponse")?)?;
            self.rest(part);
            return Ok(Some(Part::ToolResult(result)));
        }
        if !is_thought && let Some(mut media) = read_media(&mut part)? {
            media.extra.extend(part.rest().into_iter().map(|(name, value)| (name.into_owned(), keep(value))));
            if let Some(signed) = signed {
                media.extra.push(("thoughtSignature".to_owned(), keep(signed)));
            }
            return Ok(Some(Part::Media(media)));
        }
        match part.first_name() {
            Some(name) => {
                let kind = name.to_owned();
                Ok(Some(Part::Unknown { dialect: Dialect::Gemini, kind, raw: keep(value) }))
            }
            None => Ok(said_part(String::new(), is_thought, opaque)),
        }
    }

    /// What nobody knows beside a known member.
    fn rest(&mut self, part: Members<'_>) {
        for (name, value) in part.rest() {
            self.remember(&format!("contents.parts.{name}"), value);
        }
    }

    fn remember(&mut self, name: &str, value: &RawValue) {
        if !self.extra.iter().any(|(known, _)| known == name) {
            self.extra.push((name.to_owned(), keep(value)));
        }
    }

    fn call(&mut self, mut call: Members<'_>, opaque: Option<Opaque>) -> Result<ToolCall, Unreadable> {
        let name = call.take("name").ok_or_else(|| missing("contents.parts.functionCall.name"))?;
        let name = text(name, "contents.parts.functionCall.name")?;
        let id = call.take("id").map(|id| text(id, "contents.parts.functionCall.id")).transpose()?;
        let arguments = match call.take("args") {
            Some(args) if args.get().starts_with('{') => args.get().to_owned(),
            Some(_) => return Err(wrong("contents.parts.functionCall.args", "an object")),
            None => String::new(),
        };
        for (member, value) in call.rest() {
            self.remember(&format!("functionCall.{member}"), value);
        }
        let id = self.calls.called(&name, id);
        Ok(ToolCall { id, name, arguments, opaque, ..ToolCall::default() })
    }

    fn result(&mut self, mut response: Members<'_>) -> Result<ToolResult, Unreadable> {
        let param = "contents.parts.functionResponse.name";
        let name = text(response.take("name").ok_or_else(|| missing(param))?, param)?;
        let id = response.take("id").map(|id| text(id, "contents.parts.functionResponse.id")).transpose()?;
        let said = response.take("response");
        let (text, is_error) = match said {
            Some(said) => {
                let members = object(said, "contents.parts.functionResponse.response")?;
                unwrapped(members, said)
            }
            None => (String::new(), false),
        };
        let mut parts = Vec::new();
        if !text.is_empty() {
            parts.push(Part::text(text));
        }
        if let Some(more) = response.take("parts") {
            for mut part in objects(more, "contents.parts.functionResponse.parts")? {
                if let Some(mut media) = read_media(&mut part)? {
                    let rest = part.rest().into_iter();
                    media.extra.extend(rest.map(|(name, value)| (name.into_owned(), keep(value))));
                    parts.push(Part::Media(media));
                } else {
                    for (member, value) in part.rest() {
                        self.remember(&format!("functionResponse.parts.{member}"), value);
                    }
                }
            }
        }
        for (member, value) in response.rest() {
            self.remember(&format!("functionResponse.{member}"), value);
        }
        let call_id = self.calls.answered(&name, id);
        Ok(ToolResult { call_id, name: Some(name), parts, is_error, kind: ToolKind::Function, cache: None })
    }
}

fn said_part(text: String, thought: bool, opaque: Option<Opaque>) -> Option<Part> {
    if text.is_empty() && opaque.is_none() {
        None
    } else if thought || text.is_empty() {
        Some(Part::Reasoning(Reasoning { text, opaque, ..Reasoning::default() }))
    } else {
        Some(Part::Text { text, citations: Vec::new(), opaque, cache: None })
    }
}

/// Joins what the model said next to what it said last, if that is one thing in pieces; else gives it back.
fn joined(last: Option<&mut Part>, next: Part) -> Option<Part> {
    match (last, next) {
        (Some(Part::Text { text, opaque: open @ None, .. }), Part::Text { text: more, opaque, .. }) => {
            text.push_str(&more);
            *open = opaque;
            None
        }
        (Some(Part::Reasoning(thought)), Part::Reasoning(more)) if thought.opaque.is_none() => {
            thought.text.push_str(&more.text);
            thought.opaque = more.opaque;
            None
        }
        // The last piece of a stream is often a signature alone.
        (Some(Part::Text { opaque: open @ None, .. }), Part::Reasoning(more)) if more.text.is_empty() => {
            *open = more.opaque;
            None
        }
        (_, next) => Some(next),
    }
}

/// What a tool said: the text inside `{"result": "…"}` or `{"error": …}`, else the object as it is.
fn unwrapped(mut members: Members<'_>, whole: &RawValue) -> (String, bool) {
    let bare = |value: &RawValue| serde_json::from_str::<String>(value.get()).ok();
    if let Some(value) = members.take("result")
        && members.first_name().is_none()
        && let Some(text) = bare(value)
        && !is_object(&text)
        && !text.is_empty()
    {
        return (text, false);
    }
    let mut members = Members::parse(whole.get()).unwrap_or_default();
    if let Some(value) = members.take("error")
        && members.first_name().is_none()
    {
        return (bare(value).unwrap_or_else(|| value.get().to_owned()), true);
    }
    (whole.get().to_owned(), false)
}

/// Takes `inlineData` or `fileData` out of a part.
pub(super) fn read_media(part: &mut Members<'_>) -> Result<Option<Media>, Unreadable> {
    let (mut blob, inline) = if let Some(blob) = part.take("inlineData") {
        (object(blob, "contents.parts.inlineData")?, true)
    } else if let Some(file) = part.take("fileData") {
        (object(file, "contents.parts.fileData")?, false)
    } else {
        return Ok(None);
    };
    let mime = blob.take("mimeType").map(|mime| text(mime, "contents.parts.mimeType")).transpose()?;
    let name = blob.take("displayName").map(|name| text(name, "contents.parts.displayName")).transpose()?;
    let (source, kind) = if inline {
        let param = "contents.parts.inlineData.data";
        let data = text(blob.take("data").ok_or_else(|| missing(param))?, param)?;
        let data =
            signature::standard(data).ok_or_else(|| invalid(param, format!("{param} is not base64")))?;
        (MediaSource::Base64(data), kind_of(mime.as_deref().unwrap_or_default()))
    } else {
        let param = "contents.parts.fileData.fileUri";
        let uri = text(blob.take("fileUri").ok_or_else(|| missing(param))?, param)?;
        let kind = match mime.as_deref().or_else(|| mime_of_address(&uri)) {
            Some(mime) => kind_of(mime),
            None if uri.contains("youtube.com/") || uri.contains("youtu.be/") => MediaKind::Video,
            None => MediaKind::File,
        };
        (MediaSource::Url(uri), kind)
    };
    let extra = blob.rest().into_iter().map(|(name, value)| (name.into_owned(), keep(value))).collect();
    Ok(Some(Media { kind, source, mime, name, detail: None, cache: None, extra }))
}

/// Pairs results with calls. Google's protocol may leave ids out; those made here are the same each time the same
/// conversation comes.
#[derive(Debug, Default)]
struct Calls {
    made: HashMap<String, u32>,
    known: HashSet<String>,
    /// Calls without a result, by name, oldest first.
    waiting: HashMap<String, VecDeque<String>>,
    done: HashSet<String>,
}

impl Calls {
    fn called(&mut self, name: &str, id: Option<String>) -> String {
        let id = id.filter(|id| !id.is_empty()).unwrap_or_else(|| self.make(name));
        self.known.insert(id.clone());
        // An id that is used again is a new call.
        self.done.remove(&id);
        self.waiting.entry(name.to_owned()).or_default().push_back(id.clone());
        id
    }

    fn answered(&mut self, name: &str, id: Option<String>) -> String {
        let id = id.filter(|id| !id.is_empty());
        let id = match id {
            Some(id) if self.known.contains(&id) => id,
            told => {
                let waiting = self.waiting.get_mut(name);
                let next = waiting.and_then(|ids| {
                    while let Some(id) = ids.pop_front() {
                        if !self.done.contains(&id) {
                            return Some(id);
                        }
                    }
                    None
                });
                next.or(told).unwrap_or_else(|| self.make(name))
            }
        };
        self.done.insert(id.clone());
        id
    }

    fn make(&mut self, name: &str) -> String {
        let name = id_name(name);
        let number = self.made.entry(name.clone()).or_insert(0);
        loop {
            let id = format!("call_{name}_{number}");
            *number += 1;
            if !self.known.contains(&id) {
                return id;
            }
        }
    }
}

/// A tool's name as a piece of an id: what other dialects take in ids, and short enough for them.
pub(super) fn id_name(name: &str) -> String {
    let letter = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
    name.chars().take(32).map(letter).collect()
}
