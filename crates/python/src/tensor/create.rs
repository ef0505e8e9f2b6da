//! Tensors from numbers, and from nothing but a shape.

use std::sync::RwLock;

use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use trustformers::tensor::ops::Generator;
use trustformers::tensor::{DType, Device, Result, Scalar, Tensor};

use super::args::{Other, compute, scalar, shape};
use super::device::At;
use super::numpy::from_object;
use super::{PyTensor, dtype};
use crate::errors;

/// A dtype argument, or what it is when left out.
fn dtype_or(given: Option<&Bound<'_, PyAny>>, default: DType) -> PyResult<DType> {
    given.map_or(Ok(default), dtype::parse)
}

fn number(object: &Bound<'_, PyAny>) -> PyResult<Scalar> {
    scalar(object)?.ok_or_else(|| PyTypeError::new_err(format!("a number is needed, got {object}")))
}

/// What `make` makes, brought to a device if that makes it elsewhere.
fn made(
    py: Python<'_>,
    elements: usize,
    device: Device,
    requires_grad: bool,
    make: impl FnOnce() -> Result<Tensor> + Send,
) -> PyResult<PyTensor> {
    let elements = if device == Device::Cpu { elements } else { usize::MAX };
    let tensor = compute(py, elements, || make()?.to_device(device))?;
    if requires_grad {
        tensor.set_requires_grad(true).map_err(errors::tensor)?;
    }
    Ok(PyTensor(tensor))
}

/// A device argument, or what it is when left out.
fn on(device: Option<At>) -> Device {
    device.map_or(Device::Cpu, |At(device)| device)
}

fn product(shape: &[usize]) -> usize {
    shape.iter().fold(1, |n, &size| n.saturating_mul(size))
}

/// Python's own floats become float32, as torch's default has it; arrays and tensors keep their dtype.
fn default_dtype(data: &Bound<'_, PyAny>, tensor: &Tensor) -> DType {
    let typed = data.hasattr("dtype").unwrap_or(false) || data.hasattr("__array__").unwrap_or(false);
    match tensor.dtype() {
        DType::F64 if !typed => DType::F32,
        DType::C128 if !typed => DType::C64,
        dtype => dtype,
    }
}

/// A new tensor with a copy of ``data``: a number, nested lists, an array, a tensor. Python's floats become float32.
///
/// :raises TypeError: for what holds no numbers.
#[pyfunction]
#[pyo3(signature = (data, *, dtype=None, device=None, requires_grad=false))]
pub fn tensor(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    let source = from_object(data)?;
    let dtype = dtype_or(dtype, default_dtype(data, &source))?;
    let device = device.map_or(source.device(), |At(device)| device);
    let moves = device != source.device();
    made(py, source.numel(), device, requires_grad, || {
        let source = source.detach();
        if source.dtype() != dtype {
            source.to_dtype(dtype)
        } else if moves {
            Ok(source)
        } else {
            source.copy()
        }
    })
}

/// A tensor from a tensor, an array, a number or nested lists; memory is shared where it can be. Python's floats become float32.
///
/// :raises TypeError: for what holds no numbers.
#[pyfunction]
#[pyo3(signature = (data, dtype=None, device=None))]
pub fn as_tensor(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
) -> PyResult<PyTensor> {
    let source = from_object(data)?;
    let dtype = dtype_or(dtype, default_dtype(data, &source))?;
    let device = device.map_or(source.device(), |At(device)| device);
    made(py, source.numel(), device, false, || source.to_dtype(dtype))
}

/// A tensor of zeros.
#[pyfunction]
#[pyo3(signature = (*size, dtype=None, device=None, requires_grad=false))]
pub fn zeros(
    py: Python<'_>,
    size: &Bound<'_, PyTuple>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    let (shape, dtype) = (shape(size)?, dtype_or(dtype, DType::F32)?);
    let device = on(device);
    made(py, product(&shape), device, requires_grad, || Tensor::zeros_on(&shape, dtype, device))
}

/// A tensor of ones.
#[pyfunction]
#[pyo3(signature = (*size, dtype=None, device=None, requires_grad=false))]
pub fn ones(
    py: Python<'_>,
    size: &Bound<'_, PyTuple>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    let (shape, dtype) = (shape(size)?, dtype_or(dtype, DType::F32)?);
    let device = on(device);
    made(py, product(&shape), device, requires_grad, || Tensor::full_on(&shape, 1i64, dtype, device))
}

/// A tensor whose elements all are ``fill_value``.
#[pyfunction]
#[pyo3(signature = (size, fill_value, *, dtype=None, device=None, requires_grad=false))]
pub fn full(
    py: Python<'_>,
    size: Vec<usize>,
    fill_value: &Bound<'_, PyAny>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    match fill_value.extract::<Other>()? {
        Other::Scalar(value) => {
            let dtype = dtype_or(dtype, value.dtype())?;
            let device = on(device);
            made(py, product(&size), device, requires_grad, || Tensor::full_on(&size, value, dtype, device))
        }
        Other::Tensor(value) => {
            let dtype = dtype_or(dtype, default_dtype(fill_value, &value))?;
            made(py, product(&size), on(device), requires_grad, || {
                value.detach().to_dtype(dtype)?.reshape(&[])?.expand(&size)?.copy()
            })
        }
    }
}

/// Zeros of the shape of ``input``, and of its dtype unless another is given.
#[pyfunction]
#[pyo3(signature = (input, *, dtype=None, device=None))]
pub fn zeros_like(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
) -> PyResult<PyTensor> {
    let like = &input.get().0;
    let dtype = dtype_or(dtype, like.dtype())?;
    let device = device.map_or(like.device(), |At(device)| device);
    made(py, like.numel(), device, false, || Tensor::zeros_on(like.shape(), dtype, device))
}

