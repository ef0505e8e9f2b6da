//! CUDA as programs find it: functions of shared libraries. The libraries are the emulated ones, or, where `TRUSTFORMERS_TEST_GPU` is set, those of
//! the machine.

#![allow(non_snake_case)]

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Whether the tests run on a GPU.
pub fn is_real() -> bool {
    std::env::var_os("TRUSTFORMERS_TEST_GPU").is_some()
}

/// The folder of this crate, as Cargo says when it runs tests, and otherwise whoever has brought them to another machine.
pub fn sources() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from)
}

/// Folders of the machine's libraries and headers that are not on the system's paths.
fn folders() -> Vec<PathBuf> {
    let named = std::env::var_os("TRUSTFORMERS_CUDA_PATH").unwrap_or_default();
    let home = std::env::var_os("CUDA_HOME").unwrap_or("/usr/local/cuda".into());
    let toolkit = ["lib64", "include"].map(|folder| Path::new(&home).join(folder));
    std::env::split_paths(&named).chain(toolkit).filter(|folder| folder.is_dir()).collect()
}

/// The folder of the emulated libraries, which are built if need be.
pub fn emulated() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated-cuda");
        let sources = sources().join("tests/cuda/emulated");
        let said = Command::new("make")
            .args(["--silent", "-j4", "-C"])
            .arg(sources)
            .arg(format!("OUT={}", folder.display()))
            // A make that runs the tests has its own.
            .env_remove("MAKEFLAGS")
            .output()
            .unwrap_or_else(|error| panic!("the tests of CUDA need make: {error}"));
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        folder
    })
}

/// Where a library may be: of the machine's, CUDA 13's does where there is none of 12.
fn places(library: &str) -> Vec<PathBuf> {
    if !is_real() {
        return vec![emulated().join(library)];
    }
    let versions = [library.into(), library.replace(".so.12", ".so.13")];
    let within = |file: &String| folders().iter().map(|folder| folder.join(file)).collect::<Vec<_>>();
    versions.iter().flat_map(|file| [within(file), vec![file.into()]].concat()).collect()
}

