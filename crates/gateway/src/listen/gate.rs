//! The stream between a client's socket and hyper: strict framing, and a bound on every wait.
//!
//! hyper's own head timer is one timer for each request; here a connection has one timer that is re-armed only when it
//! fires, so that a busy connection pays nothing. A head takes at most 10 s from its first byte, a body keeps moving
//! every 30 s, an idle connection is closed after 75 s, and a client that does not read for 60 s is dropped.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use policy::Moment;
use runtime::Clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::framing::{Framing, Phase};
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
pub(crate) struct Answering(Arc<AtomicU32>);

/// One request that is being answered.
#[derive(Debug)]
pub(crate) struct Answer(Arc<AtomicU32>);

impl Answering {
    pub(crate) fn begin(&self) -> Answer {
        self.0.fetch_add(1, Ordering::Relaxed);
        Answer(Arc::clone(&self.0))
    }

    fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
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
    /// `None` for HTTP/2, which has framing of its own.
    framing: Option<Framing>,
    /// Bytes that were read to recognise the protocol and wait for the parser.
    peeked: Vec<u8>,
    /// The first byte of the present head, else the last byte of a body, else when the connection was found idle.
    since: Moment,
    /// Something was written since `since`: an idle connection's time begins anew.
    wrote: bool,
    write_stalled: Option<Moment>,
    alarm: Alarm,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Gate<S> {
    pub(crate) fn new(inner: S, clock: Clock, patience: Patience, answering: Answering) -> Self {
        let since = clock.moment();
        Self {
            inner,
            clock,
            patience,
            answering,
            framing: Some(Framing::new()),
            peeked: Vec::new(),
            since,
            wrote: false,
            write_stalled: None,
            alarm: Alarm::default(),
        }
    }

    /// Reads until the protocol is clear. A connection that sends nothing is held to the time of a head.
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
        let protocol = tokio::time::timeout(self.patience.head, reading).await??;
        self.peeked = peeked;
        if protocol == Protocol::Http2 {
            self.framing = None;
        }
        Ok(protocol)
    }

    /// Follows what was just read into `buffer` behind `before`; cuts away what must not reach the parser.
    fn follow(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let Some(framing) = self.framing.as_mut() else { return };
        let earlier = framing.phase();
        match framing.feed(&buffer.filled()[before..]) {
            Ok(passed) => buffer.set_filled(before + passed),
            Err((passed, ambiguity)) => {
                tracing::debug!(%ambiguity, "request refused before it was parsed");
                // A NUL where the head should go on makes hyper answer 400 and close, in order behind earlier answers.
                buffer.set_filled(before + passed);
                let end = b"\0\r\n\r\n";
                buffer.put_slice(&end[..end.len().min(buffer.remaining())]);
            }
        }
        if earlier != Phase::Head || framing.phase() != Phase::Head {
            self.since = self.clock.moment();
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
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
            _ => Poll::Pending,
        }
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
        if self.framing.as_ref().is_some_and(Framing::closed) {
            // Nothing further is read; but the client's going must still be seen while an answer is made.
            let mut scratch = [0u8; 512];
            let mut waste = ReadBuf::new(&mut scratch);
            return match Pin::new(&mut self.inner).poll_read(context, &mut waste) {
                Poll::Pending => self.poll_read_deadline(context),
                Poll::Ready(Ok(())) if !waste.filled().is_empty() => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                ended => ended,
            };
        }
        if !self.peeked.is_empty() {
            let length = self.peeked.len().min(buffer.remaining());
            buffer.put_slice(&self.peeked[..length]);
            self.peeked.drain(..length);
            if self.peeked.is_empty() {
                self.peeked = Vec::new();
            }
            self.follow(buffer, before);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.inner).poll_read(context, buffer) {
            Poll::Ready(Ok(())) => {
                self.follow(buffer, before);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_read_deadline(context),
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
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.wrote(outcome, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
