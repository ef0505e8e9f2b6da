//! What an architecture can say about itself: typed choices, with the names of the parameters that each brings.
//!
//! A `Stack` runs any [`StackSpec`]; an encoder is one stack, a decoder another, an encoder-decoder two. Paths are
//! transformers' parameter names, below the layer for what stands in a layer and below the model for everything else.

use trustformers_tensor::{Activation, DType};

use crate::convolution::ConvolutionSpec;
use crate::disentangled::{DisentangledSpec, DistanceHeads};
use crate::relative::RelativeSpec;
use crate::rotary::RotarySpec;

/// Where a module's parameters lie, dots between the levels.
pub type Path = &'static str;

/// One model without its head.
#[derive(Clone, Debug)]
pub enum Spec {
    /// Every position sees every other one.
    Encoder(EncoderSpec),
    /// A position sees those before it.
    Decoder(StackSpec),
    /// A decoder that also looks at what an encoder made of another text.
    EncoderDecoder(Box<EncoderDecoderSpec>),
}

/// An encoder.
#[derive(Clone, Debug)]
pub struct EncoderSpec {
    /// Embeddings and layers.
    pub stack: StackSpec,
    /// The linear layer over position 0, with its activation, that a bare model ends with.
    pub pooler: Option<(LinearSpec, Activation)>,
}

/// An encoder and a decoder.
#[derive(Clone, Debug)]
pub struct EncoderDecoderSpec {
    /// The path of the word embeddings of both, where they share them.
    pub shared: Option<Path>,
    /// What reads the source.
    pub encoder: StackSpec,
    /// What writes the target; its layers have cross-attention.
    pub decoder: StackSpec,
    /// How `labels` become decoder inputs: the first is this token.
    pub decoder_start_token_id: Option<i64>,
    /// What stands for ignored labels in the decoder inputs.
    pub pad_token_id: Option<i64>,
    /// Whether the first decoder input is the last real label, as mBART's language codes want it.
    pub starts_with_last_label: bool,
    /// Whether a decoder without inputs is given the source, one position later (BART).
    pub starts_from_source: bool,
}

/// Embeddings, layers, and a norm at the end.
#[derive(Clone, Debug)]
pub struct StackSpec {
    /// The width of the hidden states.
    pub hidden_size: usize,
    /// What comes first.
    pub embeddings: EmbeddingsSpec,
    /// Where the layers are; the index comes behind it.
    pub layers_path: Path,
    /// The layers in order.
    pub layers: Vec<LayerSpec>,
    /// What comes last.
    pub final_norm: Option<NormSpec>,
    /// A projection to another width at the very end (OPT-350m).
    pub project_out: Option<LinearSpec>,
    /// Whether a position sees only those before it and itself.
    pub causal: bool,
    /// Whether positions that begin anew begin another text, where neither a mask nor a cache says otherwise.
    pub parts_texts: bool,
    /// The rotary embeddings that layers refer to by number.
    pub rotaries: Vec<RotarySpec>,
    /// What is added to every layer's attention scores.
    pub bias: Option<BiasSpec>,
    /// How much is dropped of what comes last, in training (T5).
    pub dropout: f32,
    /// The probability of a layer to be left out, in training (LayerDrop, Fan et al. 2020).
    pub layer_drop: f32,
    /// Whether hidden states are known to be too large for float16 (T5, Gemma).
    pub outgrows_f16: bool,
}

/// What is added to the attention scores, the same in every layer.
#[derive(Clone, Debug)]
pub enum BiasSpec {
    /// A slope per head times the position of the key (Press et al. 2022), times `scale`.
    Alibi {
        /// The number of heads.
        heads: usize,
        /// What the slopes are multiplied with.
        scale: f32,
        /// How far slopes, positions and their products are rounded before that.
        dtype: DType,
    },
    /// A trained number per head and bucket of distances (Raffel et al. 2020).
    Relative(RelativeSpec),
    /// Trained vectors per bucket of distances, which each layer compares with its queries and keys (He et al. 2021).
    Disentangled(DisentangledSpec),
}

