//! Functions of the module: those that join tensors, and every method that reads as well as a function.

use pyo3::prelude::*;
use trustformers::tensor::Tensor;

use super::PyTensor;
use super::args::{Other, compute};

/// Methods that are functions too, as `torch.exp(x)` is `x.exp()`.
const METHODS: &[&str] = &[
    // of one number
    "neg",
    "abs",
    "sign",
    "square",
    "bitwise_not",
    "floor",
    "ceil",
    "round",
    "trunc",
    "reciprocal",
    "sqrt",
    "rsqrt",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "erf",
    "sigmoid",
    "relu",
    "gelu",
    "silu",
    "logical_not",
    "isnan",
    "isinf",
    "isfinite",
    "clamp",
    // of two
    "add",
    "sub",
    "mul",
    "div",
    "floor_divide",
    "remainder",
    "pow",
    "maximum",
    "minimum",
    "atan2",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "logical_or",
    "logical_xor",
    "masked_fill",
    // of many
    "sum",
    "mean",
    "prod",
    "amax",
    "amin",
    "max",
    "min",
    "argmax",
    "argmin",
    "any",
    "all",
    "var",
    "std",
    "norm",
    "logsumexp",
    "cumsum",
    "cumprod",
    "matmul",
    "mm",
    "bmm",
    "softmax",
    "log_softmax",
    // of shapes and places
    "reshape",
    "permute",
    "transpose",
    "movedim",
    "unsqueeze",
    "squeeze",
    "flatten",
    "ravel",
    "flip",
    "roll",
    "narrow",
    "select",
    "split",
    "chunk",
    "unbind",
    "tril",
    "triu",
    "clone",
    "index_select",
    "gather",
    "scatter",
    "scatter_add",
    "masked_select",
    "nonzero",
    "sort",
    "argsort",
    "topk",
    "unique",
    "numel",
    "t",
];

/// Adds the methods to `module` as functions.
pub fn add_methods(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let class = module.py().get_type::<PyTensor>();
    METHODS.iter().try_for_each(|name| module.add(*name, class.getattr(*name)?))
}

/// The tensors of a list of tensors and what can become one.
fn operands(tensors: Vec<Other>) -> PyResult<Vec<Tensor>> {
    tensors.into_iter().map(Other::tensor).collect()
}

/// The tensors one after another along ``dim``, in their common dtype.
#[pyfunction]
#[pyo3(signature = (tensors, dim=0))]
pub fn cat(py: Python<'_>, tensors: Vec<Other>, dim: isize) -> PyResult<PyTensor> {
    let tensors = operands(tensors)?;
    let elements = tensors.iter().map(Tensor::numel).sum();
    compute(py, elements, || Tensor::cat(&tensors.iter().collect::<Vec<_>>(), dim)).map(PyTensor)
}

/// The tensors, all of one shape, along a new dimension ``dim``.
#[pyfunction]
#[pyo3(signature = (tensors, dim=0))]
pub fn stack(py: Python<'_>, tensors: Vec<Other>, dim: isize) -> PyResult<PyTensor> {
    let tensors = operands(tensors)?;
    let elements = tensors.iter().map(Tensor::numel).sum();
    compute(py, elements, || Tensor::stack(&tensors.iter().collect::<Vec<_>>(), dim)).map(PyTensor)
}

/// ``input`` where ``condition`` holds, ``other`` elsewhere, all broadcast together.
#[pyfunction]
#[pyo3(name = "where")]
pub fn where_(py: Python<'_>, condition: Other, input: Other, other: Other) -> PyResult<PyTensor> {
    let condition = condition.tensor()?;
    let elements = condition.numel().max(input.numel()).max(other.numel());
    compute(py, elements, || Tensor::select_where(&condition, input.operand(), other.operand())).map(PyTensor)
}
