//! The layers that families are built from: parameters with the operation that uses them.

use trustformers_tensor::{Activation, DType, Tensor, Weight, ops};

use crate::Result;
use crate::checkpoint::{Init, Scope};

/// A linear layer, or several with one input applied as one.
pub struct Linear {
    weight: Weight,
    bias: Tensor,
}

impl Linear {
    /// Loads `weight` (out, in) and `bias` (out) under `scope`.
    pub fn load(scope: &Scope, outputs: usize, inputs: usize) -> Result<Linear> {
        Linear::load_fused(&[scope], outputs, inputs)
    }

    /// Loads one layer per scope, all of the same size, and stacks their outputs.
    pub fn load_fused(scopes: &[&Scope], outputs: usize, inputs: usize) -> Result<Linear> {
        let weights = scopes.iter().map(|scope| scope.tensor("weight", &[outputs, inputs], Init::Normal));
        let weight = Weight::new(weights.collect::<Result<_>>()?)?;
        Ok(Linear { weight, bias: Scope::joined(scopes, "bias", outputs, Init::Zeros)? })
    }

    /// The matrix, for those who prepare it.
    pub fn weight(&self) -> &Weight {
        &self.weight
    }

    /// `activation(x @ weightᵀ + bias)`: (.., in) to (.., out).
    pub fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        Ok(ops::linear(x, &self.weight, Some(&self.bias), activation)?)
    }
}

/// Layer normalisation with scale and shift.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl LayerNorm {
    /// Loads `weight` and `bias` (width) under `scope`.
    pub fn load(scope: &Scope, width: usize, eps: f32) -> Result<LayerNorm> {
        Ok(LayerNorm {
            weight: scope.tensor("weight", &[width], Init::Ones)?.to_dtype(DType::F32)?,
            bias: scope.tensor("bias", &[width], Init::Zeros)?.to_dtype(DType::F32)?,
            eps,
        })
    }

    /// Normalises `x + residual` over its last dimension.
    pub fn forward(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        Ok(ops::layer_norm(x, residual, &self.weight, Some(&self.bias), self.eps)?)
    }
}
