//! The operations of neural networks, with the arguments of torch's `nn.functional`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use trustformers::tensor::ops::{self, Reduction};
use trustformers::tensor::{Activation, Tensor, Weight};

use super::args::{Other, apply, compute, either};
use super::create::draw;
use super::{PyTensor, dtype};
use crate::errors;

/// About how many multiplications a product takes, to decide whether it is worth giving up the GIL.
fn product_size(x: &Tensor, y: &Tensor) -> usize {
    x.numel().saturating_mul(y.shape().last().copied().unwrap_or(1))
}

fn product(py: Python<'_>, x: &Tensor, y: &Tensor) -> PyResult<PyTensor> {
    compute(py, product_size(x, y), || x.matmul(y)).map(PyTensor)
}

#[pymethods]
impl PyTensor {
    /// The matrix product over the last two dimensions; vectors are rows on the left and columns on the right.
    fn matmul(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
        product(py, &self.0, &other.tensor()?)
    }

    /// The product of two matrices.
    fn mm(&self, py: Python<'_>, mat2: Other) -> PyResult<PyTensor> {
        product(py, &self.0, &mat2.tensor()?)
    }

    /// The products of two batches of matrices.
    fn bmm(&self, py: Python<'_>, mat2: Other) -> PyResult<PyTensor> {
        product(py, &self.0, &mat2.tensor()?)
    }

    /// The product of two vectors.
    fn dot(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
        product(py, &self.0, &other.tensor()?)
    }

    fn __matmul__(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
        product(py, &self.0, &other.tensor()?)
    }

    fn __rmatmul__(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
        product(py, &other.tensor()?, &self.0)
    }

    /// ``exp(x)`` along ``dim``, divided by its sum; computed in ``dtype`` if given.
    #[pyo3(signature = (dim=None, dtype=None, *, axis=None))]
    fn softmax(
        &self,
        py: Python<'_>,
        dim: Option<isize>,
        dtype: Option<&Bound<'_, PyAny>>,
        axis: Option<isize>,
    ) -> PyResult<PyTensor> {
        let (dim, dtype) = (along(dim, axis)?, dtype.map(dtype::parse).transpose()?);
        apply(py, &self.0, |x| x.to_dtype(dtype.unwrap_or(x.dtype()))?.softmax(dim))
    }

    /// The logarithm of :meth:`softmax`, without loss of precision.
    #[pyo3(signature = (dim=None, dtype=None, *, axis=None))]
    fn log_softmax(
        &self,
        py: Python<'_>,
        dim: Option<isize>,
        dtype: Option<&Bound<'_, PyAny>>,
        axis: Option<isize>,
    ) -> PyResult<PyTensor> {
        let (dim, dtype) = (along(dim, axis)?, dtype.map(dtype::parse).transpose()?);
        apply(py, &self.0, |x| x.to_dtype(dtype.unwrap_or(x.dtype()))?.log_softmax(dim))
    }
}

/// The one dimension that a function cannot do without.
fn along(dim: Option<isize>, axis: Option<isize>) -> PyResult<isize> {
    either(dim, axis)?
        .ok_or_else(|| PyValueError::new_err("the dimension is missing: pass dim, such as dim=-1"))
}

/// ``input @ weight.T + bias``: ``input`` (.., in), ``weight`` (out, in), ``bias`` (out), the result (.., out).
#[pyfunction]
#[pyo3(signature = (input, weight, bias=None))]
pub fn linear(py: Python<'_>, input: Other, weight: Other, bias: Option<Other>) -> PyResult<PyTensor> {
    let (x, weight, bias) = (input.tensor()?, weight.tensor()?, bias.map(Other::tensor).transpose()?);
    let elements = product_size(&x, &weight);
    let weight = Weight::passing(weight).map_err(errors::tensor)?;
    compute(py, elements, || ops::linear(&x, &weight, bias.as_ref(), Activation::Identity)).map(PyTensor)
}

/// Each row along the last dimension with its mean taken off, divided by its standard deviation, scaled and shifted.
///
/// ``normalized_shape`` is there for torch's order of arguments: one dimension, that of ``weight``.
#[pyfunction]
#[pyo3(signature = (input, normalized_shape, weight=None, bias=None, eps=1e-5))]
pub fn layer_norm(
    py: Python<'_>,
    input: Other,
    normalized_shape: Vec<usize>,
    weight: Option<Other>,
    bias: Option<Other>,
    eps: f32,
) -> PyResult<PyTensor> {
    let x = input.tensor()?;
    if normalized_shape.len() != 1 || x.shape().last() != normalized_shape.first() {
        let message = format!(
            "normalized_shape must be the last dimension of {:?}, got {normalized_shape:?}",
            x.shape()
        );
        return Err(PyValueError::new_err(message));
    }
    let weight = match weight {
        Some(weight) => weight.tensor()?,
        None => Tensor::ones(&normalized_shape, x.dtype()).map_err(errors::tensor)?,
    };
    let bias = bias.map(Other::tensor).transpose()?;
    apply(py, &x, |x| ops::layer_norm(x, None, &weight, bias.as_ref(), eps))
}

/// The rows of ``weight`` that the integers in ``input`` name.
#[pyfunction]
pub fn embedding(py: Python<'_>, input: Other, weight: Other) -> PyResult<PyTensor> {
    let (ids, table) = (input.tensor()?, weight.tensor()?);
    let elements = ids.numel().saturating_mul(table.shape().last().copied().unwrap_or(1));
    compute(py, elements, || table.index(&[ops::Index::Tensor(ids)])).map(PyTensor)
}

/// The cross entropy between logits, (positions, classes), and target classes, (positions); positions whose target is
/// ``ignore_index`` count for nothing.
#[pyfunction]
#[pyo3(signature = (input, target, *, ignore_index=-100, reduction="mean", label_smoothing=0.0))]
pub fn cross_entropy(
    py: Python<'_>,
    input: Other,
    target: Other,
    ignore_index: i64,
    reduction: &str,
    label_smoothing: f64,
) -> PyResult<PyTensor> {
    let reduction = match reduction {
        "none" => Reduction::None,
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        other => {
            let message = format!("reduction must be 'none', 'mean' or 'sum', got '{other}'");
            return Err(PyValueError::new_err(message));
        }
    };
    let (logits, target) = (input.tensor()?, target.tensor()?);
    apply(py, &logits, |logits| logits.cross_entropy(&target, ignore_index, reduction, label_smoothing))
}

/// Each element kept with probability ``1 - p`` and divided by that, zero otherwise; as it is unless ``training``.
#[pyfunction]
#[pyo3(signature = (input, p=0.5, training=true))]
pub fn dropout(py: Python<'_>, input: Other, p: f64, training: bool) -> PyResult<PyTensor> {
    let x = input.tensor()?;
    if !training {
        return Ok(PyTensor(x));
    }
    draw(|generator| apply(py, &x, |x| x.dropout(p, generator)))?
}
