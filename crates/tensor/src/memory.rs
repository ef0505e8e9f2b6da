//! Our own CPU memory: aligned blocks, kept for reuse, and how much of it is in use.
//!
//! A forward pass asks for the same few large blocks again and again. Handing them back to the system would page-fault every one
//! anew, which costs more than filling it, so blocks are cached by size class. What lies idle is bounded, and the longest idle goes
//! first: inputs of ever new lengths leave nothing behind that is not soon replaced.

use std::alloc::Layout;
use std::collections::{HashMap, VecDeque};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard};

use crate::{Device, cuda};

/// Every block starts on a cache line, which is also the widest vector.
const ALIGN: usize = 64;
/// Smaller blocks go to the system's allocator, which is good at them.
const CACHED_FROM: usize = 64 << 10;
/// What may lie idle in any case. More may when more is in use, or was until now: never more than that.
const IDLE_LIMIT: usize = 256 << 20;

/// Bytes in blocks that tensors hold.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
/// The most that [`ALLOCATED`] has been.
static MAX_ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Memory of one of the size classes, on any device.
pub(crate) trait Idle {
    /// Its size in bytes.
    fn size(&self) -> usize;

    /// Gives it back to where it came from.
    fn free(self);
}

/// Idle blocks by size, the longest idle first.
pub(crate) struct Cache<B> {
    idle: HashMap<usize, VecDeque<(u64, B)>>,
    bytes: usize,
    clock: u64,
}

impl<B> Default for Cache<B> {
    fn default() -> Cache<B> {
        Cache { idle: HashMap::new(), bytes: 0, clock: 0 }
    }
}

/// Asked for by [`cache`] alone.
static CACHE: LazyLock<Mutex<Cache<Block>>> = LazyLock::new(Mutex::default);
/// How often it is tried: about a microsecond, for it is held for less.
const TRIES: usize = 64;

/// The idle blocks, if they are to be had soon. They are never waited for: in a forked child the thread that held them may not exist, and the
/// system's allocator is always there. They are not given up at once either, as threads that share an operation ask at the same time.
fn cache() -> Option<MutexGuard<'static, Cache<Block>>> {
    for _ in 0..TRIES {
        if let Ok(cache) = CACHE.try_lock() {
            return Some(cache);
        }
        std::hint::spin_loop();
    }
    None
}

impl<B: Idle> Cache<B> {
    /// Bytes that lie idle.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A block of this very size.
    pub(crate) fn take(&mut self, size: usize) -> Option<B> {
        let (_, block) = self.idle.get_mut(&size)?.pop_back()?;
        self.bytes -= size;
        Some(block)
    }

    /// Keeps `block`, and so much of what was idle before that all of it is within `limit` bytes.
    pub(crate) fn put(&mut self, block: B, limit: usize) {
        self.clock += 1;
        self.bytes += block.size();
        self.idle.entry(block.size()).or_default().push_back((self.clock, block));
        while self.bytes > limit && self.drop_oldest() {}
    }

    /// Gives everything back to where it came from.
    pub(crate) fn empty(&mut self) {
        while self.drop_oldest() {}
    }

    /// Gives the longest idle block back to where it came from.
    fn drop_oldest(&mut self) -> bool {
        let age = |blocks: &VecDeque<(u64, B)>| blocks.front().map_or(u64::MAX, |(since, _)| *since);
        let Some((&size, blocks)) = self.idle.iter_mut().min_by_key(|(_, blocks)| age(blocks)) else {
            return false;
        };
        let oldest = blocks.pop_front();
        if blocks.is_empty() {
            self.idle.remove(&size);
        }
        let Some((_, block)) = oldest else { return false };
        self.bytes -= block.size();
        block.free();
        true
    }
}

/// Bytes that tensors hold of our own memory on `device`; what they borrow from arrays and files is not counted.
pub fn allocated(device: Device) -> usize {
    match device {
        Device::Cpu => ALLOCATED.load(Ordering::Relaxed),
        Device::Cuda(index) => cuda::memory(index, |used| used.allocated()),
    }
}

