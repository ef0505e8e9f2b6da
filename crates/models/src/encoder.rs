//! The encoder family: embeddings, a stack of bidirectional layers, a pooler.

use std::sync::OnceLock;

use trustformers_tensor::{Activation, Attention, Tensor, Weight, ops};

use crate::checkpoint::{Init, Scope};
use crate::layers::{LayerNorm, Linear};
use crate::{Error, Inputs, Outputs, Packing, Result};

/// The sizes and choices of one encoder, named as transformers' configurations name them.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct EncoderSpec {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
    pub activation: Activation,
    pub layer_norm_eps: f32,
}

/// An encoder with its weights.
pub struct Encoder {
    spec: EncoderSpec,
    embeddings: Embeddings,
    layers: Vec<Layer>,
    pooler: Option<Linear>,
    /// Done by the first forward pass: a model that only gives its parameters never packs them.
    packed: OnceLock<()>,
}

/// Word, position and segment embeddings, added and normalised.
struct Embeddings {
    word: Tensor,
    position: Tensor,
    token_type: Tensor,
    norm: LayerNorm,
}

/// One layer: attention and feed-forward, each added to what came in and then normalised (post-norm).
struct Layer {
    query_key_value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

impl Encoder {
    /// Loads an encoder; without `pooler` the head over position 0 is left out.
    ///
    /// # Errors
    /// `Config` when sizes do not fit one another. Tensors that are missing or mis-shaped are gathered in the scope's report.
    pub fn load(scope: &Scope, spec: EncoderSpec, pooler: bool) -> Result<Encoder> {
        let EncoderSpec { hidden_size: hidden, num_attention_heads: heads, .. } = spec;
        if !hidden.is_multiple_of(heads) {
            return Err(Error::Config(format!(
                "The hidden size ({hidden}) is not a multiple of the number of attention heads ({heads}): \
                 change `hidden_size` or `num_attention_heads`"
            )));
        }
        let embeddings = Embeddings::load(&scope.at("embeddings"), &spec)?;
        let layer = |index| Layer::load(&scope.at(&format!("encoder.layer.{index}")), &spec);
        let layers = (0..spec.num_hidden_layers)
            .take_while(|_| !scope.is_hopeless())
            .map(layer)
            .collect::<Result<_>>()?;
        // Checkpoints of models that never had one lack the pooler: it is then drawn anew, as transformers does, and reported.
        let pooler = match pooler {
            true => Some(Linear::load(&scope.at("pooler.dense").drawn_if_missing(), hidden, hidden)?),
            false => None,
        };
        Ok(Encoder { spec, embeddings, layers, pooler, packed: OnceLock::new() })
    }

    /// Runs the encoder over a batch. See [`Inputs`] and [`Outputs`].
    ///
    /// # Errors
    /// `Input`, `Runtime` or `Index` when the arguments do not fit the model or one another.
    pub fn forward(&self, inputs: &Inputs) -> Result<Outputs> {
        if self.packed.get().is_none() {
            Weight::pack_all(self.layers.iter().flat_map(Layer::linears).map(Linear::weight))?;
            self.packed.get_or_init(|| ());
        }
        let (batch, length) = inputs.batch_and_length(self.spec.hidden_size)?;
        let mask = inputs.mask(batch, length)?;
        let packing = Packing::new(batch, length, mask.as_deref(), self.pooler.is_some())?;
        let mut hidden = self.embeddings.forward(inputs, &packing, length)?;
        let mut hidden_states = inputs.output_hidden_states.then(Vec::new);
        let mut attentions = inputs.output_attentions.then(Vec::new);
        for layer in &self.layers {
            inputs.interrupt.check()?;
            if let Some(states) = &mut hidden_states {
                states.push(packing.unpack(&hidden)?);
            }
            hidden = layer.forward(&hidden, &packing, &self.spec, &mut attentions)?;
        }
        let last_hidden_state = packing.unpack(&hidden)?;
        if let Some(states) = &mut hidden_states {
            states.push(last_hidden_state.clone());
        }
        let pooler_output = match &self.pooler {
            Some(pooler) => {
                let first = hidden.gather_rows(&packing.first_rows())?;
                Some(pooler.forward(&first, Activation::Tanh)?)
            }
            None => None,
        };
        Ok(Outputs { last_hidden_state, pooler_output, hidden_states, attentions })
    }
}

impl Embeddings {
    fn load(scope: &Scope, spec: &EncoderSpec) -> Result<Embeddings> {
        let table =
            |name: &str, rows| scope.at(name).tensor("weight", &[rows, spec.hidden_size], Init::Normal);
        Ok(Embeddings {
            word: table("word_embeddings", spec.vocab_size)?,
            position: table("position_embeddings", spec.max_position_embeddings)?,
            token_type: table("token_type_embeddings", spec.type_vocab_size)?,
            norm: LayerNorm::load(&scope.at("LayerNorm"), spec.hidden_size, spec.layer_norm_eps)?,
        })
    }

