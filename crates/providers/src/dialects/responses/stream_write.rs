//! The form's events into this dialect's.
//!
//! Events name their item by `output_index`, so parts that are open side by side stay so; nothing is kept back. A
//! message stays open until something that is no text follows, because texts in a row are parts of one message.

use std::collections::BTreeMap;

use bytes::BytesMut;

use super::build::{Object, object};
use super::items::{Body, Content, Item, add_logprobs, annotation, fill_arguments, write_logprobs};
use super::namespaces;
use super::shape::{Failure, Shape, State, status_of};
use crate::Usage;
use crate::blocks::{Delta, Event, Opaque, PartHead, Stop, ToolCall, ToolKind, fold};
use crate::dialects::{Dialect, Failing, Reply};
use crate::json::top_level;

/// Writes a client's stream.
#[derive(Debug)]
pub struct StreamWriter {
    shape: Shape,
    sequence: u64,
    begun: bool,
    ended: bool,
    /// An error was told.
    failed: bool,
    /// The number that the end began with.
    number_before: u64,
    items: Vec<Item>,
    /// By the part's number.
    parts: BTreeMap<u32, Place>,
    /// The message that may go on: its item.
    message: Option<usize>,
    usage: Option<Usage>,
    stop: Option<Stop>,
    /// Log probabilities that came before their text.
    early: Vec<u8>,
}

/// Where a part stands.
#[derive(Debug)]
struct Place {
    item: usize,
    /// Its place in its message.
    content: usize,
    /// Of a thought: a part of full text was begun; the paragraph that is open.
    thinks: bool,
    paragraph: Option<usize>,
    /// Its full text stands as the first paragraph of its summary.
    retold: bool,
    /// Bytes that its item has no place for.
    carried: Option<Opaque>,
    ended: bool,
}

impl StreamWriter {
    pub(crate) fn new(reply: &Reply<'_>) -> Self {
        Self {
            shape: Shape::new(reply),
            sequence: 0,
            begun: false,
            ended: false,
            failed: false,
            number_before: 0,
            items: Vec::new(),
            parts: BTreeMap::new(),
            message: None,
            usage: None,
            stop: None,
            early: Vec::new(),
        }
    }

    pub(crate) fn write(&mut self, event: &Event, out: &mut BytesMut) {
        if self.ended {
            return;
        }
        match event {
            Event::Start { id, created, model } => {
                if !self.begun {
                    self.shape.told(id.as_deref(), model.as_deref(), *created);
                }
                self.begin(out);
            }
            Event::PartStart { choice: 0, part, head } => self.start(*part, head, out),
            Event::Delta { choice: 0, part, delta } => self.delta(*part, delta, out),
            Event::PartEnd { choice: 0, part } => self.end_part(*part, out),
            Event::Stop { choice: 0, stop } => self.stop = Some(stop.clone()),
            Event::Logprobs { choice: 0, raw } => add_logprobs(raw, self.logprobs()),
            Event::Usage(usage) => fold::merge(self.usage.get_or_insert_default(), usage),
            Event::ServiceTier(tier) => self.shape.tier = Some(tier.clone()),
            Event::End => self.finish(out),
            // Of further answers, for which there is no place; errors come by the other door.
            _ => {}
        }
    }

