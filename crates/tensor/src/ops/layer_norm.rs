//! Layer normalisation (Ba, Kiros & Hinton 2016).

use super::{activation_dtype, activations, expect_width, same_place, vector};
use crate::autograd::{Backward, Grads, differentiate, is_grad_enabled, record};
use crate::{DType, Error, Result, Tensor};

/// `(h - mean(h)) / sqrt(var(h) + eps) * weight + bias` with `h = x + residual`, over the last dimension, in the dtype of `x`. Equals
/// torch's `F.layer_norm`; the residual is what transformer blocks add first, in the same pass over memory.
///
/// # Errors
/// `Shapes` when weight or bias have not one element per column, or the residual not the shape of `x`; `DType` for other than floats.
pub fn layer_norm(
    x: &Tensor,
    residual: Option<&Tensor>,
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f32,
) -> Result<Tensor> {
    let sources: Vec<&Tensor> = [Some(x), residual, Some(weight), bias].into_iter().flatten().collect();
    sources.iter().try_for_each(|source| source.expect_float("layer_norm"))?;
    same_place("layer_norm", sources.iter().copied())?;
    let width = x.shape().last().copied().unwrap_or(1);
    for vector in [Some(weight), bias].into_iter().flatten() {
        expect_width("layer_norm", "weight and bias must have the last dimension of x", x, width, vector)?;
    }
    if let Some(residual) = residual
        && residual.shape() != x.shape()
    {
        let rule = "the residual must have the shape of x";
        let (left, right) = (x.shape().into(), residual.shape().into());
        return Err(Error::Shapes { op: "layer_norm", rule, left, right });
    }
    let parts = Parts { residual: residual.is_some(), bias: bias.is_some(), eps };
    if x.dtype() == DType::F64 {
        return parts.composed(&sources);
    }
    let own = |tensor: &Tensor| activations(tensor, activation_dtype(x));
    let (residual, bias) = (residual.map(own).transpose()?, bias.map(vector).transpose()?);
    let out = x.backend().layer_norm(&own(x)?, residual.as_ref(), &vector(weight)?, bias.as_ref(), eps)?;
    let out = record("layer_norm", out, &sources, &sources, move |b| {
        let composed = |inputs: &[Tensor]| parts.composed(&inputs.iter().collect::<Vec<_>>());
        if is_grad_enabled() { differentiate(b, composed) } else { parts.gradients(b) }
    });
    out.to_dtype(x.dtype())
}

/// Which operands a layer norm has.
#[derive(Clone, Copy)]
struct Parts {
    residual: bool,
    bias: bool,
    eps: f32,
}

impl Parts {
    /// The gradients in one pass over memory.
    fn gradients(self, b: &Backward) -> Result<Grads> {
        let dtype = activation_dtype(&b.saved[0]);
        let own = |tensor: &Tensor| activations(tensor, dtype);
        let x = own(&b.saved[0])?;
        let (h, weight) =
            if self.residual { (x.add(&own(&b.saved[1])?)?, &b.saved[2]) } else { (x, &b.saved[1]) };
        let (g, weight) = (own(b.grad())?, vector(weight)?);
        let first = 1 + usize::from(self.residual);
        let parameters = b.needs(first) || self.bias && b.needs(first + 1);
        let [into_h, into_weight, into_bias] =
            h.backend().layer_norm_gradient(&g, &h, &weight, self.eps, parameters)?;
        let mut grads = if self.residual { vec![into_h.clone(), into_h] } else { vec![into_h] };
        grads.push(into_weight);
        grads.extend(self.bias.then_some(into_bias));
        Ok(grads)
    }

