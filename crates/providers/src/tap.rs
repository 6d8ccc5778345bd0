//! Reads an OpenAI stream as it passes: the bytes go on unchanged, the tap counts.
//!
//! Each event costs a few substring searches; only an event that says something (usage, a finish
//! reason, an error) is looked at member by member, and none is ever rebuilt. What leaves is what
//! came, but for three things: `[DONE]` is withheld (a stream's end is told to the client only after
//! it was accounted for), an error inside the stream is a [`StreamFault`] and not passed, and with
//! [`TapOptions::swallow_usage`] the usage that only the gateway asked for is taken out again.
//!
//! An event leaves only when it is whole: a client never sees half of one, and a failure after half
//! of one can still be told as an event of its own.

mod inspect;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::Usage;
use crate::json::Span;
use crate::sse::{Boundary, Lines};
use inspect::{Inspector, Verdict, begins_like_events};

/// How to read a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapOptions {
    /// The client did not ask for usage, the gateway did: an event that has usage and no choices is
    /// withheld, and `"usage": null` is cut out of the others. Usage on an event *with* choices stays:
    /// a vendor that sends it there would have sent it unasked.
    pub swallow_usage: bool,
    /// The longest event, in bytes, and so the most that is ever held back.
    pub max_event: usize,
}

/// Why a stream cannot go on. Whole events before the fault are in `out`; the tap reads no more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamFault {
    /// An event exceeds `max_event`.
    #[error("the upstream sent an event longer than the limit")]
    TooLong,
    /// The upstream reported an error as an event; the event is not in `out`.
    #[error("the upstream reported an error within its stream")]
    InBandError {
        /// The event, verbatim.
        raw: Bytes,
        /// Its message, if it has one; written by the upstream, so it may name the upstream's account.
        message: Option<String>,
        /// Its `code`, else its `type`.
        code: Option<String>,
    },
    /// What came are not server-sent events at all: an HTML page, a JSON body.
    #[error("the upstream's answer is not a stream of events")]
    NotEvents,
}

/// What follows from `[DONE]` on.
#[derive(Debug)]
enum Terminal {
    NotYet,
    Held(Bytes),
    Taken,
}

/// The state of one stream.
#[derive(Debug)]
pub struct Tap {
    options: TapOptions,
    lines: Lines,
    /// The beginning of an event whose end has not come; `lines` has seen it.
    carry: BytesMut,
    inspector: Inspector,
    terminal: Terminal,
    /// The first line was found to be one of server-sent events.
    recognized: bool,
    /// The last event went to `out`, so a late LF of it does too.
    passed: bool,
    failed: bool,
}

impl Tap {
    /// A tap at the beginning of a stream.
    pub fn new(options: TapOptions) -> Self {
        Self {
            options,
            lines: Lines::default(),
            carry: BytesMut::new(),
            inspector: Inspector::default(),
            terminal: Terminal::NotYet,
            recognized: false,
            passed: true,
            failed: false,
        }
    }

    /// Takes what arrived and adds to `out` what may go on: whole events, at most one piece a call.
    /// A chunk of whole events that nothing is taken from goes on as that very [`Bytes`].
    pub fn push(&mut self, chunk: Bytes, out: &mut SmallVec<[Bytes; 4]>) -> Result<(), StreamFault> {
        if self.failed || chunk.is_empty() {
            return Ok(());
        }
        if !matches!(self.terminal, Terminal::NotYet) {
            self.append_terminal(&chunk);
            return Ok(());
        }
        let carried = self.carry.len();
        let first = self.lines.boundary(&chunk);
        if first.is_none() {
            return self.carry_on(&chunk);
        }
        let first = first.map(|boundary| Boundary { end: carried + boundary.end, ..boundary });
        let buffer = if carried == 0 {
            chunk
        } else {
            self.carry.extend_from_slice(&chunk);
            self.carry.split().freeze()
        };
        let mut kept = SmallVec::new();
        let outcome = self.events(&buffer, first, &mut kept);
        release(&buffer, &kept, out);
        outcome.inspect_err(|_| self.failed = true)
    }

    /// The upstream closed the stream in good order. An event that lacks only its blank line, as some
    /// servers leave their last one, still counts; half an event is dropped.
    pub fn end(&mut self, out: &mut SmallVec<[Bytes; 4]>) -> Result<(), StreamFault> {
        let mut rest = self.carry.split();
        if self.failed || rest.is_empty() || !inspect::is_complete(&rest) {
            return Ok(());
        }
        let ended_line = matches!(rest.last(), Some(b'\n' | b'\r'));
        rest.extend_from_slice(if ended_line { b"\n" } else { b"\n\n" });
        let buffer = rest.freeze();
        let mut kept = SmallVec::new();
        let whole = Boundary { end: buffer.len(), continues: false };
        self.lines = Lines::default();
        let outcome = self.events(&buffer, Some(whole), &mut kept);
        release(&buffer, &kept, out);
        outcome.inspect_err(|_| self.failed = true)
    }