    /// Events are numbered through, whoever wrote them.
    pub(crate) fn follow(&mut self, event: &[u8]) {
        let number = top_level(event).ok().and_then(|object| object.value(event, "sequence_number"));
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u64>().ok());
        if let Some(number) = number {
            self.sequence = number + 1;
        }
    }

    /// `response.failed`: the one terminal event that clients take as a failure. Also behind the end, where whoever holds that back
    /// lets it not go on.
    pub(crate) fn error(&mut self, failing: &Failing<'_>, out: &mut BytesMut) {
        if std::mem::replace(&mut self.failed, true) {
            return;
        }
        if self.ended {
            self.sequence = self.number_before;
        }
        self.begin(out);
        self.ended = true;
        let failure = Failure {
            code: failing.code,
            kind: (!failing.kind.is_empty()).then_some(failing.kind),
            message: failing.message,
            param: failing.param,
        };
        for item in &mut self.items {
            if item.status == "in_progress" {
                item.status = "incomplete";
            }
        }
        self.lifecycle("response.failed", State::Failed(&failure), out);
    }

    fn begin(&mut self, out: &mut BytesMut) {
        if !std::mem::replace(&mut self.begun, true) {
            self.lifecycle("response.created", State::Going, out);
            self.lifecycle("response.in_progress", State::Going, out);
        }
    }

    fn finish(&mut self, out: &mut BytesMut) {
        self.begin(out);
        self.number_before = self.sequence;
        let open: Vec<u32> = self.parts.keys().copied().collect();
        for part in open {
            self.end_part(part, out);
        }
        let stop = self.stop.take();
        let (status, _) = status_of(stop.as_ref());
        self.close_message(if status == "incomplete" { "incomplete" } else { "completed" }, out);
        self.ended = true;
        let kind = match status {
            "incomplete" => "response.incomplete",
            "failed" => "response.failed",
            _ => "response.completed",
        };
        self.lifecycle(kind, State::Ended(stop.as_ref()), out);
    }

    /// An event with the whole Response object.
    fn lifecycle(&mut self, kind: &str, state: State<'_>, out: &mut BytesMut) {
        let (shape, items, usage) = (&self.shape, &self.items, self.usage.as_ref());
        send(&mut self.sequence, kind, out, |o| shape.write(state, items, usage, o.value("response")));
    }

    fn start(&mut self, part: u32, head: &PartHead, out: &mut BytesMut) {
        self.begin(out);
        if self.parts.contains_key(&part) {
            return;
        }
        let index = self.items.len();
        let (item, content) = match head {
            PartHead::Text => self.start_content(Content::text(), out),
            PartHead::Refusal => self.start_content(Content::Refusal(String::new()), out),
            PartHead::Reasoning { id } => {
                self.open_item(Item::reasoning(id.as_deref(), &self.shape.reply, index), out);
                (index, 0)
            }
            PartHead::ToolCall { id, item_id, name, kind } => {
                let call = ToolCall {
                    id: id.clone(),
                    item_id: item_id.clone(),
                    name: name.clone(),
                    kind: kind.clone(),
                    ..ToolCall::default()
                };
                self.open_item(Item::call(&call, &self.shape.reply, index), out);
                (index, 0)
            }
            // No client of the dialect looks for media in an answer but in an item of OpenAI's own tool.
            PartHead::Media(_) => return,
            PartHead::Unknown { kind, raw, .. } => {
                let Some(item) = Item::verbatim(kind, raw) else { return };
                self.open_item(item, out);
                self.item_done(index, "completed", out);
                return;
            }
        };
        let place = Place {
            item,
            content,
            thinks: false,
            paragraph: None,
            retold: false,
            carried: None,
            ended: false,
        };
        self.parts.insert(part, place);
    }

    /// Adds an item and tells of it.
    fn open_item(&mut self, mut item: Item, out: &mut BytesMut) {
        if !matches!(item.body, Body::Message(_)) {
            self.leave_message(out);
        }
        // No two items of one id: clients find them by it.
        if self.items.iter().any(|other| other.id == item.id) {
            item.id = format!("{}_{}", item.id, self.items.len());
        }
        let index = self.items.len();
        send(&mut self.sequence, "response.output_item.added", out, |o| {
            o.number("output_index", index as u64);
            item.write(o.value("item"));
        });
        self.items.push(item);
    }

    fn item_done(&mut self, index: usize, status: &'static str, out: &mut BytesMut) {
        let Some(item) = self.items.get_mut(index) else { return };
        item.status = status;
        let item = &*item;
        send(&mut self.sequence, "response.output_item.done", out, |o| {
            o.number("output_index", index as u64);
            item.write(o.value("item"));
        });
    }

    fn start_content(&mut self, content: Content, out: &mut BytesMut) -> (usize, usize) {
        let item = match self.message {
            Some(item) => item,
            None => {
                let index = self.items.len();
                self.open_item(Item::message(&self.shape.reply, index), out);
                self.message = Some(index);
                index
            }
        };
        let Some(Item { id, body: Body::Message(list), .. }) = self.items.get_mut(item) else {
            return (item, 0);
        };
        let number = list.len();
        send(&mut self.sequence, "response.content_part.added", out, |o| {
            stand(o, item, id).number("content_index", number as u64);
            content.write(o.value("part"));
        });
        list.push(content);
        (item, number)
    }

    /// Something that is no text follows: the message is over once its parts are.
    fn leave_message(&mut self, out: &mut BytesMut) {
        let Some(item) = self.message else { return };
        if self.parts.values().all(|place| place.item != item || place.ended) {
            self.close_message("completed", out);
        }
    }

    fn close_message(&mut self, status: &'static str, out: &mut BytesMut) {
        if let Some(item) = self.message.take() {
            self.item_done(item, status, out);
        }
    }

    fn delta(&mut self, part: u32, delta: &Delta, out: &mut BytesMut) {
        let Some(place) = self.parts.get_mut(&part).filter(|place| !place.ended) else { return };
        let index = place.item;
        let Some(item) = self.items.get_mut(index) else { return };
        let (sequence, id) = (&mut self.sequence, &item.id);
        match (&mut item.body, delta) {
            (Body::Message(list), delta) => {
                let number = place.content;
                let Some(content) = list.get_mut(number) else { return };
                if let Delta::Opaque(opaque) = delta {
                    place.carried = Some(opaque.clone());
                } else {
                    write_said(sequence, (index, id, number), content, delta, out);
                }
            }
            (Body::Call { arguments, kind, .. }, Delta::Arguments(more)) if !more.is_empty() => {
                arguments.push_str(more);
                send(sequence, names(kind).0, out, |o| _ = stand(o, index, id).text("delta", more));
            }
            (Body::Call { .. }, Delta::Opaque(opaque)) => place.carried = Some(opaque.clone()),
            (Body::Reasoning { hidden, .. }, Delta::Opaque(opaque)) => {
                *hidden = Some(opaque.shown(Dialect::Responses));
            }
            (Body::Reasoning { .. }, Delta::Thought(more))
                if self.shape.summarizes && (place.retold || place.paragraph.is_none()) =>
            {
                place.retold = true;
                self.summary(part, 0, more, out);
            }
            (Body::Reasoning { text, .. }, Delta::Thought(more)) => {
                if !std::mem::replace(&mut place.thinks, true) {
                    send(sequence, "response.content_part.added", out, |o| {
                        stand(o, index, id).number("content_index", 0);
                        o.object("part", |o| _ = o.text("type", "reasoning_text").text("text", ""));
                    });
                }
                text.push_str(more);
                send(sequence, "response.reasoning_text.delta", out, |o| {
                    stand(o, index, id).number("content_index", 0).text("delta", more);
                });
            }
            (Body::Reasoning { .. }, Delta::Summary { paragraph, text }) => {
                let paragraph = *paragraph as usize + usize::from(place.retold);
                self.summary(part, paragraph, text, out);
            }
            _ => {}
        }
    }

    fn summary(&mut self, part: u32, paragraph: usize, more: &str, out: &mut BytesMut) {
        let Some(place) = self.parts.get_mut(&part) else { return };
        let index = place.item;
        let Some(Item { id, body: Body::Reasoning { summary, .. }, .. }) = self.items.get_mut(index) else {
            return;
        };
        // A number out of all order must not make room for all that it leaves out.
        let paragraph = paragraph.min(summary.len());
        let sequence = &mut self.sequence;
        if paragraph == summary.len() {
            if let Some(before) = place.paragraph.replace(paragraph) {
                paragraph_done(sequence, (index, id), before, &summary[before], out);
            }
            summary.push(String::new());
            send(sequence, "response.reasoning_summary_part.added", out, |o| {
                stand(o, index, id).number("summary_index", paragraph as u64);
                o.object("part", |o| _ = o.text("type", "summary_text").text("text", ""));
            });
        }
        if !more.is_empty() {
            summary[paragraph].push_str(more);
            send(sequence, "response.reasoning_summary_text.delta", out, |o| {
                stand(o, index, id).number("summary_index", paragraph as u64).text("delta", more);
            });
        }
    }

    /// Tells that a part is complete, and its item where it is more than a part of one.
    fn end_part(&mut self, part: u32, out: &mut BytesMut) {
        let Some(place) = self.parts.get_mut(&part).filter(|place| !place.ended) else { return };
        place.ended = true;
        let (index, number) = (place.item, place.content);
        let (thinks, paragraph) = (place.thinks, place.paragraph);
        let carried = place.carried.take();
        let Some(item) = self.items.get_mut(index) else { return };
        let (sequence, id) = (&mut self.sequence, &item.id);
        match &mut item.body {
            Body::Message(list) => {
                if let Some(content) = list.get_mut(number) {
                    if let Content::Text { logprobs, .. } = content {
                        logprobs.append(&mut self.early);
                    }
                    content_done(sequence, (index, id, number), content, out);
                }
            }
            body @ Body::Call { .. } => {
                arguments_done(sequence, (index, id), body, out);
                self.item_done(index, "completed", out);
            }
            Body::Reasoning { summary, text, .. } => {
                if let Some(paragraph) = paragraph {
                    paragraph_done(sequence, (index, id), paragraph, &summary[paragraph], out);
                }
                if thinks {
                    thought_done(sequence, (index, id), text, out);
                }
                self.item_done(index, "completed", out);
            }
            Body::Verbatim(_) => {}
        }
        self.carry(carried, index, out);
    }

    /// Sends bytes that belong to an item but have no place in it, in an item of their own behind it.
    fn carry(&mut self, carried: Option<Opaque>, index: usize, out: &mut BytesMut) {
        let Some((opaque, owner)) = carried.zip(self.items.get(index).map(|item| item.id.clone())) else {
            return;
        };
        let place = self.items.len();
        self.open_item(Item::carrier(&opaque, &self.shape.reply, place, &owner), out);
        self.item_done(place, "completed", out);
    }

    /// Of the text that is being written; else they wait for one.
    fn logprobs(&mut self) -> &mut Vec<u8> {
        let text = self.parts.values().rev().find_map(|place| match &self.items.get(place.item)?.body {
            Body::Message(list) if !place.ended => matches!(list.get(place.content)?, Content::Text { .. })
                .then_some((place.item, place.content)),
            _ => None,
        });
        // Told when all is said: they stand in the last text of the final object then.
        let text = text.or_else(|| {
            let message = self.items.iter().rposition(|item| matches!(item.body, Body::Message(_)))?;
            let Body::Message(list) = &self.items.get(message)?.body else { return None };
            Some((message, list.iter().rposition(|content| matches!(content, Content::Text { .. }))?))
        });
        if let Some((item, content)) = text
            && let Some(Item { body: Body::Message(list), .. }) = self.items.get_mut(item)
            && let Some(Content::Text { logprobs, .. }) = list.get_mut(content)
        {
            if !self.early.is_empty() {
                logprobs.append(&mut self.early);
            }
            return logprobs;
        }
        &mut self.early
    }
}

