//! Memory and kernels of a device, emulated or not.

use std::ffi::{CString, c_int};
use std::fs;
use std::sync::Once;

use trustformers_tensor::{DType, Tensor};

use crate::cu;
use crate::cuda::{self, Handle};
use crate::geometry::Geometry;

/// Memory of a device. That of the emulated one ends where nobody may read, and is NaN where it was not written.
pub struct Memory {
    address: u64,
    bytes: usize,
}

impl Memory {
    pub fn new(bytes: usize) -> Memory {
        static ALIGNED: Once = Once::new();
        ALIGNED.call_once(|| {
            let align = cuda::symbol("libcuda.so.1", "emulated_cuda_align");
            if !align.is_null() {
                // SAFETY: as work.h declares it. The largest vector that kernels read as one is of 16 bytes.
                unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn(usize)>(align)(16) };
            }
        });
        cuda::bind();
        let mut address = 0;
        // CUDA gives no memory of no bytes.
        cu!(cuMemAlloc_v2(&mut address, bytes.max(1)); cuMemsetD8_v2(address, 0xff, bytes));
        Memory { address, bytes }
    }

    pub fn of_bytes(bytes: &[u8]) -> Memory {
        let memory = Memory::new(bytes.len());
        cu!(cuMemcpyHtoD_v2(memory.address, bytes.as_ptr().cast(), bytes.len()));
        memory
    }

    /// The elements of `x` in order.
    pub fn of(x: &Tensor) -> Memory {
        Memory::of_bytes(&x.contiguous().unwrap().to_bytes().unwrap())
    }

    pub fn of_slice<T: Copy>(values: &[T]) -> Memory {
        // SAFETY: plain numbers, or structs of them without gaps.
        Memory::of_bytes(unsafe {
            std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values))
        })
    }

    pub fn address(&self) -> u64 {
        self.address
    }

    /// What is there now.
    pub fn tensor(&self, shape: &[usize], dtype: DType) -> Tensor {
        let mut bytes = vec![0u8; self.bytes];
        cuda::bind();
        cu!(cuMemcpyDtoH_v2(bytes.as_mut_ptr().cast(), self.address, self.bytes));
        Tensor::from_bytes(&bytes, shape, dtype).unwrap()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        cu!(cuMemFree_v2(self.address));
    }
}

/// An argument of a kernel: its bytes.
pub struct Argument(Vec<u8>);

impl From<&Memory> for Argument {
    fn from(memory: &Memory) -> Argument {
        memory.address.into()
    }
}
impl From<Option<&Memory>> for Argument {
    fn from(memory: Option<&Memory>) -> Argument {
        memory.map_or(0, |memory| memory.address).into()
    }
}
macro_rules! arguments {
    ($($type:ty),*) => {$(
        impl From<$type> for Argument {
            fn from(value: $type) -> Argument {
                Argument(value.to_le_bytes().to_vec())
            }
        }
    )*};
}
arguments!(i32, u32, i64, u64, f32, f64);

impl Argument {
    /// A struct that was put together by hand.
    pub fn of_bytes(bytes: Vec<u8>) -> Argument {
        Argument(bytes)
    }

    /// A number as `dtype`.
    pub fn of_number(dtype: DType, value: f64) -> Argument {
        match dtype {
            DType::F32 => (value as f32).into(),
            DType::F64 => value.into(),
            DType::U64 => (value as u64).into(),
            _ => (value as i64).into(),
        }
    }

    /// A struct of plain numbers without gaps.
    pub fn of<T: Copy>(value: T) -> Argument {
        // SAFETY: as this says.
        Argument(unsafe {
            std::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<T>()).to_vec()
        })
    }
}

/// A file of kernels, compiled for one choice of its macros.
pub struct Module {
    handle: Handle,
    name: String,
}
// SAFETY: CUDA's objects belong to no thread.
unsafe impl Sync for Module {}
// SAFETY: likewise.
unsafe impl Send for Module {}

impl Module {
    /// `file` without its `.cu`, with macros such as `T=f16`.
    pub fn new(file: &str, macros: &[&str]) -> Module {
        cuda::bind();
        let kernels = cuda::sources().join("src/cuda/kernels");
        let mut headers: Vec<(String, String)> = fs::read_dir(&kernels)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "cuh"))
            .map(|path| {
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        headers.sort();
        let name = format!("{file}.cu");
        let source = fs::read_to_string(kernels.join(&name)).unwrap();
        let options: Vec<String> = macros.iter().map(|name| format!("-D{name}")).collect();
        let name = format!("{file} {}", macros.join(" "));
        let image = cuda::compile(&format!("{file}.cu"), &source, &headers, &options)
            .unwrap_or_else(|said| panic!("{name}: {said}"));
        let mut handle = std::ptr::null_mut();
        cu!(cuModuleLoadData(&mut handle, image.as_ptr().cast()));
        Module { handle, name }
    }

    /// Runs a kernel; the emulator runs each forwards and backwards by turns.
    pub fn launch(&self, kernel: &str, geometry: Geometry, arguments: &[Argument]) {
        cuda::bind();
        let symbol = CString::new(kernel).unwrap();
        let mut function = std::ptr::null_mut();
        cu!(cuModuleGetFunction(&mut function, self.handle, symbol.as_ptr()));
        let sizes: Vec<usize> = arguments.iter().map(|argument| argument.0.len()).collect();
        assert_eq!(sizes_of(function), sizes, "{kernel} of {} takes arguments of other sizes", self.name);
        // What there is without being asked for.
        if geometry.shared > 48 << 10 {
            cu!(cuFuncSetAttribute(function, 8, geometry.shared as c_int));
        }
        let addresses: Vec<_> = arguments.iter().map(|argument| argument.0.as_ptr().cast()).collect();
        let ([grid_x, grid_y, grid_z], [x, y, z]) = (geometry.grid, geometry.block);
        let stream = std::ptr::null_mut();
        cu!(cuLaunchKernel(
            function,
            grid_x,
            grid_y,
            grid_z,
            x,
            y,
            z,
            geometry.shared,
            stream,
            addresses.as_ptr(),
            std::ptr::null()
        ));
        cu!(cuStreamSynchronize(stream));
    }
}

/// The bytes of each argument that a kernel takes.
fn sizes_of(function: Handle) -> Vec<usize> {
    let mut sizes = Vec::new();
    let (mut offset, mut size) = (0, 0);
    // SAFETY: a function; it fails for an argument that there is not.
    while unsafe { cuda::cuFuncGetParamInfo(function, sizes.len(), &mut offset, &mut size) } == 0 {
        sizes.push(size);
    }
    sizes
}

/// Launches `$kernel` of `$module` with arguments of any type that kernels take.
#[macro_export]
macro_rules! launch {
    ($module:expr, $kernel:expr, $geometry:expr, [$($argument:expr),* $(,)?]) => {
        $module.launch($kernel, $geometry, &[$($crate::device::Argument::from($argument)),*])
    };
}
