//! Philox 4x32-10 (Salmon et al. 2011), two 64-bit numbers to a block.

use std::f64::consts::TAU;
use std::mem::MaybeUninit;

use super::rows::for_each_run;
use crate::ops::Distribution;
use crate::{DType, Result, Tensor};

/// Block `counter` of the stream of `seed`.
pub(crate) fn block(seed: u64, counter: u64) -> [u64; 2] {
    let [[a], [b], [c], [d]] = blocks(seed, counter);
    [u64::from(a) | u64::from(b) << 32, u64::from(c) | u64::from(d) << 32]
}

/// `N` blocks from number `first` on, word by word.
#[inline(always)]
pub(super) fn blocks<const N: usize>(seed: u64, first: u64) -> [[u32; N]; 4] {
    let [mut a, mut b, mut c, mut d] = [[0; N]; 4];
    for (counter, (a, b)) in (0..).zip(a.iter_mut().zip(&mut b)) {
        let counter = first.wrapping_add(counter);
        (*a, *b) = (counter as u32, (counter >> 32) as u32);
    }
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        for (((a, b), c), d) in a.iter_mut().zip(&mut b).zip(&mut c).zip(&mut d) {
            let (x, y) = (u64::from(*a) * 0xD251_1F53, u64::from(*c) * 0xCD9E_8D57);
            (*a, *b) = ((y >> 32) as u32 ^ *b ^ key[0], y as u32);
            (*c, *d) = ((x >> 32) as u32 ^ *d ^ key[1], x as u32);
        }
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    [a, b, c, d]
}

/// Evenly in [0, 1), as many bits as an f64 holds.
pub(super) fn unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (-53f64).exp2()
}

/// See [`crate::Backend::random`].
pub(super) fn random(
    distribution: Distribution,
    (seed, from): (u64, u64),
    shape: &[usize],
    dtype: DType,
) -> Result<Tensor> {
    let pair = |counter: u64| block(seed, from.wrapping_add(counter));
    match distribution {
        Distribution::Below(limit) => fill(shape, |i| {
            // The upper half of the product: even but for 2⁻⁶⁴ of the limit.
            let value = |bits: u64| ((u128::from(bits) * u128::from(limit)) >> 64) as i64;
            pair(i).map(value)
        }),
        Distribution::Uniform if dtype == DType::F64 => fill(shape, |i| pair(i).map(unit)),
        // As many bits as the dtype holds: more could round up to 1.
        Distribution::Uniform => {
            let bits = match dtype {
                DType::F16 => 11,
                DType::BF16 => 8,
                _ => 24,
            };
            let scale = (-bits as f32).exp2();
            fill(shape, |i| pair(i).map(|x| (x >> (64 - bits)) as f32 * scale))?.to_dtype(dtype)
        }
        Distribution::Normal => {
            // Box and Muller's transform: a pair of even numbers as the polar form of a pair of normal ones.
            let normal = |i| {
                let [u, v] = pair(i).map(unit);
                let (radius, angle) = ((-2.0 * (1.0 - u).ln()).sqrt(), TAU * v);
                [radius * angle.cos(), radius * angle.sin()]
            };
            match dtype {
                DType::F64 => fill(shape, normal),
                _ => fill(shape, |i| normal(i).map(|x| x as f32))?.to_dtype(dtype),
            }
        }
    }
}

/// Fills a tensor with the pairs that blocks give.
fn fill<T: crate::Element>(shape: &[usize], pair: impl Fn(u64) -> [T; 2] + Send + Sync) -> Result<Tensor> {
    Tensor::build(shape, |out: &mut [MaybeUninit<T>]| {
        // In runs of whole pairs; the last one may be half.
        let even = out.len() & !1;
        let (pairs, last) = out.split_at_mut(even);
        for_each_run(pairs, 2, |first, run| {
            for (i, to) in run.chunks_exact_mut(2).enumerate() {
                to.write_copy_of_slice(&pair((first + i) as u64));
            }
        })?;
        last.iter_mut().for_each(|to| _ = to.write(pair(even as u64 / 2)[0]));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_those_of_the_paper() {
        // The known answer of the authors' Random123 for counter and key zero.
        assert_eq!(block(0, 0), [0xe169_c58d_6627_e8d5, 0x9b00_dbd8_bc57_ac4c]);
        let (seed, first) = (0xffff_ffff_0000_0007, u64::MAX - 3);
        let eight = blocks::<8>(seed, first);
        for lane in 0..8 {
            let [low, high] = block(seed, first.wrapping_add(lane as u64));
            let words = [low as u32, (low >> 32) as u32, high as u32, (high >> 32) as u32];
            assert_eq!(eight.map(|word| word[lane]), words);
        }
    }
}
