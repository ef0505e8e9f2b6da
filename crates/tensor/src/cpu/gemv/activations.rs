//! The left side of a product with blocks: integers of 8 bits, so that products are of integers, and integers of 8 bits for what those leave.
//!
//! ggml's `Q8_1` stops at the first ones. With 1 of 127 steps that is an error that can be seen: of ten texts that SmolLM2 writes in 64 tokens,
//! one was what it writes with its blocks as floats. Twice 8 bits are 16, with the same kernels, and decoding waits for memory anyway.

use super::Left;
use crate::cpu::simd::vectorized;
use crate::quant::{GROUP, RUN};
use crate::{Result, team};

/// Elements that share a scale.
const SHARED: usize = 32;

/// Rows of codes that stand for a row together: rounded, and what that leaves.
pub(super) const TERMS: usize = 2;

/// Fewer elements than this are rounded on the calling thread: sharing them costs as much.
const PARALLEL_FROM: usize = 32 << 10;

/// Rows of 8-bit codes with a scale for every [`SHARED`] of them; each [`TERMS`] neighbours add up to a row of the left side.
pub(super) struct Activations {
    pub(super) rows: usize,
    all: Vec<[Row; TERMS]>,
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
    /// Room for `width` codes.
    fn of(width: usize) -> Row {
        let groups = width / GROUP;
        Row { codes: vec![0; width], scales: vec![0.0; groups], sums: vec![0.0; groups] }
    }

    /// The codes that share a scale, their scales and their sums, one after another.
    #[inline(always)]
    fn shares(&mut self) -> impl Iterator<Item = (&mut [i8; SHARED], (&mut [f32; 2], &mut [f32; 2]))> {
        let scales = self.scales.as_chunks_mut::<2>().0.iter_mut();
        let groups = scales.zip(self.sums.as_chunks_mut::<2>().0);
        self.codes.as_chunks_mut::<SHARED>().0.iter_mut().zip(groups)
    }
}

/// Rounds `x`, and then what that leaves.
fn fill([codes, rests]: &mut [Row; TERMS], x: &[f32]) {
    vectorized(
        #[inline(always)]
        || {
            let mut out = codes.shares().zip(rests.shares());
            let (whole, rest) = x.as_chunks::<SHARED>();
            for (x, out) in whole.iter().zip(&mut out) {
                quantize_twice(x, out);
            }
            if let Some(out) = out.next().filter(|_| !rest.is_empty()) {
                let mut last = [0.0; SHARED];
                last[..rest.len()].copy_from_slice(rest);
                quantize_twice(&last, out);
            }
        },
    );
}

/// Where codes go, their scales and their sums.
type Share<'a> = (&'a mut [i8; SHARED], (&'a mut [f32; 2], &'a mut [f32; 2]));

#[inline(always)]
fn quantize_twice(x: &[f32; SHARED], ((codes, (scales, sums)), (rests, rest_of)): (Share, Share)) {
    quantize(x, codes, scales, sums);
    let mut left = [0.0; SHARED];
    for ((left, x), code) in left.iter_mut().zip(x).zip(&*codes) {
        *left = x - scales[0] * f32::from(*code);
    }
    quantize(&left, rests, rest_of.0, rest_of.1);
}

impl Activations {
    /// # Errors
    /// `Threads` when there are none to be had.
    pub(super) fn of(left: Left) -> Result<Activations> {
        let (rows, width) = (left.rows, left.columns.next_multiple_of(RUN));
        let mut all = vec![[Row::of(width), Row::of(width)]; rows];
        let one = |row: usize, to: &mut [[Row; TERMS]]| to.iter_mut().for_each(|to| fill(to, left.row(row)));
        if rows * width < PARALLEL_FROM {
            (0..rows).for_each(|row| one(row, &mut all[row..=row]));
        } else {
            team::for_each_chunk(&mut all, 1, one)?;
        }
        Ok(Activations { rows: TERMS * rows, all })
    }

    /// The codes of a row, filled up.
    pub(super) fn codes(&self, row: usize) -> &[i8] {
        &self.all[row / TERMS][row % TERMS].codes
    }

    /// The scales of a row's groups, and their scaled sums.
    pub(super) fn groups(&self, row: usize) -> (&[f32], &[f32]) {
        let row = &self.all[row / TERMS][row % TERMS];
        (&row.scales, &row.sums)
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
