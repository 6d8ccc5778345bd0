//! One HTTP/1.1 connection to a provider: writes a request, reads its answer.
//!
//! Why not a ready-made client: it hands each piece of a body through a channel between its own state machine and the
//! reader, wakes the reader's task for it, and wants the request as a map of headers that it prints again. In a gateway
//! the reader drives the connection itself, so all of that is paid for nothing, once for each streamed event
//! (`docs/benchmarks.md`). What is left is small: a head is parsed by `httparse`, a body is one of three framings.
//!
//! Strict where leniency would let an answer be read in two ways: a length that is repeated, a transfer coding that is
//! not `chunked` alone, and lines without a carriage return end the call, and no connection is used again unless its
//! last answer ended where its framing said.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{StatusCode, Version};
use policy::Moment;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use super::chunks::Chunks;
use super::connect::Socket;

/// The largest head of an answer, bytes.
const MAX_HEAD: usize = 128 * 1024;
const MAX_HEADERS: usize = 128;
/// Interim answers (1xx) before the real one.
const MAX_INTERIM: u32 = 16;
/// What one read takes at least and at most.
const READ_LEAST: usize = 8 * 1024;
const READ_MOST: usize = 64 * 1024;
/// Up to this a body is joined to its head before it is sent.
const SMALL: usize = 16 * 1024;
/// Less room than this is not worth a read.
const ROOM: usize = 2 * 1024;

