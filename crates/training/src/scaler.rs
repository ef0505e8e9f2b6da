//! Scaling of losses, so that gradients in 16 bits do not vanish: torch's `GradScaler`.

use trustformers_tensor::{Tensor, autograd};

use crate::gradients::scale_all;
use crate::{Error, Result};

/// A factor for losses that halves when gradients overflow and grows when they have not for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradScaler {
    /// The factor.
    pub scale: f64,
    /// What it is multiplied by after `growth_interval` good steps.
    pub growth_factor: f64,
    /// What it is multiplied by after a bad one.
    pub backoff_factor: f64,
    /// How many good steps make it grow.
    pub growth_interval: u64,
    /// The good steps since it changed.
    pub growth_tracker: u64,
}

impl Default for GradScaler {
    fn default() -> GradScaler {
        GradScaler {
            scale: 65536.0,
            growth_factor: 2.0,
            backoff_factor: 0.5,
            growth_interval: 2000,
            growth_tracker: 0,
        }
    }
}

impl GradScaler {
    /// A loss, multiplied.
    pub fn scaled(&self, loss: &Tensor) -> Result<Tensor> {
        Ok(loss.mul(self.scale)?)
    }

    /// Divides the gradients by the factor, in place, and says whether all of them are finite: else the step must be left out.
    ///
    /// # Errors
    /// `Setting` when the factor is 0 or not finite.
    pub fn unscale(&self, parameters: &[Tensor]) -> Result<bool> {
        if !self.scale.is_normal() {
            return Err(Error::Setting(format!("the scale of the losses has become {}", self.scale)));
        }
        scale_all(parameters, self.scale.recip())?;
        autograd::no_grad(|| {
            for grad in parameters.iter().filter_map(Tensor::grad) {
                if !grad.abs()?.amax(&[], false)?.item()?.to_f64().is_finite() {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Changes the factor after a step whose gradients were finite, or were not.
    pub fn update(&mut self, finite: bool) {
        if !finite {
            self.scale *= self.backoff_factor;
            self.growth_tracker = 0;
            return;
        }
        self.growth_tracker += 1;
        if self.growth_tracker == self.growth_interval {
            self.scale *= self.growth_factor;
            self.growth_tracker = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_halves_and_grows() {
        let mut scaler = GradScaler { scale: 8.0, growth_interval: 2, ..GradScaler::default() };
        let leaf = Tensor::from_slice(&[1.0f32, 2.0], &[2]).unwrap();
        leaf.set_requires_grad(true).unwrap();
        scaler.scaled(&leaf.sum_all().unwrap()).unwrap().backward(None).unwrap();
        assert!(scaler.unscale(std::slice::from_ref(&leaf)).unwrap());
        assert_eq!(leaf.grad().unwrap().as_slice::<f32>().unwrap(), [1.0, 1.0]);
        scaler.update(true);
        scaler.update(true);
        assert_eq!(scaler.scale, 16.0);
        leaf.grad().unwrap().fill_(f32::INFINITY).unwrap();
        assert!(!scaler.unscale(std::slice::from_ref(&leaf)).unwrap());
        leaf.grad().unwrap().fill_(f32::NAN).unwrap();
        assert!(!scaler.unscale(std::slice::from_ref(&leaf)).unwrap());
        scaler.update(false);
        assert_eq!((scaler.scale, scaler.growth_tracker), (8.0, 0));
        scaler.scale = 0.0;
        assert!(scaler.unscale(&[leaf]).is_err());
    }
}
