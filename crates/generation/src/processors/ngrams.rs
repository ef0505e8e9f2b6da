//! Runs of tokens that shall not come again.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{RowProcessor, score_of, set};
use crate::Result;
use crate::error::setting;

/// transformers' `NoRepeatNGramLogitsProcessor`.
#[derive(Deserialize)]
pub(super) struct NoRepeatNGram {
    pub ngram_size: usize,
}

impl RowProcessor for NoRepeatNGram {
    fn checked(self) -> Result<NoRepeatNGram> {
        expect_size("ngram_size", self.ngram_size)?;
        Ok(self)
    }

    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        ban(sequence, sequence, self.ngram_size, scores);
        Ok(())
    }
}

/// The same for the runs of a source: transformers' `EncoderNoRepeatNGramLogitsProcessor`.
#[derive(Deserialize)]
pub(super) struct EncoderNoRepeatNGram {
    pub encoder_ngram_size: usize,
    pub encoder_input_ids: Vec<Vec<i64>>,
}

impl RowProcessor for EncoderNoRepeatNGram {
    fn checked(self) -> Result<EncoderNoRepeatNGram> {
        expect_size("encoder_ngram_size", self.encoder_ngram_size)?;
        Ok(self)
    }

    fn row(&self, index: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        if let Some(source) = self.encoder_input_ids.get(index) {
            ban(source, sequence, self.encoder_ngram_size, scores);
        }
        Ok(())
    }
}

/// Bans what would end a run of `size` tokens that `source` holds.
fn ban(source: &[i64], sequence: &[i64], size: usize, scores: &mut [f32]) {
    let Some(prefix) = (sequence.len() + 1).checked_sub(size).map(|start| &sequence[start..]) else { return };
    for run in source.windows(size).filter(|run| run[..size - 1] == *prefix) {
        set(scores, &run[size - 1..], f32::NEG_INFINITY);
    }
}

fn expect_size(name: &str, size: usize) -> Result<()> {
    match size {
        0 => setting(format!("`{name}` has to be a strictly positive integer, but is 0")),
        _ => Ok(()),
    }
}

/// DRY (Weidman 2024): what would go on with a run that has come before is punished, the more the longer the run is.
#[derive(Deserialize)]
pub(super) struct Dry {
    pub multiplier: f64,
    pub base: f64,
    pub allowed_length: usize,
    pub sequence_breakers: Vec<i64>,
}

impl RowProcessor for Dry {
    fn checked(self) -> Result<Dry> {
        match self.multiplier > 0.0 && self.base >= 1.0 {
            true => Ok(self),
            false => setting(format!(
                "`dry_multiplier` must be greater than 0 and `dry_base` at least 1, but they are {} and {}",
                self.multiplier, self.base
            )),
        }
    }

    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        let Some(&last) = sequence.last() else { return Ok(()) };
        if self.sequence_breakers.contains(&last) {
            return Ok(());
        }
        let mut longest = BTreeMap::new();
        // Where the last token has come before, how much before it is as it is now, and what followed.
        for at in (0..sequence.len() - 1).filter(|&at| sequence[at] == last) {
            let next = sequence[at + 1];
            let before = sequence[..at].iter().rev().zip(sequence[..sequence.len() - 1].iter().rev());
            let alike = before.take_while(|(a, b)| a == b && !self.sequence_breakers.contains(a)).count();
            let length = longest.entry(next).or_insert(0);
            *length = (alike + 1).max(*length);
        }
        for (token, length) in longest.into_iter().filter(|(_, length)| *length >= self.allowed_length) {
            if let Some(score) = score_of(scores, token) {
                let power = self.base.powi((length - self.allowed_length).min(1000) as i32);
                *score -= (self.multiplier * power) as f32;
            }
        }
        Ok(())
    }
}
