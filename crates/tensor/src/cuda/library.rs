//! Where CUDA's libraries are: on the system's paths, in NVIDIA's wheels, in a toolkit, beside an installed torch. Of several versions the newest
//! is taken that the driver knows.

use std::env;
use std::ffi::c_int;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use cudarc::driver;
use libloading::Library;

use crate::{Error, Result};

/// The versions whose libraries have the functions that are called, all in the same form.
const VERSIONS: [c_int; 2] = [13, 12];

/// Folders that were named by the caller.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Has the libraries of CUDA, and the headers that its compiler needs, looked for in `folders`, in this order. For whoever knows where they
/// were installed, before a device is used first. Those in the variable `TRUSTFORMERS_CUDA_PATH` come before all, what is on the system's paths
/// or open already before these, and `CUDA_HOME` and `/usr/local/cuda` behind.
pub fn look_in(folders: Vec<PathBuf>) {
    *FOLDERS.lock().unwrap_or_else(PoisonError::into_inner) = folders;
}

fn named() -> Vec<PathBuf> {
    let named = env::var_os("TRUSTFORMERS_CUDA_PATH").unwrap_or_default();
    env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect()
}

fn installed() -> Vec<PathBuf> {
    let mut all = FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(env::var_os).map(PathBuf::from);
    for toolkit in toolkits.chain([PathBuf::from("/usr/local/cuda")]) {
        all.extend(["lib64", "lib", "bin", "include"].map(|folder| toolkit.join(folder)));
    }
    all
}

/// Folders with the headers of floats of 16 bits, those of `version` first.
pub(super) fn headers(version: c_int) -> Vec<PathBuf> {
    let has_them = |folder: &PathBuf| folder.join("cuda_fp16.h").is_file();
    let mut found: Vec<PathBuf> = named().into_iter().chain(installed()).filter(has_them).collect();
    // Some say of which version they are.
    found.sort_by_key(|folder| version_of(folder).map_or(1, |found| if found == version { 0 } else { 2 }));
    found
}

/// Of which version of CUDA the headers in `folder` are.
fn version_of(folder: &Path) -> Option<c_int> {
    let text = fs::read_to_string(folder.join("cuda_runtime_api.h")).ok()?;
    let said = text.lines().find_map(|line| line.strip_prefix("#define CUDART_VERSION"))?;
    said.trim().parse::<c_int>().ok().map(|version| version / 1000)
}

/// The driver, which comes with the system's and is nowhere else: the version of CUDA that it knows, times a thousand.
pub(super) fn driver() -> Result<c_int> {
    static FOUND: OnceLock<Option<c_int>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let mut version = 0;
        // SAFETY: opens a library that has no other initialisation than its own, and of which it is asked whether it is there; the function
        // writes one number, and needs no initialisation.
        unsafe {
            let is_there = driver::sys::is_culib_present();
            (is_there && driver::sys::cuDriverGetVersion(&mut version).result().is_ok()).then_some(version)
        }
    });
    let message = "there is no CUDA driver on this machine: install NVIDIA's, or use device=\"cpu\"";
    found.ok_or_else(|| Error::Device(message.into()))
}

/// Opens `what`, whose file of each version `file` names, for as long as the process lives.
///
/// # Errors
/// `Device` where there is none that the driver knows.
pub(super) fn open(what: &str, file: fn(c_int) -> String) -> Result<&'static Library> {
    let known = driver()? / 1000;
    let of = |version: c_int| {
        let file = file(version);
        let within = |folders: Vec<PathBuf>| {
            folders
                .into_iter()
                .map(|folder| folder.join(&file))
                .filter(|path| path.is_file())
                .collect::<Vec<_>>()
        };
        let places = [within(named()), vec![PathBuf::from(&file)], within(installed())].concat();
        // SAFETY: one of NVIDIA's libraries, which have no other initialisation than their own.
        places.into_iter().find_map(|path| unsafe { Library::new(path) }.ok())
    };
    let found = VERSIONS.into_iter().filter(|&version| version <= known).find_map(of);
    let missing =
        || Error::Device(format!("CUDA's {what} is not installed: pip install 'trustformers[cuda]'"));
    found.map(|library| &*Box::leak(Box::new(library))).ok_or_else(missing)
}

/// Declares a struct of the functions of a library that are called, under their own names.
macro_rules! functions {
    ($(#[$comment:meta])* $library:ident { $($function:ident($($argument:ty),* $(,)?) -> $answer:ty;)* }) => {
        $(#[$comment])*
        #[allow(non_snake_case)]
        pub(super) struct $library { $(pub(super) $function: unsafe extern "C" fn($($argument),*) -> $answer),* }

        impl $library {
            /// `what`, whose file of each version `file` names: looked for when it is first asked for.
            ///
            /// # Safety
            /// What has such a name must be that library.
            ///
            /// # Errors
            /// `Device` where it is not installed, or lacks a function.
            unsafe fn found(what: &str, file: fn(std::ffi::c_int) -> String) -> $crate::Result<&'static $library> {
                static FOUND: std::sync::OnceLock<$crate::Result<$library>> = std::sync::OnceLock::new();
                let find = || {
                    let library = $crate::cuda::library::open(what, file)?;
                    let lacking = || $crate::Error::Device(format!("CUDA's {what} lacks a function"));
                    // SAFETY: a library's functions stay where they are as long as it is open, and their types are its own, as the caller promises.
                    let functions = unsafe { (|| Some($library { $($function: *library.get(stringify!($function)).ok()?),* }))() };
                    functions.ok_or_else(lacking)
                };
                FOUND.get_or_init(find).as_ref().map_err(Clone::clone)
            }
        }
    };
}
pub(super) use functions;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_compilers_version_come_first() {
        let root = env::temp_dir().join(format!("trustformers-headers-{}", std::process::id()));
        let make = |name: &str, version: Option<&str>| {
            let folder = root.join(name);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("cuda_fp16.h"), "").unwrap();
            let text = version.map(|version| format!("// of\n#define CUDART_VERSION  {version}\n"));
            text.iter().for_each(|text| fs::write(folder.join("cuda_runtime_api.h"), text).unwrap());
            folder
        };
        let all =
            [make("new", Some("13050")), make("unsaid", None), make("old", Some("12080")), root.join("none")];
        look_in(all.to_vec());
        let [new, unsaid, old, _] = &all;
        let found = |version| -> Vec<PathBuf> {
            headers(version).into_iter().filter(|folder| folder.starts_with(&root)).collect()
        };
        assert_eq!(found(12), [old, unsaid, new].map(Clone::clone));
        assert_eq!(found(13), [new, unsaid, old].map(Clone::clone));
        look_in(Vec::new());
        fs::remove_dir_all(root).unwrap();
    }
}
