//! Reading the spool: frames of one file through a window, and all records of a folder in order.
//!
//! A reader is given a limit (how far the file is known to be good) and never looks beyond it; so the drain may
//! read the very segment that is being written. Memory is bounded by the longest frame.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::LedgerError;
use crate::disk::{Disk, Folder, SpoolFile};
use crate::drain::{POISON_NAME, position};
use crate::frame::{self, HEADER, Look};
use crate::segments::{file_name, segment_numbers};
use crate::wire::Decoder;

pub use crate::wire::{Checkpoint, IntentRecord, Mark, Record};

const WINDOW: usize = 256 << 10;

/// What belongs to the spool in `dir`, in the order in which it is to be copied while it is written: how far the store has got, then
/// the segments from the oldest on, then what was put aside. A copy of the newest that ends anywhere is what a crash there would have
/// left; a segment that is gone when it is its turn was drained.
///
/// # Errors
/// When the folder cannot be listed. One that does not exist has none.
pub fn files(dir: &Path) -> io::Result<Vec<String>> {
    let names = match Folder::unlocked(dir).list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed?,
    };
    let mut files: Vec<String> = names.iter().filter(|name| *name == position::NAME).cloned().collect();
    files.extend(segment_numbers(&names).into_iter().map(file_name));
    files.extend(names.into_iter().filter(|name| name == POISON_NAME));
    Ok(files)
}

/// Bytes of a segment that hold no readable record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment:08}: {bytes} bytes at {offset} are damaged: {what}")]
pub struct Damage {
    /// The segment's number.
    pub segment: u64,
    /// Where the damage begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What is wrong.
    pub what: &'static str,
}

/// What a [`SegmentReader`] found.
#[expect(clippy::large_enum_variant, reason = "read one at a time")]
pub(crate) enum Found {
    Record(Record),
    /// A whole frame of a kind that was not asked for.
    Other,
    Damage {
        offset: u64,
        bytes: u64,
        what: &'static str,
    },
}

/// Reads one segment from an offset on.
pub(crate) struct SegmentReader {
    file: Arc<dyn SpoolFile>,
    window: Vec<u8>,
    /// The window's unread part begins here.
    start: usize,
    /// Offset in the file of the window's unread part.
    offset: u64,
}

impl SegmentReader {
    pub(crate) fn new(file: Arc<dyn SpoolFile>, offset: u64) -> Self {
        Self { file, window: Vec::new(), start: 0, offset }
    }

    /// Everything before it has been given out.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record or damage before `limit`; `None` when there is no more.
    pub(crate) fn next(&mut self, limit: u64, decoder: &mut Decoder) -> io::Result<Option<Found>> {
        self.next_of(limit, decoder, |_, _| true)
    }

    /// The same, reading only the records of the kinds and versions that are wanted.
    pub(crate) fn next_of(
        &mut self,
        limit: u64,
        decoder: &mut Decoder,
        is_wanted: impl Fn(u8, u8) -> bool,
    ) -> io::Result<Option<Found>> {
        let mut damaged: Option<(u64, u64)> = None;
        let mut wanted = HEADER;
        loop {
            let whole = self.fill(wanted, limit)?;
            match frame::look(&self.window[self.start..], whole) {
                Look::Need(more) => wanted = more,
                Look::Damage(bytes) => {
                    let (_, sum) = damaged.get_or_insert((self.offset, 0));
                    *sum += bytes as u64;
                    self.skip(bytes);
                    wanted = HEADER;
                }
                // Damage is told first; the frame is found again by the next call.
                Look::Frame { .. } | Look::End if damaged.is_some() => {
                    let (offset, bytes) = damaged.unwrap_or_default();
                    return Ok(Some(Found::Damage { offset, bytes, what: "no valid frame" }));
                }
                Look::End => return Ok(None),
                Look::Frame { kind, version, length } if !is_wanted(kind, version) => {
                    self.skip(length);
                    return Ok(Some(Found::Other));
                }
                Look::Frame { kind, version, length } => {
                    let payload = &self.window[self.start + HEADER..self.start + length];
                    let offset = self.offset;
                    let found = match decoder.record(kind, version, payload) {
                        Ok(record) => Found::Record(record),
                        Err(_) => Found::Damage {
                            offset,
                            bytes: length as u64,
                            what: "a valid frame with an unreadable record",
                        },
                    };
                    self.skip(length);
                    return Ok(Some(found));
                }
            }
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Makes the unread part of the window at least `wanted` long, where the file has it. Whether the window
    /// then reaches the limit.
    fn fill(&mut self, wanted: usize, limit: u64) -> io::Result<bool> {
        let left = usize::try_from(limit.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let unread = self.window.len() - self.start;
        if unread >= wanted.min(left) {
            return Ok(unread >= left);
        }
        self.window.drain(..self.start);
        self.start = 0;
        let target = left.min(wanted.max(WINDOW));
        while self.window.len() < target {
            let have = self.window.len();
            self.window.resize(target, 0);
            let read = self.file.read_at(&mut self.window[have..], self.offset + have as u64);
            self.window.truncate(have + *read.as_ref().unwrap_or(&0));
            match read {
                // Shorter than its limit says: what is missing is as good as the end.
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // A window that grew for one long frame does not stay that long.
        if self.window.capacity() > 4 * WINDOW && target <= WINDOW {
            self.window.shrink_to(WINDOW);
        }
        Ok(self.window.len() >= left)
    }
}

/// All records of a spool folder, oldest first, damage in its place. Takes no lock: a writer may be at work, and
/// then the last record may look damaged.
///
/// # Errors
/// When the folder cannot be listed.
pub fn folder(path: &Path) -> Result<impl Iterator<Item = Result<Record, Damage>> + use<>, LedgerError> {
    let disk = Folder::unlocked(path);
    let names =
        disk.list().map_err(|source| LedgerError::Io { what: "list", path: path.to_owned(), source })?;
    Ok(records(Box::new(disk), segment_numbers(&names)))
}

/// All records of the segments `numbers`, in that order.
pub(crate) fn records(
    disk: Box<dyn Disk>,
    numbers: Vec<u64>,
) -> impl Iterator<Item = Result<Record, Damage>> {
    let mut numbers = numbers.into_iter();
    let mut decoder = Decoder::default();
    let mut current: Option<(u64, SegmentReader, u64)> = None;
    std::iter::from_fn(move || {
        loop {
            let (number, reader, limit) = match &mut current {
                Some(current) => current,
                None => {
                    let number = numbers.next()?;
                    let opened = disk.open(&file_name(number));
                    let Ok((file, length)) =
                        opened.and_then(|file| file.length().map(|length| (file, length)))
                    else {
                        return Some(Err(Damage {
                            segment: number,
                            offset: 0,
                            bytes: 0,
                            what: "cannot be opened",
                        }));
                    };
                    current.insert((number, SegmentReader::new(file, 0), length))
                }
            };
            match reader.next(*limit, &mut decoder) {
                Ok(Some(Found::Record(record))) => return Some(Ok(record)),
                Ok(Some(Found::Other)) => {}
                Ok(Some(Found::Damage { offset, bytes, what })) => {
                    return Some(Err(Damage { segment: *number, offset, bytes, what }));
                }
                Ok(None) => current = None,
                Err(_) => {
                    let (segment, offset) = (*number, reader.offset());
                    let bytes = limit.saturating_sub(offset);
                    current = None;
                    return Some(Err(Damage { segment, offset, bytes, what: "cannot be read" }));
                }
            }
        }
    })
}
