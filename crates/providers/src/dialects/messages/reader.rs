//! A provider's stream.

use std::collections::HashMap;

use serde_json::value::RawValue;

use super::answer::{error_of, explanation, read_stop};
use super::json::{Object, Out, array};
use super::names;
use super::usage::Counts;
use crate::blocks::{Delta, Event, Issuer, Opaque, OpaqueKind, Part, PartHead, Raw, ToolKind};
use crate::dialects::Dialect;

/// Reads a provider's stream.
#[derive(Debug)]
pub struct StreamReader {
    issuer: Issuer,
    started: bool,
    done: bool,
    counts: Counts,
    /// Parts that were begun.
    parts: u32,
    open: HashMap<u64, Block>,
}

#[derive(Debug)]
enum Block {
    /// A part that was begun.
    Part(u32),
    /// A call: its part, the input of its start, and whether more of it came.
    Call { part: u32, input: String, told: bool },
    /// A block that is passed on whole once it is complete: its type, its text, its input as it came.
    Unknown { kind: String, raw: String, input: String },
}

impl StreamReader {
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self {
            issuer,
            started: false,
            done: false,
            counts: Counts::default(),
            parts: 0,
            open: HashMap::new(),
        }
    }

    pub(crate) fn push(&mut self, _name: Option<&[u8]>, data: &[u8], out: &mut Vec<Event>) {
        let data = data.trim_ascii();
        if self.done || data.is_empty() || data == b"[DONE]" {
            return;
        }
        let Some(mut event) = std::str::from_utf8(data).ok().and_then(Object::read) else {
            self.done = true;
            let message = "the provider sent an event that is not a JSON object".to_owned();
            out.push(Event::Error { message, code: None });
            return;
        };
        let kind = event.kind().unwrap_or_default();
        let error = event.take("error");
        if kind == "error" || (kind.is_empty() && error.is_some()) {
            self.done = true;
            let (message, code) = error_of(error);
            out.push(Event::Error { message, code });
            return;
        }
        match kind.as_str() {
            "message_start" => self.message_start(event.take("message"), out),
            "content_block_start" => {
                if let (index, Some(block)) = (index(&mut event), event.take("content_block")) {
                    self.start(None, None, out);
                    self.block_start(index, block, out);
                }
            }
            "content_block_delta" => {
                let index = index(&mut event);
                if let Some(delta) = event.take("delta").and_then(|delta| Object::read(delta.get())) {
                    self.delta(index, delta, out);
                }
            }
            "content_block_stop" => {
                if let Some(block) = self.open.remove(&index(&mut event)) {
                    self.close(block, out);
                }
            }
            "message_delta" => self.message_delta(event, out),
            "message_stop" => {
                self.start(None, None, out);
                self.close_all(out);
                self.done = true;
                out.push(Event::End);
            }
            // `ping`, and whatever is new.
            _ => {}
        }
    }

    /// A stream of this dialect ends with `message_stop`; without it, it broke off.
    pub(crate) fn end(&mut self, _out: &mut Vec<Event>) {}

    fn start(&mut self, id: Option<String>, model: Option<String>, out: &mut Vec<Event>) {
        if !self.started {
            self.started = true;
            out.push(Event::Start { id, model, created: None });
        }
    }

    fn message_start(&mut self, message: Option<&RawValue>, out: &mut Vec<Event>) {
        let message = message.and_then(|message| Object::read(message.get()));
        let mut message = message.unwrap_or_else(Object::empty);
        self.start(message.loose_text("id"), message.loose_text("model"), out);
        self.usage(message.take("usage"), out);
    }

    fn usage(&mut self, usage: Option<&RawValue>, out: &mut Vec<Event>) {
        let Some(usage) = usage else { return };
        let tier = self.counts.merge(usage.get());
        out.extend(tier.map(Event::ServiceTier));
        out.extend(self.counts.usage().map(Event::Usage));
    }

    fn begin(&mut self, head: PartHead, out: &mut Vec<Event>) -> u32 {
        let part = self.parts;
        self.parts += 1;
        out.push(Event::PartStart { choice: 0, part, head });
        part
    }

    fn block_start(&mut self, index: u64, raw: &RawValue, out: &mut Vec<Event>) {
        if let Some(block) = self.open.remove(&index) {
            self.close(block, out);
        }
        let Some(mut block) = Object::read(raw.get()) else { return };
        let kind = block.kind().unwrap_or_default();
        let block = match kind.as_str() {
            "text" => {
                let part = self.begin(PartHead::Text, out);
                let text = block.loose_text("text").filter(|text| !text.is_empty());
                out.extend(text.map(|text| delta(part, Delta::Text(text))));
                for citation in block.take("citations").and_then(array).unwrap_or_default() {
                    let citation = Raw::parse(citation.get()).map(Delta::Citation);
                    out.extend(citation.map(|citation| delta(part, citation)));
                }
                Block::Part(part)
            }
            "thinking" => {
                let part = self.begin(PartHead::Reasoning { id: None }, out);
                let text = block.loose_text("thinking").filter(|text| !text.is_empty());
                out.extend(text.map(|text| delta(part, Delta::Thought(text))));
                self.opaque(part, OpaqueKind::Signature, block.loose_text("signature"), out);
                Block::Part(part)
            }
            "redacted_thinking" => {
                let part = self.begin(PartHead::Reasoning { id: None }, out);
                let data = block.loose_text("data").unwrap_or_default();
                out.push(delta(part, Delta::Opaque(self.sealed(OpaqueKind::Redacted, data))));
                Block::Part(part)
            }
            "tool_use" => {
                let head = PartHead::ToolCall {
                    id: block.loose_text("id").unwrap_or_default(),
                    item_id: None,
                    name: names::original(block.loose_text("name").unwrap_or_default()),
                    kind: ToolKind::Function,
                };
                let part = self.begin(head, out);
                let input = block.take("input").map_or("{}", RawValue::get).to_owned();
                Block::Call { part, input, told: false }
            }
            _ => Block::Unknown { kind, raw: raw.get().to_owned(), input: String::new() },
        };
        self.open.insert(index, block);
    }

    fn sealed(&self, kind: OpaqueKind, data: String) -> Opaque {
        Opaque { issuer: self.issuer.clone(), kind, data }
    }

    fn opaque(&self, part: u32, kind: OpaqueKind, data: Option<String>, out: &mut Vec<Event>) {
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            out.push(delta(part, Delta::Opaque(self.sealed(kind, data))));
        }
    }

    fn delta(&mut self, index: u64, mut told: Object<'_>, out: &mut Vec<Event>) {
        let kind = told.kind().unwrap_or_default();
        let mut text = |name: &str| told.loose_text(name).filter(|text| !text.is_empty());
        match (self.open.get_mut(&index), kind.as_str()) {
            (Some(Block::Part(part)), "text_delta") => {
                out.extend(text("text").map(|text| delta(*part, Delta::Text(text))));
            }
            (Some(Block::Part(part)), "thinking_delta") => {
                out.extend(text("thinking").map(|text| delta(*part, Delta::Thought(text))));
            }
            (Some(Block::Part(part)), "signature_delta") => {
                let (part, signature) = (*part, text("signature"));
                self.opaque(part, OpaqueKind::Signature, signature, out);
            }
            (Some(Block::Part(part)), "citations_delta") => {
                let citation = told.take("citation").and_then(|raw| Raw::parse(raw.get()));
                out.extend(citation.map(|raw| delta(*part, Delta::Citation(raw))));
            }
            (Some(Block::Call { part, told, .. }), "input_json_delta") => {
                if let Some(json) = text("partial_json") {
                    *told = true;
                    out.push(delta(*part, Delta::Arguments(json)));
                }
            }
            (Some(Block::Unknown { input, .. }), "input_json_delta") => {
                input.push_str(&text("partial_json").unwrap_or_default());
            }
            _ => {}
        }
    }

    fn close(&mut self, block: Block, out: &mut Vec<Event>) {
        let part = match block {
            Block::Part(part) => part,
            Block::Call { part, input, told } => {
                if !told {
                    out.push(delta(part, Delta::Arguments(input)));
                }
                part
            }
            Block::Unknown { kind, raw, input } => {
                let raw = if input.is_empty() { raw } else { with_input(&raw, &input) };
                let Some(raw) = Raw::parse(&raw) else { return };
                self.begin(PartHead::Unknown { dialect: Dialect::Messages, kind, raw }, out)
            }
        };
        out.push(Event::PartEnd { choice: 0, part });
    }

    fn close_all(&mut self, out: &mut Vec<Event>) {
        let mut open: Vec<(u64, Block)> = self.open.drain().collect();
        open.sort_by_key(|(index, _)| *index);
        for (_, block) in open {
            self.close(block, out);
        }
    }

    fn message_delta(&mut self, mut event: Object<'_>, out: &mut Vec<Event>) {
        self.start(None, None, out);
        let delta_object = event.take("delta").and_then(|delta| Object::read(delta.get()));
        let mut told = delta_object.unwrap_or_else(Object::empty);
        if let Some(reason) = told.loose_text("stop_reason") {
            self.close_all(out);
            if let Some(Part::Refusal { text }) = explanation(told.take("stop_details")) {
                let part = self.begin(PartHead::Refusal, out);
                out.push(delta(part, Delta::Text(text)));
                out.push(Event::PartEnd { choice: 0, part });
            }
            let stop = read_stop(reason, told.loose_text("stop_sequence"));
            out.push(Event::Stop { choice: 0, stop });
        }
        self.usage(event.take("usage"), out);
    }
}

fn index(event: &mut Object<'_>) -> u64 {
    event.take("index").and_then(|index| index.get().parse().ok()).unwrap_or(0)
}

fn delta(part: u32, delta: Delta) -> Event {
    Event::Delta { choice: 0, part, delta }
}

/// A block with the input that came piece by piece.
fn with_input(raw: &str, input: &str) -> String {
    let Some(block) = Object::read(raw).filter(|_| Raw::parse(input).is_some()) else {
        return raw.to_owned();
    };
    let mut bytes = Vec::with_capacity(raw.len() + input.len());
    let mut out = Out::object(&mut bytes);
    let mut told = false;
    for (name, value) in block.rest() {
        let value = if name == "input" {
            told = true;
            input
        } else {
            value.get()
        };
        out.raw(&name, value);
    }
    if !told {
        out.raw("input", input);
    }
    out.end();
    String::from_utf8(bytes).unwrap_or_else(|_| raw.to_owned())
}
