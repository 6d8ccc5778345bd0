//! Streamed answers: events in the client's dialect on their way to it, with what must not be said held back or masked.
//!
//! Only texts wait, and only as long as something could still begin in their tail (`policy::Sieve`): the event that brought it goes on
//! at once and in order, with the rest taken out of it. The rest stands before the next piece of the same text, or in an event of
//! its own before the one that ends the text. So nothing is ever held but a window for each text that is open, and a text that is
//! told again as a whole (Responses does) comes out the same as its pieces.
//!
//! What was spent is counted before, of what the provider sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use policy::{Action, Detector, Found, Guardrail, Stage};
use providers::flow::Pieces;
use providers::json::Span;
use providers::request::{Operation, texts};
use providers::said::{self, Part, Piece, Said};
use providers::sse::{Event, Framer};
use smallvec::SmallVec;

use super::answers::Contents;
use super::hook::Asking;
use super::items::Items;
use super::look::Look;
use super::{InForce, Verdict, announce, blocked, decided, failed, judged, missed};
use crate::exchange::Exchange;
use crate::refusal::Refusal;
use crate::relay::MAX_EVENT;

/// Texts that are open at once.
const MOST_TEXTS: usize = 1_024;
/// Of a text so much is kept to tell its language: bytes.
const SAMPLE: usize = 1_024;
/// A larger event is not kept as it came: bytes.
const SMALL: usize = 4_096;
/// What is kept of an answer for whoever looks at it as a whole: bytes.
const MOST_KEPT: usize = 4 << 20;

/// The same for hooks: bytes.
const MOST_HEARD: usize = 1 << 20;

/// Why the stream does not go on.
pub(super) type Halt = Box<Refusal>;

/// One streamed answer.
pub(crate) struct Screen {
    operation: Operation,
    guardrails: InForce,
    found: SmallVec<[Found; 4]>,
    /// Those that could not look, though they let pass.
    failed: SmallVec<[Option<Cow<'static, str>>; 4]>,
    /// What hooks had done.
    hooked: SmallVec<[Option<Action>; 4]>,
    framer: Framer,
    /// Google's array in place of events: what has come of an item.
    items: Option<Items>,
    texts: BTreeMap<u64, Text>,
    /// Characters so far.
    length: u64,
    contents: Contents,
    keeps_contents: bool,
    keeps_samples: bool,
    /// All that was said, for hooks: texts by their numbers.
    heard: Vec<(Option<u64>, String)>,
    heard_bytes: usize,
    keeps_heard: bool,
    /// Log probabilities would tell what is held.
    hides_logs: bool,
    /// Events of ours so far: those that follow have numbers.
    added: u64,
    /// The number of the event that went on last.
    number: u64,
    told: bool,
}

/// One text that is open.
struct Text {
    look: Look,
    group: u64,
    part: Part,
    /// What brought a piece of it last.
    event: Event,
    /// Its beginning; `None` once its language was looked at.
    sample: Option<String>,
}

impl Screen {
    /// For an answer of this request; `None` where nobody looks at it.
    pub(crate) fn of(exchange: &Exchange) -> Option<Box<Self>> {
        let guardrails = exchange.answer_guards.clone();
        if guardrails.is_empty() {
            return None;
        }
        let any = |wanted: fn(&Guardrail) -> bool| guardrails.iter().any(|guardrail| wanted(guardrail));
        Some(Box::new(Self {
            operation: exchange.operation,
            found: guardrails.iter().map(|_| Found::default()).collect(),
            failed: guardrails.iter().map(|_| None).collect(),
            hooked: guardrails.iter().map(|_| None).collect(),
            framer: Framer::new(2 * MAX_EVENT),
            items: exchange.as_array.then(Items::default),
            texts: BTreeMap::new(),
            length: 0,
            contents: Contents::default(),
            keeps_contents: any(|guardrail| matches!(guardrail.detector, Detector::Schema(_))),
            heard: Vec::new(),
            heard_bytes: 0,
            keeps_heard: any(|guardrail| matches!(guardrail.detector, Detector::Hook(_))),
            keeps_samples: any(|guardrail| matches!(guardrail.detector, Detector::Language(_))),
            hides_logs: any(|guardrail| {
                let acts = matches!(guardrail.action, Action::Mask | Action::Block);
                acts && matches!(guardrail.detector, Detector::Places(_))
            }),
            added: 0,
            number: 0,
            told: false,
            guardrails,
        }))
    }

