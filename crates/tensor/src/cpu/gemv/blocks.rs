//! Matrices of blocks: products of integers within a group, scaled and added up as floats.

use std::ops::Range;

use rten_simd::{Isa, SimdOp};

use super::activations::{Activations, Row};
use super::{MAX_ROWS_OF_BLOCKS, Part};
use crate::Quantized;
use crate::cpu::level::Level;
use crate::cpu::simd::dispatch_at;
use crate::quant::{BlockFormat, GROUP, RUN, Run};

pub(super) struct Blocks<'a> {
    level: Level,
    left: &'a Activations,
    format: BlockFormat,
    rows: &'a [u8],
    row_bytes: usize,
    columns: usize,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(level: Level, left: &'a Activations, matrix: &'a Quantized) -> Option<Blocks<'a>> {
        let (format, rows) = (matrix.format(), matrix.blocks().as_slice().ok()?);
        let (row_bytes, columns) = (matrix.blocks().shape()[1], matrix.shape()[1]);
        Some(Blocks { level, left, format, rows, row_bytes, columns })
    }

    /// The bytes from a row on.
    pub(super) fn from(&self, row: usize) -> &'a [u8] {
        &self.rows[row * self.row_bytes..]
    }
}

impl Part for Blocks<'_> {
    fn run(&self, outputs: Range<usize>, to: &mut [f32]) {
        match self.level {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the processor has this level.
            level if level >= Level::Vnni => unsafe {
                super::vnni::run(self, self.format, self.left, self.columns, outputs, to)
            },
            level => dispatch_at(level, Plain(self, outputs, to)),
        }
    }
}

/// Plain loops, compiled for the vectors of a level: what the products are.
struct Plain<'a>(&'a Blocks<'a>, Range<usize>, &'a mut [f32]);

impl SimdOp for Plain<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) {
        let Plain(blocks, outputs, to) = self;
        let (rows, width, mut run) = (&blocks.left.rows, outputs.len(), Run::ZERO);
        let mut sums = [0.0; MAX_ROWS_OF_BLOCKS];
        for (i, output) in outputs.enumerate() {
            let weights = &blocks.from(output)[..blocks.row_bytes];
            let sums = &mut sums[..rows.len()];
            sums.fill(0.0);
            for start in (0..blocks.columns).step_by(RUN) {
                // What is left from before in a run that is not full meets zeros.
                run.unpack(blocks.format, weights, start);
                for (row, sum) in rows.iter().zip(sums.iter_mut()) {
                    *sum += dot(&run, row, start);
                }
            }
            for (row, sum) in sums.iter().enumerate() {
                to[row * width + i] = *sum;
            }
        }
    }
}

/// The product of a run with the elements of a row of the left side from `start` on.
#[inline(always)]
fn dot(run: &Run, row: &Row, start: usize) -> f32 {
    const GROUPS: usize = RUN / GROUP;
    let (scales, sums) = (&row.scales[start / GROUP..][..GROUPS], &row.sums[start / GROUP..][..GROUPS]);
    let codes = row.codes[start..][..RUN].as_chunks::<GROUP>().0;
    let mut totals = [0; GROUPS];
    for (total, (x, w)) in totals.iter_mut().zip(codes.iter().zip(run.codes.as_chunks::<GROUP>().0)) {
        for i in 0..GROUP {
            *total += i32::from(x[i]) * i32::from(w[i]);
        }
    }
    let mut dot = 0.0;
    for g in 0..GROUPS {
        dot += run.scales[g] * scales[g] * totals[g] as f32 + run.offsets[g] * sums[g];
    }
    dot
}
