//! Matrices of blocks as they are stored: products of integers within a group, scaled and added up as floats. Plain loops, compiled for the
//! vectors of a level: what the products are.

use std::ops::Range;

use rten_simd::{Isa, SimdOp};

use super::activations::{Activations, Rounded, SHARED};
use super::{MAX_ROWS, Part};
use crate::Quantized;
use crate::cpu::level::Level;
use crate::cpu::simd::dispatch_at;
use crate::quant::{GROUP, RUN, Run};

pub(super) struct Blocks<'a> {
    level: Level,
    left: &'a Activations,
    matrix: &'a Quantized,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(level: Level, left: &'a Activations, matrix: &'a Quantized) -> Blocks<'a> {
        Blocks { level, left, matrix }
    }
}

impl Part for Blocks<'_> {
    fn run(&self, outputs: Range<usize>, to: &mut [f32]) {
        dispatch_at(self.level, Plain(self, outputs, to));
    }
}

struct Plain<'a>(&'a Blocks<'a>, Range<usize>, &'a mut [f32]);

impl SimdOp for Plain<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) {
        let Plain(blocks, outputs, to) = self;
        let (width, runs, mut run) = (outputs.len(), blocks.left.runs, Run::ZERO);
        let rows = || blocks.left.rounded.chunks_exact(runs.max(1));
        let (mut sums, mut space) = ([0.0; MAX_ROWS], Vec::new());
        for (i, output) in outputs.enumerate() {
            let weights = blocks.matrix.row(output, &mut space);
            sums.fill(0.0);
            for index in 0..runs {
                // What is left from before in a run that is not full meets zeros.
                run.unpack(blocks.matrix.format(), weights, index * RUN);
                rows().zip(&mut sums).for_each(|(row, sum)| *sum += dot(&run, &row[index]));
            }
            for (to, sum) in to.chunks_exact_mut(width).zip(&sums) {
                to[i] = *sum;
            }
        }
    }
}

/// The product of two runs.
#[inline(always)]
fn dot(run: &Run, row: &Rounded) -> f32 {
    const GROUPS: usize = RUN / GROUP;
    let mut totals = [0; GROUPS];
    let groups = row.codes.as_chunks::<GROUP>().0.iter().zip(run.codes.as_chunks::<GROUP>().0);
    for (total, (x, w)) in totals.iter_mut().zip(groups) {
        for i in 0..GROUP {
            *total += i32::from(x[i]) * i32::from(w[i]);
        }
    }
    let mut dot = 0.0;
    for (g, total) in totals.iter().enumerate() {
        let scale = run.scales[g] * row.scales[g * GROUP / SHARED];
        dot += scale * *total as f32 + run.offsets[g] * row.sums[g];
    }
    dot
}