/// From token numbers to hidden states.
#[derive(Clone, Debug)]
pub struct EmbeddingsSpec {
    /// The number of tokens.
    pub vocab_size: usize,
    /// The width of the word embeddings, which may differ from the hidden size.
    pub width: usize,
    /// The table of word embeddings.
    pub word: Path,
    /// The token whose word embedding gets no gradient, as `padding_idx` of torch's `nn.Embedding`; a negative one counts from the end.
    pub padding: Option<i64>,
    /// What word embeddings are multiplied with.
    pub scale: f32,
    /// Whether embeddings that the caller gives are multiplied too (the decoders of Marian and Pegasus).
    pub scales_given: bool,
    /// Absolute positions.
    pub positions: Option<PositionsSpec>,
    /// The table of segments and its rows. If that is the table of word embeddings, nothing is added where the caller gives no segments
    /// (GPT-2); else the first row is.
    pub segments: Option<(Path, usize)>,
    /// The norm over the sum.
    pub norm: Option<NormSpec>,
    /// From `width` to the hidden size.
    pub projection: Option<LinearSpec>,
    /// Whether the projection is applied to the word embeddings alone, before anything is added (OPT), and not at the end.
    pub projects_words: bool,
    /// The norm behind the projection.
    pub final_norm: Option<NormSpec>,
    /// How much is dropped behind the last norm, in training. A projection behind which there is none comes after that.
    pub dropout: f32,
    /// A convolution over the result, which joins what the first layer makes of it.
    pub convolution: Option<ConvolutionSpec>,
}

/// Absolute positions that are added to the word embeddings.
#[derive(Clone, Debug)]
pub struct PositionsSpec {
    /// Where the rows come from.
    pub table: PositionTable,
    /// The number of rows that may be asked for, `offset` included.
    pub rows: usize,
    /// The row of position 0.
    pub offset: usize,
    /// Which position a token has if the caller does not say.
    pub numbering: Numbering,
}

/// The rows of absolute positions.
#[derive(Clone, Debug)]
pub enum PositionTable {
    /// Trained.
    Learned(Path),
    /// Sines in the first half of the width and cosines in the second (Vaswani et al. 2017), where checkpoints may keep them.
    Sinusoids(Path),
    /// The same with wavelengths that grow to 10000 in one step less (tensor2tensor), zero for this padding token, for texts of any
    /// length.
    Endless {
        /// The row that is all zeros.
        zero: usize,
    },
}

/// How tokens are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbering {
    /// By where they stand, padding included.
    Index,
    /// By how many tokens the mask shows before them.
    Visible,
    /// By how many tokens before them are not this padding token (RoBERTa). The first has `padding + 1`; padding has `padding`.
    NotPadding(i64),
}

/// One layer: attention, cross-attention in decoders of encoder-decoders, feed-forward.
#[derive(Clone, Debug)]
pub struct LayerSpec {
    /// Where it is, if not at `layers_path` and its index: layers at one path are one layer, used repeatedly (ALBERT).
    pub path: Option<String>,
    /// Self-attention.
    pub attention: Sublayer<AttentionSpec>,
    /// Attention to the encoder's hidden states.
    pub cross_attention: Option<Sublayer<AttentionSpec>>,
    /// The feed-forward network.
    pub feed_forward: Sublayer<FeedForwardSpec>,
    /// Whether the feed-forward reads what the attention reads, and both are added at once (GPT-J). Without a norm of its own it reads
    /// the attention's.
    pub parallel: bool,
    /// How much is dropped of the sum of both, in training, where they are parallel (Falcon).
    pub dropout: f32,
}

/// A part of a layer and the norms around it: `added(x + after(dropout(part(before(x)))))`.
#[derive(Clone, Debug)]
pub struct Sublayer<T> {
    /// On the way in.
    pub before: Option<NormSpec>,
    /// What is computed.
    pub part: T,
    /// On the way out, before the sum.
    pub after: Option<NormSpec>,
    /// After the sum.
    pub added: Option<NormSpec>,
    /// Whether what is added to is the normalised input (BLOOM's option).
    pub adds_to_normed: bool,
    /// How much of what is computed is dropped, in training.
    pub dropout: f32,
}

