//! The answer's body: whole bytes, a relayed stream, or the body of another room.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use crate::listen::Answer;
use crate::recall::Recorded;
use crate::relay::Relay;

/// A body that another room (console, admin API) made.
pub type BoxBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;
/// Any error of a body; it ends the connection.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What an answer carries.
pub(crate) enum Content {
    Whole(Option<Bytes>),
    Stream(Box<Relay>),
    /// A stream that is kept while it passes.
    Recorded(Box<Recorded>),
    /// A kept stream: of no announced length, as it was.
    Events(Option<Bytes>),
    Aside(BoxBody),
}

/// The body of every answer. It marks its connection as busy until it is gone.
pub struct Body {
    content: Content,
    _answer: Option<Answer>,
}

impl Body {
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { content: Content::Whole(Some(bytes.into())), _answer: None }
    }

    /// The bytes of a body that is there.
    pub(crate) fn into_whole(self) -> Option<Bytes> {
        match self.content {
            Content::Whole(bytes) => bytes,
            _ => None,
        }
    }

    /// The same, without taking them.
    pub(crate) fn bytes(&self) -> Option<&Bytes> {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref(),
            _ => None,
        }
    }

    pub(crate) fn is_relay(&self) -> bool {
        matches!(self.content, Content::Stream(_))
    }

    /// The stream that it is, if it is one.
    pub(crate) fn into_relay(self) -> Result<Box<Relay>, Self> {
        match self.content {
            Content::Stream(relay) => Ok(relay),
            content => Err(Self { content, _answer: self._answer }),
        }
    }

    /// The kept stream that it is, if it is one.
    pub(crate) fn into_recorded(self) -> Option<Recorded> {
        match self.content {
            Content::Recorded(recorded) => Some(*recorded),
            _ => None,
        }
    }

    pub(crate) fn recorded(recorded: Recorded) -> Self {
        Self { content: Content::Recorded(Box::new(recorded)), _answer: None }
    }

    pub(crate) fn events(bytes: Bytes) -> Self {
        Self { content: Content::Events(Some(bytes)), _answer: None }
    }

    pub(crate) fn stream(relay: Box<Relay>) -> Self {
        Self { content: Content::Stream(relay), _answer: None }
    }

    pub(crate) fn aside(body: BoxBody) -> Self {
        Self { content: Content::Aside(body), _answer: None }
    }

    pub(crate) fn holding(mut self, answer: Answer) -> Self {
        self._answer = Some(answer);
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.content {
            Content::Whole(bytes) | Content::Events(bytes) => {
                Poll::Ready(bytes.take().filter(|b| !b.is_empty()).map(|b| Ok(Frame::data(b))))
            }
            Content::Stream(relay) => match std::task::ready!(relay.poll_event(context)) {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Ready(relay.broken_off().map(|error| Err(error.into()))),
            },
            Content::Recorded(recorded) => match std::task::ready!(recorded.poll_event(context)) {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Ready(recorded.broken_off().map(|error| Err(error.into()))),
            },
            Content::Aside(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) | Content::Events(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Stream(relay) => relay.is_over(),
            Content::Recorded(recorded) => recorded.is_over(),
            Content::Aside(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Content::Stream(_) | Content::Recorded(_) | Content::Events(_) => SizeHint::default(),
            Content::Aside(body) => body.size_hint(),
        }
    }
}
