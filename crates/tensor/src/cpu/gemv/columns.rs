//! Matrices whose columns lie one after another, as the weights of a `Conv1D` are stored: the result is a sum of these, each times an element
//! of the left side.

use std::ops::Range;

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

use super::lines::Lines;
use super::{Left, Part};
use crate::cpu::simd::dispatch_at;
use crate::cpu::stored::Stored;

/// Columns that are added at once: a sum is loaded and stored once for as many.
const TOGETHER: usize = 4;
/// How many columns ahead the weights are fetched: those of a task lie too far apart for processors to do so by themselves.
const AHEAD: usize = 8;
const LINE: usize = 64;

pub(super) struct Columns<'a, T>(pub(super) Lines<'a, T>);

impl<T: Stored> Part for Columns<'_, T> {
    fn run(&self, outputs: Range<usize>, to: &mut [f32]) {
        to.fill(0.0);
        dispatch_at(self.0.level, Run(&self.0, outputs, to));
    }
}

struct Run<'a, T>(&'a Lines<'a, T>, Range<usize>, &'a mut [f32]);

impl<T: Stored> SimdOp for Run<'_, T> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let Run(lines, outputs, to) = self;
        let ops = isa.f32();
        let at = |column: usize| lines.at(column, outputs.start);
        let bytes = outputs.len() * size_of::<T>();
        let columns = lines.left.columns;
        let whole = columns / TOGETHER * TOGETHER;
        for start in (0..whole).step_by(TOGETHER) {
            for column in (start + AHEAD..start + AHEAD + TOGETHER).take_while(|&column| column < columns) {
                let from = at(column).cast::<f32>();
                (0..bytes).step_by(LINE).for_each(
                    #[inline(always)]
                    |byte| ops.prefetch(from.wrapping_byte_add(byte)),
                );
            }
            // SAFETY: the columns are there, and `to` has room for all rows.
            unsafe {
                add::<I, T, TOGETHER>(
                    isa,
                    lines.left,
                    std::array::from_fn(
                        #[inline(always)]
                        |i| at(start + i),
                    ),
                    start,
                    to,
                )
            }
        }
        for column in whole..columns {
            // SAFETY: as above.
            unsafe { add(isa, lines.left, [at(column)], column, to) }
        }
    }
}

/// Adds `N` columns, the first of them number `column`, to the sums of every row.
///
/// # Safety
/// Each of `weights` must be readable for as many elements as `to` has for a row.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn add<I: Isa, T: Stored, const N: usize>(
    isa: I,
    left: Left,
    weights: [*const T; N],
    column: usize,
    to: &mut [f32],
) {
    let ops = isa.f32();
    let (lanes, step) = (ops.len(), 2 * ops.len());
    let width = to.len() / left.rows;
    let whole = width / step * step;
    for at in (0..whole).step_by(step) {
        let mut w = [[ops.zero(); 2]; N];
        for n in 0..N {
            // SAFETY: as the caller promises.
            w[n] = unsafe { T::load(isa, weights[n].add(at)) };
        }
        for row in 0..left.rows {
            let factors = &left.row(row)[column..][..N];
            // SAFETY: within the row's sums.
            unsafe {
                let sums = to.as_mut_ptr().add(row * width + at);
                let mut sum = [ops.load_ptr(sums), ops.load_ptr(sums.add(lanes))];
                for n in 0..N {
                    let factor = ops.splat(factors[n]);
                    sum[0] = ops.mul_add(factor, w[n][0], sum[0]);
                    sum[1] = ops.mul_add(factor, w[n][1], sum[1]);
                }
                ops.store_ptr(sum[0], sums);
                ops.store_ptr(sum[1], sums.add(lanes));
            }
        }
    }
    for (row, sums) in to.chunks_exact_mut(width).enumerate() {
        let factors = &left.row(row)[column..][..N];
        for at in whole..width {
            for n in 0..N {
                // SAFETY: as the caller promises.
                sums[at] += factors[n] * unsafe { (*weights[n].add(at)).widen() };
            }
        }
    }
}
