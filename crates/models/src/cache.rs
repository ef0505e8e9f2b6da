//! The keys and values of the text so far: a step of generation computes its own and reads those.

mod parts;

use std::sync::Arc;

use trustformers_tensor::ops::{Sequence, StoreForm};
use trustformers_tensor::{Ragged, Tensor, Workspace, ops};

use crate::embeddings::Past;
use crate::packing::Packing;
use crate::{Error, Result};

pub use parts::{CacheParts, SourceParts};

/// The keys and values that a decoder has computed: transformers' `past_key_values`.
///
/// Padding is not stored: every sequence has its own number of keys. Memory grows by doubling; [`Cache::reserve`] asks for all at once.
/// They are kept as float32 for a model of float32 weights and as float16 for any other, unless [`Cache::keep_as`] says otherwise.
#[derive(Default)]
pub struct Cache {
    layers: Vec<Layer>,
    /// How they are kept, once that has been asked for or is known from the model.
    form: Option<StoreForm>,
    /// What the cross-attention looks at, if there is one.
    pub(crate) source: Option<Source>,
    /// For every sequence, which positions so far the masks have shown. All are of one length.
    shown: Vec<Vec<bool>>,
    /// For every sequence, the number of those.
    keys: Vec<usize>,
    /// The room for keys of one sequence.
    capacity: usize,
    /// For every key of the step, its row in the step and in the layers.
    places: Vec<[usize; 2]>,
    /// Results of the layers, written over at every step.
    pub(crate) workspace: Workspace,
}

/// The encoder's hidden states as the cross-attention of a decoder wants them. They stay the same from step to step.
#[derive(Clone, Default)]
pub(crate) struct Source {
    /// The keys and values of each layer.
    pub layers: Vec<[Tensor; 2]>,
    /// For every sequence of the batch, where its keys are.
    pub sequences: Vec<SourceSequence>,
}

/// One text of the source.
#[derive(Clone)]
pub(crate) struct SourceSequence {
    /// The first key.
    pub start: usize,
    /// The number of keys.
    pub keys: usize,
    /// Which positions of the text they stand for.
    pub shown: Arc<[bool]>,
}

impl Source {
    /// The source that `packing` describes, with no layer yet.
    pub fn of(packing: &Packing) -> Source {
        let sequences = packing.ragged().sequences().iter().enumerate();
        let sequence = |(index, s): (usize, &Sequence)| SourceSequence {
            start: s.start,
            keys: s.keys,
            shown: packing.shown(index).into(),
        };
        Source { layers: Vec::new(), sequences: sequences.map(sequence).collect() }
    }

    /// The length of the texts, padding included.
    pub fn length(&self) -> usize {
        self.sequences.first().map_or(0, |sequence| sequence.shown.len())
    }

    /// Where the rows of `packing` find their keys.
    pub fn ragged(&self, packing: &Packing) -> Ragged {
        let mut ragged = Ragged::default();
        for (s, source) in packing.ragged().sequences().iter().zip(&self.sequences) {
            ragged.push_at(s.rows, source.start, source.keys);
        }
        ragged
    }
}

/// (batch * capacity, heads, head_dim) each; a sequence has `capacity` rows.
struct Layer {
    key: Tensor,
    value: Tensor,
}

impl Cache {
    /// The number of positions so far, padding included.
    pub fn length(&self) -> usize {
        self.shown.first().map_or(0, Vec::len)
    }

    /// The number of sequences; 0 before the first step.
    pub fn batch(&self) -> usize {
        self.shown.len()
    }

    /// Asks for room for `capacity` positions in all. Once there is something in it, it grows as it needs to.
    pub fn reserve(&mut self, capacity: usize) {
        if self.layers.is_empty() {
            self.capacity = self.capacity.max(capacity);
        }
    }

    /// Asks for a form in which keys and values are kept. Once there is something in it, it stays as it is.
    pub fn keep_as(&mut self, form: StoreForm) {
        if self.layers.is_empty() {
            self.form = Some(form);
        }
    }

    /// Which positions of a sequence the masks have shown so far.
    pub(crate) fn shown(&self, sequence: usize) -> &[bool] {
        self.shown.get(sequence).map_or(&[], Vec::as_slice)
    }

    /// The number of positions of a sequence that the masks have shown.
    pub fn visible(&self, sequence: usize) -> usize {
        self.keys(sequence)
    }

    /// The number of keys of a sequence.
    fn keys(&self, sequence: usize) -> usize {
        self.keys.get(sequence).copied().unwrap_or(0)
    }