/// An address in one of the libraries; null where it has none of that name.
pub fn symbol(library: &str, name: &str) -> *mut c_void {
    let name = CString::new(name).unwrap();
    // SAFETY: libraries of CUDA's, or ours under its names, which run nothing when they are opened.
    let open = |place: PathBuf| unsafe {
        let place = CString::new(place.to_str().unwrap()).unwrap();
        let handle = libc::dlopen(place.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        (!handle.is_null()).then_some(handle)
    };
    let handle = places(library).into_iter().find_map(open);
    // SAFETY: what was just opened, or what went wrong last.
    unsafe {
        let handle =
            handle.unwrap_or_else(|| panic!("{}", CStr::from_ptr(libc::dlerror()).to_string_lossy()));
        libc::dlsym(handle, name.as_ptr())
    }
}

macro_rules! functions {
    ($($library:literal { $($name:ident($($argument:ident: $type:ty),*);)* })*) => {$($(
        /// CUDA's function of that name.
        #[allow(clippy::too_many_arguments)]
        pub unsafe fn $name($($argument: $type),*) -> c_int {
            static FOUND: OnceLock<usize> = OnceLock::new();
            let found = *FOUND.get_or_init(|| symbol($library, stringify!($name)) as usize);
            assert!(found != 0, "there is no {}", stringify!($name));
            // SAFETY: this is how CUDA declares it; what its arguments must be, the caller knows.
            unsafe {
                let function: unsafe extern "C" fn($($type),*) -> c_int = std::mem::transmute(found);
                function($($argument),*)
            }
        }
    )*)*};
}

/// Objects of CUDA's, which only it looks into.
pub type Handle = *mut c_void;

/// What a launch is told besides its arguments.
#[repr(C)]
pub struct LaunchConfig {
    pub grid: [c_uint; 3],
    pub block: [c_uint; 3],
    pub shared: c_uint,
    pub stream: Handle,
    pub attributes: *const LaunchAttribute,
    pub count: c_uint,
}

/// One of its attributes, by CUDA's number, whose value is a number.
#[repr(C)]
pub struct LaunchAttribute {
    pub id: c_int,
    pub pad: c_int,
    pub value: c_int,
    pub rest: [c_int; 15],
}

functions! {
    "libcuda.so.1" {
        cuInit(flags: c_uint);
        cuDeviceGetCount(count: &mut c_int);
        cuDeviceGetAttribute(value: &mut c_int, attribute: c_int, device: c_int);
        cuDevicePrimaryCtxRetain(context: &mut Handle, device: c_int);
        cuDevicePrimaryCtxRelease_v2(device: c_int);
        cuCtxGetCurrent(context: &mut Handle);
        cuCtxEnablePeerAccess(peer: Handle, flags: c_uint);
        cuCtxSetCurrent(context: Handle);
        cuCtxSynchronize();
        cuMemGetInfo_v2(available: &mut usize, total: &mut usize);
        cuMemAlloc_v2(address: &mut u64, bytes: usize);
        cuMemAllocAsync(address: &mut u64, bytes: usize, stream: Handle);
        cuMemFree_v2(address: u64);
        cuMemFreeAsync(address: u64, stream: Handle);
        cuMemHostAlloc(host: &mut *mut c_void, bytes: usize, flags: c_uint);
        cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize);
        cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: Handle);
        cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize);
        cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: Handle);
        cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: Handle);
        cuMemcpyPeerAsync(to: u64, to_context: Handle, from: u64, from_context: Handle, bytes: usize, stream: Handle);
        cuMemsetD8_v2(to: u64, value: u8, count: usize);
        cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: Handle);
        cuStreamCreate(stream: &mut Handle, flags: c_uint);
        cuStreamDestroy_v2(stream: Handle);
        cuStreamSynchronize(stream: Handle);
        cuStreamQuery(stream: Handle);
        cuStreamWaitEvent(stream: Handle, event: Handle, flags: c_uint);
        cuStreamBeginCapture_v2(stream: Handle, mode: c_int);
        cuStreamEndCapture(stream: Handle, graph: &mut Handle);
        cuEventCreate(event: &mut Handle, flags: c_uint);
        cuEventRecord(event: Handle, stream: Handle);
        cuEventQuery(event: Handle);
        cuEventSynchronize(event: Handle);
        cuGraphInstantiateWithFlags(exec: &mut Handle, graph: Handle, flags: u64);
        cuGraphGetNodes(graph: Handle, nodes: *mut Handle, count: &mut usize);
        cuGraphLaunch(exec: Handle, stream: Handle);
        cuGraphExecUpdate_v2(exec: Handle, graph: Handle, result: &mut [u64; 3]);
        cuGraphDestroy(graph: Handle);
        cuGraphExecDestroy(exec: Handle);
        cuModuleLoadData(module: &mut Handle, image: *const c_void);
        cuModuleUnload(module: Handle);
        cuModuleGetFunction(function: &mut Handle, module: Handle, name: *const c_char);
        cuFuncSetAttribute(function: Handle, attribute: c_int, value: c_int);
        cuFuncGetParamInfo(function: Handle, index: usize, offset: &mut usize, size: &mut usize);
        cuLaunchKernel(
            function: Handle, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint, block_z: c_uint,
            shared: c_uint, stream: Handle, arguments: *const *const c_void, extra: *const *const c_void
        );
        cuLaunchKernelEx(config: &LaunchConfig, function: Handle, arguments: *const *const c_void, extra: *const *const c_void);
    }
    "libnvrtc.so.12" {
        nvrtcCreateProgram(
            program: &mut Handle, source: *const c_char, name: *const c_char, count: c_int, headers: *const *const c_char,
            names: *const *const c_char
        );
        nvrtcCompileProgram(program: Handle, count: c_int, options: *const *const c_char);
        nvrtcGetProgramLogSize(program: Handle, size: &mut usize);
        nvrtcGetProgramLog(program: Handle, log: *mut u8);
        nvrtcGetCUBINSize(program: Handle, size: &mut usize);
        nvrtcGetCUBIN(program: Handle, cubin: *mut u8);
        nvrtcGetPTXSize(program: Handle, size: &mut usize);
        nvrtcGetPTX(program: Handle, ptx: *mut u8);
        nvrtcDestroyProgram(program: &mut Handle);
    }
    "libcublasLt.so.12" {
        cublasLtCreate(handle: &mut Handle);
        cublasLtDestroy(handle: Handle);
        cublasLtMatmulDescCreate(of: &mut Handle, compute: c_int, scale: c_int);
        cublasLtMatmulDescSetAttribute(of: Handle, attribute: c_int, from: *const c_void, bytes: usize);
        cublasLtMatmulDescDestroy(of: Handle);
        cublasLtMatrixLayoutCreate(of: &mut Handle, dtype: c_int, rows: u64, columns: u64, apart: i64);
        cublasLtMatrixLayoutSetAttribute(of: Handle, attribute: c_int, from: *const c_void, bytes: usize);
        cublasLtMatrixLayoutDestroy(of: Handle);
        cublasLtMatmul(
            handle: Handle, of: Handle, alpha: *const c_void, a: u64, a_layout: Handle, b: u64, b_layout: Handle, beta: *const c_void, c: u64,
            c_layout: Handle, d: u64, d_layout: Handle, algorithm: *const c_void, workspace: u64, workspace_bytes: usize, stream: Handle
        );
    }
}

