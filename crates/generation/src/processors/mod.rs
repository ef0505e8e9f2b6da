//! What changes the scores of the next token before one is chosen: transformers' `LogitsProcessor`s.

mod guidance;
mod length;
mod ngrams;
mod repetition;
mod shape;
mod tokens;
mod twister;
mod values;
mod warpers;
mod watermark;

#[cfg(test)]
mod tests;

pub use guidance::Guidance;
pub use shape::Shape;

use serde::Deserialize;
use trustformers_tensor::ops::Sampling;
use trustformers_tensor::{DType, Tensor};

use crate::config::GenerationConfig;
use crate::error::{Error, setting};
use crate::{Result, Scores};
use length::{ExponentialDecay, ForcedBos, ForcedEos, MinLength, MinNewTokens};
use ngrams::{Dry, EncoderNoRepeatNGram, NoRepeatNGram};
use repetition::{Counted, EncoderRepetition, Repetition};
use tokens::{BadWords, Bias, SequenceBias, Suppress, SuppressAtBegin};
use values::{InfNanRemove, Normalization, Temperature};
use warpers::{Epsilon, Eta, MinP, TopH, TopK, TopP, Typical};
use watermark::Watermark;

/// Changes the scores of the next token.
pub trait LogitsProcessor: Send {
    /// Changes `scores`, a row for each of the sequences so far, all of one length.
    ///
    /// # Errors
    /// Its own, which end the generation.
    fn process(&mut self, sequences: &[Vec<i64>], scores: &mut Scores) -> Result<()>;

    /// The name of the class that it is, so that one of the caller's own takes the place of one that the settings ask for.
    fn name(&self) -> &str;

    /// What it makes of scores (rows, vocabulary) in float32 where they are, if it can.
    ///
    /// # Errors
    /// As for [`LogitsProcessor::process`].
    fn process_tensor(&self, _sequences: &[Vec<i64>], _scores: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// What it is, if it does no more than shape the distribution that tokens are drawn from.
    fn shape(&self) -> Option<Shape> {
        None
    }

    /// Whether it only keeps a text from ending too soon. An assistant's drafts are not held to that.
    fn is_least_length(&self) -> bool {
        self.name() == "MinLengthLogitsProcessor"
    }
}

/// Changes each row of scores by itself.
trait RowProcessor: Send + Sized {
    /// Refuses settings that cannot be.
    fn checked(self) -> Result<Self> {
        Ok(self)
    }

    fn row(&self, index: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()>;

    /// See [`LogitsProcessor::process_tensor`].
    fn tensor(&self, _sequences: &[Vec<i64>], _scores: &Tensor) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// See [`LogitsProcessor::shape`].
    fn shape(&self) -> Option<Shape> {
        None
    }
}

/// A processor by name.
struct Named<P> {
    name: &'static str,
    processor: P,
}

impl<P: RowProcessor> LogitsProcessor for Named<P> {
    fn process(&mut self, sequences: &[Vec<i64>], scores: &mut Scores) -> Result<()> {
        let mut rows = sequences.iter().zip(scores.rows_mut()).enumerate();
        rows.try_for_each(|(index, (sequence, scores))| self.processor.row(index, sequence, scores))
    }

    fn name(&self) -> &str {
        self.name
    }

    fn process_tensor(&self, sequences: &[Vec<i64>], scores: &Tensor) -> Result<Option<Tensor>> {
        self.processor.tensor(sequences, scores)
    }

