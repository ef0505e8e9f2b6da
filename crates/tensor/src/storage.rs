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

    /// Whether the memory may be changed.
    pub fn is_writable(&self) -> bool {
        match self {
            Storage::Cpu(buffer) => buffer.is_writable(),
        }
    }

    /// How often the memory was changed in place by operations of ours.
    pub fn version(&self) -> u64 {
        match self {
            Storage::Cpu(buffer) => buffer.version(),
        }
    }

    /// Notes a change in place.
    pub fn bump_version(&self) {
        match self {
            Storage::Cpu(buffer) => buffer.bump_version(),
        }
    }

    /// What computes on this memory.
    pub fn backend(&self) -> &'static dyn Backend {
        match self {
            Storage::Cpu(_) => &cpu::Cpu,
        }
    }
}
