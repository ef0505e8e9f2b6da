//! Plain loops, compiled for the vectors that the processor has.

use std::mem::MaybeUninit;

use rten_simd::{Isa, SimdOp};

struct Loop<F>(F);

impl<R, F: FnOnce() -> R> SimdOp for Loop<F> {
    type Output = R;

    #[inline(always)]
    fn eval<I: Isa>(self, _isa: I) -> R {
        (self.0)()
    }
}

/// Runs `work` in a function compiled for the widest vectors at hand. Its loops are vectorised by the compiler; the closures that it
/// is made of must be `#[inline(always)]`, or they are compiled for the narrowest processor instead.
#[inline(always)]
pub(super) fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    Loop(work).dispatch()
}

/// `out[i] = f(x[i])`
#[inline(always)]
pub(super) fn each<A: Copy, O>(x: &[A], out: &mut [MaybeUninit<O>], f: impl Fn(A) -> O) {
    vectorized(
        #[inline(always)]
        || {
            for (out, &x) in out.iter_mut().zip(x) {
                out.write(f(x));
            }
        },
    );
}

/// `out[i] = f(x[i], y[i])`
#[inline(always)]
pub(super) fn each2<A: Copy, B: Copy, O>(
    x: &[A],
    y: &[B],
    out: &mut [MaybeUninit<O>],
    f: impl Fn(A, B) -> O,
) {
    vectorized(
        #[inline(always)]
        || {
            for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
                out.write(f(x, y));
            }
        },
    );
}

/// `out[i] = f(x[i], y[i], z[i])`
#[inline(always)]
pub(super) fn each3<A: Copy, B: Copy, C: Copy, O>(
    (x, y, z): (&[A], &[B], &[C]),
    out: &mut [MaybeUninit<O>],
    f: impl Fn(A, B, C) -> O,
) {
    vectorized(
        #[inline(always)]
        || {
            for (((out, &x), &y), &z) in out.iter_mut().zip(x).zip(y).zip(z) {
                out.write(f(x, y, z));
            }
        },
    );
}
