//! DLPack, the protocol by which array libraries lend each other memory: <https://dmlc.github.io/dlpack>.
//!
//! A lender wraps a description of its memory, with a function that ends the loan, in a capsule. Whoever takes the loan renames the
//! capsule, so it can be taken once, and calls that function when done; an untaken capsule calls it when it goes.

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use pyo3::exceptions::{PyBufferError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyDict};
use pyo3::{ffi, intern};
use trustformers::tensor::{Buffer, DType, Device, Layout, Storage, Tensor, cuda};

use super::device::find_libraries;
use crate::errors;

/// The newest version of the protocol that we speak.
pub const VERSION: (u32, u32) = (1, 1);
const CPU: i32 = 1;
const CUDA: i32 = 2;
const READ_ONLY: u64 = 1;
const IS_COPIED: u64 = 2;

#[repr(C)]
struct DlDevice {
    kind: i32,
    id: i32,
}

#[repr(C)]
struct DlDType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device: DlDevice,
    ndim: i32,
    dtype: DlDType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

/// The loan of the older protocol, which knows neither versions nor flags.
#[repr(C)]
struct Unversioned {
    tensor: DlTensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Unversioned)>,
}

/// The loan of the protocol from version 1 on.
#[repr(C)]
struct Versioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Versioned)>,
    flags: u64,
    tensor: DlTensor,
}

/// What both kinds of loan have in common.
trait Managed: Sized + 'static {
    const NAME: &'static CStr;
    const TAKEN: &'static CStr;

    fn new(tensor: DlTensor, context: *mut c_void, flags: u64) -> Self;
    fn context(&self) -> *mut c_void;
    fn tensor(&self) -> &DlTensor;
    fn read_only(&self) -> bool;
    /// Whether the fields after the version mean what we think.
    fn understood(&self) -> bool;
    /// Ends the loan.
    ///
    /// # Safety
    /// `this` must point to a loan that has not been ended.
    unsafe fn end(this: *mut Self);
}

macro_rules! managed {
    ($kind:ident, $name:literal, $taken:literal, |$this:ident| $read_only:expr, $understood:expr, { $($field:ident: $value:expr),* }, $flags:ident) => {
        impl Managed for $kind {
            const NAME: &'static CStr = $name;
            const TAKEN: &'static CStr = $taken;

            fn new(tensor: DlTensor, context: *mut c_void, $flags: u64) -> Self {
                $kind { tensor, context, deleter: Some(give_back::<$kind>), $($field: $value),* }
            }
            fn context(&self) -> *mut c_void {
                self.context
            }
            fn tensor(&self) -> &DlTensor {
                &self.tensor
            }
            fn read_only(&self) -> bool {
                let $this = self;
                $read_only
            }
            fn understood(&self) -> bool {
                let $this = self;
                $understood
            }
            unsafe fn end(this: *mut Self) {
                // SAFETY: the caller says that the loan is alive; its lender gave the function for this very purpose.
                unsafe {
                    if let Some(deleter) = (*this).deleter {
                        deleter(this)
                    }
                }
            }
        }
    };
}

managed!(Unversioned, c"dltensor", c"used_dltensor", |_this| false, true, {}, _flags);
managed!(
    Versioned, c"dltensor_versioned", c"used_dltensor_versioned",
    |this| this.flags & READ_ONLY != 0, this.major == VERSION.0,
    { major: VERSION.0, minor: VERSION.1, flags: flags }, flags
);

/// A loan of ours and all that it points to.
struct Lent<M> {
    managed: M,
    shape: Vec<i64>,
    strides: Vec<i64>,
    /// Keeps the memory.
    _tensor: Tensor,
}

