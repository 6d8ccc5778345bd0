//! A client's stream.
//!
//! Blocks come one after another: of parts that the provider interleaves, the first open one is written and the others
//! are kept back until it ends. A block begins with the first of its content, so that parts that stay empty leave none,
//! as in whole answers.

use std::collections::VecDeque;

use bytes::{BufMut, BytesMut};

use super::answer::{call_id, is_custom, is_own_block, is_redacted, message_id, tells_refusal, write_stop};
use super::blocks::is_citation;
use super::error::error_body;
use super::json::Out;
use super::usage;
use crate::Usage;
use crate::blocks::{Delta, Event, Opaque, PartHead, Stop, fold};
use crate::dialects::{Dialect, Failing, Reply};
use crate::json::text::encode;

/// How many bytes of parts are kept back at most.
const MOST_KEPT: usize = 16 << 20;
/// How many parts are kept back at most.
const MOST_PARTS: usize = 4096;

/// Writes a client's stream.
#[derive(Debug)]
pub struct StreamWriter(Box<Writing>);

impl StreamWriter {
    pub(crate) fn new(reply: &Reply<'_>) -> Self {
        Self(Box::new(Writing::new(reply)))
    }

    pub(crate) fn write(&mut self, event: &Event, out: &mut BytesMut) {
        self.0.write(event, out);
    }

    pub(crate) fn error(&mut self, failing: &Failing<'_>, out: &mut BytesMut) {
        self.0.error(failing, out);
    }
}

/// How far it is.
#[derive(Debug)]
struct Writing {
    reply_id: String,
    model: String,
    state: State,
    id: Option<String>,
    tier: Option<String>,
    usage: Option<Usage>,
    /// Blocks that were begun.
    blocks: u32,
    calls: usize,
    open: Option<OpenPart>,
    kept: VecDeque<KeptPart>,
    kept_bytes: usize,
    refusal: String,
    refusal_part: Option<u32>,
    stop: Option<Stop>,
    /// An error was told.
    failed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fresh,
    Started,
    Done,
}

/// The part that is being written.
#[derive(Debug)]
struct OpenPart {
    part: u32,
    head: PartHead,
    /// Its block was begun.
    begun: bool,
    /// Input or thoughts were written.
    told: bool,
    /// Thoughts are told as raw ones or as summaries, whichever comes first: the paragraph of a summary.
    paragraph: Option<u32>,
    raw_thoughts: bool,
    /// A signature of another dialect that follows the block.
    carried: Option<Opaque>,
}

/// A part that waits.
#[derive(Debug)]
struct KeptPart {
    part: u32,
    head: PartHead,
    deltas: Vec<Delta>,
    ended: bool,
}

impl Writing {
    fn new(reply: &Reply<'_>) -> Self {
        Self {
            reply_id: reply.id.to_owned(),
            model: reply.model.to_owned(),
            state: State::Fresh,
            id: None,
            tier: None,
            usage: None,
            blocks: 0,
            calls: 0,
            open: None,
            kept: VecDeque::new(),
            kept_bytes: 0,
            refusal: String::new(),
            refusal_part: None,
            stop: None,
            failed: false,
        }
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        if self.state == State::Done {
            return;
        }
        match event {
            // The beginning tells the usage of the input, which readers of the same dialect give right after.
            Event::Start { id, model, .. } => {
                self.id.clone_from(id);
                if let Some(model) = model {
                    self.model.clone_from(model);
                }
            }
            Event::ServiceTier(tier) => self.tier = Some(tier.clone()),
            Event::Usage(usage) => {
                fold::merge(self.usage.get_or_insert_default(), usage);
                self.start(out);
            }
            Event::PartStart { choice: 0, part, head } => self.part_start(*part, head, out),
            Event::Delta { choice: 0, part, delta } => self.delta(*part, delta, out),
            Event::PartEnd { choice: 0, part } => self.part_end(*part, out),
            Event::Stop { choice: 0, stop } => {
                self.start(out);
                self.stop = Some(stop.clone());
            }
            Event::End => self.end(out),
            // Other choices than the first, log probabilities; errors are told by `error`.
            Event::PartStart { .. }
            | Event::Delta { .. }
            | Event::PartEnd { .. }
            | Event::Stop { .. }
            | Event::Logprobs { .. }
            | Event::Error { .. } => {}
        }
    }

