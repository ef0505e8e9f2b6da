//! Other dtypes, other devices, and Python's own numbers.

use pyo3::exceptions::{PyTypeError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use pyo3::{Borrowed, intern};
use trustformers::tensor::{DType, Tensor};

use super::args::apply;
use super::numpy::to_numpy;
use super::{PyTensor, dtype};
use crate::errors;

/// The one element, for Python's number types.
fn only<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    if tensor.numel() != 1 {
        let message =
            format!("only a tensor of one element is a number, this one has shape {:?}", tensor.shape());
        return Err(PyValueError::new_err(message));
    }
    to_numpy(py, tensor)?.call_method0(intern!(py, "item"))
}

/// Refuses devices that are not there.
///
/// # Errors
/// `ValueError` that names the device.
pub fn expect_cpu(name: &str) -> PyResult<()> {
    if name == "cpu" {
        return Ok(());
    }
    Err(PyValueError::new_err(format!("there is no device '{name}' here: use 'cpu'")))
}

/// A `device` argument, by name or as PyTorch's object: it must be there.
pub struct OnCpu;

impl<'py> FromPyObject<'_, 'py> for OnCpu {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<OnCpu> {
        expect_cpu(object.str()?.to_str()?).map(|()| OnCpu)
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

/// The function that restores a pickled tensor, and its arguments.
type Reduced<'py> = (Bound<'py, PyAny>, (Bound<'py, PyAny>, &'static str, bool));

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
    /// The same numbers as another dtype or on another device, or as those of another tensor: the tensor itself where nothing changes,
    /// unless ``copy``.
    #[pyo3(signature = (target=None, *, dtype=None, device=None, copy=false))]
    fn to(
        &self,
        py: Python<'_>,
        target: Option<&Bound<'_, PyAny>>,
        dtype: Option<&Bound<'_, PyAny>>,
        device: Option<OnCpu>,
        copy: bool,
    ) -> PyResult<PyTensor> {
        let mut wanted = dtype.map(dtype::parse).transpose()?.unwrap_or(self.0.dtype());
        let _ = device;
        if let Some(target) = target {
            match target.cast::<PyTensor>() {
                Ok(other) => wanted = other.get().0.dtype(),
                Err(_) => match dtype::parse(target) {
                    Ok(dtype) => wanted = dtype,
                    Err(error) => match target.cast::<PyString>() {
                        Ok(name) => expect_cpu(name.to_str()?)?,
                        Err(_) => return Err(error),
                    },
                },
            }
        }
        if copy && wanted == self.0.dtype() {
            return apply(py, &self.0, Tensor::copy);
        }
        cast(py, &self.0, wanted)
    }

    /// The same numbers as ``dtype``.
    fn r#type(&self, py: Python<'_>, dtype: &Bound<'_, PyAny>) -> PyResult<PyTensor> {
        cast(py, &self.0, dtype::parse(dtype)?)
    }

    /// The same numbers as the dtype of ``other``.
    fn type_as(&self, py: Python<'_>, other: &Bound<'_, PyTensor>) -> PyResult<PyTensor> {
        cast(py, &self.0, other.get().0.dtype())
    }

    /// The tensor on the CPU: itself.
    fn cpu(&self) -> PyTensor {
        PyTensor(self.0.clone())
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
        copy.0.set_requires_grad(self.0.requires_grad()).map_err(errors::tensor)?;
        Ok(copy)
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        let restore = py.import("trustformers._engine")?.getattr("_restore")?;
        let whole = self.0.detach().contiguous().map_err(errors::tensor)?;
        // bfloat16, which NumPy lacks, travels as bits.
        let bits = if whole.dtype() == DType::BF16 { view_as(&whole, DType::U16)? } else { whole };
        Ok((restore, (to_numpy(py, &bits)?, self.0.dtype().name(), self.0.requires_grad())))
    }
}

/// A tensor from what `__reduce__` made of it.
#[pyfunction]
pub fn _restore(array: &Bound<'_, PyAny>, dtype: &str, requires_grad: bool) -> PyResult<PyTensor> {
    let tensor = view_as(&super::from_object(array)?, dtype.parse().map_err(errors::tensor)?)?;
    tensor.set_requires_grad(requires_grad).map_err(errors::tensor)?;
    Ok(PyTensor(tensor))
}
