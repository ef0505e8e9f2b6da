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
            let mut tokens = vec![Token { rank: 0, mass: 0 }; width];
            for (row, to) in (first..).zip(run) {
                let share = random::unit(random::block(seed, from.wrapping_add(row as u64))[0]);
                to.write(drawn(&logits[row * width..][..width], sampling, share, &mut tokens));
            }
        })
    })
}

/// A token that may be drawn: its place among the others, the likeliest first, and its probability.
#[derive(Clone, Copy)]
struct Token {
    rank: u32,
    mass: u64,
}

fn mass(x: f32, max: f32) -> u64 {
    // Less than one, of which most of a vocabulary is.
    if x - max < -23.0 { 0 } else { ((x - max).exp() * 32f32.exp2()) as u64 }
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
fn drawn(logits: &[f32], sampling: &Sampling, share: f64, tokens: &mut [Token]) -> i64 {
    let Sampling { temperature, top_k, top_p, min_p } = *sampling;
    let (mut first, mut has_nan) = (u32::MAX, false);
    for (token, &x) in tokens.iter_mut().zip(logits) {
        let x = x / temperature;
        has_nan |= x.is_nan();
        token.rank = rank(x);
        first = first.min(token.rank);
    }
    let max = number(first);
    if has_nan || !max.is_finite() {
        return -1;
    }
    let mut last = u32::MAX;
    if 0 < top_k && top_k < tokens.len() {
        last = rank_that_has(tokens, last, top_k as u64, |_| 1);
    }
    for token in &mut *tokens {
        token.mass = if token.rank <= last { mass(number(token.rank), max) } else { 0 };
    }
    if top_p < 1.0 {
        let total: u64 = tokens.iter().map(|token| token.mass).sum();
        let wanted = ((total as f64 * f64::from(top_p)) as u64).max(1);
        last = rank_that_has(tokens, last, wanted, |token| token.mass);
    }
    if min_p > 0.0 {
        last = last.min(rank(max + min_p.ln()));
    }
    let kept = |token: &Token| if token.rank <= last { token.mass } else { 0 };
    let total: u64 = tokens.iter().map(kept).sum();
    let drawn = ((share * total as f64) as u64).min(total - 1);
    let mut before = 0;
    let place = tokens.iter().position(|token| {
        before += kept(token);
        before > drawn
    });
    place.map_or(-1, |place| place as i64)
}

/// The least rank such that those up to it weigh `wanted` or more, of those up to `last`. Eight bits at a time.
fn rank_that_has(tokens: &[Token], last: u32, mut wanted: u64, weigh: impl Fn(&Token) -> u64) -> u32 {
    let mut found = 0u32;
    for shift in [24, 16, 8, 0] {
        let mut weights = [0u64; 256];
        let is_near = |rank: u32| rank <= last && (rank ^ found) >> shift >> 8 == 0;
        for token in tokens.iter().filter(|token| is_near(token.rank)) {
            weights[(token.rank >> shift & 255) as usize] += weigh(token);
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
