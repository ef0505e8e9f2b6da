//! What stands on a model: from hidden states to logits, and to a loss where there are labels.

use trustformers_tensor::{Activation, DType, Tensor};

use crate::checkpoint::{Init, Scope};
use crate::derived::Derived;
use crate::dropout::Dropout;
use crate::layers::{Linear, Norm};
pub use crate::loss::LabelReading;
use crate::loss::{self, ProblemType};
use crate::paths::around;
pub use crate::pooling::Pool;
use crate::spec::{LinearSpec, NormSpec, Path, linear};
use crate::{Config, Error, Inputs, Outputs, Packing, Parameter, Result};

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

/// A head with its weights.
pub enum Head {
    #[allow(missing_docs)]
    Bare,
    #[allow(missing_docs)]
    Language(Box<Language>),
    #[allow(missing_docs)]
    Sequence { pool: Pool, classifier: Classifier, labels: LabelReading },
    #[allow(missing_docs)]
    Tokens(Classifier),
    #[allow(missing_docs)]
    Span(Classifier),
    #[allow(missing_docs)]
    Replaced(Classifier),
    #[allow(missing_docs)]
    NextSentence(Linear),
    #[allow(missing_docs)]
    PreTraining(Box<Language>, Linear),
    #[allow(missing_docs)]
    SentenceOrder(Box<Language>, Classifier),
}

/// A layer between with its weights; nothing of it need be there.
#[derive(Default)]
pub struct Transform {
    dense: Option<Linear>,
    activation: Option<Activation>,
    norm: Option<Norm>,
    dropout: f32,
}

impl Transform {
    /// From `inputs` to `outputs` columns.
    fn load(scope: &Scope, spec: Option<TransformSpec>, outputs: usize, inputs: usize) -> Result<Transform> {
        let Some(TransformSpec { dense, activation, norm, dropout }) = spec else {
            return Ok(Transform::default());
        };
        Ok(Transform {
            dense: dense.map(|dense| Linear::load(scope, dense, outputs, inputs)).transpose()?,
            activation: Some(activation),
            norm: norm.map(|norm| Norm::load(scope, norm, outputs)).transpose()?,
            dropout,
        })
    }

    /// (rows, inputs) to (rows, outputs).
    fn forward(&self, x: &Tensor, dropout: &Dropout) -> Result<Tensor> {
        let x = dropout.apply(x.clone(), self.dropout)?;
        let mut x = match (&self.dense, self.activation) {
            (Some(dense), activation) => dense.forward(&x, activation.unwrap_or(Activation::Identity))?,
            (None, Some(activation)) => activation.apply(&x)?,
            (None, None) => x,
        };
        if let Some(norm) = &self.norm {
            x = norm.forward(&x, None)?;
        }
        Ok(x)
    }
}

/// A classifier with its weights.
pub struct Classifier {
    transform: Transform,
    dropout: f32,
    linear: Linear,
}

impl Classifier {
    /// From hidden states `hidden` wide to so many labels.
    fn load(scope: &Scope, spec: ClassifierSpec, labels: usize, hidden: usize) -> Result<Classifier> {
        Ok(Classifier {
            transform: Transform::load(scope, spec.transform, hidden, hidden)?,
            dropout: spec.dropout,
            linear: Linear::load(scope, spec.linear, labels, hidden)?,
        })
    }

    /// (rows, hidden) to (rows, labels).
    fn forward(&self, x: &Tensor, dropout: &Dropout) -> Result<Tensor> {
        let x = dropout.apply(self.transform.forward(x, dropout)?, self.dropout)?;
        Ok(self.linear.forward(&x, Activation::Identity)?.to_dtype(DType::F32)?)
    }
}

/// A language model's head with its weights.
pub struct Language {
    spec: LanguageSpec,
    transform: Transform,
    decoder: Linear,
}

/// What a model hands to its head.
pub struct Finished<'a> {
    /// The model's configuration.
    pub config: &'a Config,
    /// What the caller gave.
    pub inputs: &'a Inputs,
    /// (rows, width), packed.
    pub hidden: &'a Tensor,
    /// Where the rows come from.
    pub packing: &'a Packing,
    /// (batch, width), if the head wants it.
    pub pooled: Option<&'a Tensor>,
    /// The scores of experts in every layer, (rows, experts) each, if they are asked for.
    pub routed: Option<&'a [Tensor]>,
    /// The tokens (batch, length) that the head's positions stand for.
    pub ids: Option<&'a Tensor>,
    /// Several texts to choose from, for each choice.
    pub choices: Option<usize>,
    /// What is dropped.
    pub dropout: &'a Dropout,
}

