//! Tokens that are there already.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use trustformers_tensor::Tensor;

use super::{RowProcessor, score_of};
use crate::Result;
use crate::decoder::table;
use crate::error::setting;

/// CTRL's penalty (Keskar et al. 2019): transformers' `RepetitionPenaltyLogitsProcessor`.
#[derive(Deserialize)]
pub(super) struct Repetition {
    penalty: f64,
    #[serde(default)]
    prompt_ignore_length: Option<usize>,
    /// For every sequence, how many tokens of padding it begins with.
    #[serde(skip)]
    padding: Vec<usize>,
}

impl Repetition {
    /// The tokens of a sequence that count.
    fn counted<'s>(&self, index: usize, sequence: &'s [i64]) -> &'s [i64] {
        let ignored = self.prompt_ignore_length.or(self.padding.get(index).copied()).unwrap_or(0);
        sequence.get(ignored..).unwrap_or(&[])
    }

    /// For sequences that begin with padding.
    pub fn behind(penalty: f64, padding: Vec<usize>) -> Repetition {
        Repetition { penalty, prompt_ignore_length: None, padding }
    }
}

impl RowProcessor for Repetition {
    fn checked(self) -> Result<Repetition> {
        expect_positive(self.penalty)?;
        Ok(self)
    }

    fn row(&self, index: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        punish(self.counted(index, sequence), scores, self.penalty as f32);
        Ok(())
    }

    fn tensor(&self, sequences: &[Vec<i64>], scores: &Tensor) -> Result<Option<Tensor>> {
        let vocabulary = scores.shape()[1] as i64;
        let tokens = |(index, sequence): (usize, &Vec<i64>)| {
            let own: BTreeSet<i64> = self.counted(index, sequence).iter().copied().collect();
            own.into_iter().filter(|token| (0..vocabulary).contains(token)).collect::<Vec<_>>()
        };
        let mut places: Vec<Vec<i64>> = sequences.iter().enumerate().map(tokens).collect();
        let longest = places.iter().map(Vec::len).max().unwrap_or(0);
        for row in &mut places {
            // A token that is there twice becomes the same twice.
            let Some(&again) = row.first() else { return Ok(None) };
            row.resize(longest, again);
        }
        let (places, penalty) = (table(&places)?, f64::from(self.penalty as f32));
        let own = scores.gather(1, &places)?;
        let punished = Tensor::select_where(&own.lt(0.0)?, &own.mul(penalty)?, &own.div(penalty)?)?;
        Ok(Some(scores.scatter(1, &places, &punished)?))
    }
}

/// The opposite, for the tokens of a source: transformers' `EncoderRepetitionPenaltyLogitsProcessor`.
#[derive(Deserialize)]
pub(super) struct EncoderRepetition {
    pub penalty: f64,
    pub encoder_input_ids: Vec<Vec<i64>>,
}

impl RowProcessor for EncoderRepetition {
    fn checked(self) -> Result<EncoderRepetition> {
        expect_positive(self.penalty)?;
        Ok(self)
    }

    fn row(&self, index: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        if let Some(source) = self.encoder_input_ids.get(index) {
            punish(source, scores, (1.0 / self.penalty) as f32);
        }
        Ok(())
    }
}

fn punish(tokens: &[i64], scores: &mut [f32], penalty: f32) {
    for token in tokens.iter().copied().collect::<BTreeSet<_>>() {
        if let Some(score) = score_of(scores, token) {
            *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
        }
    }
}

fn expect_positive(penalty: f64) -> Result<()> {
    match penalty > 0.0 {
        true => Ok(()),
        false => setting(format!("`penalty` has to be a strictly positive float, but is {penalty:?}")),
    }
}

/// OpenAI's penalties for tokens that have been generated: by their number, and once.
#[derive(Deserialize)]
pub(super) struct Counted {
    #[serde(default)]
    pub frequency_penalty: f64,
    #[serde(default)]
    pub presence_penalty: f64,
    #[serde(default)]
    pub prompt_length: usize,
}

impl RowProcessor for Counted {
    fn checked(self) -> Result<Counted> {
        for (name, penalty) in
            [("frequency_penalty", self.frequency_penalty), ("presence_penalty", self.presence_penalty)]
        {
            if !(-2.0..=2.0).contains(&penalty) {
                return setting(format!("`{name}` must be between -2 and 2, but is {penalty:?}"));
            }
        }
        Ok(self)
    }

    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        let mut counts = BTreeMap::new();
        for &token in sequence.get(self.prompt_length..).unwrap_or(&[]) {
            *counts.entry(token).or_insert(0u32) += 1;
        }
        for (token, count) in counts {
            if let Some(score) = score_of(scores, token) {
                *score -= (f64::from(count) * self.frequency_penalty + self.presence_penalty) as f32;
            }
        }
        Ok(())
    }
}
