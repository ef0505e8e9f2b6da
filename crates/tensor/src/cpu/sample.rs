//! Tokens drawn from logits, without a sort: what top-k and top-p leave is found by its least logit.
//!
//! Probabilities are integers, multiples of 2⁻³² of the most likely token's, as on every device: so all draw the same tokens from a seed.

use std::mem::MaybeUninit;

use super::random;
use super::rows::for_each_run_of;
use crate::ops::Sampling;
use crate::{Result, Tensor};

/// See [`crate::Backend::sample`].
pub(super) fn sample(x: &Tensor, sampling: &Sampling, (seed, from): (u64, u64)) -> Result<Tensor> {
    let (logits, width) = (x.as_slice::<f32>()?, x.shape()[1]);
    Tensor::build(&x.shape()[..1], |out: &mut [MaybeUninit<i64>]| {
        for_each_run_of(out, 1, width, |first, run| {
            let mut ranks = vec![0; width];
            for (row, to) in (first..).zip(run) {
                let share = random::unit(random::block(seed, from.wrapping_add(row as u64))[0]);
                to.write(token(&logits[row * width..][..width], sampling, share, &mut ranks));
            }
        })
    })
}

fn mass(x: f32, max: f32) -> u64 {
    ((x - max).exp() * 32f32.exp2()) as u64
}

/// The bits of a number in such an order that the largest comes first; both zeros are alike.
fn rank(x: f32) -> u32 {
    let bits = (x + 0.0).to_bits();
    if bits >> 31 == 1 { bits } else { !(bits | 1 << 31) }
}

/// The number of which [`rank`] is that.
fn number(rank: u32) -> f32 {
    f32::from_bits(if rank >> 31 == 1 { rank } else { !rank & !(1 << 31) })
}

/// The token at which `share` of what is left lies before; -1 where the logits are no distribution.
fn token(logits: &[f32], sampling: &Sampling, share: f64, ranks: &mut [u32]) -> i64 {
    let Sampling { temperature, top_k, top_p, min_p } = *sampling;
    let (mut first, mut has_nan) = (u32::MAX, false);
    for (rank_of, &x) in ranks.iter_mut().zip(logits) {
        let x = x / temperature;
        has_nan |= x.is_nan();
        *rank_of = rank(x);
        first = first.min(*rank_of);
    }
    let max = number(first);
    if has_nan || !max.is_finite() {
        return -1;
    }
    let mut last = u32::MAX;
    if 0 < top_k && top_k < ranks.len() {
        last = rank_that_has(ranks, last, top_k as u64, |_| 1);
    }
    let mass_of = |rank: u32, last: u32| if rank <= last { mass(number(rank), max) } else { 0 };
    if top_p < 1.0 {
        let total: u64 = ranks.iter().map(|&rank| mass_of(rank, last)).sum();
        let wanted = ((total as f64 * f64::from(top_p)) as u64).max(1);
        last = rank_that_has(ranks, last, wanted, |rank| mass(number(rank), max));
    }
    if min_p > 0.0 {
        last = last.min(rank(max + min_p.ln()));
    }
    let total: u64 = ranks.iter().map(|&rank| mass_of(rank, last)).sum();
    let drawn = ((share * total as f64) as u64).min(total - 1);
    let mut before = 0;
    let place = ranks.iter().position(|&rank| {
        before += mass_of(rank, last);
        before > drawn
    });
    place.map_or(-1, |place| place as i64)
}

/// The least rank such that those up to it weigh `wanted` or more, of those up to `last`. Eight bits at a time.
fn rank_that_has(ranks: &[u32], last: u32, mut wanted: u64, weigh: impl Fn(u32) -> u64) -> u32 {
    let mut found = 0u32;
    for shift in [24, 16, 8, 0] {
        let mut weights = [0u64; 256];
        for &rank in ranks.iter().filter(|&&rank| rank <= last && (rank ^ found) >> shift >> 8 == 0) {
            weights[(rank >> shift & 255) as usize] += weigh(rank);
        }
        let mut digit = 0;
        while digit < 255 && weights[digit] < wanted {
            wanted -= weights[digit];
            digit += 1;
        }
        found |= (digit as u32) << shift;
    }
    found.min(last)
}
