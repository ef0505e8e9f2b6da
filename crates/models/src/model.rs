//! A model ready to run: what it is made of, and loading it. What it computes is in `forward`.

mod forward;
mod labels;

use std::path::Path;
use std::sync::Arc;

use trustformers_hub::Repo;
use trustformers_tensor::{Activation, DType, Tensor};

use crate::architecture::{Class, Task};
use crate::checkpoint::{Checkpoint, Loaded, Loader, Quantization, Report, Scope, gguf_file};
use crate::heads::Head;
use crate::layers::Linear;
use crate::spec::{EncoderDecoderSpec, EncoderSpec, Spec};
use crate::stack::Stack;
use crate::{Config, Error, Parameter, Result};

/// A model with its weights: the engine behind the `AutoModel` classes.
pub struct Model {
    pub(crate) config: Config,
    pub(crate) class: &'static Class,
    pub(crate) network: Arc<Network>,
    pub(crate) head: Arc<Head>,
    /// Whether a bare model was asked to have its pooler.
    pub(crate) has_pooler: bool,
    pub(crate) loaded: Loaded,
}

/// The three families of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Every position sees all others.
    Encoder,
    /// A position sees those before it and itself.
    Decoder,
    /// A decoder that looks at an encoder.
    EncoderDecoder,
}

impl Family {
    /// `encoder`, `decoder` or `encoder-decoder`.
    pub fn name(self) -> &'static str {
        match self {
            Family::Encoder => "encoder",
            Family::Decoder => "decoder",
            Family::EncoderDecoder => "encoder-decoder",
        }
    }
}

/// What the families come down to.
pub(crate) enum Network {
    /// An encoder, or a decoder alone.
    Single(Box<Single>),
    EncoderDecoder(Box<EncoderDecoder>),
}

pub(crate) struct Single {
    stack: Stack,
    pooler: Option<(Linear, Activation)>,
    /// Whether a text may be gone on with.
    decodes: bool,
}

pub(crate) struct EncoderDecoder {
    encoder: Stack,
    decoder: Stack,
    spec: EncoderDecoderSpec,
}

/// What to load, beside where from.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// transformers' name of the model with its head, such as `BertForMaskedLM`; the bare model if there is none.
    pub class: Option<String>,
    /// Whether a bare model shall have its pooler.
    pub pooler: bool,
    /// `fp16` reads `model.fp16.safetensors`.
    pub variant: Option<String>,
    /// Reads this GGUF file of the repository.
    pub gguf_file: Option<String>,
    /// Draws tensors whose shape does not fit anew, instead of refusing the checkpoint.
    pub ignore_mismatched_sizes: bool,
    /// `true` reads safetensors only, `false` `.bin` files only.
    pub use_safetensors: Option<bool>,
    /// Converts the weights to this dtype, instead of what the configuration says. Where that says nothing either, they stay as they are
    /// stored, as numbers or blocks, or become float32 if they are stored in several dtypes. Computation is in float32 in any case.
    pub dtype: Option<DType>,
    /// Makes blocks of the matrices of the layers.
    pub quantization: Option<Quantization>,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            class: None,
            pooler: true,
            variant: None,
            gguf_file: None,
            ignore_mismatched_sizes: false,
            use_safetensors: None,
            dtype: None,
            quantization: None,
        }
    }
}

impl Model {
    /// Opens the weights of `repo` for `config`. They are mapped, not read.
    ///
    /// # Errors
    /// `NoWeights`, `Weights`, `Mismatch` (all that is missing or does not fit, together), `Config`, or what the hub says.
    pub fn from_repo(repo: &Repo, config: Config, options: &LoadOptions) -> Result<Model> {
        let Some(name) = &options.gguf_file else {
            let checkpoint =
                Checkpoint::from_repo(repo, options.variant.as_deref(), options.use_safetensors)?;
            let dtype = match options.dtype {
                Some(dtype) => Some(dtype),
                // Several in one file are brought to the one that holds them all.
                None => config.dtype()?.or_else(|| checkpoint.is_mixed().then_some(DType::F32)),
            };
            return Model::from_checkpoint(checkpoint, config, &LoadOptions { dtype, ..options.clone() });
        };
        Model::from_checkpoint(Checkpoint::from_gguf(&gguf_file(repo, name)?)?, config, options)
    }

