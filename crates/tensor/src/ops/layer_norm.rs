//! Layer normalisation (Ba, Kiros & Hinton 2016).

use super::{expect_float32, expect_width};
use crate::{Error, Result, Tensor};

/// `(h - mean(h)) / sqrt(var(h) + eps) * weight + bias` with `h = x + residual`, over the last dimension, float32. Equals torch's
/// `F.layer_norm`; the residual is what transformer blocks add first, in the same pass over memory.
///
/// # Errors
/// `Shapes` when weight or bias have not one element per column, or the residual not the shape of `x`; `DType` for other dtypes.
pub fn layer_norm(
    x: &Tensor,
    residual: Option<&Tensor>,
    weight: &Tensor,
    bias: Option<&Tensor>,
    eps: f32,
) -> Result<Tensor> {
    let operands: Vec<&Tensor> = [Some(x), residual, Some(weight), bias].into_iter().flatten().collect();
    expect_float32("layer_norm", &operands)?;
    let width = x.shape().last().copied().unwrap_or(1);
    for vector in [Some(weight), bias].into_iter().flatten() {
        expect_width("layer_norm", "weight and bias must have the last dimension of x", x, width, vector)?;
    }
    let residual = match residual {
        Some(residual) if residual.shape() != x.shape() => {
            let rule = "the residual must have the shape of x";
            return Err(Error::Shapes {
                op: "layer_norm",
                rule,
                left: x.shape().into(),
                right: residual.shape().into(),
            });
        }
        Some(residual) => Some(residual.contiguous()?),
        None => None,
    };
    x.backend().layer_norm(&x.contiguous()?, residual.as_ref(), weight, bias, eps)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
}
