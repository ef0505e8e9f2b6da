//! Views, and tensors joined and taken apart.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use trustformers::tensor::{Result, Tensor};

use super::args::{Axes, apply, compute, either, integers, shape};
use super::convert::view_as;
use super::{PyTensor, axis, dtype};
use crate::errors;

fn view(tensor: Result<Tensor>) -> PyResult<PyTensor> {
    tensor.map(PyTensor).map_err(errors::tensor)
}

fn views<'py>(py: Python<'py>, tensors: Result<Vec<Tensor>>) -> PyResult<Bound<'py, PyTuple>> {
    let tensors = tensors.map_err(errors::tensor)?;
    PyTuple::new(
        py,
        tensors.into_iter().map(|tensor| Py::new(py, PyTensor(tensor))).collect::<PyResult<Vec<_>>>()?,
    )
}

fn axes(args: &Bound<'_, PyTuple>) -> PyResult<Vec<isize>> {
    Ok(integers(args)?.into_iter().map(|axis| axis as isize).collect())
}

#[pymethods]
impl PyTensor {
    /// The same elements in another shape, without a copy; one size may be -1. With a dtype: the same bytes as other elements of the
    /// same size.
    ///
    /// :raises ValueError: when the number of elements differs, or the memory's strides cannot express the shape.
    #[pyo3(signature = (*shape))]
    fn view(&self, shape: &Bound<'_, PyTuple>) -> PyResult<PyTensor> {
        if shape.len() == 1 {
            let item = shape.get_item(0)?;
            if item.is_instance_of::<super::PyDType>() || item.is_instance_of::<PyString>() {
                return view_as(&self.0, dtype::parse(&item)?).map(PyTensor);
            }
        }
        let sizes = integers(shape)?;
        view(self.0.infer_shape(&sizes).and_then(|sizes| self.0.view(&sizes)))
    }

    /// The same elements in another shape, in the same memory where that is possible; one size may be -1.
    ///
    /// :raises ValueError: when the number of elements differs.
    #[pyo3(signature = (*shape))]
    fn reshape(&self, py: Python<'_>, shape: &Bound<'_, PyTuple>) -> PyResult<PyTensor> {
        let sizes = integers(shape)?;
        apply(py, &self.0, |x| x.reshape(&x.infer_shape(&sizes)?))
    }

    /// The dimensions in another order: new dimension ``i`` is old dimension ``dims[i]``.
    #[pyo3(signature = (*dims))]
    fn permute(&self, dims: &Bound<'_, PyTuple>) -> PyResult<PyTensor> {
        view(self.0.permute(&axes(dims)?))
    }

    /// Two dimensions exchanged.
    fn transpose(&self, dim0: isize, dim1: isize) -> PyResult<PyTensor> {
        view(self.0.transpose(dim0, dim1))
    }

    /// A matrix transposed; a tensor of fewer dimensions as it is.
    fn t(&self) -> PyResult<PyTensor> {
        match self.0.ndim() {
            0 | 1 => Ok(PyTensor(self.0.clone())),
            2 => view(self.0.transpose(0, 1)),
            ndim => Err(PyValueError::new_err(format!("t() takes at most 2 dimensions, got {ndim}: use mT"))),
        }
    }

    /// All dimensions in the opposite order.
    #[getter(T)]
    fn reversed(&self) -> PyResult<PyTensor> {
        view(self.0.permute(&(0..self.0.ndim() as isize).rev().collect::<Vec<_>>()))
    }

    /// The last two dimensions exchanged.
    #[getter(mT)]
    fn matrices_transposed(&self) -> PyResult<PyTensor> {
        view(self.0.mt())
    }

    /// The dimension ``source`` moved to be dimension ``destination``, the others in order.
    fn movedim(&self, source: isize, destination: isize) -> PyResult<PyTensor> {
        view(self.0.movedim(source, destination))
    }

