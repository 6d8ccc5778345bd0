//! The stream between a client's socket and hyper: strict framing, and a bound on every wait.
//!
//! hyper's own head timer is one timer for each request; here a connection has one timer that is re-armed only when it
//! fires, so that a busy connection pays nothing. A head takes at most 10 s from its first byte, a body keeps moving
//! every 30 s, an idle connection is closed after 75 s, and a client that does not read for 60 s is dropped. What was
//! begun and is too slow is answered (408) where nothing was answered yet; what is refused is answered too, and then
//! read for a moment, so that the client sees the answer and not a reset connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use policy::Moment;
use runtime::Clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::framing::{Framing, Phase};
use super::refused::{Refused, RefusedHead, STAND_IN};
use crate::alarm::Alarm;

/// Bounds on the waits of one client connection.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Patience {
    pub(crate) head: Duration,
    pub(crate) body: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { head: seconds(10), body: seconds(30), idle: seconds(75), write: seconds(60) }
    }
}

/// How many requests of a connection are being answered: while any is, silence from the client is right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answering {
    requests: Arc<AtomicU32>,
    /// An upgrade was granted: what follows on this connection is no request any more.
    tunnel: Arc<AtomicBool>,
}

/// One request that is being answered.
#[derive(Debug)]
pub(crate) struct Answer(Arc<AtomicU32>);

impl Answering {
    pub(crate) fn begin(&self) -> Answer {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Answer(Arc::clone(&self.requests))
    }

    /// The bytes that follow are passed on as they are.
    pub(crate) fn become_tunnel(&self) {
        self.tunnel.store(true, Ordering::Release);
    }

    fn any(&self) -> bool {
        self.requests.load(Ordering::Relaxed) > 0
    }

    fn is_tunnel(&self) -> bool {
        self.tunnel.load(Ordering::Acquire)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The opening bytes of HTTP/2 with prior knowledge (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the first bytes say that the client speaks.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// A client's byte stream, watched.
pub(crate) struct Gate<S> {
    inner: S,
    clock: Clock,
    patience: Patience,
    answering: Answering,
    /// `None` for HTTP/2, which has framing of its own, and for a tunnel.
    framing: Option<Framing>,
    /// Bytes that were read to recognise the protocol and wait for the framing.
    peeked: Vec<u8>,
    /// Bytes that may go to the parser and had no room: heads that came in pieces.
    ready: Bytes,
    refused_head: RefusedHead,
    /// The body breaks off with this.
    refused_body: Option<Refused>,
    farewell: Option<Farewell>,
    /// The first byte of the present head, else the last byte of a body, else when the connection was found idle.
    since: Moment,
    /// Something was written since `since`: an idle connection's time begins anew.
    wrote: bool,
    write_stalled: Option<Moment>,
    /// Where the pieces of a small write are joined.
    small: Vec<u8>,
    alarm: Alarm,
}

/// Up to here joining the pieces of a write costs less than telling the system of each.
const SMALL: usize = 4096;

/// The pieces of a small write as one.
fn joined<'a>(slices: &[io::IoSlice<'_>], small: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let length: usize = slices.iter().map(|slice| slice.len()).sum();
    if slices.len() < 2 || length > SMALL {
        return None;
    }
    small.clear();
    small.reserve_exact(SMALL);
    for slice in slices {
        small.extend_from_slice(slice);
    }
    Some(small)
}

/// The end of a connection on which something was refused.
#[derive(Copy, Clone, Debug, Default)]
struct Farewell {
    until: Option<Moment>,
    dropped: usize,
}

/// How long, and how much, a client is listened to after its refusal.
const FAREWELL: Duration = Duration::from_secs(2);
const FAREWELL_BYTES: usize = 1024 * 1024;

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    pub(super) fn new(
        inner: S,
        clock: Clock,
        patience: Patience,
        answering: Answering,
        refused_head: RefusedHead,
    ) -> Self {
        let since = clock.moment();
        Self {
            inner,
            clock,
            patience,
            answering,
            framing: Some(Framing::new()),
            peeked: Vec::new(),
            ready: Bytes::new(),
            refused_head,
            refused_body: None,
            farewell: None,
            since,
            wrote: false,
            write_stalled: None,
            small: Vec::new(),
            alarm: Alarm::default(),
        }
    }

