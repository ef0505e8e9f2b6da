//! Layer and root-mean-square normalisation, one row at a time while it is in the cache.

use std::mem::MaybeUninit;

use rten_vecmath::{Normalize, NormalizeOptions, Sum, SumSquare, SumSquareSub};

use super::rows::for_each_run;
use super::simd::{dispatch, each2};
use crate::ops::Norm;
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
    Tensor::build(&shape, |out| {
        for_each_run(out, width, |first, rows| {
            let range = first * width..first * width + rows.len();
            centred(&x[range.clone()], residual.map(|residual| &residual[range]), (weight, bias), eps, rows);
        })
    })
}

/// Layer norm of whole rows.
fn centred(
    x: &[f32],
    residual: Option<&[f32]>,
    (weight, bias): (&[f32], Option<&[f32]>),
    eps: f32,
    out: &mut [MaybeUninit<f32>],
) {
    let width = weight.len().max(1);
    let options = |row: &[f32]| {
        let mean = dispatch(Sum::new(row)) / width as f32;
        let variance = dispatch(SumSquareSub::new(row, mean)) / width as f32;
        NormalizeOptions {
            pre_scale_bias: mean,
            scale: 1.0 / (variance + eps).sqrt(),
            element_scale: Some(weight),
            element_bias: bias,
            ..Default::default()
        }
    };
    for (i, (out, row)) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)).enumerate() {
        match residual {
            Some(residual) => {
                let row = add(row, &residual[i * width..][..width], out);
                let options = options(row);
                dispatch(Normalize::new_mut(row, options));
            }
            None => _ = dispatch(Normalize::new(row, out, options(row))),
        }
    }
}

/// See [`crate::Backend::rms_norm`].
pub(super) fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    let width = x.shape().last().copied().unwrap_or(1);
    let (source, weight): (&[f32], &[f32]) = (x.as_slice()?, weight.as_slice()?);
    Tensor::build(x.shape(), |out| {
        for_each_run(out, width, |first, rows| {
            root_mean_square(&source[first * width..][..rows.len()], weight, eps, rows);
        })
    })
}

fn root_mean_square(x: &[f32], weight: &[f32], eps: f32, out: &mut [MaybeUninit<f32>]) {
    let width = weight.len().max(1);
    for (out, row) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
        let square = dispatch(SumSquare::new(row)) / width as f32;
        let scale = 1.0 / (square + eps).sqrt();
        let options = NormalizeOptions { scale, element_scale: Some(weight), ..Default::default() };
        dispatch(Normalize::new(row, out, options));
    }
}

/// Normalises whole rows.
pub(super) fn normalize(norm: &Norm, x: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<()> {
    match *norm {
        Norm::Layer { weight, bias, eps } => {
            let weight: &[f32] = weight.as_slice()?;
            let bias = bias.map(Tensor::as_slice).transpose()?;
            centred(x, None, (weight, bias), eps, out);
        }
        Norm::Rms { weight, eps } => root_mean_square(x, weight.as_slice()?, eps, out),
    }
    Ok(())
}

/// `x + residual`, written to `out`.
fn add<'a>(x: &[f32], residual: &[f32], out: &'a mut [MaybeUninit<f32>]) -> &'a mut [f32] {
    each2(
        x,
        residual,
        out,
        #[inline(always)]
        |x, r| x + r,
    );
    // SAFETY: the three slices have one length, so every element was written.
    unsafe { out.assume_init_mut() }
}
