//! Random numbers: the same as the processor's.

use super::{Gpu, name};
use crate::cuda::geometry::elements;
use crate::cuda::launch::launch;
use crate::ops::{DROPOUT_BLOCKS, DROPOUT_GROUP, Distribution, dropout_limit};
use crate::{Backend, DType, Result, Tensor};

pub(super) fn random(
    gpu: &Gpu,
    distribution: Distribution,
    (seed, from): (u64, u64),
    shape: &[usize],
    dtype: DType,
) -> Result<Tensor> {
    let out = gpu.fresh(shape, dtype)?;
    let (at, count, macros) = (elements(out.numel(), 2), out.numel() as i64, format!("T={}", name(dtype)));
    match distribution {
        Distribution::Uniform => launch!(gpu, "random", &macros, "uniform", at, [&out, count, seed, from])?,
        Distribution::Normal => launch!(gpu, "random", &macros, "normal", at, [&out, count, seed, from])?,
        // Of no type of floats, and so in the module of any.
        Distribution::Below(limit) => {
            launch!(gpu, "random", "T=f32", "below", at, [&out, count, seed, from, limit])?;
        }
    }
    Ok(out)
}

pub(super) fn dropout(gpu: &Gpu, x: &Tensor, p: f64, (seed, from): (u64, u64)) -> Result<Tensor> {
    let out = gpu.fresh(x.shape(), x.dtype())?;
    let at = elements(x.numel().div_ceil(DROPOUT_GROUP) * DROPOUT_BLOCKS, 1);
    let Some(limit) = dropout_limit(p) else {
        gpu.zero(&out)?;
        return Ok(out);
    };
    let scale = 1.0 / (1.0 - p);
    let (count, macros) = (x.numel() as i64, format!("T={}", name(x.dtype())));
    launch!(gpu, "random", &macros, "dropout", at, [&out, x, count, limit, scale, seed, from])?;
    Ok(out)
}
