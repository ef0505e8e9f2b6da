//! `tensor[...]`, reading and writing, and operations that take indices.

use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyEllipsis, PyInt, PyList, PySlice, PyTuple};
use trustformers::tensor::Tensor;
use trustformers::tensor::ops::Index;

use super::PyTensor;
use super::args::{Other, apply, compute};
use super::numpy::from_object;
use super::reduce::pair;
use crate::errors;

/// The items between the brackets.
fn items(key: &Bound<'_, PyAny>) -> PyResult<Vec<Index>> {
    match key.cast::<PyTuple>() {
        Ok(keys) => keys.iter().map(|key| item(&key)).collect(),
        Err(_) => Ok(vec![item(key)?]),
    }
}

fn item(key: &Bound<'_, PyAny>) -> PyResult<Index> {
    if key.is_exact_instance_of::<PyInt>() {
        return position(key).map(Index::At);
    }
    if let Ok(slice) = key.cast::<PySlice>() {
        let bound = |name: &str| -> PyResult<Option<i64>> {
            let bound = slice.getattr(name)?;
            if bound.is_none() { Ok(None) } else { clipped(&bound).map(Some) }
        };
        return Ok(Index::Slice {
            start: bound("start")?,
            stop: bound("stop")?,
            step: bound("step")?.unwrap_or(1),
        });
    }
    if key.is_none() {
        return Ok(Index::NewAxis);
    }
    if key.is_instance_of::<PyEllipsis>() {
        return Ok(Index::Ellipsis);
    }
    if let Ok(tensor) = key.cast::<PyTensor>() {
        let tensor = tensor.get().0.clone();
        return Ok(Index::Tensor(tensor));
    }
    if !key.is_instance_of::<PyBool>() && key.hasattr("__index__")? && !key.hasattr("__len__")? {
        return position(key).map(Index::At);
    }
    if let Ok(list) = key.cast::<PyList>()
        && list.is_empty()
    {
        return Ok(Index::Tensor(Tensor::from_slice::<i64>(&[], &[0]).map_err(errors::tensor)?));
    }
    let tensor = from_object(key).map_err(|_| refused(key))?;
    if tensor.dtype().is_float() || tensor.dtype().is_complex() {
        return Err(refused(key));
    }
    Ok(Index::Tensor(tensor))
}

fn refused(key: &Bound<'_, PyAny>) -> PyErr {
    let got = key.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    PyTypeError::new_err(format!(
        "an index must be an integer, a slice, None, ... or integers or bools in a tensor, an array or a list, got {got}"
    ))
}

fn position(key: &Bound<'_, PyAny>) -> PyResult<i64> {
    key.extract().map_err(|_| PyIndexError::new_err(format!("index {key} is out of range of any dimension")))
}

/// A slice's bound; beyond 64 bits it means the end.
fn clipped(bound: &Bound<'_, PyAny>) -> PyResult<i64> {
    let number = bound.call_method0("__index__").map_err(|_| {
        PyTypeError::new_err(format!("the bounds of a slice must be integers or None, got {bound}"))
    })?;
    match number.extract() {
        Ok(number) => Ok(number),
        Err(_) if number.lt(0)? => Ok(i64::MIN + 1),
        Err(_) => Ok(i64::MAX),
    }
}

#[pymethods]
impl PyTensor {
    fn __getitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<PyTensor> {
        let index = items(key)?;
        let copied = index.iter().any(|item| matches!(item, Index::Tensor(_)));
        compute(py, if copied { self.0.numel() } else { 1 }, || self.0.index(&index)).map(PyTensor)
    }

