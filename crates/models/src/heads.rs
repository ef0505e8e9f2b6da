//! What stands on a model: from hidden states to logits, and to a loss where there are labels.

use trustformers_tensor::{Activation, DType, Tensor};

use crate::checkpoint::{Init, Scope};
use crate::layers::{Linear, Norm};
use crate::loss::{self, ProblemType};
use crate::spec::{LinearSpec, NormSpec, Path, linear};
use crate::{Config, Error, Inputs, Outputs, Packing, Result};

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
    Tokens(LinearSpec),
    /// Two scores for each position: that an answer starts there, that it ends there.
    Span(LinearSpec),
    /// Two scores for two texts: that the second follows the first, that it does not.
    NextSentence(LinearSpec),
    /// Both of BERT's tasks.
    PreTraining(LanguageSpec, LinearSpec),
}

impl HeadSpec {
    /// Whether there is none.
    pub fn is_bare(&self) -> bool {
        matches!(self, HeadSpec::Bare)
    }

    /// Whether it looks at the model's pooler.
    pub fn wants_pooler(&self) -> bool {
        match self {
            HeadSpec::NextSentence(_) | HeadSpec::PreTraining(..) => true,
            HeadSpec::Sequence(sequence) => sequence.pool == Pool::Pooler,
            _ => false,
        }
    }
}

/// A language model's head.
#[derive(Clone, Debug)]
pub struct LanguageSpec {
    /// A layer between: linear to `width`, activation, norm.
    pub transform: Option<(LinearSpec, Activation, NormSpec)>,
    /// The width of what meets the vocabulary: the hidden size, unless the transform changes it.
    pub width: usize,
    /// The number of tokens.
    pub vocab_size: usize,
    /// Where the matrix (tokens, width) is.
    pub decoder: Path,
    /// Whether it is the table of word embeddings.
    pub tied: bool,
    /// Where the bias is.
    pub bias: BiasAt,
    /// What the logits are multiplied with.
    pub scale: f32,
    /// Logits are kept within this by a tanh.
    pub softcap: Option<f32>,
    /// Whether a position predicts the next one, and not itself.
    pub shifts: bool,
}

/// Where a language head has its bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BiasAt {
    /// Nowhere.
    None,
    /// A vector `bias` beside the matrix.
    Decoder,
    /// A vector of this name; checkpoints may hold a copy beside the matrix too.
    Path(Path),
    /// A constant (1, tokens) of this name, which is not trained.
    Buffer(Path),
}

impl LanguageSpec {
    /// A matrix at `decoder`, without bias.
    pub fn new(config: &Config, decoder: Path, width: usize) -> Result<LanguageSpec> {
        Ok(LanguageSpec {
            transform: None,
            width,
            vocab_size: config.count("vocab_size")?,
            decoder,
            tied: config.flag("tie_word_embeddings")?,
            bias: BiasAt::None,
            scale: 1.0,
            softcap: None,
            shifts: false,
        })
    }
}

/// A head over whole texts.
#[derive(Clone, Debug)]
pub struct SequenceSpec {
    /// What of the text is looked at.
    pub pool: Pool,
    /// A layer between, as wide as the model.
    pub dense: Option<(LinearSpec, Activation)>,
    /// From there to the labels.
    pub classifier: LinearSpec,
}

/// What stands for a whole text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The model's pooler.
    Pooler,
    /// The first position.
    First,
    /// The last position that is not this padding token.
    Last(Option<i64>),
    /// The last position of this end token, of which all texts must have equally many.
    End(i64),
    /// The mean of the visible positions.
    Mean,
}

/// A head with its weights.
pub enum Head {
    #[allow(missing_docs)]
    Bare,
    #[allow(missing_docs)]
    Language(Box<Language>),
    #[allow(missing_docs)]
    Sequence { pool: Pool, dense: Option<(Linear, Activation)>, classifier: Linear },
    #[allow(missing_docs)]
    Tokens(Linear),
    #[allow(missing_docs)]
    Span(Linear),
    #[allow(missing_docs)]
    NextSentence(Linear),
    #[allow(missing_docs)]
    PreTraining(Box<Language>, Linear),
}

/// A language model's head with its weights.
pub struct Language {
    spec: LanguageSpec,
    transform: Option<(Linear, Activation, Norm)>,
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
    /// The tokens (batch, length) that the head's positions stand for.
    pub ids: Option<&'a Tensor>,
    /// Several texts to choose from, for each choice.
    pub choices: Option<usize>,
}

