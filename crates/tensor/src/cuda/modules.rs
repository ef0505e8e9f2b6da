//! Kernels: their sources are part of the library, compiled for the device found when they are first asked for, and kept on disk.

use std::collections::HashMap;
use std::ffi::{CString, c_char, c_int};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::{env, fs, process, ptr};

use cudarc::driver::{result, sys};
use cudarc::nvrtc::sys::{nvrtcProgram, nvrtcResult};

use super::early::may_come_early;
use super::gpu::{Gpu, Handle};
use super::library::{self, functions};
use crate::{Error, Result};

macro_rules! sources {
    ($($name:literal),* $(,)?) => { [$(($name, include_str!(concat!("kernels/", $name)))),*] };
}

/// What kernels include.
const HEADERS: [(&str, &str); 13] = sources![
    "attention.cuh",
    "blocks.cuh",
    "common.cuh",
    "dropped.cuh",
    "early.cuh",
    "functions.cuh",
    "joins.cuh",
    "keys.cuh",
    "matrix.cuh",
    "numbers.cuh",
    "philox.cuh",
    "platform.cuh",
    "tiles.cuh",
];

/// One file a family.
pub(super) const KERNELS: [(&str, &str); 21] = sources![
    "accumulate.cu",
    "activation.cu",
    "attention_gradient.cu",
    "decode.cu",
    "elementwise.cu",
    "gemv.cu",
    "heads.cu",
    "index.cu",
    "loss.cu",
    "norm.cu",
    "order.cu",
    "prefill.cu",
    "product.cu",
    "quant.cu",
    "random.cu",
    "reduce.cu",
    "rows.cu",
    "sampling.cu",
    "scan.cu",
    "softmax.cu",
    "update.cu",
];

functions! {
    /// The compiler, NVRTC.
    Nvrtc {
        nvrtcVersion(*mut c_int, *mut c_int) -> nvrtcResult;
        nvrtcCreateProgram(
            *mut nvrtcProgram,
            *const c_char,
            *const c_char,
            c_int,
            *const *const c_char,
            *const *const c_char,
        ) -> nvrtcResult;
        nvrtcCompileProgram(nvrtcProgram, c_int, *const *const c_char) -> nvrtcResult;
        nvrtcGetNumSupportedArchs(*mut c_int) -> nvrtcResult;
        nvrtcGetSupportedArchs(*mut c_int) -> nvrtcResult;
        nvrtcGetPTXSize(nvrtcProgram, *mut usize) -> nvrtcResult;
        nvrtcGetPTX(nvrtcProgram, *mut c_char) -> nvrtcResult;
        nvrtcGetCUBINSize(nvrtcProgram, *mut usize) -> nvrtcResult;
        nvrtcGetCUBIN(nvrtcProgram, *mut c_char) -> nvrtcResult;
        nvrtcGetProgramLogSize(nvrtcProgram, *mut usize) -> nvrtcResult;
        nvrtcGetProgramLog(nvrtcProgram, *mut c_char) -> nvrtcResult;
        nvrtcDestroyProgram(*mut nvrtcProgram) -> nvrtcResult;
    }
}

/// The modules that a device has loaded, by what they were compiled from.
#[derive(Default)]
pub(super) struct Modules(Mutex<HashMap<String, Arc<Module>>>);

/// A file of kernels for one choice of its macros.
pub(super) struct Module {
    module: Handle<sys::CUmodule>,
    source: &'static str,
    functions: Mutex<HashMap<&'static str, Function>>,
}

/// A kernel of a module that is loaded.
#[derive(Clone, Copy)]
pub(super) struct Function {
    pub(super) handle: Handle<sys::CUfunction>,
    /// Whether it may begin before those in front of it are done.
    pub(super) comes_early: bool,
}

impl Modules {
    /// The module of `file` (without its `.cu`) with `macros` such as `T=f32`, one after another behind blanks.
    pub(super) fn get(&self, gpu: &Gpu, file: &str, macros: &str) -> Result<Arc<Module>> {
        let key = format!("{file} {macros}");
        // Held while one is compiled: who needs the same waits for it instead of compiling it, too. A panic leaves whole modules.
        let mut loaded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = loaded.get(&key) {
            return Ok(module.clone());
        }
        let module = Arc::new(Module::load(gpu, file, macros)?);
        loaded.insert(key, module.clone());
        Ok(module)
    }
}

