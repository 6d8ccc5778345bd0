//! How many calls may be under way at once, and what may wait for a turn.

use super::document::ByteSize;
use serde::Serialize;
use std::time::Duration;

/// `[server] overload`.
#[derive(Clone, Eq, PartialEq, Debug, Serialize)]
pub struct Overload {
    /// Calls under way at once, of all providers. `None`: no cap.
    pub max_in_flight: Option<u32>,
    /// Calls that may wait, in each queue.
    pub queue: u32,
    /// Bytes of their bodies, in each queue.
    pub queue_bytes: ByteSize,
    /// How long a call may wait for its turns.
    pub queue_wait: Duration,
}

impl Overload {
    /// Whether it is what holds where nothing is said.
    pub(crate) fn is_usual(&self) -> bool {
        *self == Overload::default()
    }
}

impl Default for Overload {
    fn default() -> Self {
        Overload {
            max_in_flight: None,
            queue: 1024,
            queue_bytes: ByteSize(64 << 20),
            queue_wait: Duration::from_secs(5),
        }
    }
}