    /// The packed embeddings: (rows, hidden).
    fn forward(&self, inputs: &Inputs, packing: &Packing, length: usize) -> Result<Tensor> {
        let known = self.position.shape()[0];
        let positions = match inputs.ids(
            "position_ids",
            &inputs.position_ids,
            packing,
            "the position table",
            known,
        )? {
            Some(positions) => positions,
            None if length > known => {
                return Err(Error::Runtime(format!(
                    "The sequence has {length} tokens, more than the {known} positions that the model knows: \
                     truncate it, with `truncation=True, max_length={known}` in the tokenizer's call"
                )));
            }
            None => packing.positions(),
        };
        let types = &inputs.token_type_ids;
        let types =
            inputs.ids("token_type_ids", types, packing, "the segment table", self.token_type.shape()[0])?;
        let types = types.unwrap_or_else(|| vec![0; packing.rows()]);
        let (position, token_type) = ((&self.position, &positions[..]), (&self.token_type, &types[..]));
        let ids =
            inputs.ids("input_ids", &inputs.input_ids, packing, "the vocabulary", self.word.shape()[0])?;
        match (ids, &inputs.inputs_embeds) {
            (Some(ids), _) => {
                self.norm.forward(&ops::embedding(&[(&self.word, &ids), position, token_type])?, None)
            }
            (None, Some(embeds)) => {
                let places = ops::embedding(&[position, token_type])?;
                self.norm.forward(&packing.pack(embeds)?, Some(&places))
            }
            (None, None) => {
                Err(Error::Input("You must specify exactly one of input_ids or inputs_embeds".into()))
            }
        }
    }
}

impl Layer {
    fn load(scope: &Scope, spec: &EncoderSpec) -> Result<Layer> {
        let (hidden, wide, eps) = (spec.hidden_size, spec.intermediate_size, spec.layer_norm_eps);
        let attention = scope.at("attention.self");
        let (query, key, value) = (attention.at("query"), attention.at("key"), attention.at("value"));
        Ok(Layer {
            query_key_value: Linear::load_fused(&[&query, &key, &value], hidden, hidden)?,
            attention_output: Linear::load(&scope.at("attention.output.dense"), hidden, hidden)?,
            attention_norm: LayerNorm::load(&scope.at("attention.output.LayerNorm"), hidden, eps)?,
            intermediate: Linear::load(&scope.at("intermediate.dense"), wide, hidden)?,
            output: Linear::load(&scope.at("output.dense"), hidden, wide)?,
            output_norm: LayerNorm::load(&scope.at("output.LayerNorm"), hidden, eps)?,
        })
    }

    fn linears(&self) -> [&Linear; 4] {
        [&self.query_key_value, &self.attention_output, &self.intermediate, &self.output]
    }

    fn forward(
        &self,
        hidden: &Tensor,
        packing: &Packing,
        spec: &EncoderSpec,
        attentions: &mut Option<Vec<Tensor>>,
    ) -> Result<Tensor> {
        let heads = spec.num_attention_heads;
        let (rows, width) = (hidden.shape()[0], hidden.shape()[1]);
        let head_dim = width / heads;
        let fused =
            self.query_key_value.forward(hidden, Activation::Identity)?.view(&[rows, 3, heads, head_dim])?;
        let (query, key, value) = (fused.select(1, 0)?, fused.select(1, 1)?, fused.select(1, 2)?);
        let attended = Attention {
            probabilities: attentions.is_some(),
            ..Attention::new(&query, &key, &value, packing.ragged())
        }
        .run()?;
        if let (Some(attentions), Some(sequences)) = (attentions, &attended.probabilities) {
            attentions.push(packing.unpack_attentions(sequences, heads)?);
        }
        let attention = self.attention_output.forward(&attended.context, Activation::Identity)?;
        let hidden = self.attention_norm.forward(&attention, Some(hidden))?;
        let wide = self.intermediate.forward(&hidden, spec.activation)?;
        self.output_norm.forward(&self.output.forward(&wide, Activation::Identity)?, Some(&hidden))
    }
}