    fn __setitem__(&self, py: Python<'_>, key: &Bound<'_, PyAny>, value: Other) -> PyResult<()> {
        let index = items(key)?;
        compute(py, self.0.numel(), || self.0.index_put_(&index, value.operand(), false))
    }

    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if slf.get().0.ndim() == 0 {
            return Err(PyTypeError::new_err("a tensor without dimensions cannot be iterated over"));
        }
        Ok(slf.call_method0("unbind")?.try_iter()?.into_any())
    }

    fn __contains__(&self, py: Python<'_>, value: Other) -> PyResult<bool> {
        compute(py, self.0.numel(), || self.0.eq(value.operand())?.any())
    }

    /// Writes ``values``, broadcast, to the elements at ``indices``; adds them with ``accumulate``.
    #[pyo3(signature = (indices, values, accumulate=false))]
    fn index_put_<'py>(
        slf: Bound<'py, Self>,
        indices: &Bound<'py, PyTuple>,
        values: Other,
        accumulate: bool,
    ) -> PyResult<Bound<'py, Self>> {
        let (x, index) = (&slf.get().0, items(indices)?);
        compute(slf.py(), x.numel(), || x.index_put_(&index, values.operand(), accumulate))?;
        Ok(slf)
    }

    /// The slices along ``dim`` that the one-dimensional ``index`` names.
    fn index_select(&self, py: Python<'_>, dim: isize, index: Other) -> PyResult<PyTensor> {
        let index = index.tensor()?;
        apply(py, &self.0, |x| x.index_select(dim, &index))
    }

    /// ``out[i, j] = x[i, index[i, j]]`` for ``dim=1``, and so on: the result has the shape of the index.
    fn gather(&self, py: Python<'_>, dim: isize, index: Other) -> PyResult<PyTensor> {
        let index = index.tensor()?;
        apply(py, &self.0, |x| x.gather(dim, &index))
    }

    /// A copy with each of ``src`` written where :meth:`gather` with the same index would read.
    fn scatter(&self, py: Python<'_>, dim: isize, index: Other, src: Other) -> PyResult<PyTensor> {
        let index = index.tensor()?;
        let values = broadcast_source(src, &index)?;
        apply(py, &self.0, |x| x.scatter(dim, &index, &values.to_dtype(x.dtype())?))
    }

    /// A copy with each of ``src`` added where :meth:`gather` with the same index would read.
    fn scatter_add(&self, py: Python<'_>, dim: isize, index: Other, src: Other) -> PyResult<PyTensor> {
        let index = index.tensor()?;
        let values = broadcast_source(src, &index)?;
        apply(py, &self.0, |x| x.scatter_add(dim, &index, &values.to_dtype(x.dtype())?))
    }

    /// The elements where ``mask`` holds, in one dimension.
    fn masked_select(&self, py: Python<'_>, mask: Other) -> PyResult<PyTensor> {
        let mask = mask.tensor()?;
        apply(py, &self.0, |x| x.masked_select(&mask))
    }

    /// The positions of the elements that are not zero: one row for each.
    fn nonzero(&self, py: Python<'_>) -> PyResult<PyTensor> {
        apply(py, &self.0, Tensor::nonzero)
    }

    /// The elements in order along ``dim``, and where they were. Equal ones keep their order.
    #[pyo3(signature = (dim=-1, descending=false))]
    fn sort<'py>(&self, py: Python<'py>, dim: isize, descending: bool) -> PyResult<Bound<'py, PyAny>> {
        pair(py, compute(py, self.0.numel(), || self.0.sort(dim, descending))?)
    }

    /// Where along ``dim`` the elements are, in their order.
    #[pyo3(signature = (dim=-1, descending=false))]
    fn argsort(&self, py: Python<'_>, dim: isize, descending: bool) -> PyResult<PyTensor> {
        apply(py, &self.0, |x| x.argsort(dim, descending))
    }

    /// The ``k`` largest (or smallest) elements along ``dim`` in order, and where they are.
    #[pyo3(signature = (k, dim=-1, largest=true))]
    fn topk<'py>(&self, py: Python<'py>, k: usize, dim: isize, largest: bool) -> PyResult<Bound<'py, PyAny>> {
        pair(py, compute(py, self.0.numel(), || self.0.topk(k, dim, largest))?)
    }

    /// The different values in ascending order; on request where in them each element's is, and how often each occurs.
    #[pyo3(signature = (*, return_inverse=false, return_counts=false))]
    fn unique<'py>(
        &self,
        py: Python<'py>,
        return_inverse: bool,
        return_counts: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (values, inverse, counts) = compute(py, self.0.numel(), || self.0.unique())?;
        if !return_inverse && !return_counts {
            return Ok(PyTensor(values).into_pyobject(py)?.into_any());
        }
        let wanted = [Some(values), return_inverse.then_some(inverse), return_counts.then_some(counts)];
        let wanted = wanted.into_iter().flatten().map(|tensor| Py::new(py, PyTensor(tensor)));
        Ok(PyTuple::new(py, wanted.collect::<PyResult<Vec<_>>>()?)?.into_any())
    }
}

/// A number for every place that `index` names, as torch's `scatter` takes one.
fn broadcast_source(source: Other, index: &Tensor) -> PyResult<Tensor> {
    match source {
        Other::Tensor(tensor) => Ok(tensor),
        scalar => {
            let number = scalar.tensor()?.to_device(index.device()).map_err(errors::tensor)?;
            number.expand(index.shape()).map_err(errors::tensor)
        }
    }
}
