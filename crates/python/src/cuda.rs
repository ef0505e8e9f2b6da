//! CUDA's devices: which there are, and what can be asked of them as a whole.

use pyo3::prelude::*;
use trustformers::tensor::{Device, cuda};

use crate::errors;
use crate::interrupt::detached;
use crate::tensor::device::{self, At};

/// The GPU that is meant; the current one without a name.
fn gpu(py: Python<'_>, device: Option<At>) -> PyResult<&'static cuda::Gpu> {
    let index = match device.map(|At(device)| device) {
        Some(Device::Cuda(index)) => index,
        Some(Device::Cpu) => {
            let message = "a CUDA device is needed, got cpu";
            return Err(pyo3::exceptions::PyValueError::new_err(message));
        }
        None => device::current(),
    };
    device::find_libraries(py)?;
    py.detach(|| cuda::gpu(index)).map_err(errors::tensor)
}

/// How many CUDA devices there are; 0 without a driver, or with one that is too old.
#[pyfunction]
pub fn cuda_device_count(py: Python<'_>) -> PyResult<usize> {
    device::find_libraries(py)?;
    Ok(py.detach(|| cuda::count().unwrap_or(0)))
}

/// The number of the current device.
#[pyfunction]
pub fn cuda_current_device() -> usize {
    device::current()
}

/// Makes a device the current one of this thread.
#[pyfunction]
pub fn cuda_set_device(py: Python<'_>, index: usize) -> PyResult<()> {
    device::set_current(py, index)
}

/// Of a device its name, its compute capability, its multiprocessors and its bytes.
#[pyfunction]
#[pyo3(signature = (device=None))]
pub fn cuda_device(py: Python<'_>, device: Option<At>) -> PyResult<(String, [i32; 2], usize, usize)> {
    let gpu = gpu(py, device)?;
    Ok((gpu.name().into(), gpu.capability(), gpu.processors().count, gpu.total()))
}

/// The number of the device that is meant.
#[pyfunction]
#[pyo3(signature = (device=None))]
pub fn cuda_index(py: Python<'_>, device: Option<At>) -> PyResult<usize> {
    match gpu(py, device)?.device() {
        Device::Cuda(index) => Ok(index),
        Device::Cpu => Ok(0),
    }
}

/// The device that an argument names, which is there.
#[pyfunction]
pub fn resolve_device<'py>(py: Python<'py>, device: At) -> PyResult<Bound<'py, PyAny>> {
    device::object(py, device.0)
}

/// Waits until all that was asked of a device is done.
#[pyfunction]
#[pyo3(signature = (device=None))]
pub fn cuda_synchronize(py: Python<'_>, device: Option<At>) -> PyResult<()> {
    let gpu = gpu(py, device)?;
    detached(py, || gpu.synchronize()).map_err(errors::tensor)
}

/// Bytes of a device that are free, and bytes that there are.
#[pyfunction]
#[pyo3(signature = (device=None))]
pub fn cuda_mem_get_info(py: Python<'_>, device: Option<At>) -> PyResult<(usize, usize)> {
    let gpu = gpu(py, device)?;
    py.detach(|| gpu.free_and_total()).map_err(errors::tensor)
}

/// The address of the stream that a device's work is put on.
#[pyfunction]
#[pyo3(signature = (device=None))]
pub fn cuda_stream(py: Python<'_>, device: Option<At>) -> PyResult<usize> {
    Ok(gpu(py, device)?.stream() as usize)
}

/// Whether products of float32 may be computed in TF32.
#[pyfunction]
pub fn is_tf32_allowed() -> bool {
    cuda::is_tf32_allowed()
}

/// Allows products of float32 to be computed in TF32, or forbids it.
#[pyfunction]
pub fn allow_tf32(allowed: bool) {
    cuda::allow_tf32(allowed);
}
