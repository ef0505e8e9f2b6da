//! Root-mean-square normalisation (Zhang & Sennrich 2019).

use super::{activation_dtype, activations, expect_width, same_place, vector};
use crate::autograd::{differentiate, is_grad_enabled, record};
use crate::{DType, Result, Tensor};

/// `x / sqrt(mean(x²) + eps) * weight` over the last dimension, computed in float32 (float64 for doubles), in the dtype of `x`.
///
/// # Errors
/// `Shapes` when the weight has not one element per column; `DType` for other than floats.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    x.expect_float("rms_norm")?;
    weight.expect_float("rms_norm")?;
    same_place("rms_norm", [x, weight])?;
    let width = x.shape().last().copied().unwrap_or(1);
    expect_width("rms_norm", "the weight must have the last dimension of x", x, width, weight)?;
    if x.dtype() == DType::F64 {
        return composed(x, weight, eps);
    }
    let dtype = activation_dtype(x);
    let out = x.backend().rms_norm(&activations(x, dtype)?, &vector(weight)?, eps)?;
    let out = record("rms_norm", out, &[x, weight], &[x, weight], move |b| {
        if is_grad_enabled() {
            return differentiate(b, |inputs| composed(&inputs[0], &inputs[1], eps));
        }
        let (g, x) = (activations(b.grad(), dtype)?, activations(&b.saved[0], dtype)?);
        let weight = vector(&b.saved[1])?;
        Ok(x.backend().rms_norm_gradient(&g, &x, &weight, eps, b.needs(1))?.into())
    });
    out.to_dtype(x.dtype())
}

/// The same as one operation after another, in float32 or, for doubles, float64.
fn composed(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    let dtype = if x.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
    let x = x.to_dtype(dtype)?;
    let scale = x.square()?.mean(&[-1], true)?.add(f64::from(eps))?.rsqrt()?;
    x.mul(&scale)?.mul(&weight.to_dtype(dtype)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradient, draw, same_gradients};

    #[test]
    fn equals_its_composed_form() {
        for shape in [&[3, 5][..], &[2, 2, 33], &[7], &[0, 4]] {
            let width = shape[shape.len() - 1];
            check_gradient("rms_norm", &[shape, &[width]], (0.5, 2.0), 1, |x| rms_norm(&x[0], &x[1], 1e-5));
            for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::BF16, 3e-2)] {
                let inputs = [draw(shape, (-2.0, 2.0), 2), draw(&[width], (0.5, 2.0), 3)]
                    .map(|x| x.to_dtype(dtype).unwrap());
                same_gradients(
                    "rms_norm",
                    &inputs,
                    tolerance,
                    |x| rms_norm(&x[0], &x[1], 1e-5),
                    |x| composed(&x[0], &x[1], 1e-5)?.to_dtype(dtype),
                );
            }
        }
        assert!(rms_norm(&Tensor::zeros(&[2, 3]).unwrap(), &Tensor::zeros(&[2]).unwrap(), 1e-5).is_err());
    }
}
