//! Server-sent events out of bytes that arrive in any pieces.
//!
//! Own and byte-level, because what is forwarded must be what came: an [`Event`] keeps its verbatim
//! bytes beside its meaning. Rules of the WHATWG HTML standard, "Server-sent events": lines end with
//! LF, CR or CRLF, a blank line ends an event, a byte order mark may open the stream, several `data`
//! lines join with LF. Linear time for chunks of any size, and never more than `max_event` bytes held (the LF of a CRLF
//! that ends an event is not counted, for where chunks are cut it may come later, by itself).
//!
//! A CR at the very end of a chunk ends its line at once (the LF that may follow could be minutes
//! away). If the LF does come, it arrives as an [`Event`] of that single byte marked `continues`: the
//! last byte of the event before it.

mod fields;
mod lines;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

pub(crate) use fields::{Data, Fields};
pub(crate) use lines::{Boundary, Lines};

/// One event, or a piece of the stream that carries none (comments, blank lines).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Verbatim, with its blank line. The `raw` of all events in order are the bytes pushed.
    pub raw: Bytes,
    /// The values of all `data` lines, joined with LF.
    pub data: Bytes,
    /// The value of the last `event` line.
    pub name: Option<Bytes>,
    /// There is no `data` line: nothing that a client would dispatch.
    pub comment_only: bool,
    /// Only the LF of a CRLF whose CR ended the event before, in an earlier chunk.
    pub continues: bool,
}

impl Event {
    /// Its bytes with other data; all else of it stays.
    pub fn with_data(&self, data: &[u8]) -> Bytes {
        let (whole, part) = (self.raw.as_ptr() as usize, self.data.as_ptr() as usize);
        match part.checked_sub(whole).filter(|at| at + self.data.len() <= self.raw.len()) {
            Some(at) => {
                let mut out = Vec::with_capacity(self.raw.len() + data.len());
                out.extend_from_slice(&self.raw[..at]);
                out.extend_from_slice(data);
                out.extend_from_slice(&self.raw[at + self.data.len()..]);
                out.into()
            }
            // Data of several lines were joined; between tokens a line end is a space.
            None => {
                let mut out = Vec::with_capacity(self.raw.len() + data.len());
                if let Some(name) = &self.name {
                    out.extend_from_slice(b"event: ");
                    out.extend_from_slice(name);
                    out.extend_from_slice(b"\n");
                }
                out.extend_from_slice(b"data: ");
                out.extend(data.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
                out.extend_from_slice(b"\n\n");
                out.into()
            }
        }
    }
}

impl Event {
    /// With its data alone, and with its name where `named`, if it holds anything else: comments, numbers, lines that nobody knows.
    pub fn bare(&self, named: bool) -> Option<Event> {
        let of = |line: &[u8], field: &[u8]| {
            line.strip_prefix(field).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b':'))
        };
        let is_bare = |line: &[u8]| line.is_empty() || of(line, b"data") || (named && of(line, b"event"));
        if self.raw.split(|byte| matches!(byte, b'\n' | b'\r')).all(is_bare) {
            return None;
        }
        let mut raw = Vec::with_capacity(self.data.len() + 64);
        if let Some(name) = self.name.as_ref().filter(|_| named) {
            raw.extend_from_slice(b"event: ");
            raw.extend_from_slice(name);
            raw.push(b'\n');
        }
        raw.extend_from_slice(b"data: ");
        let start = raw.len();
        // Data of several lines were joined; between tokens a line end is a space.
        raw.extend(self.data.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte }));
        let end = raw.len();
        raw.extend_from_slice(b"\n\n");
        let raw = Bytes::from(raw);
        let name = self.name.clone().filter(|_| named);
        Some(Event { data: raw.slice(start..end), raw, name, comment_only: false, continues: false })
    }
}

/// Why a stream cannot be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// An event exceeds the limit; the framer holds nothing any more and stays in this state.
    #[error("an event is longer than {limit} bytes")]
    TooLong {
        /// The `max_event` it was made with.
        limit: usize,
    },
}

