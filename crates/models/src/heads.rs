//! What stands on a model: from hidden states to logits, and to a loss where there are labels.

mod spec;

use trustformers_tensor::{Activation, DType, Tensor};

use crate::checkpoint::{Init, Scope};
use crate::derived::Derived;
use crate::dropout::Dropout;
use crate::layers::{Linear, Norm};
pub use crate::loss::LabelReading;
use crate::loss::{self, ProblemType};
use crate::paths::around;
pub use crate::pooling::Pool;
use crate::{Config, Error, Inputs, Outputs, Packing, Parameter, Result};
pub use spec::*;

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
            (Some(dense), activation) => {
                dense.forward(&x, activation.unwrap_or(Activation::Identity), dropout)?
            }
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
        self.linear.leave(&x, Activation::Identity, dropout)
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
    /// See [`Head::kept`].
    pub kept: Option<&'a [usize]>,
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

    /// Whether it needs a place of texts of `length` positions, `sequence * length + position`, even where the mask hides it: one that stands
    /// for the text, one of the [`Head::kept`] positions, as what is written behind padding follows from the last one in transformers, one
    /// with a label, or any where a span is to be learnt, which is chosen among all.
    pub fn asks<'a>(
        &'a self,
        inputs: &Inputs,
        length: usize,
        kept: Option<&'a [usize]>,
        labels: Option<&'a [i64]>,
    ) -> impl Fn(usize) -> bool + use<'a> {
        let all = matches!(self, Head::Span(_)) && inputs.span().is_some();
        move |place| {
            let position = place % length;
            all || matches!(self, Head::Sequence { pool, .. } if pool.asks(position, length))
                || kept.is_some_and(|kept| kept.contains(&position))
                || labels.is_some_and(|labels| labels[place] != loss::IGNORED)
        }
    }

    /// The positions of texts of `length` positions whose logits alone a language model is asked for; `None` for all.
    ///
    /// # Errors
    /// `Index` for positions that there are not.
    pub fn kept(&self, inputs: &Inputs, length: usize) -> Result<Option<Vec<usize>>> {
        if self.is_language() { inputs.logits_to_keep.positions(length) } else { Ok(None) }
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

    /// How it reads the labels of whole texts, if those are what it classifies.
    pub fn label_reading(&self) -> Option<LabelReading> {
        match self {
            Head::Sequence { labels, .. } => Some(*labels),
            _ => None,
        }
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
        let labels = labels.to_host()?.to_dtype(DType::I64)?.contiguous()?;
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
        let related = |linear: &Linear| -> Result<Tensor> {
            linear.leave(finished.pooled()?, Activation::Identity, dropout)
        };
        match self {
            Head::Bare => {}
            Head::Language(language) => {
                let [batch, length] = packing.shape();
                let (logits, loss) = match finished.kept {
                    None => {
                        let logits = language.logits(hidden, dropout)?;
                        (packing.unpack(&logits)?, position_loss(&logits)?)
                    }
                    Some(_) if labels.is_some() => {
                        let message = "labels need the logits of all positions: leave out logits_to_keep";
                        return Err(Error::Input(message.into()));
                    }
                    Some(kept) => {
                        let places = |text| kept.iter().map(move |position| text * length + position);
                        let asked = packing.rows_of((0..batch).flat_map(places));
                        // A step has no others.
                        let is_all = asked.iter().copied().eq(0..hidden.shape()[0]);
                        let rows = if is_all { hidden.clone() } else { hidden.gather_rows(&asked)? };
                        let logits = language.logits(&rows, dropout)?;
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
                let of = |logits: &Tensor, end: usize| logits.select(2, end)?.contiguous();
                if let Some([starts, ends]) = inputs.span() {
                    let all = packing.unpack_all(&logits)?;
                    let start = loss::position(&of(&all, 0)?, starts)?;
                    outputs.loss = Some(start.add(&loss::position(&of(&all, 1)?, ends)?)?.div(2.0)?);
                }
                let logits = packing.unpack(&logits)?;
                outputs.start_logits = Some(of(&logits, 0)?);
                outputs.end_logits = Some(of(&logits, 1)?);
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
                let logits = related(classifier)?;
                let labels = inputs.next_sentence_label.as_ref().or(inputs.labels.as_ref());
                outputs.loss = labels.map(|labels| loss::labels(&logits, labels)).transpose()?;
                outputs.logits = Some(logits);
            }
            Head::PreTraining(language, next) => {
                let logits = language.logits(hidden, dropout)?;
                let relation = related(next)?;
                if let (Some(first), Some(second)) = (position_loss(&logits)?, &inputs.next_sentence_label) {
                    outputs.loss = Some(first.add(&loss::labels(&relation, second)?)?);
                }
                outputs.prediction_logits = Some(packing.unpack(&logits)?);
                outputs.seq_relationship_logits = Some(relation);
            }
            Head::SentenceOrder(language, order) => {
                let logits = language.logits(hidden, dropout)?;
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
        let at = match (decoder, spec.bias) {
            (Some(decoder), _) => decoder,
            (None, BiasAt::Path(path) | BiasAt::Buffer(path)) => scope.at(around(&[path])),
            (None, _) => scope.at(""),
        };
        Ok(Language { transform, decoder: Linear::of(at, weight, bias)?, spec })
    }

    /// (.., hidden) to (.., tokens).
    fn logits(&self, hidden: &Tensor, dropout: &Dropout) -> Result<Tensor> {
        let mut x = self.transform.forward(hidden, dropout)?;
        if self.spec.scale != 1.0 {
            x = x.mul(f64::from(self.spec.scale))?;
        }
        let logits = self.decoder.leave(&x, Activation::Identity, dropout)?;
        match self.spec.softcap {
            Some(cap) => Ok(logits.div(f64::from(cap))?.tanh()?.mul(f64::from(cap))?),
            None => Ok(logits),
        }
    }
}