/// Names of a call's events: its deltas, its end, and the member that has all.
fn names(kind: &ToolKind) -> (&'static str, &'static str, &'static str) {
    match kind {
        ToolKind::Function => {
            ("response.function_call_arguments.delta", "response.function_call_arguments.done", "arguments")
        }
        ToolKind::Custom => {
            ("response.custom_tool_call_input.delta", "response.custom_tool_call_input.done", "input")
        }
    }
}

/// One event, its number included.
fn send(sequence: &mut u64, kind: &str, out: &mut BytesMut, fill: impl FnOnce(&mut Object<'_>)) {
    let mut data = Vec::with_capacity(256);
    object(&mut data, |o| {
        o.text("type", kind).number("sequence_number", *sequence);
        fill(o);
    });
    *sequence += 1;
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(&data);
    out.extend_from_slice(b"\n\n");
}

/// Where an event belongs.
fn stand<'o, 'b>(o: &'o mut Object<'b>, index: usize, id: &str) -> &'o mut Object<'b> {
    o.number("output_index", index as u64).text("item_id", id)
}

/// A piece of text, refusal or citation: of the item at an index, with an id, its part of a number.
fn write_said(
    sequence: &mut u64,
    (index, id, number): (usize, &str, usize),
    content: &mut Content,
    delta: &Delta,
    out: &mut BytesMut,
) {
    match (content, delta) {
        (Content::Text { text, .. }, Delta::Text(more)) if !more.is_empty() => {
            text.push_str(more);
            send(sequence, "response.output_text.delta", out, |o| {
                stand(o, index, id).number("content_index", number as u64).text("delta", more);
                write_logprobs(b"", o);
            });
        }
        (Content::Text { citations, .. }, Delta::Citation(raw)) => {
            let Some(raw) = annotation(raw) else { return };
            send(sequence, "response.output_text.annotation.added", out, |o| {
                stand(o, index, id).number("content_index", number as u64);
                o.number("annotation_index", citations.len() as u64).json("annotation", raw.get());
            });
            citations.push(raw);
        }
        (Content::Refusal(text), Delta::Text(more)) if !more.is_empty() => {
            text.push_str(more);
            send(sequence, "response.refusal.delta", out, |o| {
                stand(o, index, id).number("content_index", number as u64).text("delta", more);
            });
        }
        _ => {}
    }
}

fn content_done(
    sequence: &mut u64,
    (index, id, number): (usize, &str, usize),
    content: &Content,
    out: &mut BytesMut,
) {
    match content {
        Content::Text { text, logprobs, .. } => send(sequence, "response.output_text.done", out, |o| {
            stand(o, index, id).number("content_index", number as u64).text("text", text);
            write_logprobs(logprobs, o);
        }),
        Content::Refusal(text) => send(sequence, "response.refusal.done", out, |o| {
            stand(o, index, id).number("content_index", number as u64).text("refusal", text);
        }),
    }
    send(sequence, "response.content_part.done", out, |o| {
        stand(o, index, id).number("content_index", number as u64);
        content.write(o.value("part"));
    });
}

fn arguments_done(sequence: &mut u64, (index, id): (usize, &str), body: &mut Body, out: &mut BytesMut) {
    let told = matches!(body, Body::Call { arguments, .. } if !arguments.is_empty());
    fill_arguments(body);
    let Body::Call { name, arguments, kind, .. } = body else { return };
    let (delta, done, member) = names(kind);
    if !told && !arguments.is_empty() {
        send(sequence, delta, out, |o| _ = stand(o, index, id).text("delta", arguments));
    }
    send(sequence, done, out, |o| {
        stand(o, index, id).text(member, arguments);
        if *kind == ToolKind::Function {
            // Required by the type of the SDK's second major (2.46), gone in its third.
            o.text("name", namespaces::parted(name).1);
        }
    });
}

fn paragraph_done(
    sequence: &mut u64,
    (index, id): (usize, &str),
    paragraph: usize,
    text: &str,
    out: &mut BytesMut,
) {
    send(sequence, "response.reasoning_summary_text.done", out, |o| {
        stand(o, index, id).number("summary_index", paragraph as u64).text("text", text);
    });
    send(sequence, "response.reasoning_summary_part.done", out, |o| {
        stand(o, index, id).number("summary_index", paragraph as u64);
        o.object("part", |o| _ = o.text("type", "summary_text").text("text", text));
    });
}

fn thought_done(sequence: &mut u64, (index, id): (usize, &str), text: &str, out: &mut BytesMut) {
    send(sequence, "response.reasoning_text.done", out, |o| {
        stand(o, index, id).number("content_index", 0).text("text", text);
    });
    send(sequence, "response.content_part.done", out, |o| {
        stand(o, index, id).number("content_index", 0);
        o.object("part", |o| _ = o.text("type", "reasoning_text").text("text", text));
    });
}
