//! Encoded rows on their way into lists and arrays.

use std::sync::Arc;

use ::numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::{PyIndexError, PyKeyError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use trustformers::tokenizers::{Batch, Column, check_memory};

use super::encoding::PyEncoding;
use crate::errors;

/// What lists take for a token while they are made: its number in Rust, its place in the list, and its Python number.
const NUMBER_BYTES: usize = 4 + 8 + 32;
/// The same for two offsets, which are a tuple of two numbers.
const OFFSETS_BYTES: usize = 16 + 8 + 56 + 2 * 32;

/// The rows of a call. They become lists, arrays or `Encoding` objects when they are asked for.
#[pyclass(frozen, sequence, name = "EncodedBatch", module = "trustformers._engine")]
pub struct PyBatch(pub Arc<Batch>);

/// What a batch can be asked for, by the key that it has in Python.
enum Key {
    Tokens(Column),
    Offsets,
    Lengths,
    Samples,
}

impl Key {
    fn named(key: &str) -> PyResult<Self> {
        Ok(match key {
            "input_ids" => Self::Tokens(Column::InputIds),
            "token_type_ids" => Self::Tokens(Column::TokenTypeIds),
            "attention_mask" => Self::Tokens(Column::AttentionMask),
            "special_tokens_mask" => Self::Tokens(Column::SpecialTokensMask),
            "offset_mapping" => Self::Offsets,
            "length" => Self::Lengths,
            "overflow_to_sample_mapping" => Self::Samples,
            _ => return Err(PyKeyError::new_err(key.to_owned())),
        })
    }
}

#[pymethods]
impl PyBatch {
    /// The values of a key as lists, one of them per row.
    fn lists<'py>(&self, py: Python<'py>, key: &str) -> PyResult<Bound<'py, PyList>> {
        let batch = &*self.0;
        match Key::named(key)? {
            Key::Lengths => PyList::new(py, batch.lengths().collect::<Vec<_>>()),
            Key::Samples => PyList::new(py, batch.samples().collect::<Vec<_>>()),
            Key::Tokens(column) => {
                check_memory(batch.lengths().sum(), NUMBER_BYTES).map_err(errors::tokenizers)?;
                let rows =
                    (0..batch.len()).map(|row| PyList::new(py, batch.row(column, row).collect::<Vec<_>>()));
                PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
            }
            Key::Offsets => {
                check_memory(batch.lengths().sum(), OFFSETS_BYTES).map_err(errors::tokenizers)?;
                let rows =
                    (0..batch.len()).map(|row| PyList::new(py, batch.offsets(row).collect::<Vec<_>>()));
                PyList::new(py, rows.collect::<PyResult<Vec<_>>>()?)
            }
        }
    }

    /// The values of a key as one int64 array.
    ///
    /// :raises ValueError: if the rows have different lengths.
    fn array<'py>(&self, py: Python<'py>, key: &str) -> PyResult<Bound<'py, PyAny>> {
        let batch = &*self.0;
        let (rows, length) = match Key::named(key)? {
            Key::Lengths => return one_dimension(py, batch.lengths()),
            Key::Samples => return one_dimension(py, batch.samples()),
            Key::Tokens(_) | Key::Offsets => batch.shape().map_err(errors::tokenizers)?,
        };
        match Key::named(key)? {
            Key::Tokens(column) => {
                let array = zeros(py, (rows, length))?;
                let out = array.cast::<PyArray2<i64>>()?;
                batch.write(column, out.readwrite().as_slice_mut()?).map_err(errors::tokenizers)?;
                Ok(array)
            }
            _ => {
                let array = zeros(py, (rows * length, 2))?;
                let mut out = array.cast::<PyArray2<i64>>()?.readwrite();
                let offsets =
                    (0..rows).flat_map(|row| batch.offsets(row)).flat_map(|(start, end)| [start, end]);
                for (out, offset) in out.as_slice_mut()?.iter_mut().zip(offsets) {
                    *out = offset as i64;
                }
                array.call_method1(intern!(py, "reshape"), ((rows, length, 2),))
            }
        }
    }

    /// The length of the longest row.
    #[getter]
    fn longest(&self) -> usize {
        self.0.lengths().max().unwrap_or(0)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __getitem__(&self, index: isize) -> PyResult<PyEncoding> {
        let row = if index < 0 { index.checked_add_unsigned(self.0.len()) } else { Some(index) };
        let row = row.and_then(|row| usize::try_from(row).ok());
        let row =
            row.ok_or_else(|| PyIndexError::new_err(format!("row {index} of a batch of {}", self.0.len())))?;
        self.0.encoding(row).map(PyEncoding).map_err(errors::tokenizers)
    }
}

fn one_dimension<'py>(py: Python<'py>, values: impl Iterator<Item = usize>) -> PyResult<Bound<'py, PyAny>> {
    Ok(PyArray1::from_iter(py, values.map(|value| value as i64)).into_any())
}

/// An array of zeros as NumPy makes it: memory that is missing is a `MemoryError`.
fn zeros<'py>(py: Python<'py>, shape: (usize, usize)) -> PyResult<Bound<'py, PyAny>> {
    let shape = PyTuple::new(py, [shape.0, shape.1])?;
    py.import(intern!(py, "numpy"))?.call_method1(intern!(py, "zeros"), (shape, intern!(py, "int64")))
}
