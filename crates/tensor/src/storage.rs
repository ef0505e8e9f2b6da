//! The memory of tensors, on whatever device it lies.

use std::fmt;

use crate::{Backend, Buffer, cpu};

/// Where memory lies and work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor and its memory.
    Cpu,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
        }
    }
}

/// A run of memory that tensors share: views of one tensor have one storage.
pub enum Storage {
    /// Bytes that the processor reads.
    Cpu(Buffer),
}

impl Storage {
    /// Where the memory lies.
    pub fn device(&self) -> Device {
        match self {
            Storage::Cpu(_) => Device::Cpu,
        }
    }

    /// What computes on this memory.
    pub fn backend(&self) -> &'static dyn Backend {
        match self {
            Storage::Cpu(_) => &cpu::Cpu,
        }
    }
}
