//! The memory of tensors, on whatever device it lies.

use std::str::FromStr;
use std::{fmt, ptr};

use crate::profile::{self, Profiled};
use crate::{Backend, Buffer, Error, cpu, cuda};

/// Where memory lies and work is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// The processor and its memory.
    Cpu,
    /// One of NVIDIA's GPUs, by its number.
    Cuda(usize),
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cpu => f.write_str("cpu"),
            Device::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    /// `cpu`, `cuda` (the first) or `cuda:1`; `auto` is the first GPU, or the processor where there is none.
    fn from_str(name: &str) -> Result<Device, Error> {
        match name.split_once(':') {
            None if name == "cpu" => Ok(Device::Cpu),
            None if name == "cuda" => Ok(Device::Cuda(0)),
            None if name == "auto" && cuda::is_available() => Ok(Device::Cuda(0)),
            None if name == "auto" => Ok(Device::Cpu),
            Some(("cpu", "0")) => Ok(Device::Cpu),
            Some(("cuda", index)) if index.parse::<u16>().is_ok_and(|number| number.to_string() == index) => {
                Ok(Device::Cuda(index.parse().unwrap_or_default()))
            }
            _ => Err(Error::UnknownDevice(name.into())),
        }
    }
}

/// A run of memory that tensors share: views of one tensor have one storage.
pub enum Storage {
    /// Bytes that the processor reads.
    Cpu(Buffer),
    /// Bytes of a GPU.
    Cuda(cuda::Memory),
}

impl Storage {
    /// Where the memory lies.
    pub fn device(&self) -> Device {
        match self {
            Storage::Cpu(_) => Device::Cpu,
            Storage::Cuda(memory) => memory.device(),
        }
    }

    /// Whether the memory may be changed.
    pub fn is_writable(&self) -> bool {
        match self {
            Storage::Cpu(buffer) => buffer.is_writable(),
            Storage::Cuda(_) => true,
        }
    }

    /// How often the memory was changed in place by operations of ours.
    pub fn version(&self) -> u64 {
        match self {
            Storage::Cpu(buffer) => buffer.version(),
            Storage::Cuda(memory) => memory.version(),
        }
    }

    /// Notes a change in place.
    pub fn bump_version(&self) {
        match self {
            Storage::Cpu(buffer) => buffer.bump_version(),
            Storage::Cuda(memory) => memory.bump_version(),
        }
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        match self {
            Storage::Cpu(buffer) => buffer.len(),
            Storage::Cuda(memory) => memory.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where it begins in the memory of its device. Only that can read there.
    pub fn as_ptr(&self) -> *const u8 {
        match self {
            Storage::Cpu(buffer) => buffer.as_ptr(),
            Storage::Cuda(memory) => ptr::without_provenance(memory.address() as usize),
        }
    }

    /// Whether both are, or lend, some of the same memory: what NumPy hands back of ours is a storage of its own.
    pub fn overlaps(&self, other: &Storage) -> bool {
        let [one, other_bytes] = [self, other].map(|storage| {
            let start = storage.as_ptr().addr();
            start..start + storage.len()
        });
        self.device() == other.device() && one.start < other_bytes.end && other_bytes.start < one.end
    }

    /// What computes on this memory, and while a [`profile::Profiler`] runs measures that.
    pub fn backend(&self) -> &'static dyn Backend {
        match self {
            Storage::Cpu(_) if profile::is_on() => &Profiled(&cpu::Cpu),
            Storage::Cpu(_) => &cpu::Cpu,
            Storage::Cuda(memory) if profile::is_on() => memory.gpu().profiled(),
            Storage::Cuda(memory) => memory.gpu(),
        }
    }
}
