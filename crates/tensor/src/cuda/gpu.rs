//! A device: its context, the stream on which all of its work stands in line, and what is kept for it.

use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::{process, ptr};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUdevice_attribute as Attribute, CUresult};

use super::blas::Blas;
use super::copy::Pinned;
use super::geometry::Processors;
use super::memory::Pool;
use super::modules::Modules;
use super::{graph, library};
use crate::profile::Profiled;
use crate::{Backend, Device, Error, Result};

/// The oldest driver that knows all that is asked of it.
const OLDEST: c_int = 12_000;

/// Whether products of float32 may be computed in TF32; torch's default, too, is no.
static TF32: AtomicBool = AtomicBool::new(false);

/// Allows products of float32 to be computed by matrix units in TF32, with 10 bits behind the point: torch's
/// `torch.backends.cuda.matmul.allow_tf32`.
pub fn allow_tf32(allowed: bool) {
    TF32.store(allowed, Ordering::Relaxed);
}

/// Whether [`allow_tf32`] has allowed it.
pub fn is_tf32_allowed() -> bool {
    TF32.load(Ordering::Relaxed)
}

/// A handle of the driver's, which any thread may use.
#[derive(Clone, Copy)]
pub(super) struct Handle<T>(pub(super) T);

// SAFETY: the driver's handles are names; its functions may be called with them from any thread.
unsafe impl<T> Send for Handle<T> {}
// SAFETY: likewise.
unsafe impl<T> Sync for Handle<T> {}

/// That a device is this thread's. Then the thread has again what it had before: another library may have chosen another device for it, which
/// it knows by no more than this.
#[must_use]
pub(super) struct Bound {
    before: Option<sys::CUcontext>,
}

impl Bound {
    fn to(context: sys::CUcontext, index: usize) -> Result<Bound, DriverError> {
        let before = result::ctx::get_current()?.unwrap_or(ptr::null_mut());
        if before == context {
            return Ok(Bound { before: None });
        }
        // SAFETY: a primary context that is never released here.
        unsafe { result::ctx::set_current(context)? };
        // The first device is that of every thread that has chosen none: it may keep it, and is not asked again at each call.
        let is_kept = before.is_null() && index == 0;
        Ok(Bound { before: (!is_kept).then_some(before) })
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // SAFETY: it was current until then, or it is none. The driver refuses one that has been destroyed.
            _ = unsafe { result::ctx::set_current(before) };
        }
    }
}

/// One GPU. Its work is done in the order in which it was asked for, whichever threads ask, so memory that was given back may be handed
/// out again at once: whoever had it is done with it before.
pub struct Gpu {
    index: usize,
    name: String,
    capability: [c_int; 2],
    processors: Processors,
    total: usize,
    /// A context does not outlive a fork.
    process: u32,
    context: Handle<sys::CUcontext>,
    stream: Handle<sys::CUstream>,
    /// Where graphs are recorded, one at a time, for what other threads ask meanwhile not to become part of them.
    pub(super) recorder: Mutex<Handle<sys::CUstream>>,
    /// What copies of much from the processor go through.
    pub(super) staging: Mutex<Option<[Pinned; 2]>>,
    /// What little comes from the device goes through while it does more.
    pub(super) rooms: Mutex<Vec<Pinned>>,
    pub(super) pool: Pool,
    pub(super) modules: Modules,
    blas: OnceLock<Result<Blas>>,
    profiled: OnceLock<Profiled<Gpu>>,
}

/// The device of this number.
///
/// # Errors
/// `Device` when there is none, with the reason.
pub fn gpu(index: usize) -> Result<&'static Gpu> {
    let all = all()?;
    let Some(gpu) = all.get(index) else {
        let message = match all.len() {
            0 => "there is no CUDA device on this machine: use device=\"cpu\"".into(),
            1 => format!("there is no cuda:{index}: the only CUDA device is cuda:0"),
            count => format!("there is no cuda:{index}: CUDA devices are cuda:0 to cuda:{}", count - 1),
        };
        return Err(Error::Device(message));
    };
    gpu.get_or_init(|| Gpu::new(index)).as_ref().map_err(Clone::clone)
}

/// How many devices there are.
///
/// # Errors
/// `Device` when there is no driver, or one that is too old.
pub fn count() -> Result<usize> {
    Ok(all()?.len())
}

/// A place for each device, which is opened when it is first used.
fn all() -> Result<&'static [OnceLock<Result<Gpu>>]> {
    static ALL: OnceLock<Result<Vec<OnceLock<Result<Gpu>>>>> = OnceLock::new();
    let found = ALL.get_or_init(|| {
        let version = library::driver()?;
        let said = |error| Error::Device(format!("CUDA's driver does not start: {}", sentence(error)));
        match result::init() {
            Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => return Ok(Vec::new()),
            started => started.map_err(said)?,
        }
        if version < OLDEST {
            let (major, minor) = (version / 1000, version % 1000 / 10);
            let message =
                format!("NVIDIA's driver knows CUDA {major}.{minor} and 12.0 is needed: update the driver");
            return Err(Error::Device(message));
        }
        let count = result::device::get_count().map_err(said)?;
        Ok((0..count).map(|_| OnceLock::new()).collect())
    });
    found.as_deref().map_err(Clone::clone)
}

