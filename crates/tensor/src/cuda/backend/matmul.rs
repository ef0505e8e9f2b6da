//! Products of matrices, batch by batch.

use super::Gpu;
use crate::cuda::arguments::{Walk, code};
use crate::cuda::blas::{Function, Matrices, Product};
use crate::cuda::geometry::elements;
use crate::cuda::launch::{Argument, launch};
use crate::layout::coalesce;
use crate::{Backend, Layout, Result, Shape, Tensor};

pub(super) fn matmul(gpu: &Gpu, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut shape = Shape::from(a.shape());
    let last = shape.len() - 1;
    shape[last] = b.shape()[last];
    let out = gpu.fresh(&shape, a.dtype())?;
    if out.numel() == 0 {
        return Ok(out);
    }
    if a.shape()[last] == 0 {
        gpu.zero(&out)?;
        return Ok(out);
    }
    if !a.dtype().is_float() {
        return whole(gpu, out, a, b);
    }
    // What no strides of the library express is copied first.
    let [a, b] = [a, b].map(|x| if matrices(x).is_some() { Ok(x.detach()) } else { x.detach().copy() });
    let (a, b) = (a?, b?);
    let (left, right) =
        (matrices(&a).unwrap_or_else(|| plain(&a)), matrices(&b).unwrap_or_else(|| plain(&b)));
    let count = shape[..last - 1].iter().product();
    let product =
        Product { out: plain(&out), left, right, count, bias: None, add: None, function: Function::Identity };
    gpu.multiply(&product)?;
    Ok(out)
}

/// Products of integers, which matrix units do not have in this way.
fn whole(gpu: &Gpu, out: Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (shape, last) = (out.shape(), out.ndim() - 1);
    let leading = |x: &Tensor| Layout::strided(&x.shape()[..last - 1], &x.layout().strides()[..last - 1], 0);
    let batch = Walk::new(&shape[..last - 1], [&leading(a), &leading(b)])?;
    let strides = |x: &Tensor| Argument::of([last - 1, last].map(|axis| x.layout().strides()[axis] as i64));
    let [rows, depth, columns] = [shape[last - 1], a.shape()[last], shape[last]].map(|size| size as i64);
    let at = elements(out.numel(), 1);
    let kind = code(out.dtype());
    launch!(
        gpu,
        "product",
        "",
        "multiply",
        at,
        [&out, kind, a, strides(a), b, strides(b), rows, depth, columns, batch]
    )?;
    Ok(out)
}

/// The matrices of `x`, if they lie at equal distances and the elements of rows or of columns are neighbours.
pub(super) fn matrices(x: &Tensor) -> Option<Matrices> {
    let (batch, sizes) = x.shape().split_at(x.ndim() - 2);
    let (apart, strides) = x.layout().strides().split_at(x.ndim() - 2);
    let (_, [apart]) = coalesce(batch, [&Layout::strided(batch, apart, 0)]);
    let [apart] = apart[..] else { return None };
    let positive = |stride: isize| usize::try_from(stride).ok();
    let (shape, strides) = ([sizes[0], sizes[1]], [positive(strides[0])?, positive(strides[1])?]);
    let is_run = |along: usize, across: usize| {
        (strides[along] == 1 || shape[along] == 1) && (strides[across] >= shape[along] || shape[across] == 1)
    };
    (is_run(1, 0) || is_run(0, 1)).then(|| Matrices {
        address: x.as_ptr() as u64,
        dtype: x.dtype(),
        shape,
        strides,
        apart: positive(apart).unwrap_or_default(),
    })
}

/// The matrices of a contiguous tensor.
pub(super) fn plain(x: &Tensor) -> Matrices {
    let shape = [x.shape()[x.ndim() - 2], x.shape()[x.ndim() - 1]];
    let (address, dtype, strides) = (x.as_ptr() as u64, x.dtype(), [shape[1], 1]);
    Matrices { address, dtype, shape, strides, apart: shape[0] * shape[1] }
}
