//! Keys and values of texts so far.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use trustformers::models::{Cache, CacheParts, SourceParts};
use trustformers::tensor::Tensor;
use trustformers::tensor::ops::StoreForm;

use crate::errors;
use crate::tensor::PyTensor;

type Pair = (PyTensor, PyTensor);
type GivenPair<'py> = (Bound<'py, PyTensor>, Bound<'py, PyTensor>);
/// For every sequence of a source its first row, and which positions its rows stand for.
type Places = Vec<(usize, Vec<bool>)>;
/// A cache taken apart.
type PyParts = (usize, Vec<Vec<bool>>, Vec<usize>, Vec<Pair>, Option<(Vec<Pair>, Places)>);

/// The keys and values of the text so far: transformers' `past_key_values`.
#[pyclass(frozen, name = "Cache", module = "trustformers._engine")]
pub struct PyCache(pub Mutex<Cache>);

impl PyCache {
    /// A forward pass elsewhere may hold it: wait without the GIL.
    fn lock<R: Send>(&self, py: Python<'_>, then: impl FnOnce(&mut Cache) -> R + Send) -> R {
        py.detach(|| then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

#[pymethods]
impl PyCache {
    /// An empty cache; with room for `capacity` positions it need not grow up to there. If `quantized` it keeps 8 bits.
    #[new]
    #[pyo3(signature = (capacity=0, quantized=false))]
    fn new(capacity: usize, quantized: bool) -> PyCache {
        let mut cache = Cache::default();
        cache.reserve(capacity);
        if quantized {
            cache.keep_as(StoreForm::Int8);
        }
        PyCache(Mutex::new(cache))
    }

    /// The number of positions so far, padding included.
    fn length(&self, py: Python<'_>) -> usize {
        self.lock(py, |cache| cache.length())
    }

    /// The number of sequences; 0 before the first step.
    fn batch(&self, py: Python<'_>) -> usize {
        self.lock(py, |cache| cache.batch())
    }

    /// The number of layers that hold something.
    fn layers(&self, py: Python<'_>) -> usize {
        self.lock(py, |cache| cache.layers())
    }

    /// A layer's keys and values, (batch, heads, length, head_dim) each; `None` for a layer that holds nothing.
    fn layer(&self, py: Python<'_>, index: usize) -> PyResult<Option<(PyTensor, PyTensor)>> {
        let layer = self.lock(py, |cache| cache.layer(index)).map_err(errors::models)?;
        Ok(layer.map(|(key, value)| (PyTensor(key), PyTensor(value))))
    }

    /// The length of the source that a cross-attention looks at; 0 if there is none.
    fn source_length(&self, py: Python<'_>) -> usize {
        self.lock(py, |cache| cache.source_length())
    }

    /// A layer's keys and values of the source, (batch, heads, length, head_dim) each; `None` without a source.
    fn source_layer(&self, py: Python<'_>, index: usize) -> PyResult<Option<(PyTensor, PyTensor)>> {
        let layer = self.lock(py, |cache| cache.source_layer(index)).map_err(errors::models)?;
        Ok(layer.map(|(key, value)| (PyTensor(key), PyTensor(value))))
    }

    /// Forgets all positions from `length` on; a negative number forgets so many.
    fn crop(&self, py: Python<'_>, length: i64) {
        self.lock(py, |cache| cache.crop(length));
    }

    /// Makes sequence `i` what sequence `sources[i]` was.
    fn select(&self, py: Python<'_>, sources: Vec<usize>) -> PyResult<()> {
        self.lock(py, |cache| cache.select(&sources)).map_err(errors::models)
    }

    /// What is in it, for :meth:`from_parts`: the room of a slot, which positions of each sequence are shown, their slots, the layers' keys and
    /// values as they are stored, and the same of the source.
    fn parts(&self, py: Python<'_>) -> PyParts {
        let parts = self.lock(py, |cache| cache.parts());
        let pairs =
            |layers: Vec<[Tensor; 2]>| layers.into_iter().map(|[k, v]| (PyTensor(k), PyTensor(v))).collect();
        let source = parts.source.map(|source| (pairs(source.layers), source.sequences));
        (parts.capacity, parts.shown, parts.slots, pairs(parts.layers), source)
    }

    /// The cache that :meth:`parts` took apart.
    ///
    /// :raises ValueError: for parts that do not fit together.
    #[staticmethod]
    fn from_parts(
        capacity: usize,
        shown: Vec<Vec<bool>>,
        slots: Vec<usize>,
        layers: Vec<GivenPair<'_>>,
        source: Option<(Vec<GivenPair<'_>>, Places)>,
    ) -> PyResult<PyCache> {
        let pairs = |layers: Vec<GivenPair<'_>>| {
            layers.into_iter().map(|(key, value)| [key.get().0.clone(), value.get().0.clone()]).collect()
        };
        let source = source.map(|(layers, sequences)| SourceParts { layers: pairs(layers), sequences });
        let parts = CacheParts { capacity, shown, slots, layers: pairs(layers), source };
        Ok(PyCache(Mutex::new(Cache::from_parts(parts).map_err(errors::models)?)))
    }

    /// Another cache of the same content.
    fn copy(&self, py: Python<'_>) -> PyResult<PyCache> {
        let copy = self.lock(py, |cache| cache.copy()).map_err(errors::models)?;
        Ok(PyCache(Mutex::new(copy)))
    }
}
