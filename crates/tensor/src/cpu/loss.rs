//! Cross entropy, a row at a time: no probabilities are written but those that become the gradient.

use std::mem::MaybeUninit;

use rten_simd::SimdUnaryOp;
use rten_vecmath::Exp;

use super::combine::{Max, Reduction, Sum};
use super::elementwise::CHUNK;
use super::rows::for_each_run;
use super::simd::each;
use crate::{Result, Tensor};

/// See [`crate::Backend::cross_entropy`]. With the row's log_sum L = ln Σ eˣ and smoothing ε the loss is L - (1 - ε) x[class] - ε mean(x).
pub(super) fn cross_entropy(x: &Tensor, classes: &Tensor, smoothing: f32) -> Result<[Tensor; 2]> {
    let (rows, width) = (classes.numel(), x.shape().last().copied().unwrap_or(1));
    let (source, classes): (&[f32], &[i64]) = (x.as_slice()?, classes.as_slice()?);
    // Loss and log_sum side by side, so that a run of rows is one piece.
    let both = Tensor::build(&[rows, 2], |out: &mut [MaybeUninit<f32>]| {
        super::rows::for_each_run_of(out, 2, width, |first, out| {
            for (i, out) in out.chunks_exact_mut(2).enumerate() {
                let x = &source[(first + i) * width..][..width];
                let log_sum = log_sum_exp(x);
                let loss = usize::try_from(classes[first + i]).map_or(0.0, |class| {
                    let even = if smoothing == 0.0 { 0.0 } else { smoothing * mean(x) };
                    log_sum - (1.0 - smoothing) * x[class] - even
                });
                out[0].write(loss);
                out[1].write(log_sum);
            }
        })
    })?;
    Ok([both.select(1, 0)?.contiguous()?, both.select(1, 1)?.contiguous()?])
}

/// See [`crate::Backend::cross_entropy_gradient`]: g (softmax(x) - the probabilities wanted).
pub(super) fn gradient(
    grad: &Tensor,
    x: &Tensor,
    classes: &Tensor,
    log_sum: &Tensor,
    smoothing: f32,
) -> Result<Tensor> {
    let width = x.shape().last().copied().unwrap_or(1);
    let (g, source): (&[f32], &[f32]) = (grad.as_slice()?, x.as_slice()?);
    let (classes, log_sum): (&[i64], &[f32]) = (classes.as_slice()?, log_sum.as_slice()?);
    Tensor::build(x.shape(), |out| {
        for_each_run(out, width, |first, rows| {
            for (row, out) in (first..).zip(rows.chunks_exact_mut(width)) {
                let Ok(class) = usize::try_from(classes[row]) else {
                    out.fill(MaybeUninit::new(0.0));
                    continue;
                };
                let (g, log_sum, even) = (g[row], log_sum[row], smoothing / width as f32);
                let mut shifted = [0.0; CHUNK];
                for (x, out) in source[row * width..][..width].chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
                    let shifted = &mut shifted[..x.len()];
                    shifted.iter_mut().zip(x).for_each(|(shifted, &x)| *shifted = x - log_sum);
                    let p = Exp {}.map(shifted, out);
                    p.iter_mut().for_each(|p| *p = g * (*p - even));
                }
                // SAFETY: the loop wrote every element.
                *unsafe { out[class].assume_init_mut() } -= g * (1.0 - smoothing);
            }
        })
    })
}

/// ln Σ eˣ, without overflow.
fn log_sum_exp(x: &[f32]) -> f32 {
    let max = x.chunks(CHUNK).fold(f32::NEG_INFINITY, <Max as Reduction<f32>>::fold);
    if max.is_infinite() || max.is_nan() {
        return max;
    }
    let (mut shifted, mut exp) = ([MaybeUninit::uninit(); CHUNK], [MaybeUninit::uninit(); CHUNK]);
    let sums = x.chunks(CHUNK).map(|x| {
        each(
            x,
            &mut shifted[..x.len()],
            #[inline(always)]
            |x| x - max,
        );
        // SAFETY: `each` wrote every element.
        let shifted = unsafe { shifted[..x.len()].assume_init_ref() };
        <Sum as Reduction<f32>>::fold(0.0, Exp {}.map(shifted, &mut exp[..x.len()]))
    });
    max + sums.sum::<f64>().ln() as f32
}

fn mean(x: &[f32]) -> f32 {
    (x.chunks(CHUNK).fold(0.0, <Sum as Reduction<f32>>::fold) / x.len() as f64) as f32
}
