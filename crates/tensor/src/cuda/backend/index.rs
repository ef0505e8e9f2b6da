//! Rows and blocks at given places.

use super::{Gpu, of};
use crate::cuda::arguments::code;
use crate::cuda::geometry::elements;
use crate::cuda::launch::{Argument, launch};
use crate::ops::{BinaryOp, Ids};
use crate::{Backend, DType, Result, Tensor};

/// The module that moves elements of `dtype`, whatever they mean.
fn moving(dtype: DType) -> &'static str {
    match dtype.size() {
        1 => "E=u8",
        2 => "E=u16",
        4 => "E=u32",
        8 => "E=u64",
        _ => "E=Pack<u64,2>",
    }
}

pub(super) fn take(gpu: &Gpu, x: &Tensor, offsets: &Tensor, block: usize, shape: &[usize]) -> Result<Tensor> {
    let out = gpu.fresh(shape, x.dtype())?;
    let (at, blocks) = (elements(out.numel(), 1), offsets.numel() as i64);
    launch!(gpu, "index", moving(x.dtype()), "take", at, [&out, x, offsets, blocks, block as i64])?;
    Ok(out)
}

pub(super) fn put(
    gpu: &Gpu,
    out: &Tensor,
    offsets: &Tensor,
    block: usize,
    values: &Tensor,
    accumulate: bool,
) -> Result<()> {
    let (at, blocks, dtype) = (elements(values.numel(), 1), offsets.numel() as i64, out.dtype());
    if !accumulate {
        return launch!(gpu, "index", moving(dtype), "put", at, [out, values, offsets, blocks, block as i64]);
    }
    launch!(gpu, "accumulate", &of(dtype), "put_add", at, [out, values, offsets, blocks, block as i64])
}

/// The most tables of one launch.
const MAX_LOOKUPS: usize = 4;

/// What kernels call Lookups: tables with their ids and the number of their rows, and how many.
#[repr(C)]
#[derive(Clone, Copy)]
struct Lookups {
    at: [[u64; 3]; MAX_LOOKUPS],
    count: i64,
}

pub(super) fn embedding(gpu: &Gpu, lookups: &[(&Tensor, Ids)], to: DType) -> Result<Tensor> {
    let (positions, width) = (lookups[0].1.len(), lookups[0].0.shape()[1]);
    // What the processor has goes there in one copy.
    let here: Vec<i64> = lookups.iter().filter_map(|(_, ids)| ids.here()).flatten().copied().collect();
    let here = gpu.table(&here)?;
    let mut next = here.as_ptr() as u64;
    let ids: Vec<u64> = lookups
        .iter()
        .map(|(_, ids)| match ids {
            Ids::There(ids) => ids.as_ptr() as u64,
            Ids::Here(ids) => {
                let at = next;
                next += size_of_val(*ids) as u64;
                at
            }
        })
        .collect();
    let (mut sum, mut first): (Option<Tensor>, usize) = (None, 0);
    // Tables of one dtype are added up in one launch.
    while let Some((table, _)) = lookups.get(first) {
        let dtype = table.dtype();
        let alike = lookups[first..].iter().take_while(|(table, _)| table.dtype() == dtype).count();
        let count = alike.min(MAX_LOOKUPS);
        let mut at = [[0; 3]; MAX_LOOKUPS];
        for (place, index) in at.iter_mut().zip(first..first + count) {
            let table = lookups[index].0;
            *place = [table.as_ptr() as u64, ids[index], table.shape()[0] as u64];
        }
        let out = gpu.fresh(&[positions, width], to)?;
        let (grid, lookups) = (elements(out.numel(), 1), Argument::of(Lookups { at, count: count as i64 }));
        let (positions, width) = (positions as i64, width as i32);
        launch!(gpu, "rows", &of(to), "embedding", grid, [&out, lookups, code(dtype), positions, width])?;
        if let Some(before) = &sum {
            gpu.binary(BinaryOp::Add, &out, &out, before)?;
        }
        sum = Some(out);
        first += count;
    }
    sum.map_or_else(|| gpu.fresh(&[positions, width], to), Ok)
}

pub(super) fn scatter_rows(gpu: &Gpu, x: &Tensor, positions: &[usize], total: usize) -> Result<Tensor> {
    let mut shape = x.shape().to_vec();
    shape[0] = total;
    let width: usize = shape[1..].iter().product();
    let out = gpu.fresh(&shape, x.dtype())?;
    gpu.zero(&out)?;
    let offsets: Vec<i64> = positions.iter().map(|&position| (position * width) as i64).collect();
    put(gpu, &out, &gpu.table(&offsets)?, width, x, false)?;
    Ok(out)
}