    /// Takes whole events and gives what may go on; also where it then goes no further.
    pub(crate) fn pass(&mut self, events: &mut Pieces) -> Result<(), Halt> {
        let mut out = BytesMut::new();
        let mut done = Ok(());
        for piece in events.drain(..) {
            done = self.piece(piece, &mut out);
            if done.is_err() {
                break;
            }
        }
        if !out.is_empty() {
            events.push(out.freeze());
        }
        done
    }

    /// The end of the answer, with its last event: gives that as it goes on, and adds to `before` what goes on before it.
    pub(crate) fn finish(&mut self, terminal: Bytes, before: &mut Pieces) -> Result<Bytes, Halt> {
        let mut out = BytesMut::new();
        let mut last = BytesMut::new();
        // It ends what is open where it says so itself; before any other the rests go on. What follows it is no event.
        let done = self.piece(terminal, &mut last).and_then(|()| self.close(None, &mut out));
        let done = done.and_then(|()| self.look_back());
        if !out.is_empty() {
            before.push(out.freeze());
        }
        done.map(|()| last.freeze())
    }

    fn piece(&mut self, piece: Bytes, out: &mut BytesMut) -> Result<(), Halt> {
        if let Some(items) = self.items.as_mut() {
            for event in items.split(&piece) {
                self.event(&event, out)?;
                if let Some(items) = self.items.as_mut() {
                    items.begun |= !event.comment_only;
                }
            }
            return Ok(());
        }
        self.framer.push(piece);
        loop {
            match self.framer.next() {
                Ok(Some(event)) => self.event(&event, out)?,
                Ok(None) => return Ok(()),
                Err(_) => return self.cannot_look("an event is too long").map(drop),
            }
        }
    }

    fn event(&mut self, event: &Event, out: &mut BytesMut) -> Result<(), Halt> {
        if event.comment_only {
            // What nobody looks at says nothing; the line is still alive.
            let says = self.items.is_none() && event.raw.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
            out.extend_from_slice(if says { b":\n\n" } else { &event.raw });
            return Ok(());
        }
        if event.data.trim_ascii() == b"[DONE]" {
            self.close(None, out)?;
            out.extend_from_slice(&event.bare(false).as_ref().unwrap_or(event).raw);
            return Ok(());
        }
        let Ok(said) = said::in_event(self.operation, &event.data) else {
            self.cannot_look("an event is not JSON")?;
            out.extend_from_slice(&event.raw);
            return Ok(());
        };
        let named = said.kind.is_some_and(|kind| event.name.as_deref() == Some(kind.of(&event.data)));
        // In an array it is an item, and nothing is around it.
        let bare = if self.items.is_none() { event.bare(named) } else { None };
        let event = bare.as_ref().unwrap_or(event);
        let mut now = Vec::with_capacity(said.pieces.len());
        for piece in &said.pieces {
            now.push(self.look(event, piece, said.repeats)?);
        }
        self.close_in(&said, &mut now, out)?;
        let pieces = said.pieces.iter().zip(&now).filter(|(piece, now)| piece.text != **now);
        let mut changes: Vec<_> = pieces.map(|(piece, now)| (piece.span, said::quoted(now))).collect();
        if self.hides_logs {
            changes.extend(said.logs.iter().map(|span| (*span, said::no_logs(&event.data, *span))));
        }
        self.renumber(&said, &event.data, &mut changes);
        if changes.is_empty() {
            out.extend_from_slice(&event.raw);
        } else {
            out.extend_from_slice(&event.with_data(&said::with(&event.data, &mut changes)));
        }
        Ok(())
    }

    /// One piece, as far as it may go on.
    fn look(&mut self, event: &Event, piece: &Piece, repeats: bool) -> Result<String, Halt> {
        if !repeats {
            self.measure(piece)?;
        }
        let Some(number) = piece.of else { return self.look_at_whole(piece, repeats) };
        if !self.texts.contains_key(&number) {
            if self.texts.len() >= MOST_TEXTS {
                self.cannot_look("too many texts come at once")?;
                return Ok(piece.text.clone());
            }
            let text = Text {
                look: Look::new(&self.guardrails),
                group: piece.group,
                part: piece.part,
                event: Event::default(),
                sample: (self.keeps_samples && piece.part != Part::Other).then(String::new),
            };
            self.texts.insert(number, text);
        }
        let Some(text) = self.texts.get_mut(&number) else { return Ok(String::new()) };
        let passed = text.look.push(&self.guardrails, &piece.text, false, &mut self.found)?;
        if text.look.holds() {
            text.event = small(self.operation, event, number);
        }
        if let Some(sample) = &mut text.sample {
            sample.push_str(&piece.text);
            if sample.len() >= SAMPLE {
                let sample = text.sample.take().unwrap_or_default();
                self.language(&sample)?;
            }
        }
        self.keep(Some(number), piece.group, piece.part, &passed)?;
        Ok(passed)
    }

