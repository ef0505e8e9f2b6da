//! The processor: how many threads compute, and with which instructions.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use trustformers::tensor::{cpu, pool};

use crate::errors;

/// Sets how many threads compute, from the next operation on.
///
/// :raises ValueError: for less than one.
#[pyfunction]
pub fn set_num_threads(threads: usize) -> PyResult<()> {
    pool::set_num_threads(threads).map_err(errors::tensor)
}

/// How many threads compute: what :func:`set_num_threads` said, else ``TRUSTFORMERS_NUM_THREADS``, else ``OMP_NUM_THREADS``, else the
/// processors that affinity and cgroups leave to this process.
#[pyfunction]
pub fn get_num_threads() -> usize {
    pool::num_threads()
}

/// Which instructions kernels use: ``level`` is one of "portable", "neon", "avx2", "avx512" and "vnni", the highest of those that
/// are ``available`` unless ``TRUSTFORMERS_CPU`` named a lower one; ``threads`` is :func:`get_num_threads`.
#[pyfunction]
pub fn cpu_capabilities(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let found = cpu::capabilities();
    let shown = PyDict::new(py);
    shown.set_item("level", found.level)?;
    shown.set_item("available", found.available)?;
    shown.set_item("threads", pool::num_threads())?;
    Ok(shown)
}