/// What the driver says of an error, in words.
pub(super) fn sentence(error: DriverError) -> String {
    let text = |text: Result<&std::ffi::CStr, DriverError>| {
        text.ok().map(|text| text.to_string_lossy().into_owned())
    };
    let (name, words) = (text(error.error_name()), text(error.error_string()));
    match (name, words) {
        (Some(name), Some(words)) => format!("{words} ({name})"),
        _ => format!("error {}", error.0 as u32),
    }
}

impl Gpu {
    fn new(index: usize) -> Result<Gpu> {
        let said = |error| Error::Device(format!("cuda:{index} does not open: {}", sentence(error)));
        let device = result::device::get(index as c_int).map_err(said)?;
        // SAFETY: the device is the driver's own; a primary context is never released here.
        let (context, _bound, total, capability, processors) = unsafe {
            let context = result::primary_ctx::retain(device).map_err(said)?;
            let bound = Bound::to(context, index).map_err(said)?;
            let attribute = |which| result::device::get_attribute(device, which).map_err(said);
            let capability = [
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
                attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
            ];
            let processors = Processors {
                count: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize,
                shared: attribute(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR)?
                    as usize,
            };
            (context, bound, result::device::total_mem(device).map_err(said)?, capability, processors)
        };
        let stream = || result::stream::create(result::stream::StreamKind::NonBlocking).map_err(said);
        Ok(Gpu {
            index,
            name: result::device::get_name(device).map_err(said)?,
            capability,
            processors,
            total,
            process: process::id(),
            context: Handle(context),
            stream: Handle(stream()?),
            recorder: Mutex::new(Handle(stream()?)),
            staging: Mutex::default(),
            rooms: Mutex::default(),
            pool: Pool::default(),
            modules: Modules::default(),
            blas: OnceLock::new(),
            profiled: OnceLock::new(),
        })
    }

    /// Which one it is.
    pub fn device(&self) -> Device {
        Device::Cuda(self.index)
    }

    /// What its maker calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its compute capability, such as 9 and 0.
    pub fn capability(&self) -> [i32; 2] {
        self.capability
    }

    /// Its multiprocessors.
    pub fn processors(&self) -> Processors {
        self.processors
    }

    /// Bytes that there are.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Bytes that are free, and bytes that there are.
    ///
    /// # Errors
    /// `Device` when it is lost.
    pub fn free_and_total(&self) -> Result<(usize, usize)> {
        let _bound = self.bind()?;
        let (free, total) = result::mem_get_info().map_err(|error| self.failed("its memory", error))?;
        Ok((free, total.max(self.total)))
    }

    pub(super) fn context(&self) -> sys::CUcontext {
        self.context.0
    }

    /// The stream on which all of its work is put; on a thread that records a graph, the one that it is recorded from.
    pub fn stream(&self) -> sys::CUstream {
        graph::stream(self).unwrap_or(self.stream.0)
    }

    /// Makes it the device of this thread, as every use of the driver needs, as long as there is what this returns.
    pub(super) fn bind(&self) -> Result<Bound> {
        if self.process != process::id() {
            let message = format!(
                "cuda:{} was in use before this process was forked, and a fork cannot go on with it: start processes by \"spawn\"",
                self.index
            );
            return Err(Error::Device(message));
        }
        Bound::to(self.context.0, self.index).map_err(|error| self.failed("its context", error))
    }

    /// Waits until all that was asked of it is done.
    ///
    /// # Errors
    /// `Device` when any of it has failed.
    pub fn synchronize(&self) -> Result<()> {
        let _bound = self.bind()?;
        // SAFETY: the stream lives as long as the process.
        unsafe { result::stream::synchronize(self.stream.0) }.map_err(|error| self.failed("its work", error))
    }

    /// The same device, whose operations are measured.
    pub(crate) fn profiled(&'static self) -> &'static dyn Backend {
        self.profiled.get_or_init(|| Profiled(self))
    }

    /// The products of matrices.
    pub(super) fn blas(&self) -> Result<&Blas> {
        let make = || {
            let _bound = self.bind()?;
            Blas::new(gpu(self.index)?)
        };
        self.blas.get_or_init(make).as_ref().map_err(Clone::clone)
    }

    /// What went wrong with `what` of this device.
    pub(super) fn failed(&self, what: &str, error: DriverError) -> Error {
        use CUresult::*;
        let is_lost = matches!(
            error.0,
            CUDA_ERROR_ECC_UNCORRECTABLE
                | CUDA_ERROR_ILLEGAL_ADDRESS
                | CUDA_ERROR_LAUNCH_FAILED
                | CUDA_ERROR_LAUNCH_TIMEOUT
                | CUDA_ERROR_HARDWARE_STACK_ERROR
                | CUDA_ERROR_ILLEGAL_INSTRUCTION
                | CUDA_ERROR_MISALIGNED_ADDRESS
                | CUDA_ERROR_CONTEXT_IS_DESTROYED
                | CUDA_ERROR_DEVICE_UNAVAILABLE
        );
        let remedy = if is_lost { "; this process cannot use it any more: start it anew" } else { "" };
        Error::Device(format!("cuda:{}: {what} failed: {}{remedy}", self.index, sentence(error)))
    }
}