/// The most that [`allocated`] has been, since the start or the last [`reset_max_allocated`].
pub fn max_allocated(device: Device) -> usize {
    match device {
        Device::Cpu => MAX_ALLOCATED.load(Ordering::Relaxed),
        Device::Cuda(index) => cuda::memory(index, |used| used.max_allocated()),
    }
}

/// Starts [`max_allocated`] anew from what is allocated now.
pub fn reset_max_allocated(device: Device) {
    match device {
        Device::Cpu => MAX_ALLOCATED.store(ALLOCATED.load(Ordering::Relaxed), Ordering::Relaxed),
        Device::Cuda(index) => cuda::memory(index, |used| used.reset_max_allocated()),
    }
}

/// Bytes that lie idle on `device`, to be used again.
pub fn cached(device: Device) -> usize {
    match device {
        Device::Cpu => cache().map_or(0, |cache| cache.bytes),
        Device::Cuda(index) => cuda::memory(index, |used| used.cached()),
    }
}

/// Gives everything that lies idle on `device` back to the system.
pub fn empty_cache(device: Device) {
    match device {
        Device::Cpu => {
            if let Some(mut cache) = cache() {
                cache.empty();
            }
        }
        Device::Cuda(index) => cuda::memory(index, |used| used.empty_cache()),
    }
}

/// Whether `TRUSTFORMERS_CHECK_MEMORY` is set: nothing is kept for reuse, and memory that is new or given back is filled with
/// [`POISON`], so that tools such as valgrind, or wrong results, show whoever reads it.
static CHECKED: LazyLock<bool> = LazyLock::new(|| std::env::var_os("TRUSTFORMERS_CHECK_MEMORY").is_some());
/// NaN in every float, true in no bool, an absurd index.
const POISON: u8 = 0xff;

/// An owned block of `size` bytes, one of the size classes.
#[derive(Debug)]
pub(crate) struct Block {
    /// What the system gave: a cache line more than `size`, so that the block finds its own alignment in there. Asked for aligned
    /// memory, the system's allocator takes several times as long.
    room: NonNull<u8>,
    size: usize,
}

// SAFETY: a block is owned memory; nothing in it is tied to a thread.
unsafe impl Send for Block {}
// SAFETY: shared access only reads the pointer and the size.
unsafe impl Sync for Block {}

impl Block {
    /// Memory for `bytes` bytes, uninitialised; `None` if the system has none, even after all that lay idle was given back.
    pub(crate) fn allocate(bytes: usize) -> Option<Block> {
        let size = size_class(bytes)?;
        let idle = if size >= CACHED_FROM { cache().and_then(|mut cache| cache.take(size)) } else { None };
        let block = idle.or_else(|| Block::fresh(size)).or_else(|| {
            empty_cache(Device::Cpu);
            Block::fresh(size)
        })?;
        if *CHECKED {
            block.poison();
        }
        let now = ALLOCATED.fetch_add(size, Ordering::Relaxed) + size;
        if now > MAX_ALLOCATED.load(Ordering::Relaxed) {
            MAX_ALLOCATED.fetch_max(now, Ordering::Relaxed);
        }
        Some(block)
    }

    fn fresh(size: usize) -> Option<Block> {
        // SAFETY: the layout's size is not zero.
        let room = NonNull::new(unsafe { std::alloc::alloc(Block::layout(size)?) })?;
        let block = Block { room, size };
        #[cfg(all(target_os = "linux", not(miri)))]
        ask_for_huge_pages(block.as_ptr(), size);
        Some(block)
    }

    /// What is asked of the system for `size` bytes.
    fn layout(size: usize) -> Option<Layout> {
        Layout::from_size_align(size.checked_add(ALIGN)?, 1).ok()
    }

