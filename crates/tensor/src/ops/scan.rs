//! Running sums and products.

use super::expect_real;
use crate::autograd::record;
use crate::layout::resolve_axis;
use crate::{DType, Error, ReduceOp, Result, Tensor};

impl Tensor {
    /// For each element the sum of those up to it along `axis`. Integers and bools give int64.
    ///
    /// # Errors
    /// `Index` when the axis is not there.
    pub fn cumsum(&self, axis: isize) -> Result<Tensor> {
        let out = self.detach().scan("cumsum", ReduceOp::Sum, axis)?;
        Ok(record("cumsum", out, &[self], &[], move |b| {
            Ok(vec![Some(b.grad().flip(&[axis])?.cumsum(axis)?.flip(&[axis])?)])
        }))
    }

    /// For each element the product of those up to it along `axis`. Integers and bools give int64.
    ///
    /// # Errors
    /// `Index` when the axis is not there.
    pub fn cumprod(&self, axis: isize) -> Result<Tensor> {
        let out = self.detach().scan("cumprod", ReduceOp::Prod, axis)?;
        let value = out.clone();
        Ok(record("cumprod", out, &[self], &[self, &value], move |b| {
            let [x, y] = b.saved else { return Err(Error::argument("cumprod", "the input was not saved")) };
            if x.eq(0.0)?.any()? {
                let message =
                    "the gradient of a running product with zeros in it is not known here: avoid the zeros";
                return Err(Error::argument("cumprod", message));
            }
            Ok(vec![Some(b.grad().mul(y)?.flip(&[axis])?.cumsum(axis)?.flip(&[axis])?.div(x)?)])
        }))
    }

    fn scan(&self, op: &'static str, by: ReduceOp, axis: isize) -> Result<Tensor> {
        expect_real(op, &[self])?;
        let axis = resolve_axis(op, axis, self.ndim())? as isize;
        let dtype = if self.dtype().is_float() { self.dtype() } else { DType::I64 };
        if self.ndim() == 0 {
            return self.to_dtype(dtype)?.copy();
        }
        self.backend().scan(by, &self.movedim(axis, -1)?, dtype)?.movedim(-1, axis)?.contiguous()
    }

    /// For each element the product of those before it along the last dimension.
    pub(super) fn products_before(&self) -> Result<Tensor> {
        let axis = self.ndim() - 1;
        let size = self.shape()[axis];
        if size == 0 {
            return Ok(self.clone());
        }
        let mut first = self.shape().to_vec();
        first[axis] = 1;
        let one = Tensor::ones(&first, self.dtype())?;
        Tensor::cat(&[&one, &self.narrow(axis, 0, size - 1)?], axis as isize)?.detach().scan(
            "cumprod",
            ReduceOp::Prod,
            -1,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_gradient;

    #[test]
    fn running_sums_and_products() {
        let x = Tensor::from_slice(&[1i32, 2, 3, 4, 5, 6], &[2, 3]).unwrap();
        assert_eq!(x.cumsum(1).unwrap().as_slice::<i64>().unwrap(), [1, 3, 6, 4, 9, 15]);
        assert_eq!(x.cumsum(0).unwrap().as_slice::<i64>().unwrap(), [1, 2, 3, 5, 7, 9]);
        assert_eq!(x.cumprod(-1).unwrap().as_slice::<i64>().unwrap(), [1, 2, 6, 4, 20, 120]);
        check_gradient("cumsum", &[&[3, 4]], (-1.0, 1.0), 1, |x| x[0].cumsum(0));
        check_gradient("cumprod", &[&[3, 4]], (0.5, 2.0), 2, |x| x[0].cumprod(1));
    }
}
