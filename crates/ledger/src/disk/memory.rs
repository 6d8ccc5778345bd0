//! A disk in memory that fails when it is told to.
//!
//! It keeps two truths for each file: what the kernel would show (survives `kill -9`) and what is on the device
//! (survives a loss of power). A sync that failed leaves the device as it was, and later syncs of that file
//! succeed without doing anything, as real kernels do.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, SpoolFile};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// What goes wrong.
#[derive(Clone, Default)]
pub(crate) struct Faults {
    /// Bytes that fit.
    pub(crate) capacity: Option<usize>,
    /// Every k-th write of a segment fails, after having written half.
    pub(crate) fail_write_every: Option<u64>,
    /// A write takes at most that many bytes.
    pub(crate) short_writes: Option<usize>,
    /// Every k-th sync fails.
    pub(crate) fail_sync_every: Option<u64>,
    /// Nothing can be created.
    pub(crate) no_create: bool,
    /// Segments cannot be cut or removed.
    pub(crate) no_cleanup: bool,
}

#[derive(Clone, Default)]
struct Content {
    kernel: Vec<u8>,
    device: Vec<u8>,
    /// A sync failed once: it will never tell the truth again.
    lying: bool,
}

type File = Arc<Mutex<Content>>;

#[derive(Default)]
struct State {
    files: BTreeMap<String, File>,
    durable_names: Vec<String>,
    faults: Faults,
    writes: u64,
    syncs: u64,
    /// Writes and syncs through a descriptor that had failed before.
    reused: u64,
    /// What happens once while a sync runs: after the device has taken what was there, before the sync is told to be over.
    meanwhile: Option<Box<dyn FnOnce() + Send>>,
}

impl State {
    fn used(&self) -> usize {
        self.files.values().map(|file| file.lock().kernel.len()).sum()
    }
}

#[derive(Clone, Default)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

impl MemoryDisk {
    pub(crate) fn with(faults: Faults) -> Self {
        let disk = Self::default();
        disk.set(faults);
        disk
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// Has this happen while the next sync runs.
    pub(crate) fn while_syncing(&self, happen: impl FnOnce() + Send + 'static) {
        self.0.lock().meanwhile = Some(Box::new(happen));
    }

    /// What another process finds after a `kill -9` now.
    pub(crate) fn after_kill(&self) -> Self {
        self.copy(|content| content.kernel.clone(), false)
    }

    /// What another process finds after a loss of power now.
    pub(crate) fn after_power_loss(&self) -> Self {
        self.copy(|content| content.device.clone(), true)
    }

    fn copy(&self, survives: impl Fn(&Content) -> Vec<u8>, durable_only: bool) -> Self {
        let state = self.0.lock();
        let files = state
            .files
            .iter()
            .filter(|(name, _)| !durable_only || state.durable_names.contains(name))
            .map(|(name, file)| {
                let bytes = survives(&file.lock());
                let content = Content { kernel: bytes.clone(), device: bytes, lying: false };
                (name.clone(), Arc::new(Mutex::new(content)))
            })
            .collect();
        Self(Arc::new(Mutex::new(State { files, ..State::default() })))
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.0.lock().files.get(name).map(|file| file.lock().kernel.clone())
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        let content = Content { kernel: bytes.to_vec(), device: bytes.to_vec(), lying: false };
        self.0.lock().files.insert(name.to_owned(), Arc::new(Mutex::new(content)));
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.lock().files.keys().cloned().collect()
    }

    pub(crate) fn used(&self) -> usize {
        self.0.lock().used()
    }

    pub(crate) fn writes(&self) -> u64 {
        self.0.lock().writes
    }

    pub(crate) fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    pub(crate) fn reused(&self) -> u64 {
        self.0.lock().reused
    }

    fn file(&self, name: &str) -> io::Result<File> {
        self.0.lock().files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn handle(&self, content: File) -> Arc<dyn SpoolFile> {
        Arc::new(Handle { disk: self.clone(), content, failed: Mutex::new(false) })
    }
}

struct Handle {
    disk: MemoryDisk,
    content: File,
    failed: Mutex<bool>,
}

/// Every k-th of them fails.
fn is_turn(count: u64, every: Option<u64>) -> bool {
    every.is_some_and(|every| count.is_multiple_of(every))
}

impl SpoolFile for Handle {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.0.lock();
        state.writes += 1;
        state.reused += u64::from(*self.failed.lock());
        let fails = is_turn(state.writes, state.faults.fail_write_every);
        let mut length = bytes.len().min(state.faults.short_writes.unwrap_or(usize::MAX));
        if fails {
            length /= 2;
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = self.content.lock().kernel.len();
        if let Some(capacity) = state.faults.capacity {
            let room = capacity.saturating_sub(state.used());
            length = length.min((end + room).saturating_sub(start));
        }
        let mut content = self.content.lock();
        if end < start + length {
            content.kernel.resize(start + length, 0);
        }
        content.kernel[start..start + length].copy_from_slice(&bytes[..length]);
        if fails || length == 0 && !bytes.is_empty() {
            *self.failed.lock() = true;
            return Err(error(if fails { EIO } else { ENOSPC }));
        }
        Ok(length)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let content = self.content.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.kernel.len());
        let length = into.len().min(content.kernel.len() - start);
        into[..length].copy_from_slice(&content.kernel[start..start + length]);
        Ok(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.syncs += 1;
        let mut content = self.content.lock();
        // A full disk may still be synced; one that failed to sync may not be asked again.
        state.reused += u64::from(content.lying);
        if is_turn(state.syncs, state.faults.fail_sync_every) {
            content.lying = true;
            *self.failed.lock() = true;
            return Err(error(EIO));
        }
        if !content.lying {
            content.device = content.kernel.clone();
        }
        let meanwhile = state.meanwhile.take();
        drop((content, state));
        if let Some(happen) = meanwhile {
            happen();
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.content.lock().kernel.len() as u64)
    }
}

impl Disk for MemoryDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn SpoolFile>> {
        let mut state = self.0.lock();
        if state.faults.no_create {
            return Err(error(EIO));
        }
        if state.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let content = File::default();
        state.files.insert(name.to_owned(), content.clone());
        Ok(self.handle(content))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SpoolFile>> {
        Ok(self.handle(self.file(name)?))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.names())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.faults.no_cleanup && name.contains(".seg") {
            return Err(error(EIO));
        }
        state.files.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        if self.0.lock().faults.no_cleanup {
            return Err(error(EIO));
        }
        self.file(name)?.lock().kernel.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }

    fn overwrite(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let before = state.files.get(name).map_or(0, |file| file.lock().kernel.len());
        if let Some(capacity) = state.faults.capacity
            && state.used() + content.len() > capacity + before
        {
            return Err(error(ENOSPC));
        }
        let content = Content { kernel: content.to_vec(), ..Content::default() };
        state.files.insert(name.to_owned(), Arc::new(Mutex::new(content)));
        Ok(())
    }

    fn append(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let file = state.files.entry(name.to_owned()).or_default().clone();
        file.lock().kernel.extend_from_slice(content);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.durable_names = state.files.keys().cloned().collect();
        Ok(())
    }
}
