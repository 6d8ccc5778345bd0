//! When an answer is sent: a body that keeps to a schedule, and that can break off or fall silent on request.
//!
//! The schedule is absolute (offsets from the start), so a late timer does not slow the rest down. There is no
//! task and no channel behind a stream: the body is polled by the connection, and dropped with it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

/// How long a stalled answer stays silent before its connection breaks: every wait has an end.
pub(crate) const SILENCE: Duration = Duration::from_secs(600);

/// What was sent before a connection breaks gets this long to leave the machine; the server library would throw it
/// away otherwise.
pub(crate) const LEAVE: Duration = Duration::from_millis(5);

/// One event of a stream, without the parts that all events of the stream share.
#[derive(Debug)]
pub(crate) struct Event {
    /// Offset from the start of the answer.
    pub(crate) at: Duration,
    pub(crate) kind: EventKind,
}

/// What an event holds.
#[derive(Debug)]
pub(crate) enum EventKind {
    /// The JSON of the element of `choices`.
    Choice(String),
    /// The JSON of `usage`, on a chunk without choices.
    Usage(String),
    /// `[DONE]`
    Done,
    /// The connection breaks.
    Cut,
}

/// What the events of one stream share.
#[derive(Debug)]
pub(crate) struct Envelope {
    /// From `{` to before `"choices"`.
    pub(crate) head: String,
    /// Chunks carry `"usage":null`, as they do when the client asked for usage.
    pub(crate) null_usage: bool,
}

impl Envelope {
    fn write(&self, kind: &EventKind) -> Option<Bytes> {
        let head = &self.head;
        let null = if self.null_usage { ",\"usage\":null" } else { "" };
        match kind {
            EventKind::Choice(json) => Some(format!("data: {head}\"choices\":[{json}]{null}}}\n\n").into()),
            EventKind::Usage(json) => {
                Some(format!("data: {head}\"choices\":[],\"usage\":{json}}}\n\n").into())
            }
            EventKind::Done => Some(Bytes::from_static(b"data: [DONE]\n\n")),
            EventKind::Cut => None,
        }
    }
}

/// The body of every answer of this crate.
pub(crate) enum Body {
    /// All at once.
    Whole(Option<Bytes>),
    /// The first part of an answer, then the connection breaks.
    Broken(Option<Bytes>, u64, Pin<Box<Sleep>>),
    /// Events on a schedule.
    Paced {
        events: std::vec::IntoIter<Event>,
        next: Option<Event>,
        envelope: Envelope,
        start: Instant,
        sleep: Pin<Box<Sleep>>,
    },
}

impl Body {
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes))
    }

    /// The first half of `bytes`, then the connection breaks.
    pub(crate) fn half(bytes: &Bytes) -> Self {
        let sleep = Box::pin(tokio::time::sleep(LEAVE));
        Self::Broken(Some(bytes.slice(..bytes.len() / 2)), bytes.len() as u64, sleep)
    }

    pub(crate) fn paced(events: Vec<Event>, envelope: Envelope, start: Instant) -> Self {
        let sleep = Box::pin(tokio::time::sleep_until(start));
        let mut events = events.into_iter();
        let next = events.next();
        Self::Paced { events, next, envelope, start, sleep }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Broken(bytes, _, sleep) => match bytes.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => sleep.as_mut().poll(context).map(|()| Some(Err(cut()))),
            },
            Self::Paced { events, next, envelope, start, sleep } => {
                let Some(event) = next else { return Poll::Ready(None) };
                let due = *start + event.at;
                if due > Instant::now() {
                    if sleep.deadline() != due {
                        sleep.as_mut().reset(due);
                    }
                    if sleep.as_mut().poll(context).is_pending() {
                        return Poll::Pending;
                    }
                }
                Poll::Ready(Some(match envelope.write(&event.kind) {
                    Some(bytes) => {
                        *next = events.next();
                        Ok(Frame::data(bytes))
                    }
                    None => Err(cut()),
                }))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Broken(_, promised, _) => SizeHint::with_exact(*promised),
            Self::Paced { .. } => SizeHint::default(),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Broken(..) => false,
            Self::Paced { next, .. } => next.is_none(),
        }
    }
}

fn cut() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "the simulation was asked to die here")
}
