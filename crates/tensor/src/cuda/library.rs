//! Where CUDA's libraries are: on the system's paths, in NVIDIA's wheels, in a toolkit, beside an installed torch.
//!
//! They are asked for by name, which finds what is on the system's paths and what is open already. So what lies elsewhere is opened here
//! first, by its path.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use cudarc::{cublaslt, driver, nvrtc};

use crate::{Error, Result};

/// Folders that were named by the caller.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Has the libraries of CUDA, and the headers that its compiler needs, looked for in `folders`, in this order. For whoever knows where they
/// were installed, before a device is used first. Those in the variable `TRUSTFORMERS_CUDA_PATH` come before them, and `CUDA_HOME` and
/// `/usr/local/cuda` behind.
pub fn look_in(folders: Vec<PathBuf>) {
    *FOLDERS.lock().unwrap_or_else(PoisonError::into_inner) = folders;
}

fn folders() -> Vec<PathBuf> {
    let named = env::var_os("TRUSTFORMERS_CUDA_PATH").unwrap_or_default();
    let mut all: Vec<PathBuf> =
        env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    all.extend(FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).clone());
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os).map(PathBuf::from);
    for toolkit in toolkits.chain([PathBuf::from("/usr/local/cuda")]) {
        all.extend(["lib64", "lib", "bin", "include"].map(|folder| toolkit.join(folder)));
    }
    all
}

/// Folders with the headers of floats of 16 bits and of matrix units.
pub(super) fn headers() -> Vec<PathBuf> {
    let has_any =
        |folder: &PathBuf| ["cuda_fp16.h", "crt/mma.h"].iter().any(|name| folder.join(name).is_file());
    folders().into_iter().filter(has_any).collect()
}

/// The driver, which comes with the system's and is nowhere else.
pub(super) fn driver() -> Result<()> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    // SAFETY: opens a library that has no other initialisation than its own.
    let found = *FOUND.get_or_init(|| unsafe { driver::sys::is_culib_present() });
    let message = "there is no CUDA driver on this machine: install NVIDIA's, or use device=\"cpu\"";
    if found { Ok(()) } else { Err(Error::Device(message.into())) }
}

/// The compiler of kernels.
pub(super) fn compiler() -> Result<()> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    // SAFETY: opens a library that has no other initialisation than its own.
    let is_there = || unsafe { nvrtc::sys::is_culib_present() };
    let file = if cfg!(windows) { "nvrtc64_120_0.dll" } else { "libnvrtc.so.12" };
    found(&FOUND, "compiler (NVRTC)", file, is_there)
}

/// The products of matrices.
pub(super) fn products() -> Result<()> {
    static FOUND: OnceLock<bool> = OnceLock::new();
    // SAFETY: opens a library that has no other initialisation than its own.
    let is_there = || unsafe { cublaslt::sys::is_culib_present() };
    let file = if cfg!(windows) { "cublasLt64_12.dll" } else { "libcublasLt.so.12" };
    found(&FOUND, "matrix products (cuBLASLt)", file, is_there)
}

fn found(cell: &OnceLock<bool>, what: &str, file: &str, is_there: impl Fn() -> bool) -> Result<()> {
    let found = *cell.get_or_init(|| {
        folders().iter().any(|folder| open(&folder.join(file)));
        is_there()
    });
    if found {
        return Ok(());
    }
    Err(Error::Device(format!("CUDA's {what} is not installed: pip install 'trustformers[cuda]'")))
}

/// Opens a library for as long as the process lives, so that its name is known from then on.
fn open(path: &Path) -> bool {
    // SAFETY: one of NVIDIA's libraries, which have no other initialisation than their own.
    let library = path.is_file().then(|| unsafe { libloading::Library::new(path) });
    matches!(library.map(|library| library.map(std::mem::forget)), Some(Ok(())))
}