    /// Also behind the end, where whoever holds that back lets it not go on.
    fn error(&mut self, failing: &Failing<'_>, out: &mut BytesMut) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        self.state = State::Done;
        out.put_slice(b"event: error\ndata: ");
        out.put_slice(&error_body(failing));
        out.put_slice(b"\n\n");
    }

    fn start(&mut self, out: &mut BytesMut) {
        if self.state != State::Fresh {
            return;
        }
        self.state = State::Started;
        let (id, usage) = (message_id(self.id.as_deref(), &self.reply_id), self.usage);
        send("message_start", out, |event| {
            let mut message = Out::object(event.key("message"));
            message.text("id", &id).text("type", "message").text("role", "assistant");
            message.text("model", &self.model).raw("content", "[]");
            message.raw("stop_reason", "null").raw("stop_sequence", "null");
            usage::write(usage.as_ref(), self.tier.as_deref(), true, &mut message);
            message.end();
        });
    }

    fn part_start(&mut self, part: u32, head: &PartHead, out: &mut BytesMut) {
        self.start(out);
        if matches!(head, PartHead::Refusal) {
            self.refusal_part = Some(part);
            return;
        }
        if self.open.is_some() {
            let size = match head {
                PartHead::Unknown { raw, .. } => raw.get().len(),
                PartHead::ToolCall { name, id, .. } => name.len() + id.len(),
                _ => 0,
            };
            self.kept.push_back(KeptPart { part, head: head.clone(), deltas: Vec::new(), ended: false });
            self.keep(size, out);
            return;
        }
        self.open_part(part, head.clone(), out);
    }

    /// Counts what is kept back; more than may be is a failure of the provider, and no answer.
    fn keep(&mut self, size: usize, out: &mut BytesMut) {
        self.kept_bytes = self.kept_bytes.saturating_add(size);
        if self.kept_bytes > MOST_KEPT || self.kept.len() > MOST_PARTS {
            self.kept.clear();
            let failing = Failing {
                status: 502,
                code: "upstream_invalid_answer",
                kind: "server_error",
                message: "the provider interleaves more parts than can be put in order",
                param: None,
                retry_after: None,
                request_id: "",
            };
            self.error(&failing, out);
        }
    }

    fn open_part(&mut self, part: u32, head: PartHead, out: &mut BytesMut) {
        let mut open = OpenPart {
            part,
            head,
            begun: false,
            told: false,
            paragraph: None,
            raw_thoughts: false,
            carried: None,
        };
        match &open.head {
            PartHead::ToolCall { id, name, kind, .. } => {
                let id = call_id(id, &self.reply_id, self.calls);
                self.calls += 1;
                open.begun = true;
                begin(self.blocks, out, |block| {
                    block.text("type", "tool_use").text("id", &id).text("name", name).raw("input", "{}");
                });
                if is_custom(kind) {
                    open.told = true;
                    tell(self.blocks, "input_json_delta", "partial_json", "{\"input\":\"", out);
                }
            }
            PartHead::Unknown { kind, raw, .. } if is_own_block(kind, raw) => {
                open.begun = true;
                send("content_block_start", out, |event| {
                    event.number("index", self.blocks).raw("content_block", raw.get());
                });
            }
            _ => {}
        }
        self.open = Some(open);
    }

    fn delta(&mut self, part: u32, delta: &Delta, out: &mut BytesMut) {
        if self.refusal_part == Some(part) {
            if let Delta::Text(text) = delta {
                self.refusal.push_str(text);
            }
            return;
        }
        if let Some(open) = self.open.as_mut().filter(|open| open.part == part) {
            open.write(delta, self.blocks, out);
            return;
        }
        // The last of the number: one that was ended and begun again is another.
        if let Some(kept) = self.kept.iter_mut().rev().find(|kept| kept.part == part && !kept.ended) {
            let size = size_of(delta);
            match (kept.deltas.last_mut(), delta) {
                (Some(Delta::Arguments(text)), Delta::Arguments(more))
                | (Some(Delta::Text(text)), Delta::Text(more))
                | (Some(Delta::Thought(text)), Delta::Thought(more)) => text.push_str(more),
                _ => kept.deltas.push(delta.clone()),
            }
            self.keep(size, out);
        }
    }