impl Head {
    /// Loads a head over hidden states `hidden` wide; `words` is the table of word embeddings.
    pub fn load(scope: &Scope, spec: HeadSpec, labels: usize, hidden: usize, words: &Tensor) -> Result<Head> {
        let load = |spec, outputs| Linear::load(scope, spec, outputs, hidden);
        Ok(match spec {
            HeadSpec::Bare => Head::Bare,
            HeadSpec::Language(spec) => Head::Language(Box::new(Language::load(scope, spec, hidden, words)?)),
            HeadSpec::Sequence(SequenceSpec { pool, dense, classifier }) => Head::Sequence {
                pool,
                dense: dense
                    .map(|(spec, activation)| Ok::<_, Error>((load(spec, hidden)?, activation)))
                    .transpose()?,
                classifier: load(classifier, labels)?,
            },
            HeadSpec::Tokens(spec) => Head::Tokens(load(spec, labels)?),
            HeadSpec::Span(spec) => Head::Span(load(spec, 2)?),
            HeadSpec::NextSentence(spec) => Head::NextSentence(load(spec, 2)?),
            HeadSpec::PreTraining(language, next) => {
                Head::PreTraining(Box::new(Language::load(scope, language, hidden, words)?), load(next, 2)?)
            }
        })
    }

    /// Whether there is none.
    pub fn is_bare(&self) -> bool {
        matches!(self, Head::Bare)
    }

    /// Whether it looks at position 0 of every text, hidden or not.
    pub fn wants_first(&self) -> bool {
        matches!(self, Head::Sequence { pool: Pool::First, .. })
    }

    /// For every position (batch, length) the label that its logits are held against, -100 for none; `None` for other heads.
    pub fn position_labels(&self, labels: &Tensor, [batch, length]: [usize; 2]) -> Result<Option<Vec<i64>>> {
        let shifts = match self {
            Head::Language(language) => language.spec.shifts,
            Head::Tokens(_) | Head::PreTraining(..) => false,
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
        let Finished { hidden, packing, inputs, .. } = *finished;
        let position_loss = |logits: &Tensor| -> Result<Option<Tensor>> {
            labels.map(|labels| loss::cross_entropy(logits, &packing.pack_ids(labels))).transpose()
        };
        match self {
            Head::Bare => {}
            Head::Language(language) => {
                let (logits, loss) = match inputs.logits_to_keep {
                    0 => {
                        let logits = language.logits(hidden)?;
                        (packing.unpack(&logits)?, position_loss(&logits)?)
                    }
                    keep => {
                        let length = packing.shape()[1];
                        let all = packing.unpack(hidden)?;
                        (language.logits(&all.narrow(1, length - keep.min(length), length)?)?, None)
                    }
                };
                outputs.loss = loss;
                outputs.logits = Some(logits);
            }
            Head::Tokens(classifier) => {
                let logits = classifier.forward(hidden, Activation::Identity)?;
                outputs.loss = position_loss(&logits)?;
                outputs.logits = Some(packing.unpack(&logits)?);
            }
            Head::Span(classifier) => {
                let logits = packing.unpack(&classifier.forward(hidden, Activation::Identity)?)?;
                let (start, end) = (logits.select(2, 0)?.contiguous()?, logits.select(2, 1)?.contiguous()?);
                if let (Some(starts), Some(ends)) = (&inputs.start_positions, &inputs.end_positions) {
                    let both = loss::position(&start, starts)?.add(&loss::position(&end, ends)?)?;
                    outputs.loss = Some(both.div(2.0)?);
                }
                outputs.start_logits = Some(start);
                outputs.end_logits = Some(end);
            }
            Head::Sequence { pool, dense, classifier } => {
                let mut pooled = finished.pool(*pool)?;
                if let Some((dense, activation)) = dense {
                    pooled = dense.forward(&pooled, *activation)?;
                }
                let logits = classifier.forward(&pooled, Activation::Identity)?;
                match finished.choices {
                    Some(choices) => {
                        let logits = logits.view(&[logits.shape()[0] / choices, choices])?;
                        outputs.loss =
                            inputs.labels.as_ref().map(|labels| loss::labels(&logits, labels)).transpose()?;
                        outputs.logits = Some(logits);
                    }
                    None => {
                        let problem = ProblemType::read(finished.config)?;
                        let loss = inputs.labels.as_ref().map(|labels| problem.loss(&logits, labels));
                        outputs.loss = loss.transpose()?;
                        outputs.logits = Some(logits);
                    }
                }
            }
            Head::NextSentence(classifier) => {
                let logits = classifier.forward(finished.pooled()?, Activation::Identity)?;
                let labels = inputs.next_sentence_label.as_ref().or(inputs.labels.as_ref());
                outputs.loss = labels.map(|labels| loss::labels(&logits, labels)).transpose()?;
                outputs.logits = Some(logits);
            }
            Head::PreTraining(language, next) => {
                let logits = language.logits(hidden)?;
                let relation = next.forward(finished.pooled()?, Activation::Identity)?;
                if let (Some(first), Some(second)) = (position_loss(&logits)?, &inputs.next_sentence_label) {
                    outputs.loss = Some(first.add(&loss::labels(&relation, second)?)?);
                }
                outputs.prediction_logits = Some(packing.unpack(&logits)?);
                outputs.seq_relationship_logits = Some(relation);
            }
        }
        Ok(())
    }
}

impl Language {
    fn load(scope: &Scope, spec: LanguageSpec, hidden: usize, words: &Tensor) -> Result<Language> {
        let transform = match spec.transform {
            Some((dense, activation, norm)) => Some((
                Linear::load(scope, dense, spec.width, hidden)?,
                activation,
                Norm::load(scope, norm, spec.width)?,
            )),
            None => None,
        };
        let decoder = scope.at(spec.decoder);
        let weight = match spec.tied {
            true => decoder.tied("weight", words)?,
            false => decoder.tensor("weight", &[spec.vocab_size, spec.width], Init::Normal)?,
        };
        let bias = match spec.bias {
            BiasAt::None => None,
            BiasAt::Decoder => Some(decoder.tensor("bias", &[spec.vocab_size], Init::Zeros)?),
            BiasAt::Path(path) => {
                let bias = scope.tensor(path, &[spec.vocab_size], Init::Zeros)?;
                Some(decoder.tied("bias", &bias)?)
            }
            BiasAt::Buffer(path) => {
                Some(scope.tensor(path, &[1, spec.vocab_size], Init::Zeros)?.select(0, 0)?)
            }
        };
        let single = |bias: Tensor| scope.derived(&[spec.vocab_size], || Ok(bias.to_dtype(DType::F32)?));
        let bias = bias.map(single).transpose()?;
        Ok(Language { transform, decoder: Linear::tied(weight, bias)?, spec })
    }

