//! Other dtypes, other devices, and Python's own numbers.

use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyInt, PyTuple};
use trustformers::tensor::{DType, Device, Tensor};

use super::args::apply;
use super::device::{self, At};
use super::numpy::to_numpy;
use super::{PyTensor, dtype};
use crate::errors;
use crate::interrupt::detached;

/// The one element, for Python's number types.
fn only<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    if tensor.numel() != 1 {
        let message =
            format!("only a tensor of one element is a number, this one has shape {:?}", tensor.shape());
        return Err(PyValueError::new_err(message));
    }
    to_numpy(py, &to_host(py, tensor)?)?.call_method0(intern!(py, "item"))
}

/// The same numbers where the processor reads them.
///
/// # Errors
/// `RuntimeError` when the device is lost.
pub fn to_host(py: Python<'_>, tensor: &Tensor) -> PyResult<Tensor> {
    match tensor.device() {
        Device::Cpu => Ok(tensor.clone()),
        _ => detached(py, || tensor.detach().to_host()).map_err(errors::tensor),
    }
}

/// The same bytes as elements of `dtype`, which must be as wide.
///
/// # Errors
/// `ValueError` for another width, and for a tensor that asks for a gradient, which bits have not.
pub fn view_as(tensor: &Tensor, dtype: DType) -> PyResult<Tensor> {
    if dtype == tensor.dtype() {
        return Ok(tensor.clone());
    }
    if dtype.size() != tensor.dtype().size() {
        let message =
            format!("elements of {} cannot be seen as {dtype}, which is of another width", tensor.dtype());
        return Err(PyValueError::new_err(message));
    }
    if tensor.requires_grad() {
        return Err(PyValueError::new_err(
            "the bits of a tensor that requires a gradient have none: call detach() first",
        ));
    }
    Tensor::from_storage(tensor.storage().clone(), tensor.layout().clone(), dtype).map_err(errors::tensor)
}

/// The same numbers as `dtype`, with PyTorch's warning where imaginary parts are lost.
///
/// # Errors
/// The warning, where warnings are errors.
fn cast(py: Python<'_>, tensor: &Tensor, dtype: DType) -> PyResult<PyTensor> {
    if tensor.dtype().is_complex() && !dtype.is_complex() && dtype != DType::Bool {
        let message = c"casting complex numbers to real ones discards the imaginary part";
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), message, 1)?;
    }
    apply(py, tensor, |x| x.to_dtype(dtype))
}

/// The same numbers on `device`.
fn moved(py: Python<'_>, tensor: &Tensor, device: Device) -> PyResult<Tensor> {
    if tensor.device() == device {
        return Ok(tensor.clone());
    }
    detached(py, || tensor.to_device(device)).map_err(errors::tensor)
}

/// The function that restores a pickled tensor, and its arguments.
type Reduced<'py> = (Bound<'py, PyAny>, (Bound<'py, PyAny>, &'static str, bool, String));

macro_rules! casts {
    ($($name:ident $dtype:ident $doc:literal;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("The same numbers as ", $doc, ": the tensor itself where they are so already.")]
                fn $name(&self, py: Python<'_>) -> PyResult<PyTensor> {
                    cast(py, &self.0, DType::$dtype)
                }
            )*
        }
    };
}

casts! {
    bool Bool "bools, true for all but zero";
    char I8 "int8";
    short I16 "int16";
    int I32 "int32";
    long I64 "int64";
    byte U8 "uint8";
    half F16 "float16";
    bfloat16 BF16 "bfloat16";
    float F32 "float32";
    double F64 "float64";
    cfloat C64 "complex64";
    cdouble C128 "complex128";
}

#[pymethods]
impl PyTensor {
    /// The same numbers as another dtype or on another device, or as and where those of another tensor are: the tensor itself where nothing
    /// changes, unless ``copy``. The gradient comes back from there.
    ///
    /// What is copied may be changed as soon as this returns, so ``non_blocking`` says nothing.
    ///
    /// :raises RuntimeError: for a device that is not there.
    #[pyo3(signature = (*args, dtype=None, device=None, non_blocking=false, copy=false))]
    fn to(
        &self,
        py: Python<'_>,
        args: &Bound<'_, PyTuple>,
        dtype: Option<&Bound<'_, PyAny>>,
        device: Option<At>,
        non_blocking: bool,
        mut copy: bool,
    ) -> PyResult<PyTensor> {
        _ = non_blocking;
        let mut dtype = dtype.map(dtype::parse).transpose()?;
        let mut device = device.map(|At(device)| device);
        let mut flags = Vec::new();
        for arg in args {
            if let Ok(other) = arg.cast::<PyTensor>() {
                (dtype, device) = (Some(other.get().0.dtype()), Some(other.get().0.device()));
            } else if arg.is_instance_of::<PyBool>() {
                flags.push(arg.is_truthy()?);
            } else if !arg.is_none() {
                match dtype::parse(&arg) {
                    Ok(wanted) => dtype = Some(wanted),
                    // PyTorch's devices have an index, as text and numbers can be one.
                    Err(error) if !arg.hasattr(intern!(py, "index"))? && !arg.is_instance_of::<PyInt>() => {
                        return Err(error);
                    }
                    Err(_) => device = Some(device::parse(&arg)?),
                }
            }
        }
        // The second of torch's positional flags; the first is `non_blocking`.
        copy |= flags.get(1).copied().unwrap_or(false);
        let (dtype, device) = (dtype.unwrap_or(self.0.dtype()), device.unwrap_or(self.0.device()));
        let moved = moved(py, &self.0, device)?;
        if copy && device == self.0.device() && dtype == self.0.dtype() {
            return apply(py, &moved, Tensor::copy);
        }
        cast(py, &moved, dtype)
    }

