//! What can go wrong, in words for the person who runs the gateway.

use std::io;
use std::path::PathBuf;

/// Why a ledger could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Two processes must never write one spool.
    #[error("another process uses the spool {}: one data folder serves one process", dir.display())]
    Locked {
        /// The spool's folder.
        dir: PathBuf,
    },
    /// The folder cannot be made, listed or locked.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The spool cannot be written now: the disk is full or broken. It is tried again by itself; nothing that was
/// handed over is forgotten while the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the spool cannot be written")]
pub struct SpoolUnavailable;
