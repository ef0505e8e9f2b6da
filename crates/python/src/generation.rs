//! Generation: settings in, texts out, and Python's own processors, criteria and streamers on the way.

use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use trustformers::generation::constraint::{Grammar, ResponseFormat, Vocabulary};
use trustformers::generation::processors;
use trustformers::generation::{
    self, Error, Generated, GenerationConfig, Job, LogitsProcessor, Request, Result, Scores, StopStrings,
    StoppingCriterion, Streamer, Turn, Writer,
};
use trustformers::models::Text;
use trustformers::tensor::{Generator, Tensor};

use crate::cache::PyCache;
use crate::errors;
use crate::inputs::inputs;
use crate::interrupt::detached;
use crate::model::PyModel;
use crate::tensor::{PyTensor, draw};
use crate::tokenizer::PyTokenizer;

/// One of the engine's logits processors, described in JSON: `type` is the name of transformers' class, the rest its arguments.
#[pyclass(frozen, name = "Processor", module = "trustformers._engine")]
pub struct PyProcessor {
    json: String,
    /// Made once: some have tables.
    processor: Mutex<Box<dyn LogitsProcessor>>,
}

#[pymethods]
impl PyProcessor {
    /// :raises ValueError: when there is no such processor, or its arguments cannot be.
    #[new]
    fn new(json: String) -> PyResult<PyProcessor> {
        let processor = processors::from_json(&json).map_err(errors::generation)?;
        Ok(PyProcessor { json, processor: Mutex::new(processor) })
    }

    /// The scores (rows, vocabulary) that it makes of those behind some sequences (rows, length).
    fn __call__(&self, py: Python<'_>, input_ids: &PyTensor, scores: &PyTensor) -> PyResult<PyTensor> {
        let process = || -> Result<Tensor> {
            let mut result = Scores::new(&scores.0)?;
            let mut processor = self.processor.lock().unwrap_or_else(PoisonError::into_inner);
            processor.process(&generation::rows(&input_ids.0)?, &mut result)?;
            result.to_tensor()
        };
        detached(py, process).map(PyTensor).map_err(errors::generation)
    }
}

/// Texts that sequences of a tokenizer's tokens end with.
#[pyclass(frozen, name = "StopStrings", module = "trustformers._engine")]
pub struct PyStopStrings(StopStrings);

#[pymethods]
impl PyStopStrings {
    #[new]
    fn new(py: Python<'_>, tokenizer: &PyTokenizer, strings: Vec<String>) -> PyResult<PyStopStrings> {
        let tokenizer = tokenizer.get();
        let pieces = detached(py, || tokenizer.pieces()).map_err(errors::tokenizers)?;
        Ok(PyStopStrings(StopStrings::new(&strings, pieces)))
    }

    /// For each of some sequences (rows, length), whether one of the texts ends within its last token.
    fn __call__(&self, py: Python<'_>, input_ids: &PyTensor) -> PyResult<Vec<bool>> {
        let rows = generation::rows(&input_ids.0).map_err(errors::generation)?;
        Ok(detached(py, || rows.iter().map(|row| self.0.ends(row)).collect()))
    }
}

/// A processor in a call: the engine's own, or the name of a class and what to call.
#[derive(FromPyObject)]
pub enum Processing<'py> {
    Native(PyRef<'py, PyProcessor>),
    Own(String, Py<PyAny>),
}

/// Something of Python's, with the name of its class.
struct Own {
    name: String,
    call: Py<PyAny>,
}

fn raised(error: PyErr) -> Error {
    Error::Callback(Box::new(error))
}

/// Sequences of one length as a tensor.
fn tensor(sequences: &[Vec<i64>]) -> Result<PyTensor> {
    generation::table(sequences).map(PyTensor)
}

impl LogitsProcessor for Own {
    fn process(&mut self, sequences: &[Vec<i64>], scores: &mut Scores) -> Result<()> {
        let (ids, given) = (tensor(sequences)?, PyTensor(scores.to_tensor()?));
        let changed = Python::attach(|py| {
            let changed = self.call.bind(py).call1((ids, given))?;
            Ok(changed.cast::<PyTensor>().map_err(PyErr::from)?.get().0.clone())
        });
        *scores = Scores::new(&changed.map_err(raised)?)?;
        Ok(())
    }

    fn name(&self) -> &str {
        &self.name
    }
}

