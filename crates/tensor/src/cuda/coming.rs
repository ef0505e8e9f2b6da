//! Bytes on their way from a device, which goes on with what it is asked for behind them.

use std::sync::{MutexGuard, PoisonError};
use std::{mem, slice};

use cudarc::driver::result;

use super::copy::Pinned;
use super::gpu::{Gpu, gpu};
use super::graph;
use crate::{Device, Result, Tensor};

/// What is sent so holds at most so many bytes: some thousands of tokens.
const ROOM: usize = 64 << 10;

/// The elements of a tensor, on their way.
pub(crate) struct Coming {
    gpu: &'static Gpu,
    /// `None` only while being dropped.
    room: Option<Pinned>,
    bytes: usize,
}

/// Has the elements of `x`, which is contiguous, sent behind all that its device was asked for until now; `None` where they cannot be: from the
/// processor, or too many.
pub(crate) fn send(x: &Tensor) -> Result<Option<Coming>> {
    let bytes = x.numel() * x.dtype().size();
    let Device::Cuda(index) = x.device() else { return Ok(None) };
    if bytes == 0 || bytes > ROOM {
        return Ok(None);
    }
    let gpu = gpu(index)?;
    graph::expect_not_recording(gpu, "a copy to the processor")?;
    let _bound = gpu.bind()?;
    let said = |error| gpu.failed("a copy from it", error);
    let idle = rooms(gpu).pop();
    let room = idle.map_or_else(|| Pinned::new(ROOM), Ok).map_err(said)?;
    let coming = Coming { gpu, room: Some(room), bytes };
    if let Some(room) = &coming.room {
        // SAFETY: the room is as large, the device has as many bytes there, and the room is read when the event behind the copy has come. What
        // came here before and was not read comes before this, in the order of the stream.
        unsafe {
            let there = slice::from_raw_parts_mut(room.start, bytes);
            result::memcpy_dtoh_async(there, x.as_ptr() as u64, gpu.stream())
                .and_then(|()| result::event::record(room.done, gpu.stream()))
        }
        .map_err(said)?;
    }
    Ok(Some(coming))
}

/// The rooms of a device that nothing is on its way to.
fn rooms(gpu: &Gpu) -> MutexGuard<'_, Vec<Pinned>> {
    // A panic leaves them as good as before.
    gpu.rooms.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Coming {
    /// Waits for them and writes them to `out`, a contiguous tensor of the processor's of the same size that nobody else has.
    pub(crate) fn wait(self, out: &Tensor) -> Result<()> {
        let _bound = self.gpu.bind()?;
        let Some(room) = &self.room else { return Ok(()) };
        room.wait().map_err(|error| self.gpu.failed("a copy from it", error))?;
        // SAFETY: the device has written so many bytes; the tensor has as many, and its owner lets them be written.
        unsafe { out.as_ptr().cast_mut().copy_from_nonoverlapping(room.start, self.bytes) };
        Ok(())
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        rooms(self.gpu).extend(mem::take(&mut self.room));
    }
}
