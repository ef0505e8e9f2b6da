//! Order: sorting, the largest few, different values.

use super::expect_real;
use crate::layout::resolve_axis;
use crate::{DType, Error, Result, Tensor};

impl Tensor {
    /// The positions along `axis` in the order of the elements there; equal ones keep theirs, NaN counts as the largest. int64.
    ///
    /// # Errors
    /// `Index` when the axis is not there; `DType` for complex numbers.
    pub fn argsort(&self, axis: isize, descending: bool) -> Result<Tensor> {
        let size = self.shape().get(resolve_axis("sort", axis, self.ndim())?).copied().unwrap_or(1);
        self.ordered("sort", axis, size, descending)
    }

    /// The elements in order along `axis`, and where they were; see [`Tensor::argsort`].
    ///
    /// # Errors
    /// As for [`Tensor::argsort`].
    pub fn sort(&self, axis: isize, descending: bool) -> Result<(Tensor, Tensor)> {
        let order = self.argsort(axis, descending)?;
        Ok((self.gather(axis, &order)?, order))
    }

    /// The `count` largest (or smallest) elements along `axis` in order, and where they are.
    ///
    /// # Errors
    /// `Argument` when there are not so many; otherwise as for [`Tensor::argsort`].
    pub fn topk(&self, count: usize, axis: isize, largest: bool) -> Result<(Tensor, Tensor)> {
        let at = resolve_axis("topk", axis, self.ndim())?;
        let size = self.shape().get(at).copied().unwrap_or(1);
        if count > size {
            let message =
                format!("there are no {count} elements along dimension {at} of shape {:?}", self.shape());
            return Err(Error::argument("topk", message));
        }
        let order = self.ordered("topk", axis, count, largest)?;
        Ok((self.gather(axis, &order)?, order))
    }

    /// The first `count` positions in order along `axis`.
    fn ordered(&self, op: &'static str, axis: isize, count: usize, descending: bool) -> Result<Tensor> {
        expect_real(op, &[self])?;
        if self.ndim() == 0 {
            return Tensor::zeros_on(&[], DType::I64, self.device());
        }
        let last = self.detach().movedim(axis, -1)?;
        self.backend().order(&last, count, descending)?.movedim(-1, axis)?.contiguous()
    }

    /// The different values in ascending order, where in them each element's is (in the shape of `self`), and how often each occurs.
    ///
    /// # Errors
    /// `DType` for complex numbers.
    pub fn unique(&self) -> Result<(Tensor, Tensor, Tensor)> {
        let flat = self.detach().reshape(&[self.numel()])?;
        let (sorted, order) = flat.sort(0, false)?;
        let count = flat.numel();
        if count == 0 {
            return Ok((
                sorted,
                Tensor::zeros_on(self.shape(), DType::I64, self.device())?,
                Tensor::zeros_on(&[0], DType::I64, self.device())?,
            ));
        }
        let first = Tensor::full_on(&[1], true, DType::Bool, self.device())?;
        let starts =
            Tensor::cat(&[&first, &sorted.narrow(0, 1, count)?.ne(&sorted.narrow(0, 0, count - 1)?)?], 0)?;
        let rank = starts.cumsum(0)?.sub(1i64)?;
        let inverse = Tensor::zeros_on(&[count], DType::I64, self.device())?.scatter(0, &order, &rank)?;
        let values = sorted.masked_select(&starts)?;
        let counts = Tensor::zeros_on(values.shape(), DType::I64, self.device())?.scatter_add(
            0,
            &rank,
            &Tensor::full_on(&[count], 1i64, DType::I64, self.device())?,
        )?;
        Ok((values, inverse.view(self.shape())?, counts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_gradient;

    #[test]
    fn sorted() {
        let x = Tensor::from_slice(&[3f32, f32::NAN, 1.0, 2.0, 5.0, 2.0], &[2, 3]).unwrap();
        let (values, order) = x.sort(1, false).unwrap();
        assert_eq!(order.as_slice::<i64>().unwrap(), [2, 0, 1, 0, 2, 1]);
        assert!(values.as_slice::<f32>().unwrap()[2].is_nan());
        assert_eq!(x.argsort(1, true).unwrap().as_slice::<i64>().unwrap(), [1, 0, 2, 1, 0, 2]);
        assert_eq!(x.argsort(0, false).unwrap().as_slice::<i64>().unwrap(), [1, 1, 0, 0, 0, 1]);
        let (values, at) = x.narrow(0, 1, 2).unwrap().topk(2, -1, true).unwrap();
        assert_eq!(
            (values.as_slice::<f32>().unwrap(), at.as_slice::<i64>().unwrap()),
            (&[5.0, 2.0][..], &[1, 0][..])
        );
        assert!(x.topk(4, 1, true).is_err());
    }

    #[test]
    fn different_values() {
        let x = Tensor::from_slice(&[3i32, 1, 3, 2], &[2, 2]).unwrap();
        let (values, inverse, counts) = x.unique().unwrap();
        assert_eq!(values.as_slice::<i32>().unwrap(), [1, 2, 3]);
        assert_eq!(inverse.as_slice::<i64>().unwrap(), [2, 0, 2, 1]);
        assert_eq!(counts.as_slice::<i64>().unwrap(), [1, 1, 2]);
    }

    #[test]
    fn order_passes_its_gradient() {
        check_gradient("sort", &[&[3, 4]], (-1.0, 1.0), 1, |x| x[0].sort(0, true)?.0.square());
        check_gradient("topk", &[&[3, 4]], (-1.0, 1.0), 2, |x| x[0].topk(2, 1, false)?.0.square());
    }
}
