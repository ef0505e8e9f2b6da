//! How much memory tensors hold.

use pyo3::prelude::*;
use trustformers::tensor::{Device, memory};

use super::device::At;

/// Bytes that tensors hold of our own memory; what they borrow from arrays and files is not counted.
#[pyfunction]
#[pyo3(signature = (device=At(Device::Cpu)), text_signature = "(device=\"cpu\")")]
pub fn memory_allocated(device: At) -> PyResult<usize> {
    Ok(memory::allocated(device.0))
}

/// The most that :func:`memory_allocated` has been, since the start or the last :func:`reset_peak_memory_stats`.
#[pyfunction]
#[pyo3(signature = (device=At(Device::Cpu)), text_signature = "(device=\"cpu\")")]
pub fn max_memory_allocated(device: At) -> PyResult<usize> {
    Ok(memory::max_allocated(device.0))
}

/// Bytes that tensors hold, and those that lie idle to be used again.
#[pyfunction]
#[pyo3(signature = (device=At(Device::Cpu)), text_signature = "(device=\"cpu\")")]
pub fn memory_reserved(device: At) -> PyResult<usize> {
    let device = device.0;
    Ok(memory::allocated(device) + memory::cached(device))
}

/// Starts :func:`max_memory_allocated` anew from what is allocated now.
#[pyfunction]
#[pyo3(signature = (device=At(Device::Cpu)), text_signature = "(device=\"cpu\")")]
pub fn reset_peak_memory_stats(device: At) -> PyResult<()> {
    memory::reset_max_allocated(device.0);
    Ok(())
}

/// Gives all memory that lies idle back to the system.
#[pyfunction]
#[pyo3(signature = (device=At(Device::Cpu)), text_signature = "(device=\"cpu\")")]
pub fn empty_cache(device: At) -> PyResult<()> {
    memory::empty_cache(device.0);
    Ok(())
}