    /// A text that came whole.
    fn look_at_whole(&mut self, piece: &Piece, repeats: bool) -> Result<String, Halt> {
        let mut found: SmallVec<[Found; 4]> = self.guardrails.iter().map(|_| Found::default()).collect();
        let passed = Look::new(&self.guardrails).push(&self.guardrails, &piece.text, true, &mut found);
        for (all, found) in self.found.iter_mut().zip(found) {
            if repeats { all.at_least(&found) } else { all.join(&found) }
        }
        let passed = passed?;
        if !repeats {
            if self.keeps_samples && piece.part != Part::Other {
                self.language(&piece.text)?;
            }
            self.keep(None, piece.group, piece.part, &passed)?;
        }
        Ok(passed)
    }

    fn measure(&mut self, piece: &Piece) -> Result<(), Halt> {
        self.length += piece.text.chars().count() as u64;
        for (guardrail, found) in self.guardrails.iter().zip(&mut self.found) {
            if let Detector::Length(most) = guardrail.detector
                && self.length > most
                && found.is_empty()
            {
                found.add("length");
                halt(guardrail)?;
            }
        }
        Ok(())
    }

    fn language(&mut self, text: &str) -> Result<(), Halt> {
        for (guardrail, found) in self.guardrails.iter().zip(&mut self.found) {
            if let Detector::Language(languages) = &guardrail.detector
                && let Some(other) = languages.other(text)
            {
                found.add(other);
                halt(guardrail)?;
            }
        }
        Ok(())
    }

    /// Keeps a copy for those that look at an answer as a whole, within bounds.
    fn keep(&mut self, number: Option<u64>, group: u64, part: Part, text: &str) -> Result<(), Halt> {
        if self.keeps_heard && !text.is_empty() {
            self.heard_bytes += text.len();
            if self.heard_bytes > MOST_HEARD || self.heard.len() > MOST_TEXTS {
                self.keeps_heard = false;
                self.heard = Vec::new();
                self.fail("the answer is too long for a hook", |of| matches!(of, Detector::Hook(_)))?;
            } else {
                match self.heard.iter_mut().find(|(known, _)| number.is_some() && *known == number) {
                    Some((_, heard)) => heard.push_str(text),
                    None => self.heard.push((number, text.to_owned())),
                }
            }
        }
        if !self.keeps_contents || part != Part::Content {
            return Ok(());
        }
        if self.contents.len() + text.len() > MOST_KEPT {
            self.keeps_contents = false;
            self.contents = Contents::default();
            let why = "the answer is too long to be looked at as a whole";
            return self.fail(why, |of| matches!(of, Detector::Schema(_)));
        }
        self.contents.add(group, text);
        Ok(())
    }

    /// Ends the texts that an event says are over; what is left of them goes into it where it has a piece of them.
    fn close_in(&mut self, said: &Said, now: &mut [String], out: &mut BytesMut) -> Result<(), Halt> {
        if !said.closes_all && said.closes.is_empty() {
            return Ok(());
        }
        let over = |text: &Text| said.closes_all || said.closes.contains(&text.group);
        let ended: Vec<u64> =
            self.texts.iter().filter(|(_, text)| over(text)).map(|(number, _)| *number).collect();
        for number in ended {
            let Some((text, rest)) = self.end(number)? else { continue };
            match said.pieces.iter().rposition(|piece| piece.of == Some(number)) {
                Some(at) => now[at].push_str(&rest),
                None => self.tell_rest(number, &text, &rest, out)?,
            }
        }
        Ok(())
    }

    /// Ends the texts of a group, or all.
    fn close(&mut self, group: Option<u64>, out: &mut BytesMut) -> Result<(), Halt> {
        let over = |text: &Text| group.is_none_or(|group| text.group == group);
        let ended: Vec<u64> =
            self.texts.iter().filter(|(_, text)| over(text)).map(|(number, _)| *number).collect();
        for number in ended {
            if let Some((text, rest)) = self.end(number)? {
                self.tell_rest(number, &text, &rest, out)?;
            }
        }
        Ok(())
    }