    fn shape(&self) -> Option<Shape> {
        self.processor.shape()
    }
}

/// Declares what can be made by name from JSON: transformers' classes and their arguments.
macro_rules! specs {
    ($($name:ident($spec:ty)),* $(,)?) => {
        #[derive(Deserialize)]
        #[serde(tag = "type")]
        enum Spec { $($name($spec)),* }

        impl Spec {
            fn build(self) -> Result<Box<dyn LogitsProcessor>> {
                match self { $(Spec::$name(spec) => {
                    Ok(Box::new(Named { name: stringify!($name), processor: spec.checked()? }))
                })* }
            }
        }
    };
}

specs! {
    EncoderNoRepeatNGramLogitsProcessor(EncoderNoRepeatNGram),
    EncoderRepetitionPenaltyLogitsProcessor(EncoderRepetition),
    EpsilonLogitsWarper(Epsilon),
    EtaLogitsWarper(Eta),
    ExponentialDecayLengthPenalty(ExponentialDecay),
    ForcedBOSTokenLogitsProcessor(ForcedBos),
    ForcedEOSTokenLogitsProcessor(ForcedEos),
    InfNanRemoveLogitsProcessor(InfNanRemove),
    LogitNormalization(Normalization),
    MinLengthLogitsProcessor(MinLength),
    MinNewTokensLengthLogitsProcessor(MinNewTokens),
    MinPLogitsWarper(MinP),
    NoBadWordsLogitsProcessor(BadWords),
    NoRepeatNGramLogitsProcessor(NoRepeatNGram),
    RepetitionPenaltyLogitsProcessor(Repetition),
    SequenceBiasLogitsProcessor(SequenceBias),
    SuppressTokensAtBeginLogitsProcessor(SuppressAtBegin),
    SuppressTokensLogitsProcessor(Suppress),
    TemperatureLogitsWarper(Temperature),
    TopHLogitsWarper(TopH),
    TopKLogitsWarper(TopK),
    TopPLogitsWarper(TopP),
    TypicalLogitsWarper(Typical),
    WatermarkLogitsProcessor(Watermark),
    DryLogitsProcessor(Dry),
    FrequencyPenaltyLogitsProcessor(Counted),
    LogitBiasLogitsProcessor(Bias),
}

/// The processor that JSON describes: `type` is the name of transformers' class, the other fields are its arguments.
///
/// # Errors
/// `Setting` when there is none of that name, or its arguments cannot be.
pub fn from_json(text: &str) -> Result<Box<dyn LogitsProcessor>> {
    let spec: Spec = serde_json::from_str(text).map_err(|error| Error::Setting(error.to_string()))?;
    spec.build()
}

/// What a chain of processors is made for.
#[derive(Clone, Copy, Debug)]
pub struct Prompt<'a> {
    /// The length of the prompts in tokens, padding included.
    pub length: usize,
    /// For every sequence, how many tokens of padding it begins with.
    pub padding: &'a [usize],
    /// What an encoder or the prompt says: a row for each prompt, if it is tokens.
    pub source: Option<&'a [Vec<i64>]>,
    /// The greatest length of prompt and text together.
    pub greatest_length: usize,
    /// The number of tokens in the vocabulary.
    pub vocabulary: usize,
}

/// Puts each of the caller's `own` in the place of the first of `all` that has its name, which only one of them takes, or else behind
/// all.
pub(crate) fn in_place_of<T>(all: &mut Vec<T>, own: Vec<T>, name: impl Fn(&T) -> &str) {
    // Which are still those that the settings ask for: of two of the caller's that have one name, both count.
    let mut is_default = vec![true; all.len()];
    for one in own {
        let place = all.iter().zip(&is_default).position(|(other, &free)| free && name(other) == name(&one));
        match place {
            Some(place) => {
                all[place] = one;
                is_default[place] = false;
            }
            None => {
                all.push(one);
                is_default.push(false);
            }
        }
    }
}

/// Processors one after another.
#[derive(Default)]
pub struct Chain<'p>(Vec<Box<dyn LogitsProcessor + 'p>>);