    /// The same numbers as ``dtype``.
    fn r#type(&self, py: Python<'_>, dtype: &Bound<'_, PyAny>) -> PyResult<PyTensor> {
        cast(py, &self.0, dtype::parse(dtype)?)
    }

    /// The same numbers as the dtype of ``other``.
    fn type_as(&self, py: Python<'_>, other: &Bound<'_, PyTensor>) -> PyResult<PyTensor> {
        cast(py, &self.0, other.get().0.dtype())
    }

    /// The tensor on the CPU: itself if it is there.
    fn cpu(&self, py: Python<'_>) -> PyResult<PyTensor> {
        moved(py, &self.0, Device::Cpu).map(PyTensor)
    }

    /// The tensor on a GPU, the current one unless ``device`` names another: itself if it is there.
    #[pyo3(signature = (device=None, non_blocking=false))]
    fn cuda(&self, py: Python<'_>, device: Option<At>, non_blocking: bool) -> PyResult<PyTensor> {
        _ = non_blocking;
        let device = match device {
            Some(At(device)) => device,
            None => device::parse(intern!(py, "cuda").as_any())?,
        };
        if device == Device::Cpu {
            return Err(PyRuntimeError::new_err("Invalid device, must be cuda device"));
        }
        moved(py, &self.0, device).map(PyTensor)
    }

    /// Whether elements are real floating-point numbers.
    fn is_floating_point(&self) -> bool {
        self.0.dtype().is_float()
    }

    /// Whether elements are complex numbers.
    fn is_complex(&self) -> bool {
        self.0.dtype().is_complex()
    }

    /// Bytes of one element, as torch calls it.
    fn element_size(&self) -> usize {
        self.0.dtype().size()
    }

    fn __bool__(&self, py: Python<'_>) -> PyResult<bool> {
        if self.0.numel() != 1 {
            let message = format!(
                "the truth of a tensor of shape {:?} is ambiguous: use any() or all()",
                self.0.shape()
            );
            return Err(PyValueError::new_err(message));
        }
        only(py, &self.0)?.is_truthy()
    }

    fn __float__(&self, py: Python<'_>) -> PyResult<f64> {
        only(py, &self.0)?.extract()
    }

    fn __int__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        only(py, &self.0)?.call_method0(intern!(py, "__int__"))
    }

    fn __complex__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        py.import("builtins")?.getattr("complex")?.call1((only(py, &self.0)?,))
    }

    fn __index__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if !self.0.dtype().is_int() {
            let message =
                format!("only a tensor of integers can be an index, this one is {}", self.0.dtype());
            return Err(PyTypeError::new_err(message));
        }
        only(py, &self.0)
    }

    fn __format__<'py>(slf: &Bound<'py, Self>, spec: &str) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let value = if slf.get().0.ndim() == 0 && !spec.is_empty() {
            only(py, &slf.get().0)?
        } else {
            slf.str()?.into_any()
        };
        value.call_method1(intern!(py, "__format__"), (spec,))
    }

    fn __copy__(&self) -> PyTensor {
        PyTensor(self.0.clone())
    }

    fn __deepcopy__(&self, py: Python<'_>, _memo: &Bound<'_, PyDict>) -> PyResult<PyTensor> {
        let copy = apply(py, &self.0, |x| x.detach().copy())?;
        copy.0.set_requires_grad_as(&self.0).map_err(errors::tensor)?;
        Ok(copy)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        let restore = py.import("trustformers._engine")?.getattr("_restore")?;
        let whole = to_host(py, &self.0)?.detach().contiguous().map_err(errors::tensor)?;
        // bfloat16, which NumPy lacks, travels as bits.
        let bits = if whole.dtype() == DType::BF16 { view_as(&whole, DType::U16)? } else { whole };
        let place = self.0.device().to_string();
        Ok((restore, (to_numpy(py, &bits)?, self.0.dtype().name(), self.0.requires_grad(), place)))
    }
}

/// A tensor from what `__reduce__` made of it.
#[pyfunction]
#[pyo3(
    signature = (array, dtype, requires_grad, device=At(Device::Cpu)),
    text_signature = "(array, dtype, requires_grad, device=\"cpu\")"
)]
pub fn _restore(
    array: &Bound<'_, PyAny>,
    dtype: &str,
    requires_grad: bool,
    device: At,
) -> PyResult<PyTensor> {
    let tensor = view_as(&super::from_object(array)?, dtype.parse().map_err(errors::tensor)?)?;
    let tensor = moved(array.py(), &tensor, device.0)?;
    if requires_grad {
        tensor.set_requires_grad(true).map_err(errors::tensor)?;
    }
    Ok(PyTensor(tensor))
}
