//! The quick way through HTTP/1: whole requests with a small body of known length, which nearly every call is.
//!
//! Why beside hyper: it hands bodies through a channel between its state machine and the reader, wakes the reader's
//! task for each piece, and keeps timers and states for all that HTTP/1 can be, where here one task reads, asks and
//! answers. What each side costs is in `ARCHITECTURE.md`.
//!
//! It stays small because it may give up: a request that is anything else (another method, another URL, chunks,
//! `expect`, `upgrade`, `connection: close`, a large body) is not begun here. The connection then goes to hyper for
//! good, with the bytes that were read, as if this had not been. What it reads went through the gate first
//! (`gate.rs`, `framing.rs`), so heads are whole and sound, lengths are plain, and every wait has its bound.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, DATE, EXPECT, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Response, StatusCode, Uri};
use http_body::Body as _;
use policy::{Moment, Timestamp};
use providers::request::{Operation, Raw};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::poll_read_buf;

use super::Client;
use super::framing::MAX_HEADERS;
use super::gate::Gate;
use crate::alarm::Spare;
use crate::body::Body;
use crate::receive::Held;
use crate::urls::{self, Endpoint};
use crate::{Gateway, authenticate, endpoints};

/// A larger body is read by hyper, piece by piece and within the bounds that all bodies together have.
const MAX_BODY: usize = 64 * 1024;
/// What is read at once of a request.
const ROOM: usize = 8 * 1024;
/// Up to this bytes of an answer are joined before they are written.
const JOINED: usize = 16 * 1024;

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

enum State {
    Reading,
    Answering(Answering),
    /// The answer's body is being written, in chunks or as long as it was said to be.
    Sending(Body, bool),
    Closing,
}

enum Taken {
    /// It is being answered.
    Begun,
    /// More of it must come first.
    More,
    Other,
}

