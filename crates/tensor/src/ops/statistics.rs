//! Means, variances, norms and the like, over any dimensions.

use super::reduce::{kept, resolve_axes};
use crate::autograd::record;
use crate::{Layout, ReduceOp, Result, Tensor};

impl Tensor {
    /// The mean over `axes`, for floats. Halves are summed up in float32.
    ///
    /// # Errors
    /// `DType` for integers and bools; otherwise as for [`Tensor::reduce`].
    pub fn mean(&self, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.expect_float("mean")?;
        self.in_single(|x| {
            let axes = resolve_axes("mean", axes, x.ndim())?;
            let count: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
            let axes: Vec<isize> = axes.into_iter().map(|axis| axis as isize).collect();
            x.sum(&axes, keepdim)?.div(count as f64)
        })
    }

    /// The variance over `axes`, for floats: squared distances from the mean, divided by the count less `correction` (1 by default in
    /// torch, 0 in NumPy).
    ///
    /// # Errors
    /// As for [`Tensor::mean`].
    pub fn var(&self, axes: &[isize], correction: f64, keepdim: bool) -> Result<Tensor> {
        self.expect_float("var")?;
        self.in_single(|x| {
            let axes = resolve_axes("var", axes, x.ndim())?;
            let count: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
            let divisor = (count as f64 - correction).max(0.0);
            let whole = kept(x.shape(), &axes);
            let spread = x.backend().spread(x, &axes)?.div(divisor)?;
            let shape = if keepdim { whole.as_slice() } else { spread.shape() };
            let out = Tensor::over(spread.storage().clone(), Layout::contiguous(shape), x.dtype());
            Ok(record("var", out, &[x], &[x], move |b| {
                // The mean's own part vanishes: distances from it add up to nothing.
                let (g, x) = (b.grad().reshape(&whole)?, &b.saved[0]);
                let signed: Vec<isize> = axes.iter().map(|&axis| axis as isize).collect();
                Ok(vec![Some(x.sub(&x.mean(&signed, true)?)?.mul(&g.mul(2.0 / divisor)?)?)])
            }))
        })
    }

    /// The standard deviation: the root of [`Tensor::var`], with a gradient of zero, as torch has it, where nothing deviates.
    ///
    /// # Errors
    /// As for [`Tensor::mean`].
    pub fn std(&self, axes: &[isize], correction: f64, keepdim: bool) -> Result<Tensor> {
        self.var(axes, correction, keepdim)?.root()
    }

    /// The `p`-norm over `axes`, for floats: `(Σ |x|ᵖ)^(1/p)`, the largest |x| for infinity, how many are not zero for 0.
    ///
    /// # Errors
    /// As for [`Tensor::mean`].
    pub fn norm(&self, p: f64, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.expect_float("norm")?;
        self.in_single(|x| match p {
            f64::INFINITY => x.abs()?.amax(axes, keepdim),
            f64::NEG_INFINITY => x.abs()?.amin(axes, keepdim),
            0.0 => x.ne(0.0)?.to_dtype(x.dtype())?.sum(axes, keepdim),
            1.0 => x.abs()?.sum(axes, keepdim),
            2.0 => x.reduce(ReduceOp::SumSquares, axes, keepdim)?.root(),
            _ => x.abs()?.pow(p)?.sum(axes, keepdim)?.pow(1.0 / p),
        })
    }

    /// The square root, with a gradient of zero, as torch's norms and deviations have it, at zero.
    fn root(&self) -> Result<Tensor> {
        let zero = self.eq(0.0)?;
        Tensor::select_where(&zero, 0.0, &Tensor::select_where(&zero, 1.0, self)?.sqrt()?)?
            .to_dtype(self.dtype())
    }

    /// `ln Σ eˣ` over `axes`, without overflow.
    ///
    /// # Errors
    /// As for [`Tensor::mean`].
    pub fn logsumexp(&self, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.expect_float("logsumexp")?;
        self.in_single(|x| {
            let axes = resolve_axes("logsumexp", axes, x.ndim())?;
            let signed: Vec<isize> = axes.iter().map(|&axis| axis as isize).collect();
            let max = if x.numel() == 0 {
                x.detach().sum(&signed, true)?
            } else {
                x.detach().amax(&signed, true)?
            };
            let max = Tensor::select_where(&max.isfinite()?, &max, 0.0)?;
            let sum = x.sub(&max)?.exp()?.sum(&signed, true)?.log()?.add(&max)?;
            if keepdim { Ok(sum) } else { sum.squeeze_axes(&axes) }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::DType;
    use crate::testing::draw;

    proptest! {
        #[test]
        fn variances_equal_their_definition(
            (a, b, c) in (1usize..60, 1usize..40, 1usize..70), axis in 0usize..3, order in 0usize..3, seed in 0u64..1000
        ) {
            let turns: [&[isize]; 3] = [&[0, 1, 2], &[2, 0, 1], &[1, 2, 0]];
            let backs: [&[isize]; 3] = [&[0, 1, 2], &[1, 2, 0], &[2, 0, 1]];
            for (dtype, close) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
                // Far from zero, where the mean of the squares less the square of the mean has no digit left.
                let steps = draw(&[a, b, c], (0.0, 20.0), seed).floor().unwrap();
                let x = steps.add(1000.0).unwrap().to_dtype(dtype).unwrap();
                let x = x.permute(turns[order]).unwrap().copy().unwrap().permute(backs[order]).unwrap();
                let wide = x.to_dtype(DType::F64).unwrap();
                let axis = axis as isize;
                let distance = wide.sub(&wide.mean(&[axis], true).unwrap()).unwrap();
                let want = distance.square().unwrap().mean(&[axis], false).unwrap();
                let got = x.var(&[axis], 0.0, false).unwrap().to_dtype(DType::F64).unwrap();
                for (got, want) in got.as_slice::<f64>().unwrap().iter().zip(want.as_slice::<f64>().unwrap()) {
                    prop_assert!((got - want).abs() <= close * (1.0 + want), "{got} {want}");
                }
            }
        }
    }

    #[test]
    fn nothing_deviates_with_a_gradient_of_zero() {
        let x = crate::Tensor::from_slice(&[2f64, 1.0, 2.0, 4.0], &[2, 2]).unwrap();
        x.set_requires_grad(true).unwrap();
        x.std(&[0], 0.0, false).unwrap().sum_all().unwrap().backward(None).unwrap();
        assert_eq!(x.grad().unwrap().as_slice::<f64>().unwrap(), [0.0, -0.5, 0.0, 0.5]);
    }
}