impl Module {
    fn load(gpu: &Gpu, file: &str, macros: &str) -> Result<Module> {
        let [major, minor] = gpu.capability();
        let source = Source { file, macros, capability: 10 * major + minor };
        let _bound = gpu.bind()?;
        let load = |image: &[u8]| {
            // SAFETY: an image as the compiler made it, checked where it comes from disk; the driver reads no further than it says.
            unsafe { result::module::load_data(image.as_ptr().cast()) }
        };
        let path = source.path();
        let found = path.as_deref().and_then(kept).and_then(|image| load(&image).ok());
        let module = match found {
            Some(module) => module,
            None => {
                let image = source.compile()?;
                if let Some(path) = path {
                    write(&path, &image);
                }
                load(&image).map_err(|error| gpu.failed(&format!("loading the kernels of {file}"), error))?
            }
        };
        Ok(Module { module: Handle(module), source: source.text()?, functions: Mutex::default() })
    }

    /// The kernel of this name, which may have up to `shared` bytes of shared memory asked for at a launch.
    pub(super) fn function(&self, gpu: &Gpu, name: &'static str, shared: u32) -> Result<Function> {
        /// What every kernel may ask for without saying so first.
        const FREE: u32 = 48 << 10;
        let mut known = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        let said = |error| gpu.failed(&format!("the kernel {name}"), error);
        let function = match known.get(name) {
            Some(&function) => function,
            None => {
                let symbol = CString::new(name).map_err(|_| Error::Device(format!("{name} is no name")))?;
                // SAFETY: the module is never unloaded.
                let function = unsafe {
                    let handle = result::module::get_function(self.module.0, symbol).map_err(said)?;
                    let comes_early = may_come_early(library::driver()?, self.source, name, handle);
                    Function { handle: Handle(handle), comes_early: comes_early.map_err(said)? }
                };
                known.insert(name, function);
                function
            }
        };
        if shared > FREE {
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function is one of a module that is loaded.
            unsafe { result::function::set_function_attribute(function.handle.0, most, shared as c_int) }
                .map_err(said)?;
        }
        Ok(function)
    }
}

/// What a module is compiled from.
struct Source<'a> {
    file: &'a str,
    macros: &'a str,
    /// Of the device: 90 for 9.0.
    capability: c_int,
}

impl Source<'_> {
    fn text(&self) -> Result<&'static str> {
        let found = KERNELS.iter().find(|(name, _)| name.strip_suffix(".cu") == Some(self.file));
        found
            .map(|(_, text)| *text)
            .ok_or_else(|| Error::Device(format!("there are no kernels {}", self.file)))
    }

    /// Where it is kept, if there is such a place. Anything that it was made from changes the name.
    fn path(&self) -> Option<PathBuf> {
        let mut hasher = DefaultHasher::new();
        (HEADERS, self.text().ok()?, self.macros, self.capability, compiler_version()).hash(&mut hasher);
        Some(folder()?.join(format!("{}-sm_{}-{:016x}.cubin", self.file, self.capability, hasher.finish())))
    }

    /// The machine code, from NVRTC.
    fn compile(&self) -> Result<Vec<u8>> {
        let nvrtc = compiler()?;
        let owned =
            |text: &str| CString::new(text).map_err(|_| Error::Device("a source has a zero byte".into()));
        let text = owned(self.text()?)?;
        let name = owned(&format!("{}.cu", self.file))?;
        let (names, texts): (Vec<_>, Vec<_>) =
            HEADERS.iter().map(|(name, text)| (owned(name), owned(text))).unzip();
        let names = names.into_iter().collect::<Result<Vec<_>>>()?;
        let texts = texts.into_iter().collect::<Result<Vec<_>>>()?;
        let pointers = |all: &[CString]| all.iter().map(|text| text.as_ptr()).collect::<Vec<_>>();
        // SAFETY: what they are there for.
        let known = unsafe { architectures(nvrtc.nvrtcGetNumSupportedArchs, nvrtc.nvrtcGetSupportedArchs) };
        let architecture = architecture(self.capability, &known);
        let is_code = architecture.starts_with("sm_");
        let mut options = vec![format!("--gpu-architecture={architecture}"), "--std=c++17".into()];
        options.extend(self.macros.split_whitespace().map(|choice| format!("-D{choice}")));
        options.extend(
            library::headers(compiler_version()[0]).iter().map(|folder| format!("-I{}", folder.display())),
        );
        let options = options.iter().map(|option| owned(option)).collect::<Result<Vec<_>>>()?;

        let mut program = ptr::null_mut();
        // SAFETY: all texts end with a zero and live until the end of this function, and as many are announced as there are.
        unsafe {
            (nvrtc.nvrtcCreateProgram)(
                &mut program,
                text.as_ptr(),
                name.as_ptr(),
                HEADERS.len() as c_int,
                pointers(&texts).as_ptr(),
                pointers(&names).as_ptr(),
            )
        }
        .result()
        .map_err(|error| self.refused(&format!("{:?}", error.0)))?;
        let options = pointers(&options);
        // SAFETY: the program was just made, and is destroyed once, at the end.
        unsafe {
            let compiled =
                (nvrtc.nvrtcCompileProgram)(program, options.len() as c_int, options.as_ptr()).result();
            let image = match compiled {
                Ok(()) if is_code => read(program, nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN)
                    .map_err(|error| self.refused(&format!("{error:?}"))),
                Ok(()) => read(program, nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX)
                    .map_err(|error| self.refused(&format!("{error:?}"))),
                Err(error) => {
                    let log = read(program, nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog);
                    let log = log.unwrap_or_default();
                    let log = log.split(|&byte| byte == 0).next().unwrap_or_default();
                    Err(self.refused(&format!("{:?}\n{}", error.0, String::from_utf8_lossy(log))))
                }
            };
            _ = (nvrtc.nvrtcDestroyProgram)(&mut program);
            image
        }
    }

    fn refused(&self, why: &str) -> Error {
        Error::Device(format!("CUDA's compiler refuses the kernels {} ({}): {why}", self.file, self.macros))
    }
}

