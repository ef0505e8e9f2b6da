//! Kernels for functions of two numbers, comparisons and choices.

use std::mem::MaybeUninit;

use super::elementwise::{map2, map3};
use super::number::{Class, by_class};
use super::simd::{each2, each3};
use crate::ops::{BinaryOp, CompareOp};
use crate::{DType, Device, Error, Result, Tensor};

/// A loop over a run of pairs.
type Kernel<C, O = C> = fn(&[C], &[C], &mut [MaybeUninit<O>]);

/// See [`crate::Backend::binary`].
pub(super) fn binary(op: BinaryOp, out: &Tensor, x: &Tensor, y: &Tensor) -> Result<()> {
    match Class::of(out.dtype()) {
        Class::Single => map2(out, x, y, single(op)?),
        Class::Double => map2(out, x, y, double(op)?),
        Class::Int => map2(out, x, y, signed(op)?),
        Class::Unsigned => map2(out, x, y, unsigned(op)?),
    }
}

/// See [`crate::Backend::compare`].
pub(super) fn compare(
    op: CompareOp,
    x: &Tensor,
    y: &Tensor,
    common: DType,
    shape: &[usize],
) -> Result<Tensor> {
    let out = Tensor::uninit(shape, DType::Bool, Device::Cpu)?;
    by_class!(common, C => map2::<C, u8>(&out, x, y, comparison::<C>(op)))?;
    Ok(out)
}

/// See [`crate::Backend::select`].
pub(super) fn select(
    condition: &Tensor,
    x: &Tensor,
    y: &Tensor,
    dtype: DType,
    shape: &[usize],
) -> Result<Tensor> {
    let out = Tensor::uninit(shape, dtype, Device::Cpu)?;
    by_class!(dtype, C => map3::<C>(&out, condition, x, y, |condition, x, y, out| {
        each3((condition, x, y), out, #[inline(always)] |condition, x, y| if condition != 0 { x } else { y })
    }))?;
    Ok(out)
}

fn comparison<C: PartialOrd + Copy>(op: CompareOp) -> Kernel<C, u8> {
    macro_rules! kernel {
        ($operator:tt) => {
            |x, y, out| each2(x, y, out, #[inline(always)] |x, y| (x $operator y) as u8)
        };
    }
    match op {
        CompareOp::Eq => kernel!(==),
        CompareOp::Ne => kernel!(!=),
        CompareOp::Lt => kernel!(<),
        CompareOp::Le => kernel!(<=),
        CompareOp::Gt => kernel!(>),
        CompareOp::Ge => kernel!(>=),
    }
}

macro_rules! kernel {
    (|$x:ident, $y:ident: $type:ty| $value:expr) => {{
        fn kernel(x: &[$type], y: &[$type], out: &mut [MaybeUninit<$type>]) {
            each2(
                x,
                y,
                out,
                #[inline(always)]
                |$x: $type, $y: $type| $value,
            )
        }
        kernel
    }};
}

macro_rules! float {
    ($name:ident, $float:ty) => {
        fn $name(op: BinaryOp) -> Result<Kernel<$float>> {
            Ok(match op {
                BinaryOp::Add => kernel!(|x, y: $float| x + y),
                BinaryOp::Sub => kernel!(|x, y: $float| x - y),
                BinaryOp::Mul => kernel!(|x, y: $float| x * y),
                BinaryOp::Div => kernel!(|x, y: $float| x / y),
                BinaryOp::FloorDivide => kernel!(|x, y: $float| {
                    // ⌊x / y⌋ rounded first would be one too large just below an integer.
                    if y == 0.0 { x / y } else { ((x - remainder(x, y)) / y).round_ties_even() }
                }),
                BinaryOp::Remainder => kernel!(|x, y: $float| remainder(x, y)),
                BinaryOp::Pow => kernel!(|x, y: $float| x.powf(y)),
                BinaryOp::Maximum => kernel!(|x, y: $float| if x > y || x.is_nan() { x } else { y }),
                BinaryOp::Minimum => kernel!(|x, y: $float| if x < y || x.is_nan() { x } else { y }),
                BinaryOp::Atan2 => kernel!(|x, y: $float| x.atan2(y)),
                _ => return Err(unknown(op, <$float as crate::Element>::DTYPE)),
            })
        }
    };
}
float!(single, f32);
float!(double, f64);

/// What remains of `x` after whole steps of `y`, with the sign of `y`.
#[inline(always)]
fn remainder<F: Copy + PartialOrd + Default + std::ops::Rem<Output = F> + std::ops::Add<Output = F>>(
    x: F,
    y: F,
) -> F {
    let r = x % y;
    let zero = F::default();
    if r != zero && (r < zero) != (y < zero) { r + y } else { r }
}

macro_rules! integer {
    ($name:ident, $int:ty) => {
        fn $name(op: BinaryOp) -> Result<Kernel<$int>> {
            Ok(match op {
                BinaryOp::Add => kernel!(|x, y: $int| x.wrapping_add(y)),
                BinaryOp::Sub => kernel!(|x, y: $int| x.wrapping_sub(y)),
                BinaryOp::Mul => kernel!(|x, y: $int| x.wrapping_mul(y)),
                BinaryOp::FloorDivide => kernel!(|x, y: $int| {
                    // The divisor was looked at before; an array shared with others may change since.
                    let quotient = x.checked_div(y).unwrap_or(if y == 0 { 0 } else { x });
                    if x.checked_rem(y).is_some_and(|r| r != 0 && (r < 0 as $int) != (y < 0 as $int)) {
                        quotient.wrapping_sub(1)
                    } else {
                        quotient
                    }
                }),
                BinaryOp::Remainder => kernel!(|x, y: $int| {
                    let r = x.checked_rem(y).unwrap_or(0);
                    if r != 0 && (r < 0 as $int) != (y < 0 as $int) { r.wrapping_add(y) } else { r }
                }),
                BinaryOp::Pow => kernel!(|x, y: $int| x.wrapping_pow(y as u32)),
                BinaryOp::Maximum => kernel!(|x, y: $int| x.max(y)),
                BinaryOp::Minimum => kernel!(|x, y: $int| x.min(y)),
                BinaryOp::BitAnd => kernel!(|x, y: $int| x & y),
                BinaryOp::BitOr => kernel!(|x, y: $int| x | y),
                BinaryOp::BitXor => kernel!(|x, y: $int| x ^ y),
                BinaryOp::ShiftLeft => kernel!(|x, y: $int| x.checked_shl(y as u32).unwrap_or(0)),
                BinaryOp::ShiftRight => kernel!(|x, y: $int| x
                    .checked_shr(y as u32)
                    .unwrap_or(if x < 0 as $int { !0 } else { 0 })),
                _ => return Err(unknown(op, <$int as crate::Element>::DTYPE)),
            })
        }
    };
}
integer!(signed, i64);
integer!(unsigned, u64);

fn unknown(op: BinaryOp, dtype: DType) -> Error {
    Error::DType { op: op.name(), rule: "the operands have no such function", dtype }
}
