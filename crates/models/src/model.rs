//! A model ready to run, and what goes in and comes out.

use std::path::Path;

use trustformers_hub::{Interrupt, Repo};
use trustformers_tensor::{DType, Tensor};

use crate::checkpoint::{Checkpoint, Loader, Report};
use crate::packing::room;
use crate::{Config, Encoder, Error, Packing, Result};

/// A model with its weights: the engine behind `AutoModel`.
pub struct Model {
    config: Config,
    encoder: Encoder,
    parameters: Vec<(String, Tensor)>,
    report: Report,
}

/// What to load, beside where from.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Whether the head over position 0 is wanted.
    pub pooler: bool,
    /// `fp16` reads `model.fp16.safetensors`.
    pub variant: Option<String>,
    /// Whether weights must be safetensors (`true`), must be `.bin` (`false`), or are taken as safetensors where there are any.
    pub use_safetensors: Option<bool>,
    /// Draws tensors whose shape does not fit anew, instead of refusing the checkpoint.
    pub ignore_mismatched_sizes: bool,
    /// Converts the weights to this dtype, instead of leaving them as they are stored. Computation is in float32 either way.
    pub dtype: Option<DType>,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            pooler: true,
            variant: None,
            use_safetensors: None,
            ignore_mismatched_sizes: false,
            dtype: None,
        }
    }
}

impl Model {
    /// Opens the weights of `repo` for `config`. They are mapped, not read.
    ///
    /// # Errors
    /// `NoWeights`, `Weights`, `Mismatch` (all that is missing or does not fit, together), `Config`, or what the hub says.
    pub fn from_repo(repo: &Repo, config: Config, options: &LoadOptions) -> Result<Model> {
        let checkpoint = Checkpoint::from_repo(repo, options.variant.as_deref(), options.use_safetensors)?;
        let architecture = config.architecture()?;
        let loader = Loader::from_checkpoint(checkpoint, architecture, options);
        Model::load(config, loader, options)
    }

    /// Opens the model in a folder, with the configuration that lies there.
    pub fn from_folder(folder: &Path) -> Result<Model> {
        let repo = Repo::open(folder, Default::default())?;
        Model::from_repo(&repo, Config::from_repo(&repo)?, &LoadOptions::default())
    }

    /// A model with freshly drawn weights, as transformers initialises them.
    pub fn from_config(config: Config, options: &LoadOptions, seed: u64) -> Result<Model> {
        let loader = Loader::random(config.number("initializer_range")?, seed);
        Model::load(config, loader, options)
    }

    fn load(config: Config, loader: Loader, options: &LoadOptions) -> Result<Model> {
        config.only("quantization_config", &[])?;
        let spec = (config.architecture()?.spec)(&config)?;
        let encoder = Encoder::load(&loader.root(), spec, options.pooler)?;
        let (parameters, report) = loader.finish()?;
        Ok(Model { config, encoder, parameters, report })
    }

    /// The configuration, defaults included.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Every parameter under transformers' name, as it lies in the checkpoint.
    pub fn named_parameters(&self) -> &[(String, Tensor)] {
        &self.parameters
    }

    /// What in the checkpoint was not needed, missing or mis-shaped, and yet accepted.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The dtype of the weights. Computation is in float32.
    pub fn dtype(&self) -> DType {
        self.parameters
            .iter()
            .map(|(_, tensor)| tensor.dtype())
            .find(|dtype| dtype.is_float())
            .unwrap_or(DType::F32)
    }

    /// Runs the model over a batch.
    ///
    /// # Errors
    /// `Input`, `Runtime` or `Index` when the arguments do not fit the model or one another.
    pub fn forward(&self, inputs: &Inputs) -> Result<Outputs> {
        self.encoder.forward(&inputs.batched()?)
    }
}

/// The arguments of a forward pass, named as in transformers. Either `input_ids` or `inputs_embeds` is needed. Where a (batch, length)
/// table is asked for, a single row may be given as (length).
#[derive(Clone, Default)]
pub struct Inputs {
    /// Token numbers: (batch, length) integers.
    pub input_ids: Option<Tensor>,
    /// Embeddings instead of tokens: (batch, length, hidden) floats.
    pub inputs_embeds: Option<Tensor>,
    /// What is not padding: (batch, length), or (1, length) for all sequences; zero hides.
    pub attention_mask: Option<Tensor>,
    /// Segment numbers: (batch, length) integers; all 0 if absent.
    pub token_type_ids: Option<Tensor>,
    /// Positions: (batch, length) integers; 0, 1, 2, … if absent.
    pub position_ids: Option<Tensor>,
    /// Whether to return the hidden states of every layer.
    pub output_hidden_states: bool,
    /// Whether to return the attention probabilities of every layer.
    pub output_attentions: bool,
    /// Cuts the inputs to so many positions, if they have more.
    pub max_length: Option<usize>,
    /// Asked before every layer whether to give up.
    pub interrupt: Interrupt,
}

