//! Training: optimizers, schedules and what is done to gradients.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use trustformers::tensor::Tensor;
use trustformers::training::{self, GradScaler, Group, Method, Optimizer, Result, Schedule, State};

use crate::errors;
use crate::tensor::PyTensor;

/// What is remembered of a parameter: how many steps it has taken, and tensors by name.
type PyState = (u64, BTreeMap<String, PyTensor>);
type GivenState<'py> = (u64, BTreeMap<String, Bound<'py, PyTensor>>);

/// The engine of an optimizer: groups of parameters, each with a method described in JSON, and what is remembered of each parameter.
#[pyclass(frozen, name = "Optimizer", module = "trustformers._engine")]
pub struct PyOptimizer(Mutex<Optimizer>);

impl PyOptimizer {
    fn run<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Optimizer) -> Result<R> + Send,
    ) -> PyResult<R> {
        let run = || work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        py.detach(run).map_err(errors::training)
    }
}

#[pymethods]
impl PyOptimizer {
    #[new]
    fn new() -> PyResult<PyOptimizer> {
        Ok(PyOptimizer(Mutex::new(Optimizer::new(vec![]).map_err(errors::training)?)))
    }

    /// Adds a group: ``method`` is JSON with the name of torch's class as ``type`` and its settings.
    ///
    /// :raises ValueError: for settings that cannot be, parameters that are no leaves, and one that is there already.
    fn add_group(&self, py: Python<'_>, method: &str, parameters: Vec<Bound<'_, PyTensor>>) -> PyResult<()> {
        let method = Method::from_json(method).map_err(errors::training)?;
        let parameters = tensors(parameters);
        self.run(py, |optimizer| optimizer.add(Group { method, parameters }))
    }

    /// Changes every parameter that has a gradient; ``methods`` are those of the groups as they are now.
    ///
    /// :raises ValueError: for settings that cannot be.
    fn step(&self, py: Python<'_>, methods: Vec<String>) -> PyResult<()> {
        let methods: Result<Vec<Method>> = methods.iter().map(|json| Method::from_json(json)).collect();
        let methods = methods.map_err(errors::training)?;
        self.run(py, |optimizer| {
            for (index, method) in methods.into_iter().enumerate() {
                if let Some(place) = optimizer.method_mut(index) {
                    *place = method;
                }
            }
            optimizer.step()
        })
    }

    /// What is remembered of each parameter, by group.
    fn states(&self, py: Python<'_>) -> PyResult<Vec<Vec<PyState>>> {
        self.run(py, |optimizer| {
            let shown = |state: &State| {
                let tensors =
                    state.tensors.iter().map(|(name, tensor)| (name.clone(), PyTensor(tensor.clone())));
                (state.step, tensors.collect())
            };
            Ok(optimizer.states().iter().map(|group| group.iter().map(shown).collect()).collect())
        })
    }

    /// Takes up what another optimizer remembered.
    ///
    /// :raises ValueError: when it has other groups.
    fn set_states(&self, py: Python<'_>, states: Vec<Vec<GivenState<'_>>>) -> PyResult<()> {
        let taken = |(step, tensors): GivenState<'_>| State {
            step,
            tensors: tensors.into_iter().map(|(name, tensor)| (name, tensor.get().0.clone())).collect(),
        };
        let states: Vec<Vec<State>> =
            states.into_iter().map(|group| group.into_iter().map(taken).collect()).collect();
        self.run(py, |optimizer| optimizer.set_states(states))
    }
}

/// A schedule that JSON describes.
#[pyclass(frozen, name = "Schedule", module = "trustformers._engine")]
pub struct PySchedule(Schedule);

#[pymethods]
impl PySchedule {
    /// :raises ValueError: when there is no such schedule, or its settings cannot be.
    #[new]
    fn new(json: &str) -> PyResult<PySchedule> {
        Schedule::from_json(json).map(PySchedule).map_err(errors::training)
    }

    /// What the learning rate of a step, from 0 on, is multiplied by.
    fn __call__(&self, step: u64) -> f64 {
        self.0.factor(step)
    }
}

/// A factor for losses, and what becomes of it.
#[pyclass(frozen, name = "GradScaler", module = "trustformers._engine")]
pub struct PyGradScaler(Mutex<GradScaler>);

#[pymethods]
impl PyGradScaler {
    #[new]
    fn new(
        scale: f64,
        growth_factor: f64,
        backoff_factor: f64,
        growth_interval: u64,
        growth_tracker: u64,
    ) -> PyGradScaler {
        PyGradScaler(Mutex::new(GradScaler {
            scale,
            growth_factor,
            backoff_factor,
            growth_interval,
            growth_tracker,
        }))
    }

    /// The factor, and the good steps since it changed.
    fn state(&self) -> (f64, u64) {
        let scaler = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (scaler.scale, scaler.growth_tracker)
    }

    /// Divides the gradients by the factor, in place, and says whether all of them are finite.
    fn unscale(&self, py: Python<'_>, parameters: Vec<Bound<'_, PyTensor>>) -> PyResult<bool> {
        let parameters = tensors(parameters);
        let scaler = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        py.detach(|| scaler.unscale(&parameters)).map_err(errors::training)
    }

    /// Changes the factor after a step whose gradients were finite, or were not.
    fn update(&self, finite: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).update(finite);
    }
}

/// Makes the gradients of all ``parameters`` together at most ``max_norm`` long, in place, and gives their length before.
///
/// Equals torch's ``torch.nn.utils.clip_grad_norm_``.
///
/// :raises ValueError: for norms that cannot be.
/// :raises RuntimeError: with ``error_if_nonfinite``, for gradients that are not finite.
#[pyfunction]
#[pyo3(signature = (parameters, max_norm, norm_type = 2.0, error_if_nonfinite = false))]
pub fn clip_grad_norm_(
    py: Python<'_>,
    parameters: Vec<Bound<'_, PyTensor>>,
    max_norm: f64,
    norm_type: f64,
    error_if_nonfinite: bool,
) -> PyResult<f64> {
    let parameters = tensors(parameters);
    py.detach(|| training::clip_grad_norm(&parameters, max_norm, norm_type, error_if_nonfinite))
        .map_err(errors::training)
}

/// Brings every element of the gradients of ``parameters`` into ±``clip_value``, in place.
///
/// Equals torch's ``torch.nn.utils.clip_grad_value_``.
///
/// :raises ValueError: for a negative value.
#[pyfunction]
pub fn clip_grad_value_(
    py: Python<'_>,
    parameters: Vec<Bound<'_, PyTensor>>,
    clip_value: f64,
) -> PyResult<()> {
    let parameters = tensors(parameters);
    py.detach(|| training::clip_grad_value(&parameters, clip_value)).map_err(errors::training)
}

/// How long the gradients of all ``parameters`` together are.
#[pyfunction]
#[pyo3(signature = (parameters, norm_type = 2.0))]
pub fn get_total_norm(py: Python<'_>, parameters: Vec<Bound<'_, PyTensor>>, norm_type: f64) -> PyResult<f64> {
    let parameters = tensors(parameters);
    py.detach(|| training::grad_norm(&parameters, norm_type)).map_err(errors::training)
}

fn tensors(parameters: Vec<Bound<'_, PyTensor>>) -> Vec<Tensor> {
    parameters.iter().map(|parameter| parameter.get().0.clone()).collect()
}
