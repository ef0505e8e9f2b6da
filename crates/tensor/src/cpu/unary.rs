//! Kernels for functions of one number.

use std::mem::MaybeUninit;

use rten_simd::SimdUnaryOp;
use rten_vecmath as vecmath;

use super::elementwise::{map1, map2};
use super::math;
use super::number::Class;
use super::simd::{each, vectorized};
use crate::ops::UnaryOp;
use crate::{DType, Device, Error, Result, Tensor};

/// A loop over a run of elements.
type Kernel<C> = fn(&[C], &mut [MaybeUninit<C>]);

/// See [`crate::Backend::unary`].
pub(super) fn unary(op: UnaryOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
    let out = Tensor::uninit(x.shape(), dtype, Device::Cpu)?;
    match Class::of(dtype) {
        Class::Single => map1(&out, x, single(op))?,
        Class::Double => map1(&out, x, double(op))?,
        // Truth values turn as a whole.
        Class::Int if dtype == DType::Bool && op == UnaryOp::BitNot => {
            map1(&out, x, |x: &[i64], out: &mut [MaybeUninit<i64>]| {
                each(
                    x,
                    out,
                    #[inline(always)]
                    |x| x ^ 1,
                )
            })?
        }
        Class::Int => map1(&out, x, signed(op)?)?,
        Class::Unsigned => map1(&out, x, unsigned(op)?)?,
    }
    Ok(out)
}

/// See [`crate::Backend::gelu_gradient`]: g (Φ(x) + x φ(x)), with Φ(x) = (1 + erf(x / √2)) / 2 and φ its derivative.
pub(super) fn gelu_gradient(grad: &Tensor, x: &Tensor) -> Result<Tensor> {
    let out = Tensor::uninit(x.shape(), DType::F32, Device::Cpu)?;
    map2(&out, grad, x, |g: &[f32], x: &[f32], out: &mut [MaybeUninit<f32>]| {
        let derivative = math::GeluDerivative {}.map(x, out);
        vectorized(
            #[inline(always)]
            || {
                for (derivative, &g) in derivative.iter_mut().zip(g) {
                    *derivative *= g;
                }
            },
        );
    })?;
    Ok(out)
}

macro_rules! kernel {
    (|$x:ident: $type:ty| $value:expr) => {{
        fn kernel(x: &[$type], out: &mut [MaybeUninit<$type>]) {
            each(
                x,
                out,
                #[inline(always)]
                |$x: $type| $value,
            )
        }
        kernel
    }};
}

/// A function of `rten-vecmath` or of [`math`].
macro_rules! vector {
    ($function:expr) => {{
        fn kernel(x: &[f32], out: &mut [MaybeUninit<f32>]) {
            $function.map(x, out);
        }
        kernel
    }};
}

