//! The operations, one file each: what they compute, their checks, their dispatch, their tests.

mod activation;
mod attention;
mod binary;
mod compare;
mod complex;
mod copy;
mod create;
mod dropout;
mod embedding;
mod extreme;
mod gated;
mod gather;
mod index;
mod join;
mod later;
mod layer_norm;
mod linear;
mod loss;
mod matmul;
mod place;
mod random;
mod reduce;
mod rms_norm;
mod rope;
mod sample;
mod scan;
mod scatter_rows;
mod softmax;
mod sort;
mod statistics;
mod unary;
mod update;
mod views;

pub use activation::Activation;
pub use attention::{
    Attended, Attention, Mask, Places, Ragged, Sequence, StoreForm, store_rows, stored_dim, stored_rows,
    turn_and_store,
};
pub use binary::BinaryOp;
pub use compare::CompareOp;
pub use dropout::Dropout;
pub(crate) use dropout::{BLOCKS as DROPOUT_BLOCKS, GROUP as DROPOUT_GROUP, limit as dropout_limit};
pub use embedding::{Ids, Lookup, embedding};
pub use gated::gated;
pub use index::Index;
pub use join::neighbours;
pub use later::Later;
pub use layer_norm::layer_norm;
pub use linear::{LinearStep, Norm, Then, linear};
pub use loss::Reduction;
pub use random::{Distribution, Generator};
pub use reduce::ReduceOp;
pub use rms_norm::rms_norm;
pub use rope::{Angles, rope, rope_, rope_both_};
pub use sample::Sampling;
pub use unary::UnaryOp;
pub use update::{Change, Kept, Update, update};

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

/// The dtype in which `x`, of floats, goes into kernels as activations: its own, where its device has them for that.
fn activation_dtype(x: &Tensor) -> DType {
    if x.backend().takes(x.dtype()) { x.dtype() } else { DType::F32 }
}

/// What kernels take for `x`: it, or a copy as contiguous activations of `dtype`.
fn activations(x: &Tensor, dtype: DType) -> Result<Tensor> {
    x.detach().to_dtype(dtype)?.contiguous()
}

/// What kernels take for a parameter beside activations.
fn vector(parameter: &Tensor) -> Result<Tensor> {
    activations(parameter, activation_dtype(parameter))
}

/// Refuses tensors that lie on different devices.
fn same_place<'a>(op: &'static str, tensors: impl IntoIterator<Item = &'a Tensor>) -> Result<()> {
    let mut devices = tensors.into_iter().map(Tensor::device);
    let Some(first) = devices.next() else { return Ok(()) };
    match devices.find(|device| *device != first) {
        Some(other) => Err(Error::Devices { op, left: first, right: other }),
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
