//! Freshly drawn weights.

use trustformers_tensor::{Result, Tensor};

use crate::packing::room;

/// Normally distributed numbers: splitmix64 (Steele, Lea & Flood 2014) through the Box-Muller transform.
pub(super) struct Normal {
    state: u64,
}

impl Normal {
    pub(super) fn new(seed: u64) -> Normal {
        Normal { state: seed }
    }

    /// A float32 tensor with mean 0 and the given standard deviation.
    pub(super) fn tensor(&mut self, shape: &[usize], std: f32) -> Result<Tensor> {
        let mut values = room(shape)?;
        let numel = shape.iter().product();
        while values.len() < numel {
            let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
            let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
            values.push((radius * cos) as f32 * std);
            values.push((radius * sin) as f32 * std);
        }
        Tensor::from_slice(&values[..numel], shape)
    }

    /// From 0 up to, but not including, 1.
    fn uniform(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// A float32 tensor of one number.
pub(super) fn constant(shape: &[usize], value: f32) -> Result<Tensor> {
    let mut values = room(shape)?;
    values.resize(shape.iter().product(), value);
    Tensor::from_slice(&values, shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_are_as_asked() {
        let tensor = Normal::new(7).tensor(&[101, 99], 0.5).unwrap();
        let values = tensor.as_slice::<f32>().unwrap();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let std = (values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32).sqrt();
        assert!(mean.abs() < 0.02 && (std - 0.5).abs() < 0.02, "{mean} {std}");
    }
}