/// What is to be had of a program: so many bytes as `size` says, which `get` writes.
///
/// # Safety
/// The program must be alive, and both must be about the same.
unsafe fn read(
    program: nvrtcProgram,
    size: unsafe extern "C" fn(nvrtcProgram, *mut usize) -> nvrtcResult,
    get: unsafe extern "C" fn(nvrtcProgram, *mut c_char) -> nvrtcResult,
) -> Result<Vec<u8>, nvrtcResult> {
    let done = |result: nvrtcResult| result.result().map_err(|error| error.0);
    let mut count = 0;
    // SAFETY: as the caller promises; so much room is given as is asked for.
    unsafe {
        done(size(program, &mut count))?;
        let mut bytes = vec![0u8; count];
        done(get(program, bytes.as_mut_ptr().cast()))?;
        Ok(bytes)
    }
}

fn compiler() -> Result<&'static Nvrtc> {
    let file = |version| match cfg!(windows) {
        true => format!("nvrtc64_{version}0_0.dll"),
        false => format!("libnvrtc.so.{version}"),
    };
    // SAFETY: what has this name is that library.
    unsafe { Nvrtc::found("compiler (NVRTC)", file) }
}

/// What the compiler compiles for; nothing where it does not say.
///
/// # Safety
/// `count` must write one number, and `write` as many as that says.
unsafe fn architectures(
    count: unsafe extern "C" fn(*mut c_int) -> nvrtcResult,
    write: unsafe extern "C" fn(*mut c_int) -> nvrtcResult,
) -> Vec<c_int> {
    let mut number = 0;
    // SAFETY: as the caller promises.
    unsafe {
        if count(&mut number).result().is_err() {
            return Vec::new();
        }
        let mut all = vec![0; number.max(0) as usize];
        if write(all.as_mut_ptr()).result().is_err() {
            all.clear();
        }
        all
    }
}

/// What to compile for a device: itself. A compiler that is older than the device knows an earlier one of its family, whose code it runs, or at
/// least an earlier family, of whose code the driver can make its own.
fn architecture(capability: c_int, known: &[c_int]) -> String {
    let earlier = || known.iter().copied().filter(|&other| other <= capability);
    match (earlier().filter(|other| other / 10 == capability / 10).max(), earlier().max()) {
        (Some(of_family), _) => format!("sm_{of_family}"),
        (None, Some(earlier)) => format!("compute_{earlier}"),
        // Let it say so itself.
        (None, None) => format!("sm_{capability}"),
    }
}

/// Which compiler there is; 0 for none, as what is kept needs none.
fn compiler_version() -> [c_int; 2] {
    static VERSION: OnceLock<[c_int; 2]> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let mut version = [0; 2];
        if let Ok(nvrtc) = compiler() {
            let [major, minor] = &mut version;
            // SAFETY: it writes two numbers, and cannot fail with places to write to.
            _ = unsafe { (nvrtc.nvrtcVersion)(major, minor) };
        }
        version
    })
}