impl StoppingCriterion for Own {
    fn stops(&mut self, sequences: &[Vec<i64>], scores: Option<&[Scores]>) -> Result<Vec<bool>> {
        let ids = tensor(sequences)?;
        let scores = scores.map(|all| all.iter().map(|one| one.to_tensor().map(PyTensor)).collect());
        let scores: Option<Vec<PyTensor>> = scores.transpose()?;
        Python::attach(|py| self.call.bind(py).call1((ids, scores))?.extract()).map_err(raised)
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// The methods `put` and `end` of an object.
struct Stream(Py<PyAny>);

impl Streamer for Stream {
    fn put(&mut self, tokens: &Tensor) -> Result<()> {
        let put = |py: Python<'_>| self.0.bind(py).call_method1("put", (PyTensor(tokens.clone()),)).map(drop);
        Python::attach(put).map_err(raised)
    }

    fn end(&mut self) -> Result<()> {
        Python::attach(|py| self.0.bind(py).call_method0("end").map(drop)).map_err(raised)
    }
}

/// What is to be written: a prompt, settings, and Python's own parts. It can be written once.
#[pyclass(frozen, name = "Request", module = "trustformers._engine")]
pub struct PyRequest(Mutex<Option<Asked>>);

/// What Python asks for.
struct Asked {
    config: GenerationConfig,
    /// All but what is Python's to lend: a cache and an assistant.
    request: Request<'static>,
    cache: Option<Py<PyCache>>,
    assistant: Option<(Py<PyModel>, GenerationConfig)>,
    generator: Generator,
}

#[pymethods]
impl PyRequest {
    /// A prompt in `tensors`, named as for a forward pass, and settings in `config` (JSON text).
    ///
    /// :raises ValueError: for settings that cannot be.
    #[new]
    #[pyo3(signature = (
        tensors, config, *, cache=None, processors=vec![], constraint=None, criteria=vec![], streamer=None,
        tokenizer=None, response_format=None, assistant=None, negative=None, seed=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "what transformers' generate takes beside its settings")]
    fn new<'py>(
        py: Python<'py>,
        tensors: &Bound<'py, PyDict>,
        config: &str,
        cache: Option<Py<PyCache>>,
        processors: Vec<Processing<'py>>,
        constraint: Option<Py<PyAny>>,
        criteria: Vec<(String, Py<PyAny>)>,
        streamer: Option<Py<PyAny>>,
        tokenizer: Option<&PyTokenizer>,
        response_format: Option<&str>,
        assistant: Option<(Py<PyModel>, String)>,
        negative: Option<(PyRef<'py, PyTensor>, Option<PyRef<'py, PyTensor>>)>,
        seed: Option<u64>,
    ) -> PyResult<PyRequest> {
        let settings = |json: &str| GenerationConfig::from_json(json).map_err(errors::generation);
        let config = settings(config)?;
        let processors = processors.into_iter().map(|one| -> PyResult<Box<dyn LogitsProcessor>> {
            Ok(match one {
                Processing::Native(native) => {
                    processors::from_json(&native.json).map_err(errors::generation)?
                }
                Processing::Own(name, call) => Box::new(Own { name, call }),
            })
        });
        let processors = processors.collect::<PyResult<_>>()?;
        let format =
            response_format.map(ResponseFormat::from_json).transpose().map_err(errors::generation)?;
        let tokenizer = tokenizer.map(PyTokenizer::get);
        let pieces = tokenizer.as_ref().filter(|_| config.stop_strings.is_some() || format.is_some());
        let pieces = detached(py, || pieces.map(|tokenizer| tokenizer.pieces()).transpose());
        let pieces = pieces.map_err(errors::tokenizers)?;
        let constraint: Option<Box<dyn LogitsProcessor>> = match (&format, &tokenizer, &pieces, constraint) {
            (Some(format), Some(tokenizer), Some(pieces), _) => {
                let compile = || {
                    let added = tokenizer.added_tokens().into_iter();
                    let special: Vec<u32> =
                        added.filter(|(_, token)| token.special).map(|(id, _)| id).collect();
                    let vocabulary = Vocabulary::of(pieces, &special, config.ends())?;
                    Grammar::new(format, &vocabulary)?.constraint(&config)
                };
                Some(Box::new(detached(py, compile).map_err(errors::generation)?))
            }
            (.., Some(call)) => Some(Box::new(Own { name: "PrefixConstrainedLogitsProcessor".into(), call })),
            _ => None,
        };
        let seed = match seed {
            Some(seed) => seed,
            None => draw(|generator| {
                generator.integers(0, i64::MAX, &[1])?.as_slice::<i64>().map(|one| one[0] as u64)
            })?
            .map_err(errors::tensor)?,
        };
        let assistant = assistant.map(|(model, json)| -> PyResult<_> { Ok((model, settings(&json)?)) });
        let request = Request {
            inputs: inputs(tensors)?,
            processors,
            constraint,
            criteria: criteria
                .into_iter()
                .map(|(name, call)| Box::new(Own { name, call }) as Box<_>)
                .collect(),
            pieces,
            streamer: streamer.map(|streamer| Box::new(Stream(streamer)) as Box<_>),
            negative: negative.map(|(ids, mask)| Text {
                ids: Some(ids.0.clone()),
                mask: mask.map(|mask| mask.0.clone()),
                ..Text::default()
            }),
            ..Request::default()
        };
        let (assistant, generator) = (assistant.transpose()?, Generator::new(seed));
        Ok(PyRequest(Mutex::new(Some(Asked { config, request, cache, assistant, generator }))))
    }
}

