//! Configurations and models.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;
use trustformers::models::architecture::{Architecture, Class};
use trustformers::models::{
    self, Cache, CacheParts, Checkpoint, Config, Incompatible, Inputs, LoadOptions, LowRank, Model, Output,
    Parameter, SourceParts, Text, architecture,
};
use trustformers::tensor::ops::StoreForm;
use trustformers::tensor::{Generator, Tensor};

use crate::errors;
use crate::hub::PyRepo;
use crate::interrupt::detached;
use crate::tensor::{PyTensor, draw};

/// Config.json of a folder or repository, or another file like it, or what a GGUF file of the repository says, over the defaults of its
/// model type, as JSON text; and that type. With `model_type` a file is read as that of a model of this type, whatever it says itself.
///
/// :raises ValueError: without the file, without a model type in it, or for one that is not supported.
/// :raises OSError: for a file that is not JSON, or a repository that cannot be read.
#[pyfunction]
#[pyo3(signature = (repo, file=None, gguf_file=None, *, model_type=None))]
pub fn read_config(
    py: Python<'_>,
    repo: Option<&PyRepo>,
    file: Option<PathBuf>,
    gguf_file: Option<&str>,
    model_type: Option<&str>,
) -> PyResult<(String, Option<String>)> {
    let read = || {
        let file = match (repo, file, gguf_file) {
            (_, Some(file), _) => file,
            (Some(repo), None, Some(name)) => {
                let config = Config::from_gguf(&models::gguf_file(&repo.0, name)?)?;
                let named = config.architecture()?.model_type.to_owned();
                return Ok((config, Some(named)));
            }
            (Some(repo), None, None) => Config::file(&repo.0)?,
            (None, None, _) => return Err(models::Error::Config("name a repository or a file".into())),
        };
        match model_type {
            Some(model_type) => Config::from_file_as(&file, model_type),
            None => {
                let config = Config::from_file(&file)?;
                let named = config.architecture()?.model_type.to_owned();
                Ok((config, Some(named)))
            }
        }
    };
    let (config, named) = detached(py, read).map_err(errors::models)?;
    Ok((Value::Object(config.values().clone()).to_string(), named))
}

/// A configuration (JSON text, as is the result) over the defaults of its model type, with the fields filled in that follow from others.
///
/// :raises ValueError: for a type that is not supported, and for values that cannot be.
#[pyfunction]
pub fn complete_config(config: &str) -> PyResult<String> {
    let config = Config::from_json(config).map_err(errors::models)?;
    Ok(Value::Object(config.values().clone()).to_string())
}

/// The architectures: for each its model type, its configuration class, the common names of its fields with its own, the attribute under
/// which models with heads hold the model, and its model classes: name, task, and where the model is in it.
#[pyfunction]
pub fn architectures(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let describe = |one: &&Architecture| {
        let about = PyDict::new(py);
        about.set_item("model_type", one.model_type)?;
        about.set_item("config_class", one.config_class)?;
        about.set_item("aliases", one.aliases.to_vec())?;
        about.set_item("prefix", one.prefix.trim_end_matches('.'))?;
        let class = |class: &Class| (class.name, class.task.name(), class.base);
        let classes: Vec<_> = one.classes.iter().map(class).collect();
        about.set_item("classes", classes)?;
        Ok(about)
    };
    architecture::ALL.iter().map(describe).collect()
}

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
    fn bytes(self) -> PyResult<u64> {
        match self {
            Size::Bytes(bytes) => Ok(bytes),
            Size::Text(text) => models::parse_size(&text).map_err(errors::models),
        }
    }
}

/// Of which positions logits are wanted.
#[derive(FromPyObject)]
pub enum Keep {
    /// So many from the end; 0 for all.
    Last(usize),
    /// These.
    At(Vec<i64>),
}

/// Tensors by name, from a dictionary.
pub fn named(tensors: &Bound<'_, PyDict>) -> PyResult<BTreeMap<String, Tensor>> {
    let one = |(name, tensor): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        Ok((name.extract()?, tensor.cast::<PyTensor>()?.get().0.clone()))
    };
    tensors.iter().map(one).collect()
}