/// Calls functions, which must all succeed.
#[macro_export]
macro_rules! cu {
    ($($function:ident($($argument:expr),* $(,)?));+ $(;)?) => {$(
        // SAFETY: the tests pass what CUDA asks for, or what it must refuse.
        assert_eq!(unsafe { $crate::cuda::$function($($argument),*) }, 0, stringify!($function));
    )+};
}

/// Makes the first device current on this thread.
pub fn bind() {
    static CONTEXT: OnceLock<usize> = OnceLock::new();
    let context = *CONTEXT.get_or_init(|| {
        let mut context = std::ptr::null_mut();
        cu!(cuInit(0); cuDevicePrimaryCtxRetain(&mut context, 0));
        context as usize
    });
    cu!(cuCtxSetCurrent(context as Handle));
}

/// A number of a device, such as its capability, by CUDA's number for it.
pub fn attribute(of: c_int) -> c_int {
    let mut value = 0;
    cu!(cuDeviceGetAttribute(&mut value, of, 0));
    value
}

/// Compiles for the device that there is: its binary, or what the compiler says.
pub fn compile(
    name: &str,
    source: &str,
    headers: &[(String, String)],
    options: &[String],
) -> Result<Vec<u8>, String> {
    let text = |text: &str| CString::new(text).unwrap();
    let (name, source) = (text(name), text(source));
    let names: Vec<CString> = headers.iter().map(|(name, _)| text(name)).collect();
    let headers: Vec<CString> = headers.iter().map(|(_, header)| text(header)).collect();
    let mut options: Vec<CString> = options.iter().map(|option| text(option)).collect();
    options.push(text(&format!("--gpu-architecture=sm_{}{}", attribute(75), attribute(76))));
    options.push(text("--std=c++17"));
    if is_real() {
        options.extend(folders().iter().map(|folder| text(&format!("-I{}", folder.display()))));
    }
    let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).collect::<Vec<_>>();
    let (names, headers, options) = (pointers(&names), pointers(&headers), pointers(&options));
    let mut program = std::ptr::null_mut();
    cu!(nvrtcCreateProgram(
        &mut program,
        source.as_ptr(),
        name.as_ptr(),
        names.len() as c_int,
        headers.as_ptr(),
        names.as_ptr()
    ));
    // SAFETY: a program, and as many options.
    let compiled = unsafe { nvrtcCompileProgram(program, options.len() as c_int, options.as_ptr()) };
    let mut size = 0;
    let out = if compiled == 0 {
        cu!(nvrtcGetCUBINSize(program, &mut size));
        let mut out = vec![0; size];
        cu!(nvrtcGetCUBIN(program, out.as_mut_ptr()));
        Ok(out)
    } else {
        cu!(nvrtcGetProgramLogSize(program, &mut size));
        let mut out = vec![0; size];
        cu!(nvrtcGetProgramLog(program, out.as_mut_ptr()));
        Err(format!("{compiled}: {}", String::from_utf8_lossy(&out)))
    };
    cu!(nvrtcDestroyProgram(&mut program));
    out
}
