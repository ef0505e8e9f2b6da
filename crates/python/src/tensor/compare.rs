//! Comparisons, logic, and choosing by their outcome.

use pyo3::basic::CompareOp as Order;
use pyo3::prelude::*;
use trustformers::tensor::Tensor;
use trustformers::tensor::ops::CompareOp;

use super::PyTensor;
use super::args::{Other, apply, compute};

fn comparison(py: Python<'_>, x: &Tensor, op: CompareOp, y: &Other) -> PyResult<PyTensor> {
    compute(py, x.numel().max(y.numel()), || x.compare(op, y.operand())).map(PyTensor)
}

macro_rules! comparisons {
    ($($op:ident $name:ident $doc:literal;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!("Whether ", $doc, ", for every pair of elements: bools.")]
                fn $name(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
                    comparison(py, &self.0, CompareOp::$op, &other)
                }
            )*
        }
    };
}

comparisons! {
    Eq eq "``x == other``";
    Ne ne "``x != other``";
    Lt lt "``x < other``";
    Le le "``x <= other``";
    Gt gt "``x > other``";
    Ge ge "``x >= other``";
}

#[pymethods]
impl PyTensor {
    fn __richcmp__(&self, py: Python<'_>, other: Other, order: Order) -> PyResult<PyTensor> {
        let op = match order {
            Order::Eq => CompareOp::Eq,
            Order::Ne => CompareOp::Ne,
            Order::Lt => CompareOp::Lt,
            Order::Le => CompareOp::Le,
            Order::Gt => CompareOp::Gt,
            Order::Ge => CompareOp::Ge,
        };
        comparison(py, &self.0, op, &other)
    }

    /// Whether both are not zero, for every pair of elements: bools.
    fn logical_and(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
        let other = other.tensor()?;
        apply(py, &self.0, |x| x.logical_and(&other))
    }

    /// Whether one of the two is not zero, for every pair of elements: bools.
    fn logical_or(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
        let other = other.tensor()?;
        apply(py, &self.0, |x| x.logical_or(&other))
    }

    /// Whether exactly one of the two is not zero, for every pair of elements: bools.
    fn logical_xor(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
        let other = other.tensor()?;
        apply(py, &self.0, |x| x.logical_xor(&other))
    }

    /// Whether each element is zero: bools.
    fn logical_not(&self, py: Python<'_>) -> PyResult<PyTensor> {
        apply(py, &self.0, Tensor::logical_not)
    }

    /// Whether each element is not a number: bools.
    fn isnan(&self, py: Python<'_>) -> PyResult<PyTensor> {
        apply(py, &self.0, Tensor::isnan)
    }

    /// Whether each element is an infinity: bools.
    fn isinf(&self, py: Python<'_>) -> PyResult<PyTensor> {
        apply(py, &self.0, Tensor::isinf)
    }

    /// Whether each element is neither an infinity nor NaN: bools.
    fn isfinite(&self, py: Python<'_>) -> PyResult<PyTensor> {
        apply(py, &self.0, Tensor::isfinite)
    }

    /// The element where ``condition`` holds, that of ``other`` elsewhere, all broadcast together.
    #[pyo3(name = "where")]
    fn where_(&self, py: Python<'_>, condition: Other, other: Other) -> PyResult<PyTensor> {
        let condition = condition.tensor()?;
        apply(py, &self.0, |x| Tensor::select_where(&condition, x, other.operand()))
    }

    /// ``value`` where ``mask`` holds, the element elsewhere.
    fn masked_fill(&self, py: Python<'_>, mask: Other, value: Other) -> PyResult<PyTensor> {
        let mask = mask.tensor()?;
        apply(py, &self.0, |x| x.masked_fill(&mask, value.operand()))
    }

    /// In place: ``value`` where ``mask`` holds, the element elsewhere.
    fn masked_fill_<'py>(slf: Bound<'py, Self>, mask: Other, value: Other) -> PyResult<Bound<'py, Self>> {
        let (x, mask) = (&slf.get().0, mask.tensor()?);
        compute(slf.py(), x.numel(), || x.become_(&x.masked_fill(&mask, value.operand())?))?;
        Ok(slf)
    }
}
