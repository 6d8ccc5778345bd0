//! Writes a client's stream: each event a whole `GenerateContentResponse`, without comments (Google's Python SDK fails
//! on them) and without an end marker. A function call goes out in one piece.
//!
//! Reasons to finish wait for the end of the stream, because other dialects tell usage after them and Google's clients
//! read both from the last chunk; and a stream that breaks off must not have one.

use std::collections::BTreeMap;

use bytes::BytesMut;

use crate::Usage;
use crate::blocks::fold::merge;
use crate::blocks::{Delta, Event, Part, PartHead, Raw, Stop, ToolCall};
use crate::dialects::{Failing, Reply};

use super::answer::{SOURCES, block, finish, write_part, write_source, write_unknown};
use super::emit::{List, Object, call_part, has_member, text_part};
use super::{error, logprobs, signature, usage, words};

/// Stands where a chunk says something else than content. Google's Python SDK leaves a whole turn out of a chat's
/// history when one chunk of it has no part.
const EMPTY: &[u8] = br#"{"text":""}"#;

/// Writes a client's stream.
#[derive(Debug)]
pub struct StreamWriter {
    /// As one JSON array in place of server-sent events.
    array: bool,
    written: bool,
    over: bool,
    /// An error was told.
    failed: bool,
    /// Something was written before the end.
    written_before: bool,
    id: String,
    model: String,
    usage: Option<Usage>,
    /// Choices of which something was written.
    said: Vec<u32>,
    /// What parts are, and calls until they are whole.
    open: BTreeMap<(u32, u32), Open>,
    stops: BTreeMap<u32, Stop>,
    /// Choices that hold a refusal in words.
    refused: Vec<u32>,
}

#[derive(Debug)]
enum Open {
    Text,
    Thought { paragraph: u32, any: bool },
    Call { call: Box<ToolCall>, signature: Option<String> },
    Other,
}

impl StreamWriter {
    pub(crate) fn new(reply: &Reply<'_>) -> Self {
        Self {
            array: false,
            written: false,
            over: false,
            failed: false,
            written_before: false,
            id: reply.id.to_owned(),
            model: reply.model.to_owned(),
            usage: None,
            said: Vec::new(),
            open: BTreeMap::new(),
            stops: BTreeMap::new(),
            refused: Vec::new(),
        }
    }

    /// For `streamGenerateContent` without `alt=sse`: the chunks are the items of one JSON array
    /// (`application/json`), each written as soon as it is known.
    pub fn array(reply: &Reply<'_>) -> Self {
        Self { array: true, ..Self::new(reply) }
    }

    pub(crate) fn write(&mut self, event: &Event, out: &mut BytesMut) {
        if self.over {
            return;
        }
        match event {
            Event::Start { id, model, .. } => {
                if let Some(model) = model {
                    self.model.clone_from(model);
                }
                if let Some(id) = id.as_ref().filter(|id| !id.is_empty()) {
                    self.id.clone_from(id);
                }
            }
            Event::PartStart { choice, part, head } => self.start(*choice, *part, head, out),
            Event::Delta { choice, part, delta } => self.delta(*choice, *part, delta, out),
            Event::PartEnd { choice, part } => self.close(*choice, *part, out),
            Event::Stop { choice, stop } => {
                self.close_all(Some(*choice), out);
                self.stops.insert(*choice, stop.clone());
            }
            Event::Logprobs { choice, raw } => {
                let mut piece = Vec::new();
                if logprobs::write(raw, &mut piece) {
                    self.candidate(
                        *choice,
                        |candidate| {
                            content_of(EMPTY, candidate);
                            candidate.name("logprobsResult").extend_from_slice(&piece);
                        },
                        out,
                    );
                }
            }
            Event::Usage(told) => merge(self.usage.get_or_insert_default(), told),
            // Whole answers do not tell the tier either; errors are told by `error`.
            Event::ServiceTier(_) | Event::Error { .. } => {}
            Event::End => self.end(out),
        }
    }