    /// Where the attention of a step over `packing` finds its keys: those so far and the step's own, see [`Cache::append`].
    pub(crate) fn ragged(&self, packing: &Packing) -> Ragged {
        if !self.has_keys() {
            return packing.ragged().clone();
        }
        let mut ragged = Ragged::default();
        for (index, s) in packing.ragged().sequences().iter().enumerate() {
            ragged.push_at(s.rows, index * self.capacity, self.keys(index) + s.keys);
        }
        ragged
    }

    /// Makes room for the step's keys, which are kept in a form of the model's unless another was asked for. Before the first layer of each
    /// step.
    pub(crate) fn prepare(&mut self, packing: &Packing, form: StoreForm) -> Result<()> {
        self.form.get_or_insert(form);
        let [batch, length] = packing.shape();
        if self.shown.is_empty() {
            self.shown = vec![Vec::new(); batch];
            self.keys = vec![0; batch];
        }
        if self.batch() != batch {
            return Err(Error::Input(format!(
                "past_key_values hold {} sequences, the inputs {batch}",
                self.batch()
            )));
        }
        let needed = self.length() + length;
        if needed > self.capacity {
            let old = self.capacity;
            self.capacity = needed.max(2 * old);
            for layer in &mut self.layers {
                layer.key = regrown(&layer.key, batch, old, self.capacity)?;
                layer.value = regrown(&layer.value, batch, old, self.capacity)?;
            }
        }
        self.places.clear();
        for (index, s) in packing.ragged().sequences().iter().enumerate() {
            let first = index * self.capacity + self.keys(index);
            self.places.extend((0..s.keys).map(|key| [s.start + key, first + key]));
        }
        Ok(())
    }

    /// Whether there are keys of earlier steps.
    pub(crate) fn has_keys(&self) -> bool {
        self.keys.iter().any(|&keys| keys > 0)
    }

    /// Writes the step's keys and values (rows, heads, head_dim) of one layer behind those so far and gives what its attention looks at: all
    /// that are stored, or those of the step as they are if they are the first.
    pub(crate) fn append(&mut self, layer: usize, key: Tensor, value: Tensor) -> Result<(Tensor, Tensor)> {
        if trustformers_tensor::autograd::is_grad_enabled() && (key.requires_grad() || value.requires_grad())
        {
            return Err(Error::Runtime(
                "gradients cannot go through past_key_values: pass use_cache=False, or run within no_grad()"
                    .into(),
            ));
        }
        let rows = self.batch() * self.capacity;
        while self.layers.len() <= layer {
            let form = self.form.unwrap_or(StoreForm::F32);
            let room = |x: &Tensor| form.zeros(rows, x.shape()[1], x.shape()[2]);
            self.layers.push(Layer { key: room(&key)?, value: room(&value)? });
        }
        let Layer { key: keys, value: values } = &self.layers[layer];
        if keys.shape()[1] != key.shape()[1] || ops::stored_dim(keys) != Some(key.shape()[2]) {
            return Err(Error::Input("past_key_values come from another model".into()));
        }
        ops::store_rows(keys, &key, &self.places)?;
        ops::store_rows(values, &value, &self.places)?;
        Ok(if self.has_keys() { (keys.clone(), values.clone()) } else { (key, value) })
    }

    /// Counts the step's keys in. After its last layer.
    pub(crate) fn advance(&mut self, packing: &Packing) {
        for (index, s) in packing.ragged().sequences().iter().enumerate() {
            self.keys[index] += s.keys;
            self.shown[index].extend(packing.shown(index));
        }
    }

    /// The number of layers that hold something.
    pub fn layers(&self) -> usize {
        self.layers.len()
    }

    /// A layer's keys and values, (batch, heads, length, head_dim) each, zero where a mask has hidden the position.
    pub fn layer(&self, layer: usize) -> Result<Option<(Tensor, Tensor)>> {
        let Some(Layer { key, value }) = self.layers.get(layer) else { return Ok(None) };
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for (index, shown) in self.shown.iter().enumerate() {
            let places = (0..shown.len()).filter(|&at| shown[at]);
            to.extend(places.map(|at| index * self.length() + at));
            from.extend((0..self.keys[index]).map(|key| index * self.capacity + key));
        }
        let spread = |store: &Tensor| spread(store, &from, &to, [self.batch(), self.length()]);
        Ok(Some((spread(key)?, spread(value)?)))
    }

