//! That the emulated CUDA keeps what CUDA promises, and no more. Each test has a process of its own, since a driver reads its settings once, and is
//! gone after some errors.

use std::ffi::{CString, c_int, c_void};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::ptr::{null, null_mut};

use crate::cu;
use crate::cuda::{self, Handle, attribute, bind, compile};

const LAZY: (&str, &str) = ("EMULATED_CUDA_ORDER", "lazy");
const NON_BLOCKING: u32 = 1;

/// In the process of a test, by its path, whether this is one that was started for it alone. Otherwise starts one, which must pass or, where there are
/// `last_words`, die after them.
pub fn is_alone(test: &str, settings: &[(&str, &str)], last_words: Option<&str>) -> bool {
    const MARK: &str = "TRUSTFORMERS_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    // What a GPU does is not asked here.
    if cuda::is_real() {
        return false;
    }
    // Or all processes would build them at once.
    cuda::emulated();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let said = command
        .args(["--exact", test, "--nocapture"])
        .env(MARK, "1")
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
    if let Some(last_words) = last_words {
        let is_dead = matches!(said.status.signal(), Some(libc::SIGSEGV | libc::SIGABRT));
        assert!(is_dead && text.contains(last_words), "{text}");
    } else {
        assert!(said.status.success() && text.contains("1 passed"), "{text}");
    }
    false
}

/// Asserts what a function answers.
macro_rules! answers {
    ($answer:expr, $function:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: CUDA must refuse what it cannot do.
        assert_eq!(unsafe { cuda::$function($($argument),*) }, $answer, stringify!($function))
    };
}

mod captures;
mod early;
mod memory;
mod refusals;
mod streams;

fn counter(name: &str) -> u64 {
    let name = CString::new(name).unwrap();
    // SAFETY: as work.h declares it.
    unsafe {
        let function = cuda::symbol("libcuda.so.1", "emulated_cuda_counter");
        std::mem::transmute::<*mut c_void, extern "C" fn(*const i8) -> u64>(function)(name.as_ptr().cast())
    }
}

fn stream(flags: u32) -> Handle {
    bind();
    let mut stream = null_mut();
    cu!(cuStreamCreate(&mut stream, flags));
    stream
}

fn event() -> Handle {
    let mut event = null_mut();
    cu!(cuEventCreate(&mut event, 2));
    event
}

fn allocate(floats: usize) -> u64 {
    bind();
    let mut address = 0;
    cu!(cuMemAlloc_v2(&mut address, 4 * floats));
    address
}

/// Memory that devices read themselves.
fn pinned(floats: usize) -> &'static mut [f32] {
    bind();
    let mut host = null_mut();
    cu!(cuMemHostAlloc(&mut host, 4 * floats, 0));
    // SAFETY: so large, and never freed.
    unsafe { std::slice::from_raw_parts_mut(host.cast(), floats) }
}

fn read(address: u64, floats: usize) -> Vec<f32> {
    let mut out = vec![0.0; floats];
    cu!(cuMemcpyDtoH_v2(out.as_mut_ptr().cast(), address, 4 * floats));
    out
}

const ADD: &str = "
extern \"C\" __global__ void __launch_bounds__(256) add(float* out, float x, int n) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) out[i] += x;
}";

/// `add`, which adds a number to floats.
fn add() -> Handle {
    add_of(ADD)
}

/// The same of another source.
fn add_of(source: &str) -> Handle {
    bind();
    let image = compile("add.cu", source, &[], &[]).unwrap();
    let (mut module, mut function) = (null_mut(), null_mut());
    cu!(cuModuleLoadData(&mut module, image.as_ptr().cast()));
    cu!(cuModuleGetFunction(&mut function, module, c"add".as_ptr()));
    function
}

fn launch(function: Handle, to: u64, x: f32, n: i32, stream: Handle) -> c_int {
    launch_as(([1, 1, 1], 64, 0), function, to, x, n, stream)
}

/// Blocks, threads of a block in x, and bytes of shared memory.
type Shape = ([u32; 3], u32, u32);

fn launch_as(
    (grid, block, shared): Shape,
    function: Handle,
    to: u64,
    x: f32,
    n: i32,
    stream: Handle,
) -> c_int {
    let arguments = [(&raw const to).cast(), (&raw const x).cast(), (&raw const n).cast::<c_void>()];
    // SAFETY: what `add` takes; the numbers are copied before this returns.
    unsafe {
        cuda::cuLaunchKernel(
            function,
            grid[0],
            grid[1],
            grid[2],
            block,
            1,
            1,
            shared,
            stream,
            arguments.as_ptr(),
            null(),
        )
    }
}
