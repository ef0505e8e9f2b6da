//! Arguments as Python users write them.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyFloat, PyInt, PyString, PyTuple};
use pyo3::{Borrowed, intern};
use trustformers::tensor::{Device, Operand, Result, Scalar, Shape, Tensor};

use super::PyTensor;
use super::numpy::from_object;
use crate::errors;
use crate::interrupt::detached;

/// Work on fewer elements takes less time than giving up the GIL and getting it back.
const DETACH_FROM: usize = 8192;

/// Runs `work`, which computes on about `elements` elements, without the GIL where that pays.
pub fn compute<R: Send>(
    py: Python<'_>,
    elements: usize,
    work: impl FnOnce() -> Result<R> + Send,
) -> PyResult<R> {
    let result = if elements < DETACH_FROM { work() } else { detached(py, work) };
    result.map_err(errors::tensor)
}

/// [`compute`], for the usual case of one tensor in and one out.
pub fn apply(
    py: Python<'_>,
    tensor: &Tensor,
    work: impl FnOnce(&Tensor) -> Result<Tensor> + Send,
) -> PyResult<PyTensor> {
    // What is asked of a GPU may wait for its compiler or for its work.
    let elements = if tensor.device() == Device::Cpu { tensor.numel() } else { usize::MAX };
    compute(py, elements, || work(tensor)).map(PyTensor)
}

/// The other operand: a tensor, or what can become one; a plain number, which does not change the tensor's dtype.
pub enum Other {
    /// A tensor.
    Tensor(Tensor),
    /// A number.
    Scalar(Scalar),
}

impl Other {
    /// The operand as operations take it.
    pub fn operand(&self) -> Operand<'_> {
        match self {
            Other::Tensor(tensor) => Operand::Tensor(tensor),
            Other::Scalar(scalar) => Operand::Scalar(*scalar),
        }
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        match self {
            Other::Tensor(tensor) => tensor.numel(),
            Other::Scalar(_) => 1,
        }
    }

    /// The operand as a tensor; a number as one without dimensions, of torch's default dtype for it.
    pub fn tensor(self) -> PyResult<Tensor> {
        match self {
            Other::Tensor(tensor) => Ok(tensor),
            Other::Scalar(scalar) => Tensor::scalar(scalar, scalar.dtype()).map_err(errors::tensor),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Other {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Other> {
        if let Ok(tensor) = object.cast::<PyTensor>() {
            return Ok(Other::Tensor(tensor.get().0.clone()));
        }
        if let Some(scalar) = scalar(&object)? {
            return Ok(Other::Scalar(scalar));
        }
        if object.is_instance_of::<PyString>() || object.is_none() {
            return Err(PyTypeError::new_err(format!("a {} is no number", object.get_type().name()?)));
        }
        from_object(&object).map(Other::Tensor)
    }
}

/// The number that `object` is, if it is a number of Python's or NumPy's.
///
/// # Errors
/// `OverflowError` for integers beyond 64 bits.
pub fn scalar(object: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    if object.is_exact_instance_of::<PyFloat>() {
        return Ok(Some(Scalar::Float(object.extract()?)));
    }
    if object.is_instance_of::<PyBool>() {
        return Ok(Some(Scalar::Bool(object.is_truthy()?)));
    }
    if object.is_instance_of::<PyInt>() {
        return Ok(Some(Scalar::Int(object.extract()?)));
    }
    if object.is_instance_of::<PyFloat>() {
        return Ok(Some(Scalar::Float(object.extract()?)));
    }
    let py = object.py();
    let generic = py.import(intern!(py, "numpy"))?.getattr(intern!(py, "generic"))?;
    if object.is_instance(&generic)? {
        let number = object.call_method0(intern!(py, "item"))?;
        return if number.is_instance(&generic)? { Ok(None) } else { scalar(&number) };
    }
    Ok(None)
}

/// Sizes or dimensions, given one by one or as one sequence: `f(2, 3)` and `f((2, 3))`.
pub fn integers(args: &Bound<'_, PyTuple>) -> PyResult<Vec<i64>> {
    if args.len() == 1
        && let Ok(list) = args.get_item(0)?.extract::<Vec<i64>>()
    {
        return Ok(list);
    }
    args.extract().map_err(|_| PyTypeError::new_err(format!("the arguments must be integers, got {args}")))
}

/// Sizes for a new tensor, given one by one or as one sequence.
pub fn shape(args: &Bound<'_, PyTuple>) -> PyResult<Shape> {
    let sizes = integers(args)?;
    let refuse = |_| PyValueError::new_err(format!("sizes must not be negative, got {sizes:?}"));
    sizes.iter().map(|&size| usize::try_from(size)).collect::<std::result::Result<_, _>>().map_err(refuse)
}

/// The dimensions to work over: `dim=`, or NumPy's `axis=`; one, several, or none.
#[derive(Default)]
pub struct Axes(pub Vec<isize>);

impl<'py> FromPyObject<'_, 'py> for Axes {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Axes> {
        match object.extract::<isize>() {
            Ok(axis) => Ok(Axes(vec![axis])),
            Err(_) => object.extract().map(Axes).map_err(|_| {
                PyTypeError::new_err(format!("dim must be an integer or several, got {}", object.as_any()))
            }),
        }
    }
}

/// The one of `dim` and `axis` that was given.
///
/// # Errors
/// `TypeError` when both were.
pub fn either<T>(dim: Option<T>, axis: Option<T>) -> PyResult<Option<T>> {
    match (dim, axis) {
        (Some(_), Some(_)) => Err(PyTypeError::new_err("dim and axis are the same: give one of them")),
        (dim, axis) => Ok(dim.or(axis)),
    }
}
