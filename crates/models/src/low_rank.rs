//! What adapters add to a linear layer beside its product: LoRA (Hu et al. 2021) where dropout stands before its matrices alone.

use trustformers_tensor::{Activation, Tensor, Weight, ops};

use crate::checkpoint::Scope;
use crate::dropout::Dropout;
use crate::{Error, Result};

/// `scaling · dropout(x) @ Aᵀ @ Bᵀ`. Without dropout that is a matrix, and is better added to the layer's own.
#[derive(Clone, Debug)]
pub struct LowRank {
    /// A: (rank, in)
    pub a: Tensor,
    /// B: (out, rank)
    pub b: Tensor,
    /// What the product is multiplied with.
    pub scaling: f64,
    /// How much of what goes in is dropped in training.
    pub dropout: f32,
}

impl LowRank {
    /// (rows, in) to (rows, out).
    fn of(&self, x: &Tensor, dropout: &Dropout) -> Result<Tensor> {
        let x = dropout.apply(x.clone(), self.dropout)?;
        let narrow = ops::linear(&x, &Weight::passing(self.a.clone())?, None, Activation::Identity)?;
        let wide = ops::linear(&narrow, &Weight::passing(self.b.clone())?, None, Activation::Identity)?;
        Ok(wide.mul(self.scaling)?)
    }
}

/// What is added to the outputs of layers that are applied as one.
pub struct Added {
    /// Of each layer its number of outputs, and what is added to them.
    parts: Vec<(usize, Vec<LowRank>)>,
}

impl Added {
    /// What the scopes of layers with so many outputs each have been given, if anything.
    ///
    /// # Errors
    /// `Input` for matrices that do not fit.
    pub fn take(places: &[(Scope, usize)], inputs: usize) -> Result<Option<Added>> {
        let parts = places.iter().map(|(scope, outputs)| {
            let all = scope.low_ranks();
            for LowRank { a, b, .. } in &all {
                let rank = a.shape().first().copied().unwrap_or(0);
                if a.shape() != [rank, inputs] || b.shape() != [*outputs, rank] {
                    return Err(Error::Input(format!(
                        "an adapter of {:?} and {:?} does not fit a layer of {inputs} inputs and {outputs} outputs",
                        a.shape(),
                        b.shape()
                    )));
                }
            }
            Ok((*outputs, all))
        });
        let parts: Vec<_> = parts.collect::<Result<_>>()?;
        Ok(parts.iter().any(|(_, all)| !all.is_empty()).then_some(Added { parts }))
    }

    /// `sums` (rows, out) of the layers of `x` (rows, in) with what is added to each.
    pub fn to(&self, sums: &Tensor, x: &Tensor, dropout: &Dropout) -> Result<Tensor> {
        let rows = x.shape()[0];
        let part = |(outputs, all): &(usize, Vec<LowRank>)| -> Result<Tensor> {
            let mut each = all.iter().map(|one| one.of(x, dropout));
            let Some(first) = each.next() else {
                return Ok(Tensor::zeros_on(&[rows, *outputs], sums.dtype(), sums.device())?);
            };
            each.try_fold(first?, |sum, one| Ok(sum.add(&one?)?))
        };
        let parts = self.parts.iter().map(part).collect::<Result<Vec<_>>>()?;
        Ok(match parts.as_slice() {
            [one] => sums.add(one)?,
            all => sums.add(&Tensor::cat(&all.iter().collect::<Vec<_>>(), -1)?)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use trustformers_tensor::{DType, Generator};

    use super::*;

    fn drawn(shape: &[usize], seed: u64) -> Tensor {
        Generator::new(seed).normal(shape, DType::F64).unwrap()
    }

    fn low_rank(seed: u64, outputs: usize, p: f32) -> LowRank {
        let (a, b) = (drawn(&[2, 5], seed), drawn(&[outputs, 2], seed + 1));
        LowRank { a, b, scaling: 0.75, dropout: p }
    }

    /// Layers of 3, 2 and 4 outputs: two adapters on the first, none on the second, one on the last.
    fn added() -> Added {
        let first = vec![low_rank(10, 3, 0.5), low_rank(20, 3, 0.0)];
        Added { parts: vec![(3, first), (2, vec![]), (4, vec![low_rank(30, 4, 0.25)])] }
    }

    #[test]
    fn without_dropout_it_is_a_matrix_that_is_added() {
        let (added, x, sums) = (added(), drawn(&[6, 5], 1), drawn(&[6, 9], 2));
        let matrix = |one: &LowRank| one.b.matmul(&one.a).unwrap().mul(one.scaling).unwrap();
        let [first, second] = [0, 1].map(|i| matrix(&added.parts[0].1[i]));
        let none = Tensor::zeros_of(&[2, 5], DType::F64).unwrap();
        let all =
            Tensor::cat(&[&first.add(&second).unwrap(), &none, &matrix(&added.parts[2].1[0])], 0).unwrap();
        let expected = sums.add(&x.matmul(&all.mt().unwrap()).unwrap()).unwrap();
        let off = added.to(&sums, &x, &Dropout::default()).unwrap().sub(&expected).unwrap();
        let off = off.norm(f64::INFINITY, &[], false).unwrap();
        assert!(off.item().unwrap().to_f64() < 1e-12);
    }

    #[test]
    fn gradients_of_what_was_dropped_are_those_of_finite_differences() {
        let (added, x, sums) = (added(), drawn(&[6, 5], 1), drawn(&[6, 9], 2));
        let weights = drawn(&[6, 9], 3);
        // The same seed drops the same elements.
        let loss = || {
            let out = added.to(&sums, &x, &Dropout::new(Some(7))).unwrap();
            out.square().unwrap().mul(&weights).unwrap().sum_all().unwrap()
        };
        let low_ranks = added.parts.iter().flat_map(|(_, all)| all);
        let mut leaves = vec![x.clone(), sums.clone()];
        leaves.extend(low_ranks.flat_map(|one| [one.a.clone(), one.b.clone()]));
        leaves.iter().for_each(|leaf| leaf.set_requires_grad(true).unwrap());
        loss().backward(None).unwrap();
        for (which, leaf) in leaves.iter().enumerate() {
            let grad = leaf.grad().unwrap().contiguous().unwrap();
            let grad = grad.as_slice::<f64>().unwrap();
            let plain = leaf.detach();
            for (i, &found) in grad.iter().enumerate() {
                let flat = plain.view(&[plain.numel()]).unwrap().narrow(0, i, i + 1).unwrap();
                let moved = |by: f64| {
                    trustformers_tensor::autograd::no_grad(|| flat.add_(by)).unwrap();
                    loss().item().unwrap().to_f64()
                };
                let step = 1e-5;
                let (high, low) = (moved(step), moved(-2.0 * step));
                moved(step);
                let expected = (high - low) / (2.0 * step);
                let off = (found - expected).abs();
                assert!(off < 1e-6 * (1.0 + expected.abs()), "leaf {which}, {i}: {found} {expected}");
            }
        }
    }
}
