//! What training drops.

use std::sync::Arc;

use trustformers_tensor::{Generator, Tensor, ops};

use crate::Result;

/// The random numbers of a pass in training. Elsewhere there are none: nothing is dropped, and nothing is asked of a generator.
#[derive(Clone, Debug, Default)]
pub struct Dropout(Option<Arc<Generator>>);

impl Dropout {
    /// The one whose masks follow from `seed`, or that which drops nothing.
    pub fn new(seed: Option<u64>) -> Dropout {
        Dropout(seed.map(|seed| Arc::new(Generator::new(seed))))
    }

    /// A seed for a part of the pass, which may so be computed again.
    pub fn seed(&self) -> Option<u64> {
        self.0.as_ref().map(|generator| generator.seed())
    }

    /// Whether there is something to drop by.
    pub fn seeded(&self) -> bool {
        self.0.is_some()
    }

    /// Whether a share of `p` means that anything is dropped.
    pub fn drops(&self, p: f32) -> bool {
        self.0.is_some() && p > 0.0
    }

    /// `x` with a share of `p` dropped.
    pub fn apply(&self, x: Tensor, p: f32) -> Result<Tensor> {
        match &self.0 {
            Some(generator) if p > 0.0 => Ok(x.dropout(f64::from(p), generator)?),
            _ => Ok(x),
        }
    }

    /// What an attention drops of its probabilities.
    pub fn of_attention(&self, p: f32) -> Option<ops::Dropout> {
        let seed = self.0.as_ref().filter(|_| p > 0.0)?.seed();
        Some(ops::Dropout { p: f64::from(p), seed })
    }

    /// Whether something that is left out with probability `p` is.
    pub fn leaves_out(&self, p: f32) -> bool {
        let unit = |generator: &Generator| (generator.seed() >> 11) as f64 * (-53f64).exp2();
        p > 0.0 && self.0.as_ref().is_some_and(|generator| unit(generator) < f64::from(p))
    }
}