impl Head {
    /// Loads a head over hidden states `hidden` wide; `words` is the table of word embeddings.
    pub fn load(
        scope: &Scope,
        spec: HeadSpec,
        labels: usize,
        hidden: usize,
        words: &Parameter,
    ) -> Result<Head> {
        let load = |spec, outputs| Linear::load(scope, spec, outputs, hidden);
        let classifier = |spec, labels| Classifier::load(scope, spec, labels, hidden);
        Ok(match spec {
            HeadSpec::Bare => Head::Bare,
            HeadSpec::Language(spec) => Head::Language(Box::new(Language::load(scope, spec, hidden, words)?)),
            HeadSpec::Sequence(spec) => Head::Sequence {
                pool: spec.pool,
                classifier: classifier(spec.classifier, labels)?,
                labels: spec.labels,
            },
            HeadSpec::Tokens(spec) => Head::Tokens(classifier(spec, labels)?),
            HeadSpec::Span(spec) => Head::Span(classifier(spec, 2)?),
            HeadSpec::Replaced(spec) => Head::Replaced(classifier(spec, 1)?),
            HeadSpec::NextSentence(spec) => Head::NextSentence(load(spec, 2)?),
            HeadSpec::PreTraining(language, next) => {
                Head::PreTraining(Box::new(Language::load(scope, language, hidden, words)?), load(next, 2)?)
            }
            HeadSpec::SentenceOrder(language, order) => {
                let language = Language::load(scope, language, hidden, words)?;
                Head::SentenceOrder(Box::new(language), classifier(order, labels)?)
            }
        })
    }

    /// Whether there is none.
    pub fn is_bare(&self) -> bool {
        matches!(self, Head::Bare)
    }

    /// The matrix (tokens, width) of a language model, and its bias if it has one.
    pub fn output_embeddings(&self) -> Option<(&Tensor, Option<&Tensor>)> {
        match self {
            Head::Language(language) | Head::PreTraining(language, _) | Head::SentenceOrder(language, _) => {
                Some(language.decoder.parameters())
            }
            _ => None,
        }
    }

    /// Whether it looks at a position of texts of `length` positions even where the mask hides it.
    pub fn asks(&self, position: usize, length: usize) -> bool {
        matches!(self, Head::Sequence { pool, .. } if pool.asks(position, length))
    }

    /// The packed rows, one of each text in order, if it reads nothing else of the hidden states.
    pub fn readers(&self, packing: &Packing) -> Option<Vec<usize>> {
        match self {
            Head::Sequence { pool: Pool::First | Pool::Pooler, .. } | Head::NextSentence(_) => {
                Some(packing.rows_at(0))
            }
            Head::Sequence { pool: Pool::FirstShown, .. } => {
                Some(packing.ragged().sequences().iter().map(|s| s.start).collect())
            }
            _ => None,
        }
    }

    /// Whether it is a language model's.
    pub fn is_language(&self) -> bool {
        matches!(self, Head::Language(_))
    }

    /// For every position (batch, length) the label that its logits are held against, -100 for none; `None` for other heads.
    pub fn position_labels(&self, labels: &Tensor, [batch, length]: [usize; 2]) -> Result<Option<Vec<i64>>> {
        let shifts = match self {
            Head::Language(language) => language.spec.shifts,
            Head::Tokens(..) | Head::Replaced(..) | Head::PreTraining(..) | Head::SentenceOrder(..) => false,
            _ => return Ok(None),
        };
        let fits = labels.numel() == batch * length && labels.shape().last() == Some(&length);
        if !fits || !labels.dtype().is_int() {
            return Err(Error::Input(format!(
                "labels must be integers of the shape [{batch}, {length}] of the inputs, got {} {:?}",
                labels.dtype(),
                labels.shape()
            )));
        }
        let labels = labels.to_dtype(DType::I64)?.contiguous()?;
        let labels = labels.as_slice::<i64>()?;
        if !shifts {
            return Ok(Some(labels.to_vec()));
        }
        let next = |row: &[i64]| row[1..].iter().copied().chain([loss::IGNORED]).collect::<Vec<_>>();
        Ok(Some(labels.chunks_exact(length).flat_map(next).collect()))
    }

