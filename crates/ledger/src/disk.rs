//! The few things that the spool asks of a disk.
//!
//! A seam and not a layer: it exists so that tests can give a disk that is full, that fails on the k-th write,
//! that writes half, or that lies about having synced, at the exact moment they choose.
//!
//! Files are written with `pwrite` at explicit offsets only: a torn append is then overwritten or cut off, never
//! built upon.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::LedgerError;

#[cfg(test)]
pub(crate) mod memory;

/// One file of the spool.
pub(crate) trait SpoolFile: Send + Sync {
    /// Writes some of `bytes` at `offset`; how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Reads some bytes at `offset`; 0 at the end.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Power-safe when it returns.
    fn sync_data(&self) -> io::Result<()>;
    /// Bytes in the file.
    fn length(&self) -> io::Result<u64>;
}

/// The spool's folder.
pub(crate) trait Disk: Send + Sync {
    /// A new, empty file; an error when it exists.
    fn create(&self, name: &str) -> io::Result<Arc<dyn SpoolFile>>;
    /// An existing file, for reading.
    fn open(&self, name: &str) -> io::Result<Arc<dyn SpoolFile>>;
    /// All file names.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Cuts a file, through a descriptor of its own.
    fn truncate(&self, name: &str, length: u64) -> io::Result<()>;
    /// Replaces a small file's content in place. Not atomic: the content must say whether it is whole.
    fn overwrite(&self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Appends to a small file.
    fn append(&self, name: &str, content: &[u8]) -> io::Result<()>;
    /// Makes created and removed names power-safe.
    fn sync_names(&self) -> io::Result<()>;
}

/// A folder of the file system, locked for this process.
pub(crate) struct Folder {
    dir: PathBuf,
    /// Held, not used: the lock ends with the descriptor, also on kill -9.
    _lock: Option<File>,
}

impl Folder {
    /// Makes the folder where needed and takes its lock.
    pub(crate) fn lock(dir: &Path) -> Result<Self, LedgerError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| LedgerError::Io { what, path, source }
        };
        std::fs::create_dir_all(dir).map_err(failed("make the folder", dir))?;
        let path = dir.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(failed("open the lock", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { dir: dir.to_owned(), _lock: Some(file) }),
            Err(TryLockError::WouldBlock) => Err(LedgerError::Locked { dir: dir.to_owned() }),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }

    /// The folder for reading only, without its lock.
    pub(crate) fn unlocked(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), _lock: None }
    }
}

impl Disk for Folder {
    fn create(&self, name: &str) -> io::Result<Arc<dyn SpoolFile>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(self.dir.join(name))?;
        Ok(Arc::new(OnDisk(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SpoolFile>> {
        Ok(Arc::new(OnDisk(File::open(self.dir.join(name))?)))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.dir.join(name))?.set_len(length)
    }

    fn overwrite(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(self.dir.join(name))?;
        file.write_all_at(content, 0)?;
        file.set_len(content.len() as u64)
    }

    fn append(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).open(self.dir.join(name))?;
        io::Write::write_all(&mut &file, content)
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

struct OnDisk(File);

impl SpoolFile for OnDisk {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
