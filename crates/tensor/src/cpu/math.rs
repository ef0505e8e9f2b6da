//! Functions that no library gives us well enough.

use rten_simd::ops::{BitOps, FloatOps, IntOps, NumOps};
use rten_simd::{Isa, Simd, SimdUnaryOp};

pub(super) mod f32 {
    pub(in crate::cpu) const ROOT_2_OVER_PI: f32 = 0.797_884_6;

    /// One number of [`super::Erf`], for kernels without a vector form.
    pub(in crate::cpu) fn erf(x: f32) -> f32 {
        rten_simd::SimdUnaryOp::scalar_eval(&super::Erf {}, x)
    }
}

pub(super) mod f64 {
    pub(in crate::cpu) const ROOT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;

    pub(in crate::cpu) fn erf(x: f64) -> f64 {
        libm::erf(x)
    }
}

/// The error function, within 1.3 ULP.
///
/// Two minimax polynomials, after N. Juffa: `x + x P(x²)` up to 475/512; beyond, `1 - exp(Q(|x|))` with the sign of `x`. Computed
/// without a subtraction of nearly equal numbers, unlike the usual formula of Abramowitz and Stegun.
#[derive(Default)]
pub(super) struct Erf {}

impl SimdUnaryOp<f32> for Erf {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        let fma = |a, b, c: f32| ops.mul_add(a, b, ops.splat(c));
        let (t, s) = (ops.abs(x), ops.mul(x, x));

        let r = fma(ops.splat(-1.728_534_7e-5), t, 3.831_979_7e-4);
        let u = fma(ops.splat(-3.883_964_4e-3), t, 2.425_462_2e-2);
        let r = ops.mul_add(r, s, u);
        let r = fma(r, t, -1.067_778_8e-1);
        let r = fma(r, t, -6.348_468_7e-1);
        let r = fma(r, t, -1.287_175_1e-1);
        let r = ops.mul_add(r, t, ops.neg(t));
        let large = ops.sub(ops.one(), ExpOfNegative::apply(isa, r));
        let large = ops.select(ops.neg(large), large, ops.lt(x, ops.zero()));

        let p = fma(ops.splat(-5.967_617e-4), s, 4.991_194_2e-3);
        let p = fma(p, s, -2.676_813_5e-2);
        let p = fma(p, s, 1.128_199_25e-1);
        let p = fma(p, s, -3.761_253_4e-1);
        let p = fma(p, s, 1.283_791_7e-1);
        let small = ops.mul_add(p, x, x);

        ops.select(large, small, ops.gt(t, ops.splat(475.0 / 512.0)))
    }
}

/// Φ(-u), the tail of the normal distribution, for u ≥ 0 up to [`TAIL_END`]: within 3e-7 of what u - u Φ(-u) is there.
///
/// log₂ Φ(-u) is a polynomial, minimax for what it does to GELU; its integer part k goes into the exponent, 2ᶠ of the rest is another.
#[inline(always)]
fn normal_tail<I: Isa>(isa: I, u: I::F32) -> I::F32 {
    let ops = isa.f32();
    let log = polynomial(
        isa,
        u,
        [
            2.827_342_8e-8,
            -1.106_109_2e-6,
            1.531_369e-5,
            -6.962_776_4e-5,
            -4.059_727e-4,
            7.380_844e-3,
            -5.268_259e-2,
            -4.591_601e-1,
            -1.151_109_1,
            -1.0,
        ],
    );
    let shifted = ops.add(log, ops.splat(ROUNDS));
    let rest = ops.sub(log, ops.sub(shifted, ops.splat(ROUNDS)));
    #[expect(clippy::approx_constant, reason = "near ln 2, but the best with these others")]
    let power =
        polynomial(isa, rest, [1.326_459_1e-3, 9.671_619e-3, 5.550_735e-2, 2.402_224_1e-1, 6.931_47e-1, 1.0]);
    times_power_of_2(isa, power, shifted)
}

/// Up to where Φ(-u) is a normal number.
const TAIL_END: std::primitive::f32 = 12.9;

/// x Φ(x) = max(x, 0) - |x| Φ(-|x|).
#[derive(Default)]
pub(super) struct Gelu {}

impl SimdUnaryOp<f32> for Gelu {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        let distance = ops.min(ops.abs(x), ops.splat(TAIL_END));
        let positive = ops.select(ops.zero(), x, ops.lt(x, ops.zero()));
        ops.mul_sub_from(distance, normal_tail(isa, distance), positive)
    }
}

