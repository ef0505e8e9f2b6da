//! Errors of the crates as the exceptions that Python users expect.

use pyo3::exceptions::{
    PyIndexError, PyKeyError, PyKeyboardInterrupt, PyMemoryError, PyOSError, PyRuntimeError, PyTypeError,
    PyValueError,
};
use pyo3::{PyErr, Python, create_exception};
use trustformers::tensor::Error;
use trustformers::{generation, gguf, hub, models, tokenizers, training};

create_exception!(
    trustformers.cuda,
    OutOfMemoryError,
    PyRuntimeError,
    "A GPU's memory is full, although all that lay idle was given back."
);

create_exception!(
    trustformers,
    SafetensorError,
    PyOSError,
    "A safetensors file that is damaged, incomplete or lies about its contents."
);

/// A tensor error: its variants say which exception each is.
pub fn tensor(error: Error) -> PyErr {
    let message = error.to_string();
    match error {
        Error::Graph { .. }
        | Error::Modified { .. }
        | Error::External { .. }
        | Error::Device(_)
        | Error::Devices { .. }
        | Error::UnknownDevice(_) => PyRuntimeError::new_err(message),
        Error::OutOfDeviceMemory { .. } => OutOfMemoryError::new_err(message),
        Error::DType { .. } | Error::DTypes { .. } | Error::UnknownDType(_) => PyTypeError::new_err(message),
        Error::Index { .. } => PyIndexError::new_err(message),
        Error::OutOfMemory { .. } => PyMemoryError::new_err(message),
        Error::Threads { .. } => PyRuntimeError::new_err(message),
        Error::Interrupted => interrupted(),
        Error::Shapes { .. } | Error::Argument { .. } => PyValueError::new_err(message),
    }
}

/// A model error: its variants say which exception each is.
pub fn models(error: models::Error) -> PyErr {
    let message = error.to_string();
    match error {
        models::Error::Hub(error) => hub(error),
        models::Error::Tensor(error) => tensor(error),
        models::Error::Gguf(error) => gguf(&error),
        models::Error::Save { .. }
        | models::Error::Bin { .. }
        | models::Error::LfsPointer { .. }
        | models::Error::Shards { .. }
        | models::Error::Io { .. }
        | models::Error::Json { .. }
        | models::Error::NoWeights { .. } => PyOSError::new_err(message),
        models::Error::Weights { .. } => SafetensorError::new_err(message),
        models::Error::Unrecognized { .. }
        | models::Error::UnknownModelType { .. }
        | models::Error::Config(_)
        | models::Error::Input(_) => PyValueError::new_err(message),
        models::Error::Activation(_) => PyKeyError::new_err(message),
        models::Error::Mismatch(_) | models::Error::StateDict { .. } | models::Error::Runtime(_) => {
            PyRuntimeError::new_err(message)
        }
        models::Error::Index { .. } => PyIndexError::new_err(message),
    }
}

/// A training error: its variants say which exception each is.
pub fn training(error: training::Error) -> PyErr {
    match error {
        training::Error::Tensor(error) => tensor(error),
        training::Error::Setting(message) | training::Error::State(message) => PyValueError::new_err(message),
    }
}

/// A generation error: its variants say which exception each is. What the caller's own parts have raised is raised again.
pub fn generation(error: generation::Error) -> PyErr {
    let message = error.to_string();
    match error {
        generation::Error::Model(error) => models(error),
        generation::Error::Tensor(error) => tensor(error),
        generation::Error::Setting(_) => PyValueError::new_err(message),
        generation::Error::Runtime(_) => PyRuntimeError::new_err(message),
        generation::Error::Callback(error) => match error.downcast::<PyErr>() {
            Ok(raised) => *raised,
            Err(_) => PyRuntimeError::new_err(message),
        },
    }
}

/// What a signal's handler has raised, normally `KeyboardInterrupt`, or that the call was cancelled: see [`crate::interrupt`].
fn interrupted() -> PyErr {
    Python::attach(PyErr::take).unwrap_or_else(|| PyKeyboardInterrupt::new_err(()))
}

/// A hub error: an `OSError` as in `transformers`, with the error number where the system gave one.
pub fn hub(error: hub::Error) -> PyErr {
    match &error {
        hub::Error::Interrupted => interrupted(),
        hub::Error::Io { path, source, .. } => match source.raw_os_error() {
            Some(number) => PyOSError::new_err((number, error.to_string(), path.clone().into_os_string())),
            None => PyOSError::new_err(error.to_string()),
        },
        _ => PyOSError::new_err(error.to_string()),
    }
}

/// A GGUF error: damaged files are an `OSError` as other files are, what is not supported a `ValueError` as in `transformers`.
fn gguf(error: &gguf::Error) -> PyErr {
    let message = error.to_string();
    match error {
        gguf::Error::Io { .. } | gguf::Error::LfsPointer { .. } | gguf::Error::Damaged { .. } => {
            PyOSError::new_err(message)
        }
        gguf::Error::Unsupported { .. } | gguf::Error::Field { .. } => PyValueError::new_err(message),
    }
}

/// A tokenizer error: its variants say which exception each is.
pub fn tokenizers(error: tokenizers::Error) -> PyErr {
    let message = error.to_string();
    match error {
        tokenizers::Error::Io { path, source } => match source.raw_os_error() {
            Some(number) => PyOSError::new_err((number, source.to_string(), path.into_os_string())),
            None => PyOSError::new_err(message),
        },
        tokenizers::Error::Gguf(error) => gguf(&error),
        tokenizers::Error::Threads(error) => tensor(error),
        tokenizers::Error::OutOfMemory { .. } => PyMemoryError::new_err(message),
        tokenizers::Error::Panicked(_) => PyRuntimeError::new_err(message),
        tokenizers::Error::Row { .. } => PyIndexError::new_err(message),
        _ => PyValueError::new_err(message),
    }
}
