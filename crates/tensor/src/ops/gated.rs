//! The gate of a feed-forward network (Shazeer 2020).

use super::{Activation, activation_dtype, activations};
use crate::autograd::{differentiate, is_grad_enabled, record};
use crate::{DType, Error, Result, Tensor};

/// `activation(gate) * up` of `x` (.., 2 width), which holds `gate` in the first half of its last dimension and `up` in the second:
/// (.., width). Computed in float32 (float64 for doubles), in the dtype of `x`.
///
/// # Errors
/// `DType` for other than floats, an argument error for a last dimension that has no halves.
pub fn gated(x: &Tensor, activation: Activation) -> Result<Tensor> {
    x.expect_float("gated")?;
    if x.shape().last().is_none_or(|width| !width.is_multiple_of(2)) {
        let message =
            format!("the last dimension must be gate and up, of one width, got the shape {:?}", x.shape());
        return Err(Error::argument("gated", message));
    }
    if x.dtype() == DType::F64 {
        return composed(x, activation);
    }
    let dtype = activation_dtype(x);
    let out = x.backend().gated(activation, &activations(x, dtype)?)?;
    let out = record("gated", out, &[x], &[x], move |b| {
        if is_grad_enabled() {
            return differentiate(b, |inputs| composed(&inputs[0], activation));
        }
        let (g, x) = (activations(b.grad(), dtype)?, activations(&b.saved[0], dtype)?);
        Ok(vec![Some(x.backend().gated_gradient(activation, &g, &x)?)])
    });
    out.to_dtype(x.dtype())
}

/// The same as one operation after another, in float32 or, for doubles, float64.
fn composed(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let x = x.to_dtype(if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 })?;
    let (last, width) = (x.ndim() - 1, x.shape()[x.ndim() - 1] / 2);
    activation.apply(&x.narrow(last, 0, width)?)?.mul(&x.narrow(last, width, 2 * width)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradient, draw, same_gradients};

    #[test]
    fn equals_its_composed_form() {
        for &(name, activation) in Activation::NAMES {
            check_gradient(name, &[&[3, 10]], (-2.4, 2.4), 1, |x| gated(&x[0], activation));
            for shape in [&[3, 10][..], &[2, 2, 66], &[40, 2200], &[6], &[0, 4], &[3, 0]] {
                // The composed form is the less exact one: its tanh is -1 where the slope is some millionths.
                for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 3e-2)] {
                    let x = draw(shape, (-5.0, 5.0), 2).to_dtype(dtype).unwrap();
                    let fused = |x: &[Tensor]| gated(&x[0], activation);
                    let plain = |x: &[Tensor]| composed(&x[0], activation)?.to_dtype(dtype);
                    same_gradients(name, &[x], tolerance, fused, plain);
                }
            }
        }
    }

    #[test]
    fn what_has_no_halves_is_refused() {
        for shape in [&[2, 3][..], &[]] {
            assert!(gated(&Tensor::zeros(shape).unwrap(), Activation::Silu).is_err());
        }
        assert!(gated(&Tensor::from_slice(&[1i64, 2], &[2]).unwrap(), Activation::Silu).is_err());
    }
}
