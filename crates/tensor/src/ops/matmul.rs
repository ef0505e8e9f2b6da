//! Products of matrices.

use super::{expect_real, same_place};
use crate::autograd::record;
use crate::layout::broadcast_shapes;
use crate::{DType, Error, Result, Shape, Tensor};

impl Tensor {
    /// The matrix product, as torch's `matmul`: vectors count as a row on the left and as a column on the right; further dimensions are
    /// batches, and broadcast.
    ///
    /// # Errors
    /// `Shapes` when the inner sizes differ or batches do not broadcast; `Argument` for numbers; `DType` for bools and complex numbers.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        expect_real("matmul", &[self, other])?;
        same_place("matmul", [self, other])?;
        if self.is_autocast() || other.is_autocast() {
            return self.autocast()?.matmul(&other.autocast()?);
        }
        let dtype = self.dtype().promote(other.dtype());
        if dtype == DType::Bool {
            return Err(Error::DType {
                op: "matmul",
                rule: "bools have no products: convert them first",
                dtype,
            });
        }
        if self.ndim() == 0 || other.ndim() == 0 {
            let message = "both operands must have at least one dimension: multiply numbers with mul";
            return Err(Error::argument("matmul", message));
        }
        // Here, where both shapes are still those that were given.
        let inner = other.shape()[other.ndim().saturating_sub(2)];
        if self.shape()[self.ndim() - 1] != inner {
            let rule =
                "the last dimension of the left must be the last but one of the right, or its only one";
            let (left, right) = (self.shape().into(), other.shape().into());
            return Err(Error::Shapes { op: "matmul", rule, left, right });
        }
        if self.ndim() == 1 {
            let row = self.unsqueeze(0)?.matmul(other)?;
            return row.squeeze(&[if other.ndim() == 1 { -1 } else { -2 }]);
        }
        if other.ndim() == 1 {
            return self.matmul(&other.unsqueeze(1)?)?.squeeze(&[-1]);
        }
        let (a, b) = (self.to_dtype(dtype)?, other.to_dtype(dtype)?);
        let ([a_batch @ .., rows, inner], [b_batch @ .., _, columns]) = (a.shape(), b.shape()) else {
            return Err(Error::argument("matmul", "both operands must be matrices"));
        };
        if b_batch.is_empty() {
            if a_batch.is_empty() {
                return a.products(&b);
            }
            // One matrix on the right: all rows of all batches at once.
            let mut shape = Shape::from(a_batch);
            shape.extend([*rows, *columns]);
            return a
                .reshape(&[a_batch.iter().product::<usize>() * rows, *inner])?
                .products(&b)?
                .view(&shape);
        }
        let batch = broadcast_shapes("matmul", a_batch, b_batch).map_err(|_| {
            let rule = "the dimensions before the last two must broadcast together";
            Error::Shapes { op: "matmul", rule, left: a.shape().into(), right: b.shape().into() }
        })?;
        let whole = |rows: usize, columns: usize| {
            let mut shape = batch.clone();
            shape.extend([rows, columns]);
            shape
        };
        a.expand(&whole(*rows, *inner))?.products(&b.expand(&whole(*inner, *columns))?)
    }

    /// The products of matrices, batch by batch; both of one dtype and with the same batches.
    fn products(&self, other: &Tensor) -> Result<Tensor> {
        let out = self.backend().matmul(self, other)?;
        // What only the other side's gradient needs is not saved where nobody asks for that.
        let x = if other.requires_grad() { self } else { other };
        let y = if self.requires_grad() { other } else { self };
        Ok(record("matmul", out, &[self, other], &[x, y], |b| {
            let (g, x, y) = (b.grad(), &b.saved[0], &b.saved[1]);
            Ok(vec![b.when(0, || g.products(&y.mt()?))?, b.when(1, || x.mt()?.products(g))?])
        }))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{check_gradient, draw};

    fn reference(a: &Tensor, b: &Tensor) -> Tensor {
        // (.., m, k, 1) times (.., k, n), summed over k.
        a.unsqueeze(-1).unwrap().mul(&b.unsqueeze(-3).unwrap()).unwrap().sum(&[-2], false).unwrap()
    }

    proptest! {
        #[test]
        fn equals_the_sum_of_products(
            (m, k, n) in (0usize..20, 0usize..20, 0usize..20), batch in 0usize..4, turned: (bool, bool), index in 0usize..6, seed in 0u64..1000
        ) {
            let dtype = [DType::F64, DType::F32, DType::BF16, DType::I64, DType::I8, DType::F16][index];
            let shapes: [(&[usize], &[usize]); 4] = [(&[], &[]), (&[3], &[]), (&[2, 1], &[3]), (&[1], &[2])];
            let (left, right) = shapes[batch];
            let make = |batch: &[usize], rows: usize, columns: usize, turned: bool, seed| {
                let mut shape = batch.to_vec();
                shape.extend(if turned { [columns, rows] } else { [rows, columns] });
                let x = draw(&shape, (-4.0, 4.0), seed).to_dtype(dtype).unwrap();
                if turned { x.mt().unwrap() } else { x }
            };
            let (a, b) = (make(left, m, k, turned.0, seed), make(right, k, n, turned.1, seed + 1));
            let got = a.matmul(&b).unwrap();
            prop_assert_eq!(got.dtype(), dtype);
            let wide = |x: &Tensor| x.to_dtype(DType::F64).unwrap();
            let want = reference(&wide(&a), &wide(&b));
            prop_assert_eq!(got.shape(), want.shape());
            let want = if dtype == DType::I8 { reference(&a, &b).to_dtype(DType::I8).unwrap() } else { want };
            let tolerance = match dtype { DType::BF16 => 2e-2, DType::F16 => 2e-3, _ => 1e-5 };
            for (got, want) in wide(&got).as_slice::<f64>().unwrap().iter().zip(wide(&want).contiguous().unwrap().as_slice::<f64>().unwrap()) {
                prop_assert!((got - want).abs() <= tolerance * (1.0 + want.abs()), "{} {}", got, want);
            }
        }

        #[test]
        fn products_pass_their_gradient((m, k, n) in (0usize..4, 0usize..4, 0usize..4), case in 0usize..7, seed in 0u64..1000) {
            let shapes: [(&[usize], &[usize]); 7] = [
                (&[m, k], &[k, n]), (&[2, m, k], &[k, n]), (&[2, m, k], &[2, k, n]), (&[2, 1, m, k], &[3, k, n]), (&[k], &[k, n]), (&[m, k], &[k]), (&[k], &[k]),
            ];
            let (a, b) = shapes[case];
            check_gradient("matmul", &[a, b], (-1.0, 1.0), seed, |x| x[0].matmul(&x[1]));
        }
    }

    #[test]
    fn misfits_name_both_shapes() {
        let x = |shape: &[usize]| Tensor::zeros(shape).unwrap();
        let error = x(&[2, 3]).matmul(&x(&[4, 5])).unwrap_err().to_string();
        assert!(error.contains("[2, 3]") && error.contains("[4, 5]"), "{error}");
        assert!(x(&[]).matmul(&x(&[2])).is_err());
        assert!(x(&[2, 3, 4]).matmul(&x(&[3, 4, 5])).is_err());
    }
}