impl PyRequest {
    /// What is asked for.
    fn take(&self) -> PyResult<Asked> {
        let asked = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        asked.ok_or_else(|| PyRuntimeError::new_err("a request can be written once: make another"))
    }
}

#[pymethods]
impl PyModel {
    /// Writes what is asked for. The result has what there is by transformers' names: tensors, lists of them, and lists of lists.
    fn generate<'py>(&self, py: Python<'py>, request: &PyRequest) -> PyResult<Bound<'py, PyDict>> {
        let Asked { config, request, cache, assistant, generator } = request.take()?;
        let (model, cache) = (&self.0, cache.as_ref().map(Py::get));
        let assistant = assistant.as_ref().map(|(model, config)| (&model.get().0, config.clone()));
        let write = || {
            let mut held = cache.map(|cache| cache.0.lock().unwrap_or_else(PoisonError::into_inner));
            let cache = held.as_mut().map(|held| std::mem::take(&mut **held));
            let request = Request { cache, assistant, ..request };
            let mut generated = generation::generate(model, config, request, generator)?;
            // A cache that was given takes in what has been read.
            if let Some(held) = &mut held {
                **held = generated.cache.take().unwrap_or_default();
            }
            Ok(generated)
        };
        result(py, detached(py, write).map_err(errors::generation)?)
    }

    /// Writes together what `turn` asks for. It is called between two tokens with a list of what has ended, numbers with what
    /// :meth:`generate` would return or an exception, and returns two lists: numbers with what to begin with, and the numbers of what is
    /// wanted no more. The end comes when there is nothing left to write and nothing to begin with.
    ///
    /// What has a cache, or an assistant, is not for this.
    fn generate_together(&self, py: Python<'_>, turn: Py<PyAny>) -> PyResult<()> {
        let write = || generation::write_together(&self.0, &mut Turning(turn));
        detached(py, write).map_err(errors::generation)
    }
}

/// A function that says what is written together.
struct Turning(Py<PyAny>);

type Numbered = Vec<(u64, Py<PyRequest>)>;

impl<'r> Writer<'r> for Turning {
    fn turn(&mut self, ended: Vec<(u64, Result<Generated>)>) -> Result<Turn<'r>> {
        let turn = |py: Python<'_>| -> PyResult<Turn<'r>> {
            let ended = ended.into_iter().map(|(number, generated)| -> PyResult<(u64, Py<PyAny>)> {
                Ok(match generated {
                    Ok(generated) => (number, result(py, generated)?.into_any().unbind()),
                    Err(error) => (number, errors::generation(error).into_value(py).into_any()),
                })
            });
            let ended = ended.collect::<PyResult<Vec<_>>>()?;
            let (joins, leaves): (Numbered, Vec<u64>) = self.0.bind(py).call1((ended,))?.extract()?;
            let job = |(number, request): (u64, Py<PyRequest>)| {
                let Asked { config, request, generator, .. } = request.get().take()?;
                Ok(Job { number, config, request, generator })
            };
            Ok(Turn { joins: joins.into_iter().map(job).collect::<PyResult<_>>()?, leaves })
        };
        Python::attach(turn).map_err(raised)
    }
}

fn result(py: Python<'_>, generated: Generated) -> PyResult<Bound<'_, PyDict>> {
    let result = PyDict::new(py);
    let one = [
        ("sequences", generated.sequences),
        ("sequences_scores", generated.sequences_scores),
        ("beam_indices", generated.beam_indices),
    ];
    for (name, tensor) in one {
        if let Some(tensor) = tensor {
            result.set_item(name, PyTensor(tensor))?;
        }
    }
    let list = |all: Vec<Tensor>| all.into_iter().map(PyTensor).collect::<Vec<_>>();
    let many = [
        ("scores", generated.scores),
        ("logits", generated.logits),
        ("encoder_hidden_states", generated.encoder_hidden_states),
        ("encoder_attentions", generated.encoder_attentions),
    ];
    for (name, tensors) in many {
        if let Some(tensors) = tensors {
            result.set_item(name, list(tensors))?;
        }
    }
    let steps = [
        ("hidden_states", generated.hidden_states),
        ("attentions", generated.attentions),
        ("cross_attentions", generated.cross_attentions),
    ];
    for (name, steps) in steps {
        if let Some(steps) = steps {
            result.set_item(name, steps.into_iter().map(list).collect::<Vec<_>>())?;
        }
    }
    if let Some(cache) = generated.cache {
        result.set_item("cache", PyCache(Mutex::new(cache)))?;
    }
    Ok(result)
}
