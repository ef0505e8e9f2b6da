//! Gradients: asking for them, computing them, doing without.

use std::cell::RefCell;
use std::sync::Arc;

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use trustformers::tensor::autograd::{self, external};
use trustformers::tensor::{self, DType, Error, Tensor};

use super::PyTensor;
use super::args::Other;
use crate::errors;
use crate::interrupt::detached;

/// A gradient that has arrived where a tensor had come from PyTorch, and what `_torch.py` had left there.
type Arrived = (Arc<Py<PyAny>>, Tensor);

thread_local! {
    /// What the passes that run in this thread, one within the other, have brought to bridges.
    static BASKETS: RefCell<Vec<Vec<Arrived>>> = const { RefCell::new(Vec::new()) };
}

/// Runs a backward pass without the GIL, how much work hangs on even a small tensor is not known, and says what arrived at bridges.
fn pass(
    py: Python<'_>,
    work: impl FnOnce() -> trustformers::tensor::Result<()> + Send,
) -> PyResult<Vec<(Py<PyAny>, PyTensor)>> {
    BASKETS.with_borrow_mut(|baskets| baskets.push(Vec::new()));
    let result = detached(py, work);
    let arrived = BASKETS.with_borrow_mut(Vec::pop).unwrap_or_default();
    result.map_err(errors::tensor)?;
    Ok(arrived.into_iter().map(|(place, grad)| (place.clone_ref(py), PyTensor(grad))).collect())
}

/// A tensor over the memory of ``tensor`` whose gradient is brought to ``place``, for ``_torch.py`` to carry on.
#[pyfunction]
pub fn _bridge(tensor: &Bound<'_, PyTensor>, place: Py<PyAny>) -> PyResult<PyTensor> {
    let place = Arc::new(place);
    let tensor = std::slice::from_ref(&tensor.get().0);
    let outputs = external("from_torch", tensor, &[], place.clone(), move |grads| {
        let arrived = grads.iter().map(|grad| (place.clone(), grad.clone()));
        BASKETS.with_borrow_mut(|baskets| match baskets.last_mut() {
            Some(basket) => {
                basket.extend(arrived);
                Ok(vec![])
            }
            None => Err(Error::Graph {
                op: "from_torch",
                rule: "gradients pass through PyTorch only in backward(): grad() ends at its side",
            }),
        })
    });
    let bridge = outputs.into_iter().next();
    bridge.map(PyTensor).ok_or_else(|| PyRuntimeError::new_err("the bridge to PyTorch was lost"))
}

/// The places of all bridges that ``tensor`` was made from, oldest first.
#[pyfunction]
pub fn _bridges(py: Python<'_>, tensor: &Bound<'_, PyTensor>) -> Vec<Py<PyAny>> {
    bridges(py, &[&tensor.get().0])
}

fn bridges(py: Python<'_>, tensors: &[&Tensor]) -> Vec<Py<PyAny>> {
    let places = autograd::marks(tensors);
    places
        .iter()
        .filter_map(|place| place.downcast_ref::<Py<PyAny>>())
        .map(|place| place.clone_ref(py))
        .collect()
}

/// A backward pass for PyTorch's engine, which may ask again: what arrived at bridges.
#[pyfunction]
pub fn _backward_to_bridges(
    py: Python<'_>,
    tensor: &Bound<'_, PyTensor>,
    gradient: &Bound<'_, PyTensor>,
) -> PyResult<Vec<(Py<PyAny>, PyTensor)>> {
    let (tensor, gradient) = (&tensor.get().0, &gradient.get().0);
    pass(py, || autograd::backward(&[tensor], &[Some(gradient.clone())], true, false))
}

#[pymethods]
impl PyTensor {
    /// Whether operations on this tensor are recorded, so that gradients can be computed. Of a parameter of a model that was only opened,
    /// whether they will be where it is trained.
    #[getter]
    fn requires_grad(&self) -> bool {
        self.0.requires_grad() || self.0.expects_grad()
    }

    #[setter]
    fn set_requires_grad(&self, requires_grad: bool) -> PyResult<()> {
        self.0.set_requires_grad(requires_grad).map_err(errors::tensor)
    }

    /// Asks for this tensor's gradient, or no longer.
    #[pyo3(signature = (requires_grad=true))]
    fn requires_grad_(slf: Bound<'_, Self>, requires_grad: bool) -> PyResult<Bound<'_, Self>> {
        slf.get().set_requires_grad(requires_grad)?;
        Ok(slf)
    }

    /// Whether it was said last that no gradient is wanted; of a new tensor nothing was said.
    #[getter]
    fn _is_frozen(&self) -> bool {
        self.0.is_frozen()
    }

    /// Whether operations on this tensor are recorded by now.
    #[getter]
    fn _is_recorded(&self) -> bool {
        self.0.requires_grad()
    }

    /// The gradient that :meth:`backward` has left here, or ``None``. Assign ``None`` to forget it.
    #[getter]
    fn grad(&self) -> Option<PyTensor> {
        self.0.grad().map(PyTensor)
    }

    #[setter]
    fn set_grad(&self, grad: Option<Other>) -> PyResult<()> {
        let grad = grad.map(Other::tensor).transpose()?;
        self.0.set_grad(grad).map_err(errors::tensor)
    }

    /// Whether this tensor was not made by a recorded operation.
    #[getter]
    fn is_leaf(&self) -> bool {
        self.0.is_leaf()
    }

    /// The name of the recorded operation that made this tensor, or ``None``.
    #[getter]
    fn grad_fn(&self) -> Option<&'static str> {
        self.0.grad_fn()
    }

