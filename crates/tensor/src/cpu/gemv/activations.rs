//! The left side of a product with blocks: rounded to 8 bits, so that products are of integers. As ggml's `Q8_1` does it.

use super::Left;
use crate::cpu::simd::vectorized;
use crate::quant::{GROUP, RUN};
use crate::{Result, team};

/// Elements that share a scale.
const SHARED: usize = 32;

/// Fewer elements than this are rounded on the calling thread: sharing them costs as much.
const PARALLEL_FROM: usize = 32 << 10;

/// Rows of 8-bit codes with a scale for every [`SHARED`] of them.
pub(super) struct Activations {
    pub(super) rows: usize,
    all: Vec<Row>,
}

/// A row, filled up with zeros to whole runs of [`RUN`].
#[derive(Clone)]
struct Row {
    /// From -127 to 127.
    codes: Vec<i8>,
    /// The scale of each group of [`GROUP`].
    scales: Vec<f32>,
    /// The sum of each group of [`GROUP`], scaled.
    sums: Vec<f32>,
}

impl Row {
    fn fill(&mut self, x: &[f32]) {
        vectorized(
            #[inline(always)]
            || {
                let groups =
                    self.scales.as_chunks_mut::<2>().0.iter_mut().zip(self.sums.as_chunks_mut::<2>().0);
                let mut out = self.codes.as_chunks_mut::<SHARED>().0.iter_mut().zip(groups);
                let (whole, rest) = x.as_chunks::<SHARED>();
                for (x, (codes, (scales, sums))) in whole.iter().zip(&mut out) {
                    quantize(x, codes, scales, sums);
                }
                if let Some((codes, (scales, sums))) = out.next().filter(|_| !rest.is_empty()) {
                    let mut last = [0.0; SHARED];
                    last[..rest.len()].copy_from_slice(rest);
                    quantize(&last, codes, scales, sums);
                }
            },
        );
    }
}

impl Activations {
    /// # Errors
    /// `Threads` when there are none to be had.
    pub(super) fn of(left: Left) -> Result<Activations> {
        let (rows, width) = (left.rows, left.columns.next_multiple_of(RUN));
        let groups = width / GROUP;
        let mut all =
            vec![Row { codes: vec![0; width], scales: vec![0.0; groups], sums: vec![0.0; groups] }; rows];
        let one = |row: usize, to: &mut [Row]| to.iter_mut().for_each(|to| to.fill(left.row(row)));
        if rows * width < PARALLEL_FROM {
            (0..rows).for_each(|row| one(row, &mut all[row..=row]));
        } else {
            team::for_each_chunk(&mut all, 1, one)?;
        }
        Ok(Activations { rows, all })
    }

    /// The codes of a row, filled up.
    pub(super) fn codes(&self, row: usize) -> &[i8] {
        &self.all[row].codes
    }

    /// The scales of a row's groups, and their scaled sums.
    pub(super) fn groups(&self, row: usize) -> (&[f32], &[f32]) {
        (&self.all[row].scales, &self.all[row].sums)
    }
}

#[inline(always)]
fn quantize(x: &[f32; SHARED], codes: &mut [i8; SHARED], scales: &mut [f32; 2], sums: &mut [f32; 2]) {
    let most = x.iter().fold(0.0, |most: f32, x| if x.abs() > most { x.abs() } else { most });
    let scale = most / 127.0;
    let inverse = if most > 0.0 { 127.0 / most } else { 0.0 };
    scales.fill(scale);
    for ((x, codes), sum) in x.as_chunks::<GROUP>().0.iter().zip(codes.as_chunks_mut::<GROUP>().0).zip(sums) {
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