/// The function that ends a loan of ours.
unsafe extern "C" fn give_back<M: Managed>(managed: *mut M) {
    // SAFETY: `lend` put the box there, and a loan is ended once.
    let lent = unsafe { Box::from_raw((*managed).context().cast::<Lent<M>>()) };
    settle(lent._tensor.storage());
    // Attached, memory that NumPy had lent us goes back at once. Without an interpreter there is nothing to give it back to.
    Python::try_attach(|_| drop(lent));
}

/// Waits for what a GPU is doing with memory that changes hands: neither side knows the streams of the other.
fn settle(storage: &Storage) {
    if let Storage::Cuda(memory) = storage {
        // A device that is lost does nothing more.
        _ = memory.gpu().settle();
    }
}

/// Ends the loan of a capsule that nobody has taken.
unsafe extern "C" fn drop_capsule<M: Managed>(capsule: *mut ffi::PyObject) {
    // SAFETY: Python passes the capsule it is about to free; under its first name it still holds the loan.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, M::NAME.as_ptr()) != 0 {
            M::end(ffi::PyCapsule_GetPointer(capsule, M::NAME.as_ptr()).cast());
        }
    }
}

fn lend<'py, M: Managed>(py: Python<'py>, tensor: Tensor, flags: u64) -> PyResult<Bound<'py, PyAny>> {
    let shape: Vec<i64> = tensor.shape().iter().map(|&size| size as i64).collect();
    let strides: Vec<i64> = tensor.layout().strides().iter().map(|&stride| stride as i64).collect();
    let (code, bits) = code(tensor.dtype());
    let (kind, id) = device(&tensor);
    let description = DlTensor {
        data: tensor.as_ptr().cast_mut().cast(),
        device: DlDevice { kind, id },
        ndim: shape.len() as i32,
        dtype: DlDType { code, bits, lanes: 1 },
        shape: ptr::null_mut(),
        strides: ptr::null_mut(),
        byte_offset: 0,
    };
    let managed = M::new(description, ptr::null_mut(), flags);
    let lent = Box::into_raw(Box::new(Lent { managed, shape, strides, _tensor: tensor }));
    // SAFETY: the box was just leaked and is ours; its address no longer changes, so it may point into itself.
    let managed = unsafe {
        let managed = &raw mut (*lent).managed;
        managed.write(M::new(
            DlTensor {
                shape: (*lent).shape.as_mut_ptr(),
                strides: (*lent).strides.as_mut_ptr(),
                ..ptr::read((*managed).tensor())
            },
            lent.cast(),
            flags,
        ));
        managed
    };
    // SAFETY: the name is static, and the destructor fits what the pointer points to.
    unsafe {
        let capsule = ffi::PyCapsule_New(managed.cast(), M::NAME.as_ptr(), Some(drop_capsule::<M>));
        if capsule.is_null() {
            M::end(managed);
        }
        Bound::from_owned_ptr_or_err(py, capsule)
    }
}

/// A wish of a consumer's.
pub struct Wish<'py> {
    /// The stream on which it will work: that waits for ours.
    pub stream: Option<Bound<'py, PyAny>>,
    /// The newest protocol that it speaks.
    pub max_version: Option<(u32, u32)>,
    /// Where it wants the memory.
    pub device: Option<(i32, i32)>,
    /// Whether it wants memory of its own.
    pub copy: Option<bool>,
}

