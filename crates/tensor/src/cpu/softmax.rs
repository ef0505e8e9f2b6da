//! Softmax of rows while they are in the cache.

use std::mem::MaybeUninit;
use std::ops::{Add, Mul};

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdUnaryOp};

use super::combine::{Max, Reduction, Sum};
use super::math::{Exp, ExpOfNegative};
use super::number::Number;
use super::rows::for_each_run;
use super::simd::{each, each2, total, vectorized};
use crate::{DType, Element, Result, Tensor};

/// See [`crate::Backend::softmax`].
pub(super) fn softmax(x: &Tensor, log: bool) -> Result<Tensor> {
    let width = x.shape().last().copied().unwrap_or(1);
    if x.dtype() == DType::F64 {
        let source: &[f64] = x.as_slice()?;
        return Tensor::build(x.shape(), |out: &mut [MaybeUninit<f64>]| {
            for_each_run(out, width, |first, rows| {
                for (out, x) in rows.chunks_exact_mut(width).zip(source[first * width..].chunks_exact(width))
                {
                    double(x, out, log);
                }
            })
        });
    }
    let source: &[f32] = x.as_slice()?;
    Tensor::build(x.shape(), |out| {
        for_each_run(out, width, |first, rows| {
            for (out, x) in rows.chunks_exact_mut(width).zip(source[first * width..].chunks_exact(width)) {
                single(x, out, log);
            }
        })
    })
}

/// e to the power of how far numbers are below the largest of them.
struct ExpBelow {
    max: f32,
}

impl SimdUnaryOp<f32> for ExpBelow {
    #[inline(always)]
    fn eval<I: Isa>(&self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        ExpOfNegative::apply(isa, ops.sub(x, ops.splat(self.max)))
    }
}

fn single(x: &[f32], out: &mut [MaybeUninit<f32>], log: bool) {
    let max = <Max as Reduction<f32>>::fold(f32::NEG_INFINITY, x);
    let powers = ExpBelow { max }.map(x, out);
    let sum = <Sum as Reduction<f32>>::fold(0.0, powers);
    if log {
        // Two subtractions: the logarithm would lose its digits beside a large maximum.
        let log_sum = sum.ln() as f32;
        each(
            x,
            out,
            #[inline(always)]
            |x| x - max - log_sum,
        );
    } else {
        let scale = (1.0 / sum) as f32;
        vectorized(
            #[inline(always)]
            || {
                for power in powers {
                    *power *= scale;
                }
            },
        );
    }
}

fn double(x: &[f64], out: &mut [MaybeUninit<f64>], log: bool) {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
    let shift = max + sum.ln();
    for (out, x) in out.iter_mut().zip(x) {
        out.write(if log { x - shift } else { (x - max).exp() / sum });
    }
}

/// See [`crate::Backend::softmax_gradient`]: y (g - Σ g y), or for the logarithm g - eʸ Σ g.
pub(super) fn gradient(grad: &Tensor, y: &Tensor, log: bool) -> Result<Tensor> {
    match y.dtype() {
        DType::F64 => by_rows(grad, y, |g: &[f64], y, out| f64::gradient(g, y, out, log)),
        _ => by_rows(grad, y, |g: &[f32], y, out| f32::gradient(g, y, out, log)),
    }
}

/// `row(g, y, out)` for every row.
fn by_rows<T: Element>(
    grad: &Tensor,
    y: &Tensor,
    row: impl Fn(&[T], &[T], &mut [MaybeUninit<T>]) + Send + Sync,
) -> Result<Tensor> {
    let width = y.shape().last().copied().unwrap_or(1);
    let (g, y_rows): (&[T], &[T]) = (grad.as_slice()?, y.as_slice()?);
    Tensor::build(y.shape(), |out| {
        for_each_run(out, width, |first, rows| {
            for (i, out) in rows.chunks_exact_mut(width).enumerate() {
                let at = (first + i) * width;
                row(&g[at..at + width], &y_rows[at..at + width], out);
            }
        })
    })
}

trait Gradient: Sized {
    /// The gradient of one row.
    fn gradient(g: &[Self], y: &[Self], out: &mut [MaybeUninit<Self>], log: bool);
}

macro_rules! gradient {
    ($($type:ty, $exp:expr;)*) => {$(
        impl Gradient for $type {
            fn gradient(g: &[$type], y: &[$type], out: &mut [MaybeUninit<$type>], log: bool) {
                if log {
                    let (sum, exp) = (<Sum as Reduction<$type>>::fold(0.0, g) as $type, ($exp)(y, out));
                    vectorized(
                        #[inline(always)]
                        || {
                            for (exp, &g) in exp.iter_mut().zip(g) {
                                *exp = g - *exp * sum;
                            }
                        },
                    );
                } else {
                    let sum = dot(g, y);
                    each2(g, y, out, #[inline(always)] |g, y| y * (g - sum));
                }
            }
        }
    )*};
}
gradient! {
    f32, |y, out| Exp {}.map(y, out);
    f64, exp;
}

/// Σ x y
fn dot<F: Number + Add<Output = F> + Mul<Output = F>>(x: &[F], y: &[F]) -> F {
    const LANES: usize = 64;
    vectorized(
        #[inline(always)]
        || {
            let mut lanes = [F::default(); LANES];
            let (xs, ys) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
            for (x, y) in xs.0.iter().zip(ys.0) {
                for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
                    *lane = *lane + x * y;
                }
            }
            for ((lane, &x), &y) in lanes.iter_mut().zip(xs.1).zip(ys.1) {
                *lane = *lane + x * y;
            }
            total(lanes)
        },
    )
}

fn exp<'o>(y: &[f64], out: &'o mut [MaybeUninit<f64>]) -> &'o mut [f64] {
    out.iter_mut().zip(y).for_each(|(out, y)| _ = out.write(y.exp()));
    // SAFETY: both slices are rows of one width, so every element was written.
    unsafe { out.assume_init_mut() }
}