    fn part_end(&mut self, part: u32, out: &mut BytesMut) {
        if self.refusal_part == Some(part) {
            self.refusal_part = None;
        } else if self.open.as_ref().is_some_and(|open| open.part == part) {
            self.close(out);
            self.release(out);
        } else if let Some(kept) = self.kept.iter_mut().rev().find(|kept| kept.part == part) {
            kept.ended = true;
        }
    }

    /// Ends the open block.
    fn close(&mut self, out: &mut BytesMut) {
        let Some(open) = self.open.take() else { return };
        if open.begun {
            match &open.head {
                PartHead::ToolCall { kind, .. } if is_custom(kind) => {
                    tell(self.blocks, "input_json_delta", "partial_json", "\"}", out);
                }
                PartHead::ToolCall { .. } if !open.told => {
                    tell(self.blocks, "input_json_delta", "partial_json", "{}", out);
                }
                _ => {}
            }
            self.stop_block(out);
        }
        if let Some(opaque) = open.carried {
            begin(self.blocks, out, |block| {
                block.text("type", "redacted_thinking").text("data", &opaque.capsule());
            });
            self.stop_block(out);
        }
    }

    fn stop_block(&mut self, out: &mut BytesMut) {
        send("content_block_stop", out, |event| {
            event.number("index", self.blocks);
        });
        self.blocks = self.blocks.saturating_add(1);
    }

    /// Writes parts that waited, up to one that is still open.
    fn release(&mut self, out: &mut BytesMut) {
        while self.open.is_none()
            && let Some(kept) = self.kept.pop_front()
        {
            self.open_part(kept.part, kept.head, out);
            for delta in &kept.deltas {
                self.kept_bytes = self.kept_bytes.saturating_sub(size_of(delta));
                if let Some(open) = &mut self.open {
                    open.write(delta, self.blocks, out);
                }
            }
            if kept.ended {
                self.close(out);
            }
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        self.start(out);
        // Parts that nobody ended are complete now.
        while self.open.is_some() {
            self.close(out);
            self.release(out);
        }
        if tells_refusal(&self.refusal, self.stop.as_ref()) {
            begin(self.blocks, out, |block| {
                block.text("type", "text").text("text", "");
            });
            tell(self.blocks, "text_delta", "text", &self.refusal, out);
            self.stop_block(out);
        }
        self.state = State::Done;
        let stop = self.stop.take();
        send("message_delta", out, |event| {
            let mut delta = Out::object(event.key("delta"));
            write_stop(stop.as_ref(), self.calls > 0, &self.refusal, &mut delta);
            delta.end();
            usage::write(self.usage.as_ref(), None, false, event);
        });
        send("message_stop", out, |_| {});
    }
}

impl OpenPart {
    fn write(&mut self, delta: &Delta, index: u32, out: &mut BytesMut) {
        match (&self.head, delta) {
            (PartHead::Text, Delta::Text(text)) if !text.is_empty() => {
                self.begin_text(index, out);
                tell(index, "text_delta", "text", text, out);
            }
            (PartHead::Text, Delta::Citation(raw)) if is_citation(raw) => {
                self.begin_text(index, out);
                send("content_block_delta", out, |event| {
                    event.number("index", index);
                    let mut delta = Out::object(event.key("delta"));
                    delta.text("type", "citations_delta").raw("citation", raw.get());
                    delta.end();
                });
            }
            (PartHead::ToolCall { kind, .. }, Delta::Arguments(text) | Delta::Text(text))
                if !text.is_empty() =>
            {
                if is_custom(kind) {
                    let mut quoted = Vec::with_capacity(text.len() + 2);
                    encode(text, &mut quoted);
                    let inside = quoted.get(1..quoted.len() - 1).unwrap_or_default();
                    let inside = String::from_utf8_lossy(inside);
                    tell(index, "input_json_delta", "partial_json", &inside, out);
                } else {
                    self.told |= !text.trim().is_empty();
                    tell(index, "input_json_delta", "partial_json", text, out);
                }
            }
            (PartHead::Reasoning { .. }, Delta::Thought(text)) if self.paragraph.is_none() => {
                self.raw_thoughts = true;
                self.think(text, index, out);
            }
            (PartHead::Reasoning { .. }, Delta::Summary { paragraph, text }) if !self.raw_thoughts => {
                let next = self.paragraph.is_some_and(|last| last != *paragraph);
                self.paragraph = Some(*paragraph);
                if next && self.told {
                    self.think("\n\n", index, out);
                }
                self.think(text, index, out);
            }
            (PartHead::Reasoning { .. }, Delta::Opaque(opaque)) => self.sign(opaque, index, out),
            (PartHead::Text | PartHead::ToolCall { .. }, Delta::Opaque(opaque))
                if opaque.issuer.dialect != Dialect::Messages =>
            {
                self.carried = Some(opaque.clone());
            }
            _ => {}
        }
    }

