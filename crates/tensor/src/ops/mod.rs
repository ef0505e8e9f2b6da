//! The operations, one file each: what they compute, their checks, their dispatch, their tests.

mod activation;
mod attention;
mod binary;
mod compare;
mod copy;
mod create;
mod embedding;
mod gather;
mod index;
mod join;
mod layer_norm;
mod linear;
mod random;
mod reduce;
mod scan;
mod scatter_rows;
mod sort;
mod unary;
mod views;

pub use activation::Activation;
pub use attention::{Attended, Attention, Ragged, Sequence};
pub use binary::BinaryOp;
pub use compare::CompareOp;
pub use embedding::embedding;
pub use index::Index;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use random::{Distribution, Generator};
pub use reduce::ReduceOp;
pub use unary::UnaryOp;

use crate::{DType, Error, Result, Tensor};

/// Refuses complex numbers, which can be held and moved but not computed with.
fn expect_real(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    match tensors.iter().find(|tensor| tensor.dtype().is_complex()) {
        Some(tensor) => {
            Err(Error::DType { op, rule: "arithmetic is for real numbers", dtype: tensor.dtype() })
        }
        None => Ok(()),
    }
}

/// Refuses tensors that lie on different devices.
fn same_place(op: &'static str, tensors: &[&Tensor]) -> Result<()> {
    match tensors.iter().find(|tensor| tensor.device() != tensors[0].device()) {
        Some(other) => {
            let message = format!(
                "the operands lie on {} and {}: move one of them",
                tensors[0].device(),
                other.device()
            );
            Err(Error::argument(op, message))
        }
        None => Ok(()),
    }
}

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
