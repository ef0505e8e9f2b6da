//! Weights in files, without a model.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pyo3::prelude::*;
use trustformers::models::{self, Checkpoint};

use crate::errors;
use crate::hub::PyRepo;
use crate::interrupt::detached;
use crate::tensor::PyTensor;

/// The tensors of a folder or repository by name, mapped.
#[pyfunction]
#[pyo3(signature = (repo, *, variant=None, use_safetensors=None))]
pub fn load_checkpoint(
    py: Python<'_>,
    repo: &PyRepo,
    variant: Option<&str>,
    use_safetensors: Option<bool>,
) -> PyResult<BTreeMap<String, PyTensor>> {
    let read = || {
        let checkpoint = Checkpoint::from_repo(&repo.0, variant, use_safetensors)?;
        let tensors = checkpoint.tensors.into_iter();
        tensors.map(|(name, parameter)| Ok((name, parameter.tensor()?))).collect::<models::Result<Vec<_>>>()
    };
    let tensors = detached(py, read).map_err(errors::models)?;
    Ok(tensors.into_iter().map(|(name, tensor)| (name, PyTensor(tensor))).collect())
}

/// Writes tensors as a model's weights into a folder, in shards of at most so many bytes (a number, or text such as "5GB"). `parameters`
/// is the model's number of parameters. Returns the names of the files.
#[pyfunction]
#[pyo3(signature = (tensors, folder, parameters, *, max_shard_size, variant=None))]
pub fn save_checkpoint(
    py: Python<'_>,
    tensors: Vec<(String, PyRef<'_, PyTensor>)>,
    folder: PathBuf,
    parameters: usize,
    max_shard_size: Size,
    variant: Option<&str>,
) -> PyResult<Vec<String>> {
    let max_shard_size = max_shard_size.bytes()?;
    let tensors = tensors.into_iter().map(|(name, tensor)| (name, tensor.0.clone().into())).collect();
    let save = || models::save_checkpoint(&folder, tensors, parameters, max_shard_size, variant);
    detached(py, save).map_err(errors::models)
}

/// A size as transformers takes it.
#[derive(FromPyObject)]
pub enum Size {
    /// In bytes.
    Bytes(u64),
    /// With its unit.
    Text(String),
}

impl Size {
    /// The number of them.
    pub fn bytes(self) -> PyResult<u64> {
        match self {
            Size::Bytes(bytes) => Ok(bytes),
            Size::Text(text) => models::parse_size(&text).map_err(errors::models),
        }
    }
}