/// The arguments of a forward pass, by transformers' names for them.
pub fn inputs(tensors: &Bound<'_, PyDict>) -> PyResult<Inputs> {
    let mut given = named(tensors)?;
    let mut take = |name: &str| given.remove(name);
    let mut text = |prefix: &'static str| Text {
        ids: take(&format!("{prefix}input_ids")),
        embeds: take(&format!("{prefix}inputs_embeds")),
        mask: take(&format!("{prefix}attention_mask")),
        token_type_ids: take(&format!("{prefix}token_type_ids")),
        position_ids: take(&format!("{prefix}position_ids")),
        prefix,
    };
    let inputs = Inputs {
        text: text(""),
        decoder: text("decoder_"),
        encoder_hidden_states: take("encoder_last_hidden_state").or_else(|| take("encoder_hidden_states")),
        encoder_attention_mask: take("encoder_attention_mask"),
        labels: take("labels"),
        next_sentence_label: take("next_sentence_label"),
        sentence_order_label: take("sentence_order_label"),
        start_positions: take("start_positions"),
        end_positions: take("end_positions"),
        ..Inputs::default()
    };
    match given.keys().next() {
        Some(name) => {
            Err(PyTypeError::new_err(format!("forward() got an unexpected keyword argument '{name}'")))
        }
        None => Ok(inputs),
    }
}

/// Of a linear layer its name, A, B, the scaling, and how much A does not see in training.
type GivenLowRank<'py> = (String, PyRef<'py, PyTensor>, PyRef<'py, PyTensor>, f64, f32);

type Pair = (PyTensor, PyTensor);
type GivenPair<'py> = (Bound<'py, PyTensor>, Bound<'py, PyTensor>);
/// For every sequence of a source its first row, and which positions its rows stand for.
type Places = Vec<(usize, Vec<bool>)>;
/// A cache taken apart.
type PyParts = (usize, Vec<Vec<bool>>, Vec<usize>, Vec<Pair>, Option<(Vec<Pair>, Places)>);

/// The keys and values of the text so far: transformers' `past_key_values`.
#[pyclass(frozen, name = "Cache", module = "trustformers._engine")]
pub struct PyCache(pub Mutex<Cache>);

