//! Bytes on the CPU and whoever keeps them alive.

use std::any::Any;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::memory::Block;
use crate::{Error, Result};

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

    /// Notes a change in place. Whoever writes through a pointer that was lent out says so here.
    pub fn bump_version(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }

    /// What keeps foreign bytes alive, for whoever lent them to recognise; `None` for our own.
    pub fn owner(&self) -> Option<&(dyn Any + Send + Sync)> {
        match &self.owner {
            Owner::Block(_) => None,
            Owner::Foreign(owner) => Some(owner.as_ref()),
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
