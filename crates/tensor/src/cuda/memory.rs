//! A device's memory: blocks that are kept for reuse, and the bytes of a tensor in one of them.

use std::any::Any;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cudarc::driver::result;

use super::gpu::Gpu;
use super::graph::{self, Arena};
use crate::memory::{Cache, Idle, size_class};
use crate::{Device, Error, Result};

/// What the driver aligns every block to, and so every tensor.
const ALIGN: usize = 512;

/// What a device has handed out, and what lies idle.
#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Cache<Block>>,
    allocated: AtomicUsize,
    max_allocated: AtomicUsize,
}

impl Pool {
    fn idle(&self) -> MutexGuard<'_, Cache<Block>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in blocks that tensors hold.
    pub(crate) fn allocated(&self) -> usize {
        self.allocated.load(Ordering::Relaxed)
    }

    /// The most that this has been.
    pub(crate) fn max_allocated(&self) -> usize {
        self.max_allocated.load(Ordering::Relaxed)
    }

    /// Starts [`Pool::max_allocated`] anew.
    pub(crate) fn reset_max_allocated(&self) {
        self.max_allocated.store(self.allocated(), Ordering::Relaxed);
    }

    /// Bytes that lie idle.
    pub(crate) fn cached(&self) -> usize {
        self.idle().bytes()
    }

    /// Gives all that lies idle back to the driver.
    pub(crate) fn empty_cache(&self) {
        self.idle().empty();
    }

    fn lend(&self, size: usize) {
        let now = self.allocated.fetch_add(size, Ordering::Relaxed) + size;
        self.max_allocated.fetch_max(now, Ordering::Relaxed);
    }
}

/// Memory of one of the size classes.
pub(super) struct Block {
    address: u64,
    size: usize,
    gpu: &'static Gpu,
    /// Whose it is: that of a graph, which writes there at every replay, or everyone's.
    arena: Option<Arc<Arena>>,
}

impl Block {
    fn allocate(gpu: &'static Gpu, bytes: usize) -> Result<Block> {
        let refused = || Error::OutOfMemory { bytes };
        let size = size_class(bytes.max(ALIGN)).ok_or_else(refused)?.next_multiple_of(ALIGN);
        let arena = graph::arena(gpu);
        let idle = match &arena {
            Some(arena) => arena.take(size),
            None => gpu.pool.idle().take(size),
        };
        let block = match idle {
            Some(block) => block,
            None => Block { address: Block::fresh(gpu, size)?, size, gpu, arena: None },
        };
        gpu.pool.lend(size);
        Ok(Block { arena, ..block })
    }

    fn fresh(gpu: &'static Gpu, size: usize) -> Result<u64> {
        let _bound = gpu.bind()?;
        // SAFETY: the device is bound to this thread.
        let fresh = || unsafe { result::malloc_sync(size) };
        if let Ok(address) = fresh() {
            return Ok(address);
        }
        gpu.synchronize()?;
        gpu.pool.empty_cache();
        fresh().map_err(|_| {
            let (free, total) = gpu.free_and_total().unwrap_or_default();
            Error::OutOfDeviceMemory {
                device: gpu.device(),
                bytes: size,
                allocated: gpu.pool.allocated(),
                free,
                total,
            }
        })
    }

    /// Has it used again by whatever is asked for from now on.
    fn release(mut self) {
        self.gpu.pool.allocated.fetch_sub(self.size, Ordering::Relaxed);
        match self.arena.take() {
            Some(arena) => arena.put(self),
            None => self.gpu.pool.idle().put(self, usize::MAX),
        }
    }
}

impl Idle for Block {
    fn size(&self) -> usize {
        self.size
    }

    fn free(self) {
        // A device that is lost, or another process's, has no memory to be given back.
        if let Ok(_bound) = self.gpu.bind() {
            // SAFETY: allocated by this driver, and not used again; the driver waits for work that is under way.
            _ = unsafe { result::free_sync(self.address) };
        }
    }
}

/// A run of a device's bytes: an address, a length and an owner, as [`crate::Buffer`] is of the processor's.
pub struct Memory {
    address: u64,
    len: usize,
    gpu: &'static Gpu,
    version: AtomicU64,
    owner: Owner,
}

enum Owner {
    /// Our own; `None` only while being dropped.
    Block(Option<Block>),
    Foreign(Box<dyn Any + Send + Sync>),
}

impl Memory {
    /// `len` bytes with anything in them.
    ///
    /// # Errors
    /// `OutOfDeviceMemory`, after all that lay idle was given back; `Device` when it is lost.
    pub(crate) fn uninit(gpu: &'static Gpu, len: usize) -> Result<Memory> {
        let block = Block::allocate(gpu, len)?;
        let (address, owner) = (block.address, Owner::Block(Some(block)));
        Ok(Memory { address, len, gpu, version: AtomicU64::new(0), owner })
    }

    /// `len` bytes of another library's, from `address` on, which `owner` keeps alive.
    ///
    /// # Safety
    /// The bytes must be memory of this device until the owner is dropped, and whoever writes there must do so before, or on the stream.
    pub unsafe fn borrowed(
        gpu: &'static Gpu,
        address: u64,
        len: usize,
        owner: Box<dyn Any + Send + Sync>,
    ) -> Memory {
        Memory { address, len, gpu, version: AtomicU64::new(0), owner: Owner::Foreign(owner) }
    }

    /// Where it lies on its device.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its device.
    pub fn gpu(&self) -> &'static Gpu {
        self.gpu
    }

    pub(crate) fn device(&self) -> Device {
        self.gpu.device()
    }

    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    pub(crate) fn bump_version(&self) {
        self.version.fetch_add(1, Ordering::Relaxed);
    }

    /// What keeps another library's bytes alive; `None` for our own.
    pub fn owner(&self) -> Option<&(dyn Any + Send + Sync)> {
        match &self.owner {
            Owner::Block(_) => None,
            Owner::Foreign(owner) => Some(owner.as_ref()),
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Owner::Block(block) = &mut self.owner
            && let Some(block) = block.take()
        {
            block.release();
        }
    }
}