impl PyCache {
    /// A forward pass elsewhere may hold it: wait without the GIL.
    fn lock<R: Send>(&self, py: Python<'_>, then: impl FnOnce(&mut Cache) -> R + Send) -> R {
        py.detach(|| then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[pymethods]
impl PyCache {
    /// An empty cache; with room for `capacity` positions it need not grow up to there. If `quantized` it keeps 8 bits.
    #[new]
    #[pyo3(signature = (capacity=0, quantized=false))]
    fn new(capacity: usize, quantized: bool) -> PyCache {
        let mut cache = Cache::default();
        cache.reserve(capacity);
        if quantized {
            cache.keep_as(StoreForm::Int8);
        }
        PyCache(Mutex::new(cache))
    }

    /// The number of positions so far, padding included.
    fn length(&self, py: Python<'_>) -> usize {
        self.lock(py, |cache| cache.length())
    }

    /// The number of sequences; 0 before the first step.
    fn batch(&self, py: Python<'_>) -> usize {
        self.lock(py, |cache| cache.batch())
    }

    /// The number of layers that hold something.
    fn layers(&self, py: Python<'_>) -> usize {
        self.lock(py, |cache| cache.layers())
    }

    /// A layer's keys and values, (batch, heads, length, head_dim) each; `None` for a layer that holds nothing.
    fn layer(&self, py: Python<'_>, index: usize) -> PyResult<Option<(PyTensor, PyTensor)>> {
        let layer = self.lock(py, |cache| cache.layer(index)).map_err(errors::models)?;
        Ok(layer.map(|(key, value)| (PyTensor(key), PyTensor(value))))
    }

    /// The length of the source that a cross-attention looks at; 0 if there is none.
    fn source_length(&self, py: Python<'_>) -> usize {
        self.lock(py, |cache| cache.source_length())
    }

    /// A layer's keys and values of the source, (batch, heads, length, head_dim) each; `None` without a source.
    fn source_layer(&self, py: Python<'_>, index: usize) -> PyResult<Option<(PyTensor, PyTensor)>> {
        let layer = self.lock(py, |cache| cache.source_layer(index)).map_err(errors::models)?;
        Ok(layer.map(|(key, value)| (PyTensor(key), PyTensor(value))))
    }

    /// Forgets all positions from `length` on; a negative number forgets so many.
    fn crop(&self, py: Python<'_>, length: i64) {
        self.lock(py, |cache| cache.crop(length));
    }

    /// Makes sequence `i` what sequence `sources[i]` was.
    fn select(&self, py: Python<'_>, sources: Vec<usize>) -> PyResult<()> {
        self.lock(py, |cache| cache.select(&sources)).map_err(errors::models)
    }

    /// What is in it, for :meth:`from_parts`: the room of a slot, which positions of each sequence are shown, their slots, the layers' keys and
    /// values as they are stored, and the same of the source.
    fn parts(&self, py: Python<'_>) -> PyParts {
        let parts = self.lock(py, |cache| cache.parts());
        let pairs =
            |layers: Vec<[Tensor; 2]>| layers.into_iter().map(|[k, v]| (PyTensor(k), PyTensor(v))).collect();
        let source = parts.source.map(|source| (pairs(source.layers), source.sequences));
        (parts.capacity, parts.shown, parts.slots, pairs(parts.layers), source)
    }

    /// The cache that :meth:`parts` took apart.
    ///
    /// :raises ValueError: for parts that do not fit together.
    #[staticmethod]
    fn from_parts(
        capacity: usize,
        shown: Vec<Vec<bool>>,
        slots: Vec<usize>,
        layers: Vec<GivenPair<'_>>,
        source: Option<(Vec<GivenPair<'_>>, Places)>,
    ) -> PyResult<PyCache> {
        let pairs = |layers: Vec<GivenPair<'_>>| {
            layers.into_iter().map(|(key, value)| [key.get().0.clone(), value.get().0.clone()]).collect()
        };
        let source = source.map(|(layers, sequences)| SourceParts { layers: pairs(layers), sequences });
        let parts = CacheParts { capacity, shown, slots, layers: pairs(layers), source };
        Ok(PyCache(Mutex::new(Cache::from_parts(parts).map_err(errors::models)?)))
    }

    /// Another cache of the same content.
    fn copy(&self, py: Python<'_>) -> PyResult<PyCache> {
        let copy = self.lock(py, |cache| cache.copy()).map_err(errors::models)?;
        Ok(PyCache(Mutex::new(copy)))
    }
}

/// A model with its weights. Any number of threads may run it at once.
#[pyclass(frozen, name = "Model", module = "trustformers._engine")]
pub struct PyModel(pub Model);

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
    /// `manual_seed`; with `recomputes` layers keep their inputs alone and are computed again for their gradients.
    #[pyo3(signature = (
        tensors, *, cache=None, output_hidden_states=false, output_attentions=false, output_router_logits=None,
        num_items_in_batch=None, logits_to_keep=Keep::Last(0), max_length=None, encoder_only=false, training=false,
        recomputes=false
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
    ) -> PyResult<Bound<'py, PyDict>> {
        let inputs = Inputs {
            logits_to_keep: match logits_to_keep {
                Keep::Last(count) => models::Keep::Last(count),
                Keep::At(positions) => models::Keep::At(positions),
            },
            output_hidden_states,
            output_attentions,
            output_router_logits,
            num_items_in_batch,
            max_length,
            dropout: if training { Some(draw(Generator::seed)?) } else { None },
            recomputes,
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

    /// The names of all parameters, and with `tied` also the further names of those that have several.
    #[pyo3(signature = (tied=false))]
    fn parameter_names(&self, tied: bool) -> Vec<String> {
        let tied = if tied { self.0.tied_parameters() } else { &[] };
        self.0.named_parameters().iter().chain(tied).map(|(name, _)| name.clone()).collect()
    }

    /// A parameter, by any of its names: over the memory of the checkpoint, or made now, in float32, if it is kept in blocks.
    fn parameter(&self, py: Python<'_>, name: &str) -> PyResult<PyTensor> {
        let (_, parameter) = self
            .0
            .state_dict()
            .find(|(own, _)| own == name)
            .ok_or_else(|| PyKeyError::new_err(format!("there is no parameter {name}")))?;
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