/// Φ(x) + x φ(x), the derivative of [`Gelu`].
#[derive(Default)]
pub(super) struct GeluDerivative {}

impl SimdUnaryOp<f32> for GeluDerivative {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        let erf = Erf::apply(isa, ops.mul(x, ops.splat(std::f32::consts::FRAC_1_SQRT_2)));
        let distribution = ops.mul_add(erf, ops.splat(0.5), ops.splat(0.5));
        let exponential = ExpOfNegative::apply(isa, ops.mul(ops.mul(x, x), ops.splat(-0.5)));
        // 1 / √(2 π)
        ops.mul_add(ops.mul(x, exponential), ops.splat(0.398_942_3), distribution)
    }
}

/// 1.5 × 2²³: the sum with a number rounds that to an integer, which is then in the lowest bits.
pub(super) const ROUNDS: std::primitive::f32 = 12_582_912.0;
/// What is added to an exponent in the bits of a float.
const BIAS: std::primitive::f32 = 127.0;

/// `c[0] xⁿ + … + c[n]`
#[inline(always)]
fn polynomial<I: Isa, const N: usize>(isa: I, x: I::F32, c: [std::primitive::f32; N]) -> I::F32 {
    let ops = isa.f32();
    let mut sum = ops.splat(c[0]);
    for &c in &c[1..] {
        sum = ops.mul_add(sum, x, ops.splat(c));
    }
    sum
}

/// `y`, but NaN where `x` is: not all processors' minimum and maximum keep it.
#[inline(always)]
fn or_nan<I: Isa>(isa: I, x: I::F32, y: I::F32) -> I::F32 {
    let ops = isa.f32();
    ops.select(y, x, ops.eq(x, x))
}

/// `x 2ᵏ` from `shifted`, which is [`ROUNDS`] + k, where both `x` and the product are normal numbers.
#[inline(always)]
fn times_power_of_2<I: Isa>(isa: I, x: I::F32, shifted: I::F32) -> I::F32 {
    let ints = isa.i32();
    let (x, shifted): (I::I32, I::I32) = (x.reinterpret_cast(), shifted.reinterpret_cast());
    ints.add(x, ints.shift_left::<23>(shifted)).reinterpret_cast()
}

/// 2ᵏ from `shifted`, which is [`ROUNDS`] + [`BIAS`] + k, where it is a normal number.
#[inline(always)]
fn power_of_2<I: Isa>(isa: I, shifted: I::F32) -> I::F32 {
    let bits: I::I32 = shifted.reinterpret_cast();
    isa.i32().shift_left::<23>(bits).reinterpret_cast()
}

/// x as k ln 2 + r with |r| ≤ ln 2 / 2: [`ROUNDS`] + `bias` + k, and eʳ by a minimax polynomial, after N. Juffa.
#[inline(always)]
fn exp_parts<I: Isa>(isa: I, x: I::F32, bias: std::primitive::f32) -> (I::F32, I::F32) {
    let ops = isa.f32();
    let rounds = ops.splat(ROUNDS + bias);
    let shifted = ops.mul_add(x, ops.splat(std::f32::consts::LOG2_E), rounds);
    let k = ops.sub(shifted, rounds);
    let r = ops.mul_add(k, ops.splat(-6.931_457_5e-1), x);
    let r = ops.mul_add(k, ops.splat(-1.428_606_8e-6), r);
    let c = [1.378_059_4e-3, 8.373_124_5e-3, 4.166_953_6e-2, 1.666_647_2e-1, 4.999_998_5e-1, 1.0, 1.0];
    (shifted, polynomial(isa, r, c))
}

/// eˣ, within 1 ULP.
#[derive(Default)]
pub(super) struct Exp {}

impl SimdUnaryOp<f32> for Exp {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
        let (ops, ints) = (isa.f32(), isa.i32());
        // Beyond, all are infinite or zero.
        let within = ops.min(ops.max(x, ops.splat(-105.0)), ops.splat(90.0));
        // In two steps, since 2ᵏ need not be a float.
        let (shifted, e) = exp_parts(isa, within, 2.0 * BIAS);
        let both: I::I32 = shifted.reinterpret_cast();
        let half = ints.shift_right::<1>(both);
        let power = |bits: I::I32| -> I::F32 { ints.shift_left::<23>(bits).reinterpret_cast() };
        or_nan(isa, x, ops.mul(ops.mul(e, power(half)), power(ints.sub(both, half))))
    }
}

/// eˣ for x ≤ 0, within 1 ULP; 0 where it would be subnormal.
#[derive(Default)]
pub(super) struct ExpOfNegative {}

