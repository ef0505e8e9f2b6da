//! One encoded row, with the way back to its text.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use trustformers::tokenizers::{Encoding, check_memory};

use crate::errors;

/// The most that a list takes for a token while it is made, as a tuple of two numbers or as a short text.
const LISTED_BYTES: usize = 144;
/// What a token takes pickled, and in the copies of overflowing parts.
const WHOLE_BYTES: usize = 256;

/// One encoded row: its ids, and where each of them comes from.
#[pyclass(frozen, weakref, eq, name = "Encoding", module = "trustformers._engine")]
#[derive(PartialEq)]
pub struct PyEncoding(pub Encoding);

impl PyEncoding {
    /// The row, if there is memory for a list of its tokens.
    fn listed(&self) -> PyResult<&Encoding> {
        check_memory(self.0.len(), LISTED_BYTES).map_err(errors::tokenizers)?;
        Ok(&self.0)
    }
}

#[pymethods]
impl PyEncoding {
    /// The ids.
    #[getter]
    fn ids(&self) -> PyResult<&[u32]> {
        Ok(self.listed()?.get_ids())
    }

    /// For each token which of two sequences it belongs to, as the model wants to know it.
    #[getter]
    fn type_ids(&self) -> PyResult<&[u32]> {
        Ok(self.listed()?.get_type_ids())
    }

    /// The tokens as text.
    #[getter]
    fn tokens(&self) -> PyResult<&[String]> {
        Ok(self.listed()?.get_tokens())
    }

    /// For each token the index of its word in its sequence; `None` for special tokens.
    #[getter]
    fn word_ids(&self) -> PyResult<&[Option<u32>]> {
        Ok(self.listed()?.get_word_ids())
    }

    /// For each token the index of its sequence; `None` for special tokens.
    #[getter]
    fn sequence_ids(&self) -> PyResult<Vec<Option<usize>>> {
        Ok(self.listed()?.get_sequence_ids())
    }

    /// For each token where it starts and ends in its text, in characters.
    #[getter]
    fn offsets(&self) -> PyResult<&[(usize, usize)]> {
        Ok(self.listed()?.get_offsets())
    }

    /// 1 for special tokens, 0 for others.
    #[getter]
    fn special_tokens_mask(&self) -> PyResult<&[u32]> {
        Ok(self.listed()?.get_special_tokens_mask())
    }

    /// 1 for tokens, 0 for padding.
    #[getter]
    fn attention_mask(&self) -> PyResult<&[u32]> {
        Ok(self.listed()?.get_attention_mask())
    }

    /// The parts that truncation cut off, if the call asked for them.
    #[getter]
    fn overflowing(&self) -> PyResult<Vec<Self>> {
        let parts = self.0.get_overflowing();
        check_memory(parts.iter().map(Encoding::len).sum(), WHOLE_BYTES).map_err(errors::tokenizers)?;
        Ok(parts.iter().cloned().map(Self).collect())
    }

    /// How many sequences it was made of.
    #[getter]
    fn n_sequences(&self) -> usize {
        self.0.n_sequences()
    }

    /// The index of the sequence that a token belongs to.
    fn token_to_sequence(&self, token_index: usize) -> Option<usize> {
        self.0.token_to_sequence(token_index)
    }

    /// Where a token starts and ends in its text.
    fn token_to_chars(&self, token_index: usize) -> Option<(usize, usize)> {
        self.0.token_to_chars(token_index).map(|(_, chars)| chars)
    }

    /// The index of the word that a token belongs to.
    fn token_to_word(&self, token_index: usize) -> Option<u32> {
        self.0.token_to_word(token_index).map(|(_, word)| word)
    }

    /// The first token of a word, and the one after its last.
    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_tokens(&self, word_index: u32, sequence_index: usize) -> Option<(usize, usize)> {
        self.0.word_to_tokens(word_index, sequence_index)
    }

    /// Where a word starts and ends in its text.
    #[pyo3(signature = (word_index, sequence_index=0))]
    fn word_to_chars(&self, word_index: u32, sequence_index: usize) -> Option<(usize, usize)> {
        self.0.word_to_chars(word_index, sequence_index)
    }

    /// The token that a character belongs to.
    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_token(&self, char_pos: usize, sequence_index: usize) -> Option<usize> {
        self.0.char_to_token(char_pos, sequence_index)
    }

    /// The word that a character belongs to.
    #[pyo3(signature = (char_pos, sequence_index=0))]
    fn char_to_word(&self, char_pos: usize, sequence_index: usize) -> Option<u32> {
        self.0.char_to_word(char_pos, sequence_index)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __repr__(&self) -> String {
        format!(
            "Encoding(num_tokens={}, attributes=[ids, type_ids, tokens, offsets, attention_mask, special_tokens_mask, overflowing])",
            self.0.len()
        )
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        check_memory(slf.get().0.len(), WHOLE_BYTES).map_err(errors::tokenizers)?;
        let state =
            serde_json::to_vec(&slf.get().0).map_err(|error| PyValueError::new_err(error.to_string()))?;
        Ok((slf.get_type().getattr("_load")?, (PyBytes::new(slf.py(), &state),)))
    }

    #[staticmethod]
    fn _load(state: &[u8]) -> PyResult<Self> {
        serde_json::from_slice(state).map(Self).map_err(|error| PyValueError::new_err(error.to_string()))
    }
}
