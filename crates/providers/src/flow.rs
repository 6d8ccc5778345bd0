//! A provider's stream on its way to a client, whichever lane it takes.
//!
//! Five lanes, one interface: [`Flow::Tapped`] for OpenAI's chunks, the cheapest; [`Flow::Watched`] for any other
//! dialect that client and provider share: the bytes pass as they came and the dialect's own reader looks on;
//! [`Flow::Translated`] between two dialects; [`Flow::Passing`] for what is no conversation;
//! [`Flow::Cleaned`] before any of them, where a vendor deviates. In all of them the terminal event is withheld until it was accounted for,
//! and an error within the stream is a [`StreamFault`], told in the client's dialect.

pub mod passing;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::Usage;
use crate::blocks::keepsake::Collector;
use crate::blocks::{Delta, Event, Issuer, Keepsake, Stop, StopKind, fold};
use crate::completions;
use crate::dialects::{self, Dialect, Failing, Reply, StreamReader, StreamWriter};
use crate::failure;
use crate::quirks::stream::Cleaned;
use crate::request::weigh::{count_wide, tokens_of};
use crate::sse::Framer;
use crate::tap::{StreamFault, Tap};
use crate::tool_names::ToolNames;
use passing::Passing;

/// What passes on to the client of one push.
pub type Pieces = SmallVec<[Bytes; 4]>;

/// One stream.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the one that most streams are")]
pub enum Flow {
    /// OpenAI Chat and Completions, untranslated.
    Tapped(Tap),
    /// Another dialect, untranslated.
    Watched(Box<Watched>),
    /// From one dialect to another.
    Translated(Box<Translated>),
    /// What is no conversation, as it came.
    Passing(Box<Passing>),
    /// From a vendor that deviates from its dialect.
    Cleaned(Box<Cleaned>),
}

/// Counts what passes.
#[derive(Debug, Default)]
struct Meter {
    started: bool,
    usage: Option<Usage>,
    /// Tokens of text, at least one for each delta.
    output: u64,
    stop: Option<String>,
    /// Every choice has stopped.
    stopped: bool,
    ended: bool,
}

impl Meter {
    fn see(&mut self, event: &Event) {
        match event {
            Event::Usage(usage) => fold::merge(self.usage.get_or_insert_default(), usage),
            Event::Delta { delta, .. } => {
                self.started = true;
                let text = match delta {
                    Delta::Text(text) | Delta::Arguments(text) | Delta::Thought(text) => text,
                    Delta::Summary { text, .. } => text,
                    Delta::Opaque(_) | Delta::Citation(_) => return,
                };
                let wide = count_wide(text.as_bytes());
                self.output += tokens_of(text.len() as u64 - wide, wide).max(u64::from(!text.is_empty()));
            }
            Event::Stop { stop, .. } => {
                (self.started, self.stopped) = (true, true);
                self.stop.get_or_insert_with(|| stop_name(stop));
            }
            Event::End => (self.started, self.ended) = (true, true),
            Event::Start { .. }
            | Event::PartStart { .. }
            | Event::PartEnd { .. }
            | Event::Logprobs { .. } => {
                self.started = true;
            }
            Event::ServiceTier(_) | Event::Error { .. } => {}
        }
    }
}

/// The stop reason for records: the provider's word, else ours.
pub fn stop_name(stop: &Stop) -> String {
    if let Some(native) = &stop.native {
        return native.clone();
    }
    match stop.kind {
        StopKind::End | StopKind::Sequence => "stop",
        StopKind::Length | StopKind::ContextWindow => "length",
        StopKind::ToolCalls => "tool_calls",
        StopKind::Filter => "content_filter",
        StopKind::Refusal => "refusal",
        StopKind::Pause => "pause",
        StopKind::BadToolCall => "bad_tool_call",
        StopKind::Other => "other",
    }
    .to_owned()
}

/// A stream that passes as it came.
#[derive(Debug)]
pub struct Watched {
    framer: Framer,
    reader: StreamReader,
    meter: Meter,
    /// For an error of ours at its end.
    writer: StreamWriter,
    /// Responses' error names the response and what there is of it, so its writer follows what passes: what it writes
    /// meanwhile goes nowhere.
    follows: bool,
    unheard: BytesMut,
    last: Bytes,
    events: Vec<Event>,
    terminal: Option<Bytes>,
}

/// A stream that is read in one dialect and written in another.
#[derive(Debug)]
pub struct Translated {
    framer: Framer,
    reader: StreamReader,
    writer: StreamWriter,
    meter: Meter,
    events: Vec<Event>,
    out: BytesMut,
    terminal: Option<Bytes>,
    collector: Collector,
    names: Option<ToolNames>,
    /// What Chat's writer writes is told as events of Completions.
    completions: bool,
}

