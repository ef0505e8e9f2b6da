//! Putting tensors together and taking them apart.

use super::same_place;
use crate::autograd::record;
use crate::layout::resolve_axis;
use crate::{DType, Error, Result, Shape, Tensor};

/// The same matrices of one dtype and width one behind the other in one stretch of memory, which each keeps whole: what is multiplied with all
/// of them can take them as one.
///
/// # Errors
/// As for [`Tensor::cat`].
pub fn neighbours(matrices: &[&Tensor]) -> Result<Vec<Tensor>> {
    let matrices: Vec<Tensor> = matrices.iter().map(|matrix| matrix.detach()).collect();
    let whole = Tensor::cat(&matrices.iter().collect::<Vec<_>>(), 0)?;
    let mut start = 0;
    let part = |matrix: &Tensor| {
        let layout = whole.layout().narrow(0, start, start + matrix.shape()[0])?;
        start += matrix.shape()[0];
        Ok(Tensor::over(whole.storage().clone(), layout, whole.dtype()))
    };
    matrices.iter().map(part).collect()
}

impl Tensor {
    /// The tensors one after another along `axis`, in their common dtype. As in torch, one of shape `[0]` goes with any others: what is
    /// gathered in a loop may start as nothing.
    ///
    /// # Errors
    /// `Shapes` when sizes other than that of `axis` differ; `Argument` for no tensors; `Index` when the axis is not there.
    pub fn cat(tensors: &[&Tensor], axis: isize) -> Result<Tensor> {
        let is_nothing = |tensor: &Tensor| tensor.shape() == [0];
        let Some(&first) = tensors.iter().find(|tensor| !is_nothing(tensor)).or(tensors.first()) else {
            return Err(Error::argument("cat", "there must be at least one tensor"));
        };
        same_place("cat", tensors.iter().copied())?;
        if first.ndim() == 0 {
            return Err(Error::argument("cat", "numbers have no dimension to join along: use stack"));
        }
        let axis = resolve_axis("cat", axis, first.ndim())?;
        for other in tensors {
            let fits = is_nothing(other)
                || other.ndim() == first.ndim()
                    && (0..first.ndim()).all(|d| d == axis || other.shape()[d] == first.shape()[d]);
            if !fits {
                let rule = "the shapes must agree but for the dimension that is joined";
                return Err(Error::Shapes {
                    op: "cat",
                    rule,
                    left: first.shape().into(),
                    right: other.shape().into(),
                });
            }
        }
        let dtype = tensors.iter().fold(first.dtype(), |dtype: DType, other| dtype.promote(other.dtype()));
        let along = |tensor: &&Tensor| if is_nothing(tensor) { 0 } else { tensor.shape()[axis] };
        let sizes: Vec<usize> = tensors.iter().map(along).collect();
        let mut shape = Shape::from(first.shape());
        shape[axis] = sizes.iter().sum();
        let out = Tensor::uninit(&shape, dtype, first.device())?;
        let mut start = 0;
        for (tensor, size) in tensors.iter().zip(&sizes).filter(|(_, size)| **size > 0) {
            let place = out.view_with(out.layout().narrow(axis, start, start + size)?);
            out.backend().assign(&place, tensor)?;
            start += size;
        }
        let shapes: Vec<Shape> = tensors.iter().map(|tensor| tensor.shape().into()).collect();
        Ok(record("cat", out, tensors, &[], move |b| {
            let mut start = 0;
            let part = |(index, (size, shape)): (usize, (&usize, &Shape))| {
                start += size;
                b.when(index, || b.grad().narrow(axis, start - size, start)?.reshape(shape))
            };
            sizes.iter().zip(&shapes).enumerate().map(part).collect()
        }))
    }

    /// The tensors, all of one shape, along a new dimension at `axis`.
    ///
    /// # Errors
    /// As for [`Tensor::cat`].
    pub fn stack(tensors: &[&Tensor], axis: isize) -> Result<Tensor> {
        if let [first, rest @ ..] = tensors
            && let Some(other) = rest.iter().find(|other| other.shape() != first.shape())
        {
            let rule = "the tensors must have one shape";
            return Err(Error::Shapes {
                op: "stack",
                rule,
                left: first.shape().into(),
                right: other.shape().into(),
            });
        }
        let layers: Vec<Tensor> =
            tensors.iter().map(|tensor| tensor.unsqueeze(axis)).collect::<Result<_>>()?;
        Tensor::cat(&layers.iter().collect::<Vec<_>>(), axis)
    }

