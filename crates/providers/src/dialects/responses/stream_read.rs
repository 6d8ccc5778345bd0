//! A provider's events into the form's.
//!
//! Servers differ in how much they tell twice: some send no deltas but the finished item, some no finished item but
//! deltas. So each part counts what came of it, and what a later event has more of is made up for.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::answer::{Wire, join_logprobs, lenient_list, read_call, read_content, read_reasoning, told_error};
use super::members::{Members, keep};
use crate::blocks::{Delta, Event, Issuer, Part, PartHead, ToolKind};
use crate::dialects::Dialect;

/// Reads a provider's stream.
#[derive(Debug)]
pub struct StreamReader {
    issuer: Issuer,
    begun: bool,
    finished: bool,
    /// Of parts, from 0.
    next: u32,
    /// By place in `output`.
    items: BTreeMap<u64, Seen>,
    called: bool,
}

/// What came of an item.
#[derive(Debug, Default)]
struct Seen {
    /// The part of a call or a thought.
    part: Option<Open>,
    /// The parts of a message, by their place in it.
    content: BTreeMap<u64, Open>,
    /// Bytes of each paragraph of a summary.
    summary: Vec<usize>,
    done: bool,
}

/// A part that began.
#[derive(Clone, Copy, Debug)]
struct Open {
    part: u32,
    /// Bytes of text or arguments that were passed on.
    bytes: usize,
    citations: usize,
    ended: bool,
}

/// An event's members that are read; each is looked at only where its event is known.
#[derive(Debug, Deserialize)]
struct Told<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, default)]
    output_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    content_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    summary_index: Option<&'a RawValue>,
    #[serde(borrow, default)]
    delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    text: Option<&'a RawValue>,
    #[serde(borrow, default)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    #[serde(borrow, default)]
    part: Option<&'a RawValue>,
    #[serde(borrow, default)]
    annotation: Option<&'a RawValue>,
    #[serde(borrow, default)]
    item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

fn text(raw: Option<&RawValue>) -> String {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
}

fn index(raw: Option<&RawValue>) -> u64 {
    raw.and_then(|raw| raw.get().parse().ok()).unwrap_or(0)
}

impl StreamReader {
    pub(crate) fn new(issuer: Issuer) -> Self {
        Self { issuer, begun: false, finished: false, next: 0, items: BTreeMap::new(), called: false }
    }