/// A connection on the quick way.
pub(super) struct Quick<S> {
    gateway: Arc<Gateway>,
    client: Client,
    /// `None` once it was left.
    gate: Option<Gate<S>>,
    state: State,
    inbox: BytesMut,
    /// How long the present request is with its body, where that is known and not all of it is there; and since when.
    awaited: Option<(usize, Moment)>,
    /// The share of memory of a body that is not all there.
    held: Option<Held>,
    outbox: BytesMut,
    /// What follows the outbox: a large piece of a body, which is not copied.
    tail: Bytes,
    /// No request follows the present one.
    last: bool,
    /// For the waits of the calls, one after another.
    alarm: Spare,
    /// A second, and how answers tell it.
    date: (i64, String),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Quick<S> {
    pub(super) fn new(gateway: Arc<Gateway>, client: Client, gate: Gate<S>) -> Self {
        Self {
            gateway,
            client,
            gate: Some(gate),
            state: State::Reading,
            inbox: BytesMut::new(),
            awaited: None,
            held: None,
            outbox: BytesMut::new(),
            tail: Bytes::new(),
            last: false,
            alarm: Spare::default(),
            date: (i64::MIN, String::new()),
        }
    }

    /// The present request is the last.
    pub(super) fn end_gently(&mut self) {
        self.last = true;
    }

    /// Until the connection ends, or goes on with a request that is not for here.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Gate<S>>>> {
        loop {
            if !self.is_gathering() {
                std::task::ready!(self.poll_write(context))?;
            }
            match &mut self.state {
                State::Reading => {
                    if self.last && self.inbox.is_empty() {
                        self.state = State::Closing;
                        continue;
                    }
                    match self.take_request() {
                        Taken::Begun => {}
                        Taken::Other => return Poll::Ready(Ok(self.leave())),
                        Taken::More => match self.poll_fill(context) {
                            Poll::Pending => {
                                // A connection that rests keeps no room, neither for requests nor for answers.
                                self.outbox = BytesMut::new();
                                if self.inbox.is_empty() {
                                    self.inbox = BytesMut::new();
                                }
                                return Poll::Pending;
                            }
                            Poll::Ready(Ok(0)) if self.inbox.is_empty() => self.state = State::Closing,
                            Poll::Ready(Ok(0)) => return Poll::Ready(Ok(self.leave())),
                            Poll::Ready(Ok(_)) => {}
                            Poll::Ready(Err(error)) => return Poll::Ready(self.leave_broken(error)),
                        },
                    }
                }
                State::Answering(answering) => match answering.as_mut().poll(context) {
                    Poll::Ready(answer) => self.answer(answer),
                    Poll::Pending => return self.poll_gone(context),
                },
                State::Sending(body, chunked) => match Pin::new(body).poll_frame(context) {
                    Poll::Ready(Some(Ok(frame))) => {
                        let chunked = *chunked;
                        if let Ok(bytes) = frame.into_data() {
                            self.put(bytes, chunked);
                        }
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(io::Error::other(error))),
                    Poll::Ready(None) => {
                        if *chunked {
                            self.outbox.extend_from_slice(b"0\r\n\r\n");
                        }
                        self.state = if self.last { State::Closing } else { State::Reading };
                    }
                    Poll::Pending => {
                        std::task::ready!(self.poll_write(context))?;
                        return self.poll_gone(context);
                    }
                },
                State::Closing => {
                    if let Some(gate) = self.gate.as_mut() {
                        // Whoever is gone already needs no end.
                        let _ = std::task::ready!(Pin::new(gate).poll_shutdown(context));
                    }
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }

    /// Whether more of an answer may join what waits to be written.
    fn is_gathering(&self) -> bool {
        matches!(self.state, State::Sending(..)) && self.tail.is_empty() && self.outbox.len() < JOINED
    }

    fn leave(&mut self) -> Option<Gate<S>> {
        let mut gate = self.gate.take()?;
        gate.give_back(std::mem::take(&mut self.inbox).freeze());
        Some(gate)
    }

    /// A body that was refused in its middle is answered by hyper, which reads the same again; all else has ended.
    fn leave_broken(&mut self, error: io::Error) -> io::Result<Option<Gate<S>>> {
        let begun = !self.inbox.is_empty();
        let refused = begun && self.gate.as_mut().is_some_and(|gate| gate.refuse_again(&error));
        if refused { Ok(self.leave()) } else { Err(error) }
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(gate) = self.gate.as_mut() else { return Poll::Ready(Ok(0)) };
        let wanted = self.awaited.map_or(ROOM, |(length, _)| length.saturating_sub(self.inbox.len()).max(1));
        if self.inbox.capacity() - self.inbox.len() < wanted.min(ROOM / 2) {
            self.inbox.reserve(wanted);
        }
        poll_read_buf(Pin::new(gate), context, &mut self.inbox)
    }

    /// While a request is being answered: an error when its client goes, which drops the call. Whoever has sent more than
    /// it, and not only empty lines, is asked when its turn comes.
    fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<Gate<S>>>> {
        while self.inbox.iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
            self.inbox.clear();
            match std::task::ready!(self.poll_fill(context)) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        Poll::Pending
    }

    /// Writes until nothing waits.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(gate) = self.gate.as_mut() else { return Poll::Ready(Ok(())) };
        if self.outbox.is_empty() && self.tail.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.outbox.is_empty() || !self.tail.is_empty() {
            let gate = Pin::new(&mut *gate);
            let written = if self.tail.is_empty() {
                std::task::ready!(gate.poll_write(context, &self.outbox))?
            } else {
                let parts = [io::IoSlice::new(&self.outbox), io::IoSlice::new(&self.tail)];
                std::task::ready!(gate.poll_write_vectored(context, &parts))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let first = written.min(self.outbox.len());
            self.outbox.advance(first);
            self.tail.advance(written - first);
        }
        // What was one large answer's is not kept for the next.
        if self.outbox.capacity() > 2 * JOINED {
            self.outbox = BytesMut::new();
        } else {
            self.outbox.clear();
        }
        // TLS keeps what it has encrypted until it is flushed.
        Pin::new(gate).poll_flush(context)
    }

    /// The next request, when all of it is there.
    fn take_request(&mut self) -> Taken {
        let whole = self.awaited.map_or(1, |(length, _)| length);
        if self.inbox.len() < whole {
            return Taken::More;
        }
        let bytes = self.inbox.split().freeze();
        match read_request(&bytes) {
            Ok((parts, head, length)) if bytes.len() >= head + length => {
                if bytes.len() > head + length {
                    self.inbox.extend_from_slice(&bytes[head + length..]);
                }
                self.begin(parts, bytes.slice(head..head + length));
                Taken::Begun
            }
            Ok((parts, head, length)) => {
                if self.held.is_none() && !self.may_wait(&parts, length) {
                    drop(parts);
                    self.put_back(bytes);
                    return Taken::Other;
                }
                drop(parts);
                self.awaited = Some((head + length, self.gateway.clock.moment()));
                self.put_back(bytes);
                Taken::More
            }
            // The empty lines that may stand before a request.
            Err(NotForHere) if bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => Taken::More,
            Err(NotForHere) => {
                self.put_back(bytes);
                Taken::Other
            }
        }
    }

    /// Whether the rest of a body is waited for here: of whoever has a key, and as long as there is room for all bodies together.
    /// Others are told by hyper, which does not gather what they send.
    fn may_wait(&mut self, parts: &Parts, length: usize) -> bool {
        let known = authenticate::authenticate(&self.gateway, &parts.headers, parts.uri.query()).is_ok();
        self.held = if known { self.gateway.memory.hold_body(length as u64) } else { None };
        self.held.is_some()
    }

    fn put_back(&mut self, bytes: Bytes) {
        self.inbox = bytes.try_into_mut().unwrap_or_else(|bytes| BytesMut::from(&bytes[..]));
    }

    fn begin(&mut self, mut parts: Parts, body: Bytes) {
        let since = self.awaited.take().map(|(_, since)| since);
        // The request takes its own share.
        self.held = None;
        if let Endpoint::Call(asked) = urls::find(&parts.method, parts.uri.path())
            && matches!(asked.operation, Operation::Raw(Raw::MessageBatches | Raw::GoogleUpload))
        {
            // Its answers tell an address of ours.
            parts.extensions.insert(self.client.clone());
        }
        let (gateway, busy) = (Arc::clone(&self.gateway), self.client.answer());
        let of_connection = (self.client.address, self.alarm.clone());
        self.state = State::Answering(Box::pin(async move {
            let answer = endpoints::answer_whole(gateway, parts, body, since, of_connection).await;
            answer.map(|body| body.holding(busy))
        }));
    }

    fn answer(&mut self, answer: Response<Body>) {
        let (head, body) = answer.into_parts();
        let said = head.headers.get_all(CONNECTION).iter();
        self.last |= said.map(HeaderValue::as_bytes).any(|value| value.eq_ignore_ascii_case(b"close"));
        let bodiless = matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = body.size_hint().exact();
        self.put_head(head.status, &head.headers, if bodiless { None } else { Some(length) });
        self.state = match (bodiless, self.last) {
            (false, _) => State::Sending(body, length.is_none()),
            (true, false) => State::Reading,
            (true, true) => State::Closing,
        };
    }

    /// `framing`: the length of the body, or none when it comes in chunks; none at all where there is no body.
    fn put_head(&mut self, status: StatusCode, headers: &HeaderMap, framing: Option<Option<u64>>) {
        let now = self.gateway.clock.now();
        if self.date.0 != now.as_seconds() {
            self.date = (now.as_seconds(), http_date(now));
        }
        let out = &mut self.outbox;
        out.reserve(2 * 1024);
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(status.as_str().as_bytes());
        out.extend_from_slice(b" ");
        out.extend_from_slice(status.canonical_reason().unwrap_or("Unknown").as_bytes());
        out.extend_from_slice(b"\r\n");
        for (name, value) in headers {
            if *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING && *name != CONNECTION {
                put_line(out, name, value.as_bytes());
            }
        }
        if self.last {
            put_line(out, &CONNECTION, b"close");
        }
        match framing {
            Some(Some(length)) => {
                put_line(out, &CONTENT_LENGTH, itoa::Buffer::new().format(length).as_bytes());
            }
            Some(None) => put_line(out, &TRANSFER_ENCODING, b"chunked"),
            None => {}
        }
        if !headers.contains_key(DATE) {
            put_line(out, &DATE, self.date.1.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a piece of the body.
    fn put(&mut self, bytes: Bytes, chunked: bool) {
        if !chunked && bytes.len() > JOINED {
            self.tail = bytes;
            return;
        }
        if bytes.is_empty() {
            // An empty chunk would be the end.
            return;
        }
        if chunked {
            put_size(&mut self.outbox, bytes.len());
        }
        self.outbox.extend_from_slice(&bytes);
        if chunked {
            self.outbox.extend_from_slice(b"\r\n");
        }
    }
}

fn put_line(out: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// The line before a chunk: its size in hexadecimal digits.
fn put_size(out: &mut BytesMut, size: usize) {
    let mut digits = [0; 2 * size_of::<usize>()];
    let mut at = digits.len();
    let mut left = size;
    while left > 0 {
        at -= 1;
        digits[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// A request that hyper is to read.
#[derive(Debug)]
struct NotForHere;

/// Reads a head that is whole: what it asks, and how long it and its body are. Values are slices of it.
fn read_request(bytes: &Bytes) -> Result<(Parts, usize, usize), NotForHere> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut head = httparse::Request::new(&mut []);
    let read = head.parse_with_uninit_headers(bytes, &mut lines);
    let Ok(httparse::Status::Complete(size)) = read else { return Err(NotForHere) };
    let (Some("POST"), Some(1), Some(target)) = (head.method, head.version, head.path) else {
        return Err(NotForHere);
    };
    let target = Uri::from_maybe_shared(bytes.slice_ref(target.as_bytes())).map_err(|_| NotForHere)?;
    if !target.path().starts_with('/') || target.authority().is_some() {
        return Err(NotForHere);
    }
    let mut length = None;
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for line in head.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| NotForHere)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(line.value)).map_err(|_| NotForHere)?;
        if name == CONTENT_LENGTH {
            length = value.to_str().ok().and_then(|text| text.parse::<usize>().ok());
        } else if name == TRANSFER_ENCODING
            || name == UPGRADE
            || name == EXPECT
            || (name == CONNECTION && !value.as_bytes().eq_ignore_ascii_case(b"keep-alive"))
        {
            return Err(NotForHere);
        }
        headers.append(name, value);
    }
    let length = length.filter(|length| *length <= MAX_BODY).ok_or(NotForHere)?;
    if !matches!(urls::find(&Method::POST, target.path()), Endpoint::Call(_)) {
        return Err(NotForHere);
    }
    let (mut parts, ()) = http::Request::new(()).into_parts();
    (parts.method, parts.uri, parts.headers) = (Method::POST, target, headers);
    Ok((parts, size, length))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
fn http_date(at: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (seconds, date) = (at.as_seconds(), at.date());
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let month = month.and_then(|month| month.parse::<usize>().ok()).unwrap_or(1);
    let weekday = usize::try_from(seconds.div_euclid(86_400).rem_euclid(7)).unwrap_or(0);
    let of_day = seconds.rem_euclid(86_400);
    format!(
        "{}, {} {} {} {:02}:{:02}:{:02} GMT",
        DAYS[weekday],
        day.unwrap_or_default(),
        MONTHS[month.clamp(1, 12) - 1],
        year.unwrap_or_default(),
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60
    )
}

#[cfg(test)]
#[path = "quick/tests.rs"]
mod tests;