    /// (.., hidden) to (.., tokens).
    fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let transformed = match &self.transform {
            Some((dense, activation, norm)) => {
                Some(norm.forward(&dense.forward(hidden, *activation)?, None)?)
            }
            None => None,
        };
        let mut x = transformed.unwrap_or_else(|| hidden.clone());
        if self.spec.scale != 1.0 {
            x = x.mul(f64::from(self.spec.scale))?;
        }
        let logits = self.decoder.forward(&x, Activation::Identity)?;
        match self.spec.softcap {
            Some(cap) => Ok(logits.div(f64::from(cap))?.tanh()?.mul(f64::from(cap))?),
            None => Ok(logits),
        }
    }
}

impl Finished<'_> {
    fn pooled(&self) -> Result<&Tensor> {
        self.pooled.ok_or_else(|| Error::Input("this model was loaded without its pooler".into()))
    }

    /// What stands for each text: (batch, width).
    fn pool(&self, pool: Pool) -> Result<Tensor> {
        let packing = self.packing;
        let [batch, length] = packing.shape();
        let places = match pool {
            Pool::Pooler => return Ok(self.pooled()?.clone()),
            Pool::First => return Ok(self.hidden.gather_rows(&packing.first_rows())?),
            Pool::Mean => return packing.mean(self.hidden),
            Pool::Last(None) if batch > 1 => {
                return Err(Error::Input(
                    "Cannot handle batch sizes > 1 if no padding token is defined.".into(),
                ));
            }
            Pool::Last(padding) => self.last(batch, length, |id| Some(id) != padding)?,
            Pool::End(end) => {
                let ids = self.ids_or_refuse()?;
                let mut counts =
                    ids.chunks_exact(length).map(|row| row.iter().filter(|&&id| id == end).count());
                let first = counts.next().unwrap_or(0);
                if first == 0 || counts.any(|count| count != first) {
                    return Err(Error::Input(
                        "All examples must have the same number of <eos> tokens.".into(),
                    ));
                }
                self.last(batch, length, |id| id == end)?
            }
        };
        let all = packing.unpack(self.hidden)?.view(&[batch * length, self.hidden.shape()[1]])?;
        Ok(all.gather_rows(&places)?)
    }

    /// The last place in each text whose token is `wanted`; where none is, the very last.
    fn last(&self, batch: usize, length: usize, wanted: impl Fn(i64) -> bool) -> Result<Vec<usize>> {
        let Some(_) = self.ids else {
            return Ok((0..batch).map(|index| index * length + length - 1).collect());
        };
        let ids = self.ids_or_refuse()?;
        let last = |row: &[i64]| row.iter().rposition(|&id| wanted(id)).unwrap_or(length - 1);
        Ok(ids.chunks_exact(length).enumerate().map(|(index, row)| index * length + last(row)).collect())
    }

    fn ids_or_refuse(&self) -> Result<Vec<i64>> {
        let refuse = || Error::Input("this head needs input_ids, not inputs_embeds".into());
        let ids = self.ids.ok_or_else(refuse)?.to_dtype(DType::I64)?.contiguous()?;
        Ok(ids.as_slice::<i64>()?.to_vec())
    }
}

/// A linear head with bias at `path`.
pub const fn classifier(path: Path) -> LinearSpec {
    linear(path, true)
}
