//! The CUDA sources as C++, compiled and launched.

use std::collections::hash_map::DefaultHasher;
use std::ffi::{CString, c_char, c_int, c_void};
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use trustformers_tensor::{DType, Tensor};

use crate::geometry::Geometry;

/// Memory of a device, as far as kernels can tell: behind its last byte there is none, and what was not written is NaN.
pub struct Memory {
    map: *mut c_void,
    mapped: usize,
    start: usize,
    bytes: usize,
}

impl Memory {
    pub fn new(bytes: usize) -> Memory {
        const PAGE: usize = 4096;
        // The largest vector that kernels read as one is of 16 bytes.
        let whole = bytes.next_multiple_of(16);
        let pages = whole.next_multiple_of(PAGE);
        let mapped = pages + PAGE;
        // SAFETY: new memory at a place that the system chooses, the last page of which is then closed.
        let map = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let map =
                libc::mmap(std::ptr::null_mut(), mapped, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            assert_ne!(map, libc::MAP_FAILED);
            libc::mprotect(map.add(pages), PAGE, libc::PROT_NONE);
            map
        };
        let memory = Memory { map, mapped, start: map as usize + pages - whole, bytes };
        memory.fill(0xff);
        memory
    }

    fn fill(&self, byte: u8) {
        // SAFETY: ours, and as long.
        unsafe { std::ptr::write_bytes(self.start as *mut u8, byte, self.bytes) }
    }

    pub fn of_bytes(bytes: &[u8]) -> Memory {
        let memory = Memory::new(bytes.len());
        // SAFETY: ours, and as long.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.start as *mut u8, bytes.len()) };
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
        self.start as u64
    }

    /// What is there now.
    pub fn tensor(&self, shape: &[usize], dtype: DType) -> Tensor {
        // SAFETY: ours, and as long.
        let bytes = unsafe { std::slice::from_raw_parts(self.start as *const u8, self.bytes) };
        Tensor::from_bytes(bytes, shape, dtype).unwrap()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped.
        unsafe { libc::munmap(self.map, self.mapped) };
    }
}

/// An argument of a kernel: its bytes.
pub struct Argument(Vec<u8>);