/// What a forward pass gives, float32. Positions that the mask hides are zero.
pub struct Outputs {
    /// (batch, length, hidden)
    pub last_hidden_state: Tensor,
    /// (batch, hidden), if the model has a pooler.
    pub pooler_output: Option<Tensor>,
    /// The embeddings and every layer's output, (batch, length, hidden) each.
    pub hidden_states: Option<Vec<Tensor>>,
    /// Every layer's probabilities, (batch, heads, length, length) each.
    pub attentions: Option<Vec<Tensor>>,
}

impl Inputs {
    /// The same inputs with a batch dimension and within `max_length`.
    fn batched(&self) -> Result<Inputs> {
        let cut = |tensor: Tensor| match self.max_length {
            Some(max) if tensor.ndim() > 1 && tensor.shape()[1] > max => tensor.narrow(1, 0, max),
            _ => Ok(tensor),
        };
        let table = |table: &Option<Tensor>| {
            let row = |table: &Tensor| match table.shape() {
                &[length] => table.contiguous()?.view(&[1, length]),
                _ => Ok(table.clone()),
            };
            table.as_ref().map(|table| cut(row(table)?)).transpose()
        };
        Ok(Inputs {
            input_ids: table(&self.input_ids)?,
            inputs_embeds: self.inputs_embeds.clone().map(cut).transpose()?,
            attention_mask: table(&self.attention_mask)?,
            token_type_ids: table(&self.token_type_ids)?,
            position_ids: table(&self.position_ids)?,
            interrupt: self.interrupt.clone(),
            ..*self
        })
    }

    /// The size of the batch, checked to be one that can be run.
    pub(crate) fn batch_and_length(&self, hidden_size: usize) -> Result<(usize, usize)> {
        let (name, tensor, rank) = match (&self.input_ids, &self.inputs_embeds) {
            (Some(ids), None) => ("input_ids", ids, 2),
            (None, Some(embeds)) => ("inputs_embeds", embeds, 3),
            _ => {
                return Err(Error::Input(
                    "You must specify exactly one of input_ids or inputs_embeds".into(),
                ));
            }
        };
        let shape = tensor.shape();
        if shape.len() != rank {
            let wanted = if rank == 2 { "(batch, length)" } else { "(batch, length, hidden)" };
            return Err(Error::Input(format!(
                "{name} must have {rank} dimensions {wanted}, got the shape {shape:?}"
            )));
        }
        if rank == 3 && shape[2] != hidden_size {
            let message =
                format!("inputs_embeds must be {hidden_size} wide like the model, got the shape {shape:?}");
            return Err(Error::Runtime(message));
        }
        if rank == 3 && !tensor.dtype().is_float() {
            return Err(Error::Runtime(format!("inputs_embeds must be floats, got {}", tensor.dtype())));
        }
        if shape[0] == 0 || shape[1] == 0 {
            return Err(Error::Runtime(format!(
                "{name} is empty, it has the shape {shape:?}: give at least one sequence of at least one token"
            )));
        }
        Ok((shape[0], shape[1]))
    }

    /// The attention mask as flags, if there is one.
    pub(crate) fn mask(&self, batch: usize, length: usize) -> Result<Option<Vec<bool>>> {
        let Some(mask) = &self.attention_mask else { return Ok(None) };
        let shape = mask.shape();
        if shape != [batch, length] && shape != [1, length] {
            return Err(Error::Input(match shape.len() {
                3 | 4 => format!(
                    "an attention_mask that is a matrix per sequence, {shape:?}, is not supported yet"
                ),
                _ => format!(
                    "attention_mask must have the shape [{batch}, {length}] of the inputs, got {shape:?}"
                ),
            }));
        }
        let shown = mask.to_dtype(DType::F64)?.contiguous()?;
        let shown = shown.as_slice::<f64>()?;
        let mut flags = room(&[batch, length])?;
        flags.extend(shown.iter().cycle().take(batch * length).map(|&shown| shown != 0.0));
        Ok(Some(flags))
    }

    /// A table of numbers below `size` at the packed rows. The table is (batch, length), or (1, length) for all sequences.
    pub(crate) fn ids(
        &self,
        name: &'static str,
        ids: &Option<Tensor>,
        packing: &Packing,
        table: &'static str,
        size: usize,
    ) -> Result<Option<Vec<i64>>> {
        let Some(ids) = ids else { return Ok(None) };
        if !ids.dtype().is_int() {
            return Err(Error::Runtime(format!("{name} must be integers, got {}", ids.dtype())));
        }
        let fits = packing.shape();
        if ids.shape() != fits && ids.shape() != [1, fits[1]] {
            return Err(Error::Runtime(format!(
                "{name} must have the shape {fits:?} of the inputs, got {:?}",
                ids.shape()
            )));
        }
        let ids = ids.to_dtype(DType::I64)?.contiguous()?;
        let ids = packing.pack_ids(ids.as_slice()?);
        match ids.iter().find(|&&id| usize::try_from(id).map_or(true, |id| id >= size)) {
            Some(&index) => Err(Error::Index { what: name, index, table, size }),
            None => Ok(Some(ids)),
        }
    }
}
