//! The same memory in another shape or order.

use crate::autograd::record;
use crate::layout::{Layout, broadcast_shapes, checked_numel, resolve_axis};
use crate::{Error, Result, Shape, Strides, Tensor};

/// `grad` at the place of a view within zeros of `shape`; `view` says where.
pub(super) fn embed(
    grad: &Tensor,
    shape: &[usize],
    view: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let whole = Tensor::zeros_on(shape, grad.dtype(), grad.device())?;
    view(&whole)?.copy_(grad)?;
    Ok(whole)
}

impl Tensor {
    /// A view whose gradient `rule` brings back to this shape.
    fn viewed(
        &self,
        op: &'static str,
        layout: Layout,
        rule: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
    ) -> Tensor {
        record(op, self.view_with(layout), &[self], &[], move |b| Ok(vec![Some(rule(b.grad())?)]))
    }

    /// The same elements in another shape, without a copy.
    ///
    /// # Errors
    /// `Argument` when the numbers of elements differ or strides cannot express the shape.
    pub fn view(&self, shape: &[usize]) -> Result<Tensor> {
        if checked_numel("view", shape, self.dtype().size())? != self.numel() {
            let message = format!("shape {:?} has not as many elements as {shape:?}", self.shape());
            return Err(Error::argument("view", message));
        }
        let layout = self.layout().reshape(shape).ok_or_else(|| {
            let message = format!(
                "shape {:?} with strides {:?} cannot be seen as {shape:?} without a copy: use reshape()",
                self.shape(),
                self.layout().strides()
            );
            Error::argument("view", message)
        })?;
        let before = Shape::from(self.shape());
        Ok(self.viewed("view", layout, move |g| g.reshape(&before)))
    }

