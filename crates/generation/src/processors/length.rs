//! When a text begins and ends.

use serde::Deserialize;

use super::{RowProcessor, expect_tokens, score_of, set};
use crate::Result;
use crate::error::setting;

/// transformers' `MinLengthLogitsProcessor`.
#[derive(Deserialize)]
pub(super) struct MinLength {
    pub min_length: usize,
    #[serde(deserialize_with = "super::tokens::one_or_more")]
    pub eos_token_id: Vec<i64>,
}

impl RowProcessor for MinLength {
    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        if sequence.len() < self.min_length {
            set(scores, &self.eos_token_id, f32::NEG_INFINITY);
        }
        Ok(())
    }
}

/// transformers' `MinNewTokensLengthLogitsProcessor`.
#[derive(Deserialize)]
pub(super) struct MinNewTokens {
    pub prompt_length_to_skip: usize,
    pub min_new_tokens: usize,
    #[serde(deserialize_with = "super::tokens::one_or_more")]
    pub eos_token_id: Vec<i64>,
}

impl RowProcessor for MinNewTokens {
    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        if sequence.len().saturating_sub(self.prompt_length_to_skip) < self.min_new_tokens {
            set(scores, &self.eos_token_id, f32::NEG_INFINITY);
        }
        Ok(())
    }
}

/// transformers' `ForcedBOSTokenLogitsProcessor`: the token behind the one that a decoder begins with.
#[derive(Deserialize)]
pub(super) struct ForcedBos {
    pub bos_token_id: i64,
}

impl RowProcessor for ForcedBos {
    fn checked(self) -> Result<ForcedBos> {
        expect_tokens("forced_bos_token_id", &[self.bos_token_id])?;
        Ok(self)
    }

    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        if sequence.len() == 1 {
            force("forced_bos_token_id", scores, &[self.bos_token_id])?;
        }
        Ok(())
    }
}

/// transformers' `ForcedEOSTokenLogitsProcessor`.
#[derive(Deserialize)]
pub(super) struct ForcedEos {
    pub max_length: usize,
    #[serde(deserialize_with = "super::tokens::one_or_more")]
    pub eos_token_id: Vec<i64>,
}

impl RowProcessor for ForcedEos {
    fn checked(self) -> Result<ForcedEos> {
        expect_tokens("eos_token_id", &self.eos_token_id)?;
        Ok(self)
    }

    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        if sequence.len() + 1 == self.max_length {
            force("forced_eos_token_id", scores, &self.eos_token_id)?;
        }
        Ok(())
    }
}

/// Leaves nothing else to choose from.
fn force(name: &str, scores: &mut [f32], tokens: &[i64]) -> Result<()> {
    scores.fill(f32::NEG_INFINITY);
    set(scores, tokens, 0.0);
    match scores.contains(&0.0) {
        true => Ok(()),
        false => setting(format!(
            "`{name}` {tokens:?} holds none of the {} tokens of the vocabulary",
            scores.len()
        )),
    }
}

/// transformers' `ExponentialDecayLengthPenalty`: from some length on, the end becomes likelier with every token.
#[derive(Deserialize)]
pub(super) struct ExponentialDecay {
    pub exponential_decay_length_penalty: (usize, f64),
    #[serde(deserialize_with = "super::tokens::one_or_more")]
    pub eos_token_id: Vec<i64>,
    pub input_ids_seq_length: usize,
}

impl RowProcessor for ExponentialDecay {
    fn checked(self) -> Result<ExponentialDecay> {
        expect_tokens("eos_token_id", &self.eos_token_id)?;
        Ok(self)
    }

    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        let (start, factor) = self.exponential_decay_length_penalty;
        let over = sequence.len().saturating_sub(start.saturating_add(self.input_ids_seq_length));
        if over == 0 {
            return Ok(());
        }
        let growth = factor.powi(over.min(i32::MAX as usize) as i32) - 1.0;
        for &token in &self.eos_token_id {
            // What cannot come stays so.
            if let Some(score) = score_of(scores, token).filter(|score| score.is_finite()) {
                *score += score.abs() * growth as f32;
            }
        }
        Ok(())
    }
}
