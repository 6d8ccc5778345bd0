//! One of the answers of a stream: which parts are open, and what the next delta adds to them.

use serde_json::value::RawValue;

use super::calls::Calls;
use crate::blocks::{Delta, Event, Issuer, Opaque, OpaqueKind, Part, PartHead};
use crate::dialects::Dialect;
use crate::dialects::chat::members::{Members, array, own, read, text};
use crate::dialects::chat::parts::read_part;
use crate::dialects::chat::stops;
use crate::dialects::chat::think_tag::{Piece, ThinkTag};
use crate::dialects::chat::thoughts::{Detail, google_signature, plain, read_details};

/// The state of one choice.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) number: u32,
    /// Its finish reason has come.
    pub(super) stopped: bool,
    /// The number of the next part.
    next: u32,
    text: Option<u32>,
    refusal: Option<u32>,
    thought: Option<Thought>,
    calls: Calls,
    tag: ThinkTag,
    /// Thoughts came in a member of their own, so that none are looked for in the content.
    told_apart: bool,
}

/// The thought that is open.
#[derive(Debug)]
struct Thought {
    part: u32,
    index: Option<u64>,
    signed: bool,
    /// What the plain member told of it: a list that comes later repeats it with its signature.
    plain: String,
}

impl Choice {
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            stopped: false,
            next: 0,
            text: None,
            refusal: None,
            thought: None,
            calls: Calls::default(),
            tag: ThinkTag::default(),
            told_apart: false,
        }
    }

    pub(super) fn has_calls(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Reads an element of `choices`.
    pub(super) fn read(
        &mut self,
        members: &Members<'_>,
        issuer: &Issuer,
        answer: Option<&str>,
        out: &mut Vec<Event>,
    ) {
        if self.stopped {
            return;
        }
        let whole = members.object("message");
        let is_whole = whole.is_some();
        if let Some(delta) = members.object("delta").or(whole) {
            self.thoughts(&delta, issuer, out);
            self.content(&delta, issuer, out);
            self.others(&delta, out);
            self.calls(&delta, issuer, answer, is_whole, out);
        }
        if let Some(raw) = members.get("logprobs").filter(|raw| raw.get().starts_with('{')).and_then(own) {
            out.push(Event::Logprobs { choice: self.number, raw });
        }
        if let Some(reason) = members.text("finish_reason").filter(|reason| !reason.is_empty()) {
            self.close_all(out);
            self.stopped = true;
            let mut stop = stops::read(&reason, self.has_calls());
            // vLLM and others tell the sequence that was met.
            if reason == "stop"
                && let Some(sequence) = members.text("stop_reason")
            {
                stop.kind = crate::blocks::StopKind::Sequence;
                stop.sequence = Some(sequence.into_owned());
            }
            if let Some(native) = members.text("native_finish_reason").filter(|native| !native.is_empty()) {
                stop.native = Some(native.into_owned());
            }
            out.push(Event::Stop { choice: self.number, stop });
        }
    }

    /// Ends every open part.
    pub(super) fn close_all(&mut self, out: &mut Vec<Event>) {
        let mut pieces = Vec::new();
        self.tag.end(&mut pieces);
        for piece in pieces {
            self.piece(piece, out);
        }
        self.close_said(out);
        self.calls.close(self.number, &mut self.next, out);
    }

    /// Ends what comes before calls.
    fn close_said(&mut self, out: &mut Vec<Event>) {
        let thought = self.thought.take().map(|thought| thought.part);
        for part in [thought, self.text.take(), self.refusal.take()].into_iter().flatten() {
            out.push(Event::PartEnd { choice: self.number, part });
        }
    }

    fn start(&mut self, head: PartHead, out: &mut Vec<Event>) -> u32 {
        let part = self.next;
        self.next += 1;
        out.push(Event::PartStart { choice: self.number, part, head });
        part
    }

    fn delta(&self, part: u32, delta: Delta, out: &mut Vec<Event>) {
        out.push(Event::Delta { choice: self.number, part, delta });
    }

    /// Thoughts: of the list where it has words, else of the one plain member, so that nothing is read twice.
    fn thoughts(&mut self, delta: &Members<'_>, issuer: &Issuer, out: &mut Vec<Event>) {
        let details = delta.get("reasoning_details").map(read_details).unwrap_or_default();
        let listed: String = details.iter().map(Detail::words).collect();
        // What the list does not repeat was thought before it.
        let plain = plain(delta);
        if let Some(plain) = plain.as_deref().and_then(|plain| plain.strip_suffix(listed.as_str()))
            && !plain.is_empty()
        {
            let part = self.open_thought(None, None, false, out);
            self.delta(part, Delta::Thought(plain.to_owned()), out);
            self.told_apart = true;
            match &mut self.thought {
                Some(open) if listed.is_empty() => open.plain.push_str(plain),
                _ => self.close_said(out),
            }
        }
        for detail in details {
            self.detail(detail, issuer, out);
        }
    }

    fn detail(&mut self, mut detail: Detail, issuer: &Issuer, out: &mut Vec<Event>) {
        if detail.text.is_empty() && detail.summary.is_empty() && detail.opaque.is_none() {
            return;
        }
        self.told_apart = true;
        if let Some(open) = &self.thought
            && !open.plain.is_empty()
            && open.plain == detail.words()
        {
            detail.text.clear();
            detail.summary.clear();
        }
        let part = self.open_thought(detail.index, detail.id, true, out);
        if !detail.text.is_empty() {
            self.delta(part, Delta::Thought(detail.text), out);
        }
        if !detail.summary.is_empty() {
            self.delta(part, Delta::Summary { paragraph: 0, text: detail.summary }, out);
        }
        if let Some((kind, data)) = detail.opaque {
            if let Some(open) = &mut self.thought {
                open.signed = true;
            }
            let opaque = Opaque { issuer: issuer.clone(), kind, data };
            self.delta(part, Delta::Opaque(opaque), out);
        }
    }

    /// The open thought, or a new one where the index is another or the open one is already signed.
    fn open_thought(
        &mut self,
        index: Option<u64>,
        id: Option<String>,
        listed: bool,
        out: &mut Vec<Event>,
    ) -> u32 {
        if let Some(open) = &mut self.thought {
            let other = listed && index.is_some() && open.index.is_some() && open.index != index;
            if !open.signed && !other {
                open.index = open.index.or(index);
                return open.part;
            }
        }
        self.close_said(out);
        let part = self.start(PartHead::Reasoning { id }, out);
        self.thought = Some(Thought { part, index, signed: false, plain: String::new() });
        part
    }

    /// `content`, a string or (Mistral) an array of parts.
    fn content(&mut self, delta: &Members<'_>, issuer: &Issuer, out: &mut Vec<Event>) {
        let signature = google_signature(delta);
        let google = delta.object("extra_content").and_then(|extra| extra.object("google"));
        let is_thought = google.and_then(|google| google.get("thought").and_then(read)) == Some(true);
        if let Some(raw) = delta.get("content") {
            match text(raw) {
                Some(text) if is_thought => self.piece(Piece::Thought(text.into_owned()), out),
                Some(text) => self.said(&text, out),
                None => self.listed(raw, out),
            }
        }
        if let Some(data) = signature {
            let part = self.open_text(out);
            let kind = OpaqueKind::ThoughtSignature;
            self.delta(part, Delta::Opaque(Opaque { issuer: issuer.clone(), kind, data }), out);
        }
    }

    fn said(&mut self, text: &str, out: &mut Vec<Event>) {
        if text.is_empty() {
            return;
        }
        // A server that tells thoughts apart leaves none in the content.
        if self.tag.is_through() || self.told_apart {
            let mut held = Vec::new();
            self.tag.end(&mut held);
            return self.piece(Piece::Said(text.to_owned()), out);
        }
        let mut pieces = Vec::new();
        self.tag.push(text, &mut pieces);
        for piece in pieces {
            self.piece(piece, out);
        }
    }

    fn listed(&mut self, raw: &RawValue, out: &mut Vec<Event>) {
        for item in array(raw).unwrap_or_default() {
            let Some(part) = Members::of(item) else { continue };
            match (part.text("text"), part.get("thinking")) {
                (Some(text), _) => self.piece(Piece::Said(text.into_owned()), out),
                (None, Some(thinking)) => {
                    let texts = array(thinking).unwrap_or_default();
                    let words = texts.into_iter().filter_map(|text| Members::of(text)?.text("text"));
                    let thought = text(thinking).map_or_else(|| words.collect(), String::from);
                    self.piece(Piece::Thought(thought), out);
                }
                (None, None) => {
                    let kind = part.text("type").map_or_else(|| "content".to_owned(), String::from);
                    self.unknown(&kind, item, out);
                }
            }
        }
    }

    fn piece(&mut self, piece: Piece, out: &mut Vec<Event>) {
        match piece {
            Piece::Thought(text) | Piece::Said(text) if text.is_empty() => {}
            Piece::Thought(text) => {
                let part = self.open_thought(None, None, false, out);
                self.delta(part, Delta::Thought(text), out);
            }
            Piece::Said(text) => {
                let part = self.open_text(out);
                self.delta(part, Delta::Text(text), out);
            }
        }
    }

    fn open_text(&mut self, out: &mut Vec<Event>) -> u32 {
        if let Some(part) = self.text {
            return part;
        }
        self.close_said(out);
        let part = self.start(PartHead::Text, out);
        self.text = Some(part);
        part
    }

    /// Citations, refusals, and what is passed on as it is.
    fn others(&mut self, delta: &Members<'_>, out: &mut Vec<Event>) {
        for raw in delta.get("annotations").and_then(array).unwrap_or_default() {
            if let Some(raw) = own(raw) {
                let part = self.open_text(out);
                self.delta(part, Delta::Citation(raw), out);
            }
        }
        if let Some(text) = delta.text("refusal").filter(|text| !text.is_empty()) {
            let part = match self.refusal {
                Some(part) => part,
                None => {
                    self.close_said(out);
                    let part = self.start(PartHead::Refusal, out);
                    self.refusal = Some(part);
                    part
                }
            };
            self.delta(part, Delta::Text(text.into_owned()), out);
        }
        if let Some(raw) = delta.get("audio") {
            self.unknown("audio", raw, out);
        }
        for raw in delta.get("images").and_then(array).unwrap_or_default() {
            let media = Members::of(raw).and_then(|members| read_part(raw, &members, "images").ok());
            match media {
                Some(Part::Media(media)) => self.closed(PartHead::Media(Box::new(media)), out),
                _ => self.unknown("image_url", raw, out),
            }
        }
    }

    fn unknown(&mut self, kind: &str, raw: &RawValue, out: &mut Vec<Event>) {
        let Some(raw) = own(raw) else { return };
        self.closed(PartHead::Unknown { dialect: Dialect::Chat, kind: kind.to_owned(), raw }, out);
    }

    /// A part without deltas.
    fn closed(&mut self, head: PartHead, out: &mut Vec<Event>) {
        self.close_said(out);
        let part = self.start(head, out);
        out.push(Event::PartEnd { choice: self.number, part });
    }

    fn calls(
        &mut self,
        delta: &Members<'_>,
        issuer: &Issuer,
        answer: Option<&str>,
        whole: bool,
        out: &mut Vec<Event>,
    ) {
        let calls = delta.get("tool_calls").and_then(array).unwrap_or_default();
        let legacy = delta.object("function_call");
        if calls.is_empty() && legacy.is_none() {
            return;
        }
        // What was held back of the content was said before.
        let mut pieces = Vec::new();
        self.tag.end(&mut pieces);
        for piece in pieces {
            self.piece(piece, out);
        }
        self.close_said(out);
        let place = (self.number, &mut self.next);
        self.calls.read(&calls, legacy.as_ref(), whole, answer, issuer, place, out);
    }
}
