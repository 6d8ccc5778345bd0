//! The allocator of the whole program: mimalloc, asked by the door that fits.
//!
//! The crate of its name asks for every block by its alignment, which takes a longer way through mimalloc even where any
//! block would do: 1.5 % of the processor time of a request (`perf record` during `make bench ARGS="--only cpu"`, 26 November
//! 2026, functions `mi_*aligned*`).
#![expect(unsafe_code, reason = "an allocator hands out memory")]

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys as mi;

/// What mimalloc aligns every block to that is at least as large (`MI_MAX_ALIGN_SIZE`).
const GRANTED: usize = 16;

pub(crate) struct Allocator;

/// Whether every block of this size is aligned enough.
const fn is_plain(align: usize, size: usize) -> bool {
    align <= GRANTED && align <= size
}

// SAFETY: mimalloc's functions keep to the contract of `malloc`, `calloc`, `realloc` and `free`: null when there is no
// memory, and a block that is nobody else's. `mi_free` and the `mi_realloc`s take what any of them gave.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: any size may be asked for; an alignment is a power of two by `Layout`'s own rule.
        let block = unsafe {
            if is_plain(align, size) { mi::mi_malloc(size) } else { mi::mi_malloc_aligned(size, align) }
        };
        block.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: as above.
        let block = unsafe {
            if is_plain(align, size) { mi::mi_zalloc(size) } else { mi::mi_zalloc_aligned(size, align) }
        };
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller gives back what one of these functions gave.
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        // SAFETY: as above, and the block is given back only when another one is returned.
        let block = unsafe {
            if is_plain(align, size) {
                mi::mi_realloc(block.cast(), size)
            } else {
                mi::mi_realloc_aligned(block.cast(), size, align)
            }
        };
        block.cast()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_aligned_zeroed_and_keeps_its_bytes() {
        for size in [1, 2, 3, 4, 7, 8, 12, 15, 16, 17, 24, 100, 1024, 5000, 70_000, 3 << 20] {
            for align in (0..13).map(|shift| 1_usize << shift) {
                let layout = Layout::from_size_align(size, align).unwrap();
                let grown = size * 3 + 1;
                // SAFETY: each block is used within its size, grown and given back once by its own layout.
                unsafe {
                    let block = Allocator.alloc_zeroed(layout);
                    assert!(block.addr().is_multiple_of(align), "{layout:?}");
                    assert!((0..size).all(|at| block.add(at).read() == 0), "{layout:?}");
                    block.write_bytes(7, size);
                    let block = Allocator.realloc(block, layout, grown);
                    assert!(block.addr().is_multiple_of(align), "{layout:?} grown");
                    assert!((0..size).all(|at| block.add(at).read() == 7), "{layout:?} grown");
                    Allocator.dealloc(block, Layout::from_size_align(grown, align).unwrap());
                    let block = Allocator.alloc(layout);
                    assert!(block.addr().is_multiple_of(align), "{layout:?} plain");
                    Allocator.dealloc(block, layout);
                }
            }
        }
    }
}