/// Ones of the shape of ``input``, and of its dtype unless another is given.
#[pyfunction]
#[pyo3(signature = (input, *, dtype=None, device=None))]
pub fn ones_like(
    py: Python<'_>,
    input: &Bound<'_, PyTensor>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
) -> PyResult<PyTensor> {
    let like = &input.get().0;
    let dtype = dtype_or(dtype, like.dtype())?;
    let device = device.map_or(like.device(), |At(device)| device);
    made(py, like.numel(), device, false, || Tensor::full_on(like.shape(), 1i64, dtype, device))
}

/// ``start``, ``start + step`` and so on before ``end``; from 0 with one argument. int64 for integers, float32 otherwise.
#[pyfunction]
#[pyo3(signature = (start, end=None, step=None, *, dtype=None, device=None))]
pub fn arange(
    py: Python<'_>,
    start: &Bound<'_, PyAny>,
    end: Option<&Bound<'_, PyAny>>,
    step: Option<&Bound<'_, PyAny>>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
) -> PyResult<PyTensor> {
    let (start, end) = match end {
        None => (Scalar::Int(0), number(start)?),
        Some(end) => (number(start)?, number(end)?),
    };
    let step = step.map_or(Ok(Scalar::Int(1)), number)?;
    let fractional = [start, end, step].iter().any(|x| matches!(x, Scalar::Float(_)));
    let dtype = dtype_or(dtype, if fractional { DType::F32 } else { DType::I64 })?;
    made(py, 1, on(device), false, || Tensor::arange(start, end, step, dtype))
}

/// ``steps`` numbers at equal distances from ``start`` to ``end``, both included.
#[pyfunction]
#[pyo3(signature = (start, end, steps, *, dtype=None, device=None))]
pub fn linspace(
    py: Python<'_>,
    start: f64,
    end: f64,
    steps: usize,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
) -> PyResult<PyTensor> {
    let dtype = dtype_or(dtype, DType::F32)?;
    made(py, steps, on(device), false, || Tensor::linspace(start, end, steps, dtype))
}

/// Ones on the diagonal of a matrix of zeros with ``n`` rows, and as many columns unless ``m`` says otherwise.
#[pyfunction]
#[pyo3(signature = (n, m=None, *, dtype=None, device=None))]
pub fn eye(
    py: Python<'_>,
    n: usize,
    m: Option<usize>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
) -> PyResult<PyTensor> {
    let (m, dtype) = (m.unwrap_or(n), dtype_or(dtype, DType::F32)?);
    made(py, n.saturating_mul(m), on(device), false, || Tensor::eye(n, m, dtype))
}

/// Where random numbers come from. Replaced as a whole by `manual_seed`.
static GENERATOR: RwLock<Option<Generator>> = RwLock::new(None);

/// Draws from the process's generator, which is seeded by the system unless `manual_seed` was called.
pub fn draw<R>(work: impl FnOnce(&Generator) -> R) -> PyResult<R> {
    let broken = |_| PyRuntimeError::new_err("the random generator was left in disorder: call manual_seed");
    {
        let generator = GENERATOR.read().map_err(|_| broken(()))?;
        if let Some(generator) = generator.as_ref() {
            return Ok(work(generator));
        }
    }
    let mut generator = GENERATOR.write().map_err(|_| broken(()))?;
    Ok(work(generator.get_or_insert_with(|| Generator::new(entropy()))))
}

/// A seed that no two processes share: the standard library draws the keys of its hash maps from the system.
fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}

/// Makes all random numbers that follow repeatable.
#[pyfunction]
pub fn manual_seed(seed: u64) -> PyResult<()> {
    let mut generator = GENERATOR.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    *generator = Some(Generator::new(seed));
    Ok(())
}

/// Numbers evenly from 0 (included) to 1 (not).
#[pyfunction]
#[pyo3(signature = (*size, dtype=None, device=None, requires_grad=false))]
pub fn rand(
    py: Python<'_>,
    size: &Bound<'_, PyTuple>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    let (shape, dtype) = (shape(size)?, dtype_or(dtype, DType::F32)?);
    draw(|generator| {
        made(py, product(&shape), on(device), requires_grad, || generator.uniform(&shape, dtype))
    })?
}

/// Normally distributed numbers with mean 0 and variance 1.
#[pyfunction]
#[pyo3(signature = (*size, dtype=None, device=None, requires_grad=false))]
pub fn randn(
    py: Python<'_>,
    size: &Bound<'_, PyTuple>,
    dtype: Option<&Bound<'_, PyAny>>,
    device: Option<At>,
    requires_grad: bool,
) -> PyResult<PyTensor> {
    let (shape, dtype) = (shape(size)?, dtype_or(dtype, DType::F32)?);
    draw(|generator| {
        made(py, product(&shape), on(device), requires_grad, || generator.normal(&shape, dtype))
    })?
}

/// Integers evenly from ``low`` to below ``high``, int64.
#[pyfunction]
#[pyo3(signature = (low, high, size, *, device=None))]
pub fn randint(
    py: Python<'_>,
    low: i64,
    high: i64,
    size: Vec<usize>,
    device: Option<At>,
) -> PyResult<PyTensor> {
    draw(|generator| made(py, product(&size), on(device), false, || generator.integers(low, high, &size)))?
}

/// The integers below ``n`` in random order, int64.
#[pyfunction]
#[pyo3(signature = (n, *, device=None))]
pub fn randperm(py: Python<'_>, n: usize, device: Option<At>) -> PyResult<PyTensor> {
    draw(|generator| made(py, n, on(device), false, || generator.permutation(n)))?
}
