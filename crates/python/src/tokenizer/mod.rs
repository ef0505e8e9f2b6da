//! The tokenizer of the engine, and what it takes and gives.

mod added_token;
mod batch;
mod chat;
mod encoding;
mod inputs;
mod slow;
mod steps;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use trustformers::gguf::File;
use trustformers::tokenizers::{
    Batch, EncodeOptions, PaddingDirection, PaddingParams, PaddingStrategy, Tokenizer, TruncationDirection,
    TruncationParams, TruncationStrategy,
};

pub use self::added_token::PyAddedToken;
pub use self::batch::PyBatch;
pub use self::chat::{chat_template_texts, render_chat};
pub use self::encoding::PyEncoding;
use self::inputs::Id;
pub use self::slow::{extra_special_tokens, tokenizer_kinds};
pub use self::steps::{PyNormalizer, PyPreTokenizer};
use crate::{errors, interrupt};

/// How many texts are encoded or decoded before it is asked whether to go on.
const STEP: usize = 2048;

/// A tokenizer that any number of threads may use at once. Adding tokens puts a new tokenizer in the place of the old one, so a call
/// sees all of them or none.
#[pyclass(frozen, name = "Tokenizer", module = "trustformers._engine")]
pub struct PyTokenizer(Mutex<Arc<Tokenizer>>);

impl PyTokenizer {
    fn new(tokenizer: Tokenizer) -> Self {
        Self(Mutex::new(Arc::new(tokenizer)))
    }

    fn lock(&self) -> MutexGuard<'_, Arc<Tokenizer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tokenizer as it is now.
    pub fn get(&self) -> Arc<Tokenizer> {
        Arc::clone(&self.lock())
    }

    /// Puts what becomes of the tokenizer in its place.
    fn replace(
        &self,
        change: impl FnOnce(&Tokenizer) -> trustformers::tokenizers::Result<Tokenizer>,
    ) -> PyResult<()> {
        let mut current = self.lock();
        *current = Arc::new(change(&current).map_err(errors::tokenizers)?);
        Ok(())
    }

    fn add(&self, tokens: &Bound<'_, PyAny>, special: bool) -> PyResult<usize> {
        let tokens = tokens.try_iter()?.map(|token| added_token::extract(&token?, special));
        let tokens = tokens.collect::<PyResult<Vec<_>>>()?;
        let mut current = self.lock();
        let (new, count) = current.with_tokens(tokens).map_err(errors::tokenizers)?;
        *current = Arc::new(new);
        Ok(count)
    }
}

#[pymethods]
impl PyTokenizer {
    /// The tokenizer of a `tokenizer.json`.
    ///
    /// :raises OSError: if the file cannot be read.
    /// :raises ValueError: if it holds no tokenizer.
    #[staticmethod]
    fn from_file(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        py.detach(|| Tokenizer::from_file(path)).map(Self::new).map_err(errors::tokenizers)
    }

    /// The tokenizer of the text of a `tokenizer.json`.
    #[staticmethod]
    fn from_str(py: Python<'_>, json: &str) -> PyResult<Self> {
        py.detach(|| Tokenizer::from_json(json.as_bytes())).map(Self::new).map_err(errors::tokenizers)
    }

    /// The tokenizer of a GGUF file, and what the file says beside it: `bos_token` and other special tokens, `add_bos_token`,
    /// `add_eos_token`, `chat_template`.
    ///
    /// :raises OSError: if the file cannot be read or is damaged.
    /// :raises ValueError: if it holds no tokenizer, or one of a kind that is not read.
    #[staticmethod]
    fn from_gguf(py: Python<'_>, path: PathBuf) -> PyResult<(Self, Bound<'_, PyDict>)> {
        let read = || Tokenizer::from_gguf(&File::open(&path)?);
        let (tokenizer, settings) = py.detach(read).map_err(errors::tokenizers)?;
        let said = PyDict::new(py);
        for (name, token) in settings.special_tokens {
            said.set_item(name, token)?;
        }
        said.set_item("add_bos_token", settings.add_bos_token)?;
        said.set_item("add_eos_token", settings.add_eos_token)?;
        if let Some(template) = settings.chat_template {
            said.set_item("chat_template", template)?;
        }
        Ok((Self::new(tokenizer), said))
    }