    /// Also behind the end, where whoever holds that back lets it not go on.
    pub(crate) fn error(&mut self, failing: &Failing<'_>, out: &mut BytesMut) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        if self.over {
            self.written = self.written_before;
        }
        self.frame(&error::error_body(failing), out);
        self.over = true;
        if self.array {
            out.extend_from_slice(b"]");
        }
    }

    fn start(&mut self, choice: u32, part: u32, head: &PartHead, out: &mut BytesMut) {
        let open = match head {
            PartHead::Refusal => {
                self.refused.push(choice);
                Open::Text
            }
            PartHead::Text => Open::Text,
            PartHead::Reasoning { .. } => Open::Thought { paragraph: 0, any: false },
            PartHead::ToolCall { id, name, kind, .. } => {
                let call = ToolCall {
                    id: id.clone(),
                    name: name.clone(),
                    kind: kind.clone(),
                    ..ToolCall::default()
                };
                Open::Call { call: Box::new(call), signature: None }
            }
            PartHead::Media(media) => {
                let mut piece = Vec::new();
                if write_part(&Part::Media((**media).clone()), &mut piece) {
                    self.part(choice, &piece, out);
                }
                Open::Other
            }
            PartHead::Unknown { kind, raw, .. } => {
                self.unknown(choice, kind, raw, out);
                Open::Other
            }
        };
        self.open.insert((choice, part), open);
    }

    fn unknown(&mut self, choice: u32, kind: &str, raw: &Raw, out: &mut BytesMut) {
        if SOURCES.contains(&kind) {
            return self.source(choice, raw, out);
        }
        let mut piece = Vec::new();
        if write_unknown(kind, raw, &mut piece) {
            self.part(choice, &piece, out);
        }
    }

    fn source(&mut self, choice: u32, raw: &Raw, out: &mut BytesMut) {
        // Citations of other dialects have other shapes and no place here.
        if let Some(name) = SOURCES.into_iter().find(|name| has_member(raw, name)) {
            let write = |candidate: &mut Object<'_>| {
                content_of(EMPTY, candidate);
                write_source(name, raw, candidate);
            };
            self.candidate(choice, write, out);
        }
    }

    fn delta(&mut self, choice: u32, part: u32, delta: &Delta, out: &mut BytesMut) {
        let Some(open) = self.open.get_mut(&(choice, part)) else { return };
        let mut piece = Vec::new();
        match (open, delta) {
            (Open::Text, Delta::Text(text)) if !text.is_empty() => text_part(&mut piece, text, false, None),
            (Open::Text, Delta::Opaque(opaque)) => {
                text_part(&mut piece, "", false, Some(&signature::shown(opaque)));
            }
            (Open::Text, Delta::Citation(raw)) => return self.source(choice, raw, out),
            (Open::Thought { any, .. }, Delta::Thought(text)) if !text.is_empty() => {
                *any = true;
                text_part(&mut piece, text, true, None);
            }
            (Open::Thought { paragraph, any }, Delta::Summary { paragraph: now, text })
                if !text.is_empty() =>
            {
                let text = if *now != *paragraph && *any { format!("\n\n{text}") } else { text.clone() };
                (*paragraph, *any) = (*now, true);
                text_part(&mut piece, &text, true, None);
            }
            (Open::Thought { .. }, Delta::Opaque(opaque)) => {
                text_part(&mut piece, "", true, Some(&signature::shown(opaque)));
            }
            (Open::Call { call, .. }, Delta::Arguments(more)) => call.arguments.push_str(more),
            (Open::Call { signature, .. }, Delta::Opaque(opaque)) => {
                *signature = Some(signature::shown(opaque));
            }
            _ => {}
        }
        if !piece.is_empty() {
            self.part(choice, &piece, out);
        }
    }

    fn close(&mut self, choice: u32, part: u32, out: &mut BytesMut) {
        if let Some(Open::Call { call, signature }) = self.open.remove(&(choice, part)) {
            let mut piece = Vec::new();
            call_part(&mut piece, &call, signature.as_deref());
            self.part(choice, &piece, out);
        }
    }

    /// Closes what is open of a choice, or of all.
    fn close_all(&mut self, choice: Option<u32>, out: &mut BytesMut) {
        let open: Vec<(u32, u32)> = self.open.keys().copied().collect();
        for (number, part) in open {
            if choice.is_none_or(|choice| choice == number) {
                self.close(number, part, out);
            }
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        self.written_before = self.written;
        self.close_all(None, out);
        let stops = std::mem::take(&mut self.stops);
        let mut chunk = Vec::new();
        let mut body = Object::new(&mut chunk);
        let only = stops.get(&0).filter(|_| stops.len() == 1 && self.said.is_empty());
        match only.and_then(words::block_reason) {
            Some(reason) => block(reason, &mut body),
            None if stops.is_empty() => {}
            None => {
                let mut candidates = List::new(body.name("candidates"));
                for (index, stop) in &stops {
                    let mut candidate = Object::new(candidates.item());
                    content_of(EMPTY, &mut candidate);
                    finish(stop, self.refused.contains(index), &mut candidate);
                    candidate.number("index", index);
                    candidate.end();
                }
                candidates.end();
            }
        }
        self.tail(body);
        self.frame(&chunk, out);
        self.over = true;
        if self.array {
            out.extend_from_slice(b"]");
        }
    }

    /// One part of a choice, as a chunk.
    fn part(&mut self, choice: u32, part: &[u8], out: &mut BytesMut) {
        self.candidate(choice, |candidate| content_of(part, candidate), out);
    }

    /// A chunk about one choice.
    fn candidate(&mut self, choice: u32, write: impl FnOnce(&mut Object<'_>), out: &mut BytesMut) {
        if !self.said.contains(&choice) {
            self.said.push(choice);
        }
        let mut chunk = Vec::with_capacity(256);
        let mut body = Object::new(&mut chunk);
        let mut candidates = List::new(body.name("candidates"));
        let mut candidate = Object::new(candidates.item());
        write(&mut candidate);
        candidate.number("index", choice);
        candidate.end();
        candidates.end();
        self.tail(body);
        self.frame(&chunk, out);
    }

    fn tail(&self, mut body: Object<'_>) {
        if let Some(told) = &self.usage {
            usage::write(told, body.name("usageMetadata"));
        }
        body.text("modelVersion", &self.model);
        body.text("responseId", &self.id);
        body.end();
    }

    fn frame(&mut self, chunk: &[u8], out: &mut BytesMut) {
        let before: &[u8] = match (self.array, self.written) {
            (false, _) => b"data: ",
            (true, false) => b"[",
            (true, true) => b",\r\n",
        };
        out.extend_from_slice(before);
        out.extend_from_slice(chunk);
        if !self.array {
            out.extend_from_slice(b"\r\n\r\n");
        }
        self.written = true;
    }
}

/// The content of one part.
fn content_of(part: &[u8], candidate: &mut Object<'_>) {
    let mut content = Object::new(candidate.name("content"));
    let mut parts = List::new(content.name("parts"));
    parts.item().extend_from_slice(part);
    parts.end();
    content.text("role", "model");
    content.end();
}