    /// Views of `sizes` positions along `axis` each, one after another.
    ///
    /// # Errors
    /// `Argument` when the sizes do not add up to that of the axis; `Index` when it is not there.
    pub fn split(&self, sizes: &[usize], axis: isize) -> Result<Vec<Tensor>> {
        let axis = resolve_axis("split", axis, self.ndim())?;
        let size = self.shape().get(axis).copied().unwrap_or(1);
        if sizes.iter().sum::<usize>() != size || self.ndim() == 0 {
            let message =
                format!("sizes {sizes:?} do not add up to dimension {axis} of shape {:?}", self.shape());
            return Err(Error::argument("split", message));
        }
        let mut start = 0;
        sizes
            .iter()
            .map(|size| {
                start += size;
                self.narrow(axis, start - size, start)
            })
            .collect()
    }

    /// At most `count` views along `axis`, all of one size but the last; `count` empty ones of an empty dimension, as torch has it.
    ///
    /// # Errors
    /// `Argument` for a count of zero; `Index` when the axis is not there.
    pub fn chunk(&self, count: usize, axis: isize) -> Result<Vec<Tensor>> {
        let at = resolve_axis("chunk", axis, self.ndim())?;
        if count == 0 || self.ndim() == 0 {
            let message = format!("shape {:?} cannot be cut into {count} chunks", self.shape());
            return Err(Error::argument("chunk", message));
        }
        let size = self.shape()[at];
        if size == 0 {
            return self.split(&vec![0; count], axis);
        }
        let each = size.div_ceil(count);
        let mut sizes = vec![each; size / each];
        if !size.is_multiple_of(each) {
            sizes.push(size % each);
        }
        self.split(&sizes, axis)
    }

    /// The elements moved on by `shift` positions along `axis`; those that leave at the end come in at the beginning.
    ///
    /// # Errors
    /// `Index` when the axis is not there.
    pub fn roll(&self, shift: i64, axis: isize) -> Result<Tensor> {
        let at = resolve_axis("roll", axis, self.ndim())?;
        let size = self.shape().get(at).copied().unwrap_or(0);
        if size == 0 {
            return self.copy();
        }
        let cut = size - shift.rem_euclid(size as i64) as usize;
        Tensor::cat(&[&self.narrow(at, cut, size)?, &self.narrow(at, 0, cut)?], axis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_gradient;

    #[test]
    fn joined_and_split() {
        let x = Tensor::from_slice(&[1i64, 2, 3, 4], &[2, 2]).unwrap();
        let y = Tensor::from_slice(&[5i32, 6], &[2, 1]).unwrap();
        let both = Tensor::cat(&[&x, &y], 1).unwrap();
        assert_eq!(both.as_slice::<i64>().unwrap(), [1, 2, 5, 3, 4, 6]);
        let nothing = Tensor::zeros(&[0]).unwrap();
        assert_eq!(Tensor::cat(&[&nothing, &x], 1).unwrap().shape(), [2, 2]);
        assert_eq!(Tensor::cat(&[&nothing, &nothing], 0).unwrap().shape(), [0]);
        assert!(Tensor::cat(&[&nothing, &x], 2).is_err());
        assert!(Tensor::cat(&[&x, &y], 0).is_err() && Tensor::cat(&[], 0).is_err());
        assert_eq!(Tensor::stack(&[&x, &x, &x], -1).unwrap().shape(), [2, 2, 3]);
        assert_eq!(
            both.split(&[1, 2], 1).unwrap()[1].contiguous().unwrap().as_slice::<i64>().unwrap(),
            [2, 5, 4, 6]
        );
        assert!(both.split(&[1, 1], 1).is_err());
        assert_eq!(both.chunk(2, 1).unwrap().iter().map(|c| c.shape()[1]).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(Tensor::zeros(&[2, 0]).unwrap().chunk(3, 1).unwrap().len(), 3);
        assert_eq!(both.roll(1, 1).unwrap().as_slice::<i64>().unwrap(), [5, 1, 2, 6, 3, 4]);
        assert_eq!(both.roll(-4, 1).unwrap().as_slice::<i64>().unwrap(), [2, 5, 1, 4, 6, 3]);
    }

    #[test]
    fn gradients() {
        check_gradient("cat", &[&[2, 3], &[2, 1], &[2, 0]], (-1.0, 1.0), 1, |x| {
            Tensor::cat(&[&x[0], &x[1], &x[2], &x[0]], 1)?.square()
        });
        check_gradient("cat with nothing", &[&[0], &[2, 3], &[0]], (-1.0, 1.0), 1, |x| {
            Tensor::cat(&[&x[0], &x[1], &x[2]], -2)?.square()
        });
        check_gradient("stack", &[&[2, 3], &[2, 3]], (-1.0, 1.0), 2, |x| {
            Tensor::stack(&[&x[0], &x[1]], 1)?.square()
        });
        check_gradient("chunk", &[&[5, 2]], (-1.0, 1.0), 3, |x| {
            let parts = x[0].chunk(2, 0)?;
            parts[0].sum_all()?.mul(&parts[1])
        });
        check_gradient("roll", &[&[4, 2]], (-1.0, 1.0), 4, |x| x[0].roll(1, 0)?.mul(&x[0]));
    }
}
