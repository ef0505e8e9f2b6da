//! The native half of the Python package: classes that convert arguments and release the GIL, nothing else.

use pyo3::prelude::*;

/// The module `trustformers._engine`.
#[pymodule]
mod _engine {}
