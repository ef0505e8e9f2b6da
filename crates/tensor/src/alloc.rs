//! Our own CPU memory: aligned blocks, kept for reuse.
//!
//! A forward pass asks for the same few large blocks again and again. Handing them back to the system would page-fault every one
//! anew, which costs more than filling it, so blocks are cached by size class, up to a bound.

use std::alloc::Layout;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::{LazyLock, Mutex};

/// Every block starts on a cache line, which is also the widest vector.
const ALIGN: usize = 64;
/// Smaller blocks go to the system's allocator, which is good at them.
const CACHED_FROM: usize = 64 << 10;
/// What may lie idle; blocks beyond it are freed.
const CACHE_LIMIT: usize = 256 << 20;

/// Idle blocks by size.
#[derive(Default)]
struct Cache {
    idle: HashMap<usize, Vec<Block>>,
    bytes: usize,
}

/// Only ever tried, never waited for: in a forked child the thread that held it may not exist, and the system's allocator is always
/// there.
static CACHE: LazyLock<Mutex<Cache>> = LazyLock::new(Mutex::default);

/// An owned block of `size` bytes, a multiple of its size class.
#[derive(Debug)]
pub(crate) struct Block {
    ptr: NonNull<u8>,
    size: usize,
}

// SAFETY: a block is owned memory; nothing in it is tied to a thread.
unsafe impl Send for Block {}
// SAFETY: shared access only reads the pointer and the size.
unsafe impl Sync for Block {}

impl Block {
    /// Memory for `bytes` bytes, uninitialised; `None` if the system has none.
    pub(crate) fn allocate(bytes: usize) -> Option<Block> {
        let size = size_class(bytes)?;
        if size >= CACHED_FROM
            && let Ok(mut cache) = CACHE.try_lock()
            && let Some(block) = cache.idle.get_mut(&size).and_then(Vec::pop)
        {
            cache.bytes -= size;
            return Some(block);
        }
        let layout = Layout::from_size_align(size, ALIGN).ok()?;
        // SAFETY: the size is not zero: `size_class` rounds up to at least one alignment.
        let ptr = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
        Some(Block { ptr, size })
    }

    pub(crate) fn as_ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    /// Returns the block to the cache, or to the system when the cache is full.
    pub(crate) fn release(self) {
        if self.size >= CACHED_FROM
            && let Ok(mut cache) = CACHE.try_lock()
            && cache.bytes + self.size <= CACHE_LIMIT
        {
            cache.bytes += self.size;
            cache.idle.entry(self.size).or_default().push(self);
            return;
        }
        if let Ok(layout) = Layout::from_size_align(self.size, ALIGN) {
            // SAFETY: allocated above with this very layout, and not used again.
            unsafe { std::alloc::dealloc(self.ptr.as_ptr(), layout) }
        }
    }
}

/// `bytes` rounded up to an eighth of its power of two: few classes, at most 12.5 % unused.
fn size_class(bytes: usize) -> Option<usize> {
    let step = (bytes.checked_next_power_of_two()? / 16).max(ALIGN);
    bytes.max(1).checked_next_multiple_of(step).filter(|&size| size <= isize::MAX as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_few_and_tight() {
        for bytes in [0, 1, 63, 64, 65, 1000, 70_000, 1 << 20, (1 << 20) + 1, 123_456_789] {
            let class = size_class(bytes).unwrap();
            assert!(class >= bytes && class >= ALIGN && class.is_multiple_of(ALIGN));
            assert!(bytes < 1024 || class - bytes <= bytes / 8, "{bytes} -> {class}");
        }
        assert!(size_class(usize::MAX).is_none());
        assert!(Block::allocate(isize::MAX as usize - 4096).is_none());
    }

    #[test]
    fn a_large_block_comes_back() {
        let block = Block::allocate(3 << 20).unwrap();
        let first = block.as_ptr();
        assert_eq!(first.as_ptr() as usize % ALIGN, 0);
        block.release();
        // Other tests use the cache too, so the block may be another; it must be of the same class.
        assert_eq!(Block::allocate(3 << 20).unwrap().size, size_class(3 << 20).unwrap());
    }
}