/// A capsule over the memory of `tensor`, of the newest protocol that the consumer speaks.
///
/// # Errors
/// `BufferError` for a wish that cannot be met: another device without a copy, a stream of the CPU's, or a writable loan of read-only memory.
pub fn export<'py>(py: Python<'py>, tensor: &Tensor, wish: Wish<'py>) -> PyResult<Bound<'py, PyAny>> {
    if tensor.requires_grad() {
        let message =
            "a tensor that requires a gradient cannot be lent: call detach() first, or to_torch() to keep it";
        return Err(PyBufferError::new_err(message));
    }
    let own = device(tensor);
    let place = if own == (CPU, 0) { "the CPU".into() } else { tensor.device().to_string() };
    let wanted = wish.device.unwrap_or(own);
    // Another library's request for the CPU's memory is what "copy" allows.
    let moves = wanted != own;
    if moves && (wanted != (CPU, 0) || wish.copy == Some(false)) {
        let message = format!(
            "the tensor is on {place}: ask for dl_device={own:?} and move the result, or for a copy in dl_device=({CPU}, 0)"
        );
        return Err(PyBufferError::new_err(message));
    }
    let copied = moves || wish.copy == Some(true);
    let tensor = if moves {
        py.detach(|| tensor.to_host()).map_err(errors::tensor)?
    } else if copied {
        py.detach(|| tensor.copy()).map_err(errors::tensor)?
    } else {
        tensor.clone()
    };
    match tensor.storage().as_ref() {
        // A copy to the CPU is there already, whatever stream was named.
        Storage::Cpu(_) if moves => {}
        Storage::Cpu(buffer) => {
            // -1 asks for no synchronisation, which the CPU never needs.
            if let Some(stream) = &wish.stream
                && !stream.eq(-1)?
            {
                let message = "the tensor is on the CPU, which has no streams: pass stream=None";
                return Err(PyBufferError::new_err(message));
            }
            buffer.lend();
        }
        Storage::Cuda(memory) => {
            // Without one the default stream is meant.
            let stream: i64 = wish.stream.as_ref().map_or(Ok(1), |stream| stream.extract())?;
            match stream {
                -1 => {}
                0 | i64::MIN..-1 => {
                    let message = format!(
                        "stream={stream} says nothing: pass 1 for CUDA's default stream, or an address"
                    );
                    return Err(PyBufferError::new_err(message));
                }
                address => memory.gpu().precede(address as usize).map_err(errors::tensor)?,
            }
        }
    }
    let read_only = !tensor.storage().is_writable();
    if wish.max_version.is_some_and(|(major, _)| major >= VERSION.0) {
        let flags = if read_only { READ_ONLY } else { 0 } | if copied { IS_COPIED } else { 0 };
        lend::<Versioned>(py, tensor, flags)
    } else if read_only {
        let message = "read-only memory can be lent only to consumers of DLPack 1 and newer: pass copy=True";
        Err(PyBufferError::new_err(message))
    } else {
        lend::<Unversioned>(py, tensor, 0)
    }
}

/// A loan that we have taken: ended when dropped.
struct Taken<M: Managed>(NonNull<M>);

// SAFETY: the protocol lets a consumer end the loan on any thread, and nothing else is done with it after it was read.
unsafe impl<M: Managed> Send for Taken<M> {}
// SAFETY: as above: there is no shared access.
unsafe impl<M: Managed> Sync for Taken<M> {}

impl<M: Managed> Drop for Taken<M> {
    fn drop(&mut self) {
        // SAFETY: taken once from its capsule and ended only here.
        unsafe { M::end(self.0.as_ptr()) }
    }
}

/// A tensor over the memory that `object` lends: any object with `__dlpack__`, or a capsule.
///
/// # Errors
/// `TypeError` when it lends nothing; `BufferError` for memory of another device or elements that no tensor holds; `ValueError` for a
/// capsule that was taken before.
pub fn import(object: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let py = object.py();
    if let Ok(capsule) = object.cast::<PyCapsule>() {
        let tensor = take_any(capsule)?;
        // Nobody has told its lender our stream.
        settle(tensor.storage());
        return Ok(tensor);
    }
    let Some(device) = object.getattr_opt(intern!(py, "__dlpack_device__"))? else {
        let message =
            format!("from_dlpack takes an object with __dlpack__, got {}", object.get_type().name()?);
        return Err(PyTypeError::new_err(message));
    };
    let (kind, id): (i32, i32) = device.call0()?.extract()?;
    let options = PyDict::new(py);
    match kind {
        CPU => {}
        // The lender has our stream wait for its own.
        CUDA => options.set_item(intern!(py, "stream"), gpu(py, id)?.stream() as usize)?,
        _ => return Err(PyBufferError::new_err(unknown(kind))),
    }
    let lend = object.getattr(intern!(py, "__dlpack__"))?;
    let old = options.copy()?;
    options.set_item(intern!(py, "max_version"), VERSION)?;
    let capsule = match lend.call((), Some(&options)) {
        // A lender from before version 1 does not know the keyword.
        Err(error) if error.is_instance_of::<PyTypeError>(py) => lend.call((), Some(&old))?,
        answer => answer?,
    };
    match capsule.cast::<PyCapsule>() {
        Ok(capsule) => take_any(capsule),
        Err(_) => {
            Err(PyTypeError::new_err(format!("__dlpack__ must return a capsule, got {}", capsule.get_type())))
        }
    }
}