    fn begin_text(&mut self, index: u32, out: &mut BytesMut) {
        if !self.begun {
            self.begun = true;
            begin(index, out, |block| {
                block.text("type", "text").text("text", "");
            });
        }
    }

    fn begin_thought(&mut self, index: u32, out: &mut BytesMut) {
        if !self.begun {
            self.begun = true;
            begin(index, out, |block| {
                block.text("type", "thinking").text("thinking", "").text("signature", "");
            });
        }
    }

    fn think(&mut self, text: &str, index: u32, out: &mut BytesMut) {
        if !text.is_empty() {
            self.begin_thought(index, out);
            self.told = true;
            tell(index, "thinking_delta", "thinking", text, out);
        }
    }

    fn sign(&mut self, opaque: &Opaque, index: u32, out: &mut BytesMut) {
        if is_redacted(opaque) {
            // It is a block of its own, which has no deltas.
            if !self.begun {
                self.begun = true;
                self.head = PartHead::Unknown {
                    dialect: Dialect::Messages,
                    kind: String::new(),
                    raw: crate::blocks::Raw::string(""),
                };
                begin(index, out, |block| {
                    block.text("type", "redacted_thinking").text("data", &opaque.data);
                });
            }
            return;
        }
        self.begin_thought(index, out);
        tell(index, "signature_delta", "signature", &opaque.shown(Dialect::Messages), out);
    }
}

fn size_of(delta: &Delta) -> usize {
    match delta {
        Delta::Text(text) | Delta::Arguments(text) | Delta::Thought(text) | Delta::Summary { text, .. } => {
            text.len()
        }
        Delta::Opaque(opaque) => opaque.data.len(),
        Delta::Citation(raw) => raw.get().len(),
    }
    .saturating_add(16)
}

/// Writes one event; its `type` is its name.
fn send(name: &str, out: &mut BytesMut, fill: impl FnOnce(&mut Out<'_>)) {
    let mut bytes = Vec::with_capacity(160);
    let mut event = Out::object(&mut bytes);
    event.text("type", name);
    fill(&mut event);
    event.end();
    for piece in [b"event: ", name.as_bytes(), b"\ndata: ", &bytes, b"\n\n"] {
        out.put_slice(piece);
    }
}

fn begin(index: u32, out: &mut BytesMut, fill: impl FnOnce(&mut Out<'_>)) {
    send("content_block_start", out, |event| {
        event.number("index", index);
        let mut block = Out::object(event.key("content_block"));
        fill(&mut block);
        block.end();
    });
}

fn tell(index: u32, kind: &str, key: &str, text: &str, out: &mut BytesMut) {
    send("content_block_delta", out, |event| {
        event.number("index", index);
        let mut delta = Out::object(event.key("delta"));
        delta.text("type", kind).text(key, text);
        delta.end();
    });
}