impl SimdUnaryOp<f32> for ExpOfNegative {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        let (shifted, e) = exp_parts(isa, x, BIAS);
        let power = power_of_2(isa, shifted);
        // 2ᵏ is a normal number from here on.
        let is_tiny = ops.lt(x, ops.splat(-87.33));
        ops.select(ops.zero(), ops.mul(e, power), is_tiny)
    }
}

/// tanh x, within 3 ULP.
///
/// With e⁻²ᵘ = 2ᵏ (1 + 2p), u = |x|, it is n / (1 - n) for n = (1 - 2ᵏ) / 2 - 2ᵏ p: nothing is lost where x is small, since k is 0 there.
#[derive(Default)]
pub(super) struct Tanh {}

impl SimdUnaryOp<f32> for Tanh {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        // Beyond, all round to 1.
        let u = ops.min(ops.abs(x), ops.splat(10.0));
        let rounds = ops.splat(ROUNDS + BIAS);
        let shifted = ops.mul_add(u, ops.splat(-2.0 * std::f32::consts::LOG2_E), rounds);
        let k = ops.sub(shifted, rounds);
        // -2u = k ln 2 + 2h
        let h = ops.mul_sub_from(k, ops.splat(3.465_728_8e-1), ops.neg(u));
        let h = ops.mul_sub_from(k, ops.splat(7.143_034e-7), h);
        // (e²ʰ - 1) / 2 = h + h² P(h), minimax.
        let c = [4.442_405_3e-2, 1.338_647_6e-1, 3.333_376e-1, 6.666_617_4e-1, 9.999_999_4e-1];
        let p = ops.mul_add(ops.mul(h, h), polynomial(isa, h, c), h);
        let power = power_of_2(isa, shifted);
        let half = ops.splat(0.5);
        let n = ops.mul_sub_from(power, p, ops.mul_sub_from(power, half, half));
        let sign = ops.and(x, ops.splat(-0.0));
        or_nan(isa, x, ops.or(ops.div(n, ops.sub(ops.one(), n)), sign))
    }
}

/// σ(x) = 1 / (1 + e⁻ˣ)
#[derive(Default)]
pub(super) struct Sigmoid {}

impl SimdUnaryOp<f32> for Sigmoid {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        ops.reciprocal(ops.add(ops.one(), Exp::apply(isa, ops.neg(x))))
    }
}

