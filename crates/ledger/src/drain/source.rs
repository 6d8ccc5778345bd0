//! Where batches come from: the segments, in order, up to what is known to be good.

use std::io;

use crate::read::{Found, SegmentReader};
use crate::records::Drained;
use crate::segments::file_name;
use crate::spool::Spool;
use crate::wire::{Decoder, Record};

/// Frames for the store in one batch at most. (A frame may hold two records.)
const MOST: u64 = 1_000;
/// Bytes of the spool that one batch covers at most, so that bodies cannot fill the memory.
const MOST_BYTES: u64 = 4 << 20;

/// What is handed over in one go.
pub(super) struct Batch {
    pub(super) records: Vec<Drained>,
    /// Frames that these came from.
    pub(super) frames: u64,
    /// Position (segment, offset) after it.
    pub(super) end: (u64, u64),
    /// It ended because it was full.
    pub(super) full: bool,
}

/// A place in the spool.
pub(super) struct Source {
    at: (u64, u64),
    reader: Option<SegmentReader>,
    decoder: Decoder,
}

impl Source {
    pub(super) fn new(position: (u64, u64)) -> Self {
        Self { at: position, reader: None, decoder: Decoder::default() }
    }

    /// Whether nothing has been written after it.
    pub(super) fn is_at_end(&self, spool: &Spool) -> bool {
        spool.segments.bytes_after(self.at.0, self.at.1) == 0
    }

    /// The next batch; `None` when nothing was written since the last one.
    pub(super) fn read(&mut self, spool: &Spool) -> io::Result<Option<Batch>> {
        let start = self.at;
        // Made as large as it will be: one that grows by doubling leaves holes of all sizes behind.
        let waiting = usize::try_from(spool.segments.undrained().min(MOST)).unwrap_or_default();
        let records = Vec::with_capacity(2 * waiting);
        let mut batch = Batch { records, frames: 0, end: start, full: false };
        let mut bytes = 0;
        while let Some(segment) = spool.segments.at_or_after(self.at.0) {
            if segment.number != self.at.0 {
                self.at = (segment.number, 0);
                self.reader = None;
            }
            // Asked before the length: a segment that is sealed now does not grow after it is read.
            let sealed = segment.is_sealed();
            let limit = segment.committed();
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    let file = spool.disk.open(&file_name(segment.number))?;
                    self.reader.insert(SegmentReader::new(file, self.at.1))
                }
            };
            while batch.frames < MOST && bytes < MOST_BYTES {
                let Some(found) = reader.next_of(limit, &mut self.decoder, Decoder::is_end)? else { break };
                bytes += reader.offset() - self.at.1;
                self.at.1 = reader.offset();
                take(found, &mut batch, segment.number);
            }
            batch.end = self.at;
            batch.full = batch.frames >= MOST || bytes >= MOST_BYTES;
            if batch.full || !sealed {
                break;
            }
            self.at = (segment.number + 1, 0);
            self.reader = None;
            batch.end = self.at;
        }
        Ok((batch.end != start).then_some(batch))
    }
}

fn take(found: Found, batch: &mut Batch, segment: u64) {
    match found {
        Found::Record(Record::Terminal(entry, log)) => {
            batch.frames += 1;
            batch.records.push(Drained::Entry(entry));
            batch.records.extend(log.map(Drained::Request));
        }
        Found::Record(Record::Request(log)) => {
            batch.frames += 1;
            batch.records.push(Drained::Request(log));
        }
        Found::Record(_) | Found::Other => {}
        Found::Damage { offset, bytes, what } => {
            tracing::warn!("segment {segment:08}: {bytes} bytes at {offset} are damaged: {what}");
        }
    }
}