impl Watched {
    /// For a stream of a provider whose dialect the client speaks.
    pub fn new(issuer: Issuer, reply: &Reply<'_>, max_event: usize) -> Self {
        Self {
            framer: Framer::new(max_event),
            writer: StreamWriter::new(issuer.dialect, reply),
            follows: issuer.dialect == Dialect::Responses,
            unheard: BytesMut::new(),
            last: Bytes::new(),
            reader: StreamReader::new(issuer),
            meter: Meter::default(),
            events: Vec::new(),
            terminal: None,
        }
    }

    fn push(&mut self, chunk: Bytes, out: &mut Pieces) -> Result<(), StreamFault> {
        self.framer.push(chunk);
        while let Some(event) = self.framer.next().map_err(|_| StreamFault::TooLong)? {
            if self.meter.ended {
                continue;
            }
            if !event.comment_only {
                self.events.clear();
                self.reader.push(event.name.as_deref(), &event.data, &mut self.events);
                for seen in &self.events {
                    self.meter.see(seen);
                    if let Event::Error { message, code } = seen {
                        let (message, code) = (Some(message.clone()), code.clone());
                        return Err(StreamFault::InBandError { raw: event.raw, message, code });
                    }
                }
                if self.meter.ended {
                    self.terminal = Some(event.raw);
                    continue;
                }
                if self.follows {
                    for seen in &self.events {
                        self.writer.write(seen, &mut self.unheard);
                    }
                    self.unheard.clear();
                    self.last = event.data;
                }
            }
            out.push(event.raw);
        }
        Ok(())
    }

    fn end(&mut self) {
        self.events.clear();
        self.reader.end(&mut self.events);
        for seen in &self.events {
            self.meter.see(seen);
        }
        if self.meter.ended && self.terminal.is_none() {
            self.terminal = Some(Bytes::new());
        }
    }
}

impl Translated {
    /// From a provider's dialect to a client's.
    pub fn new(issuer: Issuer, writer: StreamWriter, max_event: usize) -> Self {
        Self {
            framer: Framer::new(max_event),
            reader: StreamReader::new(issuer),
            writer,
            meter: Meter::default(),
            events: Vec::new(),
            out: BytesMut::new(),
            terminal: None,
            collector: Collector::default(),
            names: None,
            completions: false,
        }
    }

    /// For a client of Completions, with a writer of Chat.
    #[must_use]
    pub fn for_completions(self, completions: bool) -> Self {
        Self { completions, ..self }
    }

    fn shown(&self, written: BytesMut) -> Bytes {
        if self.completions { completions::events(&written) } else { written.freeze() }
    }

    /// With tools that were renamed for the provider.
    #[must_use]
    pub fn with_names(self, names: Option<ToolNames>) -> Self {
        Self { names, ..self }
    }

    fn push(&mut self, chunk: Bytes, out: &mut Pieces) -> Result<(), StreamFault> {
        self.framer.push(chunk);
        let done = self.drain();
        if !self.out.is_empty() {
            let written = self.out.split();
            out.push(self.shown(written));
        }
        done
    }

    fn drain(&mut self) -> Result<(), StreamFault> {
        while let Some(event) = self.framer.next().map_err(|_| StreamFault::TooLong)? {
            if !event.comment_only && !self.meter.ended {
                self.events.clear();
                self.reader.push(event.name.as_deref(), &event.data, &mut self.events);
                self.write_events()?;
            }
        }
        Ok(())
    }