/// The natural logarithm within 2 ULP, by a loop body without branches: x = 2ᵏ m with m in [√½, √2), ln x = k ln 2 + ln m.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    // Subnormal numbers are scaled into the normal range first.
    let tiny = x < f32::MIN_POSITIVE;
    let scaled = if tiny { x * 8_388_608.0 } else { x };
    let bits = scaled.to_bits() as i32;
    let k = bits.wrapping_sub(0x3f35_04f3) >> 23;
    let m = std::primitive::f32::from_bits(bits.wrapping_sub(k << 23) as u32);
    let k = (if tiny { k - 23 } else { k }) as std::primitive::f32;
    // ln(1 + f) = f - f²/2 + f³ P(f), minimax after S. Moshier's Cephes.
    let f = m - 1.0;
    let z = f * f;
    let mut p = 7.037_683_6e-2;
    p = p * f - 1.151_461_1e-1;
    p = p * f + 1.167_699_84e-1;
    p = p * f - 1.242_014_1e-1;
    p = p * f + 1.424_932_3e-1;
    p = p * f - 1.666_805_7e-1;
    p = p * f + 2.000_071_5e-1;
    p = p * f - 2.499_999_4e-1;
    p = p * f + 3.333_333e-1;
    let tail = p * f * z + k * -2.121_944_4e-4 - 0.5 * z;
    let ln = f + tail + k * 0.693_359_4;
    if x > 0.0 && x < f32::INFINITY {
        ln
    } else if x == 0.0 {
        f32::NEG_INFINITY
    } else if x == f32::INFINITY {
        x
    } else {
        f32::NAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many floats lie between.
    fn ulps(got: f32, want: f64) -> f64 {
        let want32 = want as f32;
        let ulp = f64::from(f32::from_bits(want32.abs().to_bits() + 1) - want32.abs());
        (f64::from(got) - want).abs() / ulp
    }

    fn worst(
        range: impl Iterator<Item = f32>,
        got: impl Fn(f32) -> f32,
        want: impl Fn(f64) -> f64,
    ) -> (f64, f32) {
        range
            .map(|x| (ulps(got(x), want(f64::from(x))), x))
            .fold((0.0, 0.0), |a, b| if b.0 > a.0 { b } else { a })
    }

    /// Floats of all magnitudes in `low..high`.
    fn sample(low: f32, high: f32) -> impl Iterator<Item = f32> {
        (low.to_bits()..high.to_bits()).step_by(1013).map(f32::from_bits)
    }

    #[test]
    fn erf_is_exact_to_the_last_digit_but_one() {
        let (error, x) = worst(sample(1e-30, 6.0), |x| Erf {}.scalar_eval(x), libm::erf);
        assert!(error <= 1.3, "erf({x}) is {error} ULP off");
        assert_eq!(Erf {}.scalar_eval(-0.5), -Erf {}.scalar_eval(0.5));
        assert_eq!([Erf {}.scalar_eval(f32::INFINITY), Erf {}.scalar_eval(-1e30)], [1.0, -1.0]);
        assert!(Erf {}.scalar_eval(f32::NAN).is_nan());
    }

    #[test]
    fn exp_of_negative_is_exact_to_the_last_digit() {
        let (error, x) = worst(
            sample(1e-30, 87.3),
            |x| ExpOfNegative {}.scalar_eval(-x),
            |x| std::primitive::f64::exp(-x),
        );
        assert!(error <= 1.0, "exp(-{x}) is {error} ULP off");
        let at = |x| ExpOfNegative {}.scalar_eval(x);
        assert_eq!(
            [at(0.0), at(-0.0), at(-88.0), at(-1e30), at(f32::MIN), at(f32::NEG_INFINITY)],
            [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
        );
        assert!(at(f32::NAN).is_nan());
    }

    #[test]
    fn exp_is_exact_to_the_last_digit_and_ends_where_floats_do() {
        let exp = |x| Exp {}.scalar_eval(x);
        let (error, x) = worst(sample(1e-30, 88.7), exp, std::primitive::f64::exp);
        assert!(error <= 1.0, "exp({x}) is {error} ULP off");
        let (error, x) = worst(sample(1e-30, 103.0), |x| exp(-x), |x| std::primitive::f64::exp(-x));
        assert!(error <= 1.0, "exp(-{x}) is {error} ULP off");
        assert_eq!(
            [
                exp(0.0),
                exp(89.0),
                exp(1e30),
                exp(f32::INFINITY),
                exp(-104.5),
                exp(-1e30),
                exp(f32::NEG_INFINITY)
            ],
            [1.0, f32::INFINITY, f32::INFINITY, f32::INFINITY, 0.0, 0.0, 0.0]
        );
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn tanh_is_exact_to_the_last_digits() {
        let tanh = |x| Tanh {}.scalar_eval(x);
        let (error, x) = worst(sample(1e-30, 20.0), tanh, std::primitive::f64::tanh);
        assert!(error <= 3.0, "tanh({x}) is {error} ULP off");
        assert_eq!(
            [tanh(-0.5), tanh(-f32::INFINITY), tanh(1e30), tanh(1e-40)],
            [-tanh(0.5), -1.0, 1.0, 1e-40]
        );
        assert!(tanh(-0.0).is_sign_negative() && tanh(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_is_exact_to_what_its_largest_part_holds() {
        for x in sample(1e-30, 100.0).flat_map(|x| [x, -x]) {
            let (got, wide) = (f64::from(Gelu {}.scalar_eval(x)), f64::from(x));
            let tail = |u: f64| 0.5 * libm::erfc(u * std::f64::consts::FRAC_1_SQRT_2);
            let (want, largest) = (wide * tail(-wide), wide.abs() * tail(-wide.abs()));
            assert!((got - want).abs() <= 3e-7 * largest, "gelu({x}) is {got}, not {want}");
        }
        assert_eq!(Gelu {}.scalar_eval(f32::INFINITY), f32::INFINITY);
        assert!(Gelu {}.scalar_eval(f32::NAN).is_nan());
    }

    #[test]
    fn ln_is_exact_to_the_last_digits() {
        let (error, x) = worst(sample(1e-42, f32::MAX), ln, std::primitive::f64::ln);
        assert!(error <= 2.0, "ln({x}) is {error} ULP off");
        assert_eq!(
            [ln(1.0), ln(0.0), ln(-0.0), ln(f32::INFINITY)],
            [0.0, f32::NEG_INFINITY, f32::NEG_INFINITY, f32::INFINITY]
        );
        assert!(ln(-1.0).is_nan() && ln(f32::NAN).is_nan());
    }
}
