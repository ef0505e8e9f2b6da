//! Bytes on the CPU and whoever keeps them alive.

use std::any::Any;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::memory::Block;
use crate::{Error, Result};

/// What [`Buffer::lasting`] cuts parts from.
const LASTING: usize = 16 << 20;
/// Parts begin with a cache line.
const LINE: usize = 64;

/// A run of CPU bytes: a pointer, a length and an owner. The owner may be our own block, a NumPy array, a mapped file: the bytes
/// are borrowed, not copied.
pub struct Buffer {
    ptr: NonNull<u8>,
    len: usize,
    writable: bool,
    version: AtomicU64,
    owner: Owner,
}

enum Owner {
    /// Our own; `None` only while being dropped.
    Block(Option<Block>),
    Foreign(Box<dyn Any + Send + Sync>),
    /// A private mapping of a file. While its pages are `clean`, they can be read from the file again.
    Mapping {
        owner: Box<dyn Any + Send + Sync>,
        clean: Mutex<bool>,
    },
}

// SAFETY: the owner is Send + Sync, and the bytes are plain memory that lives as long as the owner.
unsafe impl Send for Buffer {}
// SAFETY: as above; writers go through raw pointers and answer for not racing.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// `len` bytes of our own, uninitialised.
    pub fn uninit(len: usize) -> Result<Buffer> {
        let block = Block::allocate(len).ok_or(Error::OutOfMemory { bytes: len })?;
        let (ptr, version) = (block.as_ptr(), AtomicU64::new(0));
        Ok(Buffer { ptr, len, writable: true, version, owner: Owner::Block(Some(block)) })
    }

    /// [`Buffer::uninit`] for what is made once and read again and again, such as the weights of a model or a cache: a part of a larger block
    /// if it is not large itself, so that it lies on large pages, and next to what was asked for before it.
    pub(crate) fn lasting(len: usize) -> Result<Buffer> {
        /// Smaller buffers are not worth a part.
        const LEAST: usize = 64 << 10;
        /// The block that parts are cut from, and where the next one begins. Only ever tried, as a forked child may never get it.
        static CURRENT: Mutex<Option<(Arc<Buffer>, usize)>> = Mutex::new(None);
        let len_in_lines = len.next_multiple_of(LINE);
        if (LEAST..=LASTING / 2).contains(&len)
            && let Ok(mut current) = CURRENT.try_lock()
        {
            let (block, at) = match current.take().filter(|(_, at)| at + len_in_lines <= LASTING) {
                Some(current) => current,
                None => (Arc::new(Buffer::uninit(LASTING)?), 0),
            };
            // SAFETY: the part is within the block, which lives as long as one of its parts, and nobody else's.
            let part = unsafe { Buffer::foreign(block.ptr.add(at), len, true, Box::new(block.clone())) };
            *current = Some((block, at + len_in_lines));
            return Ok(part);
        }
        Buffer::uninit(len)
    }

    /// Bytes that `owner` keeps alive and in place.
    ///
    /// # Safety
    /// `ptr` must be readable (and writable, if said so) for `len` bytes until `owner` is dropped.
    pub unsafe fn foreign(
        ptr: NonNull<u8>,
        len: usize,
        writable: bool,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Buffer {
        Buffer { ptr, len, writable, version: AtomicU64::new(0), owner: Owner::Foreign(owner) }
    }

    /// Writable bytes of a file that is mapped privately: who writes to a page has a copy of it.
    ///
    /// # Safety
    /// As for [`Buffer::foreign`]; and as long as nobody has written through a pointer to this buffer, its pages must be the file's.
    pub unsafe fn mapping(ptr: NonNull<u8>, len: usize, owner: Box<dyn Any + Send + Sync>) -> Buffer {
        let owner = Owner::Mapping { owner, clean: Mutex::new(true) };
        Buffer { ptr, len, writable: true, version: AtomicU64::new(0), owner }
    }

    /// The first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }

    /// The first byte, to write through. Only for writable buffers.
    pub(crate) fn as_mut_ptr(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the bytes may be changed: not those of a read-only array or mapping.
    pub fn is_writable(&self) -> bool {
        self.writable
    }

    /// How often the bytes were changed in place. Changes that others make to borrowed memory are not seen.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Notes a change in place that is about to be made. Whoever writes through a pointer that was lent out says so here.
    pub fn bump_version(&self) {
        self.lend();
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that others get a pointer through which they may write.
    pub fn lend(&self) {
        if let Owner::Mapping { clean, .. } = &self.owner {
            *clean.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
    }

    /// Tells the system that the whole pages within `range` are not needed for now, where a file has them too: they take no memory of
    /// this process until they are used again. No effect on any other memory, nor on what somebody may have written to.
    pub(crate) fn evict(&self, range: Range<usize>) {
        let Owner::Mapping { clean, .. } = &self.owner else { return };
        // Held meanwhile, so that nobody begins to write to pages that are about to be dropped.
        let clean = clean.lock().unwrap_or_else(PoisonError::into_inner);
        if *clean && range.start < range.end && range.end <= self.len {
            // SAFETY: the range lies within the mapping, whose pages are those of the file: reading them gives the same bytes after it.
            unsafe { drop_pages(self.ptr.as_ptr().add(range.start), range.end - range.start) }
        }
    }

    /// What keeps foreign bytes alive, for whoever lent them to recognise; `None` for our own.
    pub fn owner(&self) -> Option<&(dyn Any + Send + Sync)> {
        match &self.owner {
            Owner::Block(_) => None,
            Owner::Foreign(owner) | Owner::Mapping { owner, .. } => Some(owner.as_ref()),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Owner::Block(block) = &mut self.owner
            && let Some(block) = block.take()
        {
            block.release();
        }
    }
}

/// Has the system drop the whole pages of a private mapping of a file that lie within `len` bytes at `start`.
///
/// # Safety
/// The bytes must be mapped so, and none of them written since: what was written there is lost.
#[cfg(target_os = "linux")]
unsafe fn drop_pages(start: *mut u8, len: usize) {
    // SAFETY: asks for a number and touches no memory.
    let Ok(page) = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }) else { return };
    let before = start.align_offset(page);
    if let Some(rest) = len.checked_sub(before) {
        // SAFETY: whole pages within the mapping, as the caller promises. Where the system declines, nothing is lost.
        unsafe { libc::madvise(start.add(before).cast(), rest - rest % page, libc::MADV_DONTNEED) };
    }
}

/// Other systems take pages back when they need them.
#[cfg(not(target_os = "linux"))]
unsafe fn drop_pages(_: *mut u8, _: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lasting_parts_lie_apart() {
        let lengths = [64 << 10, (64 << 10) + 1, 3 << 20, 100, LASTING / 2, LASTING / 2, LASTING];
        let parts = lengths.map(|len| Buffer::lasting(len).unwrap());
        for (index, part) in parts.iter().enumerate() {
            assert_eq!((part.len(), part.as_ptr() as usize % LINE), (lengths[index], 0));
            // SAFETY: its own bytes.
            unsafe { part.as_mut_ptr().write_bytes(index as u8, part.len()) }
        }
        for (index, part) in parts.iter().enumerate() {
            // SAFETY: written above.
            let bytes = unsafe { std::slice::from_raw_parts(part.as_ptr(), part.len()) };
            assert!(bytes.iter().all(|&byte| byte == index as u8));
        }
    }
}