/// Where machine code is kept: `TRUSTFORMERS_CUDA_CACHE`, or a folder of the user's cache. Nowhere if there is none, or if the first is empty.
fn folder() -> Option<PathBuf> {
    if let Some(own) = env::var_os("TRUSTFORMERS_CUDA_CACHE") {
        return (!own.is_empty()).then(|| own.into());
    }
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches =
        set("XDG_CACHE_HOME").or_else(|| Some(set("HOME").or_else(|| set("USERPROFILE"))?.join(".cache")))?;
    Some(caches.join("trustformers").join("cuda"))
}

/// What a file of ours begins with, before the checksum of what follows.
const MAGIC: &[u8; 8] = b"tfcuda\x00\x01";

fn checksum(image: &[u8]) -> [u8; 8] {
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    hasher.finish().to_le_bytes()
}

/// Machine code that was kept; nothing if there is none, or if the file is damaged.
fn kept(path: &Path) -> Option<Vec<u8>> {
    let bytes = fs::read(path).ok()?;
    let (sum, image) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
    (*sum == checksum(image)).then(|| image.to_vec())
}

/// Keeps machine code, if that can be done: who cannot write compiles again next time.
fn write(path: &Path, image: &[u8]) {
    let Some(folder) = path.parent() else { return };
    let draft = path.with_extension(format!("{}.part", process::id()));
    let whole = [MAGIC.as_slice(), &checksum(image), image].concat();
    let kept = fs::create_dir_all(folder)
        .and_then(|()| fs::write(&draft, whole))
        .and_then(|()| fs::rename(&draft, path));
    if kept.is_err() {
        _ = fs::remove_file(draft);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_sources_are_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cuda/kernels");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".cu") || name.ends_with(".cuh"))
            .collect();
        files.sort();
        let mut own: Vec<&str> = HEADERS.iter().chain(&KERNELS).map(|(name, _)| *name).collect();
        own.sort_unstable();
        assert_eq!(files, own);
    }

    #[test]
    fn a_compiler_may_not_say_what_it_compiles_for() {
        type Ask = unsafe extern "C" fn(*mut c_int) -> nvrtcResult;
        unsafe extern "C" fn refuse(_: *mut c_int) -> nvrtcResult {
            nvrtcResult::NVRTC_ERROR_INTERNAL_ERROR
        }
        unsafe extern "C" fn two(to: *mut c_int) -> nvrtcResult {
            // SAFETY: there is room for a number.
            unsafe { to.write(2) };
            nvrtcResult::NVRTC_SUCCESS
        }
        unsafe extern "C" fn known(to: *mut c_int) -> nvrtcResult {
            // SAFETY: there is room for two numbers.
            unsafe { to.cast::<[c_int; 2]>().write([80, 90]) };
            nvrtcResult::NVRTC_SUCCESS
        }
        let [whole, uncounted, unwritten] = [(two as Ask, known as Ask), (refuse, known), (two, refuse)]
            // SAFETY: those that succeed write as much as they should.
            .map(|(count, write)| unsafe { architectures(count, write) });
        assert_eq!(whole, [80, 90]);
        assert!(uncounted.is_empty() && unwritten.is_empty());
    }

    #[test]
    fn a_device_newer_than_the_compiler_gets_what_it_can_run() {
        let known = [75, 80, 86, 89, 90, 100, 120];
        for (capability, wanted) in [
            (90, "sm_90"),
            (87, "sm_86"),
            (103, "sm_100"),
            (121, "sm_120"),
            (130, "compute_120"),
            (70, "sm_70"),
        ] {
            assert_eq!(architecture(capability, &known), wanted);
        }
    }

    #[test]
    fn damaged_files_are_not_used() {
        let folder = env::temp_dir().join(format!("trustformers-modules-{}", process::id()));
        let path = folder.join("some.cubin");
        write(&path, b"machine code");
        assert_eq!(kept(&path).unwrap(), b"machine code");
        let mut bytes = fs::read(&path).unwrap();
        for damage in [3, 10, 17] {
            bytes[damage] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(kept(&path).is_none());
            bytes[damage] ^= 1;
        }
        fs::write(&path, &bytes[..12]).unwrap();
        assert!(kept(&path).is_none());
        fs::remove_dir_all(folder).unwrap();
        // Where nothing can be written, nothing is.
        write(Path::new("/proc/nowhere/some.cubin"), b"machine code");
    }
}
