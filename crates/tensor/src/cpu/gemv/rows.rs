//! Matrices whose rows lie one after another, as most are stored: each output is a product of two rows.

use std::ops::Range;

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

use super::lines::Lines;
use super::{AHEAD, Left, ONE_BY_ONE, Part};
use crate::cpu::simd::dispatch_at;
use crate::cpu::stored::Stored;
use crate::cpu::stream::LINE;

/// Outputs that are computed side by side: each element of the left side that is loaded meets as many.
const OUTPUTS: usize = 4;

pub(super) struct Rows<'a, T>(pub(super) Lines<'a, T>);

impl<T: Stored> Part for Rows<'_, T> {
    fn run(&self, outputs: Range<usize>, to: &mut [f32]) {
        dispatch_at(self.0.level, Run(&self.0, outputs, to));
    }
}

struct Run<'a, T>(&'a Lines<'a, T>, Range<usize>, &'a mut [f32]);

impl<T: Stored> SimdOp for Run<'_, T> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let Run(lines, outputs, to) = self;
        let width = outputs.len();
        let together = if lines.left.rows <= ONE_BY_ONE { 1 } else { OUTPUTS };
        for start in (0..width).step_by(together) {
            let at = |output: usize| lines.at(outputs.start + output, 0);
            // SAFETY: the outputs are rows of the matrix, as long as those of the left side.
            unsafe {
                if together == OUTPUTS && start + OUTPUTS <= width {
                    let rows: [*const T; OUTPUTS] = std::array::from_fn(
                        #[inline(always)]
                        |i| at(start + i),
                    );
                    all(isa, lines.left, rows, to, start, width);
                } else {
                    for output in start..width.min(start + together) {
                        all(isa, lines.left, [at(output)], to, output, width);
                    }
                }
            }
        }
    }
}

/// Some outputs for every row of the left side. The weights come from memory for the first few rows and from the cache for the others.
///
/// # Safety
/// Each of `weights` must be readable for as many elements as the left side has columns.
#[inline(always)]
unsafe fn all<I: Isa, T: Stored, const N: usize>(
    isa: I,
    left: Left,
    weights: [*const T; N],
    to: &mut [f32],
    start: usize,
    width: usize,
) {
    let mut row = 0;
    while row < left.rows {
        // SAFETY: as the caller promises.
        row += unsafe {
            match left.rows - row {
                1 => dots::<I, T, N, 1>(isa, left, weights, row, to, (start, width)),
                2 => dots::<I, T, N, 2>(isa, left, weights, row, to, (start, width)),
                3 => dots::<I, T, N, 3>(isa, left, weights, row, to, (start, width)),
                _ => dots::<I, T, N, 4>(isa, left, weights, row, to, (start, width)),
            }
        };
    }
}

/// The products of `N` rows of weights with `M` of the left side, from `row` on; says M.
///
/// # Safety
/// As for [`all`].
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn dots<I: Isa, T: Stored, const N: usize, const M: usize>(
    isa: I,
    left: Left,
    weights: [*const T; N],
    row: usize,
    to: &mut [f32],
    (start, width): (usize, usize),
) -> usize {
    let ops = isa.f32();
    let (lanes, step) = (ops.len(), 2 * ops.len());
    let whole = left.columns / step * step;
    let mut sums = [[[ops.zero(); 2]; N]; M];
    let mut lefts = [left.values.as_ptr(); M];
    for m in 0..M {
        lefts[m] = left.row(row + m).as_ptr();
    }
    // Processors look no further than the end of a page by themselves. Several outputs are read side by side, which would be far slower
    // than to fetch the next ones' weights as the one stretch of memory that they are. (`simd::fetch` makes a shorter loop, in which 16-bit
    // floats come a quarter slower.)
    let ahead = if N > 1 { 0 } else { AHEAD };
    let soon = weights[N - 1].wrapping_add(left.columns).wrapping_byte_add(ahead).cast::<f32>();
    for at in (0..whole).step_by(step) {
        if row == 0 {
            let bytes = N * size_of::<T>();
            (at * bytes..(at + step) * bytes).step_by(LINE).for_each(
                #[inline(always)]
                |byte| ops.prefetch(soon.wrapping_byte_add(byte)),
            );
        }
        let mut w = [[ops.zero(); 2]; N];
        for n in 0..N {
            // SAFETY: as the caller promises.
            w[n] = unsafe { T::load(isa, weights[n].add(at)) };
        }
        for m in 0..M {
            // SAFETY: within a row of the left side.
            let x = unsafe { [ops.load_ptr(lefts[m].add(at)), ops.load_ptr(lefts[m].add(at + lanes))] };
            for n in 0..N {
                // Where there are few sums, the second one keeps them from waiting for one another.
                let other = usize::from(N == 1);
                sums[m][n][0] = ops.mul_add(x[0], w[n][0], sums[m][n][0]);
                sums[m][n][other] = ops.mul_add(x[1], w[n][1], sums[m][n][other]);
            }
        }
    }
    for m in 0..M {
        for n in 0..N {
            let mut sum = ops.sum(ops.add(sums[m][n][0], sums[m][n][1]));
            for at in whole..left.columns {
                // SAFETY: as above.
                sum += unsafe { *lefts[m].add(at) * (*weights[n].add(at)).widen() };
            }
            to[(row + m) * width + start + n] = sum;
        }
    }
    M
}
