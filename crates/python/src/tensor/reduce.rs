//! Sums, extremes and other numbers about many elements.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use trustformers::tensor::{Result, Tensor};

use super::args::{Axes, Other, apply, compute, either};
use super::{PyTensor, dtype};

/// The named tuple that `max(dim)` and its like return.
pub fn values_indices(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let class = CLASS.get_or_try_init(py, || {
        let namedtuple = py.import("collections")?.getattr("namedtuple")?;
        let class = namedtuple.call1(("ValuesIndices", ("values", "indices")))?;
        class.setattr("__module__", "trustformers")?;
        class.setattr("__doc__", "Elements, and where along the dimension they were.")?;
        Ok::<_, PyErr>(class.unbind())
    })?;
    Ok(class.bind(py))
}

/// Values and indices as Python gets them.
pub fn pair<'py>(py: Python<'py>, (values, indices): (Tensor, Tensor)) -> PyResult<Bound<'py, PyAny>> {
    values_indices(py)?.call1((PyTensor(values), PyTensor(indices)))
}

macro_rules! reductions {
    ($($name:ident $function:ident $doc:literal;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!($doc, " Over all dimensions, or over ``dim``, which stays as 1 with ``keepdim``.")]
                #[pyo3(signature = (dim=None, keepdim=false, *, dtype=None, axis=None))]
                fn $name(
                    &self,
                    py: Python<'_>,
                    dim: Option<Axes>,
                    keepdim: bool,
                    dtype: Option<&Bound<'_, PyAny>>,
                    axis: Option<Axes>,
                ) -> PyResult<PyTensor> {
                    let axes = either(dim, axis)?.unwrap_or_default();
                    let dtype = dtype.map(dtype::parse).transpose()?;
                    apply(py, &self.0, |x| match dtype {
                        Some(dtype) => x.to_dtype(dtype)?.$function(&axes.0, keepdim),
                        None => x.$function(&axes.0, keepdim),
                    })
                }
            )*
        }
    };
}

reductions! {
    sum sum "The sum; int64 for integers and bools.";
    mean mean "The mean.";
    prod prod "The product; int64 for integers and bools.";
    amax amax "The largest element.";
    amin amin "The smallest element.";
    logsumexp logsumexp "``log(sum(exp(x)))``, without overflow.";
    any any_over "Whether one element is not zero: a bool.";
    all all_over "Whether no element is zero: a bool.";
}

fn extreme<'py>(
    py: Python<'py>,
    x: &Tensor,
    dim: Option<&Bound<'py, PyAny>>,
    keepdim: bool,
    over: fn(&Tensor, &[isize], bool) -> Result<Tensor>,
    along: fn(&Tensor, isize, bool) -> Result<(Tensor, Tensor)>,
    against: fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> PyResult<Bound<'py, PyAny>> {
    match dim {
        None => Ok(apply(py, x, |x| over(x, &[], keepdim))?.into_pyobject(py)?.into_any()),
        Some(dim) => match dim.extract::<isize>() {
            Ok(dim) => pair(py, compute(py, x.numel(), || along(x, dim, keepdim))?),
            Err(_) => {
                let other = dim.extract::<Other>()?.tensor()?;
                Ok(apply(py, x, |x| against(x, &other))?.into_pyobject(py)?.into_any())
            }
        },
    }
}

#[pymethods]
impl PyTensor {
    /// The largest element of all; with ``dim`` the largest ones along it and where they are; with a tensor the larger of each pair.
    #[pyo3(signature = (dim=None, keepdim=false, *, axis=None))]
    fn max<'py>(
        &self,
        py: Python<'py>,
        dim: Option<&Bound<'py, PyAny>>,
        keepdim: bool,
        axis: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let dim = either(dim, axis)?;
        extreme(py, &self.0, dim, keepdim, Tensor::amax, Tensor::max_along, |x, y| x.maximum(y))
    }

    /// The smallest element of all; with ``dim`` the smallest ones along it and where they are; with a tensor the smaller of each
    /// pair.
    #[pyo3(signature = (dim=None, keepdim=false, *, axis=None))]
    fn min<'py>(
        &self,
        py: Python<'py>,
        dim: Option<&Bound<'py, PyAny>>,
        keepdim: bool,
        axis: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let dim = either(dim, axis)?;
        extreme(py, &self.0, dim, keepdim, Tensor::amin, Tensor::min_along, |x, y| x.minimum(y))
    }

    /// Where along ``dim`` the largest element is, the first of equal ones; over all elements without it. int64.
    #[pyo3(signature = (dim=None, keepdim=false, *, axis=None))]
    fn argmax(
        &self,
        py: Python<'_>,
        dim: Option<isize>,
        keepdim: bool,
        axis: Option<isize>,
    ) -> PyResult<PyTensor> {
        let dim = either(dim, axis)?;
        apply(py, &self.0, |x| x.argmax(dim, keepdim))
    }

    /// Where along ``dim`` the smallest element is, the first of equal ones; over all elements without it. int64.
    #[pyo3(signature = (dim=None, keepdim=false, *, axis=None))]
    fn argmin(
        &self,
        py: Python<'_>,
        dim: Option<isize>,
        keepdim: bool,
        axis: Option<isize>,
    ) -> PyResult<PyTensor> {
        let dim = either(dim, axis)?;
        apply(py, &self.0, |x| x.argmin(dim, keepdim))
    }

    /// The variance, over the number of elements less ``correction``.
    #[pyo3(signature = (dim=None, keepdim=false, *, correction=1.0, axis=None))]
    fn var(
        &self,
        py: Python<'_>,
        dim: Option<Axes>,
        keepdim: bool,
        correction: f64,
        axis: Option<Axes>,
    ) -> PyResult<PyTensor> {
        let axes = either(dim, axis)?.unwrap_or_default();
        apply(py, &self.0, |x| x.var(&axes.0, correction, keepdim))
    }

    /// The standard deviation, over the number of elements less ``correction``.
    #[pyo3(signature = (dim=None, keepdim=false, *, correction=1.0, axis=None))]
    fn std(
        &self,
        py: Python<'_>,
        dim: Option<Axes>,
        keepdim: bool,
        correction: f64,
        axis: Option<Axes>,
    ) -> PyResult<PyTensor> {
        let axes = either(dim, axis)?.unwrap_or_default();
        apply(py, &self.0, |x| x.std(&axes.0, correction, keepdim))
    }

    /// The norm of order ``p``, which may be infinite: ``sum(abs(x) ** p) ** (1 / p)``.
    #[pyo3(signature = (p=2.0, dim=None, keepdim=false, *, axis=None))]
    fn norm(
        &self,
        py: Python<'_>,
        p: f64,
        dim: Option<Axes>,
        keepdim: bool,
        axis: Option<Axes>,
    ) -> PyResult<PyTensor> {
        let axes = either(dim, axis)?.unwrap_or_default();
        apply(py, &self.0, |x| x.norm(p, &axes.0, keepdim))
    }

    /// The sums of the elements up to each, along ``dim``.
    fn cumsum(&self, py: Python<'_>, dim: isize) -> PyResult<PyTensor> {
        apply(py, &self.0, |x| x.cumsum(dim))
    }

    /// The products of the elements up to each, along ``dim``.
    fn cumprod(&self, py: Python<'_>, dim: isize) -> PyResult<PyTensor> {
        apply(py, &self.0, |x| x.cumprod(dim))
    }
}
