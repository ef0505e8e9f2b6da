//! Plain loops, compiled for the vectors that the processor has.

use std::mem::MaybeUninit;

use rten_simd::isa::GenericIsa;
use rten_simd::{Isa, SimdOp};

use super::level::Level;

/// Evaluates `op` with the vectors of a level that the processor has.
pub(super) fn dispatch_at<Op: SimdOp>(level: Level, op: Op) -> Op::Output {
    #[cfg(target_arch = "x86_64")]
    {
        use rten_simd::isa::{Avx2Isa, Avx512Isa};

        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,f16c")]
        fn avx512<Op: SimdOp>(isa: Avx512Isa, op: Op) -> Op::Output {
            op.eval(isa)
        }
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2<Op: SimdOp>(isa: Avx2Isa, op: Op) -> Op::Output {
            op.eval(isa)
        }
        if level >= Level::Avx512
            && let Some(isa) = Avx512Isa::new()
        {
            // SAFETY: there is such an ISA only where the processor has all of these.
            return unsafe { avx512(isa, op) };
        }
        if level >= Level::Avx2
            && let Some(isa) = Avx2Isa::new()
        {
            // SAFETY: as above.
            return unsafe { avx2(isa, op) };
        }
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(isa) = rten_simd::isa::ArmNeonIsa::new() {
        return op.eval(isa);
    }
    let _ = level;
    op.eval(GenericIsa::new())
}

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