    /// The length of the source that a cross-attention looks at, padding included; 0 if there is none.
    pub fn source_length(&self) -> usize {
        self.source.as_ref().map_or(0, Source::length)
    }

    /// A layer's keys and values of the source, (batch, heads, length, head_dim) each, zero where the mask hides the position.
    pub fn source_layer(&self, layer: usize) -> Result<Option<(Tensor, Tensor)>> {
        let Some(source) = &self.source else { return Ok(None) };
        let Some([key, value]) = source.layers.get(layer) else { return Ok(None) };
        let (batch, length) = (source.sequences.len(), source.length());
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for (index, sequence) in source.sequences.iter().enumerate() {
            let places = (0..length).filter(|&at| sequence.shown[at]);
            to.extend(places.map(|at| index * length + at));
            from.extend(sequence.start..sequence.start + sequence.keys);
        }
        let spread = |store: &Tensor| spread(store, &from, &to, [batch, length]);
        Ok(Some((spread(key)?, spread(value)?)))
    }

    /// Another cache of the same content, in memory of its own.
    pub fn copy(&self) -> Result<Cache> {
        let copy = |layer: &Layer| Ok(Layer { key: layer.key.copy()?, value: layer.value.copy()? });
        Ok(Cache {
            layers: self.layers.iter().map(copy).collect::<Result<_>>()?,
            form: self.form,
            source: self.source.clone(),
            shown: self.shown.clone(),
            keys: self.keys.clone(),
            capacity: self.capacity,
            places: Vec::new(),
            workspace: Workspace::default(),
        })
    }

    /// Forgets all positions from `length` on; a negative number forgets so many.
    pub fn crop(&mut self, length: i64) {
        let length = if length < 0 { self.length() as i64 + length } else { length };
        for (shown, keys) in self.shown.iter_mut().zip(&mut self.keys) {
            shown.truncate(length.max(0) as usize);
            *keys = shown.iter().filter(|&&shown| shown).count();
        }
    }

    /// Makes sequence `i` what sequence `sources[i]` was: the choice of beams, or repetition.
    pub fn select(&mut self, sources: &[usize]) -> Result<()> {
        let batch = self.batch();
        if let Some(&source) = sources.iter().find(|&&source| source >= batch) {
            return Err(Error::Input(format!(
                "past_key_values hold {batch} sequences, there is no number {source}"
            )));
        }
        let select = |store: &Tensor| -> Result<Tensor> {
            let index: Vec<i64> = sources.iter().map(|&source| source as i64).collect();
            let index = Tensor::from_slice(&index, &[index.len()])?;
            let (rows, heads, width) = (store.shape()[0], store.shape()[1], store.shape()[2]);
            let blocks = store.view(&[batch, rows / batch * heads * width])?.index_select(0, &index)?;
            Ok(blocks.view(&[sources.len() * (rows / batch), heads, width])?)
        };
        for layer in &mut self.layers {
            *layer = Layer { key: select(&layer.key)?, value: select(&layer.value)? };
        }
        self.shown = sources.iter().map(|&source| self.shown[source].clone()).collect();
        self.keys = sources.iter().map(|&source| self.keys[source]).collect();
        if let Some(source) = &mut self.source {
            source.sequences = sources.iter().map(|&index| source.sequences[index].clone()).collect();
        }
        Ok(())
    }
}

impl Past for Cache {
    fn length(&self) -> usize {
        Cache::length(self)
    }

    fn visible(&self, sequence: usize) -> usize {
        Cache::visible(self, sequence)
    }
}

/// The stored rows (rows, heads, head_dim) `from` at the places `to` of a batch: (batch, heads, length, head_dim).
fn spread(store: &Tensor, from: &[usize], to: &[usize], [batch, length]: [usize; 2]) -> Result<Tensor> {
    let rows = ops::stored_rows(store, from)?.scatter_rows(to, batch * length)?;
    let (heads, head_dim) = (rows.shape()[1], rows.shape()[2]);
    Ok(rows.view(&[batch, length, heads, head_dim])?.permute(&[0, 2, 1, 3])?)
}

/// The same rows with more room for each sequence.
fn regrown(store: &Tensor, batch: usize, old: usize, new: usize) -> Result<Tensor> {
    let (heads, width) = (store.shape()[1], store.shape()[2]);
    let grown = Tensor::zeros_of(&[batch, new, heads, width], store.dtype())?;
    grown.narrow(1, 0, old)?.copy_(&store.view(&[batch, old, heads, width])?)?;
    Ok(grown.view(&[batch * new, heads, width])?)
}