impl<'p> Chain<'p> {
    /// The processors that `config` asks for, in transformers' order, with a `constraint` in the place of its prefix function. Between
    /// those that constrain and those that shape a distribution to draw from come the caller's `own`; one of the name of one that
    /// `config` asks for takes its place.
    ///
    /// # Errors
    /// `Setting` for settings that cannot be.
    pub fn new(
        config: &GenerationConfig,
        prompt: Prompt,
        guidance: Option<Guidance<'p>>,
        constraint: Option<Box<dyn LogitsProcessor + 'p>>,
        own: Vec<Box<dyn LogitsProcessor + 'p>>,
    ) -> Result<Chain<'p>> {
        let mut chain = Chain(guidance.into_iter().map(|one| Box::new(one) as Box<_>).collect());
        chain.constrain(config, prompt, constraint)?;
        in_place_of(&mut chain.0, own, |one| one.name());
        if config.samples() {
            chain.shape(config)?;
        }
        if let Some(watermarking) = &config.watermarking_config {
            chain.add(Spec::WatermarkLogitsProcessor(Watermark::new(watermarking, prompt.vocabulary)))?;
        }
        if config.renormalize_logits == Some(true) {
            chain.add(Spec::LogitNormalization(Normalization {}))?;
        }
        Ok(chain)
    }

    fn add(&mut self, spec: Spec) -> Result<()> {
        self.0.push(spec.build()?);
        Ok(())
    }

    fn constrain(
        &mut self,
        config: &GenerationConfig,
        prompt: Prompt,
        constraint: Option<Box<dyn LogitsProcessor + 'p>>,
    ) -> Result<()> {
        let is_penalty = |penalty: &f64| *penalty != 1.0;
        if let Some(sequence_bias) = &config.sequence_bias {
            let sequence_bias = sequence_bias.clone();
            self.add(Spec::SequenceBiasLogitsProcessor(SequenceBias { sequence_bias }))?;
        }
        if let (Some(penalty), Some(source)) =
            (config.encoder_repetition_penalty.filter(is_penalty), prompt.source)
        {
            let spec = EncoderRepetition { penalty, encoder_input_ids: source.to_vec() };
            self.add(Spec::EncoderRepetitionPenaltyLogitsProcessor(spec))?;
        }
        if let Some(penalty) = config.repetition_penalty.filter(is_penalty) {
            let padding = prompt.padding.to_vec();
            self.add(Spec::RepetitionPenaltyLogitsProcessor(Repetition::behind(penalty, padding)))?;
        }
        let (frequency, presence) = (config.frequency_penalty, config.presence_penalty);
        if frequency.or(presence).is_some() {
            self.add(Spec::FrequencyPenaltyLogitsProcessor(Counted {
                frequency_penalty: frequency.unwrap_or(0.0),
                presence_penalty: presence.unwrap_or(0.0),
                prompt_length: prompt.length,
            }))?;
        }
        if let Some(multiplier) = config.dry_multiplier.filter(|&multiplier| multiplier != 0.0) {
            self.add(Spec::DryLogitsProcessor(Dry {
                multiplier,
                base: config.dry_base.unwrap_or(1.75),
                allowed_length: config.dry_allowed_length.unwrap_or(2),
                sequence_breakers: config.dry_sequence_breakers.clone().unwrap_or_default(),
            }))?;
        }
        if let Some(logit_bias) = &config.logit_bias {
            self.add(Spec::LogitBiasLogitsProcessor(Bias { logit_bias: logit_bias.clone() }))?;
        }
        if let Some(ngram_size) = config.no_repeat_ngram_size.filter(|&size| size > 0) {
            self.add(Spec::NoRepeatNGramLogitsProcessor(NoRepeatNGram { ngram_size }))?;
        }
        if let (Some(encoder_ngram_size), Some(source)) =
            (config.encoder_no_repeat_ngram_size.filter(|&size| size > 0), prompt.source)
        {
            let spec = EncoderNoRepeatNGram { encoder_ngram_size, encoder_input_ids: source.to_vec() };
            self.add(Spec::EncoderNoRepeatNGramLogitsProcessor(spec))?;
        }
        let ends = config.ends().to_vec();
        if let Some(bad_words_ids) = config.bad_words_ids.clone() {
            let eos_token_id = Some(ends.clone());
            self.add(Spec::NoBadWordsLogitsProcessor(BadWords { bad_words_ids, eos_token_id }))?;
        }
        let min_length = config.least_length(prompt.length);
        if min_length > 0 && !ends.is_empty() {
            let eos_token_id = ends.clone();
            self.add(Spec::MinLengthLogitsProcessor(MinLength { min_length, eos_token_id }))?;
        }
        if let Some(min_new_tokens) = config.min_new_tokens.filter(|&least| least > 0 && !ends.is_empty()) {
            self.add(Spec::MinNewTokensLengthLogitsProcessor(MinNewTokens {
                prompt_length_to_skip: prompt.length,
                min_new_tokens,
                eos_token_id: ends.clone(),
            }))?;
        }
        self.0.extend(constraint);
        if let Some(bos_token_id) = config.forced_bos_token_id {
            self.add(Spec::ForcedBOSTokenLogitsProcessor(ForcedBos { bos_token_id }))?;
        }
        if let Some(eos_token_id) = config.forced_eos_token_id.clone() {
            let max_length = prompt.greatest_length;
            self.add(Spec::ForcedEOSTokenLogitsProcessor(ForcedEos { max_length, eos_token_id }))?;
        }
        if config.remove_invalid_values == Some(true) {
            self.add(Spec::InfNanRemoveLogitsProcessor(InfNanRemove {}))?;
        }
        if let Some(exponential_decay_length_penalty) = config.exponential_decay_length_penalty {
            self.add(Spec::ExponentialDecayLengthPenalty(ExponentialDecay {
                exponential_decay_length_penalty,
                eos_token_id: ends,
                input_ids_seq_length: prompt.length,
            }))?;
        }
        if let Some(suppress_tokens) = config.suppress_tokens.clone() {
            self.add(Spec::SuppressTokensLogitsProcessor(Suppress { suppress_tokens }))?;
        }
        if let Some(begin_suppress_tokens) = config.begin_suppress_tokens.clone() {
            let is_forced = prompt.length <= 1 && config.forced_bos_token_id.is_some();
            let begin_index = prompt.length + usize::from(is_forced);
            let spec = SuppressAtBegin { begin_suppress_tokens, begin_index };
            self.add(Spec::SuppressTokensAtBeginLogitsProcessor(spec))?;
        }
        Ok(())
    }

    fn shape(&mut self, config: &GenerationConfig) -> Result<()> {
        // Beams must have something to go on with beside the end.
        let min_tokens_to_keep = if config.beams() > 1 { config.ends().len().max(1) + 1 } else { 1 };
        let filter_value = None;
        if let Some(temperature) = config.temperature.filter(|&temperature| temperature != 1.0) {
            self.add(Spec::TemperatureLogitsWarper(Temperature { temperature }))?;
        }
        if let Some(top_h) = config.top_h {
            self.add(Spec::TopHLogitsWarper(TopH { top_h, filter_value }))?;
        }
        let top_k = config.top_k.unwrap_or(50);
        if top_k != 0 {
            self.add(Spec::TopKLogitsWarper(TopK { top_k, filter_value, min_tokens_to_keep }))?;
        }
        if let Some(top_p) = config.top_p.filter(|&top_p| top_p < 1.0) {
            self.add(Spec::TopPLogitsWarper(TopP { top_p, filter_value, min_tokens_to_keep }))?;
        }
        if let Some(min_p) = config.min_p {
            self.add(Spec::MinPLogitsWarper(MinP { min_p, filter_value, min_tokens_to_keep }))?;
        }
        if let Some(mass) = config.typical_p.filter(|&mass| mass < 1.0) {
            self.add(Spec::TypicalLogitsWarper(Typical { mass, filter_value, min_tokens_to_keep }))?;
        }
        let is_cutoff = |cutoff: &f64| 0.0 < *cutoff && *cutoff < 1.0;
        if let Some(epsilon) = config.epsilon_cutoff.filter(is_cutoff) {
            self.add(Spec::EpsilonLogitsWarper(Epsilon { epsilon, filter_value, min_tokens_to_keep }))?;
        }
        if let Some(epsilon) = config.eta_cutoff.filter(is_cutoff) {
            self.add(Spec::EtaLogitsWarper(Eta { epsilon, filter_value, min_tokens_to_keep }))?;
        }
        Ok(())
    }

    /// Runs all of them, in order.
    ///
    /// # Errors
    /// The first one's that fails.
    pub fn process(&mut self, sequences: &[Vec<i64>], scores: &mut Scores) -> Result<()> {
        self.0.iter_mut().try_for_each(|one| one.process(sequences, scores))
    }

    /// What they make of scores (rows, vocabulary) and what of these to draw from, if that is all that they do: so scores stay where they are.
    pub(crate) fn shaped(
        &self,
        sequences: &[Vec<i64>],
        scores: &Tensor,
    ) -> Result<Option<(Tensor, Sampling)>> {
        let first = self.0.iter().position(|one| one.shape().is_some()).unwrap_or(self.0.len());
        let (changes, shapes) = self.0.split_at(first);
        let Some(sampling) = shape::sampling(shapes.iter().map(|one| one.shape())) else { return Ok(None) };
        let mut scores = scores.to_dtype(DType::F32)?;
        for one in changes {
            match one.process_tensor(sequences, &scores)? {
                Some(changed) => scores = changed,
                None => return Ok(None),
            }
        }
        Ok(Some((scores, sampling)))
    }

    /// The same without those that only keep a text from ending too soon.
    pub(crate) fn process_draft(&mut self, sequences: &[Vec<i64>], scores: &mut Scores) -> Result<()> {
        let mut others = self.0.iter_mut().filter(|one| !one.is_least_length());
        others.try_for_each(|one| one.process(sequences, scores))
    }
}

/// Token numbers that are none are refused.
fn expect_tokens(name: &str, tokens: &[i64]) -> Result<()> {
    match tokens.iter().find(|&&token| token < 0) {
        Some(token) => setting(format!("`{name}` has to be a list of positive integers, but holds {token}")),
        None => Ok(()),
    }
}

/// Sets the scores of `tokens`. Those beyond the vocabulary are not there.
fn set(scores: &mut [f32], tokens: &[i64], value: f32) {
    for &token in tokens {
        if let Some(score) = score_of(scores, token) {
            *score = value;
        }
    }
}

/// The score of a token, if it is in the vocabulary.
fn score_of(scores: &mut [f32], token: i64) -> Option<&mut f32> {
    scores.get_mut(usize::try_from(token).ok()?)
}
