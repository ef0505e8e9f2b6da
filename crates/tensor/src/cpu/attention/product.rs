//! The one product that attention is made of, in the registers of whatever vectors there are.

use rten_simd::Isa;
use rten_simd::ops::{BitOps, NumOps};

/// The most vectors that a row of the right side may fill.
pub(super) const MAX_VECTORS: usize = 3;
/// The most rows of a result that are held in registers at a time.
pub(super) const MAX_HELD: usize = 8;

/// The left side of a product: rows of numbers, read where they lie.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) data: *const f32,
    pub(super) rows: usize,
    pub(super) row_stride: isize,
    /// From one factor of a sum to the next.
    pub(super) step: isize,
}

/// `out = left right`, or `out · scale + left right`. `right` and `out` have rows of so many `vectors` (1 to [`MAX_VECTORS`]), one after
/// another, `scale` is one such row. `out` must have room for [`MAX_HELD`] rows beyond the last.
///
/// # Safety
/// `left` must be readable for `inner` steps of each of its rows, of which there is one at least, `right` for `inner` rows, `scale` for
/// one; `out` must be writable, and readable where there is a `scale`.
#[inline(always)]
pub(super) unsafe fn multiply<I: Isa>(
    isa: I,
    vectors: usize,
    left: Left,
    right: *const f32,
    inner: usize,
    out: *mut f32,
    scale: Option<*const f32>,
) {
    // As many sums as there are registers for, beside a row of the right side and a factor.
    let many = isa.f32().len() == 16;
    // SAFETY: as the caller promises.
    unsafe {
        match (vectors, many) {
            (1, _) => in_registers::<I, 1, 8>(isa, left, right, inner, out, scale),
            (2, true) => in_registers::<I, 2, 8>(isa, left, right, inner, out, scale),
            (2, false) => in_registers::<I, 2, 4>(isa, left, right, inner, out, scale),
            (_, true) => in_registers::<I, 3, 8>(isa, left, right, inner, out, scale),
            (_, false) => in_registers::<I, 3, 4>(isa, left, right, inner, out, scale),
        }
    }
}

/// [`multiply`] with `N` rows of `V` vectors at a time.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn in_registers<I: Isa, const V: usize, const N: usize>(
    isa: I,
    left: Left,
    right: *const f32,
    inner: usize,
    out: *mut f32,
    scale: Option<*const f32>,
) {
    let ops = isa.f32();
    let lanes = ops.len();
    for first in (0..left.rows).step_by(N) {
        // SAFETY: rows beyond the last are the last again; everything else is as the caller promises.
        unsafe {
            let mut rows = [left.data; N];
            for i in 0..N {
                rows[i] = left.data.offset((first + i).min(left.rows - 1) as isize * left.row_stride);
            }
            let out = out.add(first * V * lanes);
            let mut sums = [[ops.zero(); V]; N];
            if let Some(scale) = scale {
                for i in 0..N {
                    for v in 0..V {
                        let old = ops.load_ptr(out.add((i * V + v) * lanes));
                        sums[i][v] = ops.mul(old, ops.load_ptr(scale.add(v * lanes)));
                    }
                }
            }
            let (mut at, mut right) = (0, right);
            for _ in 0..inner {
                let mut row = [ops.zero(); V];
                for v in 0..V {
                    row[v] = ops.load_ptr(right.add(v * lanes));
                }
                for i in 0..N {
                    let factor = ops.splat(*rows[i].offset(at));
                    for v in 0..V {
                        sums[i][v] = ops.mul_add(factor, row[v], sums[i][v]);
                    }
                }
                at += left.step;
                right = right.add(V * lanes);
            }
            for i in 0..N {
                for v in 0..V {
                    ops.store_ptr(sums[i][v], out.add((i * V + v) * lanes));
                }
            }
        }
    }
}
