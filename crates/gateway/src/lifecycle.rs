//! Start, drain, stop: what every connection and stream looks at to know how far the end is.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tokio_util::sync::CancellationToken;

/// The steps of a stop; each is taken once and never taken back.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    draining: AtomicBool,
    stage: AtomicU8,
    /// No new connections, and open ones end after their present request.
    pub(crate) not_accepting: CancellationToken,
    /// What still runs is cut with an error. Connections wait for it, and streams of HTTP/2, which are tasks of their
    /// own; what a connection's task polls only asks [`Lifecycle::is_cutting`].
    pub(crate) cut: CancellationToken,
}

const NOT_ACCEPTING: u8 = 1;
const CUTTING: u8 = 2;

impl Lifecycle {
    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Changes with every step after the first; read without a lock.
    pub(crate) fn stage(&self) -> u8 {
        self.stage.load(Ordering::Acquire)
    }

    pub(crate) fn is_cutting(&self) -> bool {
        self.stage() == CUTTING
    }

    pub(crate) fn begin_drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stop_accepting(&self) {
        self.stage.fetch_max(NOT_ACCEPTING, Ordering::AcqRel);
        self.not_accepting.cancel();
    }

    pub(crate) fn begin_cut(&self) {
        self.stage.fetch_max(CUTTING, Ordering::AcqRel);
        self.cut.cancel();
    }
}
