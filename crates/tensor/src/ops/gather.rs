//! Reading and writing along one dimension, at positions that a tensor names.

use super::index::Index;
use super::place::places_along;
use crate::layout::resolve_axis;
use crate::{Error, Result, Tensor};

impl Tensor {
    /// `out[i, j, k] = self[i, index[i, j, k], k]` for axis 1, and so on: the result has the shape of the index.
    ///
    /// # Errors
    /// `Shapes` when the index has other dimensions; `Index` when it points outside; `DType` when it is not of integers.
    pub fn gather(&self, axis: isize, index: &Tensor) -> Result<Tensor> {
        let axis = resolve_axis("gather", axis, self.ndim())?;
        let offsets = places_along("gather", self, axis, index)?;
        self.contiguous()?.take_at(&offsets, 1, index.shape())
    }

    /// This tensor with each of `values` added where [`Tensor::gather`] with the same index would read.
    ///
    /// # Errors
    /// As for [`Tensor::gather`], and `Shapes` when there is not one value for each index.
    pub fn scatter_add(&self, axis: isize, index: &Tensor, values: &Tensor) -> Result<Tensor> {
        self.scatter_with("scatter_add", axis, index, values, true)
    }

    /// This tensor with each of `values` written where [`Tensor::gather`] with the same index would read. Where places repeat, one of
    /// the values stays.
    ///
    /// # Errors
    /// As for [`Tensor::scatter_add`].
    pub fn scatter(&self, axis: isize, index: &Tensor, values: &Tensor) -> Result<Tensor> {
        self.scatter_with("scatter", axis, index, values, false)
    }

    fn scatter_with(
        &self,
        op: &'static str,
        axis: isize,
        index: &Tensor,
        values: &Tensor,
        accumulate: bool,
    ) -> Result<Tensor> {
        let axis = resolve_axis(op, axis, self.ndim())?;
        if values.shape() != index.shape() {
            let rule = "there must be one value for each index";
            let (left, right) = (index.shape().into(), values.shape().into());
            return Err(Error::Shapes { op, rule, left, right });
        }
        let offsets = places_along(op, self, axis, index)?;
        self.contiguous()?.put_at(&offsets, 1, &values.to_dtype(self.dtype())?, accumulate)
    }

    /// The slices along `axis` that the one-dimensional `index` names.
    ///
    /// # Errors
    /// `Shapes` when the index has not one dimension; `Index` when it points outside; `DType` when it is not of integers.
    pub fn index_select(&self, axis: isize, index: &Tensor) -> Result<Tensor> {
        let axis = resolve_axis("index_select", axis, self.ndim())?;
        if index.ndim() > 1 || self.ndim() == 0 {
            let rule = "the index must have one dimension, and the tensor at least one";
            let (left, right) = (self.shape().into(), index.shape().into());
            return Err(Error::Shapes { op: "index_select", rule, left, right });
        }
        let mut items = vec![Index::ALL; axis];
        items.push(Index::Tensor(index.reshape(&[index.numel()])?));
        self.index(&items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_gradient;

    #[test]
    fn gathered_and_scattered() {
        let x = Tensor::from_slice(&[1f64, 2., 3., 4., 5., 6.], &[2, 3]).unwrap();
        let index = Tensor::from_slice(&[2i64, 0, 0, -1], &[2, 2]).unwrap();
        assert_eq!(x.gather(1, &index).unwrap().as_slice::<f64>().unwrap(), [3., 1., 4., 6.]);
        let ones = Tensor::ones(&[2, 2], x.dtype()).unwrap();
        assert_eq!(
            x.scatter_add(1, &index, &ones).unwrap().as_slice::<f64>().unwrap(),
            [2., 2., 4., 5., 5., 7.]
        );
        assert_eq!(x.scatter(1, &index, &ones).unwrap().as_slice::<f64>().unwrap(), [1., 2., 1., 1., 5., 1.]);
        let far = Tensor::from_slice(&[3i64], &[1, 1]).unwrap();
        assert!(x.gather(1, &far).is_err() && x.gather(0, &index.narrow(1, 0, 1).unwrap()).is_err());
        let rows = Tensor::from_slice(&[1i32, 1], &[2]).unwrap();
        assert_eq!(x.index_select(0, &rows).unwrap().as_slice::<f64>().unwrap(), [4., 5., 6., 4., 5., 6.]);
    }

    #[test]
    fn gradients() {
        let index = Tensor::from_slice(&[2i64, 0, 0, 1], &[2, 2]).unwrap();
        check_gradient("gather", &[&[2, 3]], (-1.0, 1.0), 1, |x| x[0].gather(1, &index)?.square());
        check_gradient("scatter_add", &[&[2, 3], &[2, 2]], (-1.0, 1.0), 2, |x| {
            x[0].scatter_add(1, &index, &x[1])?.square()
        });
        check_gradient("scatter", &[&[2, 3], &[2, 2]], (-1.0, 1.0), 3, |x| {
            x[0].scatter(1, &index, &x[1])?.square()
        });
        let rows = Tensor::from_slice(&[1i64, 1, 0], &[3]).unwrap();
        check_gradient("index_select", &[&[2, 3]], (-1.0, 1.0), 4, |x| x[0].index_select(0, &rows)?.square());
    }
}
