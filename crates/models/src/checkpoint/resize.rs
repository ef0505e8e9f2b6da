//! Vocabularies that become larger or smaller.

use trustformers_tensor::autograd::no_grad;
use trustformers_tensor::{DType, Generator, Tensor};

use super::loader::Init;
use crate::Result;

/// The variance of new rows around the mean of the old ones, relative to that of the old ones: transformers' `epsilon`.
const EPSILON: f64 = 1e-9;

/// Another number of tokens for whatever has one row, or one number, for each.
#[derive(Clone, Copy, Debug)]
pub struct Resize {
    /// How many tokens there are.
    pub from: usize,
    /// How many there shall be.
    pub to: usize,
    /// Whether new rows are drawn around the mean of the old ones, with a billionth of their covariance (Hewitt 2021); else they are
    /// drawn as those of a new model.
    pub mean: bool,
}

impl Resize {
    /// `tensor` as it is wanted, if its `shape` shall differ by this number of tokens; `None` for all others.
    pub(super) fn apply(
        &self,
        tensor: &Tensor,
        shape: &[usize],
        init: Init,
        std: f64,
        generator: &Generator,
    ) -> Result<Option<Tensor>> {
        let Some(axis) = self.axis(tensor.shape(), shape) else { return Ok(None) };
        let resized = no_grad(|| -> Result<Tensor> {
            let device = tensor.device();
            let tensor = tensor.detach().to_host()?;
            if self.to <= self.from {
                return Ok(tensor.narrow(axis, 0, self.to)?.copy()?.to_device(device)?);
            }
            let mut shape = shape.to_vec();
            shape[axis] = self.to - self.from;
            let added = self.added(&tensor, &shape, init, std, generator)?.to_dtype(tensor.dtype())?;
            Ok(Tensor::cat(&[&tensor, &added], axis as isize)?.to_device(device)?)
        })?;
        resized.set_requires_grad_as(tensor)?;
        Ok(Some(resized))
    }

    /// The one axis along which two shapes differ, if they do so by this number of tokens.
    pub(super) fn axis(&self, old: &[usize], new: &[usize]) -> Option<usize> {
        let axis = (0..new.len()).find(|&axis| old.get(axis) != Some(&new[axis]))?;
        let same_beside = old.len() == new.len() && old[axis + 1..] == new[axis + 1..];
        (same_beside && (old[axis], new[axis]) == (self.from, self.to)).then_some(axis)
    }

    fn added(
        &self,
        tensor: &Tensor,
        shape: &[usize],
        init: Init,
        std: f64,
        generator: &Generator,
    ) -> Result<Tensor> {
        if !self.mean || matches!(init, Init::Buffer) {
            return init.draw(shape, std, generator);
        }
        // A sum of the old rows' distances from their mean, with normal weights, has their covariance.
        let is_table = shape.len() == 2;
        let old = tensor.to_dtype(DType::F32)?;
        let old = if is_table { old } else { old.unsqueeze(1)? };
        let mean = old.mean(&[0], true)?;
        let weights = generator.normal(&[shape[0], self.from], DType::F32)?;
        let scale = (EPSILON / self.from as f64).sqrt();
        // The bias of a token deviates by a billionth, not its variance.
        let scale = if is_table { scale } else { EPSILON / (self.from as f64).sqrt() };
        let added = weights.matmul(&old.sub(&mean)?)?.mul(scale)?.add(&mean)?;
        Ok(added.view(shape)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Tensor {
        Init::Normal.draw(&[50, 4], 2.0, &Generator::new(3)).unwrap()
    }

    fn resized(to: usize, mean: bool) -> Vec<f32> {
        let resize = Resize { from: 50, to, mean };
        let tensor =
            resize.apply(&table(), &[to, 4], Init::Embedding, 0.02, &Generator::new(1)).unwrap().unwrap();
        assert_eq!(tensor.shape(), [to, 4]);
        tensor.as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn old_rows_stay_and_new_ones_are_near_their_mean() {
        let old = table();
        let old = old.as_slice::<f32>().unwrap();
        assert_eq!(resized(20, true), old[..80]);
        let grown = resized(60, true);
        assert_eq!(grown[..200], *old);
        for column in 0..4 {
            let mean = old.iter().skip(column).step_by(4).sum::<f32>() / 50.0;
            let new: Vec<f32> = grown[200..].iter().skip(column).step_by(4).copied().collect();
            assert!(new.iter().all(|value| (value - mean).abs() < 1e-3), "{new:?} {mean}");
            assert!(new.iter().any(|value| *value != new[0]), "all rows are alike");
        }
        assert!(resized(60, false)[200..].iter().all(|value| value.abs() < 0.1));
    }

    #[test]
    fn other_tensors_are_left_alone() {
        let resize = Resize { from: 50, to: 60, mean: true };
        let apply =
            |shape: &[usize]| resize.apply(&table(), shape, Init::Normal, 0.02, &Generator::new(1)).unwrap();
        assert!(apply(&[50, 4]).is_none());
        assert!(apply(&[60, 5]).is_none());
        assert!(apply(&[61, 4]).is_none());
    }
}
