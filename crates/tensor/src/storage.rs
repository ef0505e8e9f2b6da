//! The memory of tensors, on whatever device it lies.

use std::fmt;

use crate::profile::{self, Profiled};
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

    /// Whether both are, or lend, some of the same memory: what NumPy hands back of ours is a storage of its own.
    pub fn overlaps(&self, other: &Storage) -> bool {
        match (self, other) {
            (Storage::Cpu(one), Storage::Cpu(other)) => {
                let [one, other] =
                    [one, other].map(|buffer| buffer.as_ptr().addr()..buffer.as_ptr().addr() + buffer.len());
                one.start < other.end && other.start < one.end
            }
        }
    }

    /// What computes on this memory, and while a [`profile::Profiler`] runs measures that.
    pub fn backend(&self) -> &'static dyn Backend {
        match self {
            Storage::Cpu(_) if profile::is_on() => &Profiled(cpu::Cpu),
            Storage::Cpu(_) => &cpu::Cpu,
        }
    }
}
