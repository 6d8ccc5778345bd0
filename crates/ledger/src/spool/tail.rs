//! What has been written but is not on the device yet, kept in memory.
//!
//! After a failed sync nobody knows which of the written pages are on the device, and asking the same descriptor
//! again may be answered with a lie. So the bytes since the last good sync are kept, to be appended to a new
//! segment. Two halves: what a running sync covers, and what came after it began.
//!
//! The bytes lie in blocks of one size that are used again: a buffer that doubled with every burst and was given back
//! with every sync would leave the allocator with holes of all sizes.

use std::collections::VecDeque;

const BLOCK: usize = 64 << 10;
/// Empty blocks that are kept for what comes next.
const SPARE: usize = 16;

#[derive(Default)]
struct Half {
    blocks: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Records in it that the store will get.
    drainable: u64,
}

#[derive(Default)]
pub(super) struct Tail {
    covered: Half,
    current: Half,
    spare: Vec<Vec<u8>>,
}

impl Tail {
    pub(super) fn push(&mut self, mut bytes: &[u8], drainable: u64) {
        self.current.bytes += bytes.len();
        self.current.drainable += drainable;
        while !bytes.is_empty() {
            let block = match self.current.blocks.back_mut() {
                Some(block) if block.len() < BLOCK => block,
                _ => {
                    let block = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK));
                    self.current.blocks.push_back(block);
                    continue;
                }
            };
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - block.len()));
            block.extend_from_slice(now);
            bytes = later;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.covered.bytes + self.current.bytes
    }

    /// Bytes that no sync covers yet.
    pub(super) fn uncovered(&self) -> usize {
        self.current.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A sync begins: it covers everything up to now.
    pub(super) fn cover(&mut self) {
        let current = std::mem::take(&mut self.current);
        self.covered.bytes += current.bytes;
        self.covered.drainable += current.drainable;
        self.covered.blocks.extend(current.blocks);
    }

    /// The sync is done: what it covered is on the device.
    pub(super) fn done(&mut self) {
        for mut block in std::mem::take(&mut self.covered).blocks {
            if self.spare.len() < SPARE {
                block.clear();
                self.spare.push(block);
            }
        }
    }

    /// All of it, in order, and the number of records for the store in it.
    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) -> u64 {
        for block in self.covered.blocks.iter().chain(&self.current.blocks) {
            bytes.extend_from_slice(block);
        }
        self.covered.drainable + self.current.drainable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_in_order_across_blocks_and_halves() {
        let mut tail = Tail::default();
        let piece: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        tail.push(&piece, 2);
        tail.cover();
        tail.push(&piece[..7], 1);
        assert_eq!((tail.len(), tail.uncovered()), (100_007, 7));
        let mut all = Vec::new();
        assert_eq!(tail.append_to(&mut all), 3);
        assert_eq!(all, [&piece[..], &piece[..7]].concat());
        tail.done();
        all.clear();
        assert_eq!(tail.append_to(&mut all), 1);
        assert_eq!(all, &piece[..7]);
        tail.cover();
        tail.done();
        assert!(tail.is_empty());
    }
}