    /// A model of the tensors of a checkpoint, which may be the caller's own. They are shared, not copied, unless the options say another
    /// dtype.
    ///
    /// # Errors
    /// `Mismatch` or `Config`, as [`Model::from_repo`].
    pub fn from_checkpoint(checkpoint: Checkpoint, config: Config, options: &LoadOptions) -> Result<Model> {
        let architecture = config.architecture()?;
        let checkpoint = match &options.class {
            Some(class) => checkpoint.without_prefix(architecture.class(class)?.base),
            None => checkpoint,
        };
        let loader = Loader::from_checkpoint(checkpoint, architecture, options);
        Model::load(config, loader, options)
    }

    /// Opens the bare model in a folder, with the configuration that lies there.
    pub fn from_folder(folder: &Path) -> Result<Model> {
        let repo = Repo::open(folder, Default::default())?;
        Model::from_repo(&repo, Config::from_repo(&repo)?, &LoadOptions::default())
    }

    /// A model with freshly drawn weights, as transformers initialises them.
    pub fn from_config(config: Config, options: &LoadOptions, seed: u64) -> Result<Model> {
        Model::load(config, Loader::random(seed), options)
    }

    pub(crate) fn load(config: Config, loader: Loader, options: &LoadOptions) -> Result<Model> {
        config.only("quantization_config", &[])?;
        let architecture = config.architecture()?;
        let class = match &options.class {
            Some(name) => architecture.class(name)?,
            None => &architecture.classes[0],
        };
        let spec = class.spec.unwrap_or(architecture.spec)(&config)?;
        let head = (class.head)(&config)?;
        let wants_pooler = options.pooler && head.is_bare() || head.wants_pooler();
        let loader = loader.deviating(config.initializer_range()?).ignoring(class.ignored);
        let base = loader.base(class.base);
        let layers = || loader.base(class.base).quantized();
        let network = match spec {
            Spec::Encoder(EncoderSpec { stack, pooler }) => {
                let hidden = stack.hidden_size;
                let stack = Stack::load(&layers(), stack, None)?;
                // Checkpoints of models that never had one lack the pooler: it is then drawn anew, as transformers does, and reported.
                let pooler = pooler.filter(|_| wants_pooler).map(|(spec, activation)| {
                    let scope = base.at("").drawn_if_missing();
                    Ok::<_, Error>((Linear::load(&scope, spec, hidden, hidden)?, activation))
                });
                let decodes = stack.is_causal();
                Network::Single(Box::new(Single { stack, pooler: pooler.transpose()?, decodes }))
            }
            Spec::Decoder(stack) => {
                let stack = Stack::load(&layers(), stack, None)?;
                Network::Single(Box::new(Single { stack, pooler: None, decodes: true }))
            }
            Spec::EncoderDecoder(spec) => {
                Network::EncoderDecoder(Box::new(EncoderDecoder::load(&layers(), *spec)?))
            }
        };
        let stack = network.last_stack();
        let scope = loader.root().drawn_if_missing();
        let labels = if class.task == Task::MultipleChoice { 1 } else { config.num_labels()? };
        let head = Head::load(&scope, head, labels, stack.output_width(), stack.word_embeddings())?;
        let loaded = loader.finish()?;
        let (network, head) = (Arc::new(network), Arc::new(head));
        Ok(Model { config, class, network, head, has_pooler: options.pooler, loaded })
    }