    /// Judges the events of `buffer`, the first of which ends at `boundary`; keeps the rest for later.
    fn events(
        &mut self,
        buffer: &Bytes,
        mut boundary: Option<Boundary>,
        kept: &mut SmallVec<[Span; 4]>,
    ) -> Result<(), StreamFault> {
        let mut start = 0;
        while let Some(Boundary { end, continues }) = boundary {
            let verdict = if continues {
                if self.passed { Verdict::Pass } else { Verdict::Withhold }
            } else {
                self.judge(&buffer[start..end])?
            };
            self.passed = !matches!(verdict, Verdict::Withhold);
            match verdict {
                Verdict::Pass => keep(kept, Span::new(start, end)),
                Verdict::Withhold => {}
                Verdict::Cut(cut) => {
                    keep(kept, Span::new(start, start + cut.start));
                    keep(kept, Span::new(start + cut.end, end));
                }
                Verdict::Done => {
                    let most = buffer.len().min(start + self.options.max_event);
                    self.terminal = Terminal::Held(buffer.slice(start..most));
                    return Ok(());
                }
                Verdict::Error { message, code } => {
                    return Err(StreamFault::InBandError { raw: buffer.slice(start..end), message, code });
                }
            }
            start = end;
            boundary = self.lines.boundary(&buffer[start..]);
            if let Some(next) = &mut boundary {
                next.end += start;
            }
        }
        self.carry_on(&buffer[start..])
    }

    fn judge(&mut self, event: &[u8]) -> Result<Verdict, StreamFault> {
        if !self.recognized {
            if !begins_like_events(event) {
                return Err(StreamFault::NotEvents);
            }
            // Blank lines first prove nothing yet.
            self.recognized = event.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
        }
        if event.len() > self.options.max_event {
            return Err(StreamFault::TooLong);
        }
        Ok(self.inspector.inspect(event, self.options.swallow_usage))
    }

    /// Holds back the beginning of an event.
    fn carry_on(&mut self, rest: &[u8]) -> Result<(), StreamFault> {
        self.carry.extend_from_slice(rest);
        let fault = if !self.recognized && !begins_like_events(&self.carry) {
            StreamFault::NotEvents
        } else if self.carry.len() > self.options.max_event {
            StreamFault::TooLong
        } else {
            return Ok(());
        };
        self.carry = BytesMut::new();
        self.failed = true;
        Err(fault)
    }

    fn append_terminal(&mut self, chunk: &[u8]) {
        if let Terminal::Held(held) = &mut self.terminal {
            let room = self.options.max_event.saturating_sub(held.len()).min(chunk.len());
            let mut longer = BytesMut::with_capacity(held.len() + room);
            longer.extend_from_slice(held);
            longer.extend_from_slice(&chunk[..room]);
            *held = longer.freeze();
        }
    }

    /// Whether an event with data has come: from here on the answer has begun.
    pub fn started(&self) -> bool {
        self.inspector.started
    }

    /// The `[DONE]` event and what followed it, once it has come; it was not in `out`. Taken once;
    /// what follows later is dropped.
    pub fn terminal(&mut self) -> Option<Bytes> {
        if !matches!(self.terminal, Terminal::Held(_)) {
            return None;
        }
        match std::mem::replace(&mut self.terminal, Terminal::Taken) {
            Terminal::Held(held) => Some(held),
            Terminal::NotYet | Terminal::Taken => None,
        }
    }

    /// Whether the answer is complete: each choice seen told its finish reason, or `[DONE]` came.
    /// An upstream that closes before died.
    pub fn finished(&self) -> bool {
        !matches!(self.terminal, Terminal::NotYet) || self.inspector.all_finished()
    }

    /// What the provider counted, as far as it has told.
    pub fn usage(&self) -> Option<Usage> {
        self.inspector.counts.usage()
    }

    /// Estimated tokens of output seen so far: at least one for each event with text.
    pub fn output_estimate(&self) -> u64 {
        self.inspector.output_tokens
    }

    /// The finish reason that came first.
    pub fn finish_reason(&self) -> Option<&str> {
        self.inspector.finish_reason.as_deref()
    }

    /// The model that says it answers.
    pub fn model(&self) -> Option<&str> {
        self.inspector.model.as_deref()
    }

    /// The upstream's id of this answer.
    pub fn id(&self) -> Option<&str> {
        self.inspector.id.as_deref()
    }

    /// How many choices have been seen.
    pub fn choices(&self) -> usize {
        self.inspector.choices.len()
    }
}

/// Adds a span, joined with the one before when they touch.
fn keep(kept: &mut SmallVec<[Span; 4]>, span: Span) {
    match kept.last_mut() {
        Some(last) if last.end == span.start => last.end = span.end,
        _ if span.is_empty() => {}
        _ => kept.push(span),
    }
}

/// One piece for `out`: a slice where what is kept is contiguous, else one copy (one write later is
/// cheaper than several).
fn release(buffer: &Bytes, kept: &[Span], out: &mut SmallVec<[Bytes; 4]>) {
    match kept {
        [] => {}
        [span] => out.push(buffer.slice(span.start..span.end)),
        spans => {
            let mut joined = Vec::with_capacity(spans.iter().map(|span| span.len()).sum());
            for span in spans {
                joined.extend_from_slice(span.of(buffer));
            }
            out.push(joined.into());
        }
    }
}

#[cfg(test)]
#[path = "tap/tests.rs"]
mod tests;
