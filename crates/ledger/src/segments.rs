//! The segments of the spool as the process knows them: numbers, how far each is good, what of it is drained.
//!
//! Kept apart from the writer so that the drain and `depth` never wait for a write. The length of the active
//! segment is one atomic: the writer raises it after each write, readers look no further.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

/// One segment.
pub(crate) struct Segment {
    pub(crate) number: u64,
    /// Bytes that are good: frames that were written whole.
    committed: AtomicU64,
    /// Nothing is added any more.
    sealed: AtomicBool,
    /// It holds a checkpoint.
    pub(crate) checkpointed: bool,
}

impl Segment {
    /// One that a former process wrote.
    pub(crate) fn found(number: u64, length: u64) -> Arc<Self> {
        let sealed = AtomicBool::new(true);
        Arc::new(Self { number, committed: AtomicU64::new(length), sealed, checkpointed: false })
    }

    /// One that begins with `length` good bytes.
    pub(crate) fn begin(number: u64, length: u64, checkpointed: bool) -> Arc<Self> {
        let sealed = AtomicBool::new(false);
        Arc::new(Self { number, committed: AtomicU64::new(length), sealed, checkpointed })
    }

    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }

    pub(crate) fn commit(&self, length: u64) {
        self.committed.store(length, Ordering::Release);
    }

    pub(crate) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }
}

/// All segments on disk, and the counts that tell how much of them the store has not got yet.
#[derive(Default)]
pub(crate) struct Segments {
    list: Mutex<BTreeMap<u64, Arc<Segment>>>,
    /// The newest segment with a checkpoint that is on the device: older ones are not needed to know the state.
    checkpointed: AtomicU64,
    /// Records that the store should get, ever written.
    pub(crate) written: AtomicU64,
    /// Of those, what the store has got or will never get (poison).
    pub(crate) drained: AtomicU64,
}

impl Segments {
    pub(crate) fn add(&self, segment: Arc<Segment>) {
        self.list.lock().insert(segment.number, segment);
    }

    pub(crate) fn remove(&self, number: u64) {
        self.list.lock().remove(&number);
    }

    /// The segment `number`, else the next one after it.
    pub(crate) fn at_or_after(&self, number: u64) -> Option<Arc<Segment>> {
        self.list.lock().range(number..).next().map(|(_, segment)| segment.clone())
    }

    /// The segments `numbers` are on the device.
    pub(crate) fn synced(&self, numbers: impl Iterator<Item = u64>) {
        let list = self.list.lock();
        let newest =
            numbers.filter(|number| list.get(number).is_some_and(|segment| segment.checkpointed)).max();
        self.checkpointed.fetch_max(newest.unwrap_or(0), Ordering::AcqRel);
    }

    /// Segments before `drained_to` of which nothing is needed any more.
    pub(crate) fn spent(&self, drained_to: u64) -> Vec<u64> {
        let before = drained_to.min(self.checkpointed.load(Ordering::Acquire));
        self.list.lock().range(..before).map(|(number, _)| *number).collect()
    }

    /// Whether a segment before `drained_to` could go if a newer checkpoint were on the device.
    pub(crate) fn awaits_checkpoint(&self, drained_to: u64) -> bool {
        let checkpointed = self.checkpointed.load(Ordering::Acquire);
        checkpointed < drained_to && self.list.lock().range(checkpointed..drained_to).next().is_some()
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.list.lock().len()).unwrap_or(u32::MAX)
    }

    /// Good bytes from a position to the end.
    pub(crate) fn bytes_after(&self, number: u64, offset: u64) -> u64 {
        let list = self.list.lock();
        list.range(number..)
            .map(|(at, segment)| segment.committed().saturating_sub(if *at == number { offset } else { 0 }))
            .sum()
    }

    pub(crate) fn undrained(&self) -> u64 {
        // Read in this order, the difference never shows a record that is not there yet as drained.
        let drained = self.drained.load(Ordering::Acquire);
        self.written.load(Ordering::Acquire).saturating_sub(drained)
    }
}

/// `00000001.seg`.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:08}.seg")
}

/// The numbers of the segments among file names, ascending.
pub(crate) fn segment_numbers(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| name.strip_suffix(".seg"))
        .filter(|digits| digits.len() >= 8 && digits.bytes().all(|digit| digit.is_ascii_digit()))
        .filter_map(|digits| digits.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}
