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
#[derive(Clone)]
pub struct PyAddedToken {
    token: AddedToken,
    /// Whether it was said if the token is looked for in normalized text: otherwise that changes when it becomes a special one.
    decided: bool,
}

impl PyAddedToken {
    /// The token, as a special one.
    fn special(&self) -> AddedToken {
        let normalized = self.token.normalized && (self.decided || self.token.special);
        AddedToken { special: true, normalized, ..self.token.clone() }
    }
}

impl PartialEq for PyAddedToken {
    fn eq(&self, other: &Self) -> bool {
        self.token == other.token
    }
}

impl From<AddedToken> for PyAddedToken {
    fn from(token: AddedToken) -> Self {
        Self { token, decided: true }
    }
}

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
        let decided = normalized.is_some();
        let normalized = normalized.unwrap_or(!special);
        let content = content.to_owned();
        Self { token: AddedToken { content, single_word, lstrip, rstrip, normalized, special }, decided }
    }

    /// The token.
    #[getter]
    fn content(&self) -> &str {
        &self.token.content
    }

    /// Whether it must stand alone and not inside a word.
    #[getter]
    fn single_word(&self) -> bool {
        self.token.single_word
    }

    /// Whether it takes the spaces to its left.
    #[getter]
    fn lstrip(&self) -> bool {
        self.token.lstrip
    }

    /// Whether it takes the spaces to its right.
    #[getter]
    fn rstrip(&self) -> bool {
        self.token.rstrip
    }

    /// Whether decoding may skip it.
    #[getter(special)]
    fn is_special(&self) -> bool {
        self.token.special
    }

    /// The same token as a special one, which is not looked for in normalized text unless that was said.
    fn as_special(&self) -> Self {
        Self { token: self.special(), decided: self.decided }
    }

    /// Whether it is looked for in normalized text.
    #[getter]
    fn normalized(&self) -> bool {
        self.token.normalized
    }

    fn __str__(&self) -> &str {
        &self.token.content
    }

    fn __repr__(&self) -> String {
        let flag = |flag: bool| if flag { "True" } else { "False" };
        let AddedToken { content, single_word, lstrip, rstrip, normalized, special } = &self.token;
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
        PyString::new(py, &self.token.content).hash()
    }

    /// What makes the token, by name.
    fn __getstate__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let state = PyDict::new(py);
        state.set_item("content", &self.token.content)?;
        state.set_item("single_word", self.token.single_word)?;
        state.set_item("lstrip", self.token.lstrip)?;
        state.set_item("rstrip", self.token.rstrip)?;
        state.set_item("normalized", self.token.normalized)?;
        state.set_item("special", self.token.special)?;
        Ok(state)
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let PyAddedToken { token, decided } = slf.get();
        let AddedToken { content, single_word, lstrip, rstrip, normalized, special } = token;
        let arguments = (content, single_word, lstrip, rstrip, special, decided.then_some(normalized));
        Ok((slf.get_type().into_any(), arguments.into_pyobject(slf.py())?))
    }
}

/// A token given as text (`special` says whether it is a special one), as an `AddedToken`, or as that of the `tokenizers` package.
pub fn extract(token: &Bound<'_, PyAny>, special: bool) -> PyResult<AddedToken> {
    if let Ok(content) = token.cast::<PyString>() {
        return Ok(AddedToken::from(content.to_str()?, special));
    }
    if let Ok(token) = token.cast::<PyAddedToken>() {
        let token = token.get();
        return Ok(if special { token.special() } else { token.token.clone() });
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
