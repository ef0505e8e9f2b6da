//! The processor as a [`Backend`]: one file of kernels per operation.

mod activation;
mod attention;
mod cast;
mod embedding;
mod layer_norm;
mod linear;
mod rows;

use crate::ops::{Activation, Attended, Attention};
use crate::{Backend, DType, Result, Tensor, Weight};

pub(crate) use linear::PackedMatrix;

/// The processor.
pub(crate) struct Cpu;

impl Backend for Cpu {
    fn cast(&self, x: &Tensor, dtype: DType) -> Result<Tensor> {
        cast::cast(x, dtype)
    }

    fn linear(
        &self,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        activation: Activation,
    ) -> Result<Tensor> {
        linear::linear(x, weight, bias, activation)
    }

    fn layer_norm(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        weight: &Tensor,
        bias: Option<&Tensor>,
        eps: f32,
    ) -> Result<Tensor> {
        layer_norm::layer_norm(x, residual, weight, bias, eps)
    }

    fn embedding(&self, lookups: &[(&Tensor, &[i64])]) -> Result<Tensor> {
        embedding::embedding(lookups)
    }

    fn scatter_rows(&self, x: &Tensor, positions: &[usize], total: usize) -> Result<Tensor> {
        rows::scatter(x, positions, total)
    }

    fn attention(&self, attention: &Attention) -> Result<Attended> {
        attention::attention(attention)
    }
}
