//! How other array libraries see a tensor: NumPy's protocols and DLPack.

use numpy::PyUntypedArray;
use pyo3::exceptions::{PyAttributeError, PyBufferError, PyRuntimeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};
use trustformers::tensor::{DType, Storage};

use super::dlpack::{self, Wish};
use super::numpy::to_numpy;
use super::{PyTensor, dtype};

#[pymethods]
impl PyTensor {
    /// For ``numpy.asarray``: the tensor's memory, unless ``dtype`` or ``copy`` ask for a copy.
    #[pyo3(signature = (dtype=None, *, copy=None))]
    fn __array__<'py>(
        &self,
        py: Python<'py>,
        dtype: Option<&Bound<'py, PyAny>>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let array = self.numpy(py)?;
        let other = match dtype {
            Some(dtype) => !array.getattr(intern!(py, "dtype"))?.eq(dtype)?,
            None => false,
        };
        let copied = self.0.dtype() == DType::BF16;
        if copy == Some(false) && (other || copied) {
            let message = format!("a {} tensor cannot be seen as that dtype without a copy", self.0.dtype());
            return Err(PyValueError::new_err(message));
        }
        if other {
            array.call_method1(intern!(py, "astype"), (dtype,))
        } else if copy == Some(true) && !copied {
            array.call_method0(intern!(py, "copy"))
        } else {
            Ok(array)
        }
    }

    /// What notebooks show: shape, dtype, and the values of rows and matrices as a table.
    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        py.import(intern!(py, "trustformers._display"))?.call_method1(intern!(py, "tensor_html"), (slf,))
    }

    /// For NumPy's functions of elements, such as ``numpy.exp``: the result is a tensor.
    #[pyo3(signature = (ufunc, method, *inputs, **options))]
    fn __array_ufunc__<'py>(
        slf: &Bound<'py, Self>,
        ufunc: &Bound<'py, PyAny>,
        method: &Bound<'py, PyAny>,
        inputs: &Bound<'py, PyTuple>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let call = py.import(intern!(py, "trustformers._numpy"))?.getattr(intern!(py, "array_ufunc"))?;
        call.call1((ufunc, method, inputs, options))
    }

    /// For NumPy's other functions, such as ``numpy.concatenate``: the result is a tensor.
    fn __array_function__<'py>(
        slf: &Bound<'py, Self>,
        func: &Bound<'py, PyAny>,
        types: &Bound<'py, PyAny>,
        args: &Bound<'py, PyAny>,
        kwargs: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let call = py.import(intern!(py, "trustformers._numpy"))?.getattr(intern!(py, "array_function"))?;
        call.call1((func, types, args, kwargs))
    }

    /// For PyTorch's functions, such as ``torch.softmax``: the result is a tensor, and gradients flow through.
    #[classmethod]
    #[pyo3(signature = (func, types, args=None, kwargs=None))]
    fn __torch_function__<'py>(
        cls: &Bound<'py, PyType>,
        func: &Bound<'py, PyAny>,
        types: &Bound<'py, PyAny>,
        args: Option<&Bound<'py, PyTuple>>,
        kwargs: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = cls.py();
        let call = py.import(intern!(py, "trustformers._torch"))?.getattr(intern!(py, "torch_function"))?;
        call.call1((func, types, args, kwargs))
    }

    /// A tensor over the memory of PyTorch's: nothing is copied, gradients flow through.
    ///
    /// :raises TypeError: for what is no dense ``torch.Tensor``.
    /// :raises BufferError: for a tensor on another device.
    #[staticmethod]
    fn from_torch<'py>(tensor: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = tensor.py();
        py.import(intern!(py, "trustformers._torch"))?.call_method1(intern!(py, "from_torch"), (tensor,))
    }

    /// PyTorch's tensor over this memory: nothing is copied, gradients flow through. Imports PyTorch.
    fn to_torch<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        py.import(intern!(py, "trustformers._torch"))?.call_method1(intern!(py, "to_torch"), (slf,))
    }

    /// Lends the memory as a DLPack capsule, of the newest version that the consumer's ``max_version`` allows.
    ///
    /// Of a tensor on a GPU, ``stream`` is the address of the consumer's, which then waits for ours; 1 is CUDA's default stream, -1
    /// asks for no waiting. For ``dl_device=(1, 0)`` it is copied to the processor.
    ///
    /// :raises BufferError: for another device than the tensor's, for read-only memory to a consumer older than version 1, and for
    ///     a tensor that requires a gradient.
    #[pyo3(signature = (*, stream=None, max_version=None, dl_device=None, copy=None))]
    fn __dlpack__<'py>(
        &self,
        py: Python<'py>,
        stream: Option<Bound<'py, PyAny>>,
        max_version: Option<(u32, u32)>,
        dl_device: Option<(i32, i32)>,
        copy: Option<bool>,
    ) -> PyResult<Bound<'py, PyAny>> {
        dlpack::export(py, &self.0, Wish { stream, max_version, device: dl_device, copy })
    }

    /// CUDA's description of the memory of a tensor on a GPU, which libraries like CuPy and Numba read:
    /// <https://numba.readthedocs.io/en/stable/cuda/cuda_array_interface.html>.
    ///
    /// :raises AttributeError: for a tensor on the processor, and for bfloat16, which it has no letters for.
    /// :raises RuntimeError: for a tensor that requires a gradient, which would be lost.
    #[getter]
    fn __cuda_array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let Storage::Cuda(memory) = self.0.storage().as_ref() else {
            let message = "a tensor on the CPU has no __cuda_array_interface__: call cuda() first";
            return Err(PyAttributeError::new_err(message));
        };
        let Some(descr) = dtype::to_numpy(py, self.0.dtype()) else {
            return Err(PyAttributeError::new_err("__cuda_array_interface__ has no bfloat16"));
        };
        if self.0.requires_grad() {
            let message = "the gradient of this tensor would be lost: call detach() first";
            return Err(PyRuntimeError::new_err(message));
        }
        let item = self.0.dtype().size() as isize;
        let strides = self.0.layout().strides().iter().map(|stride| stride * item);
        let about = PyDict::new(py);
        about.set_item("shape", PyTuple::new(py, self.0.shape())?)?;
        about.set_item("typestr", descr.getattr(intern!(py, "str"))?)?;
        about.set_item("data", (self.0.as_ptr() as usize, false))?;
        about.set_item("strides", PyTuple::new(py, strides.collect::<Vec<_>>())?)?;
        about.set_item("stream", memory.gpu().stream() as usize)?;
        about.set_item("version", 3)?;
        Ok(about)
    }

    /// DLPack's numbers for the device: its kind and its index.
    fn __dlpack_device__(&self) -> (i32, i32) {
        dlpack::device(&self.0)
    }

    /// A tensor over the memory of any object that speaks DLPack, or of a capsule: nothing is copied.
    ///
    /// :raises TypeError: when ``object`` does not speak DLPack.
    /// :raises BufferError: for memory of another device, or elements that no tensor holds.
    /// :raises ValueError: for a capsule that was taken before.
    #[staticmethod]
    fn from_dlpack(object: &Bound<'_, PyAny>) -> PyResult<PyTensor> {
        dlpack::import(object).map(PyTensor)
    }
}

/// The array that stands for the tensor in the buffer protocol.
pub fn buffer_array<'py>(tensor: &Bound<'py, PyTensor>) -> PyResult<Bound<'py, PyUntypedArray>> {
    if tensor.get().0.requires_grad() {
        return Err(PyBufferError::new_err(
            "a tensor that requires a gradient cannot be lent: call detach() first",
        ));
    }
    if tensor.get().0.dtype() == DType::BF16 {
        return Err(PyBufferError::new_err(
            "the buffer protocol has no bfloat16: convert the tensor to float32",
        ));
    }
    Ok(to_numpy(tensor.py(), &tensor.get().0)?.cast_into()?)
}
