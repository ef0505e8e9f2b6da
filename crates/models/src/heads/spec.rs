//! What architectures say about heads.

use trustformers_tensor::Activation;

use crate::loss::LabelReading;
use crate::pooling::Pool;
use crate::spec::{LinearSpec, NormSpec, Path, linear};
use crate::{Config, Result};

/// What an architecture says about one of its heads. Paths are from the root of the whole model.
#[derive(Clone, Debug)]
pub enum HeadSpec {
    /// None: the hidden states are what is wanted.
    Bare,
    /// A score for every token of the vocabulary.
    Language(LanguageSpec),
    /// A score for every label of a text, or one for each of several texts to choose from.
    Sequence(SequenceSpec),
    /// A score for every label of each position.
    Tokens(ClassifierSpec),
    /// Two scores for each position: that an answer starts there, that it ends there.
    Span(ClassifierSpec),
    /// One score for each position: that its token has been replaced (ELECTRA).
    Replaced(ClassifierSpec),
    /// Two scores for two texts: that the second follows the first, that it does not.
    NextSentence(LinearSpec),
    /// Both of BERT's tasks.
    PreTraining(LanguageSpec, LinearSpec),
    /// The first of BERT's tasks, and whether two texts are in order (ALBERT).
    SentenceOrder(LanguageSpec, ClassifierSpec),
}

impl HeadSpec {
    /// Whether there is none.
    pub fn is_bare(&self) -> bool {
        matches!(self, HeadSpec::Bare)
    }

    /// Whether it looks at the model's pooler.
    pub fn wants_pooler(&self) -> bool {
        match self {
            HeadSpec::NextSentence(_) | HeadSpec::PreTraining(..) | HeadSpec::SentenceOrder(..) => true,
            HeadSpec::Sequence(sequence) => sequence.pool == Pool::Pooler,
            _ => false,
        }
    }
}

/// A layer between a model and what gives the scores.
#[derive(Clone, Copy, Debug)]
pub struct TransformSpec {
    /// A matrix.
    pub dense: Option<LinearSpec>,
    /// What comes behind it.
    pub activation: Activation,
    /// And last.
    pub norm: Option<NormSpec>,
    /// How much is dropped of what goes in, in training.
    pub dropout: f32,
}

impl TransformSpec {
    /// A matrix with an activation.
    pub const fn dense(dense: LinearSpec, activation: Activation) -> TransformSpec {
        TransformSpec { dense: Some(dense), activation, norm: None, dropout: 0.0 }
    }
}

/// A language model's head.
#[derive(Clone, Debug)]
pub struct LanguageSpec {
    /// A layer between, to `width`.
    pub transform: Option<TransformSpec>,
    /// The width of what meets the vocabulary: the hidden size, unless the transform changes it.
    pub width: usize,
    /// The number of tokens.
    pub vocab_size: usize,
    /// Where the matrix (tokens, width) is; without a name it is the table of word embeddings and nothing else.
    pub decoder: Option<Path>,
    /// Whether it is the table of word embeddings under a name of its own.
    pub tied: bool,
    /// Where the bias is.
    pub bias: BiasAt,
    /// What the logits are multiplied with.
    pub scale: f32,
    /// Logits are kept within this by a tanh.
    pub softcap: Option<f32>,
    /// Whether a position predicts the next one, and not itself.
    pub shifts: bool,
    /// What the loss that spreads tokens over experts counts, beside the loss of the labels, and how many experts a token takes.
    pub balance: Option<(f32, usize)>,
}

/// Where a language head has its bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiasAt {
    /// Nowhere.
    None,
    /// A vector `bias` beside the matrix.
    Decoder,
    /// A vector of this name, of which checkpoints may hold a copy beside the matrix. Where the matrix is not the table of word
    /// embeddings, the one beside it is another vector, and the one that counts.
    Path(Path),
    /// A constant (1, tokens) of this name, which is not trained, and zero where a checkpoint lacks it.
    Buffer(Path),
}

impl LanguageSpec {
    /// A matrix at `decoder`, without bias.
    pub fn new(config: &Config, decoder: Path, width: usize) -> Result<LanguageSpec> {
        Ok(LanguageSpec {
            transform: None,
            width,
            vocab_size: config.count("vocab_size")?,
            decoder: Some(decoder),
            tied: config.flag("tie_word_embeddings")?,
            bias: BiasAt::None,
            scale: 1.0,
            softcap: None,
            shifts: false,
            balance: None,
        })
    }
}

/// From hidden states to the scores of labels.
#[derive(Clone, Copy, Debug)]
pub struct ClassifierSpec {
    /// A layer between, as wide as the model.
    pub transform: Option<TransformSpec>,
    /// How much is dropped behind that, in training.
    pub dropout: f32,
    /// From there to the labels.
    pub linear: LinearSpec,
}

impl ClassifierSpec {
    /// A matrix alone.
    pub const fn new(linear: LinearSpec) -> ClassifierSpec {
        ClassifierSpec { transform: None, dropout: 0.0, linear }
    }

    /// The same, of whose input so much is dropped in training.
    pub const fn dropping(self, dropout: f32) -> ClassifierSpec {
        ClassifierSpec { dropout, ..self }
    }
}

/// A head over whole texts.
#[derive(Clone, Debug)]
pub struct SequenceSpec {
    /// What of the text is looked at.
    pub pool: Pool,
    /// What gives the scores.
    pub classifier: ClassifierSpec,
    /// How labels are read where the configuration has no `problem_type`.
    pub labels: LabelReading,
}

impl SequenceSpec {
    /// A classifier over what stands for the text.
    pub const fn new(pool: Pool, classifier: ClassifierSpec) -> SequenceSpec {
        SequenceSpec { pool, classifier, labels: LabelReading::Usual }
    }
}

/// A matrix with bias at `path`.
pub const fn classifier(path: Path) -> ClassifierSpec {
    ClassifierSpec::new(linear(path, true))
}
