//! Matrices whose columns lie one after another, as the weights of a `Conv1D` are stored: the result is a sum of these, each times an element
//! of the left side.
//!
//! Tasks have some outputs each, or, so that what a task reads is one stretch of memory, some columns.

use std::ops::Range;

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

use super::lines::Lines;
use super::split::InColumns;
use super::{Left, Part};
use crate::cpu::simd::{dispatch_at, fetch};
use crate::cpu::stored::Stored;

/// Columns that are added at once: a sum is loaded and stored once for as many.
const TOGETHER: usize = 4;

pub(super) struct Columns<'a, T>(pub(super) Lines<'a, T>);

impl<T: Stored> Part for Columns<'_, T> {
    fn run(&self, outputs: Range<usize>, to: &mut [f32]) {
        dispatch_at(self.0.level, Run(&self.0, 0..self.0.left.columns, outputs, to));
    }

    fn in_columns(&self) -> Option<&dyn InColumns> {
        Some(self)
    }
}

impl<T: Stored> InColumns for Columns<'_, T> {
    fn add(&self, columns: Range<usize>, to: &mut [f32]) {
        let outputs = 0..to.len() / self.0.left.rows;
        dispatch_at(self.0.level, Run(&self.0, columns, outputs, to));
    }
}

/// Adds some columns, times the elements of the left side, for some outputs.
struct Run<'a, T>(&'a Lines<'a, T>, Range<usize>, Range<usize>, &'a mut [f32]);

impl<T: Stored> SimdOp for Run<'_, T> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let Run(lines, columns, outputs, to) = self;
        let at = |column: usize| lines.at(column, outputs.start);
        let whole = columns.start + columns.len() / TOGETHER * TOGETHER;
        for start in (columns.start..whole).step_by(TOGETHER) {
            // SAFETY: the columns are there, and `to` has room for all rows.
            unsafe {
                add::<I, T, TOGETHER>(
                    isa,
                    lines.left,
                    std::array::from_fn(
                        #[inline(always)]
                        |i| at(start + i),
                    ),
                    std::array::from_fn(
                        #[inline(always)]
                        |i| at(start + TOGETHER + i),
                    ),
                    start,
                    to,
                )
            }
        }
        for column in whole..columns.end {
            // SAFETY: as above.
            unsafe { add(isa, lines.left, [at(column)], [at(column + 1)], column, to) }
        }
    }
}

/// Adds `N` columns, the first of them number `column`, to the sums of every row, and has those fetched that are `ahead`: they may lie too
/// far apart for processors to do so by themselves.
///
/// # Safety
/// Each of `weights` must be readable for as many elements as `to` has for a row.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn add<I: Isa, T: Stored, const N: usize>(
    isa: I,
    left: Left,
    weights: [*const T; N],
    ahead: [*const T; N],
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
            fetch(isa, ahead[n].wrapping_add(at), step * size_of::<T>());
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
