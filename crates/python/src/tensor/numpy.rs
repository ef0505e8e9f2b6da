//! NumPy arrays as tensors and tensors as NumPy arrays: the same memory both ways.

use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use numpy::npyffi::{self, NPY_ARRAY_WRITEABLE, PY_ARRAY_API, npy_intp};
use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use trustformers::tensor::{Buffer, DType, Layout, Shape, Storage, Strides, Tensor};

use super::{PyTensor, dlpack, dtype};
use crate::errors;

/// The owner of borrowed memory: the array that lent it, which is handed back when asked for as a whole.
struct Lender(Py<PyUntypedArray>);

/// A tensor over the memory of `array`, whatever its strides; read-only if the array is.
///
/// # Errors
/// `TypeError` for elements that no tensor holds; `ValueError` for memory that is misaligned or has strides that are no multiples of
/// the element's size. Each says what to do.
pub fn from_numpy(array: &Bound<'_, PyUntypedArray>) -> PyResult<Tensor> {
    let dtype = dtype::of_numpy(&array.dtype())?;
    let item = dtype.size() as isize;
    let layout = layout(array, item).ok_or_else(|| {
        let message = format!(
            "the array's strides {:?} are not multiples of its element's {item} bytes: copy it with numpy.ascontiguousarray(array)",
            array.strides()
        );
        PyValueError::new_err(message)
    })?;
    let (data, flags) = data_and_flags(array);
    // Strides may be negative: the buffer starts at the lowest address, `below` elements before the first one.
    let reach = |pick: fn(isize) -> isize| -> isize {
        layout
            .shape()
            .iter()
            .zip(layout.strides())
            .map(|(&size, &stride)| (size as isize - 1) * pick(stride))
            .sum()
    };
    let empty = layout.numel() == 0;
    let below = if empty { 0 } else { -reach(|stride| stride.min(0)) };
    let above = if empty { 0 } else { reach(|stride| stride.max(0)) + 1 };
    let start = NonNull::new(data.wrapping_offset(-below * item)).unwrap_or(NonNull::dangling());
    let owner = Box::new(Lender(array.clone().unbind()));
    // SAFETY: NumPy promises that all elements lie in memory which the array keeps alive, and `owner` keeps the array.
    let buffer = unsafe {
        Buffer::foreign(start, ((below + above) * item) as usize, flags & NPY_ARRAY_WRITEABLE != 0, owner)
    };
    let layout = Layout::strided(layout.shape(), layout.strides(), below as usize);
    Tensor::from_storage(Arc::new(Storage::Cpu(buffer)), layout, dtype).map_err(|_| {
        let message = format!("the array's memory is not aligned for {dtype}: copy it with array.copy()");
        PyValueError::new_err(message)
    })
}

/// The address of the first element, and NumPy's flags.
fn data_and_flags(array: &Bound<'_, PyUntypedArray>) -> (*mut u8, c_int) {
    // SAFETY: `array` is a NumPy array, so the pointer leads to its fields.
    let fields = unsafe { &*npyffi::_PyArray_GET_ITEM_DATA(array.as_array_ptr()) };
    (fields.data.cast(), fields.flags)
}

/// Shape and strides of `array` in elements; `None` when its strides are not multiples of an element.
fn layout(array: &Bound<'_, PyUntypedArray>, item: isize) -> Option<Layout> {
    let shape = array.shape();
    if shape.contains(&0) {
        return Some(Layout::contiguous(shape));
    }
    let mut strides: Strides = Layout::contiguous(shape).strides().into();
    for ((element, &bytes), &size) in strides.iter_mut().zip(array.strides()).zip(shape) {
        if bytes % item == 0 {
            *element = bytes / item;
        } else if size > 1 {
            // Along a dimension of size 1 nobody steps, and its stride may be anything.
            return None;
        }
    }
    Some(Layout::strided(shape, &strides, 0))
}

