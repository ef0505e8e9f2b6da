//! Tokenizers from older files, and new ones from texts.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyDict, PyIterator, PyString};
use trustformers::tokenizers::{Bpe, Kind, Settings, Tokenizer, Training, Vocabulary, find_kind, kinds};

use super::{PyTokenizer, added_token};
use crate::errors;

/// A vocabulary as Python gives it.
#[derive(FromPyObject)]
pub enum Vocab {
    Ids(HashMap<String, u32>),
    Pieces(Vec<(String, f64)>),
}

/// Merges as Python gives them.
#[derive(FromPyObject)]
pub enum Merge {
    Pair((String, String)),
    Line(String),
}

/// The kinds of tokenizers: for each its classes (the first with the others that are the same), the types of models that it belongs to,
/// its files by keyword, its other keywords with their defaults (JSON text), `model_input_names`, `padding_side`, whether no
/// `tokenizer.json` can say what it is (`vocabulary_only`), and its languages:
/// their codes, how the token of one is spelled, the default, and whether it stands before the text.
#[pyfunction]
pub fn tokenizer_kinds(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let about = |kind: &Kind| {
        let about = PyDict::new(py);
        about.set_item("classes", [&[kind.class], kind.same].concat())?;
        about.set_item("model_types", kind.model_types)?;
        about.set_item("files", kind.files)?;
        about.set_item("keywords", kind.keywords)?;
        about.set_item("model_input_names", kind.model_input_names)?;
        about.set_item("padding_side", kind.padding_side)?;
        about.set_item("vocabulary_only", kind.vocabulary_only())?;
        let languages = kind.languages.map(|all| (all.codes, all.token, all.default, all.before));
        about.set_item("languages", languages)?;
        Ok(about)
    };
    kinds().map(about).collect()
}

/// The special tokens without a name that a kind of tokenizer has with these settings (JSON text).
#[pyfunction]
pub fn extra_special_tokens(kind: &str, settings: &str) -> PyResult<Vec<String>> {
    Ok(find(kind)?.extra_special_tokens(&read(settings)?))
}

#[pymethods]
impl PyTokenizer {
    /// The tokenizer of a kind (a class of transformers) over the vocabulary in files, by their keywords, or over one that is given: ids
    /// by token and merges, or pieces with their scores. `settings` are transformers' keywords as JSON text, special tokens as texts.
    ///
    /// :raises OSError: if a file cannot be read.
    /// :raises ValueError: if one is damaged, or the kind is made from something else.
    #[staticmethod]
    #[pyo3(signature = (kind, settings, *, files=None, vocab=None, merges=None))]
    fn from_vocabulary(
        py: Python<'_>,
        kind: &str,
        settings: &str,
        files: Option<HashMap<String, PathBuf>>,
        vocab: Option<Vocab>,
        merges: Option<Vec<Merge>>,
    ) -> PyResult<Self> {
        let (kind, settings) = (find(kind)?, read(settings)?);
        let merges =
            merges.map(|merges| merges.into_iter().map(pair).collect::<PyResult<_>>()).transpose()?;
        let tokenizer = py.detach(|| {
            let vocabulary = match (vocab, merges) {
                (Some(Vocab::Ids(ids)), Some(merges)) => {
                    Vocabulary::Bpe(Bpe { vocab: ids.into_iter().collect(), merges })
                }
                (Some(Vocab::Ids(ids)), None) => Vocabulary::Ids(ids.into_iter().collect()),
                (Some(Vocab::Pieces(pieces)), _) => Vocabulary::Pieces(pieces),
                (None, _) => Vocabulary::read(kind, &files.unwrap_or_default())?,
            };
            Tokenizer::from_vocabulary(kind, vocabulary, &settings)
        });
        tokenizer.map(Self::new).map_err(errors::tokenizers)
    }

    /// Places special tokens around sequences as a kind of tokenizer does, where it does.
    fn set_special_tokens_of(&self, kind: &str, settings: &str) -> PyResult<()> {
        let (kind, settings) = (find(kind)?, read(settings)?);
        self.replace(|tokenizer| tokenizer.with_special_tokens_of(kind, &settings))
    }

    /// A tokenizer of the same parts with a vocabulary learned from texts: an iterator of texts or of lists of texts. `settings` are those
    /// of the trainer, as JSON text.
    ///
    /// :raises ValueError: for settings that the trainer does not have.
    #[pyo3(signature = (texts, vocab_size, new_special_tokens, renamed, settings))]
    fn train_new(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyIterator>,
        vocab_size: usize,
        new_special_tokens: &Bound<'_, PyAny>,
        renamed: HashMap<String, String>,
        settings: &str,
    ) -> PyResult<Self> {
        let tokens = new_special_tokens.try_iter()?.map(|token| added_token::extract(&token?, true));
        let new_special_tokens = tokens.collect::<PyResult<_>>()?;
        let training = Training { vocab_size, new_special_tokens, renamed, settings: read(settings)? };
        let texts = Texts {
            source: texts.clone().unbind(),
            waiting: Vec::new().into_iter(),
            failed: &Mutex::default(),
        };
        let failed = texts.failed;
        let tokenizer = self.get();
        let trained = py.detach(|| tokenizer.train_new(texts, &training));
        if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(error);
        }
        trained.map(Self::new).map_err(errors::tokenizers)
    }
}

fn find(kind: &str) -> PyResult<&'static Kind> {
    find_kind(kind).ok_or_else(|| PyValueError::new_err(format!("there is no tokenizer {kind:?}")))
}

fn read(settings: &str) -> PyResult<Settings> {
    serde_json::from_str(settings)
        .map_err(|error| PyValueError::new_err(format!("these settings are no JSON object: {error}")))
}

fn pair(merge: Merge) -> PyResult<(String, String)> {
    match merge {
        Merge::Pair(pair) => Ok(pair),
        Merge::Line(line) => {
            let parts = line.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
            parts.ok_or_else(|| PyValueError::new_err(format!("the merge {line:?} is not two tokens")))
        }
    }
}

/// The texts of a Python iterator, one after the other. An error ends them and is kept.
struct Texts<'a> {
    source: Py<PyIterator>,
    waiting: std::vec::IntoIter<PyBackedStr>,
    failed: &'a Mutex<Option<PyErr>>,
}

impl Texts<'_> {
    /// The next text, or the next ones.
    fn more(&self, py: Python<'_>) -> PyResult<Option<Vec<PyBackedStr>>> {
        py.check_signals()?;
        let Some(item) = self.source.bind(py).clone().next().transpose()? else { return Ok(None) };
        let text = |item: &Bound<'_, PyAny>| match item.cast::<PyString>() {
            Ok(text) => PyBackedStr::try_from(text.clone()),
            Err(_) => Err(PyTypeError::new_err(format!(
                "a tokenizer is trained on texts or lists of texts, and not on {}",
                item.get_type().name()?
            ))),
        };
        if item.is_instance_of::<PyString>() {
            return Ok(Some(vec![text(&item)?]));
        }
        let Ok(items) = item.try_iter() else { return text(&item).map(|one| Some(vec![one])) };
        items.map(|item| text(&item?)).collect::<PyResult<_>>().map(Some)
    }
}

impl Iterator for Texts<'_> {
    type Item = PyBackedStr;

    fn next(&mut self) -> Option<PyBackedStr> {
        loop {
            if let Some(text) = self.waiting.next() {
                return Some(text);
            }
            match Python::attach(|py| self.more(py)) {
                Ok(texts) => self.waiting = texts?.into_iter(),
                Err(error) => {
                    *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return None;
                }
            }
        }
    }
}
