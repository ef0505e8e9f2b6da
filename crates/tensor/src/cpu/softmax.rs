//! Softmax of rows while they are in the cache.

use std::mem::MaybeUninit;

use rten_simd::SimdOp;
use rten_vecmath::{LogSoftmax, Softmax};

use super::rows::for_each_run;
use crate::{DType, Result, Tensor};

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
                if log {
                    LogSoftmax::new(x, out).dispatch();
                } else {
                    Softmax::new(x, out).dispatch();
                }
            }
        })
    })
}

fn double(x: &[f64], out: &mut [MaybeUninit<f64>], log: bool) {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
    let shift = max + sum.ln();
    for (out, x) in out.iter_mut().zip(x) {
        out.write(if log { x - shift } else { (x - max).exp() / sum });
    }
}
