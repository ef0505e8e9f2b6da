//! Unlikely tokens are left out of what is drawn from.

use serde::Deserialize;

use super::{RowProcessor, Shape};
use crate::Result;
use crate::error::setting;
use crate::scores::{softmax, top};

/// What the score of a token becomes that is left out: -∞ unless something else is said.
type FilterValue = Option<f32>;

/// `shape`, if what is left out cannot come any more, and no more than one token has to be kept.
fn alone(shape: Shape, filter_value: FilterValue, min_tokens_to_keep: usize) -> Option<Shape> {
    Some(shape).filter(|_| filtered(filter_value) == f32::NEG_INFINITY && min_tokens_to_keep == 1)
}

fn filtered(filter_value: FilterValue) -> f32 {
    filter_value.unwrap_or(f32::NEG_INFINITY)
}

/// One, unless something else is said.
fn one() -> usize {
    1
}

fn expect_kept(tokens: usize) -> Result<()> {
    match tokens {
        0 => setting("`min_tokens_to_keep` has to be a positive integer, but is 0"),
        _ => Ok(()),
    }
}

/// Refuses what is not between 0 and 1, the ends included or not.
fn expect_share(name: &str, share: f64, ends: bool) -> Result<()> {
    match if ends { (0.0..=1.0).contains(&share) } else { 0.0 < share && share < 1.0 } {
        true => Ok(()),
        false => setting(format!("`{name}` has to be a float > 0 and < 1, but is {share:?}")),
    }
}

/// transformers' `TopKLogitsWarper`.
#[derive(Deserialize)]
pub(super) struct TopK {
    pub top_k: usize,
    #[serde(default)]
    pub filter_value: FilterValue,
    #[serde(default = "one")]
    pub min_tokens_to_keep: usize,
}

impl RowProcessor for TopK {
    fn checked(self) -> Result<TopK> {
        match self.top_k {
            0 => setting("`top_k` has to be a strictly positive integer, but is 0"),
            _ => Ok(self),
        }
    }

    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        let least = nth_highest(scores, self.top_k.max(self.min_tokens_to_keep));
        let value = filtered(self.filter_value);
        // Equal ones all stay.
        scores.iter_mut().filter(|score| **score < least).for_each(|score| *score = value);
        Ok(())
    }

    fn shape(&self) -> Option<Shape> {
        alone(Shape::TopK(self.top_k.max(self.min_tokens_to_keep)), self.filter_value, 1)
    }
}

/// The `count`th highest of the scores, or the lowest if there are fewer.
fn nth_highest(scores: &[f32], count: usize) -> f32 {
    let mut values = scores.to_vec();
    let place = count.min(values.len()).saturating_sub(1);
    *values.select_nth_unstable_by(place, |a, b| b.total_cmp(a)).1
}

/// Nucleus sampling (Holtzman et al. 2019): transformers' `TopPLogitsWarper`.
#[derive(Deserialize)]
pub(super) struct TopP {
    pub top_p: f64,
    #[serde(default)]
    pub filter_value: FilterValue,
    #[serde(default = "one")]
    pub min_tokens_to_keep: usize,
}

impl RowProcessor for TopP {
    fn checked(self) -> Result<TopP> {
        expect_share("top_p", self.top_p, true)?;
        expect_kept(self.min_tokens_to_keep)?;
        Ok(self)
    }

    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        let probabilities = softmax(scores);
        // What has no probability goes in any case, so it need not be sorted, unless too little would be left.
        let mut order: Vec<usize> = (0..scores.len()).filter(|&token| probabilities[token] > 0.0).collect();
        if order.len() < self.min_tokens_to_keep {
            order = (0..scores.len()).collect();
        }
        order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let (mut sum, limit) = (0f64, (1.0 - self.top_p) as f32);
        let mut kept = vec![false; scores.len()];
        let surely = order.len() - self.min_tokens_to_keep.min(order.len());
        for (place, &token) in order.iter().enumerate() {
            sum += f64::from(probabilities[token]);
            kept[token] = sum as f32 > limit || place >= surely;
        }
        keep(scores, &kept, self.filter_value);
        Ok(())
    }

    fn shape(&self) -> Option<Shape> {
        alone(Shape::TopP(self.top_p as f32), self.filter_value, self.min_tokens_to_keep)
    }
}

fn keep(scores: &mut [f32], kept: &[bool], filter_value: FilterValue) {
    let value = filtered(filter_value);
    scores.iter_mut().zip(kept).filter(|(_, kept)| !**kept).for_each(|(score, _)| *score = value);
}

/// transformers' `MinPLogitsWarper`.
#[derive(Deserialize)]
pub(super) struct MinP {
    pub min_p: f64,
    #[serde(default)]
    pub filter_value: FilterValue,
    #[serde(default = "one")]
    pub min_tokens_to_keep: usize,
}

impl RowProcessor for MinP {
    fn checked(self) -> Result<MinP> {
        if !(0.0..=1.0).contains(&self.min_p) {
            return setting(format!(
                "`min_p` has to be a float in the [0, 1] interval, but is {}",
                self.min_p
            ));
        }
        expect_kept(self.min_tokens_to_keep)?;
        Ok(self)
    }

    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        let probabilities = softmax(scores);
        let least = self.min_p as f32 * probabilities.iter().copied().fold(0.0, f32::max);
        let mut kept: Vec<bool> = probabilities.iter().map(|&one| one >= least).collect();
        top(&probabilities, self.min_tokens_to_keep).into_iter().for_each(|token| kept[token] = true);
        keep(scores, &kept, self.filter_value);
        Ok(())
    }

    fn shape(&self) -> Option<Shape> {
        alone(Shape::MinP(self.min_p as f32), self.filter_value, self.min_tokens_to_keep)
    }
}