    /// Has :meth:`backward` keep the gradient of this result of an operation, too.
    fn retain_grad(&self) -> PyResult<()> {
        self.0.retain_grad().map_err(errors::tensor)
    }

    /// The same elements, in the same memory, without history: what is done with them is not recorded.
    fn detach(&self) -> PyTensor {
        PyTensor(self.0.detach())
    }

    /// Adds to the ``grad`` of every leaf that this tensor was made from the gradient of the sum of its products with ``gradient``, which a
    /// single number may leave out. What the operations had saved is freed unless ``retain_graph``.
    ///
    /// :raises RuntimeError: when nothing was recorded, the graph was freed, or a tensor it needs was changed in place.
    #[pyo3(signature = (gradient=None, retain_graph=None, create_graph=false))]
    fn backward(
        &self,
        py: Python<'_>,
        gradient: Option<Other>,
        retain_graph: Option<bool>,
        create_graph: bool,
    ) -> PyResult<()> {
        let gradient = gradient.map(Other::tensor).transpose()?;
        let retain = retain_graph.unwrap_or(create_graph);
        if create_graph && !bridges(py, &[&self.0]).is_empty() {
            return Err(PyRuntimeError::new_err(
                "create_graph=True: gradients of gradients do not pass between trustformers and PyTorch; compute them on one side",
            ));
        }
        let arrived = pass(py, || autograd::backward(&[&self.0], &[gradient], retain, create_graph))?;
        if !arrived.is_empty() {
            py.import(intern!(py, "trustformers._torch"))?
                .call_method1(intern!(py, "carry_on"), (arrived, retain))?;
        }
        Ok(())
    }
}

/// The gradients of the sum of ``outputs``, times ``grad_outputs`` where given, with respect to ``inputs``, without touching any ``grad``.
///
/// ``None`` stands for an input that the outputs do not depend on.
///
/// :raises RuntimeError: also when an input may be reached only through PyTorch's graph, where only :meth:`Tensor.backward` goes.
#[pyfunction]
#[pyo3(signature = (outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=false))]
pub fn grad<'py>(
    py: Python<'py>,
    outputs: &Bound<'py, PyAny>,
    inputs: &Bound<'py, PyAny>,
    grad_outputs: Option<&Bound<'py, PyAny>>,
    retain_graph: Option<bool>,
    create_graph: bool,
) -> PyResult<Bound<'py, PyTuple>> {
    let (outputs, inputs) = (several(outputs)?, several(inputs)?);
    let gradients = match grad_outputs {
        None => vec![None; outputs.len()],
        Some(given) => several(given)?.into_iter().map(Some).collect(),
    };
    let retain = retain_graph.unwrap_or(create_graph);
    let walk = || {
        let (outputs, inputs): (Vec<&Tensor>, Vec<&Tensor>) =
            (outputs.iter().collect(), inputs.iter().collect());
        autograd::grad(&outputs, &gradients, &inputs, retain, create_graph)
    };
    let found = detached(py, walk).map_err(errors::tensor)?;
    if found.iter().any(Option::is_none) {
        let places = bridges(py, &outputs.iter().collect::<Vec<_>>());
        if !places.is_empty() {
            py.import(intern!(py, "trustformers._torch"))?
                .call_method1(intern!(py, "expect_no_way_back"), (places,))?;
        }
    }
    PyTuple::new(
        py,
        found
            .into_iter()
            .map(|grad| grad.map(PyTensor))
            .map(|g| g.into_pyobject(py))
            .collect::<PyResult<Vec<_>>>()?,
    )
}

/// One tensor or several.
fn several(tensors: &Bound<'_, PyAny>) -> PyResult<Vec<Tensor>> {
    match tensors.cast::<PyTensor>() {
        Ok(tensor) => Ok(vec![tensor.get().0.clone()]),
        Err(_) => tensors.try_iter()?.map(|tensor| Ok(tensor?.cast::<PyTensor>()?.get().0.clone())).collect(),
    }
}

/// Whether operations of this thread are recorded.
#[pyfunction]
pub fn is_grad_enabled() -> bool {
    autograd::is_grad_enabled()
}

/// Sets whether operations of this thread are recorded, and says how it was before.
#[pyfunction]
pub fn set_grad_enabled(enabled: bool) -> bool {
    autograd::set_grad_enabled(enabled)
}

/// Sets what the operands of products are rounded to on this thread, "float16" or "bfloat16", or ``None`` for nothing; says what it was
/// before.
///
/// :raises TypeError: for other dtypes.
#[pyfunction]
#[pyo3(signature = (dtype))]
pub fn set_autocast(dtype: Option<&str>) -> PyResult<Option<&'static str>> {
    let dtype = dtype.map(str::parse).transpose().map_err(errors::tensor)?;
    Ok(tensor::set_autocast(dtype).map_err(errors::tensor)?.map(DType::name))
}
