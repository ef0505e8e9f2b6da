//! Configurations and models.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;
use trustformers::hub::Interrupt;
use trustformers::models::{self, Config, Inputs, LoadOptions, Model, Outputs, architecture};
use trustformers::tensor::Tensor;

use crate::errors;
use crate::hub::{PyRepo, signalled};
use crate::tensor::PyTensor;

/// Config.json of a folder or repository, or another file like it, over the defaults of its model type, as JSON text.
///
/// :raises ValueError: without the file, without a model type in it, or for one that is not supported.
/// :raises OSError: for a file that is not JSON, or a repository that cannot be read.
#[pyfunction]
#[pyo3(signature = (repo, file=None))]
pub fn read_config(py: Python<'_>, repo: Option<&PyRepo>, file: Option<PathBuf>) -> PyResult<String> {
    let read = || match (repo, file) {
        (_, Some(file)) => Config::from_file(&file),
        (Some(repo), None) => Config::from_repo(&repo.0),
        (None, None) => Err(models::Error::Config("name a repository or a file".into())),
    };
    let config = py.detach(read).map_err(errors::models)?;
    Ok(Value::Object(config.values().clone()).to_string())
}

/// The default configuration of a model type, as JSON text.
///
/// :raises ValueError: for a type that is not supported.
#[pyfunction]
pub fn default_config(model_type: &str) -> PyResult<String> {
    let architecture = architecture::find(model_type).map_err(errors::models)?;
    Ok(Value::Object(architecture.defaults()).to_string())
}

/// A model with its weights. Any number of threads may run it at once.
#[pyclass(frozen, name = "Model", module = "trustformers._engine")]
pub struct PyModel(Model);

#[pymethods]
impl PyModel {
    /// Opens the weights of a folder or repository for a configuration (JSON text). They are mapped, not read.
    #[staticmethod]
    #[pyo3(signature = (repo, config, *, add_pooling_layer=true, variant=None, use_safetensors=None, ignore_mismatched_sizes=false, dtype=None))]
    #[allow(clippy::too_many_arguments)] // They are the keywords of transformers' from_pretrained.
    fn from_repo(
        py: Python<'_>,
        repo: &PyRepo,
        config: &str,
        add_pooling_layer: bool,
        variant: Option<String>,
        use_safetensors: Option<bool>,
        ignore_mismatched_sizes: bool,
        dtype: Option<&str>,
    ) -> PyResult<PyModel> {
        let config = Config::from_json(config).map_err(errors::models)?;
        let dtype = dtype.map(str::parse).transpose().map_err(errors::tensor)?;
        let options = LoadOptions {
            pooler: add_pooling_layer,
            variant,
            use_safetensors,
            ignore_mismatched_sizes,
            dtype,
        };
        py.detach(|| Model::from_repo(&repo.0, config, &options)).map(PyModel).map_err(errors::models)
    }

    /// A model with freshly drawn weights.
    #[staticmethod]
    #[pyo3(signature = (config, *, add_pooling_layer=true, seed=0))]
    fn from_config(py: Python<'_>, config: &str, add_pooling_layer: bool, seed: u64) -> PyResult<PyModel> {
        let config = Config::from_json(config).map_err(errors::models)?;
        let options = LoadOptions { pooler: add_pooling_layer, ..LoadOptions::default() };
        py.detach(|| Model::from_config(config, &options, seed)).map(PyModel).map_err(errors::models)
    }

    /// Runs the model; the result has `last_hidden_state` and what else there is, as tensors and lists of tensors.
    #[pyo3(signature = (
        *, input_ids=None, attention_mask=None, token_type_ids=None, position_ids=None, inputs_embeds=None,
        output_hidden_states=false, output_attentions=false, max_length=None
    ))]
    #[allow(clippy::too_many_arguments)] // They are the keywords of transformers' forward.
    fn forward<'py>(
        &self,
        py: Python<'py>,
        input_ids: Option<&PyTensor>,
        attention_mask: Option<&PyTensor>,
        token_type_ids: Option<&PyTensor>,
        position_ids: Option<&PyTensor>,
        inputs_embeds: Option<&PyTensor>,
        output_hidden_states: bool,
        output_attentions: bool,
        max_length: Option<usize>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let tensor = |tensor: Option<&PyTensor>| tensor.map(|tensor| tensor.0.clone());
        let inputs = Inputs {
            input_ids: tensor(input_ids),
            attention_mask: tensor(attention_mask),
            token_type_ids: tensor(token_type_ids),
            position_ids: tensor(position_ids),
            inputs_embeds: tensor(inputs_embeds),
            output_hidden_states,
            output_attentions,
            max_length,
            interrupt: Interrupt::new(signalled),
        };
        let outputs = py.detach(|| self.0.forward(&inputs)).map_err(errors::models)?;
        let Outputs { last_hidden_state, pooler_output, hidden_states, attentions } = outputs;
        let result = PyDict::new(py);
        let many = |tensors: Vec<Tensor>| tensors.into_iter().map(PyTensor).collect::<Vec<_>>();
        result.set_item("last_hidden_state", PyTensor(last_hidden_state))?;
        result.set_item("pooler_output", pooler_output.map(PyTensor))?;
        result.set_item("hidden_states", hidden_states.map(many))?;
        result.set_item("attentions", attentions.map(many))?;
        Ok(result)
    }

    /// Every parameter under transformers' name, over the memory of the checkpoint.
    fn named_parameters(&self) -> Vec<(String, PyTensor)> {
        let parameters = self.0.named_parameters().iter();
        parameters.map(|(name, tensor)| (name.clone(), PyTensor(tensor.clone()))).collect()
    }

    /// The dtype of the weights, by name.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.0.dtype().name()
    }

    /// What did not fit and was accepted: the lists `missing_keys`, `unexpected_keys` and `mismatched_keys`.
    fn loading_info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let report = self.0.report();
        let mismatched: Vec<_> = report
            .mismatched
            .iter()
            .map(|mismatch| (mismatch.name.clone(), mismatch.checkpoint.clone(), mismatch.model.clone()))
            .collect();
        let info = PyDict::new(py);
        info.set_item("missing_keys", &report.missing)?;
        info.set_item("unexpected_keys", &report.unexpected)?;
        info.set_item("mismatched_keys", mismatched)?;
        Ok(info)
    }
}
