//! What is joined up to each element, and where flags hold.

use super::name;
use super::reduce::{by_rows, split};
use crate::cuda::arguments::{Walk, class, code, place_in};
use crate::cuda::geometry::{Geometry, elements};
use crate::cuda::gpu::Gpu;
use crate::cuda::launch::launch;
use crate::ops::ReduceOp;
use crate::{DType, Layout, Result, Tensor};

/// Elements that are worth a block of their own, where rows are few.
const SHARE: usize = 8192;
/// Rows that fill a GPU by themselves.
const MANY: usize = 256;
/// The most parts of a row: their sums are summed up by one block.
const PARTS: usize = 512;

pub(super) fn scan(gpu: &Gpu, op: ReduceOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
    over(gpu, op, x, x.ndim().saturating_sub(1), dtype)
}

/// What is joined up to each element within the dimensions from `axis` on, which are walked as one row.
pub(super) fn over(gpu: &Gpu, op: ReduceOp, x: &Tensor, axis: usize, dtype: DType) -> Result<Tensor> {
    let out = gpu.fresh(x.shape(), dtype)?;
    let axes: Vec<usize> = (axis..x.ndim()).collect();
    let [kept, gone] = split(x, &axes);
    let (rows, size) = (kept.numel(), gone.numel());
    if out.numel() == 0 {
        return Ok(out);
    }
    let parts = if rows < MANY { size.div_ceil(SHARE).clamp(1, PARTS) } else { 1 };
    let before = match parts {
        1 => None,
        _ => {
            let totals = gpu.fresh(&[rows, parts], class(dtype))?;
            by_rows(gpu, op, x, [&kept, &gone], &totals, parts)?;
            // Sums of squares are added up as sums.
            let then = if op == ReduceOp::SumSquares { ReduceOp::Sum } else { op };
            Some(over(gpu, then, &totals, 1, class(dtype))?)
        }
    };
    let (share, walk) = (size.div_ceil(parts) as i64, Walk::new(x.shape(), [x.layout()])?);
    let at = Geometry { grid: [rows.min(4096) as u32, parts as u32, 1], ..elements(1, 1) };
    let macros = format!("C={}", name(class(dtype)));
    let (kinds, op) = ([&out, x].map(|tensor| code(tensor.dtype())), place_in(ReduceOp::ALL, op));
    let (rows, size) = (rows as i64, size as i64);
    launch!(
        gpu,
        "scan",
        &macros,
        "scan",
        at,
        [&out, kinds[0], x, kinds[1], op, before.as_ref(), rows, size, share, walk]
    )?;
    Ok(out)
}

pub(super) fn nonzero(gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
    let (rank, numel) = (x.ndim(), x.numel());
    if numel == 0 {
        return gpu.fresh(&[0, rank], DType::I64);
    }
    let running = over(gpu, ReduceOp::Sum, x, 0, DType::I64)?;
    // How many there are, the shape of the result has to say.
    let last = Tensor::over(running.storage().clone(), Layout::strided(&[1], &[1], numel - 1), DType::I64);
    let count = last.to_host()?.as_slice::<i64>()?[0] as usize;
    let out = gpu.fresh(&[count, rank], DType::I64)?;
    if out.numel() > 0 {
        let walk = Walk::as_it_is(x.shape(), [x.layout()])?;
        launch!(gpu, "scan", "C=i64", "positions", elements(numel, 1), [&out, x, &running, walk])?;
    }
    Ok(out)
}
