//! Bytes between the processor, a device and another device.

use std::sync::PoisonError;
use std::{ptr, slice};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{CUevent, CUevent_flags, CUpointer_attribute, cuPointerGetAttribute};

use super::gpu::Gpu;
use super::graph;
use crate::{Result, interrupt};

/// What is copied at a time through memory that the device reads by itself.
const CHUNK: usize = 8 << 20;
/// From here on chunks are worth their setting up.
const LARGE: usize = 2 << 20;

impl Gpu {
    /// Copies `bytes` to `address`. They may be changed as soon as this returns.
    pub(crate) fn upload(&self, address: u64, bytes: &[u8]) -> Result<()> {
        graph::expect_not_recording(self, "a copy from the processor")?;
        if bytes.is_empty() {
            return Ok(());
        }
        let _bound = self.bind()?;
        if bytes.len() >= LARGE {
            return self.upload_in_chunks(address, bytes);
        }
        // SAFETY: the device has as many bytes there. The driver has read those of memory that it does not know when it returns, and those of
        // other memory when that was waited for.
        unsafe { result::memcpy_htod_async(address, bytes, self.stream()) }
            .map_err(|error| self.failed("a copy to it", error))?;
        if is_known(bytes) { self.synchronize() } else { Ok(()) }
    }

    /// While the device fetches one chunk, the processor writes the next: of a mapped file, reading it from disk.
    fn upload_in_chunks(&self, address: u64, bytes: &[u8]) -> Result<()> {
        let said = |error| self.failed("a copy to it", error);
        // A panic leaves rooms that are as good as before. They are kept: making them takes longer than a copy.
        let mut kept = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        let rooms = match kept.as_ref() {
            Some(rooms) => rooms,
            None => kept.insert([Pinned::new(CHUNK).map_err(said)?, Pinned::new(CHUNK).map_err(said)?]),
        };
        for (index, chunk) in bytes.chunks(CHUNK).enumerate() {
            interrupt::check()?;
            let room = &rooms[index % 2];
            room.wait().map_err(said)?;
            // SAFETY: the room is as large as a chunk, and the device has finished with what it held before.
            let held = unsafe {
                room.start.copy_from_nonoverlapping(chunk.as_ptr(), chunk.len());
                slice::from_raw_parts(room.start, chunk.len())
            };
            // SAFETY: the device has as many bytes there; the room is not written to before the event behind this has come.
            unsafe {
                result::memcpy_htod_async(address + (index * CHUNK) as u64, held, self.stream())
                    .and_then(|()| result::event::record(room.done, self.stream()))
            }
            .map_err(said)?;
        }
        rooms.iter().try_for_each(Pinned::wait).map_err(said)
    }

    /// Copies from `address` to `bytes`, when all that was asked for before is done.
    pub(crate) fn download(&self, bytes: &mut [u8], address: u64) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        graph::expect_not_recording(self, "a copy to the processor")?;
        let _bound = self.bind()?;
        // SAFETY: the device has as many bytes there, and they are waited for below.
        let asked = unsafe { result::memcpy_dtoh_async(bytes, address, self.stream()) };
        let waited = self.synchronize();
        asked.map_err(|error| self.failed("a copy from it", error)).and(waited)
    }

    /// Copies `bytes` bytes within the device.
    pub(crate) fn copy(&self, to: u64, from: u64, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let _bound = self.bind()?;
        // SAFETY: both places are of this device, and as long, as the caller has them from tensors.
        unsafe { result::memcpy_dtod_async(to, from, bytes, self.stream()) }
            .map_err(|error| self.failed("a copy within it", error))
    }

    /// Copies `bytes` bytes from `address` of `other` to `to`, behind all that both were asked for.
    pub(crate) fn fetch(&self, other: &Gpu, to: u64, from: u64, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        graph::expect_not_recording(self, "a copy from another device")?;
        graph::expect_not_recording(other, "a copy to another device")?;
        self.follow(other)?;
        let (own, its) = (self.context(), other.context());
        // SAFETY: both places are of these devices, and as long; the source is not handed to others before `other` has waited, too.
        unsafe { result::memcpy_peer_async(own, to, its, from, bytes, self.stream()) }
            .map_err(|error| self.failed("a copy from another device", error))?;
        other.follow(self)
    }

    /// Sets `bytes` bytes to zero.
    pub(crate) fn clear(&self, address: u64, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let _bound = self.bind()?;
        // SAFETY: the device has as many bytes there.
        unsafe { result::memset_d8_async(address, 0, bytes, self.stream()) }
            .map_err(|error| self.failed("setting its memory", error))
    }

    /// Has what is asked of this device from now on wait for all that was asked of `other` until now.
    pub(crate) fn follow(&self, other: &Gpu) -> Result<()> {
        let said = |error| self.failed("waiting for another device", error);
        let _bound = other.bind()?;
        let event = result::event::create(CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(said)?;
        // SAFETY: the event is alive; the driver keeps it until who waits for it has done so.
        unsafe {
            let recorded = result::event::record(event, other.stream());
            let bound = self.bind();
            let waiting = result::stream::wait_event(
                self.stream(),
                event,
                cudarc::driver::sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT,
            );
            _ = result::event::destroy(event);
            recorded.and(waiting).map_err(said).and(bound.map(drop))
        }
    }
}

