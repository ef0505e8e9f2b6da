//! Activation functions over what a product has just computed.

use super::gemm::Map;
use super::unary::single;
use crate::Activation;

/// What applies `activation` to a run of elements; none for the identity.
pub(super) fn kernel(activation: Activation) -> Option<Map<f32>> {
    activation.function().map(single)
}

#[cfg(test)]
mod tests {
    use std::mem::MaybeUninit;

    use super::*;

    fn reference(activation: Activation, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let tanh_gelu =
            || 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
        match activation {
            Activation::Identity => x,
            Activation::Gelu => 0.5 * x * (1.0 + erf(x / 2f64.sqrt())),
            Activation::GeluTanh => tanh_gelu(),
            Activation::QuickGelu => x * sigmoid(1.702 * x),
            Activation::Relu => x.max(0.0),
            Activation::ReluSquared => x.max(0.0).powi(2),
            Activation::Silu => x * sigmoid(x),
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => x.tanh(),
        }
    }

    /// erf by its Maclaurin series, which converges everywhere and is exact enough up to |x| = 4.
    fn erf(x: f64) -> f64 {
        if x.abs() > 4.0 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    fn apply(activation: Activation, x: &[f32]) -> Vec<f32> {
        let mut y = x.to_vec();
        if let Some(kernel) = kernel(activation) {
            // SAFETY: a kernel writes every element and nothing else.
            kernel(x, unsafe { &mut *(std::ptr::from_mut(&mut y[..]) as *mut [MaybeUninit<f32>]) });
        }
        y
    }

    #[test]
    fn every_function_equals_its_definition() {
        for &(name, activation) in Activation::NAMES {
            let x: Vec<f32> = (-600..=600).map(|i| i as f32 / 100.0).collect();
            for (x, y) in x.iter().zip(apply(activation, &x)) {
                let want = reference(activation, f64::from(*x));
                assert!(
                    (f64::from(y) - want).abs() <= 3e-6 * (1.0 + want.abs()),
                    "{name}({x}) = {y}, not {want}"
                );
            }
        }
        assert!(apply(Activation::Relu, &[f32::NAN])[0].is_nan());
    }
}
