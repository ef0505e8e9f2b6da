//! NVIDIA's GPUs: the second implementation of [`crate::Backend`].
//!
//! Nothing of CUDA is linked to: its libraries are opened when a device is first asked for, so the same build runs where there are none.

mod arguments;
mod backend;
mod blas;
mod coming;
mod copy;
mod cublaslt;
mod early;
mod geometry;
mod gpu;
mod graph;
mod launch;
mod library;
mod memory;
mod modules;

use std::slice;

use crate::{Device, Result, Tensor};

pub(crate) use coming::{Coming, send};
pub use gpu::{Gpu, allow_tf32, count, gpu, is_tf32_allowed};
pub use graph::Graph;
pub use library::look_in;
pub use memory::Memory;
pub(crate) use memory::Pool;

/// Copies the elements of `x` to `out`, on whatever devices: both contiguous, of one shape and dtype.
pub(crate) fn carry(out: &Tensor, x: &Tensor) -> Result<()> {
    let bytes = x.numel() * x.dtype().size();
    if bytes == 0 {
        return Ok(());
    }
    let [to, from] = [out, x].map(|tensor| tensor.as_ptr() as u64);
    match (out.device(), x.device()) {
        (Device::Cuda(index), Device::Cpu) => {
            // SAFETY: a contiguous tensor covers so many bytes, and they are the processor's.
            let bytes = unsafe { slice::from_raw_parts(x.as_ptr(), bytes) };
            gpu(index)?.upload(to, bytes)
        }
        (Device::Cpu, Device::Cuda(index)) => {
            // SAFETY: as above; whoever has the tensor lets it be written to.
            let bytes = unsafe { slice::from_raw_parts_mut(out.as_ptr().cast_mut(), bytes) };
            gpu(index)?.download(bytes, from)
        }
        (Device::Cuda(index), Device::Cuda(other)) if index != other => {
            gpu(index)?.fetch(gpu(other)?, to, from, bytes)
        }
        _ => out.backend().assign(out, x),
    }
}

/// Whether there is a device to compute on.
pub fn is_available() -> bool {
    count().is_ok_and(|count| count > 0)
}

/// What `ask` finds about the memory of a device; nothing of one that is not there.
pub(crate) fn memory<T: Default>(index: usize, ask: impl FnOnce(&Pool) -> T) -> T {
    gpu(index).map_or_else(|_| T::default(), |gpu| ask(&gpu.pool))
}
