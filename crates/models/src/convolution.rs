//! A convolution over neighbouring positions (DeBERTa v2).

use trustformers_tensor::{Activation, Tensor};

use crate::checkpoint::{Init, Scope};
use crate::dropout::Dropout;
use crate::layers::{Linear, Norm};
use crate::spec::{NormSpec, Path};
use crate::{Packing, Result};

/// A convolution as wide as the model, and the norm over the sum that it ends in.
#[derive(Clone, Copy, Debug)]
pub struct ConvolutionSpec {
    /// Where `weight` (width, width, kernel) and `bias` are.
    pub path: Path,
    /// How many positions it sees, an odd number.
    pub kernel: usize,
    /// What comes behind it.
    pub activation: Activation,
    /// The norm over its sum with what it is added to.
    pub norm: NormSpec,
    /// How much is dropped of it before the activation, in training.
    pub dropout: f32,
}

/// A convolution with its weights.
pub struct Convolution {
    spec: ConvolutionSpec,
    /// (width, kernel * width): it is a product with the neighbours side by side.
    linear: Linear,
    norm: Norm,
}

impl Convolution {
    /// Loads a convolution that is `width` wide.
    pub fn load(scope: &Scope, spec: ConvolutionSpec, width: usize) -> Result<Convolution> {
        let own = scope.at(spec.path);
        let weight = own.tensor("weight", &[width, width, spec.kernel], Init::Normal)?;
        let shape = [width, spec.kernel * width];
        let flat = move |weight: &Tensor| Ok(weight.permute(&[0, 2, 1])?.reshape(&shape)?);
        let bias = own.tensor("bias", &[width], Init::Zeros)?;
        Ok(Convolution {
            spec,
            linear: Linear::made(own.module(), weight, flat, bias),
            norm: Norm::load(scope, spec.norm, width)?,
        })
    }

    /// The convolution of the packed `x` (rows, width). What the mask hides counts as zeros.
    pub fn forward(&self, x: &Tensor, packing: &Packing, dropout: &Dropout) -> Result<Tensor> {
        let (rows, width) = (x.shape()[0], x.shape()[1]);
        let [batch, length] = packing.shape();
        // One row of zeros behind the others stands for what is not there.
        let mut at = vec![rows; batch * length];
        for row in packing.visible_rows() {
            at[packing.places()[row]] = row;
        }
        let reach = self.spec.kernel / 2;
        let neighbours = packing.places().iter().flat_map(|&place| {
            let position = place % length;
            let at = &at;
            (0..self.spec.kernel).map(move |step| match (position + step).checked_sub(reach) {
                Some(neighbour) if neighbour < length => at[place - position + neighbour],
                _ => rows,
            })
        });
        let neighbours: Vec<usize> = neighbours.collect();
        let padded = Tensor::cat(&[x, &Tensor::zeros_on(&[1, width], x.dtype(), x.device())?], 0)?;
        let wide = padded.gather_rows(&neighbours)?.view(&[rows, self.spec.kernel * width])?;
        let ConvolutionSpec { activation, dropout: p, .. } = self.spec;
        if dropout.drops(p) {
            let sums = self.linear.forward(&wide, Activation::Identity, dropout)?;
            return Ok(activation.apply(&dropout.apply(sums, p)?)?);
        }
        self.linear.forward(&wide, activation, dropout)
    }

    /// What it made, added to what a layer made.
    pub fn join(&self, made: &Tensor, hidden: &Tensor) -> Result<Tensor> {
        self.norm.forward(made, Some(hidden))
    }
}
