//! Tokens, and runs of them, that are likelier or less likely, or do not come at all.

use serde::{Deserialize, Deserializer};

use super::{RowProcessor, expect_tokens, score_of, set};
use crate::Result;
use crate::config::one_or_many;
use crate::error::setting;

/// A token number, or a list of them.
pub(super) fn one_or_more<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Vec<i64>, D::Error> {
    let missing = || serde::de::Error::custom("expected a token number, or a list of them");
    one_or_many(deserializer)?.ok_or_else(missing)
}

/// transformers' `SequenceBiasLogitsProcessor`: something is added to what would end a run of tokens.
#[derive(Deserialize)]
pub(super) struct SequenceBias {
    pub sequence_bias: Vec<(Vec<i64>, f64)>,
}

impl RowProcessor for SequenceBias {
    fn checked(self) -> Result<SequenceBias> {
        if self.sequence_bias.is_empty() {
            return setting("`sequence_bias` has to be a non-empty dictionary, or non-empty list of lists.");
        }
        for (run, _) in &self.sequence_bias {
            expect_run("sequence_bias", run)?;
        }
        Ok(self)
    }

    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        let biases = self.sequence_bias.iter().map(|(run, bias)| (&run[..], *bias as f32));
        bias_runs(biases, sequence, scores)
    }
}

/// transformers' `NoBadWordsLogitsProcessor`: runs of tokens that do not come. The end is none of them.
#[derive(Deserialize)]
pub(super) struct BadWords {
    pub bad_words_ids: Vec<Vec<i64>>,
    #[serde(default)]
    pub eos_token_id: Option<Vec<i64>>,
}

impl RowProcessor for BadWords {
    fn checked(mut self) -> Result<BadWords> {
        if self.bad_words_ids.is_empty() {
            return setting("`bad_words_ids` has to be a non-empty list, but is [].");
        }
        for run in &self.bad_words_ids {
            expect_run("bad_words_ids", run)?;
        }
        let ends = self.eos_token_id.as_deref().unwrap_or(&[]);
        self.bad_words_ids.retain(|run| !matches!(run[..], [token] if ends.contains(&token)));
        Ok(self)
    }

    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        bias_runs(self.bad_words_ids.iter().map(|run| (&run[..], f32::NEG_INFINITY)), sequence, scores)
    }
}

fn expect_run(name: &str, run: &[i64]) -> Result<()> {
    match run {
        [] => setting(format!("`{name}` holds an empty run of tokens")),
        run => expect_tokens(name, run),
    }
}

fn bias_runs<'a>(
    runs: impl Iterator<Item = (&'a [i64], f32)>,
    sequence: &[i64],
    scores: &mut [f32],
) -> Result<()> {
    let vocabulary = scores.len();
    for (run, bias) in runs {
        if let Some(token) = run.iter().find(|&&token| token >= vocabulary as i64) {
            return setting(format!(
                "The model vocabulary size is {vocabulary}, but the following tokens were being biased: [{token}]"
            ));
        }
        if let [before @ .., last] = run
            && sequence.ends_with(before)
            && let Some(score) = score_of(scores, *last)
        {
            *score += bias;
        }
    }
    Ok(())
}

/// transformers' `SuppressTokensLogitsProcessor`.
#[derive(Deserialize)]
pub(super) struct Suppress {
    pub suppress_tokens: Vec<i64>,
}

impl RowProcessor for Suppress {
    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        set(scores, &self.suppress_tokens, f32::NEG_INFINITY);
        Ok(())
    }
}

/// transformers' `SuppressTokensAtBeginLogitsProcessor`.
#[derive(Deserialize)]
pub(super) struct SuppressAtBegin {
    pub begin_suppress_tokens: Vec<i64>,
    pub begin_index: usize,
}

impl RowProcessor for SuppressAtBegin {
    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        if sequence.len() == self.begin_index {
            set(scores, &self.begin_suppress_tokens, f32::NEG_INFINITY);
        }
        Ok(())
    }
}

/// OpenAI's `logit_bias`.
#[derive(Deserialize)]
pub(super) struct Bias {
    pub logit_bias: Vec<(i64, f64)>,
}

impl RowProcessor for Bias {
    fn checked(self) -> Result<Bias> {
        self.logit_bias.iter().try_for_each(|(token, _)| expect_tokens("logit_bias", &[*token]))?;
        Ok(self)
    }

    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        for &(token, bias) in &self.logit_bias {
            let vocabulary = scores.len();
            match score_of(scores, token) {
                Some(score) => *score += bias as f32,
                None => {
                    return setting(format!(
                        "`logit_bias` names the token {token}, but the vocabulary has {vocabulary}"
                    ));
                }
            }
        }
        Ok(())
    }
}
