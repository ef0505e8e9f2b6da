//! Models.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::PoisonError;

use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use trustformers::models::{
    Checkpoint, Config, Incompatible, Inputs, LoadOptions, LowRank, Model, Output, Parameter,
};
use trustformers::tensor::{Device, Generator};

use crate::cache::PyCache;
use crate::checkpoint::Size;
use crate::errors;
use crate::hub::PyRepo;
use crate::inputs::{Keep, inputs, named};
use crate::interrupt::detached;
use crate::tensor::device::{self, At};
use crate::tensor::{PyTensor, draw};

/// Of a linear layer its name, A, B, the scaling, and how much A does not see in training.
type GivenLowRank<'py> = (String, PyRef<'py, PyTensor>, PyRef<'py, PyTensor>, f64, f32);

/// A model with its weights. Any number of threads may run it at once.
#[pyclass(frozen, name = "Model", module = "trustformers._engine")]
pub struct PyModel(pub Model);

impl PyModel {
    /// A parameter, by any of its names.
    fn find(&self, name: &str) -> PyResult<&Parameter> {
        let found = self.0.state_dict().find(|(own, _)| own == name).map(|(_, parameter)| parameter);
        found.ok_or_else(|| PyKeyError::new_err(format!("there is no parameter {name}")))
    }
}

