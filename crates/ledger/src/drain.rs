//! From the spool to the store, at least once, in batches that the store takes whole or not at all.

use std::future::Future;
use std::pin::Pin;

use crate::records::Drained;

/// Who takes records out of the spool for good. Implemented by the store.
pub trait Drain: Send + Sync + 'static {
    /// Takes a batch: all of it or nothing. The same records may come again, alone or in other company; they must
    /// not count twice.
    fn drain<'a>(
        &'a self,
        batch: &'a [Drained],
    ) -> Pin<Box<dyn Future<Output = Result<(), DrainError>> + Send + 'a>>;
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DrainError {
    /// For the log; names the thing, holds no content of records.
    pub message: String,
    /// Trying this batch again can never help: one of its records is impossible for the store.
    pub poison: bool,
}
