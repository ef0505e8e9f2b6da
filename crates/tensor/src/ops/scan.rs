//! Running sums and products.

use super::expect_real;
use crate::autograd::{is_grad_enabled, record};
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
            Ok(vec![Some(cumprod_gradient(b.grad(), &b.saved[0], &b.saved[1], axis)?)])
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
        let one = Tensor::full_on(&first, 1i64, self.dtype(), self.device())?;
        Tensor::cat(&[&one, &self.narrow(axis, 0, size - 1)?], axis as isize)?.cumprod(-1)
    }
}

/// The gradient of `y`, the running product of `x`, without dividing by zero.
///
/// Before the first zero it is Σₖ gₖ yₖ / xᵢ over k ≥ i; beyond it every product has that zero in it, and is flat; at the first zero
/// itself it is the same sum with a one in place of the zero.
fn cumprod_gradient(g: &Tensor, x: &Tensor, y: &Tensor, axis: isize) -> Result<Tensor> {
    let from_the_end = |x: Tensor| x.flip(&[axis])?.cumsum(axis)?.flip(&[axis]);
    let sums = from_the_end(g.mul(y)?)?;
    let zero = x.detach().eq(0.0)?;
    if !zero.any()? {
        return sums.div(x);
    }
    if is_grad_enabled() && x.requires_grad() {
        let rule =
            "the second derivative of a running product with zeros in it is not known: avoid the zeros";
        return Err(Error::Graph { op: "cumprod", rule });
    }
    let first = zero.logical_and(&zero.cumsum(axis)?.eq(1i64)?)?;
    let around = from_the_end(g.mul(&x.masked_fill(&first, 1.0)?.cumprod(axis)?)?)?;
    Tensor::select_where(&first, &around, &sums.div(&x.masked_fill(&zero, 1.0)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::grad;
    use crate::testing::check_gradient;

    #[test]
    fn running_sums_and_products() {
        let x = Tensor::from_slice(&[1i32, 2, 3, 4, 5, 6], &[2, 3]).unwrap();
        assert_eq!(x.cumsum(1).unwrap().as_slice::<i64>().unwrap(), [1, 3, 6, 4, 9, 15]);
        assert_eq!(x.cumsum(0).unwrap().as_slice::<i64>().unwrap(), [1, 2, 3, 5, 7, 9]);
        assert_eq!(x.cumprod(-1).unwrap().as_slice::<i64>().unwrap(), [1, 2, 6, 4, 20, 120]);
        check_gradient("cumsum", &[&[3, 4]], (-1.0, 1.0), 1, |x| x[0].cumsum(0));
        check_gradient("cumprod", &[&[3, 4]], (0.5, 2.0), 2, |x| x[0].cumprod(1));
        check_gradient("cumprod", &[&[4, 5]], (-1.0, 1.0), 3, |x| {
            // One zero in the first row, two in the second, three in the third, none in the last.
            let zeros = [1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1].map(|x: i32| x as f64);
            x[0].mul(&Tensor::from_slice(&zeros, &[4, 5])?)?.add(&x[0].mul(0.0)?)?.cumprod(-1)
        });
    }

    #[test]
    fn products_have_second_derivatives() {
        let x = Tensor::from_slice(&[2f64, 3.0, 5.0], &[3]).unwrap();
        x.set_requires_grad(true).unwrap();
        let of = |y: &Tensor, create| {
            grad(&[&y.sum_all().unwrap()], &[None], &[&x], true, create).unwrap().remove(0).unwrap()
        };
        let first = of(&x.prod(&[], false).unwrap(), true);
        assert_eq!(first.as_slice::<f64>().unwrap(), [15.0, 10.0, 6.0]);
        // Of x₂x₃ + x₁x₃ + x₁x₂.
        assert_eq!(of(&first, false).as_slice::<f64>().unwrap(), [8.0, 7.0, 5.0]);
        let first = of(&x.cumprod(0).unwrap(), true);
        // Of 1 + x₂ + x₂x₃, x₁ + x₁x₃ and x₁x₂.
        let second = of(&first, false);
        for (got, want) in
            second.as_slice::<f64>().unwrap().iter().zip([1.0 + 5.0 + 3.0, 1.0 + 5.0 + 2.0, 3.0 + 2.0])
        {
            assert!((got - want).abs() < 1e-12, "{got} {want}");
        }
    }
}
