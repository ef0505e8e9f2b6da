//! The linear layer.

use super::{expect_float32, expect_width};
use crate::{Activation, Error, Result, Tensor, Weight};

/// `activation(x @ weightᵀ + bias)`: `x` (.., in), `bias` (out), result (.., out), float32. Equals torch's `F.linear`.
///
/// # Errors
/// `Shapes` when the last dimension of `x` is not the weight's `in`, or the bias has not `out` elements; `DType` for other dtypes.
pub fn linear(x: &Tensor, weight: &Weight, bias: Option<&Tensor>, activation: Activation) -> Result<Tensor> {
    expect_float32("linear", &[x])?;
    if x.shape().last() != Some(&weight.in_features()) {
        let right = [weight.out_features(), weight.in_features()].into_iter().collect();
        let rule = "the last dimension of x must be the second of the weight";
        return Err(Error::Shapes { op: "linear", rule, left: x.shape().into(), right });
    }
    if let Some(bias) = bias {
        expect_float32("linear", &[bias])?;
        expect_width("linear", "the bias must have one element per output", x, weight.out_features(), bias)?;
    }
    x.backend().linear(&x.contiguous()?, weight, bias, activation)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reference(x: &[f32], w: &[f32], bias: &[f32], (m, k, n): (usize, usize, usize)) -> Vec<f32> {
        (0..m * n)
            .map(|i| {
                let (row, col) = (i / n, i % n);
                let sum: f64 = (0..k).map(|j| f64::from(x[row * k + j]) * f64::from(w[col * k + j])).sum();
                (sum + f64::from(bias[col])) as f32
            })
            .collect()
    }

    proptest! {
        #[test]
        fn equals_the_sum_of_products(m in 0usize..20, k in 0usize..70, n in 1usize..40, seed in 0u32..1000) {
            let draw = |i: usize| ((i as f32 + seed as f32) * 0.7391).sin();
            let x: Vec<f32> = (0..m * k).map(draw).collect();
            let w: Vec<f32> = (0..n * k).map(|i| draw(i + 17)).collect();
            let bias: Vec<f32> = (0..n).map(|i| draw(i + 5)).collect();
            // Two parts must give what one matrix gives.
            let cut = n / 2;
            let parts = vec![
                Tensor::from_slice(&w[..cut * k], &[cut, k]).unwrap(),
                Tensor::from_slice(&w[cut * k..], &[n - cut, k]).unwrap(),
            ];
            let weight = Weight::new(parts).unwrap();
            let bias_tensor = Tensor::from_slice(&bias, &[n]).unwrap();
            let x_tensor = Tensor::from_slice(&x, &[m, k]).unwrap();
            let y = linear(&x_tensor, &weight, Some(&bias_tensor), Activation::Identity).unwrap();
            prop_assert_eq!(y.shape(), [m, n]);
            for (got, want) in y.as_slice::<f32>().unwrap().iter().zip(reference(&x, &w, &bias, (m, k, n))) {
                prop_assert!((got - want).abs() <= 1e-4, "{} != {}", got, want);
            }
        }
    }

    #[test]
    fn misfits_name_both_shapes() {
        let weight = Weight::new(vec![Tensor::zeros(&[3, 4]).unwrap()]).unwrap();
        let error =
            linear(&Tensor::zeros(&[2, 5]).unwrap(), &weight, None, Activation::Identity).unwrap_err();
        assert!(error.to_string().contains("[2, 5]") && error.to_string().contains("[3, 4]"), "{error}");
        let bias = Tensor::zeros(&[4]).unwrap();
        assert!(
            linear(&Tensor::zeros(&[2, 4]).unwrap(), &weight, Some(&bias), Activation::Identity).is_err()
        );
    }
}
