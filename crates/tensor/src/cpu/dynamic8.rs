//! Numbers in 8 bits each, for the memory of optimizers (Dettmers et al. 2022): one of 256 fractions of the largest of [`BLOCK`] neighbours.

use std::mem::MaybeUninit;
use std::sync::LazyLock;

use super::simd::vectorized;
use crate::ops::Kept;

/// How many elements share a scale.
pub(super) const BLOCK: usize = Kept::BLOCK;

/// 256 fractions, and how the nearest is found.
pub(super) struct Code {
    /// Ascending.
    values: [f32; 256],
    /// From where on the next fraction is nearer.
    ends: [f32; 256],
    /// By the upper half of a number's bits, which leave one such end at most undecided: the fraction nearest to the least of such numbers.
    first: Box<[u8]>,
}

/// Fractions of both signs, dense near zero: seven decades, the larger ones divided more finely.
pub(super) static SIGNED: LazyLock<Code> = LazyLock::new(|| Code::new(true));
/// Fractions that are not negative.
pub(super) static UNSIGNED: LazyLock<Code> = LazyLock::new(|| Code::new(false));

/// Both lists of fractions, those of both signs first.
pub(crate) fn fractions() -> [[f32; 256]; 2] {
    [SIGNED.values, UNSIGNED.values]
}

impl Code {
    /// The dynamic tree of section 1.3 of the paper: bitsandbytes' `create_dynamic_map`.
    fn new(signed: bool) -> Code {
        let mut all = vec![0.0, 1.0];
        for decade in 0..7 {
            let count = 1 << (decade + usize::from(!signed));
            let steps = count as f64;
            for i in 0..count {
                let (low, high) = (0.1 + 0.9 * i as f64 / steps, 0.1 + 0.9 * (i + 1) as f64 / steps);
                let value = (low + high) / 2.0 * 10f64.powi(decade as i32 - 6);
                all.push(value as f32);
                if signed {
                    all.push(-value as f32);
                }
            }
        }
        all.sort_by(f32::total_cmp);
        let (mut values, mut ends) = ([1.0; 256], [f32::INFINITY; 256]);
        values.copy_from_slice(&all);
        for (end, pair) in ends.iter_mut().zip(values.windows(2)) {
            *end = (pair[0] + pair[1]) / 2.0;
        }
        let first = (0..=u16::MAX).map(|upper| {
            let lower = if upper >> 15 == 1 { 0xffff } else { 0 };
            let least = f32::from_bits(u32::from(upper) << 16 | lower);
            ends[..255].partition_point(|&end| end <= least) as u8
        });
        let first = first.collect();
        Code { values, ends, first }
    }

    /// The number of the fraction that is nearest to `x`.
    #[inline(always)]
    fn nearest(&self, x: f32) -> u8 {
        let first = self.first[(x.to_bits() >> 16) as usize];
        first + u8::from(x >= self.ends[usize::from(first)])
    }

    /// Writes the numbers that codes stand for, with the scale of each [`BLOCK`].
    pub(super) fn decode(&self, codes: &[u8], scales: &[f32], to: &mut [MaybeUninit<f32>]) {
        vectorized(
            #[inline(always)]
            || {
                for ((codes, scale), to) in codes.chunks(BLOCK).zip(scales).zip(to.chunks_mut(BLOCK)) {
                    for (code, to) in codes.iter().zip(to) {
                        to.write(self.values[usize::from(*code)] * scale);
                    }
                }
            },
        );
    }

    /// Writes the codes and scales that come nearest to numbers.
    pub(super) fn encode(&self, from: &[f32], codes: &mut [u8], scales: &mut [f32]) {
        vectorized(
            #[inline(always)]
            || {
                for ((from, codes), scale) in from.chunks(BLOCK).zip(codes.chunks_mut(BLOCK)).zip(scales) {
                    // The bits of numbers without a sign are in the order of the numbers, and whole numbers may be compared in any order.
                    let largest = from.iter().map(|x| x.abs().to_bits()).fold(0, u32::max);
                    *scale = f32::from_bits(largest);
                    let inverse = if *scale == 0.0 { 0.0 } else { scale.recip() };
                    for (x, code) in from.iter().zip(codes) {
                        *code = self.nearest(x * inverse);
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_of_256_fractions_is_found() {
        for code in [&*SIGNED, &*UNSIGNED] {
            assert!(code.values.windows(2).all(|pair| pair[0] < pair[1]));
            for (place, value) in code.values.iter().enumerate() {
                assert_eq!(code.nearest(*value), place as u8);
            }
            assert_eq!([2.0, -2.0].map(|x| code.nearest(x)), [255, 0]);
            for i in -100_000..=100_000 {
                // As dense near zero as the fractions are.
                let x = (i as f32 / 1e5).powi(5);
                let off = |place: u8| (code.values[usize::from(place)] - x).abs();
                let least = (0..=255).map(off).fold(f32::INFINITY, f32::min);
                assert!(off(code.nearest(x)) <= least + 1e-7 * x.abs(), "{x}");
            }
        }
    }

    #[test]
    fn what_is_read_comes_near_to_what_was_written() {
        let numbers: Vec<f32> = (0..700).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        let (mut codes, mut scales) = (vec![0; 700], vec![0.0; 3]);
        SIGNED.encode(&numbers, &mut codes, &mut scales);
        let mut read = vec![MaybeUninit::uninit(); 700];
        SIGNED.decode(&codes, &scales, &mut read);
        for (x, read) in numbers.iter().zip(read) {
            // SAFETY: every number has been written.
            let read = unsafe { read.assume_init() };
            assert!((x - read).abs() < 0.025, "{x} {read}");
        }
    }
}