/// What went wrong on a connection to a provider.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The connection ended before the answer did.
    #[error("the connection ended before the answer was complete")]
    Incomplete,
    /// The bytes are no HTTP/1 answer.
    #[error("the answer is not valid HTTP/1: {0}")]
    Malformed(&'static str),
    /// What the system says of the socket.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Status and headers of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

#[derive(Debug)]
enum Reading {
    /// Nothing is expected.
    Idle,
    Head {
        interim: u32,
        /// Bytes that were searched for the head's end before.
        searched: usize,
    },
    Sized(u64),
    Chunked(Chunks),
    UntilClose,
    /// The answer ended in good order.
    Ended,
    /// Nothing further can be read.
    Failed,
}

/// A connection with at most one call on it.
pub(crate) struct Wire {
    socket: Socket,
    unsent: [Bytes; 2],
    /// Writing failed; what the provider has said meanwhile is still read.
    write_error: Option<io::Error>,
    buffer: BytesMut,
    read_size: usize,
    reading: Reading,
    /// The present call is a `HEAD`: its answer tells of a body and has none.
    bodiless: bool,
    /// Another call may follow the present one.
    keep: bool,
    pub(super) idle_since: Moment,
    pub(super) reused: bool,
}

impl Wire {
    pub(super) fn new(socket: Socket, now: Moment) -> Self {
        Self {
            socket,
            unsent: [Bytes::new(), Bytes::new()],
            write_error: None,
            buffer: BytesMut::new(),
            read_size: READ_LEAST,
            reading: Reading::Idle,
            bodiless: false,
            keep: true,
            idle_since: now,
            reused: false,
        }
    }

    /// Takes a request; bytes leave when the call is polled.
    pub(super) fn begin(&mut self, head: Bytes, body: Bytes) {
        self.bodiless = head.starts_with(b"HEAD ");
        self.unsent = match head.try_into_mut() {
            // Joining a small body to its head costs less than telling the system of two pieces.
            Ok(mut joined) if body.len() <= SMALL => {
                joined.extend_from_slice(&body);
                [joined.freeze(), Bytes::new()]
            }
            Ok(head) => [head.freeze(), body],
            Err(head) => [head, body],
        };
        self.reading = Reading::Head { interim: 0, searched: 0 };
    }

    /// Whether an idle connection can still be used. Asks the system only of one that was idle for a while: what
    /// closed under load is seen by the event loop.
    pub(super) fn is_open(&mut self, now: Moment, asked_after: std::time::Duration) -> bool {
        if now.since(self.idle_since) >= asked_after && self.socket.is_hung_up() {
            return false;
        }
        self.buffer.reserve(READ_LEAST);
        // Whatever comes without being asked for (or the end) makes the connection useless.
        let mut idle = Context::from_waker(Waker::noop());
        self.buffer.is_empty()
            && poll_read_buf(Pin::new(&mut self.socket), &mut idle, &mut self.buffer).is_pending()
    }

    /// Whether the last call left the connection ready for another.
    pub(super) fn is_reusable(&self) -> bool {
        self.keep
            && matches!(self.reading, Reading::Ended)
            && self.buffer.is_empty()
            && self.write_error.is_none()
            && self.unsent.iter().all(Bytes::is_empty)
    }

    /// Makes the connection ready to wait for its next call.
    pub(super) fn rest(&mut self, now: Moment) {
        self.reading = Reading::Idle;
        self.idle_since = now;
        self.read_size = READ_LEAST;
        if self.buffer.capacity() > 2 * READ_LEAST {
            self.buffer = BytesMut::new();
        }
    }

    /// Waits for status and headers.
    pub(super) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<Head, WireError>> {
        self.send(context);
        loop {
            match self.take_head() {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            }
            match std::task::ready!(self.poll_fill(context)) {
                Ok(0) => {
                    let broken = self.write_error.take().map_or(WireError::Incomplete, WireError::Io);
                    return Poll::Ready(Err(self.failed(broken)));
                }
                Ok(_) => {}
                Err(error) => {
                    let first = self.write_error.take().unwrap_or(error);
                    return Poll::Ready(Err(self.failed(first.into())));
                }
            }
        }
    }

    /// The next bytes of the body; `None` at its proper end.
    pub(super) fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        if self.unsent.iter().any(|part| !part.is_empty()) {
            self.send(context);
        }
        loop {
            match self.take_chunk() {
                Ok(Taken::Bytes(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Ok(Taken::End) => return Poll::Ready(None),
                Ok(Taken::More) => {}
                Err(error) => return Poll::Ready(Some(Err(self.failed(error)))),
            }
            match std::task::ready!(self.poll_fill(context)) {
                Ok(0) if matches!(self.reading, Reading::UntilClose) => {
                    self.reading = Reading::Ended;
                    return Poll::Ready(None);
                }
                Ok(0) => return Poll::Ready(Some(Err(self.failed(WireError::Incomplete)))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(self.failed(error.into())))),
            }
        }
    }

    fn failed(&mut self, error: WireError) -> WireError {
        self.reading = Reading::Failed;
        self.keep = false;
        error
    }

    /// Writes what the socket takes.
    fn send(&mut self, context: &mut Context<'_>) {
        while self.write_error.is_none() && self.unsent.iter().any(|part| !part.is_empty()) {
            let socket = Pin::new(&mut self.socket);
            let written = match &self.unsent {
                [head, body] if body.is_empty() => socket.poll_write(context, head),
                [head, body] if head.is_empty() => socket.poll_write(context, body),
                [head, body] => {
                    socket.poll_write_vectored(context, &[io::IoSlice::new(head), io::IoSlice::new(body)])
                }
            };
            match written {
                Poll::Ready(Ok(0)) => self.write_error = Some(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(written)) => {
                    let head = written.min(self.unsent[0].len());
                    self.unsent[0].advance(head);
                    self.unsent[1].advance(written - head);
                }
                Poll::Ready(Err(error)) => self.write_error = Some(error),
                Poll::Pending => return,
            }
        }
        // TLS keeps what it has encrypted until it is flushed; an error shows at the next read.
        let _ = Pin::new(&mut self.socket).poll_flush(context);
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < ROOM {
            // As much as the buffer had in all, so that its memory is used again once what was read has gone on.
            self.buffer.reserve(self.read_size.saturating_sub(self.buffer.len()).max(ROOM));
        }
        let room = self.buffer.capacity() - self.buffer.len();
        let read = poll_read_buf(Pin::new(&mut self.socket), context, &mut self.buffer);
        if let Poll::Ready(Ok(read)) = read
            && read == room
        {
            // The sender is faster than the reads are long.
            self.read_size = (self.read_size * 2).min(READ_MOST);
        }
        read
    }

    /// The head of the answer, once it is whole; interim answers are passed over.
    fn take_head(&mut self) -> Result<Option<Head>, WireError> {
        let Reading::Head { mut interim, mut searched } = self.reading else {
            return Err(WireError::Malformed("no answer is awaited"));
        };
        loop {
            let from = searched.saturating_sub(3);
            let Some(end) = memchr::memmem::find(&self.buffer[from..], b"\r\n\r\n") else {
                if self.buffer.len() > MAX_HEAD {
                    return Err(WireError::Malformed("its head is too large"));
                }
                self.reading = Reading::Head { interim, searched: self.buffer.len() };
                return Ok(None);
            };
            let head = self.buffer.split_to(from + end + 4).freeze();
            let (head, version) = read_head(&head)?;
            if !head.status.is_informational() {
                self.frame(&head, version)?;
                return Ok(Some(head));
            }
            interim += 1;
            if head.status == StatusCode::SWITCHING_PROTOCOLS || interim > MAX_INTERIM {
                return Err(WireError::Malformed("an interim answer that was not asked for"));
            }
            searched = 0;
        }
    }

    /// Decides how the body is framed (RFC 9112 §6.3).
    fn frame(&mut self, head: &Head, version: Version) -> Result<(), WireError> {
        let named = |token: &str| {
            head.headers.get_all(CONNECTION).iter().any(|value| {
                let listed = value.to_str().unwrap_or_default().split(',');
                listed.map(str::trim).any(|name| name.eq_ignore_ascii_case(token))
            })
        };
        let persistent = if version == Version::HTTP_11 { !named("close") } else { named("keep-alive") };
        self.keep = persistent;
        if self.bodiless || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            self.reading = Reading::Ended;
            return Ok(());
        }
        let length = content_length(&head.headers)?;
        let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
        if let Some(coding) = codings.next() {
            if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
                return Err(WireError::Malformed("a transfer coding that is not `chunked`"));
            }
            // A length beside it is ignored, and what follows on the connection is not trusted.
            self.keep = persistent && length.is_none() && version == Version::HTTP_11;
            self.reading = Reading::Chunked(Chunks::default());
            return Ok(());
        }
        self.reading = match length {
            Some(0) => Reading::Ended,
            Some(length) => Reading::Sized(length),
            None => {
                self.keep = false;
                Reading::UntilClose
            }
        };
        Ok(())
    }

    fn take_chunk(&mut self) -> Result<Taken, WireError> {
        match &mut self.reading {
            Reading::Sized(left) => {
                if self.buffer.is_empty() {
                    // A long body is read in long pieces.
                    let wanted = usize::try_from(*left).unwrap_or(READ_MOST).clamp(ROOM, READ_MOST);
                    self.read_size = self.read_size.max(wanted);
                    return Ok(Taken::More);
                }
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(self.buffer.len());
                *left -= length as u64;
                if *left == 0 {
                    self.reading = Reading::Ended;
                }
                Ok(Taken::Bytes(self.buffer.split_to(length).freeze()))
            }
            Reading::Chunked(chunks) => match chunks.take(&mut self.buffer)? {
                Taken::End => {
                    self.reading = Reading::Ended;
                    Ok(Taken::End)
                }
                taken => Ok(taken),
            },
            Reading::UntilClose if self.buffer.is_empty() => Ok(Taken::More),
            Reading::UntilClose => Ok(Taken::Bytes(self.buffer.split().freeze())),
            Reading::Ended => Ok(Taken::End),
            Reading::Idle | Reading::Head { .. } | Reading::Failed => Err(WireError::Incomplete),
        }
    }
}

