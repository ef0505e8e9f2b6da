//! The first steps of a tokenizer, under the names that they have in the package `tokenizers`.

use std::sync::Arc;

use pyo3::prelude::*;
use trustformers::tokenizers::Tokenizer;

use crate::errors;

/// What a tokenizer does to a text before it splits it.
#[pyclass(frozen, name = "Normalizer", module = "trustformers._engine")]
pub struct PyNormalizer(pub Arc<Tokenizer>);

#[pymethods]
impl PyNormalizer {
    /// The text as the tokenizer reads it.
    fn normalize_str(&self, sequence: &str) -> PyResult<String> {
        self.0.normalize(sequence).map_err(errors::tokenizers)
    }
}

/// How a tokenizer splits a text into pieces, which its model splits into tokens.
#[pyclass(frozen, name = "PreTokenizer", module = "trustformers._engine")]
pub struct PyPreTokenizer(pub Arc<Tokenizer>);

#[pymethods]
impl PyPreTokenizer {
    /// The pieces of a text with the characters that they come from: the first one, and the one after the last.
    fn pre_tokenize_str(&self, sequence: &str) -> PyResult<Vec<(String, (usize, usize))>> {
        self.0.pre_tokenize(sequence).map_err(errors::tokenizers)
    }
}
