//! Start, drain, stop: what every connection and stream looks at to know how far the end is.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

/// The steps of a stop; each is taken once and never taken back.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    draining: AtomicBool,
    /// No new connections, and open ones end after their present request.
    pub(crate) not_accepting: CancellationToken,
    /// What still runs is cut with an error.
    pub(crate) cut: CancellationToken,
}

impl Lifecycle {
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}