    /// Takes bytes back that passed, for another parser to read.
    pub(super) fn give_back(&mut self, bytes: Bytes) {
        self.ready =
            if self.ready.is_empty() { bytes } else { [bytes, self.ready.split_off(0)].concat().into() };
    }

    /// Breaks off the body once more where `error` is why it broke off; whether it is.
    pub(super) fn refuse_again(&mut self, error: &io::Error) -> bool {
        let refused = error.get_ref().and_then(|cause| cause.downcast_ref::<Refused>());
        self.refused_body = refused.copied();
        refused.is_some()
    }

    /// Reads until the protocol is clear. A connection that sends nothing is held to the time of a head, and closed; one
    /// that sends the first letters of HTTP/2 and no more is taken for slow.
    pub(crate) async fn recognise(&mut self) -> io::Result<Protocol> {
        let mut peeked = Vec::with_capacity(4096);
        let inner = &mut self.inner;
        let reading = async {
            loop {
                let seen = peeked.len().min(HTTP2_PREFACE.len());
                if peeked[..seen] != HTTP2_PREFACE[..seen] {
                    return Ok(Protocol::Http1);
                }
                if seen == HTTP2_PREFACE.len() {
                    return Ok(Protocol::Http2);
                }
                if inner.read_buf(&mut peeked).await? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
                }
            }
        };
        let protocol = match tokio::time::timeout(self.patience.head, reading).await {
            Ok(read) => read?,
            Err(_) if peeked.is_empty() => return Err(io::ErrorKind::TimedOut.into()),
            Err(_) => {
                self.refuse(Refused::SlowHead(self.patience.head.as_secs()), true);
                Protocol::Http1
            }
        };
        self.peeked = peeked;
        if protocol == Protocol::Http2 {
            self.framing = None;
        }
        Ok(protocol)
    }

    /// Follows what was just read into `buffer` behind `before`, and leaves there what may reach the parser.
    fn follow(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let Some(framing) = self.framing.as_mut() else { return };
        let earlier = framing.phase();
        let read = &buffer.filled()[before..];
        let fed = framing.feed(read);
        if fed.from == 0 {
            buffer.set_filled(before + fed.to);
        } else {
            let mut ready = fed.head;
            ready.extend_from_slice(&read[fed.from..fed.to]);
            self.ready = ready.into();
            buffer.set_filled(before);
        }
        if earlier != Phase::Head || framing.phase() != Phase::Head {
            self.since = self.clock.moment();
        }
        if let Some((ambiguity, of_head)) = fed.refused {
            self.refuse(Refused::Ambiguous(ambiguity), of_head);
        }
    }

    /// Nothing further passes. What passed before is answered first.
    fn refuse(&mut self, refused: Refused, of_head: bool) {
        tracing::debug!(%refused, "request refused before it was parsed");
        if let Some(framing) = self.framing.as_mut() {
            framing.close();
        }
        self.since = self.clock.moment();
        self.farewell = Some(Farewell::default());
        self.peeked = Vec::new();
        if of_head {
            self.refused_head.tell(refused);
            let stand_in = if self.ready.is_empty() {
                Bytes::from_static(STAND_IN)
            } else {
                Bytes::from([&self.ready[..], STAND_IN].concat())
            };
            self.ready = stand_in;
        } else {
            self.refused_body = Some(refused);
        }
    }

    fn read_deadline(&mut self) -> Option<Moment> {
        match self.framing.as_ref().map_or(Phase::Idle, Framing::phase) {
            Phase::Head => Some(self.since.plus(self.patience.head)),
            Phase::Body => Some(self.since.plus(self.patience.body)),
            Phase::Idle if self.answering.any() => None,
            Phase::Idle if self.wrote => {
                self.wrote = false;
                self.since = self.clock.moment();
                Some(self.since.plus(self.patience.idle))
            }
            Phase::Idle => Some(self.since.plus(self.patience.idle)),
        }
    }

    fn poll_read_deadline(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.read_deadline() {
            Some(deadline) if self.alarm.poll(&self.clock, deadline, context).is_ready() => {
                match self.framing.as_ref().map_or(Phase::Idle, Framing::phase) {
                    Phase::Head => self.refuse(Refused::SlowHead(self.patience.head.as_secs()), true),
                    Phase::Body => self.refuse(Refused::SlowBody(self.patience.body.as_secs()), false),
                    Phase::Idle => return Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                }
                Poll::Ready(Ok(()))
            }
            _ => Poll::Pending,
        }
    }

    /// Reads from the client into `buffer` what may reach the parser. Ready with nothing in it: the client has ended,
    /// unless `ready` or `refused_body` now holds something.
    fn poll_passing(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            if self.peeked.is_empty() {
                match Pin::new(&mut self.inner).poll_read(context, buffer) {
                    Poll::Ready(Ok(())) if buffer.filled().len() == before => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return self.poll_read_deadline(context),
                }
            } else {
                let length = self.peeked.len().min(buffer.remaining());
                buffer.put_slice(&self.peeked[..length]);
                self.peeked.drain(..length);
                if self.peeked.is_empty() {
                    self.peeked = Vec::new();
                }
            }
            self.follow(buffer, before);
            // A head that is not whole stays with the framing, and nothing is left in the buffer.
            if buffer.filled().len() > before || !self.ready.is_empty() || self.refused_body.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads and drops what a refused client still sends: closing a socket with unread bytes resets it, and the answer
    /// with it.
    fn poll_farewell(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(mut farewell) = self.farewell else { return Poll::Ready(()) };
        let until = *farewell.until.get_or_insert_with(|| self.clock.moment().plus(FAREWELL));
        let mut scratch = [0u8; 4096];
        let outcome = loop {
            let mut waste = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.inner).poll_read(context, &mut waste) {
                Poll::Ready(Ok(())) if !waste.filled().is_empty() && farewell.dropped < FAREWELL_BYTES => {
                    farewell.dropped += waste.filled().len();
                }
                Poll::Ready(_) => break Poll::Ready(()),
                Poll::Pending => break self.alarm.poll(&self.clock, until, context),
            }
        };
        self.farewell = Some(farewell);
        outcome
    }

    /// Books the outcome of a write; a write that stays pending too long fails.
    fn wrote<T>(&mut self, outcome: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write_stalled = None;
            self.wrote = true;
            return outcome;
        }
        let stalled = *self.write_stalled.get_or_insert_with(|| self.clock.moment());
        match self.alarm.poll(&self.clock, stalled.plus(self.patience.write), context) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gate<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        loop {
            if !self.ready.is_empty() {
                let length = self.ready.len().min(buffer.remaining());
                buffer.put_slice(&self.ready[..length]);
                self.ready.advance(length);
                return Poll::Ready(Ok(()));
            }
            if let Some(refused) = self.refused_body.take() {
                return Poll::Ready(Err(refused.into_error()));
            }
            if self.framing.as_ref().is_some_and(Framing::closed) {
                if !self.answering.is_tunnel() || self.farewell.is_some() {
                    break;
                }
                self.framing = None;
            }
            std::task::ready!(self.poll_passing(context, buffer))?;
            let nothing = self.ready.is_empty() && self.refused_body.is_none();
            if buffer.filled().len() > before || nothing {
                return Poll::Ready(Ok(()));
            }
        }
        // Nothing further is read; but the client's going must still be seen while an answer is made.
        let mut scratch = [0u8; 512];
        let mut waste = ReadBuf::new(&mut scratch);
        match Pin::new(&mut self.inner).poll_read(context, &mut waste) {
            Poll::Pending => self.poll_read_deadline(context),
            Poll::Ready(Ok(())) if !waste.filled().is_empty() => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
            ended => ended,
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gate<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.wrote(outcome, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let outcome = match joined(slices, &mut this.small) {
            Some(small) => Pin::new(&mut this.inner).poll_write(context, small),
            None => Pin::new(&mut this.inner).poll_write_vectored(context, slices),
        };
        self.wrote(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(Pin::new(&mut self.inner).poll_shutdown(context))?;
        self.poll_farewell(context).map(Ok)
    }
}

#[cfg(test)]
#[path = "gate/tests.rs"]
mod tests;