fn take_any(capsule: &Bound<'_, PyCapsule>) -> PyResult<Tensor> {
    match take::<Versioned>(capsule)? {
        Some(tensor) => Ok(tensor),
        None => take::<Unversioned>(capsule)?.ok_or_else(|| {
            PyValueError::new_err(
                "the capsule holds no DLPack tensor, or was taken before: ask __dlpack__() for a new one",
            )
        }),
    }
}

/// Takes the loan of `capsule` if it is of this kind and nobody has.
fn take<M: Managed>(capsule: &Bound<'_, PyCapsule>) -> PyResult<Option<Tensor>> {
    let raw = capsule.as_ptr();
    // SAFETY: `raw` is a capsule; under this name it holds a pointer to a living loan, whose end becomes our duty by the new name.
    let managed = unsafe {
        if ffi::PyCapsule_IsValid(raw, M::NAME.as_ptr()) == 0 {
            return Ok(None);
        }
        let managed = NonNull::new(ffi::PyCapsule_GetPointer(raw, M::NAME.as_ptr()).cast::<M>());
        if ffi::PyCapsule_SetName(raw, M::TAKEN.as_ptr()) != 0 {
            return Err(PyErr::fetch(capsule.py()));
        }
        managed
    };
    let Some(managed) = managed else { return Ok(None) };
    let taken = Taken(managed);
    // SAFETY: the loan is alive until `taken` is dropped.
    let loan = unsafe { managed.as_ref() };
    if !loan.understood() {
        let message =
            format!("the loan follows a newer DLPack than {}.{}: update trustformers", VERSION.0, VERSION.1);
        return Err(PyBufferError::new_err(message));
    }
    borrow(capsule.py(), loan.tensor(), !loan.read_only(), Box::new(taken)).map(Some)
}