impl<T> Sublayer<T> {
    fn plain(part: T) -> Sublayer<T> {
        Sublayer { before: None, part, after: None, added: None, adds_to_normed: false, dropout: 0.0 }
    }

    /// Normalised on the way in, as in GPT-2 and Llama. Without a norm: parallel to one that has it.
    pub fn pre_norm(norm: impl Into<Option<NormSpec>>, part: T) -> Sublayer<T> {
        Sublayer { before: norm.into(), ..Sublayer::plain(part) }
    }

    /// Normalised after the sum, as in BERT.
    pub fn post_norm(part: T, norm: NormSpec) -> Sublayer<T> {
        Sublayer { added: Some(norm), ..Sublayer::plain(part) }
    }

    /// Normalised before the sum only, as in OLMo 2.
    pub fn out_norm(part: T, norm: NormSpec) -> Sublayer<T> {
        Sublayer { after: Some(norm), ..Sublayer::plain(part) }
    }

    /// The same, of whose result so much is dropped in training.
    pub fn dropping(self, dropout: f32) -> Sublayer<T> {
        Sublayer { dropout, ..self }
    }

    /// Normalised on both ways, as in Gemma 2.
    pub fn sandwich(before: NormSpec, part: T, after: NormSpec) -> Sublayer<T> {
        Sublayer { before: Some(before), after: Some(after), ..Sublayer::plain(part) }
    }
}

/// A linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearSpec {
    /// Where `weight` and `bias` are.
    pub path: Path,
    /// Whether there is a bias.
    pub bias: bool,
    /// Whether the checkpoint holds the matrix as (in, out): transformers' `Conv1D`.
    pub transposed: bool,
}

/// A linear layer with or without bias.
pub const fn linear(path: Path, bias: bool) -> LinearSpec {
    LinearSpec { path, bias, transposed: false }
}

/// transformers' `Conv1D`: a linear layer whose matrix lies as (in, out), with bias.
pub const fn conv1d(path: Path) -> LinearSpec {
    LinearSpec { path, bias: true, transposed: true }
}

/// A norm over the last dimension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormSpec {
    /// Where `weight` and `bias` are.
    pub path: Path,
    /// Which one.
    pub kind: NormKind,
    /// What keeps the division finite.
    pub eps: f32,
}

/// The kinds of norm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// Mean 0, variance 1, then scale and shift (Ba et al. 2016).
    Layer,
    /// The same without a shift.
    LayerNoBias,
    /// The same with neither.
    LayerPlain,
    /// Root mean square 1, then scale (Zhang & Sennrich 2019).
    Rms,
    /// The same with `1 + weight` as the scale (Gemma).
    RmsPlusOne,
}

/// Layer normalisation with scale and shift.
pub const fn layer_norm(path: Path, eps: f32) -> NormSpec {
    NormSpec { path, kind: NormKind::Layer, eps }
}

/// RMS normalisation.
pub const fn rms_norm(path: Path, eps: f32) -> NormSpec {
    NormSpec { path, kind: NormKind::Rms, eps }
}

/// Multi-head attention.
#[derive(Clone, Debug)]
pub struct AttentionSpec {
    /// Where queries, keys and values come from.
    pub projection: Projection,
    /// From the heads back to the hidden size.
    pub output: LinearSpec,
    /// The number of heads.
    pub heads: usize,
    /// The number of heads of keys and values; several query heads share one.
    pub kv_heads: usize,
    /// The width of a head.
    pub head_dim: usize,
    /// What the scores are multiplied with.
    pub scale: f32,
    /// Which of the stack's rotary embeddings turns queries and keys.
    pub rotary: Option<usize>,
    /// Norms of queries and keys.
    pub qk_norm: Option<QkNorm>,
    /// How far a position sees: back, itself included, in a causal stack; to either side in another.
    pub window: Option<usize>,
    /// Scores are kept within this by a tanh (Gemma 2).
    pub softcap: Option<f32>,
    /// How queries and keys meet the stack's vectors of distances.
    pub distances: Option<DistanceHeads>,
    /// Whether order and window hold also where the caller gives a mask for every pair of positions (GPT-Neo).
    pub insists: bool,
    /// How many of the probabilities are dropped, in training.
    pub dropout: f32,
}

