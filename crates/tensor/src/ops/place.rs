//! Reading and writing at given places: blocks of neighbouring elements taken from, or put to them. All indexing by tensors is this pair
//! of operations, whose gradients are each other.

use crate::autograd::record;
use crate::layout::{Layout, broadcast_shapes};
use crate::{DType, Device, Error, Result, Shape, Strides, Tensor};

/// Tensors of positions, each for one dimension.
pub(super) type Pointers = Vec<(usize, Tensor)>;

/// Where blocks of neighbouring elements begin, relative to the tensor's first element, and how long they are.
pub(super) struct Places {
    pub(super) offsets: Tensor,
    pub(super) block: usize,
    /// The shape of what is there: that of the offsets, then what a block covers.
    pub(super) shape: Shape,
}

impl Tensor {
    /// Where in this tensor `pointers` point, with all other dimensions in full.
    pub(super) fn places(&self, op: &'static str, pointers: &Pointers) -> Result<Places> {
        let strides = self.layout().strides();
        let mut pointed: Shape = Shape::new();
        for (_, index) in pointers {
            pointed = broadcast_shapes(op, &pointed, index.shape())?;
        }
        let is_pointed = |axis: usize| pointers.iter().any(|(at, _)| *at == axis);
        let (first, last) = (pointers[0].0, pointers[pointers.len() - 1].0);
        // Pointers side by side leave their dimensions where they were; others come first.
        let before = if last - first + 1 == pointers.len() { first } else { 0 };
        let full: Vec<usize> = (0..self.ndim()).filter(|&axis| !is_pointed(axis)).collect();
        // Trailing dimensions that lie together are copied as a block.
        let mut block = 1;
        let mut outer = full.len();
        while outer > before
            && full[outer - 1] > last
            && (self.shape()[full[outer - 1]] == 1 || strides[full[outer - 1]] == block as isize)
        {
            block *= self.shape()[full[outer - 1]];
            outer -= 1;
        }
        let ndim = outer + pointed.len();
        let along = |index: &Tensor, following: usize, stride: isize| -> Result<Tensor> {
            let mut shape = Shape::from(index.shape());
            shape.resize(index.ndim() + following, 1);
            index.mul(stride as i64)?.view(&shape)
        };
        let mut offsets = Tensor::scalar(0i64, DType::I64)?;
        for (axis, index) in pointers {
            let index = index.wrapped(op, self.shape()[*axis])?;
            offsets = offsets.add(&along(&index, outer - before, strides[*axis])?)?;
        }
        for (place, &axis) in full[..outer].iter().enumerate() {
            let position = if place < before { place } else { place + pointed.len() };
            offsets = offsets.add(&along(
                &Tensor::count(self.shape()[axis])?,
                ndim - 1 - position,
                strides[axis],
            )?)?;
        }
        let mut shape: Shape = full[..before].iter().map(|&axis| self.shape()[axis]).collect();
        shape.extend_from_slice(&pointed);
        shape.extend(full[before..outer].iter().map(|&axis| self.shape()[axis]));
        let offsets = offsets.expand(&shape)?.contiguous()?.to_device(self.device())?;
        shape.extend(full[outer..].iter().map(|&axis| self.shape()[axis]));
        Ok(Places { offsets, block, shape })
    }

    /// These positions counted from the beginning, in memory of their own: nobody can change them after they were checked.
    pub(super) fn wrapped(&self, op: &'static str, size: usize) -> Result<Tensor> {
        // Positions are looked at one by one, which is the processor's work wherever they come from.
        let out = Tensor::uninit(self.shape(), DType::I64, Device::Cpu)?;
        out.backend().assign(&out, &self.detach().to_device(Device::Cpu)?)?;
        let positions: &[i64] = out.elements();
        let in_range = |&&i: &&i64| i < -(size as i64) || i >= size as i64;
        if let Some(&index) = positions.iter().find(in_range) {
            return Err(Error::Index { op, what: "the dimension", index, size });
        }
        if positions.iter().all(|&i| i >= 0) {
            return Ok(out);
        }
        Tensor::select_where(&out.lt(0i64)?, &out.add(size as i64)?, &out)
    }

    /// Blocks of this tensor's elements, in `shape`.
    pub(super) fn take_at(&self, offsets: &Tensor, block: usize, shape: &[usize]) -> Result<Tensor> {
        let out = self.backend().take(self, offsets, block, shape)?;
        let whole = Shape::from(self.shape());
        Ok(record("index", out, &[self], &[offsets], move |b| {
            let zeros = Tensor::zeros_on(&whole, b.grad().dtype(), b.grad().device())?;
            Ok(vec![Some(zeros.put_at(&b.saved[0], block, b.grad(), true)?)])
        }))
    }

    /// A copy of this contiguous tensor with `values` put, or added, to blocks of its elements.
    pub(super) fn put_at(
        &self,
        offsets: &Tensor,
        block: usize,
        values: &Tensor,
        accumulate: bool,
    ) -> Result<Tensor> {
        let out = self.detach().copy()?;
        out.backend().put(&out, offsets, block, &values.contiguous()?, accumulate)?;
        let shape = Shape::from(values.shape());
        Ok(record("index_put", out, &[self, values], &[offsets], move |b| {
            let (g, offsets) = (b.grad().contiguous()?, &b.saved[0]);
            let rest = b.when(0, || {
                if accumulate {
                    return Ok(g.clone());
                }
                let zeros = Tensor::zeros_on(&shape, g.dtype(), g.device())?;
                g.put_at(offsets, block, &zeros, false)
            })?;
            Ok(vec![rest, b.when(1, || g.take_at(offsets, block, &shape))?])
        }))
    }
}

/// Where the elements are that `index`, of as many dimensions as `x`, points at along `axis`.
pub(super) fn places_along(op: &'static str, x: &Tensor, axis: usize, index: &Tensor) -> Result<Tensor> {
    if !index.dtype().is_int() {
        return Err(Error::DType { op, rule: "an index must be of integers", dtype: index.dtype() });
    }
    let fits =
        index.ndim() == x.ndim() && (0..x.ndim()).all(|d| d == axis || index.shape()[d] <= x.shape()[d]);
    if !fits {
        let rule =
            "the index must have as many dimensions as the tensor, none but the one indexed larger than its";
        return Err(Error::Shapes { op, rule, left: x.shape().into(), right: index.shape().into() });
    }
    let strides: Strides = Layout::contiguous(x.shape()).strides().into();
    let size = x.shape().get(axis).copied().unwrap_or(1);
    let mut offsets = index.wrapped(op, size)?.mul(strides.get(axis).copied().unwrap_or(1) as i64)?;
    for d in (0..x.ndim()).filter(|&d| d != axis) {
        let mut shape = Shape::from_elem(1, x.ndim());
        shape[d] = index.shape()[d];
        offsets = offsets.add(&Tensor::count(shape[d])?.mul(strides[d] as i64)?.view(&shape)?)?;
    }
    offsets.to_device(x.device())
}
