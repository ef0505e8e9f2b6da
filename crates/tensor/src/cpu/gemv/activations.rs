//! The left side of a product with blocks: rounded to 8 bits, so that products are of integers. As ggml's `Q8_1` does it.

use super::Left;
use crate::cpu::simd::vectorized;
use crate::quant::{GROUP, RUN};

/// Elements that share a scale.
const SHARED: usize = 32;

/// Rows of 8-bit codes with a scale for every [`SHARED`] of them, filled up with zeros to whole runs of [`RUN`].
pub(super) struct Activations {
    pub(super) rows: usize,
    /// Elements of a row, filled up.
    pub(super) width: usize,
    /// (rows, width), from -127 to 127.
    codes: Vec<i8>,
    /// The scale of each group of [`GROUP`].
    scales: Vec<f32>,
    /// The sum of each group of [`GROUP`], scaled.
    sums: Vec<f32>,
}

impl Activations {
    pub(super) fn of(left: Left) -> Activations {
        let (rows, width) = (left.rows, left.columns.next_multiple_of(RUN));
        let mut activations = Activations {
            rows,
            width,
            codes: vec![0; rows * width],
            scales: vec![0.0; rows * width / GROUP],
            sums: vec![0.0; rows * width / GROUP],
        };
        let Activations { codes, scales, sums, .. } = &mut activations;
        vectorized(
            #[inline(always)]
            || {
                for row in 0..rows {
                    let (from, groups) = (row * width, row * width / GROUP);
                    let out = codes[from..].chunks_mut(SHARED);
                    let out = out.zip(scales[groups..].chunks_mut(2).zip(sums[groups..].chunks_mut(2)));
                    let (whole, rest) = left.row(row).as_chunks::<SHARED>();
                    let mut last = [0.0; SHARED];
                    last[..rest.len()].copy_from_slice(rest);
                    let last = if rest.is_empty() { &[][..] } else { std::slice::from_ref(&last) };
                    for (x, (codes, (scales, sums))) in whole.iter().chain(last).zip(out) {
                        quantize(x, codes, scales, sums);
                    }
                }
            },
        );
        activations
    }

    /// The codes of a row, filled up.
    pub(super) fn codes(&self, row: usize) -> &[i8] {
        &self.codes[row * self.width..][..self.width]
    }

    /// The scales of a row's groups, and their scaled sums.
    pub(super) fn groups(&self, row: usize) -> (&[f32], &[f32]) {
        let (from, len) = (row * self.width / GROUP, self.width / GROUP);
        (&self.scales[from..][..len], &self.sums[from..][..len])
    }
}

#[inline(always)]
fn quantize(x: &[f32; SHARED], codes: &mut [i8], scales: &mut [f32], sums: &mut [f32]) {
    let most = x.iter().fold(0.0, |most: f32, x| if x.abs() > most { x.abs() } else { most });
    let scale = most / 127.0;
    let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
    scales.fill(scale);
    for ((x, codes), sum) in x.as_chunks::<GROUP>().0.iter().zip(codes.chunks_exact_mut(GROUP)).zip(sums) {
        let mut total = 0;
        for (x, code) in x.iter().zip(codes) {
            // Adding this rounds to an integer, ties to even, which is then in the lowest bits.
            let rounded = (x * inverse + 12_582_912.0).to_bits() as i8;
            total += i32::from(rounded);
            *code = rounded;
        }
        *sum = scale * total as f32;
    }
}