#[pymethods]
impl PyModel {
    /// Opens the weights of a folder or repository for a configuration (JSON text). They are mapped, not read. `class_name` is
    /// transformers' name of the model with its head; without it the model is bare.
    #[staticmethod]
    #[pyo3(signature = (
        repo, config, *, class_name=None, add_pooling_layer=true, variant=None, ignore_mismatched_sizes=false,
        use_safetensors=None, gguf_file=None, dtype=None, quantization=None
    ))]
    #[allow(clippy::too_many_arguments)] // They are the keywords of transformers' from_pretrained.
    fn from_repo(
        py: Python<'_>,
        repo: &PyRepo,
        config: &str,
        class_name: Option<String>,
        add_pooling_layer: bool,
        variant: Option<String>,
        ignore_mismatched_sizes: bool,
        use_safetensors: Option<bool>,
        gguf_file: Option<String>,
        dtype: Option<&str>,
        quantization: Option<&str>,
    ) -> PyResult<PyModel> {
        let config = Config::from_json(config).map_err(errors::models)?;
        let options = LoadOptions {
            class: class_name,
            pooler: add_pooling_layer,
            variant,
            gguf_file,
            ignore_mismatched_sizes,
            use_safetensors,
            dtype: dtype.map(str::parse).transpose().map_err(errors::tensor)?,
            quantization: quantization.map(str::parse).transpose().map_err(errors::models)?,
        };
        detached(py, || Model::from_repo(&repo.0, config, &options)).map(PyModel).map_err(errors::models)
    }

    /// A model with freshly drawn weights.
    #[staticmethod]
    #[pyo3(signature = (config, *, class_name=None, add_pooling_layer=true, seed=0))]
    fn from_config(
        py: Python<'_>,
        config: &str,
        class_name: Option<String>,
        add_pooling_layer: bool,
        seed: u64,
    ) -> PyResult<PyModel> {
        let config = Config::from_json(config).map_err(errors::models)?;
        let options = LoadOptions { class: class_name, pooler: add_pooling_layer, ..LoadOptions::default() };
        detached(py, || Model::from_config(config, &options, seed)).map(PyModel).map_err(errors::models)
    }

    /// A model of tensors by name, for a configuration (JSON text). `place` says in messages where they come from.
    #[staticmethod]
    #[pyo3(signature = (
        tensors, config, *, place, class_name=None, add_pooling_layer=true, ignore_mismatched_sizes=false, dtype=None,
        quantization=None
    ))]
    #[allow(clippy::too_many_arguments)] // They are the keywords of transformers' from_pretrained.
    fn from_tensors(
        py: Python<'_>,
        tensors: &Bound<'_, PyDict>,
        config: &str,
        place: String,
        class_name: Option<String>,
        add_pooling_layer: bool,
        ignore_mismatched_sizes: bool,
        dtype: Option<&str>,
        quantization: Option<&str>,
    ) -> PyResult<PyModel> {
        let config = Config::from_json(config).map_err(errors::models)?;
        let options = LoadOptions {
            class: class_name,
            pooler: add_pooling_layer,
            ignore_mismatched_sizes,
            dtype: dtype.map(str::parse).transpose().map_err(errors::tensor)?,
            quantization: quantization.map(str::parse).transpose().map_err(errors::models)?,
            ..LoadOptions::default()
        };
        let tensors = named(tensors)?.into_iter().map(|(name, tensor)| (name, tensor.into())).collect();
        let checkpoint = Checkpoint { place, tensors };
        detached(py, || Model::from_checkpoint(checkpoint, config, &options))
            .map(PyModel)
            .map_err(errors::models)
    }

    /// A model of the same class with some weights replaced, for a configuration (JSON text) that they fit. What is `added` to linear layers
    /// are their names, A (rank, in), B (out, rank), the scaling, and how much A does not see in training.
    #[pyo3(signature = (tensors, config, added = Vec::new()))]
    fn with_tensors(
        &self,
        py: Python<'_>,
        tensors: &Bound<'_, PyDict>,
        config: &str,
        added: Vec<GivenLowRank<'_>>,
    ) -> PyResult<PyModel> {
        let config = Config::from_json(config).map_err(errors::models)?;
        let tensors = named(tensors)?;
        let mut low_ranks: BTreeMap<String, Vec<LowRank>> = BTreeMap::new();
        for (name, a, b, scaling, dropout) in added {
            let (a, b) = (a.0.clone(), b.0.clone());
            low_ranks.entry(name).or_default().push(LowRank { a, b, scaling, dropout });
        }
        detached(py, || self.0.adapted(tensors, low_ranks, config)).map(PyModel).map_err(errors::models)
    }

    /// The same model with its weights converted to a dtype.
    fn to_dtype(&self, py: Python<'_>, dtype: &str) -> PyResult<PyModel> {
        let dtype = dtype.parse().map_err(errors::tensor)?;
        detached(py, || self.0.to_dtype(dtype)).map(PyModel).map_err(errors::models)
    }

    /// The same model with its weights on devices: each on that of the longest name in `places` that its own begins with, "" being the
    /// beginning of all.
    ///
    /// :raises ValueError: for a weight that no name in `places` covers.
    fn placed(&self, py: Python<'_>, places: BTreeMap<String, At>) -> PyResult<PyModel> {
        let place = |name: &str| {
            let covers = |prefix: &str| {
                let rest = name.strip_prefix(prefix);
                prefix.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            let found = places.iter().filter(|(prefix, _)| covers(prefix));
            found.max_by_key(|(prefix, _)| prefix.len()).map(|(_, At(device))| *device)
        };
        if let Some((name, _)) = self.0.named_parameters().iter().find(|(name, _)| place(name).is_none()) {
            return Err(PyValueError::new_err(format!("device_map says nothing of {name}")));
        }
        detached(py, || self.0.placed(|name| place(name).unwrap_or(Device::Cpu)))
            .map(PyModel)
            .map_err(errors::models)
    }

    /// Where the first of the weights lies.
    #[getter]
    fn device<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let first = self.0.named_parameters().first();
        device::object(py, first.map_or(Device::Cpu, |(_, parameter)| parameter.memory().device()))
    }

    /// Where weights lie: every device that has any.
    fn devices<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let mut devices: Vec<Device> = Vec::new();
        for (_, parameter) in self.0.named_parameters() {
            let device = parameter.memory().device();
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices.into_iter().map(|device| device::object(py, device)).collect()
    }

    /// Where a parameter lies.
    fn parameter_device<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        device::object(py, self.find(name)?.memory().device())
    }

    /// The same model with weights of its own.
    fn copy(&self, py: Python<'_>) -> PyResult<PyModel> {
        detached(py, || self.0.copy()).map(PyModel).map_err(errors::models)
    }

    /// The model without its head, which shares its weights.
    fn base(&self) -> PyResult<PyModel> {
        self.0.base().map(PyModel).map_err(errors::models)
    }

    /// A model with another number of tokens. New rows are drawn around the mean of the old ones, or as those of a new model.
    fn resize_token_embeddings(
        &self,
        py: Python<'_>,
        tokens: usize,
        mean: bool,
        seed: u64,
    ) -> PyResult<PyModel> {
        detached(py, || self.0.resize_token_embeddings(tokens, mean, seed))
            .map(PyModel)
            .map_err(errors::models)
    }

    /// Copies tensors into the parameters of the same names; which are missing, and which unexpected.
    fn load_state_dict(
        &self,
        py: Python<'_>,
        tensors: &Bound<'_, PyDict>,
        strict: bool,
    ) -> PyResult<(Vec<String>, Vec<String>)> {
        let tensors = named(tensors)?;
        let Incompatible { missing, unexpected } =
            py.detach(|| self.0.load_state_dict(&tensors, strict)).map_err(errors::models)?;
        Ok((missing, unexpected))
    }

    /// The name of the table of word embeddings.
    fn input_embeddings(&self) -> PyResult<&str> {
        self.0.input_embeddings().map_err(errors::models)
    }

    /// The names of the matrix of a language model's head and of its bias.
    fn output_embeddings(&self) -> Option<(&str, Option<&str>)> {
        self.0.output_embeddings()
    }

    /// Which of the parameters are tables of embeddings.
    fn embeddings(&self) -> Vec<String> {
        self.0.embeddings().to_vec()
    }

    /// Which of the parameters are constants.
    fn buffers(&self) -> Vec<String> {
        self.0.buffers().to_vec()
    }

    /// Whether a bare model was asked to have its pooler.
    #[getter]
    fn add_pooling_layer(&self) -> bool {
        self.0.was_asked_for_pooler()
    }

    /// How often parameters were changed in place.
    #[getter]
    fn version(&self) -> u64 {
        self.0.version()
    }

    /// Runs the model over tensors by transformers' names for them; the result has what outputs there are by theirs, as tensors and
    /// lists of tensors. A cache holds the text so far and takes this one in. In `training` there is dropout, which follows from
    /// `manual_seed`; with `recomputes` layers keep their inputs alone and are computed again for their gradients;
    /// `noise` is NEFTune's alpha.
    #[pyo3(signature = (
        tensors, *, cache=None, output_hidden_states=false, output_attentions=false, output_router_logits=None,
        num_items_in_batch=None, logits_to_keep=Keep::Last(0), max_length=None, encoder_only=false, training=false,
        recomputes=false, noise=None
    ))]
    #[allow(clippy::too_many_arguments)] // They are the keywords of transformers' forward.
    fn forward<'py>(
        &self,
        py: Python<'py>,
        tensors: &Bound<'py, PyDict>,
        cache: Option<&PyCache>,
        output_hidden_states: bool,
        output_attentions: bool,
        output_router_logits: Option<bool>,
        num_items_in_batch: Option<f64>,
        logits_to_keep: Keep,
        max_length: Option<usize>,
        encoder_only: bool,
        training: bool,
        recomputes: bool,
        noise: Option<f64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let inputs = Inputs {
            logits_to_keep: logits_to_keep.into(),
            output_hidden_states,
            output_attentions,
            output_router_logits,
            num_items_in_batch,
            max_length,
            dropout: if training { Some(draw(Generator::seed)?) } else { None },
            recomputes,
            noise,
            ..inputs(tensors)?
        };
        let run = || match cache {
            _ if encoder_only => self.0.encode_source(&inputs),
            None => self.0.forward(&inputs, None),
            Some(cache) => {
                let mut cache = cache.0.lock().unwrap_or_else(PoisonError::into_inner);
                self.0.forward(&inputs, Some(&mut cache))
            }
        };
        let outputs = detached(py, run).map_err(errors::models)?;
        let result = PyDict::new(py);
        for (name, value) in outputs.into_fields() {
            match value {
                Output::One(tensor) => result.set_item(name, PyTensor(tensor))?,
                Output::Many(tensors) => {
                    result.set_item(name, tensors.into_iter().map(PyTensor).collect::<Vec<_>>())?;
                }
            }
        }
        Ok(result)
    }

    /// transformers' `problem_type` that labels are taken for.
    fn problem_type(&self, labels: &PyTensor) -> PyResult<Option<&'static str>> {
        self.0.problem_type(&labels.0).map_err(errors::models)
    }

    /// What the decoder of an encoder-decoder reads to predict labels.
    fn decoder_input_ids(&self, labels: &PyTensor) -> PyResult<PyTensor> {
        self.0.decoder_input_ids(&labels.0).map(PyTensor).map_err(errors::models)
    }

    /// The names of all parameters, and with `tied` also the further names of those that have several.
    #[pyo3(signature = (tied=false))]
    fn parameter_names(&self, tied: bool) -> Vec<String> {
        let tied = if tied { self.0.tied_parameters() } else { &[] };
        self.0.named_parameters().iter().chain(tied).map(|(name, _)| name.clone()).collect()
    }

    /// A parameter, by any of its names: over the memory of the checkpoint, or made now, in float32, if it is kept in blocks.
    /// A gradient of it is expected, unless it was frozen or is a buffer.
    fn parameter(&self, py: Python<'_>, name: &str) -> PyResult<PyTensor> {
        let parameter = self.find(name)?;
        if let Some(tensor) = parameter.dense().filter(|_| !self.0.buffers().iter().any(|own| own == name)) {
            tensor.expect_grad();
        }
        detached(py, || parameter.tensor()).map(PyTensor).map_err(errors::models)
    }

    /// The shape of a parameter, and the bytes that it takes, for each of them.
    fn parameter_sizes(&self) -> Vec<(String, Vec<usize>, usize)> {
        let sizes =
            |(name, parameter): &(String, Parameter)| (name.clone(), parameter.shape(), parameter.nbytes());
        self.0.named_parameters().iter().map(sizes).collect()
    }

    /// Whether any parameter is kept in blocks.
    #[getter]
    fn is_quantized(&self) -> bool {
        self.0.is_quantized()
    }

    /// Writes the weights into a folder, in shards of at most so many bytes (a number, or text such as "5GB"). Blocks are written as
    /// numbers.
    #[pyo3(signature = (folder, *, max_shard_size, variant=None))]
    fn save_weights(
        &self,
        py: Python<'_>,
        folder: PathBuf,
        max_shard_size: Size,
        variant: Option<&str>,
    ) -> PyResult<()> {
        let max_shard_size = max_shard_size.bytes()?;
        detached(py, || self.0.save_weights(&folder, max_shard_size, variant)).map_err(errors::models)
    }

    /// "encoder", "decoder" or "encoder-decoder".
    #[getter]
    fn family(&self) -> &'static str {
        self.0.family().name()
    }

    /// Whether a gradient is asked for any parameter.
    #[getter]
    fn requires_grad(&self) -> bool {
        self.0.requires_grad()
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
