//! Streams: each event as it should have been, before anything else looks at it.
//!
//! Only an event that has what a flag speaks of is edited, and then only there; every other passes as the very bytes.
//! For vendors that want their thoughts back, this is also where they are listened to.

use bytes::Bytes;
use memchr::memmem;

use super::answer::{put, sort};
use super::splice::{Members, Splices, elements};
use super::{Quirk, Quirks};
use crate::blocks::keepsake::Collector;
use crate::blocks::{Event as Heard, Issuer, Keepsake};
use crate::dialects::StreamReader;
use crate::dialects::chat::think_tag::ThinkTag;
use crate::flow::{Flow, Pieces};
use crate::json::text::{decode, encode};
use crate::json::{Span, Visitor, scan_document};
use crate::sse::{Event, Framer};
use crate::tap::StreamFault;

/// OpenAI makes at most 128 answers; a larger number is no choice's.
const MOST_CHOICES: usize = 128;

/// A stream of a vendor with deviations, and the flow that it would be without them.
#[derive(Debug)]
pub struct Cleaned {
    framer: Framer,
    cleaner: Cleaner,
    listener: Option<Listener>,
    /// What reads the clean stream.
    pub(crate) flow: Flow,
}

/// Hears the thoughts of an answer that calls tools.
#[derive(Debug)]
struct Listener {
    reader: StreamReader,
    events: Vec<Heard>,
    collector: Collector,
    ended: bool,
}

impl Cleaned {
    /// Before `flow`, which reads a stream of `issuer`.
    pub fn new(quirks: Quirks, issuer: Issuer, flow: Flow, max_event: usize) -> Self {
        let listener = quirks.has(Quirk::NeedsReasoningReplay).then(|| Listener {
            reader: StreamReader::new(issuer),
            events: Vec::new(),
            collector: Collector::with_plain_thoughts(),
            ended: false,
        });
        let cleaner = Cleaner { quirks, tags: Vec::new() };
        Self { framer: Framer::new(max_event), cleaner, listener, flow }
    }

    pub(crate) fn push(&mut self, chunk: Bytes, out: &mut Pieces) -> Result<(), StreamFault> {
        self.framer.push(chunk);
        while let Some(event) = self.framer.next().map_err(|_| StreamFault::TooLong)? {
            if let Some(listener) = &mut self.listener {
                listener.hear(&event);
            }
            if let Some(clean) = self.cleaner.event(event) {
                self.flow.push(clean, out)?;
            }
        }
        Ok(())
    }

    pub(crate) fn end(&mut self, out: &mut Pieces) -> Result<(), StreamFault> {
        let rest = self.framer.finish();
        if !rest.is_empty() {
            self.flow.push(rest, out)?;
        }
        self.flow.end(out)
    }

    pub(crate) fn keepsake(&mut self) -> Option<Keepsake> {
        let inner = self.flow.keepsake();
        let listener = self.listener.as_mut().filter(|listener| listener.ended);
        inner.or_else(|| std::mem::take(&mut listener?.collector).finish())
    }
}

impl Listener {
    fn hear(&mut self, event: &Event) {
        if event.comment_only {
            return;
        }
        self.events.clear();
        self.reader.push(event.name.as_deref(), &event.data, &mut self.events);
        for heard in &self.events {
            self.collector.see(heard);
            self.ended |= matches!(heard, Heard::End | Heard::Stop { .. });
        }
    }
}

/// Cleans one event after another.
#[derive(Debug)]
pub(super) struct Cleaner {
    quirks: Quirks,
    /// By the number of the choice.
    tags: Vec<(usize, ThinkTag)>,
}

impl Cleaner {
    /// The event's bytes as they should be; `None` where it says nothing at all.
    pub(super) fn event(&mut self, event: Event) -> Option<Bytes> {
        if event.comment_only {
            return Some(event.raw);
        }
        if event.data.trim_ascii() == b"[DONE]" {
            return Some(self.rest(event.raw));
        }
        let zero =
            self.quirks.has(Quirk::ZeroUsageChunks) && memmem::find(&event.data, b"\"usage\"").is_some();
        let role =
            self.quirks.has(Quirk::EmptyRoleDeltas) && memmem::find(&event.data, b"\"role\"").is_some();
        if !zero && !role && !self.thinks() {
            return Some(event.raw);
        }
        let Some(chunk) = Members::of(&event.data) else { return Some(event.raw) };
        let splices = self.chunk(chunk, zero, role)?;
        if splices.is_empty() {
            return Some(event.raw);
        }
        Some(event.with_data(&splices.apply(&event.data)))
    }

