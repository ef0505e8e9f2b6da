//! Tensors on borrowed memory, their operations, and the CPU kernels underneath.
//!
//! A [`Tensor`] is a [`Layout`] over a [`Storage`]; the memory may be our own, a NumPy array's, or a mapped file's. Operations live
//! in [`ops`], one file each: checks, dispatch and gradient. How gradients are recorded and walked is [`autograd`]. What a device must be
//! able to do is the trait [`Backend`].

mod autocast;
pub mod autograd;
mod backend;
mod buffer;
pub mod cpu;
pub mod cuda;
mod dtype;
mod error;
pub mod interrupt;
mod layout;
mod matrix;
pub mod memory;
pub mod ops;
pub mod pool;
pub mod profile;
mod quant;
mod scalar;
mod storage;
mod team;
mod tensor;
#[cfg(test)]
mod testing;
mod weight;
mod workspace;

pub use autocast::{autocast, set_autocast, with_autocast};
pub use backend::Backend;
pub use buffer::Buffer;
pub use dtype::{DType, Element};
pub use error::{Error, Result};
pub use layout::{Layout, Shape, Strides};
pub use matrix::Matrix;
pub use ops::{
    Activation, Attended, Attention, BinaryOp, CompareOp, Dropout, Generator, Index, Mask, Ragged, ReduceOp,
    UnaryOp,
};
pub use quant::{BlockFormat, Quantized};
pub use scalar::{Operand, Scalar, result_type};
pub use storage::{Device, Storage};
pub use tensor::Tensor;
pub use weight::Weight;
pub use workspace::Workspace;