    /// Ends a text: what is left of it.
    fn end(&mut self, number: u64) -> Result<Option<(Text, String)>, Halt> {
        let Some(mut text) = self.texts.remove(&number) else { return Ok(None) };
        let rest = text.look.push(&self.guardrails, "", true, &mut self.found)?;
        if let Some(sample) = text.sample.take() {
            self.language(&sample)?;
        }
        self.keep(Some(number), text.group, text.part, &rest)?;
        Ok(Some((text, rest)))
    }

    fn tell_rest(&mut self, number: u64, text: &Text, rest: &str, out: &mut BytesMut) -> Result<(), Halt> {
        if rest.is_empty() {
            return Ok(());
        }
        let Some(data) = said::rest(self.operation, &text.event.data, number, rest) else {
            // Nobody knows how to say it, and it must not be lost in silence.
            let why = "a text cannot be told in pieces";
            return match self.guardrails.first() {
                Some(guardrail) => Err(failed(guardrail, why, Stage::Response)),
                None => Ok(()),
            };
        };
        if self.items.is_some() {
            out.extend_from_slice(b",\r\n");
            out.extend_from_slice(&data);
            return Ok(());
        }
        if let Some(name) = &text.event.name {
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(name);
            out.extend_from_slice(b"\n");
        }
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&self.numbered(data));
        out.extend_from_slice(b"\n\n");
        Ok(())
    }

    /// Counts an event that has a number, and gives it another behind events of ours.
    fn renumber(&mut self, said: &Said, data: &[u8], changes: &mut Vec<(Span, Vec<u8>)>) {
        let Some(span) = said.sequence else { return };
        let number = std::str::from_utf8(span.of(data)).ok().and_then(|number| number.parse::<u64>().ok());
        let Some(number) = number else { return };
        self.number = number.saturating_add(self.added);
        if self.added > 0 {
            changes.push((span, self.number.to_string().into_bytes()));
        }
    }

    /// An event of ours takes the next number.
    fn numbered(&mut self, data: Vec<u8>) -> Bytes {
        let sequence = said::in_event(self.operation, &data).ok().and_then(|said| said.sequence);
        let Some(span) = sequence else { return data.into() };
        (self.added, self.number) = (self.added + 1, self.number + 1);
        said::with(&data, &mut [(span, self.number.to_string().into_bytes())])
    }

    /// At the end: those that look at an answer as a whole.
    fn look_back(&mut self) -> Result<(), Halt> {
        for (guardrail, found) in self.guardrails.iter().zip(&mut self.found) {
            if let Detector::Schema(schema) = &guardrail.detector
                && self.keeps_contents
            {
                let texts = self.contents.answers(self.operation);
                texts.iter().filter_map(|text| schema.broken_by(text)).for_each(|what| found.add(what));
                if !found.is_empty() {
                    halt(guardrail)?;
                }
            }
        }
        Ok(())
    }

    /// Nobody can look at what comes now.
    fn cannot_look(&mut self, why: &'static str) -> Result<(), Halt> {
        self.fail(why, |_| true)
    }

    fn fail(&mut self, why: &'static str, of: fn(&Detector) -> bool) -> Result<(), Halt> {
        for at in 0..self.guardrails.len() {
            if of(&self.guardrails[at].detector) {
                self.fail_at(at, why.into())?;
            }
        }
        Ok(())
    }

    fn fail_at(&mut self, at: usize, why: Cow<'static, str>) -> Result<(), Halt> {
        let guardrail = &self.guardrails[at];
        if self.failed[at].is_some() {
            return Ok(());
        }
        let halt = (!guardrail.fail_open).then(|| failed(guardrail, &why, Stage::Response));
        self.failed[at] = Some(why);
        halt.map_or(Ok(()), Err)
    }

    /// What hooks are asked now that all was said.
    pub(crate) fn asks(&self, exchange: &Exchange) -> Vec<(usize, Asking)> {
        if !self.keeps_heard || self.heard.is_empty() {
            return Vec::new();
        }
        let texts: Vec<&str> = self.heard.iter().map(|(_, text)| &**text).collect();
        let hooks = self.guardrails.iter().enumerate();
        let hooks = hooks.filter(|(_, guardrail)| matches!(guardrail.detector, Detector::Hook(_)));
        hooks.map(|(at, hook)| (at, Asking::new(exchange, hook, Stage::Response, &texts, true))).collect()
    }

