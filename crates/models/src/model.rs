//! A model ready to run: what it is made of, loading it, and its forward pass.

use std::path::Path;
use std::sync::Arc;

use trustformers_hub::Repo;
use trustformers_tensor::{Activation, DType, Device, Tensor, profile};

use crate::architecture::{Class, Task};
use crate::cache::Cache;
use crate::checkpoint::{Checkpoint, Loaded, Loader, Quantization, Report, Scope, gguf_file};
use crate::dropout::Dropout;
use crate::heads::{Finished, Head};
use crate::inputs::{Inputs, Text};
use crate::layers::Linear;
use crate::loss::IGNORED;
use crate::outputs::Outputs;
use crate::spec::{EncoderDecoderSpec, EncoderSpec, Spec};
use crate::stack::{Pass, Stack};
use crate::{Config, Error, Packing, Parameter, Result};

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

    /// [`Model::version`] of a model on a GPU, whose passes may be recorded.
    fn version_on_gpu(&self) -> Option<u64> {
        let (_, first) = self.named_parameters().first()?;
        matches!(first.memory().device(), Device::Cuda(_)).then(|| self.version())
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

    /// Runs the model over a batch; a `cache` holds the text before it and takes it in.
    ///
    /// # Errors
    /// `Input`, `Runtime` or `Index` when the arguments do not fit the model or one another.
    pub fn forward(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Outputs> {
        let _measured = profile::span(self.class.name);
        match &*self.network {
            Network::Single(single) => self.read(inputs, single, cache),
            Network::EncoderDecoder(both) => self.translate(inputs, both, cache),
        }
    }

    /// Runs the encoder of an encoder-decoder alone: the packed hidden states with their packing come unpacked.
    pub fn encode_source(&self, inputs: &Inputs) -> Result<Outputs> {
        let _measured = profile::span("encoder");
        let Network::EncoderDecoder(both) = &*self.network else {
            return Err(Error::Input("this model has no encoder of its own".into()));
        };
        let text = inputs.text.batched(inputs.max_length)?;
        let packing = packed(&both.encoder, &text, None, |_| false)?;
        let dropout = Dropout::new(inputs.dropout);
        let passed = both
            .encoder
            .forward(Pass { version: self.version_on_gpu(), ..pass(inputs, &text, &packing, &dropout) })?;
        Ok(Outputs {
            last_hidden_state: Some(packing.outward(&passed.hidden)?),
            hidden_states: passed.hidden_states,
            attentions: passed.attentions,
            ..Outputs::default()
        })
    }

    fn read(&self, inputs: &Inputs, single: &Single, cache: Option<&mut Cache>) -> Result<Outputs> {
        let Single { stack, pooler, decodes } = single;
        let dropout = Dropout::new(inputs.dropout);
        if cache.is_some() && !decodes {
            return Err(Error::Input("an encoder has no past_key_values".into()));
        }
        let (text, choices) = match self.class.task {
            Task::MultipleChoice => {
                let (text, choices) = inputs.text.choices()?;
                (text.batched(inputs.max_length)?, Some(choices))
            }
            _ => (inputs.text.batched(inputs.max_length)?, None),
        };
        let (batch, length) = text.batch_and_length(stack.embedding_width())?;
        let labels = self.position_labels(inputs, [batch, length])?;
        let asked = |place: usize| {
            let position = place % length;
            pooler.is_some() && position == 0
                || self.head.asks(position, length)
                || is_labelled(&labels, place)
        };
        let packing = packed(stack, &text, cache.as_deref(), asked)?;
        let encoded = inputs.encoded(stack.output_width())?;
        if encoded.is_some() && !stack.crosses() {
            return Err(Error::Input(
                "this model has no cross-attention for encoder_hidden_states: its configuration must have is_decoder and \
                 add_cross_attention"
                    .into(),
            ));
        }
        let routes = "output_router_logits";
        let by_default = self.config.has(routes) && self.config.flag(routes)?;
        let passed = stack.forward(Pass {
            cache,
            version: self.version_on_gpu(),
            encoded: encoded.as_ref().map(|(hidden, packing)| (hidden, packing)),
            output_router_logits: inputs.output_router_logits.unwrap_or(by_default),
            readers: self.head.readers(&packing),
            ..pass(inputs, &text, &packing, &dropout)
        })?;
        let pooled = match pooler {
            Some((dense, activation)) => {
                let first = passed.hidden.gather_rows(&packing.rows_at(0))?;
                Some(dense.leave(&first, *activation, &dropout)?)
            }
            None => None,
        };
        let mut outputs = Outputs {
            hidden_states: passed.hidden_states,
            attentions: passed.attentions,
            cross_attentions: passed.cross_attentions,
            router_logits: match &passed.routed {
                Some(all) => Some(
                    all.iter()
                        .map(|one| packing.unpack(one)?.flatten(0, 1).map_err(Error::from))
                        .collect::<Result<_>>()?,
                ),
                None => None,
            },
            ..Outputs::default()
        };
        if self.head.is_bare() {
            outputs.last_hidden_state = Some(packing.outward(&passed.hidden)?);
            outputs.pooler_output = pooled.clone();
        }
        let finished = Finished {
            config: &self.config,
            inputs,
            hidden: &passed.hidden,
            packing: &packing,
            pooled: pooled.as_ref(),
            routed: passed.routed.as_deref(),
            ids: text.ids.as_ref(),
            choices,
            dropout: &dropout,
        };
        self.head.forward(&finished, labels.as_deref(), &mut outputs)?;
        Ok(outputs)
    }

    fn translate(
        &self,
        inputs: &Inputs,
        both: &EncoderDecoder,
        mut cache: Option<&mut Cache>,
    ) -> Result<Outputs> {
        let (mut outputs, dropout) = (Outputs::default(), Dropout::new(inputs.dropout));
        let text = inputs.text.batched(inputs.max_length)?;
        let is_known = cache.as_ref().is_some_and(|cache| cache.source.is_some());
        let encoded = match &inputs.encoder_hidden_states {
            Some(states) => {
                let given = Text { ids: None, embeds: Some(states.clone()), ..text.clone() };
                let packing = packed(&both.encoder, &given, None, |_| false)?;
                outputs.encoder_last_hidden_state = Some(states.clone());
                Some((packing.pack(&states.to_dtype(DType::F32)?)?, packing))
            }
            None if is_known => None,
            None => {
                let packing = packed(&both.encoder, &text, None, |_| false)?;
                let passed = both.encoder.forward(Pass {
                    version: self.version_on_gpu(),
                    ..pass(inputs, &text, &packing, &dropout)
                })?;
                outputs.encoder_last_hidden_state = Some(packing.outward(&passed.hidden)?);
                outputs.encoder_hidden_states = passed.hidden_states;
                outputs.encoder_attentions = passed.attentions;
                Some((passed.hidden, packing))
            }
        };
        let decoder_text = both.decoder_text(inputs, &text, &self.head)?;
        let (batch, length) = decoder_text.batch_and_length(both.decoder.embedding_width())?;
        let labels = self.position_labels(inputs, [batch, length])?;
        let asked = |place: usize| is_labelled(&labels, place);
        let packing = packed(&both.decoder, &decoder_text, cache.as_deref(), asked)?;
        let passed = both.decoder.forward(Pass {
            cache: cache.take(),
            encoded: encoded.as_ref().map(|(hidden, packing)| (hidden, &**packing)),
            ..pass(inputs, &decoder_text, &packing, &dropout)
        })?;
        outputs.decoder_hidden_states = passed.hidden_states;
        outputs.decoder_attentions = passed.attentions;
        outputs.cross_attentions = passed.cross_attentions;
        if self.head.is_bare() {
            outputs.last_hidden_state = Some(packing.outward(&passed.hidden)?);
        }
        let finished = Finished {
            config: &self.config,
            inputs,
            hidden: &passed.hidden,
            packing: &packing,
            pooled: None,
            routed: None,
            ids: text.ids.as_ref(),
            choices: None,
            dropout: &dropout,
        };
        self.head.forward(&finished, labels.as_deref(), &mut outputs)?;
        Ok(outputs)
    }

    fn position_labels(&self, inputs: &Inputs, shape: [usize; 2]) -> Result<Option<Vec<i64>>> {
        match &inputs.labels {
            Some(labels) => self.head.position_labels(labels, shape),
            None => Ok(None),
        }
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

/// What a pass over a stack is given in every family.
fn pass<'a>(inputs: &'a Inputs, text: &'a Text, packing: &'a Arc<Packing>, dropout: &'a Dropout) -> Pass<'a> {
    Pass {
        text,
        packing,
        cache: None,
        encoded: None,
        output_hidden_states: inputs.output_hidden_states,
        output_attentions: inputs.output_attentions,
        output_router_logits: false,
        readers: None,
        dropout,
        recomputes: inputs.recomputes,
        version: None,
    }
}

fn is_labelled(labels: &Option<Vec<i64>>, place: usize) -> bool {
    labels.as_ref().is_some_and(|labels| labels[place] != IGNORED)
}

/// What the text's mask shows of it, and the hidden places that are `asked` for.
fn packed(
    stack: &Stack,
    text: &Text,
    cache: Option<&Cache>,
    asked: impl Fn(usize) -> bool,
) -> Result<Arc<Packing>> {
    let (batch, length) = text.batch_and_length(stack.embedding_width())?;
    let past = cache.map_or(0, Cache::length);
    // A mask over the text so far and the new one, or over the new one alone.
    let covers_past = text.mask.as_ref().is_some_and(|mask| mask.shape().last() != Some(&length));
    let flags = if past > 0 && covers_past {
        text.flags(batch, past + length)?.map(|flags| -> Result<Vec<bool>> {
            let mut new = Vec::with_capacity(batch * length);
            for (index, row) in flags.chunks_exact(past + length).enumerate() {
                let before = cache.map_or(&[][..], |cache| cache.shown(index));
                if &row[..past] != before {
                    return Err(Error::Input(format!(
                        "{}attention_mask shows other positions of the past than it did when past_key_values were made",
                        text.prefix
                    )));
                }
                new.extend_from_slice(&row[past..]);
            }
            Ok(new)
        })
    } else {
        text.flags(batch, length)?.map(Ok)
    };
    Packing::new(batch, length, flags.transpose()?.as_deref(), asked).map(Arc::new)
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

    /// What the decoder reads: what the caller gave, or the labels one position later.
    fn decoder_text(&self, inputs: &Inputs, source: &Text, head: &Head) -> Result<Text> {
        let mut text = Text { prefix: "decoder_", ..inputs.decoder.batched(None)? };
        if text.ids.is_none() && text.embeds.is_none() {
            let labels = inputs.labels.as_ref().filter(|_| head.is_language());
            let labels = labels.or(source.ids.as_ref().filter(|_| self.spec.starts_from_source));
            let labels = labels.ok_or_else(|| text.nothing())?;
            text.ids = Some(self.spec.shifted(labels)?);
        }
        Ok(text)
    }
}

impl EncoderDecoderSpec {
    /// Decoder inputs that predict `labels` (batch, length): transformers' `shift_tokens_right`.
    fn shifted(&self, labels: &Tensor) -> Result<Tensor> {
        let &[batch, length] = labels.shape() else {
            return Err(Error::Input(format!("labels must be (batch, length), got {:?}", labels.shape())));
        };
        let missing =
            |what| Error::Config(format!("`{what}` has to be defined to make decoder inputs of labels"));
        let padding = self.pad_token_id.ok_or_else(|| missing("pad_token_id"))?;
        let labels = labels.to_host()?.to_dtype(DType::I64)?.contiguous()?;
        let mut shifted = Vec::with_capacity(batch * length);
        for row in labels.as_slice::<i64>()?.chunks_exact(length.max(1)) {
            let real = |label: i64| if label == IGNORED { padding } else { label };
            let first = if self.starts_with_last_label {
                // The last label is the language code. As transformers finds it: all padding is taken to be at the end.
                let count = row.iter().filter(|&&label| real(label) != padding).count();
                count.checked_sub(1).map_or(padding, |last| real(row[last]))
            } else {
                self.decoder_start_token_id.ok_or_else(|| missing("decoder_start_token_id"))?
            };
            shifted.push(first);
            shifted.extend(row[..length.saturating_sub(1)].iter().map(|&label| real(label)));
        }
        Ok(Tensor::from_slice(&shifted, &[batch, length])?)
    }
}
