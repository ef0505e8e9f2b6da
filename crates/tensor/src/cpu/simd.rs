//! Plain loops, compiled for the vectors that the processor has.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Add;

use rten_simd::isa::GenericIsa;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

use super::level::Level;
use super::stream::LINE;

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
    if level >= Level::Neon
        && let Some(isa) = rten_simd::isa::ArmNeonIsa::new()
    {
        return op.eval(isa);
    }
    let _ = level;
    op.eval(GenericIsa::new())
}

/// Evaluates `op` with the widest vectors at hand.
#[inline(always)]
pub(super) fn dispatch<Op: SimdOp>(op: Op) -> Op::Output {
    dispatch_at(Level::current(), op)
}

/// Asks for so many bytes before they are needed, wherever they are.
#[inline(always)]
pub(super) fn fetch<I: Isa, T>(isa: I, from: *const T, bytes: usize) {
    let (ops, from) = (isa.f32(), from.cast::<f32>());
    // Not a loop over the steps, which would stay one.
    (0..bytes).step_by(LINE).for_each(
        #[inline(always)]
        |at| ops.prefetch(from.wrapping_byte_add(at)),
    );
}

/// [`fetch`] where there is no ISA at hand.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) fn fetch_x86(from: *const u8, bytes: usize) {
    for at in (0..bytes).step_by(LINE) {
        // SAFETY: a hint never faults, wherever it points.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(at).cast()) };
    }
}

/// The sum of the lanes of each of four vectors.
#[inline(always)]
pub(super) fn sums<I: Isa>(isa: I, x: [I::F32; 4]) -> [f32; 4] {
    #[cfg(target_arch = "x86_64")]
    if size_of::<I::F32>() == size_of::<__m512>() {
        // SAFETY: vectors of this width are those of AVX-512, whose ISA there is only where the processor has it.
        unsafe {
            let x = x.map(
                #[inline(always)]
                |x| std::mem::transmute_copy::<I::F32, __m512>(&x),
            );
            return std::mem::transmute::<__m128, [f32; 4]>(sums_of_lanes(x));
        }
    }
    x.map(
        #[inline(always)]
        |x| isa.f32().sum(x),
    )
}

/// [`sums`] with AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) fn sums_of_lanes([a, b, c, d]: [__m512; 4]) -> __m128 {
    let two = |a, b| _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    let [ab, cd] = [two(a, b), two(c, d)].map(|two| _mm512_castps_pd(two));
    let [low, high] =
        [_mm512_unpacklo_pd(ab, cd), _mm512_unpackhi_pd(ab, cd)].map(|all| _mm512_castpd_ps(all));
    let all = _mm512_add_ps(low, high);
    let all = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps::<1>(all));
    _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps::<1>(all))
}

/// The greatest lane, of those that are numbers; at least `f32::MIN`.
#[inline(always)]
pub(super) fn greatest<I: Isa>(isa: I, x: I::F32) -> f32 {
    let mut lanes = [f32::MIN; LINE / size_of::<f32>()];
    debug_assert!(isa.f32().len() <= lanes.len());
    // SAFETY: no vector is longer than a cache line.
    unsafe { isa.f32().store_ptr(x, lanes.as_mut_ptr()) }
    halved(lanes, f32::max)
}

/// The sum of partial sums. For work that is [`vectorized`].
#[inline(always)]
pub(super) fn total<T: Copy + Add<Output = T>, const LANES: usize>(lanes: [T; LANES]) -> T {
    halved(lanes, |one, other| one + other)
}

/// What `f` makes of all lanes, two halves at a time: one after another, each would wait for the last.
#[inline(always)]
fn halved<T: Copy, const LANES: usize>(mut lanes: [T; LANES], f: impl Fn(T, T) -> T) -> T {
    const { assert!(LANES.is_power_of_two()) }
    let mut half = LANES / 2;
    while half > 0 {
        let (low, high) = lanes.split_at_mut(half);
        for (low, &mut high) in low.iter_mut().zip(high) {
            *low = f(*low, high);
        }
        half /= 2;
    }
    lanes[0]
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
    dispatch(Loop(work))
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