/// Whether the driver knows of this memory, such as what PyTorch has pinned: devices read it by themselves, later than they are asked to.
fn is_known(bytes: &[u8]) -> bool {
    let mut kind = 0u32;
    let wanted = CUpointer_attribute::CU_POINTER_ATTRIBUTE_MEMORY_TYPE;
    // SAFETY: it writes one number; of what it does not know it says so.
    unsafe {
        cuPointerGetAttribute((&raw mut kind).cast(), wanted, bytes.as_ptr() as u64).result().is_ok()
            && kind != 0
    }
}

/// Streams of other libraries, for memory that is lent between them and us.
impl Gpu {
    /// Has what another library asks of this device on its stream from now on wait for all that was asked here until now. 1 is CUDA's
    /// default stream, 2 that of the thread.
    ///
    /// # Errors
    /// `Device` when it is lost.
    pub fn precede(&self, stream: usize) -> Result<()> {
        let said = |error| self.failed("having another stream wait", error);
        graph::expect_not_recording(self, "another stream")?;
        let _bound = self.bind()?;
        let event = result::event::create(CUevent_flags::CU_EVENT_DISABLE_TIMING).map_err(said)?;
        let flags = cudarc::driver::sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: the event is alive, and the stream is its owner's word; the driver keeps the event until who waits for it has done so.
        unsafe {
            let waiting = result::event::record(event, self.stream())
                .and_then(|()| result::stream::wait_event(ptr::without_provenance_mut(stream), event, flags));
            _ = result::event::destroy(event);
            waiting.map_err(said)
        }
    }

    /// Waits until all that anybody in this process asked of the device is done.
    ///
    /// # Errors
    /// `Device` when it is lost.
    pub fn settle(&self) -> Result<()> {
        let _bound = self.bind()?;
        result::ctx::synchronize().map_err(|error| self.failed("its work", error))
    }
}

/// Memory of the processor that does not move, which devices read and write by themselves, and the event behind their doing so.
pub(super) struct Pinned {
    pub(super) start: *mut u8,
    pub(super) done: CUevent,
}

// SAFETY: owned memory and a handle of the driver's, which any thread may use.
unsafe impl Send for Pinned {}

impl Pinned {
    pub(super) fn new(bytes: usize) -> Result<Pinned, DriverError> {
        let done = result::event::create(CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
        // SAFETY: a device is bound to this thread.
        match unsafe { result::malloc_host(bytes, 0) } {
            Ok(start) => Ok(Pinned { start: start.cast(), done }),
            Err(error) => {
                // SAFETY: made above.
                _ = unsafe { result::event::destroy(done) };
                Err(error)
            }
        }
    }

    /// Until the device has read, or written, what is there.
    pub(super) fn wait(&self) -> Result<(), DriverError> {
        // SAFETY: the event is alive; one that was never recorded has come.
        unsafe { result::event::synchronize(self.done) }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: both were made by `new`; nothing that is under way reads or writes there once the event has come.
        unsafe {
            _ = result::event::synchronize(self.done);
            _ = result::event::destroy(self.done);
            _ = result::free_host(self.start.cast());
        }
    }
}
