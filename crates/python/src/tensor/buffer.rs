//! The buffer protocol: `memoryview(tensor)`.
//!
//! The stable ABI of our oldest Python, 3.10, does not name the slot of this protocol. From 3.12 on a class gets it by having a method
//! `__buffer__` (PEP 688). The type objects of 3.10 and 3.11 will never change again, so there the slot is written where it is known
//! to be.

use std::ffi::{c_char, c_int, c_void};

use numpy::PyUntypedArray;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;
use pyo3::{PyTypeInfo, ffi, intern};

use super::PyTensor;
use super::protocols::buffer_array;

/// `PyBUF_WRITABLE`.
const WRITABLE: c_int = 1;

type GetBuffer = unsafe extern "C" fn(*mut ffi::PyObject, *mut c_void, c_int) -> c_int;

/// The head of `PyTypeObject`, in CPython 3.10 and 3.11.
#[repr(C)]
struct TypeHead {
    base: ffi::PyVarObject,
    name: *const c_char,
    sizes: [ffi::Py_ssize_t; 2],
    // From tp_dealloc to tp_setattro.
    slots: [*const c_void; 14],
    as_buffer: *mut BufferSlots,
}

#[repr(C)]
struct BufferSlots {
    get: Option<GetBuffer>,
    release: *const c_void,
}

#[pymethods]
impl PyTensor {
    /// The memory as a buffer, as NumPy describes it.
    ///
    /// :raises BufferError: for bfloat16, which the protocol lacks, and for a writable view of read-only memory.
    fn __buffer__<'py>(slf: &Bound<'py, Self>, flags: c_int) -> PyResult<Bound<'py, PyMemoryView>> {
        let view = PyMemoryView::from(buffer_array(slf)?.as_any())?;
        let writable = flags & WRITABLE != 0;
        if writable && view.getattr(intern!(slf.py(), "readonly"))?.is_truthy()? {
            return Err(PyBufferError::new_err("the tensor's memory is read-only"));
        }
        Ok(view)
    }
}

/// Gives the class its slot.
pub fn install(py: Python<'_>) -> PyResult<()> {
    let class = PyTensor::type_object(py);
    let version = py.version_info();
    if version >= (3, 12) {
        // Assignment, unlike definition in C, has Python fill the slot.
        return class.setattr(intern!(py, "__buffer__"), class.getattr(intern!(py, "__buffer__"))?);
    }
    let implementation = py.import("sys")?.getattr("implementation")?.getattr("name")?;
    if implementation.eq("cpython")? {
        // SAFETY: this is CPython 3.10 or 3.11, whose type objects begin so. The class is our own, on the heap, and in no other
        // thread's hands yet.
        unsafe {
            let slots = (*class.as_type_ptr().cast::<TypeHead>()).as_buffer;
            if let Some(slots) = slots.as_mut() {
                slots.get = Some(get_buffer);
            }
        }
    }
    Ok(())
}

/// Has NumPy fill the buffer from an array over the tensor's memory, which the buffer then keeps alive.
unsafe extern "C" fn get_buffer(tensor: *mut ffi::PyObject, view: *mut c_void, flags: c_int) -> c_int {
    Python::attach(|py| {
        // SAFETY: Python calls the slot with a living tensor, and with memory for the buffer, which NumPy's own slot of the same
        // Python version fills.
        let filled = unsafe {
            let tensor = Bound::from_borrowed_ptr(py, tensor);
            tensor.cast::<PyTensor>().map_err(PyErr::from).and_then(buffer_array).and_then(|array| {
                let slots = (*PyUntypedArray::type_object(py).as_type_ptr().cast::<TypeHead>()).as_buffer;
                let get = slots.as_ref().and_then(|slots| slots.get);
                let get = get.ok_or_else(|| PyBufferError::new_err("NumPy's arrays lend no buffers"))?;
                if get(array.as_ptr(), view, flags) == 0 { Ok(()) } else { Err(PyErr::fetch(py)) }
            })
        };
        match filled {
            Ok(()) => 0,
            Err(error) => {
                error.restore(py);
                -1
            }
        }
    })
}
