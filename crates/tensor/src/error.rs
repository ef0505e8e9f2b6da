//! What can go wrong with a tensor: the operation in brackets, the rule, the offending value.

use crate::{DType, Device};

/// The result of an operation on tensors.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation that cannot be done. Python raises the exception named with each variant.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// Two shapes do not fit each other (`ValueError`).
    #[error("[{op}] {rule}, got {left:?} and {right:?}")]
    Shapes {
        /// The operation.
        op: &'static str,
        /// What must hold.
        rule: &'static str,
        /// The left operand's shape.
        left: Vec<usize>,
        /// The right operand's shape.
        right: Vec<usize>,
    },
    /// An argument has a value that the operation cannot take (`ValueError`).
    #[error("[{op}] {message}")]
    Argument {
        /// The operation.
        op: &'static str,
        /// The rule and the value.
        message: String,
    },
    /// A dtype that the operation does not know (`TypeError`).
    #[error("[{op}] {rule}, got {dtype}")]
    DType {
        /// The operation.
        op: &'static str,
        /// What must hold.
        rule: &'static str,
        /// The dtype given.
        dtype: DType,
    },
    /// Two dtypes that do not fit each other (`TypeError`).
    #[error("[{op}] {rule}, got {left} and {right}")]
    DTypes {
        /// The operation.
        op: &'static str,
        /// What must hold.
        rule: &'static str,
        /// The left operand's dtype.
        left: DType,
        /// The right operand's dtype, or that of the result.
        right: DType,
    },
    /// A name that is no dtype (`TypeError`).
    #[error("'{0}' is not a dtype: use one such as 'float32', 'bfloat16' or 'int64'")]
    UnknownDType(String),
    /// An index outside the dimension that it indexes (`IndexError`).
    #[error("[{op}] index {index} is out of range: {what} has size {size}")]
    Index {
        /// The operation.
        op: &'static str,
        /// What is indexed.
        what: &'static str,
        /// The index given.
        index: i64,
        /// The size of the dimension.
        size: usize,
    },
    /// Memory that could not be had (`MemoryError`).
    #[error("could not allocate {bytes} bytes: free memory, or use smaller batches")]
    OutOfMemory {
        /// The size asked for.
        bytes: usize,
    },
    /// Memory of a device that could not be had, although all that lay idle was given back (`torch.OutOfMemoryError`'s like).
    #[error(
        "out of memory on {device}: tried to allocate {bytes} bytes; {allocated} are held by tensors, {free} of {total} are free: use smaller \
         batches, a shorter text, a smaller dtype, or device_map=\"auto\""
    )]
    OutOfDeviceMemory {
        /// The device.
        device: Device,
        /// The size asked for.
        bytes: usize,
        /// What tensors hold there.
        allocated: usize,
        /// What nobody holds, other programs included.
        free: usize,
        /// What there is.
        total: usize,
    },
    /// A device that is not there, is of no use any more, or lacks a library (`RuntimeError`).
    #[error("{0}")]
    Device(String),
    /// Operands that lie on different devices (`RuntimeError`).
    #[error(
        "[{op}] all tensors must be on the same device, got {left} and {right}: move one of them with to(device)"
    )]
    Devices {
        /// The operation.
        op: &'static str,
        /// Where the first operand lies.
        left: Device,
        /// Where another one lies.
        right: Device,
    },
    /// A name that is no device (`RuntimeError`).
    #[error("'{0}' is not a device: use 'cpu', 'cuda', 'cuda:1' or 'auto'")]
    UnknownDevice(String),
    /// A gradient that cannot be computed, or a change that would spoil one (`RuntimeError`).
    #[error("[{op}] {rule}")]
    Graph {
        /// The operation.
        op: &'static str,
        /// What must hold.
        rule: &'static str,
    },
    /// A tensor needed for a gradient was changed in place after it was used (`RuntimeError`).
    #[error(
        "[{op}] a tensor needed for the gradient has been modified by an in-place operation: the {dtype} {shape:?} is at version \
         {version}, expected {expected}; clone it before changing it"
    )]
    Modified {
        /// The operation that had saved it.
        op: &'static str,
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The tensor's dtype.
        dtype: DType,
        /// The version of its memory now.
        version: u64,
        /// The version when it was used.
        expected: u64,
    },
    /// A function outside this crate, called for a gradient, has failed (`RuntimeError`, or what it raised itself).
    #[error("[{op}] {message}")]
    External {
        /// The operation.
        op: &'static str,
        /// What the function said.
        message: String,
    },
    /// The caller asked to stop, see [`crate::interrupt`] (what its signal's handler has raised, `KeyboardInterrupt`).
    #[error("interrupted")]
    Interrupted,
    /// The thread pool could not be started (`RuntimeError`).
    #[error("could not start {threads} threads ({reason}): set TRUSTFORMERS_NUM_THREADS to a smaller number")]
    Threads {
        /// The number of threads asked for.
        threads: usize,
        /// The system's reason.
        reason: String,
    },
}

impl Error {
    /// An [`Error::Argument`] of `op`.
    pub fn argument(op: &'static str, message: impl Into<String>) -> Error {
        Error::Argument { op, message: message.into() }
    }
}