impl From<&Memory> for Argument {
    fn from(memory: &Memory) -> Argument {
        memory.address().into()
    }
}
impl From<Option<&Memory>> for Argument {
    fn from(memory: Option<&Memory>) -> Argument {
        memory.map_or(0, Memory::address).into()
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

/// `Kernel` of kernel.h.
#[repr(C)]
struct Kernel {
    run: unsafe extern "C" fn(*const u32, usize, *const *const u8, c_int),
    sizes: *const usize,
    count: usize,
    threads: usize,
}

/// A file of kernels, compiled for one choice of its macros.
pub struct Module {
    handle: *mut c_void,
    name: String,
    launches: AtomicUsize,
}
// SAFETY: a loaded library; the emulator keeps a state of its own for every thread.
unsafe impl Sync for Module {}
// SAFETY: likewise.
unsafe impl Send for Module {}

impl Module {
    /// `file` without its `.cu`, with macros such as `T=f16`.
    pub fn new(file: &str, macros: &[&str]) -> Module {
        let library = CString::new(built(file, macros).to_str().unwrap()).unwrap();
        // SAFETY: the library is what was built here, and runs nothing when it is opened.
        let handle = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{library:?} does not open");
        Module { handle, name: format!("{file} {}", macros.join(" ")), launches: AtomicUsize::new(0) }
    }

    /// Runs a kernel: forwards and backwards by turns.
    pub fn launch(&self, name: &str, geometry: Geometry, arguments: &[Argument]) {
        let symbol = CString::new(format!("launch_{name}")).unwrap();
        // SAFETY: the library was opened in `new` and is never closed.
        let found = unsafe { libc::dlsym(self.handle, symbol.as_ptr().cast::<c_char>()) };
        assert!(!found.is_null(), "there is no kernel {name} in {}", self.name);
        // SAFETY: all symbols of that name are such descriptions, which live as long as the library.
        let kernel = unsafe { &*found.cast::<Kernel>() };
        let numbers = [geometry.grid, geometry.block].concat();
        let (addresses, sizes): (Vec<_>, Vec<_>) =
            arguments.iter().map(|argument| (argument.0.as_ptr(), argument.0.len())).unzip();
        // SAFETY: so many there are.
        let wanted = unsafe { std::slice::from_raw_parts(kernel.sizes, kernel.count) };
        assert_eq!(wanted, sizes, "{name} of {} takes arguments of other sizes", self.name);
        let threads = geometry.block.iter().product::<u32>() as usize;
        assert!(threads <= kernel.threads, "{name} of {} takes no {threads} threads", self.name);
        let backwards = self.launches.fetch_add(1, Ordering::Relaxed) % 2 == 1;
        // SAFETY: as many arguments as the kernel takes, each as large.
        unsafe {
            (kernel.run)(
                numbers.as_ptr(),
                geometry.shared as usize,
                addresses.as_ptr(),
                c_int::from(backwards),
            );
        }
    }
}

/// Launches `$kernel` of `$module` with arguments of any type that kernels take.
#[macro_export]
macro_rules! launch {
    ($module:expr, $kernel:expr, $geometry:expr, [$($argument:expr),* $(,)?]) => {
        $module.launch($kernel, $geometry, &[$($crate::emulator::Argument::from($argument)),*])
    };
}

/// The library of a module, compiled unless there is one of the same sources.
fn built(file: &str, macros: &[&str]) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (kernels, own) = (root.join("src/cuda/kernels"), root.join("tests/cuda"));
    let mut sources: Vec<PathBuf> =
        fs::read_dir(&kernels).unwrap().map(|entry| entry.unwrap().path()).collect();
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "cuh"));
    sources.extend(["emulator.h", "fibers.h", "kernel.h"].map(|header| own.join(header)));
    sources.push(kernels.join(format!("{file}.cu")));
    sources.sort();
    let mut hasher = DefaultHasher::new();
    macros.hash(&mut hasher);
    sources.iter().for_each(|path| fs::read(path).unwrap().hash(&mut hasher));
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda");
    let library = folder.join(format!("{file}-{:016x}.so", hasher.finish()));
    if library.exists() {
        return library;
    }
    fs::create_dir_all(&folder).unwrap();
    // A name of our own until it is whole: tests run side by side.
    static BUILDS: AtomicUsize = AtomicUsize::new(0);
    let build = BUILDS.fetch_add(1, Ordering::Relaxed);
    let unique = folder.join(format!("{file}-{}-{build}", std::process::id()));
    let source = fs::read_to_string(kernels.join(format!("{file}.cu"))).unwrap();
    let launches: String = source
        .lines()
        .filter_map(|line| line.strip_prefix("KERNEL(")?.split_once(") "))
        .filter_map(|(threads, rest)| Some(format!("LAUNCH({}, {threads})\n", rest.split_once('(')?.0)))
        .collect();
    let unit = unique.with_extension("cpp");
    fs::write(&unit, format!("#include \"{file}.cu\"\n{launches}")).unwrap();
    let compiler = std::env::var("CXX").unwrap_or("c++".into());
    let said = Command::new(&compiler)
        .args(["-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing"])
        .args(["-DEMULATED", "-w"])
        .args(macros.iter().map(|name| format!("-D{name}")))
        .args([&kernels, &own].map(|path| format!("-I{}", path.display())))
        .args([unit.as_os_str(), "-o".as_ref(), unique.as_os_str()])
        .output();
    let said = said.unwrap_or_else(|error| panic!("the tests of the CUDA kernels need {compiler}: {error}"));
    assert!(said.status.success(), "{file} {macros:?}: {}", String::from_utf8_lossy(&said.stderr));
    fs::rename(&unique, &library).unwrap();
    fs::remove_file(unit).unwrap();
    library
}