    /// The same as one operation after another, in float32 or, for doubles, float64.
    fn composed(self, sources: &[&Tensor]) -> Result<Tensor> {
        let dtype = if sources[0].dtype() == DType::F64 { DType::F64 } else { DType::F32 };
        let wide: Vec<Tensor> = sources.iter().map(|source| source.to_dtype(dtype)).collect::<Result<_>>()?;
        let mut wide = wide.iter();
        let mut next = |given: bool| if given { wide.next() } else { None };
        let (x, residual) = (next(true), next(self.residual));
        let (weight, bias) = (next(true), next(self.bias));
        let (Some(x), Some(weight)) = (x, weight) else {
            return Err(Error::argument("layer_norm", "x and weight must be given"));
        };
        let h = residual.map_or(Ok(x.clone()), |residual| x.add(residual))?;
        let centred = h.sub(&h.mean(&[-1], true)?)?;
        let variance = centred.square()?.mean(&[-1], true)?;
        let scaled = centred.mul(&variance.add(f64::from(self.eps))?.rsqrt()?)?.mul(weight)?;
        bias.map_or(Ok(scaled.clone()), |bias| scaled.add(bias))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{check_gradient, draw, same_gradients};

    proptest! {
        #[test]
        fn equals_its_definition(rows in 0usize..9, width in 1usize..70, seed in 0u32..1000, with_residual: bool) {
            let draw = |i: usize| ((i as f32 + seed as f32) * 0.6173).sin() * 3.0 + 0.5;
            let column = |from: usize| (0..width).map(|i| draw(i + from)).collect::<Vec<f32>>();
            let (weight, bias) = (column(3), column(11));
            let x: Vec<f32> = (0..rows * width).map(draw).collect();
            let r: Vec<f32> = (0..rows * width).map(|i| draw(i + 31)).collect();
            let tensor = |v: &[f32], shape: &[usize]| Tensor::from_slice(v, shape).unwrap();
            let residual = tensor(&r, &[rows, width]);
            let y = layer_norm(
                &tensor(&x, &[rows, width]),
                with_residual.then_some(&residual),
                &tensor(&weight, &[width]),
                Some(&tensor(&bias, &[width])),
                1e-5,
            ).unwrap();
            let y = y.as_slice::<f32>().unwrap();
            for row in 0..rows {
                let h: Vec<f64> = (row * width..(row + 1) * width)
                    .map(|i| f64::from(x[i]) + if with_residual { f64::from(r[i]) } else { 0.0 })
                    .collect();
                let mean = h.iter().sum::<f64>() / width as f64;
                let var = h.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
                for (i, v) in h.iter().enumerate() {
                    let want = (v - mean) / (var + 1e-5).sqrt() * f64::from(weight[i]) + f64::from(bias[i]);
                    prop_assert!((f64::from(y[row * width + i]) - want).abs() < 2e-4);
                }
            }
        }
    }

    #[test]
    fn gradients() {
        let norm = |x: &[Tensor]| match x {
            [x, weight] => layer_norm(x, None, weight, None, 1e-5),
            [x, weight, bias] => layer_norm(x, None, weight, Some(bias), 1e-5),
            [x, residual, weight, bias] => layer_norm(x, Some(residual), weight, Some(bias), 1e-5),
            _ => unreachable!(),
        };
        let shapes: [&[&[usize]]; 4] =
            [&[&[3, 4], &[4]], &[&[2, 3, 4], &[4], &[4]], &[&[3, 4], &[3, 4], &[4], &[4]], &[&[0, 4], &[4]]];
        for shapes in shapes {
            check_gradient("layer_norm", shapes, (0.5, 2.0), 1, norm);
            for dtype in [DType::F32, DType::BF16] {
                let inputs: Vec<Tensor> =
                    shapes.iter().map(|shape| draw(shape, (0.5, 2.0), 2).to_dtype(dtype).unwrap()).collect();
                let tolerance = if dtype == DType::F32 { 1e-5 } else { 3e-2 };
                let parts = Parts { residual: shapes.len() == 4, bias: shapes.len() > 2, eps: 1e-5 };
                same_gradients("layer_norm", &inputs, tolerance, norm, |x| {
                    parts.composed(&x.iter().collect::<Vec<_>>())?.to_dtype(dtype)
                });
            }
        }
    }
}
