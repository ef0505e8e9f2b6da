//! Softmax and its logarithm.

use crate::autograd::{is_grad_enabled, record};
use crate::layout::resolve_axis;
use crate::{Result, Tensor};

impl Tensor {
    /// `eˣ / Σ eˣ` along `axis`, for floats. Where all elements are -∞ the result is NaN.
    ///
    /// # Errors
    /// `DType` for integers and bools; `Index` when the axis is not there.
    pub fn softmax(&self, axis: isize) -> Result<Tensor> {
        self.expect_float("softmax")?;
        self.in_single(|x| {
            let out = x.normalised("softmax", axis, false)?;
            let y = out.clone();
            Ok(record("softmax", out, &[x], &[&y], move |b| {
                let (g, y) = (b.grad(), &b.saved[0]);
                if !is_grad_enabled() {
                    return Ok(vec![Some(gradient(g, y, axis, false)?)]);
                }
                let weighed = g.mul(y)?;
                Ok(vec![Some(weighed.sub(&y.mul(&weighed.sum(&[axis], true)?)?)?)])
            }))
        })
    }

    /// `x - ln Σ eˣ` along `axis`, for floats: exact also where [`Tensor::softmax`] is near 0.
    ///
    /// # Errors
    /// As for [`Tensor::softmax`].
    pub fn log_softmax(&self, axis: isize) -> Result<Tensor> {
        self.expect_float("log_softmax")?;
        self.in_single(|x| {
            let out = x.normalised("log_softmax", axis, true)?;
            let y = out.clone();
            Ok(record("log_softmax", out, &[x], &[&y], move |b| {
                let (g, y) = (b.grad(), &b.saved[0]);
                if !is_grad_enabled() {
                    return Ok(vec![Some(gradient(g, y, axis, true)?)]);
                }
                Ok(vec![Some(g.sub(&y.exp()?.mul(&g.sum(&[axis], true)?)?)?)])
            }))
        })
    }

    fn normalised(&self, op: &'static str, axis: isize, log: bool) -> Result<Tensor> {
        let axis = resolve_axis(op, axis, self.ndim())?;
        let x = self.detach();
        if axis + 1 >= self.ndim() {
            return self.backend().softmax(&x.contiguous()?, log);
        }
        let last = x.movedim(axis as isize, -1)?.contiguous()?;
        self.backend().softmax(&last, log)?.movedim(-1, axis as isize)?.copy()
    }
}

/// The gradient, in one pass, from that of the result `y`.
fn gradient(g: &Tensor, y: &Tensor, axis: isize, log: bool) -> Result<Tensor> {
    let (g, y) = (g.detach(), y.detach());
    if resolve_axis("softmax", axis, y.ndim())? + 1 >= y.ndim() {
        // Not a view of what the kernel makes: whoever is given the only one there is may keep it.
        return y.backend().softmax_gradient(&g.contiguous()?, &y.contiguous()?, log);
    }
    let last = |x: Tensor| x.movedim(axis, -1)?.contiguous();
    y.backend().softmax_gradient(&last(g)?, &last(y.clone())?, log)?.movedim(-1, axis)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DType;
    use crate::autograd::grad;
    use crate::testing::{check_gradient, draw, same_gradients};

    fn composed(x: &Tensor, axis: isize) -> Result<Tensor> {
        x.sub(&x.logsumexp(&[axis], true)?)
    }

    proptest! {
        #[test]
        fn equals_its_composed_form((a, b, c) in (1usize..5, 1usize..40, 1usize..5), axis in -3isize..3, seed in 0u64..1000) {
            for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-12), (DType::BF16, 2e-2)] {
                let x = draw(&[a, b, c], (-8.0, 8.0), seed).to_dtype(dtype).unwrap();
                same_gradients("softmax", std::slice::from_ref(&x), tolerance, |x| x[0].softmax(axis), |x| composed(&x[0], axis)?.exp());
                same_gradients("log_softmax", &[x], tolerance * 20.0, |x| x[0].log_softmax(axis), |x| composed(&x[0], axis));
            }
        }
    }

    #[test]
    fn gradients_and_extremes() {
        for axis in [0, 1, -1] {
            check_gradient("softmax", &[&[3, 4, 2]], (-2.0, 2.0), 1, |x| x[0].softmax(axis));
            check_gradient("log_softmax", &[&[3, 4, 2]], (-2.0, 2.0), 2, |x| x[0].log_softmax(axis));
        }
        // Wider than a vector, in float32, and a second derivative.
        for f in [|x: &[Tensor]| x[0].softmax(-1), |x: &[Tensor]| x[0].log_softmax(-1)] {
            let x = draw(&[3, 75], (-4.0, 4.0), 5);
            let wide = |x: &[Tensor]| f(&[x[0].to_dtype(DType::F64)?])?.to_dtype(DType::F32);
            same_gradients("softmax", &[x.to_dtype(DType::F32).unwrap()], 3e-6, f, wide);
            let first = |create| {
                x.set_requires_grad(true).unwrap();
                let y = f(std::slice::from_ref(&x)).unwrap().square().unwrap().sum_all().unwrap();
                grad(&[&y], &[None], &[&x], true, create).unwrap().remove(0).unwrap()
            };
            // Recorded or not, the first derivative is the same.
            let apart = first(true).sub(&first(false)).unwrap().abs().unwrap().amax(&[], false).unwrap();
            assert!(apart.item().unwrap().to_f64() < 1e-12);
        }
        check_gradient("softmax", &[&[]], (-2.0, 2.0), 3, |x| x[0].softmax(-1));
        check_gradient("softmax", &[&[0, 3]], (-2.0, 2.0), 4, |x| x[0].softmax(0));
        let x = Tensor::from_slice(&[f32::NEG_INFINITY, 1000.0, 1000.0], &[3]).unwrap();
        assert_eq!(x.softmax(0).unwrap().as_slice::<f32>().unwrap(), [0.0, 0.5, 0.5]);
        assert_eq!(x.log_softmax(0).unwrap().as_slice::<f32>().unwrap()[0], f32::NEG_INFINITY);
        assert!(x.to_dtype(DType::I64).unwrap().softmax(0).is_err());
    }
}