    /// The text of a `tokenizer.json` that makes this tokenizer again.
    #[pyo3(signature = (pretty=false))]
    fn to_str(&self, py: Python<'_>, pretty: bool) -> PyResult<String> {
        let tokenizer = self.get();
        py.detach(|| tokenizer.to_json(pretty)).map_err(errors::tokenizers)
    }

    /// Writes a `tokenizer.json`.
    #[pyo3(signature = (path, pretty=true))]
    fn save(&self, py: Python<'_>, path: PathBuf, pretty: bool) -> PyResult<()> {
        let tokenizer = self.get();
        py.detach(|| tokenizer.save(path, pretty)).map_err(errors::tokenizers)
    }

    /// Encodes texts or pairs of texts; with `is_pretokenized` lists of words, with `is_ids` lists of ids, or pairs of these.
    ///
    /// :param truncation: "longest_first", "only_first", "only_second", or `None` for no truncation.
    /// :param padding: "longest", "max_length", or `None` for no padding.
    #[pyo3(signature = (inputs, *, is_pretokenized=false, is_ids=false, add_special_tokens=true, split_special_tokens=false,
                        truncation=None, max_length=0, stride=0, truncation_side="right",
                        return_overflowing_tokens=false, padding=None, pad_to_multiple_of=None, padding_side="right",
                        pad_id=0, pad_type_id=0, pad_token="[PAD]"))]
    #[expect(clippy::too_many_arguments, reason = "everything travels with the call")]
    fn encode_batch(
        &self,
        py: Python<'_>,
        inputs: &Bound<'_, PyAny>,
        is_pretokenized: bool,
        is_ids: bool,
        add_special_tokens: bool,
        split_special_tokens: bool,
        truncation: Option<&str>,
        max_length: usize,
        stride: usize,
        truncation_side: &str,
        return_overflowing_tokens: bool,
        padding: Option<&str>,
        pad_to_multiple_of: Option<usize>,
        padding_side: &str,
        pad_id: u32,
        pad_type_id: u32,
        pad_token: &str,
    ) -> PyResult<PyBatch> {
        let inputs =
            if is_ids { inputs::extract_ids(inputs)? } else { inputs::extract(inputs, is_pretokenized)? };
        let truncation = truncation.map(|strategy| -> PyResult<_> {
            Ok(TruncationParams {
                strategy: truncation_strategy(strategy)?,
                direction: side(truncation_side, TruncationDirection::Left, TruncationDirection::Right)?,
                max_length,
                stride,
            })
        });
        let padding = padding.map(|strategy| -> PyResult<_> {
            Ok(PaddingParams {
                strategy: padding_strategy(strategy, max_length)?,
                direction: side(padding_side, PaddingDirection::Left, PaddingDirection::Right)?,
                pad_to_multiple_of,
                pad_id,
                pad_type_id,
                pad_token: pad_token.to_owned(),
            })
        });
        let options = EncodeOptions {
            add_special_tokens,
            split_special_tokens,
            truncation: truncation.transpose()?,
            return_overflowing: return_overflowing_tokens,
            padding: padding.transpose()?,
        };
        let tokenizer = self.get();
        let mut batch = Batch::new(&options);
        for inputs in inputs.chunks(STEP) {
            py.detach(|| tokenizer.encode_into(&mut batch, inputs, &options)).map_err(errors::tokenizers)?;
            interrupt::check(py)?;
        }
        Ok(PyBatch(Arc::new(batch)))
    }

    /// The text of ids.
    #[pyo3(signature = (ids, skip_special_tokens=false))]
    fn decode(&self, py: Python<'_>, ids: Vec<Id>, skip_special_tokens: bool) -> PyResult<String> {
        let (tokenizer, ids) = (self.get(), inputs::numbers(ids));
        py.detach(|| tokenizer.decode(&ids, skip_special_tokens)).map_err(errors::tokenizers)
    }

    /// The texts of rows of ids.
    #[pyo3(signature = (rows, skip_special_tokens=false))]
    fn decode_batch(
        &self,
        py: Python<'_>,
        rows: Vec<Vec<Id>>,
        skip_special_tokens: bool,
    ) -> PyResult<Vec<String>> {
        let tokenizer = self.get();
        let rows: Vec<_> = rows.into_iter().map(inputs::numbers).collect();
        let mut texts = Vec::with_capacity(rows.len());
        for rows in rows.chunks(STEP) {
            let decoded = py.detach(|| tokenizer.decode_batch(rows, skip_special_tokens));
            texts.extend(decoded.map_err(errors::tokenizers)?);
            interrupt::check(py)?;
        }
        Ok(texts)
    }

    /// The text of tokens.
    fn join(&self, tokens: Vec<String>) -> PyResult<String> {
        self.get().join(tokens).map_err(errors::tokenizers)
    }

    /// The id of a token.
    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.lock().token_to_id(token)
    }

    /// The token of an id.
    fn id_to_token(&self, id: Id) -> Option<String> {
        self.lock().id_to_token(id.0)
    }

    /// Every token with its id.
    #[pyo3(signature = (with_added_tokens=true))]
    fn get_vocab(&self, with_added_tokens: bool) -> HashMap<String, u32> {
        self.get().vocab(with_added_tokens)
    }

    /// How many tokens there are.
    #[pyo3(signature = (with_added_tokens=true))]
    fn get_vocab_size(&self, with_added_tokens: bool) -> usize {
        self.get().vocab_size(with_added_tokens)
    }

    /// The added tokens by id, in ascending order.
    fn get_added_tokens_decoder<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let tokens = PyDict::new(py);
        for (id, token) in self.get().added_tokens() {
            tokens.set_item(id, PyAddedToken::from(token))?;
        }
        Ok(tokens)
    }

    /// Adds tokens and says how many were new or differ from what they were.
    fn add_tokens(&self, tokens: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.add(tokens, false)
    }

    /// Adds tokens as special ones and says how many were new or differ from what they were.
    fn add_special_tokens(&self, tokens: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.add(tokens, true)
    }

    /// Sets which special tokens go around one sequence and around two.
    fn set_template(&self, single: &str, pair: &str, special_tokens: Vec<(String, u32)>) -> PyResult<()> {
        self.replace(|tokenizer| tokenizer.with_template(single, pair, &special_tokens))
    }

    /// How text is read, if as BERT reads it: `do_lower_case`, `strip_accents` and `tokenize_chinese_chars`.
    #[getter]
    fn bert_options<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(normalizer) = self.get().bert_normalizer().copied() else { return Ok(None) };
        let options = PyDict::new(py);
        options.set_item("do_lower_case", normalizer.lowercase)?;
        options.set_item("strip_accents", normalizer.strip_accents)?;
        options.set_item("tokenize_chinese_chars", normalizer.handle_chinese_chars)?;
        Ok(Some(options))
    }

    /// Reads text as BERT does. What is `None` stays as it is.
    #[pyo3(signature = (*, do_lower_case=None, strip_accents=None, tokenize_chinese_chars=None))]
    fn set_bert_options(
        &self,
        do_lower_case: Option<bool>,
        strip_accents: Option<bool>,
        tokenize_chinese_chars: Option<bool>,
    ) -> PyResult<()> {
        self.replace(|tokenizer| {
            let mut normalizer = tokenizer.bert_normalizer().copied().unwrap_or_default();
            normalizer.lowercase = do_lower_case.unwrap_or(normalizer.lowercase);
            normalizer.strip_accents = strip_accents.or(normalizer.strip_accents);
            normalizer.handle_chinese_chars =
                tokenize_chinese_chars.unwrap_or(normalizer.handle_chinese_chars);
            tokenizer.with_bert_normalizer(normalizer)
        })
    }

    /// Whether special tokens are placed by the tokenizer's own rule, if only the rule to place none.
    #[getter]
    fn has_template(&self) -> bool {
        self.lock().has_template()
    }

    /// How many special tokens go around one sequence, or around two.
    #[pyo3(signature = (is_pair))]
    fn num_special_tokens_to_add(&self, is_pair: bool) -> usize {
        self.lock().num_special_tokens(is_pair)
    }

    /// What is done to a text before it is split, if anything is.
    #[getter]
    fn normalizer(&self) -> Option<PyNormalizer> {
        Some(self.get()).filter(|tokenizer| tokenizer.has_normalizer()).map(PyNormalizer)
    }

    /// How a text is split before the model splits what comes of it, if it is.
    #[getter]
    fn pre_tokenizer(&self) -> Option<PyPreTokenizer> {
        Some(self.get()).filter(|tokenizer| tokenizer.has_pre_tokenizer()).map(PyPreTokenizer)
    }

    /// The kind of model inside.
    #[getter]
    fn model_type(&self) -> &'static str {
        self.lock().model_type()
    }

    /// The truncation that the file asks for. No call applies it.
    #[getter]
    fn truncation<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(params) = self.get().truncation().cloned() else { return Ok(None) };
        let truncation = PyDict::new(py);
        truncation.set_item("max_length", params.max_length)?;
        truncation.set_item("strategy", params.strategy.as_ref())?;
        truncation.set_item("stride", params.stride)?;
        truncation.set_item("direction", params.direction.as_ref())?;
        Ok(Some(truncation))
    }

    /// The padding that the file asks for. No call applies it.
    #[getter]
    fn padding<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(params) = self.get().padding().cloned() else { return Ok(None) };
        let padding = PyDict::new(py);
        let length = match params.strategy {
            PaddingStrategy::Fixed(length) => Some(length),
            PaddingStrategy::BatchLongest => None,
        };
        padding.set_item("length", length)?;
        padding.set_item("pad_to_multiple_of", params.pad_to_multiple_of)?;
        padding.set_item("pad_id", params.pad_id)?;
        padding.set_item("pad_token", params.pad_token)?;
        padding.set_item("pad_type_id", params.pad_type_id)?;
        padding.set_item("direction", params.direction.as_ref())?;
        Ok(Some(padding))
    }

    fn __repr__(&self) -> String {
        format!("Tokenizer(model={}, vocab_size={})", self.model_type(), self.get_vocab_size(true))
    }

    fn __copy__(&self) -> Self {
        Self(Mutex::new(self.get()))
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> Self {
        self.__copy__()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String,))> {
        Ok((slf.get_type().getattr("from_str")?, (slf.get().to_str(slf.py(), false)?,)))
    }
}

fn truncation_strategy(name: &str) -> PyResult<TruncationStrategy> {
    match name {
        "longest_first" => Ok(TruncationStrategy::LongestFirst),
        "only_first" => Ok(TruncationStrategy::OnlyFirst),
        "only_second" => Ok(TruncationStrategy::OnlySecond),
        _ => Err(PyValueError::new_err(format!("Unknown `strategy`: `{name}`"))),
    }
}

fn padding_strategy(name: &str, max_length: usize) -> PyResult<PaddingStrategy> {
    match name {
        "longest" => Ok(PaddingStrategy::BatchLongest),
        "max_length" => Ok(PaddingStrategy::Fixed(max_length)),
        _ => Err(PyValueError::new_err(format!("Unknown `strategy`: `{name}`"))),
    }
}

fn side<T>(name: &str, left: T, right: T) -> PyResult<T> {
    match name {
        "left" => Ok(left),
        "right" => Ok(right),
        _ => {
            Err(PyValueError::new_err(format!("Unknown `direction`: `{name}`. Use one of `left` or `right`")))
        }
    }
}
