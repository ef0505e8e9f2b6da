//! The gate of a feed-forward network, a block of a row at a time while it is in the nearest cache.

use std::mem::MaybeUninit;

use rten_simd::SimdUnaryOp;
use rten_vecmath::Sigmoid;

use super::activation::kernel;
use super::math::{self, GeluDerivative};
use super::rows::for_each_run;
use super::simd::{each, vectorized};
use super::unary::single;
use crate::ops::UnaryOp;
use crate::{Activation, Result, Tensor};

/// So many elements are gate, up and result of one block.
const BLOCK: usize = 1024;

/// See [`crate::Backend::gated`].
pub(super) fn gated(activation: Activation, x: &Tensor) -> Result<Tensor> {
    let width = x.shape()[x.ndim() - 1] / 2;
    let mut shape = x.shape().to_vec();
    shape[x.ndim() - 1] = width;
    let source = x.as_slice()?;
    Tensor::build(&shape, |out| write(activation, source, width, out))
}

/// [`gated`] of rows of two halves, `width` wide each.
pub(super) fn write(
    activation: Activation,
    source: &[f32],
    width: usize,
    out: &mut [MaybeUninit<f32>],
) -> Result<()> {
    let activate = kernel(activation);
    for_each_run(out, width, |first, rows| {
        for (i, row) in rows.chunks_exact_mut(width).enumerate() {
            let (gate, up) = halves(source, first + i, width);
            let blocks = row.chunks_mut(BLOCK).zip(gate.chunks(BLOCK)).zip(up.chunks(BLOCK));
            for ((out, gate), up) in blocks {
                multiply(activated(activate, gate, out), up);
            }
        }
    })
}

/// See [`crate::Backend::gated_gradient`].
///
/// The gate's is g · up · activation'(gate), that of up g · activation(gate).
pub(super) fn gated_gradient(activation: Activation, grad: &Tensor, x: &Tensor) -> Result<Tensor> {
    let width = x.shape()[x.ndim() - 1] / 2;
    let (g, source, activate) = (grad.as_slice::<f32>()?, x.as_slice::<f32>()?, kernel(activation));
    Tensor::build(x.shape(), |out| {
        for_each_run(out, 2 * width, |first, rows| {
            for (i, row) in rows.chunks_exact_mut(2 * width).enumerate() {
                let (gate, up) = halves(source, first + i, width);
                let g = g[(first + i) * width..][..width].chunks(BLOCK);
                let (into_gate, into_up) = row.split_at_mut(width);
                let into = into_gate.chunks_mut(BLOCK).zip(into_up.chunks_mut(BLOCK));
                for (((into_gate, into_up), g), (gate, up)) in
                    into.zip(g).zip(gate.chunks(BLOCK).zip(up.chunks(BLOCK)))
                {
                    multiply(activated(activate, gate, into_up), g);
                    let slope = derivative(activation, gate, into_gate);
                    multiply(slope, g);
                    multiply(slope, up);
                }
            }
        })
    })
}

/// Gate and up of a row.
fn halves(x: &[f32], row: usize, width: usize) -> (&[f32], &[f32]) {
    x[2 * row * width..][..2 * width].split_at(width)
}

/// `activate(x)`, or `x` itself, in `out`.
fn activated<'a>(
    activate: Option<super::gemm::Map<f32>>,
    x: &[f32],
    out: &'a mut [MaybeUninit<f32>],
) -> &'a mut [f32] {
    match activate {
        Some(activate) => written(x, out, activate),
        None => out.write_copy_of_slice(x),
    }
}

/// Lets `kernel` write all of `out`, which is as long as `x`.
fn written<'a>(
    x: &[f32],
    out: &'a mut [MaybeUninit<f32>],
    kernel: impl Fn(&[f32], &mut [MaybeUninit<f32>]),
) -> &'a mut [f32] {
    kernel(x, out);
    // SAFETY: kernels of one number write an element of `out` for every element of `x`, and there are equally many.
    unsafe { out.assume_init_mut() }
}

/// `x[i] *= y[i]`
pub(super) fn multiply(x: &mut [f32], y: &[f32]) {
    vectorized(
        #[inline(always)]
        || x.iter_mut().zip(y).for_each(|(x, y)| *x *= y),
    );
}

/// The derivative of `activation` at `x`, in `out`.
fn derivative<'a>(activation: Activation, x: &[f32], out: &'a mut [MaybeUninit<f32>]) -> &'a mut [f32] {
    match activation {
        Activation::Identity => written(x, out, |x, out| {
            each(
                x,
                out,
                #[inline(always)]
                |_| 1.0,
            )
        }),
        Activation::Gelu => written(x, out, |x, out| {
            GeluDerivative {}.map(x, out);
        }),
        Activation::GeluTanh => gelu_tanh_derivative(x, out),
        Activation::QuickGelu => swish_derivative(x, 1.702, out),
        Activation::Silu => swish_derivative(x, 1.0, out),
        Activation::Relu => written(x, out, |x, out| {
            each(
                x,
                out,
                #[inline(always)]
                |x: f32| if x > 0.0 { 1.0 } else { 0.0 },
            )
        }),
        Activation::ReluSquared => written(x, out, |x, out| {
            each(
                x,
                out,
                #[inline(always)]
                |x: f32| 2.0 * x.max(0.0),
            )
        }),
        Activation::Sigmoid => {
            let s = written(x, out, single(UnaryOp::Sigmoid));
            vectorized(
                #[inline(always)]
                || s.iter_mut().for_each(|s| *s *= 1.0 - *s),
            );
            s
        }
        Activation::Tanh => {
            let t = written(x, out, single(UnaryOp::Tanh));
            vectorized(
                #[inline(always)]
                || t.iter_mut().for_each(|t| *t = 1.0 - *t * *t),
            );
            t
        }
    }
}

/// With s = σ(a x): s + a x s (1 - s).
fn swish_derivative<'a>(x: &[f32], a: f32, out: &'a mut [MaybeUninit<f32>]) -> &'a mut [f32] {
    let s = written(x, out, |x, out| {
        each(
            x,
            out,
            #[inline(always)]
            |x| a * x,
        )
    });
    Sigmoid {}.map_mut(s);
    vectorized(
        #[inline(always)]
        || s.iter_mut().zip(x).for_each(|(s, &x)| *s += a * x * *s * (1.0 - *s)),
    );
    s
}

/// With s = σ(2u), u = √(2/π) (x + 0.044715 x³): s + 2 x s (1 - s) u'. By the tanh that is 2s - 1 it would lose its digits where x is far
/// below zero.
fn gelu_tanh_derivative<'a>(x: &[f32], out: &'a mut [MaybeUninit<f32>]) -> &'a mut [f32] {
    const ROOT: f32 = math::f32::ROOT_2_OVER_PI;
    let twice_u = |x: f32| 2.0 * ROOT * x * (1.0 + 0.044715 * x * x);
    let s = written(x, out, |x, out| each(x, out, twice_u));
    Sigmoid {}.map_mut(s);
    vectorized(
        #[inline(always)]
        || {
            for (s, &x) in s.iter_mut().zip(x) {
                let slope = ROOT * (1.0 + 3.0 * 0.044715 * x * x);
                *s += 2.0 * x * *s * (1.0 - *s) * slope;
            }
        },
    );
    s
}
