//! What was refused before there was a request: heads and framing that are ambiguous, too large or too slow.
//!
//! Such bytes never reach the parser. A refused head is replaced by [`STAND_IN`], a head that no client can send, since
//! the framing refuses one without a host; so the refusal is answered as any request is: by the URL table, in order
//! behind earlier answers, never on top of one. A refused body breaks off with an error that says why.

use std::io;
use std::sync::{Arc, OnceLock};

use super::framing::Ambiguity;
use crate::refusal::{Code, Refusal};

/// What the parser gets in place of a refused head.
pub(super) const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\n\r\n";

/// Why a head or a body was not taken.
#[derive(Copy, Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Ambiguous(Ambiguity),
    /// Seconds that a head may take.
    #[error("the head of the request did not come within {0} s")]
    SlowHead(u64),
    /// Seconds within which more of a body must come.
    #[error("nothing of the rest of the body came for {0} s")]
    SlowBody(u64),
}

impl Refused {
    /// The answer that says so.
    pub(crate) fn refusal(self) -> Box<Refusal> {
        match self {
            Self::Ambiguous(Ambiguity::HeadTooLarge) => Refusal::new(Code::HeadTooLarge, self.to_string()),
            Self::Ambiguous(why) => {
                let message = format!("the request could be read in two ways, so it is not read: {why}");
                Refusal::new(Code::AmbiguousRequest, message)
            }
            Self::SlowHead(_) | Self::SlowBody(_) => Refusal::new(Code::RequestTimeout, self.to_string()),
        }
    }

    /// The error with which a body breaks off.
    pub(super) fn into_error(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }

    /// Finds the reason again in what hyper makes of that error.
    pub(crate) fn find(error: &hyper::Error) -> Option<Self> {
        let cause = std::error::Error::source(error)?.downcast_ref::<io::Error>()?;
        cause.get_ref()?.downcast_ref::<Self>().copied()
    }
}

/// The refused head of one connection: told by the gate, answered by the URL table.
#[derive(Clone, Debug, Default)]
pub(super) struct RefusedHead(Arc<OnceLock<Refused>>);

impl RefusedHead {
    pub(super) fn tell(&self, refused: Refused) {
        // A connection ends with its first refusal, so there is no second.
        let _ = self.0.set(refused);
    }

    pub(super) fn get(&self) -> Option<Refused> {
        self.0.get().copied()
    }
}
