//! Rotary position embeddings, head by head.

use std::ops::{Add, Mul, Sub};

use super::rows::PARALLEL_FROM;
use super::simd::vectorized;
use crate::ops::Angles;
use crate::{DType, Element, Result, Tensor, team};

/// See [`crate::Backend::rope`].
pub(super) fn rope(out: &Tensor, x: &Tensor, angles: Angles) -> Result<()> {
    match x.dtype() {
        DType::F64 => turn::<f64>(out, x, angles),
        _ => turn::<f32>(out, x, angles),
    }
}

fn turn<C: Element + Mul<Output = C> + Add<Output = C> + Sub<Output = C>>(
    out: &Tensor,
    x: &Tensor,
    Angles { cos, sin, interleaved }: Angles,
) -> Result<()> {
    let &[rows, heads, head_dim] = x.shape() else { return Ok(()) };
    let pairs = cos.shape()[1];
    let (cos, sin): (&[C], &[C]) = (cos.as_slice()?, sin.as_slice()?);
    let (from, to): (Heads<C>, Heads<C>) = (Heads::of(x), Heads::of(out));
    let in_place = x.as_ptr() == out.as_ptr();
    let work = |row: usize| {
        vectorized(
            #[inline(always)]
            || {
                let (cos, sin) = (&cos[row * pairs..][..pairs], &sin[row * pairs..][..pairs]);
                for head in 0..heads {
                    let (x, out) = (from.at(row, head), to.at(row, head).cast_mut());
                    // SAFETY: both have a head here, and nobody else writes to this one.
                    unsafe {
                        let whole = pairs / BLOCK * BLOCK;
                        for i in (0..whole).step_by(BLOCK) {
                            some::<C, BLOCK>(x, out, i, (cos, sin), interleaved);
                        }
                        (whole..pairs).for_each(|i| some::<C, 1>(x, out, i, (cos, sin), interleaved));
                        if !in_place {
                            x.add(2 * pairs).copy_to_nonoverlapping(out.add(2 * pairs), head_dim - 2 * pairs);
                        }
                    }
                }
            },
        );
    };
    if rows * heads * head_dim < PARALLEL_FROM {
        (0..rows).for_each(work);
        return Ok(());
    }
    team::for_each(rows, work)
}

/// Pairs that are turned at once: read, all of them, before any is written, so that the compiler can do it in vectors although `x` and
/// `out` may be one.
const BLOCK: usize = 16;

/// Turns `N` pairs of a head from number `i` on.
///
/// # Safety
/// `x` must be readable and `out` writable for as many pairs as there are angles.
#[inline(always)]
unsafe fn some<C: Element + Mul<Output = C> + Add<Output = C> + Sub<Output = C>, const N: usize>(
    x: *const C,
    out: *mut C,
    i: usize,
    (cos, sin): (&[C], &[C]),
    interleaved: bool,
) {
    // SAFETY: as the caller promises; there are `N` angles from here on.
    unsafe {
        let (c, s): ([C; N], [C; N]) = (*cos.as_ptr().add(i).cast(), *sin.as_ptr().add(i).cast());
        if interleaved {
            let pairs: [[C; 2]; N] = *x.add(2 * i).cast();
            let turn = |n: usize| {
                let [a, b] = pairs[n];
                [a * c[n] - b * s[n], b * c[n] + a * s[n]]
            };
            *out.add(2 * i).cast::<[[C; 2]; N]>() = std::array::from_fn(turn);
        } else {
            let (a, b): ([C; N], [C; N]) = (*x.add(i).cast(), *x.add(i + cos.len()).cast());
            *out.add(i).cast::<[C; N]>() = std::array::from_fn(|n| a[n] * c[n] - b[n] * s[n]);
            *out.add(i + cos.len()).cast::<[C; N]>() = std::array::from_fn(|n| b[n] * c[n] + a[n] * s[n]);
        }
    }
}

/// Where the heads of a tensor (rows, heads, head_dim) of neighbouring elements lie.
struct Heads<C> {
    first: *const C,
    strides: [isize; 2],
}

// SAFETY: only the address crosses threads.
unsafe impl<C> Sync for Heads<C> {}

impl<C> Heads<C> {
    fn of(tensor: &Tensor) -> Heads<C> {
        let strides = tensor.layout().strides();
        Heads { first: tensor.as_ptr().cast(), strides: [strides[0], strides[1]] }
    }

    #[inline(always)]
    fn at(&self, row: usize, head: usize) -> *const C {
        self.first.wrapping_offset(row as isize * self.strides[0] + head as isize * self.strides[1])
    }
}
