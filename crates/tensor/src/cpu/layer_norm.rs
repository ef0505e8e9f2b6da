//! Layer and root-mean-square normalisation, one row at a time while it is in the cache.

use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use rten_simd::SimdOp;
use rten_vecmath::{Normalize, NormalizeOptions, Sum, SumSquare, SumSquareSub};

use super::rows::for_each_run;
use super::simd::vectorized;
use crate::{Result, Shape, Tensor};

/// See [`crate::Backend::layer_norm`].
pub(super) fn layer_norm(
    x: &Tensor,
    residual: Option<&Tensor>,
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f32,
) -> Result<Tensor> {
    let width = x.shape().last().copied().unwrap_or(1);
    let (weight, bias) = (weight.contiguous()?, bias.map(Tensor::contiguous).transpose()?);
    let weight: &[f32] = weight.as_slice()?;
    let bias: Option<&[f32]> = bias.as_ref().map(|bias| bias.as_slice()).transpose()?;
    let residual: Option<&[f32]> = residual.map(|residual| residual.as_slice()).transpose()?;
    let shape = Shape::from(x.shape());
    let x: &[f32] = x.as_slice()?;
    let normalize = |at: usize, out: &mut [MaybeUninit<f32>]| {
        let row = add(&x[at..at + width], residual.map(|residual| &residual[at..at + width]), out);
        let mean = Sum::new(row).dispatch() / width as f32;
        let variance = SumSquareSub::new(row, mean).dispatch() / width as f32;
        let options = NormalizeOptions {
            pre_scale_bias: mean,
            scale: 1.0 / (variance + eps).sqrt(),
            element_scale: Some(weight),
            element_bias: bias,
            ..Default::default()
        };
        Normalize::new_mut(row, options).dispatch();
    };
    Tensor::build(&shape, |out| {
        for_each_run(out, width, |first, rows| {
            for (i, row) in rows.chunks_exact_mut(width).enumerate() {
                normalize((first + i) * width, row);
            }
        })
    })
}

/// See [`crate::Backend::layer_norm_gradient`].
///
/// With n = (h - mean) / σ and v = g · weight: dh = (v - mean(v) - n mean(v n)) / σ, dweight = Σ g n, dbias = Σ g.
pub(super) fn gradient(grad: &Tensor, h: &Tensor, weight: &Tensor, eps: f32) -> Result<[Tensor; 3]> {
    let width = h.shape().last().copied().unwrap_or(1);
    let (g, source, scale): (&[f32], &[f32], &[f32]) = (grad.as_slice()?, h.as_slice()?, weight.as_slice()?);
    // Sums over rows, of weight and bias in turn; each run of rows adds its own.
    let sums = Mutex::new(vec![0.0f64; 2 * width]);
    let row = |at: usize, out: &mut [MaybeUninit<f32>], own: &mut [f32]| {
        let (g, h) = (&g[at..at + width], &source[at..at + width]);
        let mean = Sum::new(h).dispatch() / width as f32;
        let rstd = 1.0 / (SumSquareSub::new(h, mean).dispatch() / width as f32 + eps).sqrt();
        let (into_weight, into_bias) = own.split_at_mut(width);
        vectorized(
            #[inline(always)]
            || {
                let mut lanes = [[0.0f32; 32]; 2];
                for ((g, h), w) in g.chunks(32).zip(h.chunks(32)).zip(scale.chunks(32)) {
                    for (i, ((&g, &h), &w)) in g.iter().zip(h).zip(w).enumerate() {
                        let (n, v) = ((h - mean) * rstd, g * w);
                        lanes[0][i] += v;
                        lanes[1][i] += v * n;
                    }
                }
                let [v, vn] = lanes.map(|lanes| lanes.iter().sum::<f32>() / width as f32);
                for (((out, &g), &h), &w) in out.iter_mut().zip(g).zip(h).zip(scale) {
                    out.write((g * w - v - (h - mean) * rstd * vn) * rstd);
                }
                for ((sum, &g), &h) in into_weight.iter_mut().zip(g).zip(h) {
                    *sum += g * (h - mean) * rstd;
                }
                for (sum, &g) in into_bias.iter_mut().zip(g) {
                    *sum += g;
                }
            },
        );
    };
    let into_h = Tensor::build(h.shape(), |out| {
        for_each_run(out, width, |first, rows| {
            let mut total = vec![0.0f64; 2 * width];
            // A few rows at a time in float32, so that long sums lose nothing.
            for (block, rows) in rows.chunks_mut(64 * width).enumerate() {
                let mut own = vec![0.0f32; 2 * width];
                for (i, out) in rows.chunks_exact_mut(width).enumerate() {
                    row((first + block * 64 + i) * width, out, &mut own);
                }
                total.iter_mut().zip(&own).for_each(|(total, &own)| *total += f64::from(own));
            }
            let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
            sums.iter_mut().zip(total).for_each(|(sum, total)| *sum += total);
        })
    })?;
    let sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    let sums: Vec<f32> = sums.iter().map(|&sum| sum as f32).collect();
    let (into_weight, into_bias) = sums.split_at(width);
    Ok([into_h, Tensor::from_slice(into_weight, &[width])?, Tensor::from_slice(into_bias, &[width])?])
}

/// See [`crate::Backend::rms_norm`].
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    let width = x.shape().last().copied().unwrap_or(1);
    let (source, weight): (&[f32], &[f32]) = (x.as_slice()?, weight.as_slice()?);
    Tensor::build(x.shape(), |out| {
        for_each_run(out, width, |first, rows| {
            for (out, row) in rows.chunks_exact_mut(width).zip(source[first * width..].chunks_exact(width)) {
                let square = SumSquare::new(row).dispatch() / width as f32;
                let scale = 1.0 / (square + eps).sqrt();
                let options = NormalizeOptions { scale, element_scale: Some(weight), ..Default::default() };
                Normalize::new(row, out, options).dispatch();
            }
        })
    })
}

/// `x + residual`, written to `out`.
fn add<'a>(x: &[f32], residual: Option<&[f32]>, out: &'a mut [MaybeUninit<f32>]) -> &'a mut [f32] {
    let Some(residual) = residual else {
        return out.write_copy_of_slice(x);
    };
    for ((out, x), r) in out.iter_mut().zip(x).zip(residual) {
        out.write(x + r);
    }
    // SAFETY: the three slices have one length, so every element was written.
    unsafe { out.assume_init_mut() }
}
