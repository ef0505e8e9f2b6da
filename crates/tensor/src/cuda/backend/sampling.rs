//! Tokens drawn where their logits are.

use super::Gpu;
use crate::cuda::geometry::{Geometry, HIGHEST, WARP};
use crate::cuda::launch::{Argument, launch};
use crate::ops::Sampling;
use crate::{DType, Result, Tensor};

/// Of a block: as many as the kernel has room for.
const THREADS: usize = 512;

/// What kernels call a Sampling.
#[repr(C)]
#[derive(Clone, Copy)]
struct Settings {
    temperature: f32,
    top_k: i32,
    top_p: f32,
    min_p: f32,
}

pub(super) fn sample(gpu: &Gpu, x: &Tensor, sampling: &Sampling, (seed, from): (u64, u64)) -> Result<Tensor> {
    let (rows, width) = (x.shape()[0], x.shape()[1]);
    let out = gpu.fresh(&[rows], DType::I64)?;
    let threads = width.next_multiple_of(WARP).min(THREADS);
    let grid = [rows.clamp(1, HIGHEST) as u32, 1, 1];
    let at = Geometry { grid, block: [threads as u32, 1, 1], shared: 0 };
    let Sampling { temperature, top_k, top_p, min_p } = *sampling;
    let top_k = i32::try_from(top_k).unwrap_or(i32::MAX);
    let settings = Argument::of(Settings { temperature, top_k, top_p, min_p });
    let (rows, width) = (rows as i64, width as i32);
    launch!(gpu, "sampling", "T=f32", "sample", at, [&out, x, rows, width, settings, seed, from])?;
    Ok(out)
}
