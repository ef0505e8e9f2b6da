//! Tokens that are added to a vocabulary, and how texts are searched for them.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};
use trustformers::tokenizers::AddedToken;

/// A token that is found in a text as a whole, before the text is split.
///
/// :param content: the token.
/// :param single_word: whether it must stand alone and not inside a word.
/// :param lstrip: whether it takes the spaces to its left.
/// :param rstrip: whether it takes the spaces to its right.
/// :param special: whether decoding may skip it.
/// :param normalized: whether it is looked for in normalized text; special tokens are not, others are.
#[pyclass(frozen, weakref, eq, name = "AddedToken", module = "trustformers._engine")]
#[derive(Clone, PartialEq)]
pub struct PyAddedToken(pub AddedToken);

#[pymethods]
impl PyAddedToken {
    #[new]
    #[pyo3(signature = (content="", single_word=false, lstrip=false, rstrip=false, special=false, normalized=None))]
    fn new(
        content: &str,
        single_word: bool,
        lstrip: bool,
        rstrip: bool,
        special: bool,
        normalized: Option<bool>,
    ) -> Self {
        let normalized = normalized.unwrap_or(!special);
        Self(AddedToken { content: content.to_owned(), single_word, lstrip, rstrip, normalized, special })
    }

    /// The token.
    #[getter]
    fn content(&self) -> &str {
        &self.0.content
    }

    /// Whether it must stand alone and not inside a word.
    #[getter]
    fn single_word(&self) -> bool {
        self.0.single_word
    }

    /// Whether it takes the spaces to its left.
    #[getter]
    fn lstrip(&self) -> bool {
        self.0.lstrip
    }

    /// Whether it takes the spaces to its right.
    #[getter]
    fn rstrip(&self) -> bool {
        self.0.rstrip
    }

    /// Whether decoding may skip it.
    #[getter]
    fn special(&self) -> bool {
        self.0.special
    }

    /// Whether it is looked for in normalized text.
    #[getter]
    fn normalized(&self) -> bool {
        self.0.normalized
    }

    fn __str__(&self) -> &str {
        &self.0.content
    }

    fn __repr__(&self) -> String {
        let flag = |flag: bool| if flag { "True" } else { "False" };
        let AddedToken { content, single_word, lstrip, rstrip, normalized, special } = &self.0;
        format!(
            "AddedToken(\"{content}\", rstrip={}, lstrip={}, single_word={}, normalized={}, special={})",
            flag(*rstrip),
            flag(*lstrip),
            flag(*single_word),
            flag(*normalized),
            flag(*special)
        )
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        PyString::new(py, &self.0.content).hash()
    }

    /// What makes the token, by name.
    fn __getstate__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = PyDict::new(py);
        state.set_item("content", &self.0.content)?;
        state.set_item("single_word", self.0.single_word)?;
        state.set_item("lstrip", self.0.lstrip)?;
        state.set_item("rstrip", self.0.rstrip)?;
        state.set_item("normalized", self.0.normalized)?;
        state.set_item("special", self.0.special)?;
        Ok(state)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let AddedToken { content, single_word, lstrip, rstrip, normalized, special } = &slf.get().0;
        let arguments = (content, single_word, lstrip, rstrip, special, normalized);
        Ok((slf.get_type().into_any(), arguments.into_pyobject(slf.py())?))
    }
}

/// A token given as text (`special` says whether it is a special one), as an `AddedToken`, or as that of the `tokenizers` package.
pub fn extract(token: &Bound<'_, PyAny>, special: bool) -> PyResult<AddedToken> {
    if let Ok(content) = token.cast::<PyString>() {
        return Ok(AddedToken::from(content.to_str()?, special));
    }
    if let Ok(token) = token.cast::<PyAddedToken>() {
        return Ok(AddedToken { special: special || token.get().0.special, ..token.get().0.clone() });
    }
    let of_tokenizers = || -> PyResult<AddedToken> {
        Ok(AddedToken {
            content: token.getattr("content")?.extract()?,
            single_word: token.getattr("single_word")?.extract()?,
            lstrip: token.getattr("lstrip")?.extract()?,
            rstrip: token.getattr("rstrip")?.extract()?,
            normalized: token.getattr("normalized")?.extract()?,
            special: special || token.getattr("special")?.extract()?,
        })
    };
    of_tokenizers().map_err(|_| {
        let kind = token.get_type().to_string();
        PyTypeError::new_err(format!(
            "Input must be a List[Union[str, AddedToken]], but one of the tokens is a {kind}"
        ))
    })
}