/// The GPU of this number.
fn gpu(py: Python<'_>, id: i32) -> PyResult<&'static cuda::Gpu> {
    find_libraries(py)?;
    let found = py.detach(|| cuda::gpu(usize::try_from(id).unwrap_or(usize::MAX)));
    found.map_err(|error| PyBufferError::new_err(format!("{}: {error}", unknown(CUDA))))
}

fn unknown(kind: i32) -> String {
    format!("memory of DLPack device {kind} cannot be read here: move it to the CPU first")
}

/// The lender of a GPU's memory, who gets it back when all that we asked for there is done.
struct Settled {
    gpu: &'static cuda::Gpu,
    _owner: Box<dyn std::any::Any + Send + Sync>,
}

impl Drop for Settled {
    fn drop(&mut self) {
        // A device that is lost does nothing more.
        _ = self.gpu.synchronize();
    }
}

fn borrow(
    py: Python<'_>,
    loan: &DlTensor,
    writable: bool,
    owner: Box<dyn std::any::Any + Send + Sync>,
) -> PyResult<Tensor> {
    let refuse = |message: String| Err(PyBufferError::new_err(message));
    let gpu = match loan.device.kind {
        CPU => None,
        CUDA => Some(gpu(py, loan.device.id)?),
        kind => return refuse(unknown(kind)),
    };
    let DlDType { code, bits, lanes } = loan.dtype;
    let Some(dtype) = dtype(code, bits).filter(|_| lanes == 1) else {
        return refuse(format!("no tensor holds elements of DLPack code {code}, {bits} bits, {lanes} lanes"));
    };
    let ndim = usize::try_from(loan.ndim).unwrap_or(0);
    let described = ndim == 0 || !loan.shape.is_null();
    // SAFETY: the protocol promises `ndim` sizes, and as many strides where there are any.
    let (shape, strides) = unsafe {
        let list = |from: *const i64| {
            if from.is_null() || ndim == 0 { &[] } else { std::slice::from_raw_parts(from, ndim) }
        };
        (list(loan.shape), list(loan.strides))
    };
    if !described || shape.iter().any(|&size| size < 0) {
        return refuse(format!("the lender describes an impossible shape {shape:?}"));
    }
    let shape: Vec<usize> = shape.iter().map(|&size| size as usize).collect();
    let strides: Vec<isize> = match strides {
        [] => Layout::contiguous(&shape).strides().to_vec(),
        strides => strides.iter().map(|&stride| stride as isize).collect(),
    };
    let item = dtype.size() as i128;
    let (mut below, mut above) = (0i128, item);
    for (&size, &stride) in shape.iter().zip(&strides) {
        let reach = (size as i128 - 1) * stride as i128 * item;
        if reach < 0 { below -= reach } else { above += reach }
    }
    if shape.contains(&0) {
        (below, above) = (0, 0);
    }
    let (Ok(below), Ok(len)) = (usize::try_from(below), isize::try_from(below + above)) else {
        return refuse(format!(
            "the lender describes an impossible shape {shape:?} with strides {strides:?}"
        ));
    };
    let first = loan.data.cast::<u8>().wrapping_add(loan.byte_offset as usize).wrapping_sub(below);
    let start = match NonNull::new(first) {
        Some(start) => start,
        None if len == 0 => NonNull::dangling(),
        None => return refuse("the lender gives no address".into()),
    };
    let len = len as usize;
    let storage = match gpu {
        // SAFETY: the lender promises that the described elements may be read, and written unless it said otherwise, until the loan ends,
        // which it does with `owner`.
        None => Storage::Cpu(unsafe { Buffer::foreign(start, len, writable, owner) }),
        Some(_) if !writable => {
            return refuse("a GPU's memory that is read-only is not borrowed: lend a copy".into());
        }
        // SAFETY: as above; the lender's stream is followed by ours, and the loan ends when that is done.
        Some(gpu) => Storage::Cuda(unsafe {
            cuda::Memory::borrowed(gpu, start.as_ptr() as u64, len, Box::new(Settled { gpu, _owner: owner }))
        }),
    };
    let layout = Layout::strided(&shape, &strides, below / dtype.size());
    Tensor::from_storage(Arc::new(storage), layout, dtype).map_err(errors::tensor)
}

/// DLPack's number for the tensor's device.
pub fn device(tensor: &Tensor) -> (i32, i32) {
    match tensor.device() {
        Device::Cpu => (CPU, 0),
        Device::Cuda(index) => (CUDA, index as i32),
    }
}

fn code(dtype: DType) -> (u8, u8) {
    let code = match dtype {
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => 0,
        DType::U8 | DType::U16 | DType::U32 | DType::U64 => 1,
        DType::F16 | DType::F32 | DType::F64 => 2,
        DType::BF16 => 4,
        DType::C64 | DType::C128 => 5,
        DType::Bool => 6,
    };
    (code, 8 * dtype.size() as u8)
}

fn dtype(wanted: u8, bits: u8) -> Option<DType> {
    DType::ALL.iter().copied().find(|&dtype| code(dtype) == (wanted, bits))
}
