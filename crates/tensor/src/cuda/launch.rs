//! A launch: a kernel, its geometry and its arguments, put on the stream of a device.

use std::ffi::c_void;
use std::ptr;

use cudarc::driver::sys;
use smallvec::SmallVec;

use super::early;
use super::geometry::Geometry;
use super::gpu::Gpu;
use crate::{Result, Tensor};

/// An argument of a kernel: the bytes of a number, of an address, or of a struct of them.
pub(super) struct Argument(SmallVec<[u64; 2]>);

impl Argument {
    /// The bytes of `value`, a plain number or a `repr(C)` struct of such.
    pub(super) fn of<T: Copy>(value: T) -> Argument {
        const { assert!(align_of::<T>() <= align_of::<u64>()) }
        let mut words: SmallVec<[u64; 2]> = SmallVec::from_elem(0, size_of::<T>().div_ceil(size_of::<u64>()));
        // SAFETY: there is room for as many bytes, suitably aligned.
        unsafe { words.as_mut_ptr().cast::<T>().write(value) };
        Argument(words)
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl From<$type> for Argument {
            fn from(value: $type) -> Argument { Argument::of(value) }
        }
    )*};
}
numbers! { u64, i64, u32, i32, f32, f64 }

/// Where its first element lies.
impl From<&Tensor> for Argument {
    fn from(tensor: &Tensor) -> Argument {
        Argument::of(tensor.as_ptr() as u64)
    }
}

/// Null where there is none.
impl From<Option<&Tensor>> for Argument {
    fn from(tensor: Option<&Tensor>) -> Argument {
        Argument::of(tensor.map_or(0, |tensor| tensor.as_ptr() as u64))
    }
}

/// What is launched: a file of kernels, the choice of its macros, and the kernel.
#[derive(Clone, Copy)]
pub(super) struct Kernel<'a> {
    pub(super) file: &'static str,
    pub(super) macros: &'a str,
    pub(super) name: &'static str,
}

impl Gpu {
    /// Puts a launch on the stream. Tensors among the arguments must stay until it is there, and no longer: their memory is reused in the order
    /// of the stream.
    pub(super) fn launch(&self, kernel: Kernel, geometry: Geometry, arguments: &[Argument]) -> Result<()> {
        let _bound = self.bind()?;
        let module = self.modules.get(self, kernel.file, kernel.macros)?;
        let function = module.function(self, kernel.name, geometry.shared)?;
        let mut places: SmallVec<[*mut c_void; 24]> =
            arguments.iter().map(|argument| argument.0.as_ptr().cast_mut().cast()).collect();
        let Geometry { grid, block, shared } = geometry;
        let mut early = early::attribute();
        let config = sys::CUlaunchConfig {
            gridDimX: grid[0],
            gridDimY: grid[1],
            gridDimZ: grid[2],
            blockDimX: block[0],
            blockDimY: block[1],
            blockDimZ: block[2],
            sharedMemBytes: shared,
            hStream: self.stream(),
            attrs: &mut early,
            numAttrs: u32::from(function.comes_early),
        };
        // SAFETY: the function is alive; the arguments are those that the kernel declares, which its caller here has beside it and tests
        // compare; they are copied before this returns, and so is what is said of the launch.
        unsafe {
            sys::cuLaunchKernelEx(&config, function.handle.0, places.as_mut_ptr(), ptr::null_mut()).result()
        }
        .map_err(|error| self.failed(&format!("the kernel {}", kernel.name), error))
    }
}

/// Launches `name` of `file` with `macros` on a device, with arguments of any type that kernels take.
macro_rules! launch {
    ($gpu:expr, $file:literal, $macros:expr, $name:literal, $geometry:expr, [$($argument:expr),* $(,)?]) => {
        $gpu.launch(
            $crate::cuda::launch::Kernel { file: $file, macros: $macros, name: $name },
            $geometry,
            &[$($crate::cuda::launch::Argument::from($argument)),*],
        )
    };
}
pub(super) use launch;