    /// Adds logits, and the loss if there are labels, to `outputs`.
    pub fn forward(&self, finished: &Finished, labels: Option<&[i64]>, outputs: &mut Outputs) -> Result<()> {
        let Finished { hidden, packing, inputs, dropout, .. } = *finished;
        let items = match self {
            Head::Language(language) if language.spec.shifts => inputs.num_items_in_batch,
            _ => None,
        };
        let position_loss = |logits: &Tensor| -> Result<Option<Tensor>> {
            labels.map(|labels| loss::cross_entropy(logits, &packing.pack_ids(labels), items)).transpose()
        };
        match self {
            Head::Bare => {}
            Head::Language(language) => {
                let [batch, length] = packing.shape();
                let (logits, loss) = match inputs.logits_to_keep.positions(length)? {
                    None => {
                        let logits = language.logits(hidden)?;
                        (packing.unpack(&logits)?, position_loss(&logits)?)
                    }
                    Some(_) if labels.is_some() => {
                        let message = "labels need the logits of all positions: leave out logits_to_keep";
                        return Err(Error::Input(message.into()));
                    }
                    Some(kept) => {
                        let places = |text| kept.iter().map(move |position| text * length + position);
                        let places: Vec<usize> = (0..batch).flat_map(places).collect();
                        let rows = packing.unpack(hidden)?.flatten(0, 1)?.gather_rows(&places)?;
                        let logits = language.logits(&rows)?;
                        (logits.view(&[batch, kept.len(), logits.shape()[1]])?, None)
                    }
                };
                outputs.loss = loss;
                outputs.logits = Some(logits);
                if let (Some((weight, chosen)), Some(routed)) = (language.spec.balance, finished.routed) {
                    let spread = loss::balance(routed, packing, chosen)?;
                    let weighed = spread.mul(f64::from(weight))?;
                    outputs.loss = outputs.loss.take().map(|loss| loss.add(&weighed)).transpose()?;
                    outputs.aux_loss = Some(spread);
                }
            }
            Head::Tokens(classifier) => {
                let logits = classifier.forward(hidden, dropout)?;
                outputs.loss = position_loss(&logits)?;
                outputs.logits = Some(packing.unpack(&logits)?);
            }
            Head::Replaced(classifier) => {
                let logits = classifier.forward(hidden, dropout)?;
                outputs.loss = match labels {
                    // Only what the mask shows counts.
                    Some(labels) => {
                        let shown = logits.gather_rows(&packing.visible_rows())?;
                        let labels: Vec<f32> =
                            packing.visible_ids(labels).iter().map(|&label| label as f32).collect();
                        Some(loss::binary(&shown, &Tensor::from_slice(&labels, &[labels.len(), 1])?)?)
                    }
                    None => None,
                };
                outputs.logits = Some(packing.unpack(&logits)?.select(2, 0)?.contiguous()?);
            }
            Head::Span(classifier) => {
                let logits = classifier.forward(hidden, dropout)?;
                let logits = packing.unpack(&logits)?;
                let (start, end) = (logits.select(2, 0)?.contiguous()?, logits.select(2, 1)?.contiguous()?);
                if let (Some(starts), Some(ends)) = (&inputs.start_positions, &inputs.end_positions) {
                    let both = loss::position(&start, starts)?.add(&loss::position(&end, ends)?)?;
                    outputs.loss = Some(both.div(2.0)?);
                }
                outputs.start_logits = Some(start);
                outputs.end_logits = Some(end);
            }
            Head::Sequence { pool, classifier, labels: reading } => {
                let logits = classifier.forward(&finished.pool(*pool)?, dropout)?;
                match finished.choices {
                    Some(choices) => {
                        let logits = logits.view(&[logits.shape()[0] / choices, choices])?;
                        outputs.loss =
                            inputs.labels.as_ref().map(|labels| loss::labels(&logits, labels)).transpose()?;
                        outputs.logits = Some(logits);
                    }
                    None => {
                        let problem = ProblemType::read(finished.config)?;
                        let loss =
                            inputs.labels.as_ref().map(|labels| problem.loss(&logits, labels, *reading));
                        outputs.loss = loss.transpose()?;
                        // DeBERTa flattens the logits that it compares with numbers.
                        let is_flat = *reading == LabelReading::Distribution
                            && problem == ProblemType::Infer
                            && outputs.loss.is_some()
                            && logits.shape()[1] == 1;
                        outputs.logits = Some(if is_flat { logits.flatten(0, 1)? } else { logits });
                    }
                }
            }
            Head::NextSentence(classifier) => {
                let logits =
                    classifier.forward(finished.pooled()?, Activation::Identity)?.to_dtype(DType::F32)?;
                let labels = inputs.next_sentence_label.as_ref().or(inputs.labels.as_ref());
                outputs.loss = labels.map(|labels| loss::labels(&logits, labels)).transpose()?;
                outputs.logits = Some(logits);
            }
            Head::PreTraining(language, next) => {
                let logits = language.logits(hidden)?;
                let relation =
                    next.forward(finished.pooled()?, Activation::Identity)?.to_dtype(DType::F32)?;
                if let (Some(first), Some(second)) = (position_loss(&logits)?, &inputs.next_sentence_label) {
                    outputs.loss = Some(first.add(&loss::labels(&relation, second)?)?);
                }
                outputs.prediction_logits = Some(packing.unpack(&logits)?);
                outputs.seq_relationship_logits = Some(relation);
            }
            Head::SentenceOrder(language, order) => {
                let logits = language.logits(hidden)?;
                let order = order.forward(finished.pooled()?, dropout)?;
                if let (Some(first), Some(second)) = (position_loss(&logits)?, &inputs.sentence_order_label) {
                    outputs.loss = Some(first.add(&loss::labels(&order, second)?)?);
                }
                outputs.prediction_logits = Some(packing.unpack(&logits)?);
                outputs.sop_logits = Some(order);
            }
        }
        Ok(())
    }
}

