//! The gradients of layer and root-mean-square normalisation: one pass over the rows, sums over all rows on the way.

use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use rten_vecmath::{Sum, SumSquare, SumSquareSub};

use super::rows::PARALLEL_FROM;
use super::simd::{dispatch, total, vectorized};
use crate::{Result, Tensor, team};

/// Partial sums of a row: two of the widest vectors.
const LANES: usize = 32;
/// Rows of a run, whose sums are made together.
const ROWS: usize = 64;

/// See [`crate::Backend::layer_norm_gradient`].
///
/// With n = (h - mean) / σ and v = g · weight: dh = (v - mean(v) - n mean(v n)) / σ, dweight = Σ g n, dbias = Σ g.
pub(super) fn layer_norm(
    grad: &Tensor,
    h: &Tensor,
    weight: &Tensor,
    eps: f32,
    parameters: bool,
) -> Result<[Option<Tensor>; 3]> {
    let width = h.shape().last().copied().unwrap_or(1);
    let (g, source, weight): (&[f32], &[f32], &[f32]) = (grad.as_slice()?, h.as_slice()?, weight.as_slice()?);
    let (into_h, sums) = rows_and_sums(h, if parameters { 2 } else { 0 }, |at, out, sums| {
        let (g, h) = (&g[at..at + width], &source[at..at + width]);
        let mean = dispatch(Sum::new(h)) / width as f32;
        let scale = 1.0 / (dispatch(SumSquareSub::new(h, mean)) / width as f32 + eps).sqrt();
        row(Row { g, x: h, weight, mean, scale }, true, out, sums);
    })?;
    let mut sums = sums.into_iter();
    Ok([Some(into_h), sums.next(), sums.next()])
}

/// See [`crate::Backend::rms_norm_gradient`].
///
/// With n = x / rms and v = g · weight: dx = (v - n mean(v n)) / rms, dweight = Σ g n.
pub(super) fn rms_norm(
    grad: &Tensor,
    x: &Tensor,
    weight: &Tensor,
    eps: f32,
    parameters: bool,
) -> Result<[Option<Tensor>; 2]> {
    let width = x.shape().last().copied().unwrap_or(1);
    let (g, source, weight): (&[f32], &[f32], &[f32]) = (grad.as_slice()?, x.as_slice()?, weight.as_slice()?);
    let (into_x, sums) = rows_and_sums(x, usize::from(parameters), |at, out, sums| {
        let (g, x) = (&g[at..at + width], &source[at..at + width]);
        let scale = 1.0 / (dispatch(SumSquare::new(x)) / width as f32 + eps).sqrt();
        row(Row { g, x, weight, mean: 0.0, scale }, false, out, sums);
    })?;
    Ok([Some(into_x), sums.into_iter().next()])
}

/// One row and what it is normalised by: n = (x - mean) · scale.
struct Row<'a> {
    g: &'a [f32],
    x: &'a [f32],
    weight: &'a [f32],
    mean: f32,
    scale: f32,
}

/// Writes the gradient of a row to `out`, and adds its g n and its g to what there is of `sums`, a width each.
fn row(row: Row, centred: bool, out: &mut [MaybeUninit<f32>], sums: &mut [f32]) {
    let Row { g, x, weight, mean, scale } = row;
    vectorized(
        #[inline(always)]
        || {
            let mut lanes = [[0.0f32; LANES]; 2];
            let (gs, xs, ws) = (g.as_chunks::<LANES>(), x.as_chunks::<LANES>(), weight.as_chunks::<LANES>());
            for ((g, x), w) in gs.0.iter().zip(xs.0).zip(ws.0) {
                for i in 0..LANES {
                    let v = g[i] * w[i];
                    lanes[0][i] += v;
                    lanes[1][i] += v * (x[i] - mean);
                }
            }
            for (i, ((g, x), w)) in gs.1.iter().zip(xs.1).zip(ws.1).enumerate() {
                lanes[0][i] += g * w;
                lanes[1][i] += g * w * (x - mean);
            }
            let count = g.len() as f32;
            let v = if centred { total(lanes[0]) / count } else { 0.0 };
            let slope = total(lanes[1]) / count * scale * scale;
            for (((out, &g), &x), &w) in out.iter_mut().zip(g).zip(x).zip(weight) {
                out.write((g * w - v - (x - mean) * slope) * scale);
            }
            let (into_weight, into_bias) = sums.split_at_mut(sums.len().min(g.len()));
            for ((sum, &g), &x) in into_weight.iter_mut().zip(g).zip(x) {
                *sum += g * (x - mean) * scale;
            }
            for (sum, &g) in into_bias.iter_mut().zip(g) {
                *sum += g;
            }
        },
    );
}

/// A tensor like `x` whose rows `row` writes, given where in `x` each begins, and the sums over all rows, `count` for each column, that
/// it adds to.
fn rows_and_sums(
    x: &Tensor,
    count: usize,
    row: impl Fn(usize, &mut [MaybeUninit<f32>], &mut [f32]) + Send + Sync,
) -> Result<(Tensor, Vec<Tensor>)> {
    let width = x.shape().last().copied().unwrap_or(1);
    // Each run of rows has its own, in float32: so few that nothing is lost. They are put together in order, so that neither the number of
    // threads nor their haste changes a bit.
    let sums = Mutex::new(Vec::new());
    let out = Tensor::build(x.shape(), |out| {
        let size = ROWS * width;
        let run = |run: usize, rows: &mut [MaybeUninit<f32>]| {
            let mut own = vec![0.0f32; count * width];
            for (i, out) in rows.chunks_exact_mut(width).enumerate() {
                row(run * size + i * width, out, &mut own);
            }
            sums.lock().unwrap_or_else(PoisonError::into_inner).push((run, own));
        };
        match out.len() {
            0 => Ok(()),
            PARALLEL_FROM.. => team::for_each_chunk(out, size, run),
            _ => {
                out.chunks_mut(size).enumerate().for_each(|(number, rows)| run(number, rows));
                Ok(())
            }
        }
    })?;
    let mut runs = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    runs.sort_unstable_by_key(|&(run, _)| run);
    let mut sums = vec![0.0f64; count * width];
    for (_, own) in runs {
        sums.iter_mut().zip(own).for_each(|(sum, own)| *sum += f64::from(own));
    }
    let sums: Vec<f32> = sums.iter().map(|&sum| sum as f32).collect();
    let each = (0..count).map(|i| Tensor::from_slice(&sums[i * width..(i + 1) * width], &[width]));
    Ok((out, each.collect::<Result<_>>()?))
}