    pub(crate) fn push(&mut self, name: Option<&[u8]>, data: &[u8], out: &mut Vec<Event>) {
        if self.finished || data.is_empty() || data == b"[DONE]" {
            return;
        }
        let told: Told<'_> = match serde_json::from_slice(data) {
            Ok(told) => told,
            Err(error) => {
                return self.fail(format!("the provider sent an event that is not JSON: {error}"), None, out);
            }
        };
        let kind = match text(told.kind) {
            kind if kind.is_empty() => String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
            kind => kind,
        };
        self.event(&kind, &told, data, out);
    }

    /// The dialect has an end marker of its own: a stream that ends without it is broken off.
    #[expect(clippy::unused_self, reason = "the same door as other dialects")]
    pub(crate) fn end(&mut self, _out: &mut Vec<Event>) {}

    fn event(&mut self, kind: &str, told: &Told<'_>, data: &[u8], out: &mut Vec<Event>) {
        match kind {
            "response.created" | "response.queued" | "response.in_progress" => self.begin(told.response, out),
            "response.output_item.added" => self.item_added(told, out),
            "response.output_item.done" => {
                self.begin(None, out);
                if let Some(item) = told.item {
                    self.item_done(index(told.output_index), item, out);
                }
            }
            "response.content_part.added" => self.part_added(told, out),
            "response.content_part.done" => {
                if let Some(part) = told.part {
                    self.content_done(index(told.output_index), index(told.content_index), part, out);
                }
            }
            "response.output_text.delta" => self.said(told, PartHead::Text, &text(told.delta), false, out),
            "response.output_text.done" => self.said(told, PartHead::Text, &text(told.text), true, out),
            "response.refusal.delta" => self.said(told, PartHead::Refusal, &text(told.delta), false, out),
            "response.refusal.done" => self.said(told, PartHead::Refusal, &text(told.refusal), true, out),
            "response.output_text.annotation.added" => self.annotated(told, out),
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.arguments(index(told.output_index), &text(told.delta), false, out);
            }
            "response.function_call_arguments.done" => {
                self.arguments(index(told.output_index), &text(told.arguments), true, out);
            }
            "response.custom_tool_call_input.done" => {
                self.arguments(index(told.output_index), &text(told.input), true, out);
            }
            "response.reasoning_summary_part.added" => self.summary(told, "", false, out),
            "response.reasoning_summary_text.delta" => self.summary(told, &text(told.delta), false, out),
            "response.reasoning_summary_text.done" => self.summary(told, &text(told.text), true, out),
            "response.reasoning_text.delta" => self.thought(index(told.output_index), &text(told.delta), out),
            "response.completed" | "response.incomplete" => self.finish(kind, told, out),
            "response.cancelled" => {
                let message = "the response was cancelled at the provider".to_owned();
                self.fail(message, Some("response_cancelled".to_owned()), out);
            }
            "response.failed" => {
                let error = told
                    .response
                    .and_then(|raw| serde_json::from_str::<Wire<'_>>(raw.get()).ok())
                    .and_then(|wire| wire.error);
                let (message, code) = told_error(error.map_or("{}", RawValue::get));
                self.fail(message, code, out);
            }
            "error" => {
                let flat = std::str::from_utf8(data).unwrap_or_default();
                let (message, code) = told_error(told.error.map_or(flat, RawValue::get));
                // The event's own `type` is no code.
                self.fail(message, code.filter(|code| code != "error"), out);
            }
            "" => {
                if let Some(error) = told.error {
                    let (message, code) = told_error(error.get());
                    self.fail(message, code, out);
                }
            }
            // Progress of hosted tools: what comes of them stands in their finished items.
            _ => {}
        }
    }

    fn fail(&mut self, message: String, code: Option<String>, out: &mut Vec<Event>) {
        self.finished = true;
        out.push(Event::Error { message, code });
    }

    fn begin(&mut self, response: Option<&RawValue>, out: &mut Vec<Event>) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        let wire =
            response.and_then(|raw| serde_json::from_str::<Wire<'_>>(raw.get()).ok()).unwrap_or_default();
        out.push(Event::Start { created: wire.created(), id: wire.id, model: wire.model });
    }

    fn start(&mut self, head: PartHead, out: &mut Vec<Event>) -> Open {
        let part = self.next;
        self.next += 1;
        out.push(Event::PartStart { choice: 0, part, head });
        Open { part, bytes: 0, citations: 0, ended: false }
    }

    fn item_added(&mut self, told: &Told<'_>, out: &mut Vec<Event>) {
        self.begin(None, out);
        let Some(item) = told.item.and_then(|raw| Members::of(raw.get())) else { return };
        let place = index(told.output_index);
        if self.items.contains_key(&place) {
            return;
        }
        self.items.insert(place, Seen::default());
        match item.peek("type").as_deref() {
            Some("function_call") => self.call_added(place, &item, ToolKind::Function, out),
            Some("custom_tool_call") => self.call_added(place, &item, ToolKind::Custom, out),
            Some("reasoning") => {
                let open = self.start(PartHead::Reasoning { id: item.peek("id") }, out);
                self.items.entry(place).or_default().part = Some(open);
            }
            _ => {}
        }
    }

    fn call_added(&mut self, place: u64, item: &Members<'_>, kind: ToolKind, out: &mut Vec<Event>) {
        let Part::ToolCall(call) = read_call(item, kind) else { return };
        self.called = true;
        let head =
            PartHead::ToolCall { id: call.id, item_id: call.item_id, name: call.name, kind: call.kind };
        let open = self.start(head, out);
        self.items.entry(place).or_default().part = Some(open);
        self.arguments(place, &call.arguments, true, out);
    }

    /// More of a call's arguments; `whole`: all of them, of which what came already is left out.
    fn arguments(&mut self, place: u64, text: &str, whole: bool, out: &mut Vec<Event>) {
        let Some(open) = self.items.get_mut(&place).and_then(|seen| seen.part.as_mut()) else { return };
        if let Some(more) = more(open, text, whole) {
            out.push(Event::Delta { choice: 0, part: open.part, delta: Delta::Arguments(more) });
        }
    }

    fn part_added(&mut self, told: &Told<'_>, out: &mut Vec<Event>) {
        let Some(part) = told.part else { return };
        let (head, text) = match read_content(part, &mut Vec::new()) {
            Some(Part::Text { text, .. }) => (PartHead::Text, text),
            Some(Part::Refusal { text }) => (PartHead::Refusal, text),
            _ => return,
        };
        self.said(told, head, &text, true, out);
    }

    /// Text of a message; its part begins where it has not.
    fn said(&mut self, told: &Told<'_>, head: PartHead, text: &str, whole: bool, out: &mut Vec<Event>) {
        let (place, number) = (index(told.output_index), index(told.content_index));
        self.say(place, number, head, text, whole, out);
    }

    fn say(
        &mut self,
        place: u64,
        number: u64,
        head: PartHead,
        text: &str,
        whole: bool,
        out: &mut Vec<Event>,
    ) {
        self.begin(None, out);
        let known = self.items.entry(place).or_default().content.get(&number).copied();
        let mut open = match known {
            Some(open) => open,
            None => self.start(head, out),
        };
        if let Some(more) = more(&mut open, text, whole) {
            out.push(Event::Delta { choice: 0, part: open.part, delta: Delta::Text(more) });
        }
        self.items.entry(place).or_default().content.insert(number, open);
    }

    fn annotated(&mut self, told: &Told<'_>, out: &mut Vec<Event>) {
        let Some(citation) = told.annotation.and_then(keep) else { return };
        let seen = self.items.get_mut(&index(told.output_index));
        let Some(open) = seen.and_then(|seen| seen.content.get_mut(&index(told.content_index))) else {
            return;
        };
        if !open.ended {
            open.citations += 1;
            out.push(Event::Delta { choice: 0, part: open.part, delta: Delta::Citation(citation) });
        }
    }

    /// A part of a message is complete: what was not told before is told now.
    fn content_done(&mut self, place: u64, number: u64, raw: &RawValue, out: &mut Vec<Event>) {
        let ended = |seen: &Seen| seen.content.get(&number).is_some_and(|open| open.ended);
        if self.items.get(&place).is_some_and(ended) {
            return;
        }
        let mut logprobs = Vec::new();
        let citations = match read_content(raw, &mut logprobs) {
            Some(Part::Text { text, citations, .. }) => {
                self.say(place, number, PartHead::Text, &text, true, out);
                citations
            }
            Some(Part::Refusal { text }) => {
                self.say(place, number, PartHead::Refusal, &text, true, out);
                Vec::new()
            }
            _ => return,
        };
        let seen = self.items.entry(place).or_default();
        let Some(open) = seen.content.get_mut(&number) else { return };
        for citation in citations.into_iter().skip(open.citations) {
            out.push(Event::Delta { choice: 0, part: open.part, delta: Delta::Citation(citation) });
        }
        if let Some(raw) = join_logprobs(&logprobs) {
            out.push(Event::Logprobs { choice: 0, raw });
        }
        end(open, out);
    }

    fn summary(&mut self, told: &Told<'_>, text: &str, whole: bool, out: &mut Vec<Event>) {
        self.paragraph(index(told.output_index), index(told.summary_index), text, whole, out);
    }

    fn paragraph(&mut self, place: u64, number: u64, text: &str, whole: bool, out: &mut Vec<Event>) {
        let Some(seen) = self.items.get_mut(&place) else { return };
        let Some(open) = seen.part.filter(|open| !open.ended) else { return };
        // A number out of all order must not make room for all that it leaves out.
        let number = usize::try_from(number).unwrap_or(usize::MAX).min(seen.summary.len());
        let fresh = number == seen.summary.len();
        if fresh {
            seen.summary.push(0);
        }
        let mut count = Open { bytes: seen.summary[number], ..open };
        let more = more(&mut count, text, whole);
        seen.summary[number] = count.bytes;
        if fresh || more.is_some() {
            let paragraph = u32::try_from(number).unwrap_or(u32::MAX);
            let delta = Delta::Summary { paragraph, text: more.unwrap_or_default() };
            out.push(Event::Delta { choice: 0, part: open.part, delta });
        }
    }

    fn thought(&mut self, place: u64, text: &str, out: &mut Vec<Event>) {
        let Some(open) = self.items.get_mut(&place).and_then(|seen| seen.part.as_mut()) else { return };
        if let Some(more) = more(open, text, false) {
            out.push(Event::Delta { choice: 0, part: open.part, delta: Delta::Thought(more) });
        }
    }

    fn item_done(&mut self, place: u64, raw: &RawValue, out: &mut Vec<Event>) {
        let Some(mut item) = Members::of(raw.get()) else { return };
        let seen = self.items.entry(place).or_default();
        if std::mem::replace(&mut seen.done, true) {
            return;
        }
        let begun = seen.part.is_some();
        let kind = item.peek("type").unwrap_or_default();
        match kind.as_str() {
            "message" => {
                for (number, part) in (0u64..).zip(lenient_list(&mut item, "content")) {
                    self.content_done(place, number, part, out);
                }
            }
            "function_call" | "custom_tool_call" => {
                let tool = if kind == "function_call" { ToolKind::Function } else { ToolKind::Custom };
                if !begun {
                    self.call_added(place, &item, tool, out);
                } else if let Part::ToolCall(call) = read_call(&item, tool) {
                    self.arguments(place, &call.arguments, true, out);
                }
            }
            "reasoning" => self.reasoning_done(place, &mut item, out),
            _ => {
                if let Some(raw) = keep(raw) {
                    let open = self.start(PartHead::Unknown { dialect: Dialect::Responses, kind, raw }, out);
                    self.items.entry(place).or_default().part = Some(open);
                }
            }
        }
        self.close(place, out);
    }

    fn reasoning_done(&mut self, place: u64, item: &mut Members<'_>, out: &mut Vec<Event>) {
        let thought = read_reasoning(item, &self.issuer);
        if self.items.get(&place).is_none_or(|seen| seen.part.is_none()) {
            let open = self.start(PartHead::Reasoning { id: thought.id.clone() }, out);
            self.items.entry(place).or_default().part = Some(open);
        }
        for (number, text) in (0u64..).zip(&thought.summary) {
            self.paragraph(place, number, text, true, out);
        }
        let Some(open) = self.items.get_mut(&place).and_then(|seen| seen.part.as_mut()) else { return };
        if let Some(more) = more(open, &thought.text, true) {
            out.push(Event::Delta { choice: 0, part: open.part, delta: Delta::Thought(more) });
        }
        if let Some(opaque) = thought.opaque {
            out.push(Event::Delta { choice: 0, part: open.part, delta: Delta::Opaque(opaque) });
        }
    }

    /// Ends the parts of an item that are open still.
    fn close(&mut self, place: u64, out: &mut Vec<Event>) {
        let Some(seen) = self.items.get_mut(&place) else { return };
        for open in seen.part.iter_mut().chain(seen.content.values_mut()) {
            end(open, out);
        }
    }

    fn finish(&mut self, kind: &str, told: &Told<'_>, out: &mut Vec<Event>) {
        let raw = told.response.map_or("{}", RawValue::get);
        let mut wire: Wire<'_> = match serde_json::from_str(raw) {
            Ok(wire) => wire,
            Err(error) => {
                return self.fail(format!("the provider's last event cannot be read: {error}"), None, out);
            }
        };
        self.begin(told.response, out);
        for (place, item) in (0u64..).zip(wire.output.take().unwrap_or_default()) {
            // Told nowhere else, by servers that send the end alone.
            if self.items.get(&place).is_none_or(|seen| !seen.done) {
                self.item_done(place, item, out);
            }
        }
        for place in self.items.keys().copied().collect::<Vec<_>>() {
            self.close(place, out);
        }
        if wire.status.is_none() {
            wire.status = kind.strip_prefix("response.").map(str::to_owned);
        }
        if let Some(usage) = wire.counted() {
            out.push(Event::Usage(usage));
        }
        out.extend(wire.service_tier.take().map(Event::ServiceTier));
        out.push(Event::Stop { choice: 0, stop: wire.stop(self.called) });
        out.push(Event::End);
        self.finished = true;
    }
}

/// What is new in a text; `whole`: it begins with what came already.
fn more(open: &mut Open, text: &str, whole: bool) -> Option<String> {
    if open.ended {
        return None;
    }
    let new = if whole { text.get(open.bytes..)? } else { text };
    open.bytes += new.len();
    (!new.is_empty()).then(|| new.to_owned())
}

fn end(open: &mut Open, out: &mut Vec<Event>) {
    if !std::mem::replace(&mut open.ended, true) {
        out.push(Event::PartEnd { choice: 0, part: open.part });
    }
}
