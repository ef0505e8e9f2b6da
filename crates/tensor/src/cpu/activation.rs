//! Activation functions over what a product has just written.

use std::mem::MaybeUninit;

use super::elementwise::CHUNK;
use super::rows::for_each_run;
use super::unary::single;
use crate::{Activation, Result};

/// Applies `activation` to every element.
pub(super) fn apply(activation: Activation, data: &mut [f32]) -> Result<()> {
    let Some(op) = activation.function() else { return Ok(()) };
    let kernel = single(op);
    for_each_run(data, 1, |_, run| {
        let mut before = [0.0; CHUNK];
        for chunk in run.chunks_mut(CHUNK) {
            let before = &mut before[..chunk.len()];
            before.copy_from_slice(chunk);
            // SAFETY: a kernel writes every element and nothing else.
            kernel(before, unsafe { &mut *(std::ptr::from_mut(chunk) as *mut [MaybeUninit<f32>]) });
        }
    })
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn every_function_equals_its_definition() {
        for &(name, activation) in Activation::NAMES {
            let x: Vec<f32> = (-600..=600).map(|i| i as f32 / 100.0).collect();
            let mut y = x.clone();
            apply(activation, &mut y).unwrap();
            for (x, y) in x.iter().zip(y) {
                let want = reference(activation, f64::from(*x));
                assert!(
                    (f64::from(y) - want).abs() <= 3e-6 * (1.0 + want.abs()),
                    "{name}({x}) = {y}, not {want}"
                );
            }
        }
        let mut nan = [f32::NAN];
        apply(Activation::Relu, &mut nan).unwrap();
        assert!(nan[0].is_nan());
    }
}