/// What a framing makes of the bytes that are there.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Taken {
    Bytes(Bytes),
    /// More must be read first.
    More,
    End,
}

/// Parses a whole head. Values are slices of it: nothing is copied but names that no standard knows.
fn read_head(bytes: &Bytes) -> Result<(Head, Version), WireError> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    match parser.parse_response_with_uninit_headers(&mut answer, bytes, &mut headers) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Ok(_) => return Err(WireError::Malformed("its head ends early")),
        Err(httparse::Error::TooManyHeaders) => return Err(WireError::Malformed("too many headers")),
        Err(_) => return Err(WireError::Malformed("its head cannot be read")),
    }
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(WireError::Malformed("its status is no number"))?;
    let version = if answer.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let mut map = HeaderMap::with_capacity(answer.headers.len() + SPARE_HEADERS);
    for header in answer.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| WireError::Malformed("a header's name cannot be read"))?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(header.value))
            .map_err(|_| WireError::Malformed("a header's value cannot be read"))?;
        map.append(name, value);
    }
    Ok((Head { status, headers: map }, version))
}

/// Room for the headers that the gateway adds on the way to the client.
const SPARE_HEADERS: usize = 12;

/// One length, however often it is repeated; two different ones are no answer.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, WireError> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for part in value.as_bytes().split(|byte| *byte == b',') {
            let digits = part.trim_ascii();
            let plain = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
            let number = digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit & 0x0f));
            if !plain || length.is_some_and(|before| before != number) {
                return Err(WireError::Malformed("its length is ambiguous"));
            }
            length = Some(number);
        }
    }
    Ok(length)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
#[path = "wire/tests.rs"]
mod tests;
