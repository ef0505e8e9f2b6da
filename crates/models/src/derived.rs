//! What is made from parameters.

use std::sync::{PoisonError, RwLock};

use trustformers_tensor::Tensor;
use trustformers_tensor::autograd::{is_grad_enabled, no_grad};

use crate::Result;
use crate::site::Site;

/// How something is made from parameters.
type Make<T> = dyn Fn(&[Tensor]) -> Result<T> + Send + Sync;

/// What is made from parameters, a tensor for instance: when it is first needed, and anew when one of them has changed in place. Where
/// gradients are recorded it is made every time, so that they reach the parameters.
pub struct Derived<T = Tensor> {
    parts: Vec<Tensor>,
    how: How<T>,
}

enum How<T> {
    /// Seen to by itself: a parameter that is used as it is.
    AsItIs(T),
    Made {
        make: Box<Make<T>>,
        kept: RwLock<Option<Kept<T>>>,
    },
}

struct Kept<T> {
    made: T,
    /// The versions of the parts that it was made from.
    versions: Vec<u64>,
}

impl Derived {
    /// A parameter in the dtype that hidden states have beside it.
    pub fn float(parameter: Tensor) -> Derived {
        let dtype = Site::of([&parameter]).dtype;
        match parameter.dtype() == dtype {
            true => Derived::as_it_is(vec![parameter.clone()], parameter),
            false => Derived::new(vec![parameter], move |parts| Ok(parts[0].to_dtype(dtype)?)),
        }
    }
}

impl<T: Clone> Derived<T> {
    /// What `make` makes of `parts`.
    pub fn new(
        parts: Vec<Tensor>,
        make: impl Fn(&[Tensor]) -> Result<T> + Send + Sync + 'static,
    ) -> Derived<T> {
        Derived { parts, how: How::Made { make: Box::new(make), kept: RwLock::default() } }
    }

    /// What sees changes of `parts` by itself.
    pub fn as_it_is(parts: Vec<Tensor>, made: T) -> Derived<T> {
        Derived { parts, how: How::AsItIs(made) }
    }

    /// The parameters.
    pub fn parts(&self) -> &[Tensor] {
        &self.parts
    }

    /// What the parameters, as they are now, make.
    pub fn get(&self) -> Result<T> {
        let (make, kept) = match &self.how {
            How::AsItIs(made) => return Ok(made.clone()),
            How::Made { make, kept } => (make, kept),
        };
        if is_grad_enabled() && self.parts.iter().any(Tensor::requires_grad) {
            return make(&self.parts);
        }
        let is_current = |kept: &&Kept<T>| {
            self.parts.iter().zip(&kept.versions).all(|(part, &version)| part.storage().version() == version)
        };
        // A panic elsewhere leaves either the old one or the new one, and both say what they were made from.
        if let Some(kept) = kept.read().unwrap_or_else(PoisonError::into_inner).as_ref().filter(is_current) {
            return Ok(kept.made.clone());
        }
        let versions = self.parts.iter().map(|part| part.storage().version()).collect();
        let made = no_grad(|| make(&self.parts))?;
        *kept.write().unwrap_or_else(PoisonError::into_inner) = Some(Kept { made: made.clone(), versions });
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use trustformers_tensor::DType;

    use super::*;

    #[test]
    fn a_changed_parameter_is_seen_and_an_unchanged_one_is_read_once() {
        let part = Tensor::ones(&[2], DType::F16).unwrap();
        let derived = Derived::float(part.clone());
        let first = derived.get().unwrap();
        assert_eq!(first.as_slice::<f32>().unwrap(), [1.0, 1.0]);
        assert!(derived.get().unwrap().shares_storage(&first));
        part.mul_(3.0).unwrap();
        assert_eq!(derived.get().unwrap().as_slice::<f32>().unwrap(), [3.0, 3.0]);
    }

    #[test]
    fn gradients_reach_the_parameters() {
        let parts = [2.0, 3.0].map(|value| Tensor::from_slice(&[value as f32], &[1]).unwrap());
        let joined = |parts: &[Tensor]| Ok(Tensor::cat(&parts.iter().collect::<Vec<_>>(), 0)?);
        let derived = Derived::new(parts.to_vec(), joined);
        derived.get().unwrap();
        parts[1].set_requires_grad(true).unwrap();
        derived.get().unwrap().mul(5.0).unwrap().sum(&[0], false).unwrap().backward(None).unwrap();
        assert_eq!(parts[1].grad().unwrap().as_slice::<f32>().unwrap(), [5.0]);
    }
}