    /// What a hook said.
    pub(crate) fn hear(&mut self, at: usize, verdict: Result<Verdict, String>) -> Result<(), Halt> {
        match judged(&self.guardrails[at], verdict) {
            Ok(None) => Ok(()),
            Ok(Some((Action::Mask, _))) => self.fail_at(at, "the hook masks what has gone on already".into()),
            Ok(Some((action, _))) => {
                self.found[at].add("hook");
                self.hooked[at] = Some(action);
                let guardrail = &self.guardrails[at];
                if action == Action::Block { Err(blocked(guardrail, Stage::Response)) } else { Ok(()) }
            }
            Err(why) => self.fail_at(at, why.into()),
        }
    }

    /// The words of a provider's error that ends the stream, as they may go on.
    pub(crate) fn worded(&mut self, words: String) -> Result<String, Halt> {
        let piece = Piece { span: Span::default(), text: words, part: Part::Other, group: 0, of: None };
        self.look_at_whole(&piece, true)
    }

    /// The same of its event.
    pub(crate) fn failure(&mut self, event: &Bytes) -> Result<Bytes, Halt> {
        let mut framer = Framer::new(event.len() + 1);
        framer.push(event.clone());
        let mut out = BytesMut::with_capacity(event.len());
        while let Ok(Some(event)) = framer.next() {
            if event.comment_only {
                continue;
            }
            let Ok(read) = texts::texts(self.operation, &event.data) else {
                self.cannot_look("an error is not JSON")?;
                out.extend_from_slice(&event.raw);
                continue;
            };
            let mut changes = Vec::new();
            for text in read.texts {
                let passed = self.worded(text.text.to_string())?;
                if passed != *text.text {
                    changes.push((text.span, passed));
                }
            }
            let kind = said::in_event(self.operation, &event.data).ok().and_then(|said| said.kind);
            let named = kind.is_some_and(|kind| event.name.as_deref() == Some(kind.of(&event.data)));
            let event = event.bare(named).unwrap_or(event);
            match changes.is_empty() {
                true => out.extend_from_slice(&event.raw),
                false => out.extend_from_slice(&event.with_data(&texts::with_texts(&event.data, &changes))),
            }
        }
        Ok(out.freeze())
    }

    /// An error that ends the stream, as it follows what went on, and without what was said: Responses would tell all of it once
    /// more.
    pub(crate) fn clean(&self, error: Bytes) -> Bytes {
        match &self.items {
            Some(items) => items.follow(&error),
            None if self.operation == Operation::Responses => said::without_output(&error, self.added),
            None => error,
        }
    }

    /// Tells the client what was decided before its head leaves.
    pub(crate) fn announce(&self, exchange: &mut Exchange) {
        for (guardrail, found) in self.guardrails.iter().zip(&self.found) {
            if !found.is_empty() && guardrail.action != Action::Observe {
                announce(exchange, guardrail, guardrail.action.as_str());
            }
        }
    }

    /// Tells what was decided, once, before the request's record is written.
    pub(crate) fn tell(&mut self, exchange: &mut Exchange) {
        if std::mem::replace(&mut self.told, true) {
            return;
        }
        for (at, guardrail) in self.guardrails.iter().enumerate() {
            if let Some(why) = &self.failed[at] {
                missed(exchange, guardrail, why, Stage::Response);
            }
            if !self.found[at].is_empty() {
                let action = self.hooked[at].unwrap_or(guardrail.action);
                decided(exchange, guardrail, action.as_str(), &self.found[at].told(), Stage::Response);
            }
        }
    }
}

/// What is kept of an event, to tell the rest of a text as it told a piece.
fn small(operation: Operation, event: &Event, number: u64) -> Event {
    let data = if event.data.len() <= SMALL {
        Bytes::copy_from_slice(&event.data)
    } else {
        said::rest(operation, &event.data, number, " ").unwrap_or_default().into()
    };
    let name = event.name.as_ref().map(|name| Bytes::copy_from_slice(name));
    Event { data, name, ..Event::default() }
}

pub(super) fn halt(guardrail: &Guardrail) -> Result<(), Halt> {
    if guardrail.action == Action::Block { Err(blocked(guardrail, Stage::Response)) } else { Ok(()) }
}