    /// The configuration, defaults included.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Which of the architecture's classes this is.
    pub fn class(&self) -> &'static Class {
        self.class
    }

    /// Which of the three families it is of.
    pub fn family(&self) -> Family {
        match &*self.network {
            Network::EncoderDecoder(_) => Family::EncoderDecoder,
            Network::Single(single) if single.decodes => Family::Decoder,
            Network::Single(_) => Family::Encoder,
        }
    }

    /// Whether a caller may say where tokens stand. The decoder of an encoder-decoder counts by itself, also where it is alone.
    pub fn takes_position_ids(&self) -> bool {
        let spec = self.config.architecture().and_then(|architecture| (architecture.spec)(&self.config));
        !matches!(spec, Ok(Spec::EncoderDecoder(_)))
    }

    /// The length beyond which a text must be read anew, because its positions are turned otherwise (Phi-3's long texts).
    pub fn turning_point(&self) -> Option<usize> {
        self.network.last_stack().turning_point()
    }

    /// Which of the parameters are tables of embeddings.
    pub fn embeddings(&self) -> &[String] {
        &self.loaded.embeddings
    }

    /// Which of the parameters are constants, which are saved and not trained.
    pub fn buffers(&self) -> &[String] {
        &self.loaded.buffers
    }

    /// Whether a bare model was asked to have its pooler, which not all have.
    pub fn was_asked_for_pooler(&self) -> bool {
        self.has_pooler
    }

    /// How often parameters were changed in place.
    pub fn version(&self) -> u64 {
        self.named_parameters().iter().map(|(_, parameter)| parameter.memory().storage().version()).sum()
    }

    /// Whether a gradient is asked for any parameter.
    pub fn requires_grad(&self) -> bool {
        self.named_parameters().iter().any(|(_, parameter)| parameter.memory().requires_grad())
    }

    /// Every parameter under transformers' name, as it is kept.
    pub fn named_parameters(&self) -> &[(String, Parameter)] {
        &self.loaded.parameters
    }

    /// Further names under which `state_dict` shows parameters: those that share another one's tensor.
    pub fn tied_parameters(&self) -> &[(String, Parameter)] {
        &self.loaded.tied
    }

    /// Whether any parameter is kept in blocks.
    pub fn is_quantized(&self) -> bool {
        self.named_parameters().iter().any(|(_, parameter)| parameter.dense().is_none())
    }

    /// What in the checkpoint was not needed, missing or mis-shaped, and yet accepted.
    pub fn report(&self) -> &Report {
        &self.loaded.report
    }

    /// The dtype of the weights. What is computed comes out as float32.
    pub fn dtype(&self) -> DType {
        self.named_parameters()
            .iter()
            .map(|(_, parameter)| parameter.dtype())
            .find(|dtype| dtype.is_float())
            .unwrap_or(DType::F32)
    }
}

impl Network {
    /// Whether there is a pooler.
    pub(crate) fn has_pooler(&self) -> bool {
        matches!(self, Network::Single(single) if single.pooler.is_some())
    }

    /// The matrices that are multiplied with together, for each product.
    pub(crate) fn products(&self) -> impl Iterator<Item = &[Tensor]> {
        let stacks = match self {
            Network::Single(single) => vec![&single.stack],
            Network::EncoderDecoder(both) => vec![&both.encoder, &both.decoder],
        };
        stacks.into_iter().flat_map(Stack::linears).map(Linear::parts)
    }

    /// The stack that the head stands on.
    pub(crate) fn last_stack(&self) -> &Stack {
        match self {
            Network::Single(single) => &single.stack,
            Network::EncoderDecoder(both) => &both.decoder,
        }
    }
}

impl EncoderDecoder {
    fn load(scope: &Scope, spec: EncoderDecoderSpec) -> Result<EncoderDecoder> {
        let words = match spec.shared {
            Some(path) => {
                let others = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"];
                scope.at(path).stored_as("weight", &others);
                let embeddings = &spec.encoder.embeddings;
                let shape = [embeddings.vocab_size, embeddings.width];
                Some(scope.at(path).table("weight", &shape)?)
            }
            None => None,
        };
        Ok(EncoderDecoder {
            encoder: Stack::load(scope, spec.encoder.clone(), words.as_ref())?,
            decoder: Stack::load(scope, spec.decoder.clone(), words.as_ref())?,
            spec,
        })
    }
}