/// What f32 and f64 compute alike.
macro_rules! float {
    ($op:expr, $type:ident, $float:ty) => {
        match $op {
            UnaryOp::Neg => kernel!(|x: $float| -x),
            UnaryOp::Abs => kernel!(|x: $float| x.abs()),
            UnaryOp::Sign => kernel!(|x: $float| if x.is_nan() {
                x
            } else {
                (x > 0.0) as u8 as $float - (x < 0.0) as u8 as $float
            }),
            UnaryOp::Square => kernel!(|x: $float| x * x),
            UnaryOp::Floor => kernel!(|x: $float| x.floor()),
            UnaryOp::Ceil => kernel!(|x: $float| x.ceil()),
            UnaryOp::Round => kernel!(|x: $float| x.round_ties_even()),
            UnaryOp::Trunc => kernel!(|x: $float| x.trunc()),
            UnaryOp::Reciprocal => kernel!(|x: $float| 1.0 / x),
            UnaryOp::Sqrt => kernel!(|x: $float| x.sqrt()),
            UnaryOp::Rsqrt => kernel!(|x: $float| 1.0 / x.sqrt()),
            UnaryOp::Exp => kernel!(|x: $float| x.exp()),
            UnaryOp::Exp2 => kernel!(|x: $float| x.exp2()),
            UnaryOp::Expm1 => kernel!(|x: $float| x.exp_m1()),
            UnaryOp::Log => kernel!(|x: $float| x.ln()),
            UnaryOp::Log2 => kernel!(|x: $float| x.log2()),
            UnaryOp::Log10 => kernel!(|x: $float| x.log10()),
            UnaryOp::Log1p => kernel!(|x: $float| x.ln_1p()),
            UnaryOp::Sin => kernel!(|x: $float| x.sin()),
            UnaryOp::Cos => kernel!(|x: $float| x.cos()),
            UnaryOp::Tan => kernel!(|x: $float| x.tan()),
            UnaryOp::Asin => kernel!(|x: $float| x.asin()),
            UnaryOp::Acos => kernel!(|x: $float| x.acos()),
            UnaryOp::Atan => kernel!(|x: $float| x.atan()),
            UnaryOp::Sinh => kernel!(|x: $float| x.sinh()),
            UnaryOp::Cosh => kernel!(|x: $float| x.cosh()),
            UnaryOp::Tanh => kernel!(|x: $float| x.tanh()),
            UnaryOp::Erf => kernel!(|x: $float| math::$type::erf(x)),
            UnaryOp::Sigmoid => kernel!(|x: $float| 1.0 / (1.0 + (-x).exp())),
            UnaryOp::Relu => kernel!(|x: $float| if x < 0.0 { 0.0 } else { x }),
            UnaryOp::ReluSquared => kernel!(|x: $float| if x < 0.0 { 0.0 } else { x * x }),
            UnaryOp::Gelu => {
                kernel!(|x: $float| 0.5 * x * (1.0 + math::$type::erf(x * std::$type::consts::FRAC_1_SQRT_2)))
            }
            UnaryOp::GeluTanh => kernel!(|x: $float| {
                0.5 * x * (1.0 + (math::$type::ROOT_2_OVER_PI * (x + 0.044715 * x * x * x)).tanh())
            }),
            UnaryOp::QuickGelu => kernel!(|x: $float| x / (1.0 + (-1.702 * x).exp())),
            UnaryOp::Silu => kernel!(|x: $float| x / (1.0 + (-x).exp())),
            // Refused for floats before a kernel is asked for.
            UnaryOp::BitNot => kernel!(|x: $float| x),
        }
    };
}

pub(super) fn single(op: UnaryOp) -> Kernel<f32> {
    match op {
        UnaryOp::Exp => vector!(math::Exp {}),
        UnaryOp::Sin => vector!(vecmath::Sin::default()),
        UnaryOp::Cos => vector!(vecmath::Cos::default()),
        UnaryOp::Tanh => vector!(math::Tanh {}),
        UnaryOp::Erf => vector!(math::Erf {}),
        UnaryOp::Sigmoid => vector!(math::Sigmoid {}),
        UnaryOp::Gelu => vector!(math::Gelu {}),
        UnaryOp::GeluTanh => vector!(vecmath::ApproxGelu {}),
        UnaryOp::QuickGelu => vector!(vecmath::Swish { alpha: 1.702 }),
        UnaryOp::Silu => vector!(vecmath::Silu {}),
        UnaryOp::Log => kernel!(|x: f32| math::ln(x)),
        _ => float!(op, f32, f32),
    }
}

fn double(op: UnaryOp) -> Kernel<f64> {
    float!(op, f64, f64)
}

fn signed(op: UnaryOp) -> Result<Kernel<i64>> {
    Ok(match op {
        UnaryOp::Neg => kernel!(|x: i64| x.wrapping_neg()),
        UnaryOp::Abs => kernel!(|x: i64| x.wrapping_abs()),
        UnaryOp::Sign => kernel!(|x: i64| x.signum()),
        UnaryOp::Square => kernel!(|x: i64| x.wrapping_mul(x)),
        UnaryOp::BitNot => kernel!(|x: i64| !x),
        UnaryOp::Relu => kernel!(|x: i64| x.max(0)),
        UnaryOp::ReluSquared => kernel!(|x: i64| x.max(0).wrapping_mul(x)),
        UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => kernel!(|x: i64| x),
        _ => return Err(fraction(op)),
    })
}

fn unsigned(op: UnaryOp) -> Result<Kernel<u64>> {
    Ok(match op {
        UnaryOp::Neg => kernel!(|x: u64| x.wrapping_neg()),
        UnaryOp::Sign => kernel!(|x: u64| x.min(1)),
        UnaryOp::Square | UnaryOp::ReluSquared => kernel!(|x: u64| x.wrapping_mul(x)),
        UnaryOp::BitNot => kernel!(|x: u64| !x),
        UnaryOp::Abs | UnaryOp::Relu | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => {
            kernel!(|x: u64| x)
        }
        _ => return Err(fraction(op)),
    })
}

fn fraction(op: UnaryOp) -> Error {
    Error::DType { op: op.name(), rule: "the result must be a floating-point number", dtype: DType::I64 }
}