    pub(crate) fn as_ptr(&self) -> NonNull<u8> {
        let skip = self.room.align_offset(ALIGN);
        // SAFETY: less than the cache line that there is room for beside `size` bytes.
        unsafe { self.room.add(skip) }
    }

    /// Returns the block to the cache, or to the system when it is small or the cache is in use.
    pub(crate) fn release(self) {
        let in_use = ALLOCATED.fetch_sub(self.size, Ordering::Relaxed) - self.size;
        if *CHECKED {
            self.poison();
        } else if self.size >= CACHED_FROM
            && let Some(mut cache) = cache()
        {
            // What comes back counts as in use: a single large result over borrowed memory is there again at the next step.
            let limit = (in_use + self.size).max(IDLE_LIMIT);
            return cache.put(self, limit);
        }
        self.free();
    }

    fn poison(&self) {
        // SAFETY: the block is `size` bytes long, and nobody else's before it is handed out or after it was given back.
        unsafe { self.as_ptr().as_ptr().write_bytes(POISON, self.size) }
    }
}

impl Idle for Block {
    fn size(&self) -> usize {
        self.size
    }

    fn free(self) {
        if let Some(layout) = Block::layout(self.size) {
            // SAFETY: allocated above with this very layout, and not used again.
            unsafe { std::alloc::dealloc(self.room.as_ptr(), layout) }
        }
    }
}

/// Has the system back a large new block by pages of 2 MiB, of which the first touch and the address translation cost far less.
#[cfg(all(target_os = "linux", not(miri)))]
fn ask_for_huge_pages(ptr: NonNull<u8>, size: usize) {
    const FROM: usize = 4 << 20;
    const PAGE: usize = 4096;
    let before = ptr.as_ptr().align_offset(PAGE);
    if size >= FROM {
        // SAFETY: whole pages within the block, whose contents the advice does not change. Where the system declines, nothing is lost.
        unsafe {
            libc::madvise(ptr.as_ptr().add(before).cast(), (size - before) & !(PAGE - 1), libc::MADV_HUGEPAGE)
        };
    }
}

/// `bytes` rounded up to an eighth of its power of two: few classes, at most 12.5 % unused.
pub(crate) fn size_class(bytes: usize) -> Option<usize> {
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
        let mut cache = Cache::default();
        let size = size_class(3 << 20).unwrap();
        let block = Block::fresh(size).unwrap();
        let first = block.as_ptr();
        assert_eq!(first.as_ptr() as usize % ALIGN, 0);
        cache.put(block, usize::MAX);
        assert_eq!(cache.bytes, size);
        let again = cache.take(size).unwrap();
        assert_eq!((again.as_ptr(), cache.bytes), (first, 0));
        assert!(cache.take(size).is_none());
        again.free();
    }

    #[test]
    fn ever_new_sizes_leave_no_more_than_the_limit_behind() {
        let mut cache = Cache::default();
        let limit = 4 << 20;
        for i in 0..200 {
            cache.put(Block::fresh(size_class(CACHED_FROM + i * 10_000).unwrap()).unwrap(), limit);
            assert!(cache.bytes <= limit);
        }
        // The newest are kept, the oldest are gone.
        assert!(cache.take(size_class(CACHED_FROM + 199 * 10_000).unwrap()).is_some_and(|block| {
            block.free();
            true
        }));
        assert!(cache.take(size_class(CACHED_FROM).unwrap()).is_none());
        cache.empty();
        assert_eq!((cache.bytes, cache.idle.len()), (0, 0));
    }

    #[test]
    fn what_is_held_is_counted() {
        // Other tests allocate meanwhile, so only bounds can be known.
        let block = Block::allocate(48 << 20).unwrap();
        assert!(allocated(Device::Cpu) >= 48 << 20 && max_allocated(Device::Cpu) >= 48 << 20);
        block.release();
        reset_max_allocated(Device::Cpu);
        empty_cache(Device::Cpu);
    }
}