/// A NumPy array over the memory of `tensor`, which it keeps alive. A tensor made from a whole array gives that very array back.
/// NumPy has no bfloat16, so such tensors are copied as float32.
pub fn to_numpy<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    let Storage::Cpu(buffer) = tensor.storage().as_ref() else {
        let message =
            format!("can't convert {} device type tensor to numpy: use tensor.cpu() first", tensor.device());
        return Err(PyTypeError::new_err(message));
    };
    let lender = buffer.owner().and_then(|owner| owner.downcast_ref::<Lender>());
    if let Some(Lender(array)) = lender
        && is_whole(array.bind(py), tensor)
    {
        return Ok(array.bind(py).clone().into_any());
    }
    let Some(descr) = dtype::to_numpy(py, tensor.dtype()) else {
        let float = py.detach(|| tensor.to_dtype(DType::F32)).map_err(errors::tensor)?;
        return to_numpy(py, &float);
    };
    let base = match lender {
        Some(Lender(array)) => array.bind(py).clone().into_any(),
        None => PyTensor(tensor.clone()).into_pyobject(py)?.into_any(),
    };
    let item = tensor.dtype().size() as npy_intp;
    let mut shape: Shape = tensor.shape().into();
    let mut strides: Strides = tensor.layout().strides().iter().map(|stride| stride * item).collect();
    buffer.lend();
    let flags = if buffer.is_writable() { NPY_ARRAY_WRITEABLE } else { 0 };
    // SAFETY: shape and strides have `ndim` entries and describe memory that lies within the tensor's storage, which `base` keeps
    // alive; the descriptor's reference is given away as the call wants it.
    let array = unsafe {
        let array = PY_ARRAY_API.PyArray_NewFromDescr(
            py,
            PyUntypedArray::type_object_raw(py),
            descr.into_dtype_ptr(),
            tensor.ndim() as _,
            shape.as_mut_ptr().cast(),
            strides.as_mut_ptr(),
            tensor.as_ptr().cast_mut().cast(),
            flags,
            ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(py, array)?
    };
    // SAFETY: the array is new and has no base yet; the call takes over the reference to `base`.
    let failed = unsafe { PY_ARRAY_API.PyArray_SetBaseObject(py, array.as_ptr().cast(), base.into_ptr()) };
    if failed != 0 {
        return Err(PyErr::fetch(py));
    }
    Ok(array)
}

/// Whether `tensor` is all of `array`, element for element, as both are now.
fn is_whole(array: &Bound<'_, PyUntypedArray>, tensor: &Tensor) -> bool {
    let item = tensor.dtype().size() as isize;
    let (data, _) = data_and_flags(array);
    let steps = || tensor.shape().iter().zip(tensor.layout().strides()).zip(array.strides());
    array.shape() == tensor.shape()
        && (tensor.numel() == 0
            || (ptr::eq(data, tensor.as_ptr())
                && steps().all(|((&size, &stride), &bytes)| size == 1 || stride * item == bytes)))
        && dtype::of_numpy(&array.dtype()).is_ok_and(|dtype| dtype == tensor.dtype())
}

/// A tensor from what users pass where a tensor is wanted: our own, PyTorch's and whatever speaks DLPack share memory, and so do NumPy
/// arrays where alignment, strides and byte order allow; lists, nested lists and numbers go through `numpy.asarray`.
///
/// # Errors
/// `TypeError` for what holds no numbers; `ValueError` for ragged lists.
pub fn from_object(object: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    if let Ok(tensor) = object.cast::<PyTensor>() {
        return Ok(tensor.get().0.clone());
    }
    let py = object.py();
    let array = match object.cast::<PyUntypedArray>() {
        Ok(array) => array.clone(),
        Err(_) if object.hasattr(intern!(py, "__dlpack__"))? => return from_foreign(object),
        Err(_) => {
            py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "asarray"), (object,))?.cast_into()?
        }
    };
    match from_numpy(&array) {
        Ok(tensor) => Ok(tensor),
        Err(error) if is_number(&array) => {
            // Odd strides, alignment or byte order: all that a native copy cures.
            let native = array.dtype().call_method1(intern!(py, "newbyteorder"), ("=",))?;
            let copy = array.call_method1(intern!(py, "astype"), (native, "C"))?;
            from_numpy(copy.cast()?).map_err(|_| error)
        }
        Err(error) if object.cast::<PyUntypedArray>().is_err() => {
            let message =
                format!("a {} cannot become a tensor: {}", object.get_type().name()?, error.value(py));
            Err(PyTypeError::new_err(message))
        }
        Err(error) => Err(error),
    }
}

/// PyTorch's tensors keep their gradients; others are borrowed through DLPack.
fn from_foreign(object: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    let py = object.py();
    let torch = py
        .import(intern!(py, "sys"))?
        .getattr(intern!(py, "modules"))?
        .call_method1(intern!(py, "get"), ("torch",))?;
    if !torch.is_none() && object.is_instance(&torch.getattr(intern!(py, "Tensor"))?)? {
        let bridge = py.import(intern!(py, "trustformers._torch"))?;
        let tensor = bridge.call_method1(intern!(py, "from_torch"), (object,))?;
        return Ok(tensor.cast::<PyTensor>()?.get().0.clone());
    }
    dlpack::import(object)
}

fn is_number(array: &Bound<'_, PyUntypedArray>) -> bool {
    matches!(array.dtype().kind(), b'b' | b'i' | b'u' | b'f' | b'c')
}
