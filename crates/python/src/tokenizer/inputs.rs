//! What Python gives to be encoded.

use pyo3::Borrowed;
use pyo3::exceptions::{PyOverflowError, PyTypeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyList, PyString, PyTuple};
use trustformers::tokenizers::{Input, Sequence};

const TEXT: &str = "TextInputSequence must be str";

/// An id as Python gives it.
pub struct Id(pub u32);

impl<'py> FromPyObject<'_, 'py> for Id {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.extract().map(Self).map_err(|error| {
            if error.is_instance_of::<PyOverflowError>(object.py()) {
                PyOverflowError::new_err(format!("ids are numbers from 0 to {}, not {}", u32::MAX, &*object))
            } else {
                error
            }
        })
    }
}

/// The ids in a list.
pub fn numbers(ids: Vec<Id>) -> Vec<u32> {
    ids.into_iter().map(|id| id.0).collect()
}

/// Inputs that are already ids, or pairs of these.
pub fn extract_ids(items: &Bound<'_, PyAny>) -> PyResult<Vec<Input<PyBackedStr>>> {
    let ids = |item: &Bound<'_, PyAny>| item.extract().map(numbers).map(Sequence::Ids);
    let read = |item: Bound<'_, PyAny>| match pair(&item) {
        Some((first, second)) if is_list(&first) => {
            Ok(Input { first: ids(&first)?, second: Some(ids(&second)?) })
        }
        _ => Ok(Input { first: ids(&item)?, second: None }),
    };
    items.try_iter()?.map(|item| read(item?)).collect()
}

/// Inputs that are texts or pairs of texts, or with `words` lists of words or pairs of these.
pub fn extract(items: &Bound<'_, PyAny>, words: bool) -> PyResult<Vec<Input<PyBackedStr>>> {
    let read = if words { split_input } else { text_input };
    items.try_iter()?.enumerate().map(|(index, item)| read(&item?).map_err(|error| error.at(index))).collect()
}

fn text_input(item: &Bound<'_, PyAny>) -> Result<Input<PyBackedStr>, Refused> {
    if item.is_instance_of::<PyString>() {
        return Ok(Input { first: Sequence::Text(text(item, TEXT)?), second: None });
    }
    match pair(item) {
        Some((first, second)) => Ok(Input {
            first: Sequence::Text(text(&first, TEXT)?),
            second: Some(Sequence::Text(text(&second, TEXT)?)),
        }),
        None => Err(Refused::new(
            item,
            "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]",
        )),
    }
}

fn split_input(item: &Bound<'_, PyAny>) -> Result<Input<PyBackedStr>, Refused> {
    let input = sequence(item).map(|first| Input { first, second: None });
    let Err(refused) = input else { return input };
    match pair(item) {
        // The words of a pair are lists; anything else is a list of words with something wrong in it.
        Some((first, second)) if is_list(&first) && is_list(&second) => {
            Ok(Input { first: sequence(&first)?, second: Some(sequence(&second)?) })
        }
        _ => Err(refused),
    }
}

fn sequence(item: &Bound<'_, PyAny>) -> Result<Sequence<PyBackedStr>, Refused> {
    if !is_list(item) {
        return Err(Refused::new(
            item,
            "PreTokenizedEncodeInput must be Union[PreTokenizedInputSequence, Tuple[PreTokenizedInputSequence, \
             PreTokenizedInputSequence]]",
        ));
    }
    let rule = "PreTokenizedInputSequence must be Union[List[str], Tuple[str]]";
    let words = item.try_iter().map_err(Refused::Other)?;
    let words = words.map(|word| text(&word.map_err(Refused::Other)?, rule));
    Ok(Sequence::Words(words.collect::<Result<_, _>>()?))
}

fn text(item: &Bound<'_, PyAny>, rule: &'static str) -> Result<PyBackedStr, Refused> {
    let Ok(string) = item.cast::<PyString>() else {
        return Err(Refused::new(item, rule));
    };
    PyBackedStr::try_from(string.clone()).map_err(|_| Refused::Surrogate)
}

fn is_list(item: &Bound<'_, PyAny>) -> bool {
    item.is_instance_of::<PyList>() || item.is_instance_of::<PyTuple>()
}

fn pair<'py>(item: &Bound<'py, PyAny>) -> Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    if is_list(item) && item.len().ok()? == 2 {
        Some((item.get_item(0).ok()?, item.get_item(1).ok()?))
    } else {
        None
    }
}

/// Why an input cannot be encoded.
enum Refused {
    Type {
        rule: &'static str,
        kind: String,
    },
    /// Half of a UTF-16 pair: no character, and not to be written as UTF-8.
    Surrogate,
    Other(PyErr),
}

impl Refused {
    fn new(item: &Bound<'_, PyAny>, rule: &'static str) -> Self {
        let kind = item.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string());
        Self::Type { rule, kind }
    }

    fn at(self, index: usize) -> PyErr {
        match self {
            Self::Type { rule, kind } => {
                PyTypeError::new_err(format!("{rule}, but input {index} has a value of type {kind}"))
            }
            Self::Surrogate => PyTypeError::new_err(format!(
                "input {index} has a lone surrogate, which is no character: repair the text with \
                 text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')"
            )),
            Self::Other(error) => error,
        }
    }
}
