//! The operations, one file each: what they compute, their checks, their dispatch, their tests.

mod activation;
mod attention;
mod cast;
mod embedding;
mod layer_norm;
mod linear;
mod scatter_rows;

pub use activation::Activation;
pub use attention::{Attended, Attention, Ragged, Sequence};
pub use embedding::embedding;
pub use layer_norm::layer_norm;
pub use linear::linear;

use crate::{DType, Error, Result, Tensor};

/// Refuses what is not float32, the dtype that activations have on every device so far.
fn expect_float32(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    match tensors.iter().find(|tensor| tensor.dtype() != DType::F32) {
        Some(tensor) => Err(Error::DType { op, rule: "the operands must be float32", dtype: tensor.dtype() }),
        None => Ok(()),
    }
}

/// Refuses a `vector` that does not have one element for each of the last dimension of `x`.
fn expect_width(
    op: &'static str,
    rule: &'static str,
    x: &Tensor,
    width: usize,
    vector: &Tensor,
) -> Result<()> {
    if vector.shape() == [width] {
        return Ok(());
    }
    Err(Error::Shapes { op, rule, left: x.shape().into(), right: vector.shape().into() })
}
