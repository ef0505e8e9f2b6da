//! A text that can be recognised as generated (Kirchenbauer et al. 2023).

use serde::Deserialize;

use super::RowProcessor;
use super::twister::Twister;
use crate::Result;
use crate::config::Watermarking;
use crate::error::setting;
use crate::scores::top;

/// transformers' `WatermarkLogitsProcessor`: what the last tokens say with a secret makes some tokens likelier.
#[derive(Deserialize)]
pub(super) struct Watermark {
    vocab_size: usize,
    #[serde(flatten)]
    config: Watermarking,
    /// A shuffled table of [`TABLE`] numbers, where the scheme wants one.
    #[serde(skip)]
    table: Vec<u32>,
}

const TABLE: usize = 1_000_003;
/// So many of the likeliest tokens are asked whether they would choose themselves.
const ASKED: usize = 40;

impl Watermark {
    pub fn new(config: &Watermarking, vocab_size: usize) -> Watermark {
        Watermark { vocab_size, config: config.clone(), table: Vec::new() }
    }

    /// The tokens that are made likelier behind `sequence`.
    fn green(&self, sequence: &[i64]) -> Vec<u32> {
        let key = self.config.hashing_key;
        let last = sequence.last().copied().unwrap_or(0);
        let seed = if self.table.is_empty() {
            i128::from(key) * i128::from(last)
        } else {
            let number = |token: i64| u64::from(self.table[token.rem_euclid(TABLE as i64) as usize]) + 1;
            let context = &sequence[sequence.len().saturating_sub(self.config.context_width)..];
            let product = |&token: &i64| key.wrapping_mul(number(token)).wrapping_mul(number(last)) as i64;
            context.iter().map(product).min().unwrap_or(0).into()
        };
        // PyTorch's products wrap around, Python's remainder of a negative number does not.
        let seed = seed.rem_euclid(i128::from(u64::MAX)) as u64;
        let mut tokens = Twister::new(seed).permutation(self.vocab_size);
        tokens.truncate((self.vocab_size as f64 * self.config.greenlist_ratio) as usize);
        tokens
    }

    /// The likeliest tokens that are made likelier by themselves.
    fn chosen_by_themselves(&self, sequence: &[i64], scores: &[f32]) -> Vec<u32> {
        let mut longer = sequence.to_vec();
        longer.push(0);
        let mut chosen = Vec::new();
        for token in top(scores, ASKED) {
            longer[sequence.len()] = token as i64;
            if self.green(&longer).contains(&(token as u32)) {
                chosen.push(token as u32);
            }
        }
        chosen
    }
}

impl RowProcessor for Watermark {
    fn checked(mut self) -> Result<Watermark> {
        let Watermarking { greenlist_ratio, seeding_scheme, context_width, hashing_key, .. } = &self.config;
        if !(0.0 < *greenlist_ratio && *greenlist_ratio < 1.0) {
            return setting(format!(
                "greenlist_ratio has be in range between 0.0 and 1.0, exclusively. but found {greenlist_ratio}"
            ));
        }
        if *context_width == 0 {
            return setting("`context_width` should be a positive integer but found 0");
        }
        match seeding_scheme.as_str() {
            "lefthash" => {}
            "selfhash" => self.table = Twister::new(*hashing_key).permutation(TABLE),
            other => {
                return setting(format!(
                    "seeding_scheme has to be one of [`selfhash`, `lefthash`], but found {other}"
                ));
            }
        }
        Ok(self)
    }

    fn row(&self, _: usize, sequence: &[i64], scores: &mut [f32]) -> Result<()> {
        if sequence.len() < self.config.context_width {
            return Ok(());
        }
        let green = match self.table.is_empty() {
            true => self.green(sequence),
            false => self.chosen_by_themselves(sequence, scores),
        };
        for token in green {
            if let Some(score) = scores.get_mut(token as usize) {
                *score += self.config.bias;
            }
        }
        Ok(())
    }
}
