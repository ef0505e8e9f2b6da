//! What a device must be able to run.

use crate::ops::{Activation, Attended, Attention};
use crate::{DType, Result, Tensor, Weight};

/// A device: each method is a whole fused step. [`crate::ops`] has checked shapes and dtypes before any of them is called, so an
/// implementation holds kernels only. A new device is one folder that implements this.
pub trait Backend: Send + Sync {
    /// The elements of `x` as `dtype`, in C order.
    fn cast(&self, x: &Tensor, dtype: DType) -> Result<Tensor>;

    /// `activation(x @ weightᵀ + bias)`; `x` (.., in), `bias` (out), the result (.., out), all float32.
    fn linear(
        &self,
        x: &Tensor,
        weight: &Weight,
        bias: Option<&Tensor>,
        activation: Activation,
    ) -> Result<Tensor>;

    /// Normalises `x (+ residual)` over its last dimension, then scales and shifts it; all float32.
    fn layer_norm(
        &self,
        x: &Tensor,
        residual: Option<&Tensor>,
        weight: &Tensor,
        bias: Option<&Tensor>,
        eps: f32,
    ) -> Result<Tensor>;

    /// For every position the sum, over the lookups, of the row that its id names: (positions, width) float32. Ids are in range.
    fn embedding(&self, lookups: &[(&Tensor, &[i64])]) -> Result<Tensor>;

    /// `x` (rows, ..) spread over (total, ..): row `i` goes to `positions[i]`, all others are zero. Positions are in range.
    fn scatter_rows(&self, x: &Tensor, positions: &[usize], total: usize) -> Result<Tensor>;

    /// Scaled dot-product attention within each sequence of a ragged batch; see [`Attention`].
    fn attention(&self, attention: &Attention) -> Result<Attended>;
}
