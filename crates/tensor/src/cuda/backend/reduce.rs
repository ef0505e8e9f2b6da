//! Reductions.

use super::{name, number};
use crate::cuda::arguments::{Walk, class, code, place_in};
use crate::cuda::geometry::{columns, rows};
use crate::cuda::gpu::Gpu;
use crate::cuda::launch::launch;
use crate::ops::{BinaryOp, ReduceOp};
use crate::{Backend, DType, Layout, Result, Scalar, Shape, Tensor};

/// Elements of a reduction that are worth a block of their own, where there are few results.
const SHARE: usize = 4096;
/// Results that fill a GPU by themselves.
const MANY: usize = 256;

/// The layouts of what is kept and of what goes: both begin where `x` does.
pub(super) fn split(x: &Tensor, axes: &[usize]) -> [Layout; 2] {
    [false, true].map(|goes| {
        let chosen = || (0..x.ndim()).filter(|axis| axes.contains(axis) == goes);
        let shape: Shape = chosen().map(|axis| x.shape()[axis]).collect();
        let strides: Vec<isize> = chosen().map(|axis| x.layout().strides()[axis]).collect();
        Layout::strided(&shape, &strides, 0)
    })
}

pub(super) fn reduce(gpu: &Gpu, op: ReduceOp, x: &Tensor, axes: &[usize], dtype: DType) -> Result<Tensor> {
    let [kept, gone] = split(x, axes);
    let out = gpu.fresh(kept.shape(), dtype)?;
    let (many, each) = (kept.numel(), gone.numel());
    if many == 0 {
        return Ok(out);
    }
    // Sums of squares are added up as sums.
    let then = if op == ReduceOp::SumSquares { ReduceOp::Sum } else { op };
    let is_leading = axes.iter().copied().eq(0..axes.len());
    if is_leading && x.is_contiguous() && many >= 32 && each > 1 {
        let (at, share) = columns(each, many);
        let parts = at.grid[1] as usize;
        if parts == 1 {
            by_columns(gpu, op, x, [each, many], &out)?;
        } else {
            let partial = gpu.fresh(&[parts, many], class(dtype))?;
            by_shares(gpu, op, x, [each, many], &partial, share)?;
            by_columns(gpu, then, &partial, [parts, many], &out)?;
        }
        return Ok(out);
    }
    let (parts, _) = shares(many, each);
    if parts == 1 {
        by_rows(gpu, op, x, [&kept, &gone], &out, 1)?;
    } else {
        let partial = gpu.fresh(&[many, parts], class(dtype))?;
        by_rows(gpu, op, x, [&kept, &gone], &partial, parts)?;
        let [kept, gone] = split(&partial, &[1]);
        by_rows(gpu, then, &partial, [&kept, &gone], &out, 1)?;
    }
    Ok(out)
}

/// How many shares `each` elements for each of `many` results are dealt out in, for a GPU to have enough to do, and how many elements each has.
fn shares(many: usize, each: usize) -> (usize, usize) {
    let wanted = if many < MANY { each.div_ceil(SHARE).clamp(1, MANY) } else { 1 };
    let share = each.div_ceil(wanted).max(1);
    (each.div_ceil(share).max(1), share)
}

/// The reduction over `gone` for each of `kept`, in `parts` of which each has a place of its own in `out`.
pub(super) fn by_rows(
    gpu: &Gpu,
    op: ReduceOp,
    x: &Tensor,
    [kept, gone]: [&Layout; 2],
    out: &Tensor,
    parts: usize,
) -> Result<()> {
    let (many, each) = (kept.numel(), gone.numel());
    let mut at = rows(many, each.div_ceil(parts));
    at.grid[1] = parts as u32;
    let (macros, one) = (format!("C={}", name(class(out.dtype()))), number(out.dtype(), Scalar::Int(1)));
    let (kinds, op) = ([out, x].map(|tensor| code(tensor.dtype())), place_in(ReduceOp::ALL, op));
    let share = each.div_ceil(parts) as i64;
    let (kept, gone) = (Walk::new(kept.shape(), [kept])?, Walk::new(gone.shape(), [gone])?);
    launch!(gpu, "reduce", &macros, "reduce", at, [out, kinds[0], x, kinds[1], op, one, share, kept, gone])
}

fn by_columns(gpu: &Gpu, op: ReduceOp, x: &Tensor, shape: [usize; 2], out: &Tensor) -> Result<()> {
    by_shares(gpu, op, x, shape, out, shape[0])
}

/// The reduction over `share` rows at a time of a contiguous matrix, whose shares have rows of their own in `out`.
fn by_shares(
    gpu: &Gpu,
    op: ReduceOp,
    x: &Tensor,
    [height, width]: [usize; 2],
    out: &Tensor,
    share: usize,
) -> Result<()> {
    let mut at = columns(height, width).0;
    at.grid[1] = height.div_ceil(share) as u32;
    let (macros, one) = (format!("C={}", name(class(out.dtype()))), number(out.dtype(), Scalar::Int(1)));
    let (kinds, op) = ([out, x].map(|tensor| code(tensor.dtype())), place_in(ReduceOp::ALL, op));
    let [share, height, width] = [share, height, width].map(|size| size as i64);
    launch!(
        gpu,
        "reduce",
        &macros,
        "reduce_columns",
        at,
        [out, kinds[0], x, kinds[1], op, one, share, height, width]
    )
}

pub(super) fn spread(gpu: &Gpu, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let wide = class(x.dtype());
    let total = reduce(gpu, ReduceOp::Sum, x, axes, wide)?;
    let count: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    let many = Tensor::scalar_on(count as f64, wide, gpu.device())?;
    gpu.binary(BinaryOp::Div, &total, &total, &many)?;
    let mut shape = Shape::from(x.shape());
    axes.iter().for_each(|&axis| shape[axis] = 1);
    let mean = Tensor::over(total.storage().clone(), Layout::contiguous(&shape), wide);
    let apart = gpu.fresh(x.shape(), wide)?;
    gpu.binary(BinaryOp::Sub, &apart, x, &mean)?;
    reduce(gpu, ReduceOp::SumSquares, &apart, axes, x.dtype())
}

pub(super) fn arg_extreme(gpu: &Gpu, x: &Tensor, axes: &[usize], largest: bool) -> Result<Tensor> {
    let [kept, gone] = split(x, axes);
    let out = gpu.fresh(kept.shape(), DType::I64)?;
    let (many, each) = (kept.numel(), gone.numel());
    // A step of one text looks for a token among all: by one block that would take as long as some layers do.
    let (parts, share) = shares(many, each);
    let macros = format!("C={}", name(class(x.dtype())));
    let (kept, gone) = (Walk::new(kept.shape(), [&kept])?, Walk::new(gone.shape(), [&gone])?);
    let (kind, largest) = (code(x.dtype()), i32::from(largest));
    let find = |out: &Tensor, among: Option<&Tensor>, count: usize, parts: usize, share: usize| {
        let mut at = rows(many, share);
        at.grid[1] = parts as u32;
        let (share, count) = (share as i64, count as i64);
        launch!(
            gpu,
            "reduce",
            &macros,
            "arg_extreme",
            at,
            [out, x, kind, largest, share, among, count, kept, gone]
        )
    };
    if parts == 1 {
        find(&out, None, each, 1, each)?;
    } else {
        let places = gpu.fresh(&[many, parts], DType::I64)?;
        find(&places, None, each, parts, share)?;
        find(&out, Some(&places), parts, 1, parts)?;
    }
    Ok(out)
}