    /// The elements repeated over a larger shape without a copy; a size of -1 stays as it is.
    #[pyo3(signature = (*sizes))]
    fn expand(&self, sizes: &Bound<'_, PyTuple>) -> PyResult<PyTensor> {
        let sizes = integers(sizes)?;
        let lead = sizes.len().saturating_sub(self.0.ndim());
        let kept = |(at, &size): (usize, &i64)| match size {
            -1 => at.checked_sub(lead).map(|axis| self.0.shape()[axis]),
            size => usize::try_from(size).ok(),
        };
        let Some(wanted) = sizes.iter().enumerate().map(kept).collect::<Option<Vec<_>>>() else {
            return Err(PyValueError::new_err(format!(
                "{sizes:?} is no shape to expand {:?} to",
                self.0.shape()
            )));
        };
        view(self.0.expand(&wanted))
    }

    /// The elements repeated over the shape of ``other`` without a copy.
    fn expand_as(&self, other: &Bound<'_, PyTensor>) -> PyResult<PyTensor> {
        view(self.0.expand(other.get().0.shape()))
    }

    /// The elements in the shape of ``other``, without a copy.
    fn view_as(&self, other: &Bound<'_, PyTensor>) -> PyResult<PyTensor> {
        view(self.0.view(other.get().0.shape()))
    }

    /// The elements in the shape of ``other``, in the same memory where that is possible.
    fn reshape_as(&self, py: Python<'_>, other: &Bound<'_, PyTensor>) -> PyResult<PyTensor> {
        let shape = other.get().0.shape();
        apply(py, &self.0, |x| x.reshape(shape))
    }

    /// A new dimension of size 1.
    fn unsqueeze(&self, dim: isize) -> PyResult<PyTensor> {
        view(self.0.unsqueeze(dim))
    }

    /// Without the dimensions of size 1, or without those of ``dim`` that have it.
    #[pyo3(signature = (dim=None, *, axis=None))]
    fn squeeze(&self, dim: Option<Axes>, axis: Option<Axes>) -> PyResult<PyTensor> {
        view(self.0.squeeze(&either(dim, axis)?.unwrap_or_default().0))
    }

    /// The dimensions from ``start_dim`` to ``end_dim``, both included, as one.
    #[pyo3(signature = (start_dim=0, end_dim=-1))]
    fn flatten(&self, py: Python<'_>, start_dim: isize, end_dim: isize) -> PyResult<PyTensor> {
        apply(py, &self.0, |x| x.flatten(start_dim, end_dim))
    }

    /// All elements in one dimension.
    fn ravel(&self, py: Python<'_>) -> PyResult<PyTensor> {
        apply(py, &self.0, |x| x.reshape(&[x.numel()]))
    }

    /// The elements in the opposite order along ``dims``.
    #[pyo3(signature = (*dims))]
    fn flip(&self, py: Python<'_>, dims: &Bound<'_, PyTuple>) -> PyResult<PyTensor> {
        let dims = axes(dims)?;
        apply(py, &self.0, |x| if dims.is_empty() { x.copy() } else { x.flip(&dims) })
    }

    /// The elements moved on by ``shifts`` positions along ``dim``; those that leave at the end come in at the beginning.
    fn roll(&self, py: Python<'_>, shifts: i64, dim: isize) -> PyResult<PyTensor> {
        apply(py, &self.0, |x| x.roll(shifts, dim))
    }

    /// The whole tensor ``repeats[i]`` times along dimension ``i``, aligned at the last one.
    #[pyo3(signature = (*repeats))]
    fn repeat(&self, py: Python<'_>, repeats: &Bound<'_, PyTuple>) -> PyResult<PyTensor> {
        let times = shape(repeats)?;
        let elements = times.iter().fold(self.0.numel(), |n, &time| n.saturating_mul(time));
        compute(py, elements, || self.0.repeat(&times)).map(PyTensor)
    }

