//! Devices as Python users write them, and the current one of CUDA's.

use std::cell::Cell;
use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyInt};
use pyo3::{Borrowed, intern};
use trustformers::tensor::{Device, cuda};

use crate::errors;

thread_local! {
    /// What "cuda" without a number means, to each thread its own, as in torch.
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// The number of the CUDA device that is meant where none is named.
pub fn current() -> usize {
    CURRENT.get()
}

/// Makes another CUDA device the one that is meant where none is named, for this thread.
///
/// # Errors
/// `RuntimeError` when there is none such.
pub fn set_current(py: Python<'_>, index: usize) -> PyResult<()> {
    expect(py, Device::Cuda(index))?;
    CURRENT.set(index);
    Ok(())
}

/// A `device` argument: a name, a number, a `Device`, or PyTorch's object. It is there.
pub struct At(pub Device);

impl<'py> FromPyObject<'_, 'py> for At {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<At> {
        parse(&object).map(At)
    }
}

/// The device that an argument names.
///
/// # Errors
/// `RuntimeError` for what is no device, and for one that is not there.
pub fn parse(object: &Bound<'_, PyAny>) -> PyResult<Device> {
    let py = object.py();
    if object.is_instance_of::<PyInt>() && !object.is_instance_of::<PyBool>() {
        return match object.extract() {
            Ok(index) => expect(py, Device::Cuda(index)),
            Err(_) => named(py, object.str()?.to_str()?),
        };
    }
    named(py, object.str()?.to_str()?)
}

fn named(py: Python<'_>, name: &str) -> PyResult<Device> {
    match name {
        "cpu" => Ok(Device::Cpu),
        "cuda" => expect(py, Device::Cuda(current())),
        "auto" => {
            find_libraries(py)?;
            py.detach(|| name.parse()).map_err(errors::tensor)
        }
        name => expect(py, name.parse().map_err(errors::tensor)?),
    }
}

/// The same device, which is opened.
fn expect(py: Python<'_>, device: Device) -> PyResult<Device> {
    if let Device::Cuda(index) = device {
        find_libraries(py)?;
        py.detach(|| cuda::gpu(index)).map_err(errors::tensor)?;
    }
    Ok(device)
}

/// Tells the engine, before it opens CUDA's libraries, in which folders of this Python they may be.
pub fn find_libraries(py: Python<'_>) -> PyResult<()> {
    static FOUND: PyOnceLock<()> = PyOnceLock::new();
    FOUND
        .get_or_try_init(py, || {
            let folders = py
                .import(intern!(py, "trustformers._cuda_libraries"))?
                .call_method0(intern!(py, "folders"))?
                .extract::<Vec<PathBuf>>()?;
            cuda::look_in(folders);
            Ok(())
        })
        .copied()
}

/// The object that users see.
pub fn object(py: Python<'_>, device: Device) -> PyResult<Bound<'_, PyAny>> {
    py.import(intern!(py, "trustformers._device"))?.call_method1(intern!(py, "named"), (device.to_string(),))
}
