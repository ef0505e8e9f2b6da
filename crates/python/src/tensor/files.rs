//! Tensors in safetensors files.

use std::collections::HashMap;
use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use trustformers::models::{self, MappedFile};
use trustformers::tensor::{Device, Tensor};

use super::PyTensor;
use super::device::At;
use super::numpy::from_object;
use crate::errors;
use crate::interrupt::detached;

/// The tensors of a safetensors file by name. The file is mapped: nothing is read before it is used, and the tensors are read-only.
///
/// :raises OSError: when it cannot be read.
/// :raises SafetensorError: when the file is damaged.
#[pyfunction]
#[pyo3(signature = (filename, device=At(Device::Cpu)), text_signature = "(filename, device=\"cpu\")")]
pub fn load_file<'py>(py: Python<'py>, filename: PathBuf, device: At) -> PyResult<Bound<'py, PyDict>> {
    let opened = || -> models::Result<Vec<(String, Tensor)>> {
        let tensors = MappedFile::open(&filename)?.tensors()?;
        tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.to_device(device.0)?))).collect()
    };
    let tensors = detached(py, opened).map_err(errors::models)?;
    let dict = PyDict::new(py);
    for (name, tensor) in tensors {
        dict.set_item(name, PyTensor(tensor))?;
    }
    Ok(dict)
}

/// Writes tensors (ours, arrays, or PyTorch's) by name to a safetensors file. The file appears when it is complete, in place of an older one.
///
/// :raises OSError: when it cannot be written.
#[pyfunction]
#[pyo3(signature = (tensors, filename, metadata=None))]
pub fn save_file(
    py: Python<'_>,
    tensors: &Bound<'_, PyDict>,
    filename: PathBuf,
    metadata: Option<HashMap<String, String>>,
) -> PyResult<()> {
    let named = tensors.iter().map(|(name, tensor)| {
        let name: String = name
            .extract()
            .map_err(|_| PyTypeError::new_err(format!("the names of tensors must be strings, got {name}")))?;
        Ok((name, from_object(&tensor)?))
    });
    let named: Vec<(String, Tensor)> = named.collect::<PyResult<_>>()?;
    detached(py, || models::save_file(&filename, named, metadata)).map_err(errors::models)
}
