//! Tokens drawn where their logits are.

use super::Gpu;
use crate::cuda::arguments::Rows;
use crate::cuda::geometry::drawing;
use crate::cuda::launch::{Argument, launch};
use crate::ops::Sampling;
use crate::{Backend, DType, Result, Tensor};

pub(super) fn sample(gpu: &Gpu, x: &Tensor, sampling: &Sampling, (seed, from): (u64, u64)) -> Result<Tensor> {
    let (count, width) = (x.shape()[0], x.shape()[1]);
    let out = gpu.fresh(&[count], DType::I64)?;
    let rows = Rows::new(x.as_ptr() as u64, count, width, sampling);
    let [zeros, others] = rows.found().map(|count| gpu.fresh(&[count], DType::I64));
    let (zeros, others) = (zeros?, others?);
    gpu.zero(&zeros)?;
    let rows = rows.with(zeros.as_ptr() as u64, others.as_ptr() as u64);
    let (of_runs, of_rows) = drawing(count, width);
    let all = || Argument::of(rows);
    launch!(gpu, "sampling", "T=f32", "largest", of_runs, [all()])?;
    for round in 0..rows.rounds {
        launch!(gpu, "sampling", "T=f32", "weigh", of_runs, [all(), round])?;
    }
    launch!(gpu, "sampling", "T=f32", "keep", of_runs, [all()])?;
    launch!(gpu, "sampling", "T=f32", "draw", of_rows, [&out, all(), seed, from])?;
    Ok(out)
}