impl AttentionSpec {
    /// Plain attention of `heads` heads of `head_dim` each.
    pub fn new(projection: Projection, output: LinearSpec, heads: usize, head_dim: usize) -> AttentionSpec {
        AttentionSpec {
            projection,
            output,
            heads,
            kv_heads: heads,
            head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
            rotary: None,
            qk_norm: None,
            window: None,
            softcap: None,
            distances: None,
            insists: false,
            dropout: 0.0,
        }
    }
}

/// Where queries, keys and values come from.
#[derive(Clone, Copy, Debug)]
pub enum Projection {
    /// Three matrices.
    Separate([LinearSpec; 3]),
    /// One matrix for the queries, another for keys and then values: attention to other hidden states in GPT-2.
    Halves(LinearSpec, LinearSpec),
    /// One matrix.
    Fused(LinearSpec, FusedOrder),
}

impl Projection {
    /// Three matrices, all with or without bias.
    pub const fn separate(query: Path, key: Path, value: Path, bias: bool) -> Projection {
        Projection::Separate([linear(query, bias), linear(key, bias), linear(value, bias)])
    }
}

/// How the outputs of a fused projection follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FusedOrder {
    /// All queries, all keys, all values.
    Concatenated,
    /// For each group of heads that share a key: its queries, its key, its value. With a key per head: GPT-NeoX and BLOOM.
    Grouped,
}

/// Norms of queries and keys, before they are turned.
#[derive(Clone, Copy, Debug)]
pub struct QkNorm {
    /// The norm of the queries.
    pub query: NormSpec,
    /// The norm of the keys.
    pub key: NormSpec,
    /// What is normalised.
    pub over: NormOver,
}

/// What a norm of queries or keys is taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormOver {
    /// Each head, all with one scale (Qwen 3).
    Head,
    /// Each head, with a scale of its own, at `norms.{head}` below the path (StableLM).
    EachHead,
    /// All heads together (OLMo 2).
    All,
}

/// The feed-forward network.
#[derive(Clone, Debug)]
pub struct FeedForwardSpec {
    /// Its matrices.
    pub kind: FeedForwardKind,
    /// The width in the middle.
    pub width: usize,
    /// What is applied there.
    pub activation: Activation,
    /// How much is dropped there, in training.
    pub dropout: f32,
}

/// The kinds of feed-forward network.
#[derive(Clone, Debug)]
pub enum FeedForwardKind {
    /// `down(activation(up(x)))`
    Plain {
        /// Into the middle.
        up: LinearSpec,
        /// Out of it.
        down: LinearSpec,
    },
    /// `down(activation(gate(x)) * up(x))` (Shazeer 2020)
    Gated {
        /// What is activated.
        gate: LinearSpec,
        /// What it is multiplied with.
        up: LinearSpec,
        /// Out of the middle.
        down: LinearSpec,
    },
    /// The same with gate and up in one matrix, the gate's rows first.
    GatedFused {
        /// Both.
        gate_up: LinearSpec,
        /// Out of the middle.
        down: LinearSpec,
    },
    /// Several gated networks, of which each token takes the best few (Mixtral).
    Experts(ExpertsSpec),
}

/// Where a mixture of experts has its parameters.
#[derive(Clone, Copy, Debug)]
pub struct ExpertsSpec {
    /// The linear layer that gives each expert its score.
    pub router: Path,
    /// The experts are at this path and their index.
    pub experts: Path,
    /// The names of an expert's matrices: gate, up and down.
    pub matrices: [Path; 3],
    /// How many experts there are.
    pub count: usize,
    /// How many of them a token takes.
    pub chosen: usize,
}
