//! Functions of elements.

use super::{name, number};
use crate::cuda::arguments::{Walk, class, code, place_in};
use crate::cuda::geometry::elements;
use crate::cuda::gpu::Gpu;
use crate::cuda::launch::launch;
use crate::ops::{BinaryOp, CompareOp, UnaryOp};
use crate::{DType, Layout, Result, Scalar, Tensor};

/// The module that computes in what `dtype` is computed in.
fn computing(dtype: DType) -> String {
    format!("C={}", name(class(dtype)))
}

pub(super) fn fill(gpu: &Gpu, out: &Tensor, value: Scalar) -> Result<()> {
    let (dtype, number) = (out.dtype(), number(out.dtype(), value));
    launch!(gpu, "elementwise", &computing(dtype), "fill", elements(1, 1), [out, code(dtype), number])
}

pub(super) fn assign(gpu: &Gpu, out: &Tensor, x: &Tensor) -> Result<()> {
    if out.dtype().is_complex() {
        return assign(gpu, &parts(out), &parts(x));
    }
    let (from, to) = (x.dtype(), out.dtype());
    if from == to && x.shape() == out.shape() && x.is_contiguous() && out.is_contiguous() {
        return gpu.copy(out.as_ptr() as u64, x.as_ptr() as u64, x.numel() * from.size());
    }
    let walk = Walk::new(out.shape(), [out.layout(), x.layout()])?;
    let at = elements(walk.count(), 1);
    launch!(gpu, "elementwise", &computing(from), "assign", at, [out, code(to), x, code(from), walk])
}

/// Complex numbers as pairs of real ones.
fn parts(x: &Tensor) -> Tensor {
    let layout = x.layout();
    let shape: Vec<usize> = layout.shape().iter().copied().chain([2]).collect();
    let strides: Vec<isize> = layout.strides().iter().map(|stride| stride * 2).chain([1]).collect();
    let dtype = if x.dtype() == DType::C64 { DType::F32 } else { DType::F64 };
    Tensor::over(x.storage().clone(), Layout::strided(&shape, &strides, layout.offset() * 2), dtype)
}

pub(super) fn unary(gpu: &Gpu, op: UnaryOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
    let out = gpu.fresh(x.shape(), dtype)?;
    let walk = Walk::new(x.shape(), [out.layout(), x.layout()])?;
    let (at, number) = (elements(walk.count(), 1), place_in(UnaryOp::ALL, op));
    let kinds = (code(dtype), code(x.dtype()));
    launch!(gpu, "elementwise", &computing(dtype), "unary", at, [&out, kinds.0, x, kinds.1, number, walk])?;
    Ok(out)
}

pub(super) fn binary(gpu: &Gpu, op: BinaryOp, out: &Tensor, x: &Tensor, y: &Tensor) -> Result<()> {
    let walk = Walk::new(out.shape(), [out.layout(), x.layout(), y.layout()])?;
    let (at, number) = (elements(walk.count(), 1), place_in(BinaryOp::ALL, op));
    let [to, left, right] = [out, x, y].map(|tensor| code(tensor.dtype()));
    launch!(
        gpu,
        "elementwise",
        &computing(out.dtype()),
        "binary",
        at,
        [out, to, x, left, y, right, number, walk]
    )
}

pub(super) fn compare(
    gpu: &Gpu,
    op: CompareOp,
    x: &Tensor,
    y: &Tensor,
    common: DType,
    shape: &[usize],
) -> Result<Tensor> {
    let out = gpu.fresh(shape, DType::Bool)?;
    let walk = Walk::new(shape, [out.layout(), x.layout(), y.layout()])?;
    let (at, number) = (elements(walk.count(), 1), place_in(CompareOp::ALL, op));
    let [left, right] = [x, y].map(|tensor| code(tensor.dtype()));
    launch!(gpu, "elementwise", &computing(common), "compare", at, [&out, x, left, y, right, number, walk])?;
    Ok(out)
}

pub(super) fn select(
    gpu: &Gpu,
    condition: &Tensor,
    x: &Tensor,
    y: &Tensor,
    dtype: DType,
    shape: &[usize],
) -> Result<Tensor> {
    let out = gpu.fresh(shape, dtype)?;
    let walk = Walk::new(shape, [out.layout(), condition.layout(), x.layout(), y.layout()])?;
    let at = elements(walk.count(), 1);
    let [to, left, right] = [dtype, x.dtype(), y.dtype()].map(code);
    launch!(
        gpu,
        "elementwise",
        &computing(dtype),
        "choose",
        at,
        [&out, to, condition, x, left, y, right, walk]
    )?;
    Ok(out)
}
