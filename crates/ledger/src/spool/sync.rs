//! From the kernel to the device, for many at once.
//!
//! The first who asks starts a sync, on a thread that may block; those who come while it runs wait for its end
//! and then join the next, because the running one may have begun before their record was written. Two syncs
//! serve any number of waiters.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{NEVER, RETRY, Spool, State};
use crate::disk::SpoolFile;
use crate::error::SpoolUnavailable;

/// A segment by its number, open.
pub(super) type Descriptor = (u64, Arc<dyn SpoolFile>);
pub(super) type Descriptors = [Descriptor];

/// The first descriptor that failed, and where in the list it stands: those before it are on the device.
pub(super) struct Failed {
    pub(super) at: usize,
    pub(super) error: io::Error,
}

/// Syncs each, in order, up to the first that fails.
pub(super) fn sync_files(files: &Descriptors) -> Result<(), Failed> {
    for (at, (_, file)) in files.iter().enumerate() {
        file.sync_data().map_err(|error| Failed { at, error })?;
    }
    Ok(())
}

impl Spool {
    /// Whether anything waits for the device.
    pub(crate) fn is_unsynced(&self) -> bool {
        let writer = self.writer.lock();
        !writer.tail.is_empty() || !writer.retired.is_empty() || writer.names_unsynced
    }

    /// Everything that has been said is on the device when it returns.
    pub(crate) async fn sync(self: &Arc<Self>) -> Result<(), SpoolUnavailable> {
        let wanted = self.pending.lock().ticket();
        loop {
            let mut ended = pin!(self.sync_ended.notified());
            // Listening before looking: an end between the two is not missed.
            ended.as_mut().enable();
            if self.synced.load(Ordering::Acquire) >= wanted {
                return Ok(());
            }
            if self.device_rests() || (self.state() == State::Down && !self.is_due()) {
                return Err(SpoolUnavailable);
            }
            if self.syncing.swap(true, Ordering::AcqRel) {
                ended.await;
            } else {
                self.lead_sync().await?;
            }
        }
    }

    /// Whether the device refused so short a time ago that it is left alone. Every refusal makes the tail be written
    /// anew, which is more to sync, to drain and to remove: without a pause these would feed one another for ever.
    fn device_rests(&self) -> bool {
        let refused = self.sync_refused.load(Ordering::Acquire);
        refused != NEVER && self.clock.moment().as_nanos().saturating_sub(refused) < RETRY.as_nanos() as u64
    }

    /// Syncs what waits for it, unless a sync is running or the device rests; for the background.
    pub(crate) async fn sync_rest(self: &Arc<Self>) {
        if !self.device_rests() && self.is_unsynced() && !self.syncing.swap(true, Ordering::AcqRel) {
            // A failure is in `last_error` and is tried again at the next call.
            let _ = self.lead_sync().await;
        }
    }

    async fn lead_sync(self: &Arc<Self>) -> Result<(), SpoolUnavailable> {
        let running = Running(self.clone());
        // Runs to its end even when the one who started it goes away.
        let done = tokio::task::spawn_blocking(move || running.0.sync_now()).await;
        done.map_err(|_| SpoolUnavailable)?
    }

    /// One sync, here and now. Callers see to it that there is one at a time.
    pub(crate) fn sync_now(&self) -> Result<(), SpoolUnavailable> {
        // A descriptor that fails is replaced once; a disk that fails twice is left alone for now.
        for _ in 0..2 {
            let (files, closed, names, ticket) = {
                let mut writer = self.writer.lock();
                writer.push(self);
                if self.state() == State::Down {
                    return Err(SpoolUnavailable);
                }
                writer.tail.cover();
                let names = std::mem::take(&mut writer.names_unsynced);
                let (files, closed) = writer.unsynced_files();
                (files, closed, names, self.in_kernel.load(Ordering::Acquire))
            };
            let names_done = if names { self.disk.sync_names() } else { Ok(()) };
            let done = sync_files(&files);
            let mut writer = self.writer.lock();
            match done {
                Ok(()) => {
                    writer.synced(&files[..closed]);
                    if names_done.is_err() {
                        writer.names_unsynced = true;
                        return Err(SpoolUnavailable);
                    }
                    self.segments.synced(files.iter().map(|(number, _)| *number));
                    self.synced.fetch_max(ticket, Ordering::AcqRel);
                    return Ok(());
                }
                Err(failed) => {
                    writer.names_unsynced |= names;
                    writer.sync_failed(self, &files, &failed);
                }
            }
        }
        self.sync_refused.store(self.clock.moment().as_nanos(), Ordering::Release);
        Err(SpoolUnavailable)
    }
}

/// Ends a sync for those who wait, also when it panics.
struct Running(Arc<Spool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.syncing.store(false, Ordering::Release);
        self.0.sync_ended.notify_waiters();
    }
}