    fn write_events(&mut self) -> Result<(), StreamFault> {
        for mut seen in std::mem::take(&mut self.events) {
            if let Some(names) = &self.names {
                names.back_in_event(&mut seen);
            }
            self.meter.see(&seen);
            self.collector.see(&seen);
            match &seen {
                Event::Error { message, code } => {
                    // Told in the client's words by whoever knows the request ([`Flow::retold`]).
                    let (message, code) = (Some(message.clone()), code.clone());
                    return Err(StreamFault::InBandError { raw: Bytes::new(), message, code });
                }
                Event::End => {
                    let mut terminal = BytesMut::new();
                    self.writer.write(&seen, &mut terminal);
                    self.terminal = Some(self.shown(terminal));
                }
                _ => self.writer.write(&seen, &mut self.out),
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Pieces) -> Result<(), StreamFault> {
        self.events.clear();
        self.reader.end(&mut self.events);
        let done = self.write_events();
        if !self.out.is_empty() {
            let written = self.out.split();
            out.push(self.shown(written));
        }
        done
    }
}

impl Flow {
    /// Takes what arrived and adds to `out` what may go on.
    ///
    /// # Errors
    /// Why the stream cannot go on.
    pub fn push(&mut self, chunk: Bytes, out: &mut Pieces) -> Result<(), StreamFault> {
        match self {
            Self::Tapped(tap) => tap.push(chunk, out),
            Self::Watched(watched) => watched.push(chunk, out),
            Self::Translated(translated) => translated.push(chunk, out),
            Self::Passing(passing) => {
                passing.push(chunk, out);
                Ok(())
            }
            Self::Cleaned(cleaned) => cleaned.push(chunk, out),
        }
    }

    /// The provider closed in good order.
    ///
    /// # Errors
    /// Why what is left is no end.
    pub fn end(&mut self, out: &mut Pieces) -> Result<(), StreamFault> {
        match self {
            Self::Tapped(tap) => tap.end(out),
            Self::Watched(watched) => {
                watched.end();
                Ok(())
            }
            Self::Translated(translated) => translated.end(out),
            Self::Passing(passing) => {
                passing.end();
                Ok(())
            }
            Self::Cleaned(cleaned) => cleaned.end(out),
        }
    }

    /// Whether an event with data has come.
    pub fn started(&self) -> bool {
        match self {
            Self::Tapped(tap) => tap.started(),
            Self::Watched(watched) => watched.meter.started,
            Self::Translated(translated) => translated.meter.started,
            Self::Passing(_) => true,
            Self::Cleaned(cleaned) => cleaned.flow.started(),
        }
    }

    /// The terminal event, once it has come; taken once.
    pub fn terminal(&mut self) -> Option<Bytes> {
        match self {
            Self::Tapped(tap) => tap.terminal(),
            Self::Watched(watched) => watched.terminal.take(),
            Self::Translated(translated) => translated.terminal.take(),
            Self::Passing(passing) => passing.terminal(),
            Self::Cleaned(cleaned) => cleaned.flow.terminal(),
        }
    }

    /// Whether the answer is complete, so that a close without a terminal event is no death.
    pub fn finished(&self) -> bool {
        match self {
            Self::Tapped(tap) => tap.finished(),
            Self::Watched(watched) => watched.meter.ended,
            Self::Translated(translated) => translated.meter.ended,
            Self::Passing(passing) => passing.over(),
            Self::Cleaned(cleaned) => cleaned.flow.finished(),
        }
    }

    /// What the provider counted, as far as it has told.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Tapped(tap) => tap.usage(),
            Self::Watched(watched) => watched.meter.usage,
            Self::Translated(translated) => translated.meter.usage,
            Self::Passing(passing) => passing.usage(),
            Self::Cleaned(cleaned) => cleaned.flow.usage(),
        }
    }

    /// Estimated tokens of output seen so far.
    pub fn output_estimate(&self) -> u64 {
        match self {
            Self::Tapped(tap) => tap.output_estimate(),
            Self::Watched(watched) => watched.meter.output,
            Self::Translated(translated) => translated.meter.output,
            Self::Passing(_) => 0,
            Self::Cleaned(cleaned) => cleaned.flow.output_estimate(),
        }
    }

    /// The finish reason that came first.
    pub fn finish_reason(&self) -> Option<&str> {
        match self {
            Self::Tapped(tap) => tap.finish_reason(),
            Self::Watched(watched) => watched.meter.stop.as_deref(),
            Self::Translated(translated) => translated.meter.stop.as_deref(),
            Self::Passing(_) => None,
            Self::Cleaned(cleaned) => cleaned.flow.finish_reason(),
        }
    }

    /// What the client may lose of a translated answer that has ended.
    pub fn keepsake(&mut self) -> Option<Keepsake> {
        match self {
            Self::Translated(translated) if translated.meter.ended => {
                std::mem::take(&mut translated.collector).finish()
            }
            Self::Cleaned(cleaned) => cleaned.keepsake(),
            _ => None,
        }
    }

    /// A provider's error within its stream ([`StreamFault::InBandError`]) as the event that ends the client's: with the
    /// class that it has, in the client's dialect. Empty where the provider's own bytes are what the client reads.
    pub fn retold(&mut self, message: Option<&str>, code: Option<&str>, request_id: &str) -> Bytes {
        let writer = match self {
            Self::Cleaned(cleaned) => return cleaned.flow.retold(message, code, request_id),
            Self::Translated(translated) => &mut translated.writer,
            Self::Tapped(_) | Self::Passing(_) | Self::Watched(_) => return Bytes::new(),
        };
        let mut failing = Failing {
            status: failure::status_within(code),
            code: code.unwrap_or("upstream_error"),
            kind: "",
            message: message.unwrap_or("the provider told of an error and not of which"),
            param: None,
            retry_after: None,
            request_id,
        };
        failing.status = dialects::error_status(writer.dialect(), &failing);
        let mut out = BytesMut::new();
        writer.error(&failing, &mut out);
        out.freeze()
    }

    /// An error of ours as the event that ends the stream, in the client's dialect; `None` for OpenAI's, which
    /// [`crate::error_event`] writes.
    pub fn error(&mut self, failing: &Failing<'_>) -> Option<Bytes> {
        let writer = match self {
            Self::Tapped(_) | Self::Passing(_) => return None,
            Self::Cleaned(cleaned) => return cleaned.flow.error(failing),
            Self::Watched(watched) => {
                watched.writer.follow(&watched.last);
                &mut watched.writer
            }
            Self::Translated(translated) => &mut translated.writer,
        };
        let mut out = BytesMut::new();
        writer.error(failing, &mut out);
        Some(out.freeze())
    }
}