    /// ``length`` positions along ``dim`` from ``start`` on, without a copy.
    fn narrow(&self, dim: isize, start: i64, length: usize) -> PyResult<PyTensor> {
        let dim = axis(&self.0, dim)?;
        let size = self.0.shape()[dim] as i64;
        let first = if start < 0 { start + size } else { start };
        let Ok(first) = usize::try_from(first) else {
            return Err(PyValueError::new_err(format!(
                "start {start} is out of range for a dimension of size {size}"
            )));
        };
        view(self.0.narrow(dim, first, first.saturating_add(length)))
    }

    /// The slice at ``index`` along ``dim``, which goes away; without a copy.
    fn select(&self, dim: isize, index: i64) -> PyResult<PyTensor> {
        let dim = axis(&self.0, dim)?;
        let size = self.0.shape()[dim];
        let position = if index < 0 { index + size as i64 } else { index };
        match usize::try_from(position) {
            Ok(position) if position < size => view(self.0.select(dim, position)),
            _ => {
                let message = format!("index {index} is out of range for dimension {dim} of size {size}");
                Err(pyo3::exceptions::PyIndexError::new_err(message))
            }
        }
    }

    /// Views of ``split_size`` positions along ``dim`` each, the last of what is left; or of the given sizes.
    #[pyo3(signature = (split_size, dim=0))]
    fn split<'py>(
        &self,
        py: Python<'py>,
        split_size: &Bound<'py, PyAny>,
        dim: isize,
    ) -> PyResult<Bound<'py, PyTuple>> {
        if let Ok(sizes) = split_size.extract::<Vec<usize>>() {
            return views(py, self.0.split(&sizes, dim));
        }
        let step = split_size.extract::<usize>().ok().filter(|&step| step > 0).ok_or_else(|| {
            PyTypeError::new_err(format!(
                "split_size must be a positive integer or a list of sizes, got {split_size}"
            ))
        })?;
        let size = self.0.shape()[axis(&self.0, dim)?];
        let sizes: Vec<usize> = (0..size.max(1)).step_by(step).map(|start| step.min(size - start)).collect();
        views(py, self.0.split(&sizes, dim))
    }

    /// At most ``chunks`` views along ``dim``, all of one size but the last.
    #[pyo3(signature = (chunks, dim=0))]
    fn chunk<'py>(&self, py: Python<'py>, chunks: usize, dim: isize) -> PyResult<Bound<'py, PyTuple>> {
        views(py, self.0.chunk(chunks, dim))
    }

    /// The slices along ``dim``, which goes away.
    #[pyo3(signature = (dim=0))]
    fn unbind<'py>(&self, py: Python<'py>, dim: isize) -> PyResult<Bound<'py, PyTuple>> {
        let dim = axis(&self.0, dim)?;
        views(py, (0..self.0.shape()[dim]).map(|at| self.0.select(dim, at)).collect())
    }

    /// The elements on and below a diagonal of each matrix, zero elsewhere.
    #[pyo3(signature = (diagonal=0))]
    fn tril(&self, py: Python<'_>, diagonal: i64) -> PyResult<PyTensor> {
        apply(py, &self.0, |x| x.tril(diagonal))
    }

    /// The elements on and above a diagonal of each matrix, zero elsewhere.
    #[pyo3(signature = (diagonal=0))]
    fn triu(&self, py: Python<'_>, diagonal: i64) -> PyResult<PyTensor> {
        apply(py, &self.0, |x| x.triu(diagonal))
    }

    /// The same elements in C order without gaps: the tensor itself where they lie so already.
    fn contiguous(&self, py: Python<'_>) -> PyResult<PyTensor> {
        apply(py, &self.0, Tensor::contiguous)
    }

    /// A copy in memory of its own.
    fn clone(&self, py: Python<'_>) -> PyResult<PyTensor> {
        apply(py, &self.0, Tensor::copy)
    }
}