    /// The same elements in another shape, in the same memory where that is possible.
    ///
    /// # Errors
    /// `Argument` when the numbers of elements differ.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        if self.numel() == checked_numel("reshape", shape, self.dtype().size())?
            && self.layout().reshape(shape).is_none()
        {
            return self.copy()?.view(shape);
        }
        self.view(shape)
    }

    /// `shape` with the one size that is -1 computed from the number of elements.
    ///
    /// # Errors
    /// `Argument` when that cannot be, or a size is less than -1.
    pub fn infer_shape(&self, shape: &[i64]) -> Result<Shape> {
        let misfit = || {
            let message = format!("shape {:?} cannot become {shape:?}", self.shape());
            Error::argument("reshape", message)
        };
        let known: Vec<usize> = shape
            .iter()
            .filter(|&&size| size != -1)
            .map(|&size| size.try_into().map_err(|_| misfit()))
            .collect::<Result<_>>()?;
        let product = checked_numel("reshape", &known, 1)?;
        let unknown = match shape.len() - known.len() {
            0 => 0,
            1 if product > 0 && self.numel().is_multiple_of(product) => self.numel() / product,
            _ => return Err(misfit()),
        };
        let shape: Shape =
            shape.iter().map(|&size| if size == -1 { unknown } else { size as usize }).collect();
        if shape.iter().product::<usize>() == self.numel() { Ok(shape) } else { Err(misfit()) }
    }

    /// The elements `start..end` along `axis`, without a copy.
    ///
    /// # Errors
    /// `Argument` when there are no such elements.
    pub fn narrow(&self, axis: usize, start: usize, end: usize) -> Result<Tensor> {
        let layout = self.layout().narrow(axis, start, end)?;
        let shape = Shape::from(self.shape());
        Ok(self.viewed("narrow", layout, move |g| embed(g, &shape, |whole| whole.narrow(axis, start, end))))
    }

    /// The slice at `index` along `axis`, which goes away; without a copy.
    ///
    /// # Errors
    /// `Argument` when there is no such slice.
    pub fn select(&self, axis: usize, index: usize) -> Result<Tensor> {
        let view = self.layout().narrow(axis, index, index.saturating_add(1))?;
        let (mut shape, mut strides) = (Shape::from(view.shape()), Strides::from(view.strides()));
        shape.remove(axis);
        strides.remove(axis);
        let layout = Layout::strided(&shape, &strides, view.offset());
        let before = Shape::from(self.shape());
        Ok(self.viewed("select", layout, move |g| embed(g, &before, |whole| whole.select(axis, index))))
    }

    /// Every `step`-th element along `axis`, `len` of them, the first at `start`; a negative step walks backwards.
    ///
    /// # Errors
    /// `Argument` when one of them is outside.
    pub fn stepped(&self, axis: usize, start: usize, len: usize, step: isize) -> Result<Tensor> {
        let size = self.shape().get(axis).copied().unwrap_or(0);
        let last = (len as isize - 1).checked_mul(step).and_then(|reach| reach.checked_add(start as isize));
        let inside = len == 0 || start < size && last.is_some_and(|last| (0..size as isize).contains(&last));
        if axis >= self.ndim() || !inside {
            let message =
                format!("{len} elements from {start} by {step} do not fit axis {axis} of {:?}", self.shape());
            return Err(Error::argument("slice", message));
        }
        let shape = Shape::from(self.shape());
        let layout = self.layout().stepped(axis, start, len, step);
        Ok(self.viewed("slice", layout, move |g| {
            embed(g, &shape, |whole| whole.stepped(axis, start, len, step))
        }))
    }

    /// The dimensions in another order: new dimension `i` is old dimension `axes[i]`.
    ///
    /// # Errors
    /// `Argument` when `axes` does not name each dimension once; `Index` when one is not there.
    pub fn permute(&self, axes: &[isize]) -> Result<Tensor> {
        let axes: Vec<usize> =
            axes.iter().map(|&axis| resolve_axis("permute", axis, self.ndim())).collect::<Result<_>>()?;
        let mut back = vec![usize::MAX; self.ndim()];
        for (new, &old) in axes.iter().enumerate().filter(|(_, old)| **old < self.ndim()) {
            back[old] = new;
        }
        if axes.len() != self.ndim() || back.contains(&usize::MAX) {
            let message = format!("{axes:?} does not name each dimension of {:?} once", self.shape());
            return Err(Error::argument("permute", message));
        }
        let back: Vec<isize> = back.into_iter().map(|axis| axis as isize).collect();
        Ok(self.viewed("permute", self.layout().permute(&axes), move |g| g.permute(&back)))
    }

    /// Two dimensions exchanged.
    ///
    /// # Errors
    /// `Index` when one is not there.
    pub fn transpose(&self, first: isize, second: isize) -> Result<Tensor> {
        let (first, second) =
            (resolve_axis("transpose", first, self.ndim())?, resolve_axis("transpose", second, self.ndim())?);
        let mut axes: Vec<isize> = (0..self.ndim() as isize).collect();
        if self.ndim() > 0 {
            axes.swap(first, second);
        }
        self.permute(&axes)
    }

    /// A matrix, or each of a batch of matrices, transposed.
    ///
    /// # Errors
    /// `Index` for less than two dimensions.
    pub fn mt(&self) -> Result<Tensor> {
        self.transpose(-2, -1)
    }

    /// The dimension `from` moved to be dimension `to`, the others in order.
    ///
    /// # Errors
    /// `Index` when one is not there.
    pub fn movedim(&self, from: isize, to: isize) -> Result<Tensor> {
        let (from, to) =
            (resolve_axis("movedim", from, self.ndim())?, resolve_axis("movedim", to, self.ndim())?);
        let mut axes: Vec<isize> = (0..self.ndim() as isize).filter(|&axis| axis != from as isize).collect();
        if self.ndim() > 0 {
            axes.insert(to, from as isize);
        }
        self.permute(&axes)
    }

    /// The elements repeated over `shape`, to which this one must broadcast; without a copy.
    ///
    /// # Errors
    /// `Shapes` when it does not broadcast.
    pub fn expand(&self, shape: &[usize]) -> Result<Tensor> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        checked_numel("expand", shape, self.dtype().size())?;
        if broadcast_shapes("expand", self.shape(), shape)?.as_slice() != shape {
            let rule = "only dimensions of size 1 can be expanded";
            return Err(Error::Shapes { op: "expand", rule, left: self.shape().into(), right: shape.into() });
        }
        // The walk sums every gradient to its source's shape.
        Ok(self.viewed("expand", self.layout().expand(shape), |g| Ok(g.clone())))
    }

    /// A new dimension of size 1 at `axis`.
    ///
    /// # Errors
    /// `Index` when `axis` is beyond the new number of dimensions.
    pub fn unsqueeze(&self, axis: isize) -> Result<Tensor> {
        let axis = resolve_axis("unsqueeze", axis, self.ndim() + 1)?;
        let (mut shape, mut strides) = (Shape::from(self.shape()), Strides::from(self.layout().strides()));
        // The stride that keeps a contiguous tensor looking contiguous.
        let stride = if axis < self.ndim() { strides[axis].saturating_mul(shape[axis] as isize) } else { 1 };
        shape.insert(axis, 1);
        strides.insert(axis, stride);
        let layout = Layout::strided(&shape, &strides, self.layout().offset());
        Ok(self.viewed("unsqueeze", layout, move |g| g.squeeze(&[axis as isize])))
    }

    /// Without those of the `axes` that have size 1; of all dimensions if none is named.
    ///
    /// # Errors
    /// `Index` when one is not there.
    pub fn squeeze(&self, axes: &[isize]) -> Result<Tensor> {
        let axes: Vec<usize> =
            axes.iter().map(|&axis| resolve_axis("squeeze", axis, self.ndim())).collect::<Result<_>>()?;
        let stays = |axis: &usize| self.shape()[*axis] != 1 || !(axes.is_empty() || axes.contains(axis));
        let kept: Vec<usize> = (0..self.ndim()).filter(stays).collect();
        let layout = self.layout().permute(&kept);
        let before = Shape::from(self.shape());
        Ok(self.viewed("squeeze", layout, move |g| g.reshape(&before)))
    }

    /// The dimensions from `first` to `last`, both included, as one.
    ///
    /// # Errors
    /// `Index` when one is not there; `Argument` when `last` comes before `first`.
    pub fn flatten(&self, first: isize, last: isize) -> Result<Tensor> {
        let (first, last) =
            (resolve_axis("flatten", first, self.ndim())?, resolve_axis("flatten", last, self.ndim())?);
        if self.ndim() == 0 {
            return self.view(&[1]);
        }
        if last < first {
            return Err(Error::argument("flatten", format!("dimension {last} comes before {first}")));
        }
        let mut shape = Shape::from(&self.shape()[..first]);
        shape.push(self.shape()[first..=last].iter().product());
        shape.extend_from_slice(&self.shape()[last + 1..]);
        self.reshape(&shape)
    }

    /// The elements in the opposite order along `axes`, in new memory.
    ///
    /// # Errors
    /// `Index` when an axis is not there.
    pub fn flip(&self, axes: &[isize]) -> Result<Tensor> {
        let mut view = self.clone();
        for &axis in axes {
            let axis = resolve_axis("flip", axis, self.ndim())?;
            if let Some(&size) = self.shape().get(axis) {
                view = view.stepped(axis, size.saturating_sub(1), size, -1)?;
            }
        }
        view.copy()
    }

    /// The whole tensor `times[i]` times along dimension `i`, aligned at the last one.
    ///
    /// # Errors
    /// `Argument` when there are fewer counts than dimensions.
    pub fn repeat(&self, times: &[usize]) -> Result<Tensor> {
        let lead = times.len().checked_sub(self.ndim()).ok_or_else(|| {
            let message = format!("{times:?} must have a count for each dimension of {:?}", self.shape());
            Error::argument("repeat", message)
        })?;
        // (a, b) becomes (1, a, 1, b), is expanded to (m, a, n, b) and read as (m a, n b).
        let (mut split, mut wide, mut joined) = (Shape::new(), Shape::new(), Shape::new());
        for (axis, &count) in times.iter().enumerate() {
            let size = axis.checked_sub(lead).map_or(1, |axis| self.shape()[axis]);
            split.extend([1, size]);
            wide.extend([count, size]);
            joined.push(count.saturating_mul(size));
        }
        self.reshape(&split)?.expand(&wide)?.copy()?.view(&joined)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::check_gradient;

    #[test]
    fn views_share_memory() {
        let tensor = Tensor::from_slice(&[0i64, 1, 2, 3, 4, 5], &[2, 3]).unwrap();
        let row = tensor.narrow(0, 1, 2).unwrap();
        assert_eq!(row.as_slice::<i64>().unwrap(), [3, 4, 5]);
        assert_eq!(row.view(&[3, 1]).unwrap().shape(), [3, 1]);
        assert!(tensor.narrow(1, 0, 2).unwrap().as_slice::<i64>().is_err());
        assert!(tensor.as_slice::<f32>().is_err());
        assert!(tensor.view(&[7]).is_err());
        let backwards = tensor.stepped(1, 2, 2, -2).unwrap();
        assert_eq!(backwards.contiguous().unwrap().as_slice::<i64>().unwrap(), [2, 0, 5, 3]);
        assert!(tensor.stepped(1, 2, 3, -2).is_err() && tensor.stepped(1, 3, 1, 1).is_err());
        assert_eq!(tensor.infer_shape(&[-1, 2]).unwrap().as_slice(), [3, 2]);
        assert!(tensor.infer_shape(&[-1, 4]).is_err() && tensor.infer_shape(&[-1, -1]).is_err());
        assert_eq!(tensor.repeat(&[2, 1, 2]).unwrap().shape(), [2, 2, 6]);
    }

    proptest! {
        #[test]
        fn views_pass_their_gradient((a, b, c) in (1usize..4, 1usize..4, 1usize..4), seed in 0u64..1000) {
            let check = |name: &str, view: &dyn Fn(&Tensor) -> Result<Tensor>| {
                check_gradient(name, &[&[a, b, c]], (-1.0, 1.0), seed, |x| view(&x[0])?.square());
            };
            check("reshape", &|x| x.reshape(&[c, a * b]));
            check("permute", &|x| x.permute(&[2, 0, 1]));
            check("narrow", &|x| x.narrow(1, b / 2, b));
            check("select", &|x| x.select(2, c - 1));
            check("slice", &|x| x.stepped(0, a - 1, a.div_ceil(2), -2));
            check("expand", &|x| x.unsqueeze(1)?.expand(&[a, 3, b, c]));
            check("squeeze", &|x| x.squeeze(&[]));
            check("flatten", &|x| x.transpose(0, 2)?.flatten(0, 1));
            check("flip", &|x| x.flip(&[0, -1]));
            check("repeat", &|x| x.repeat(&[2, 1, 2, 1]));
            check("movedim", &|x| x.movedim(0, -1));
        }
    }
}