/// Locally typical sampling (Meister et al. 2022): transformers' `TypicalLogitsWarper`.
#[derive(Deserialize)]
pub(super) struct Typical {
    pub mass: f64,
    #[serde(default)]
    pub filter_value: FilterValue,
    #[serde(default = "one")]
    pub min_tokens_to_keep: usize,
}

impl RowProcessor for Typical {
    fn checked(self) -> Result<Typical> {
        expect_share("typical_p", self.mass, false)?;
        expect_kept(self.min_tokens_to_keep)?;
        Ok(self)
    }

    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        let mut logs = scores.to_vec();
        crate::scores::log_softmax(&mut logs);
        let probabilities = softmax(scores);
        let entropy = entropy(&logs);
        // How far each is from being as likely as is to be expected.
        let distance: Vec<f32> = logs.iter().map(|log| (-log - entropy).abs()).collect();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| distance[a].total_cmp(&distance[b]));
        let mut sum = 0f64;
        let below = order.iter().take_while(|&&token| {
            sum += f64::from(probabilities[token]);
            (sum as f32) < self.mass as f32
        });
        let last = below.count().min(order.len().saturating_sub(1));
        let farthest = order.get(last).map_or(0.0, |&token| distance[token]);
        let mut kept = vec![false; scores.len()];
        for (place, &token) in order.iter().enumerate() {
            kept[token] = place < self.min_tokens_to_keep || distance[token] <= farthest;
        }
        keep(scores, &kept, self.filter_value);
        Ok(())
    }
}

/// The entropy of a distribution that is given by the logarithms of its probabilities.
fn entropy(logs: &[f32]) -> f32 {
    let term =
        |&log: &f32| if log == f32::NEG_INFINITY { 0.0 } else { -f64::from(log) * f64::from(log).exp() };
    logs.iter().map(term).sum::<f64>() as f32
}

/// Epsilon sampling (Hewitt et al. 2022): transformers' `EpsilonLogitsWarper`.
#[derive(Deserialize)]
pub(super) struct Epsilon {
    pub epsilon: f64,
    #[serde(default)]
    pub filter_value: FilterValue,
    #[serde(default = "one")]
    pub min_tokens_to_keep: usize,
}

impl RowProcessor for Epsilon {
    fn checked(self) -> Result<Epsilon> {
        expect_share("epsilon_cutoff", self.epsilon, false)?;
        expect_kept(self.min_tokens_to_keep)?;
        Ok(self)
    }

    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        cut(scores, self.epsilon as f32, self.min_tokens_to_keep, self.filter_value);
        Ok(())
    }
}

/// Leaves out what is less likely than `least`.
fn cut(scores: &mut [f32], least: f32, kept: usize, filter_value: FilterValue) {
    let (probabilities, value) = (softmax(scores), filtered(filter_value));
    let surely = nth_highest(scores, kept);
    for (score, probability) in scores.iter_mut().zip(probabilities) {
        if probability < least && *score < surely {
            *score = value;
        }
    }
}

/// Eta sampling (Hewitt et al. 2022): transformers' `EtaLogitsWarper`.
#[derive(Deserialize)]
pub(super) struct Eta {
    pub epsilon: f64,
    #[serde(default)]
    pub filter_value: FilterValue,
    #[serde(default = "one")]
    pub min_tokens_to_keep: usize,
}

impl RowProcessor for Eta {
    fn checked(self) -> Result<Eta> {
        expect_share("eta_cutoff", self.epsilon, false)?;
        expect_kept(self.min_tokens_to_keep)?;
        Ok(self)
    }

    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        let mut logs = scores.to_vec();
        crate::scores::log_softmax(&mut logs);
        let epsilon = self.epsilon as f32;
        let eta = epsilon.min(epsilon.sqrt() * (-entropy(&logs)).exp());
        cut(scores, eta, self.min_tokens_to_keep, self.filter_value);
        Ok(())
    }
}

/// Top-H (Ben Potdevin et al. 2025): transformers' `TopHLogitsWarper`.
#[derive(Deserialize)]
pub(super) struct TopH {
    pub top_h: f64,
    #[serde(default)]
    pub filter_value: FilterValue,
}

/// Only so many of the likeliest tokens are looked at.
const LOOKED_AT: usize = 100;

impl RowProcessor for TopH {
    fn checked(self) -> Result<TopH> {
        match 0.0 < self.top_h && self.top_h <= 1.0 {
            true => Ok(self),
            false => setting("`top_h` must be in the range (0, 1]."),
        }
    }

    fn row(&self, _: usize, _: &[i64], scores: &mut [f32]) -> Result<()> {
        let order = top(scores, LOOKED_AT);
        let mut logs: Vec<f32> = order.iter().map(|&token| scores[token]).collect();
        crate::scores::log_softmax(&mut logs);
        let limit = entropy(&logs) * self.top_h as f32;
        let mut kept = vec![false; scores.len()];
        let mut sum = 0f64;
        for (place, (&token, &log)) in order.iter().zip(&logs).enumerate() {
            sum -= f64::from(log) * f64::from(log).exp();
            kept[token] = place == 0 || sum as f32 <= limit;
        }
        keep(scores, &kept, self.filter_value);
        Ok(())
    }
}
