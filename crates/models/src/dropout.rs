//! What training does by chance: it drops numbers, and may add noise to embeddings.

use std::sync::Arc;

use trustformers_tensor::{DType, Generator, Tensor, ops};

use crate::Result;

/// The random numbers of a pass in training. Elsewhere there are none: nothing is dropped, and nothing is asked of a generator.
#[derive(Clone, Debug, Default)]
pub struct Dropout {
    generator: Option<Arc<Generator>>,
    noise: Option<f64>,
}

impl Dropout {
    /// The one whose masks follow from `seed`, or that which drops nothing.
    pub fn new(seed: Option<u64>) -> Dropout {
        Dropout { generator: seed.map(|seed| Arc::new(Generator::new(seed))), noise: None }
    }

    /// The same, which also adds noise to embeddings, if so much is asked for: see [`Dropout::disturb`].
    pub fn with_noise(self, alpha: Option<f64>) -> Dropout {
        Dropout { noise: alpha, ..self }
    }

    /// A seed for a part of the pass, which may so be computed again.
    pub fn seed(&self) -> Option<u64> {
        self.generator.as_ref().map(|generator| generator.seed())
    }

    /// Whether there is something to drop by.
    pub fn seeded(&self) -> bool {
        self.generator.is_some()
    }

    /// Whether a share of `p` means that anything is dropped.
    pub fn drops(&self, p: f32) -> bool {
        self.generator.is_some() && p > 0.0
    }

    /// `x` with a share of `p` dropped.
    pub fn apply(&self, x: Tensor, p: f32) -> Result<Tensor> {
        match &self.generator {
            Some(generator) if p > 0.0 => Ok(x.dropout(f64::from(p), generator)?),
            _ => Ok(x),
        }
    }

    /// The embeddings (rows, width) of texts of so many positions with NEFTune's noise (Jain et al. 2023): evenly from within alpha / sqrt(length
    /// width) of zero.
    pub fn disturb(&self, x: Tensor, length: usize) -> Result<Tensor> {
        let (Some(generator), Some(alpha)) = (&self.generator, self.noise) else { return Ok(x) };
        let most = alpha / ((length * x.shape()[1]) as f64).sqrt();
        let noise = generator.uniform(x.shape(), DType::F32)?.mul(2.0 * most)?.sub(most)?;
        Ok(x.add(&noise.to_dtype(x.dtype())?.to_device(x.device())?)?)
    }

    /// What an attention drops of its probabilities.
    pub fn of_attention(&self, p: f32) -> Option<ops::Dropout> {
        let seed = self.generator.as_ref().filter(|_| p > 0.0)?.seed();
        Some(ops::Dropout { p: f64::from(p), seed })
    }

    /// Whether something that is left out with probability `p` is.
    pub fn leaves_out(&self, p: f32) -> bool {
        let unit = |generator: &Generator| (generator.seed() >> 11) as f64 * (-53f64).exp2();
        p > 0.0 && self.generator.as_ref().is_some_and(|generator| unit(generator) < f64::from(p))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_even_and_as_wide_as_asked_for() {
        let x = Tensor::zeros(&[40, 25]).unwrap();
        let noise = Dropout::new(Some(3)).with_noise(Some(5.0)).disturb(x.clone(), 4).unwrap();
        let noise = noise.as_slice::<f32>().unwrap();
        // 5 / sqrt(4 * 25)
        assert!(noise.iter().all(|one| one.abs() <= 0.5));
        let far = noise.iter().filter(|one| one.abs() > 0.25).count();
        assert!((450..550).contains(&far), "{far} of 1000");
        for still in [Dropout::new(Some(3)), Dropout::default().with_noise(Some(5.0))] {
            assert_eq!(still.disturb(x.clone(), 4).unwrap().as_ptr(), x.as_ptr());
        }
    }
}