impl Language {
    fn load(scope: &Scope, spec: LanguageSpec, hidden: usize, words: &Parameter) -> Result<Language> {
        let transform = Transform::load(scope, spec.transform, spec.width, hidden)?;
        let decoder = spec.decoder.map(|path| scope.at(path));
        let weight = match &decoder {
            Some(decoder) if spec.tied => decoder.tied("weight", words)?,
            Some(decoder) => decoder.matrix("weight", &[spec.vocab_size, spec.width], false)?,
            None => words.clone(),
        };
        let bias = match (spec.bias, &decoder) {
            (BiasAt::Decoder, Some(decoder)) => {
                Some(decoder.tensor("bias", &[spec.vocab_size], Init::Zeros)?)
            }
            (BiasAt::None | BiasAt::Decoder, _) => None,
            (BiasAt::Path(path), decoder) => {
                let bias = scope.tensor(path, &[spec.vocab_size], Init::Zeros)?;
                Some(match decoder {
                    Some(decoder) if spec.tied => decoder.tied("bias", &bias.into())?.tensor()?,
                    Some(decoder) => decoder.tensor("bias", &[spec.vocab_size], Init::Zeros)?,
                    None => bias,
                })
            }
            (BiasAt::Buffer(path), _) => scope.optional(path, &[1, spec.vocab_size], Init::Buffer)?,
        };
        let size = spec.vocab_size;
        let bias = bias.map(|bias| match bias.ndim() {
            1 => Derived::float(bias),
            _ => Derived::new(vec![bias], move |parts| Ok(parts[0].to_dtype(DType::F32)?.view(&[size])?)),
        });
        let module = match (decoder, spec.bias) {
            (Some(decoder), _) => decoder.module(),
            (None, BiasAt::Path(path) | BiasAt::Buffer(path)) => scope.at(around(&[path])).module(),
            (None, _) => scope.module(),
        };
        Ok(Language { transform, decoder: Linear::tied(module, weight, bias)?, spec })
    }

    /// (.., hidden) to (.., tokens).
    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let mut x = self.transform.forward(hidden, &Dropout::default())?;
        if self.spec.scale != 1.0 {
            x = x.mul(f64::from(self.spec.scale))?;
        }
        let logits = self.decoder.forward(&x, Activation::Identity)?.to_dtype(DType::F32)?;
        match self.spec.softcap {
            Some(cap) => Ok(logits.div(f64::from(cap))?.tanh()?.mul(f64::from(cap))?),
            None => Ok(logits),
        }
    }
}

/// A matrix with bias at `path`.
pub const fn classifier(path: Path) -> ClassifierSpec {
    ClassifierSpec::new(linear(path, true))
}