/// Cuts chunks into events. Push a chunk, then call [`Framer::next`] until it gives `None`.
#[derive(Debug)]
pub struct Framer {
    max_event: usize,
    lines: Lines,
    /// An event has come out already.
    begun: bool,
    /// The beginning of an event whose end has not come; looked at already.
    carry: BytesMut,
    /// Not looked at yet.
    chunk: Bytes,
    queue: VecDeque<Bytes>,
    too_long: bool,
}

impl Framer {
    /// Refuses events of more than `max_event` bytes, blank line included.
    pub fn new(max_event: usize) -> Self {
        Self {
            max_event,
            lines: Lines::default(),
            begun: false,
            carry: BytesMut::new(),
            chunk: Bytes::new(),
            queue: VecDeque::new(),
            too_long: false,
        }
    }

    /// Adds what arrived. Take all events out before the next push: chunks that wait are only held.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            self.queue.push_back(chunk);
        }
    }

    /// The next whole event, or `None` when more bytes are needed. An event that lies within one
    /// chunk is a slice of it.
    #[expect(clippy::should_implement_trait, reason = "an iterator that ends and goes on would surprise")]
    pub fn next(&mut self) -> Result<Option<Event>, SseError> {
        if self.too_long {
            return Err(SseError::TooLong { limit: self.max_event });
        }
        loop {
            if self.chunk.is_empty() {
                match self.queue.pop_front() {
                    Some(chunk) => self.chunk = chunk,
                    None => return Ok(None),
                }
            }
            let Some(boundary) = self.lines.boundary(&self.chunk) else {
                self.check(self.carry.len() + self.chunk.len())?;
                self.carry.extend_from_slice(&self.chunk);
                self.chunk.clear();
                continue;
            };
            self.check(
                self.carry.len() + boundary.end - usize::from(self.chunk[..boundary.end].ends_with(b"\r\n")),
            )?;
            let mut raw = self.chunk.split_to(boundary.end);
            if !self.carry.is_empty() {
                self.carry.extend_from_slice(&raw);
                raw = self.carry.split().freeze();
            }
            let begins_stream = !std::mem::replace(&mut self.begun, true);
            return Ok(Some(event(raw, boundary.continues, begins_stream)));
        }
    }

    /// Whether everything pushed has come out as events.
    pub fn rest_is_empty(&self) -> bool {
        self.carry.is_empty() && self.chunk.is_empty() && self.queue.is_empty()
    }

    /// The stream is over: what is left without a blank line, which by the standard is no event.
    pub fn finish(&mut self) -> Bytes {
        let mut rest = self.carry.split();
        rest.extend_from_slice(&std::mem::take(&mut self.chunk));
        for chunk in self.queue.drain(..) {
            rest.extend_from_slice(&chunk);
        }
        (self.lines, self.begun) = (Lines::default(), false);
        rest.freeze()
    }

    fn check(&mut self, length: usize) -> Result<(), SseError> {
        if length <= self.max_event {
            return Ok(());
        }
        self.too_long = true;
        self.carry = BytesMut::new();
        self.chunk.clear();
        self.queue.clear();
        Err(SseError::TooLong { limit: self.max_event })
    }
}

fn event(raw: Bytes, continues: bool, begins_stream: bool) -> Event {
    if continues {
        return Event { raw, comment_only: true, continues, ..Event::default() };
    }
    let fields = Fields::read(&raw, begins_stream);
    let data = match &fields.data {
        Data::None => Bytes::new(),
        Data::Line(line) => raw.slice_ref(line),
        Data::Joined(joined) => Bytes::copy_from_slice(joined),
    };
    let name = fields.name.map(|name| raw.slice_ref(name));
    let comment_only = matches!(fields.data, Data::None);
    Event { data, name, comment_only, continues, raw }
}

#[cfg(test)]
#[path = "sse/tests.rs"]
mod tests;
