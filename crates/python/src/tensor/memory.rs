//! How much memory tensors hold.

use pyo3::prelude::*;
use trustformers::tensor::{Device, memory};

use super::convert;

fn device(name: &str) -> PyResult<Device> {
    convert::expect_cpu(name).map(|()| Device::Cpu)
}

/// Bytes that tensors hold of our own memory; what they borrow from arrays and files is not counted.
#[pyfunction]
#[pyo3(signature = (device="cpu"))]
pub fn memory_allocated(device: &str) -> PyResult<usize> {
    Ok(memory::allocated(self::device(device)?))
}

/// The most that :func:`memory_allocated` has been, since the start or the last :func:`reset_peak_memory_stats`.
#[pyfunction]
#[pyo3(signature = (device="cpu"))]
pub fn max_memory_allocated(device: &str) -> PyResult<usize> {
    Ok(memory::max_allocated(self::device(device)?))
}

/// Bytes that tensors hold, and those that lie idle to be used again.
#[pyfunction]
#[pyo3(signature = (device="cpu"))]
pub fn memory_reserved(device: &str) -> PyResult<usize> {
    let device = self::device(device)?;
    Ok(memory::allocated(device) + memory::cached(device))
}

/// Starts :func:`max_memory_allocated` anew from what is allocated now.
#[pyfunction]
#[pyo3(signature = (device="cpu"))]
pub fn reset_peak_memory_stats(device: &str) -> PyResult<()> {
    memory::reset_max_allocated(self::device(device)?);
    Ok(())
}

/// Gives all memory that lies idle back to the system.
#[pyfunction]
#[pyo3(signature = (device="cpu"))]
pub fn empty_cache(device: &str) -> PyResult<()> {
    memory::empty_cache(self::device(device)?);
    Ok(())
}
