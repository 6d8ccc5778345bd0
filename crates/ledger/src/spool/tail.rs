//! What has been written but is not on the device yet, kept in memory.
//!
//! After a failed sync nobody knows which of the written pages are on the device, and asking the same descriptor
//! again may be answered with a lie. So the bytes since the last good sync are kept, to be appended to a new
//! segment. Two halves: what a running sync covers, and what came after it began.

#[derive(Default)]
pub(super) struct Tail {
    covered: Vec<u8>,
    current: Vec<u8>,
    /// Records in each half that the store will get.
    covered_drainable: u64,
    current_drainable: u64,
}

impl Tail {
    pub(super) fn push(&mut self, bytes: &[u8], drainable: u64) {
        self.current.extend_from_slice(bytes);
        self.current_drainable += drainable;
    }

    pub(super) fn len(&self) -> usize {
        self.covered.len() + self.current.len()
    }

    /// Bytes that no sync covers yet.
    pub(super) fn uncovered(&self) -> usize {
        self.current.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A sync begins: it covers everything up to now.
    pub(super) fn cover(&mut self) {
        if self.covered.is_empty() {
            std::mem::swap(&mut self.covered, &mut self.current);
        } else {
            self.covered.append(&mut self.current);
        }
        self.covered_drainable += std::mem::take(&mut self.current_drainable);
    }

    /// The sync is done: what it covered is on the device.
    pub(super) fn done(&mut self) {
        const KEPT: usize = 1 << 20;
        self.covered.clear();
        self.covered.shrink_to(KEPT);
        self.covered_drainable = 0;
    }

    /// All of it, in order, and the number of records for the store in it.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) -> u64 {
        bytes.extend_from_slice(&self.covered);
        bytes.extend_from_slice(&self.current);
        self.covered_drainable + self.current_drainable
    }
}