    /// Whether a think tag may still come or end.
    fn thinks(&self) -> bool {
        self.quirks.has(Quirk::ReasoningInThinkTags)
            && (self.tags.is_empty() || !self.tags.iter().all(|(_, tag)| tag.is_through()))
    }

    fn chunk(&mut self, mut chunk: Members<'_>, zero: bool, role: bool) -> Option<Splices> {
        let choices = chunk.value("choices").map(elements).unwrap_or_default();
        if zero && chunk.value("usage").is_some_and(is_zero) {
            if choices.is_empty() {
                return None;
            }
            chunk.remove("usage");
        }
        let inner = chunk.value("choices").zip(chunk.span("choices")).map(|(list, place)| {
            let mut inner = Splices::default();
            for (at, span) in choices.iter().enumerate() {
                if let Some(splices) = self.choice(span.of(list), at, role) {
                    inner.take(splices, place.start + span.start);
                }
            }
            inner
        });
        let mut splices = chunk.splices();
        splices.take(inner.unwrap_or_default(), 0);
        Some(splices)
    }

    fn choice(&mut self, choice: &[u8], at: usize, role: bool) -> Option<Splices> {
        let choice = Members::of(choice)?;
        let number = choice.value("index").and_then(|index| std::str::from_utf8(index).ok()?.parse().ok());
        let number = number.unwrap_or(at);
        let (text, place) = (choice.value("delta")?, choice.span("delta")?);
        let mut delta = Members::of(text)?;
        if role && delta.value("role") == Some(br#""""#) {
            delta.remove("role");
        }
        if self.quirks.has(Quirk::ReasoningInThinkTags) {
            self.think(number, &mut delta, choice.value("finish_reason").is_some());
        }
        let mut splices = Splices::default();
        splices.take(delta.splices(), place.start);
        Some(splices)
    }

    fn think(&mut self, number: usize, delta: &mut Members<'_>, last: bool) {
        let known = self.tags.iter().position(|(choice, _)| *choice == number);
        if known.is_none() && self.tags.len() >= MOST_CHOICES {
            return;
        }
        let at = known.unwrap_or_else(|| {
            self.tags.push((number, ThinkTag::default()));
            self.tags.len() - 1
        });
        let Some((_, tag)) = self.tags.get_mut(at) else { return };
        let content = delta.value("content").and_then(decode);
        if tag.is_through() {
            return;
        }
        let mut pieces = Vec::new();
        if let Some(content) = &content {
            tag.push(content, &mut pieces);
        }
        if last {
            tag.end(&mut pieces);
        }
        let (thought, said) = sort(pieces);
        match content {
            Some(content) if thought.is_empty() && said == content => {}
            Some(_) => put(delta, &thought, &said),
            None => {
                for (name, text) in [("content", said), ("reasoning_content", thought)] {
                    if !text.is_empty() {
                        delta.remove(name);
                        delta.add(name, &quoted(&text));
                    }
                }
            }
        }
    }

    /// What is still held back when the stream ends without a finish reason, as an event before the end.
    fn rest(&mut self, end: Bytes) -> Bytes {
        let mut before = Vec::new();
        for (number, tag) in &mut self.tags {
            let mut pieces = Vec::new();
            tag.end(&mut pieces);
            let (thought, said) = sort(pieces);
            let (name, text) =
                if thought.is_empty() { ("content", said) } else { ("reasoning_content", thought) };
            if !text.is_empty() {
                let head = format!(
                    "data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":{number},\"delta\":{{\"{name}\":"
                );
                before.extend_from_slice(head.as_bytes());
                before.extend_from_slice(&quoted(&text));
                before.extend_from_slice(b"},\"finish_reason\":null}]}\n\n");
            }
        }
        if before.is_empty() {
            return end;
        }
        before.extend_from_slice(&end);
        before.into()
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    encode(text, &mut out);
    out
}

/// Whether an object of counts holds numbers and all of them are zero.
fn is_zero(usage: &[u8]) -> bool {
    #[derive(Default)]
    struct Numbers {
        zero: bool,
        other: bool,
    }
    impl Visitor for Numbers {
        fn scalar(&mut self, _: usize, text: &[u8], span: Span) {
            match span.of(text) {
                b"0" => self.zero = true,
                b"null" => {}
                _ => self.other = true,
            }
        }
    }
    let mut numbers = Numbers::default();
    usage.starts_with(b"{") && scan_document(usage, &mut numbers).is_ok() && numbers.zero && !numbers.other
}
