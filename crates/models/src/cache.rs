//! The keys and values of the text so far: a step of generation computes its own and reads those.

mod parts;

use std::collections::HashSet;
use std::sync::Arc;

use trustformers_tensor::autograd::is_grad_enabled;
use trustformers_tensor::ops::{Places, Sequence, StoreForm};
use trustformers_tensor::{Ragged, Tensor, Workspace, ops};

use crate::attention::Heads;
use crate::block::Rotary;
use crate::embeddings::Past;
use crate::packing::Packing;
use crate::recorded::Recorder;
use crate::{Error, Result};

pub use parts::{CacheParts, SourceParts};

/// The keys and values that a decoder has computed: transformers' `past_key_values`.
///
/// Padding is not stored: every sequence has its own number of keys. Memory grows by doubling; [`Cache::reserve`] asks for all at once.
/// Every sequence has a slot of that memory, so that sequences are put in another order, leave and join without moving the others.
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
    /// The slot of each sequence.
    slots: Vec<usize>,
    /// The number of slots in the layers.
    room: usize,
    /// The number of keys that a slot has room for.
    capacity: usize,
    /// For every key of the step, its row in the step and in the layers.
    places: Places,
    /// Results of the layers, written over at every step.
    pub(crate) workspace: Workspace,
    /// The steps of a GPU.
    pub(crate) recorder: Recorder,
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

/// (slots * capacity, heads, head_dim) each; a slot has `capacity` rows.
struct Layer {
    key: Tensor,
    value: Tensor,
}

impl Layer {
    /// Both tensors.
    fn stores(&self) -> [&Tensor; 2] {
        [&self.key, &self.value]
    }
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
            ragged.push_at(s.rows, self.slots[index] * self.capacity, self.keys(index) + s.keys);
        }
        ragged
    }

    /// Makes room for the step's keys, which are kept in a form of the model's unless another was asked for. Before the first layer of each
    /// step.
    pub(crate) fn prepare(&mut self, packing: &Packing, form: StoreForm) -> Result<()> {
        self.form.get_or_insert(form);
        let [batch, _] = packing.shape();
        if self.shown.is_empty() {
            self.shown = vec![Vec::new(); batch];
            self.keys = vec![0; batch];
            self.slots = (0..batch).collect();
        }
        if self.batch() != batch {
            return Err(Error::Input(format!(
                "past_key_values hold {} sequences, the inputs {batch}",
                self.batch()
            )));
        }
        let sequences = packing.ragged().sequences();
        let needed = sequences.iter().zip(&self.keys).map(|(s, keys)| keys + s.keys).max().unwrap_or(0);
        self.make_room(batch, needed)?;
        self.places.clear();
        for (index, s) in sequences.iter().enumerate() {
            let first = self.slots[index] * self.capacity + self.keys(index);
            self.places.extend((0..s.keys).map(|key| [s.start + key, first + key]));
        }
        Ok(())
    }

    /// Makes room for so many slots of so many keys. What does not fit grows to twice its size at least.
    fn make_room(&mut self, slots: usize, keys: usize) -> Result<()> {
        if slots <= self.room && keys <= self.capacity {
            return Ok(());
        }
        let old = [self.room, self.capacity];
        let grown = |old: usize, needed: usize| if needed > old { needed.max(2 * old) } else { old };
        let new = match self.layers.is_empty() {
            // What was asked for is enough, until it is not.
            true => [slots, self.capacity.max(keys)],
            false => [grown(self.room, slots), grown(self.capacity, keys)],
        };
        for layer in &mut self.layers {
            let regrown = |store: &Tensor| regrown(store, self.form.unwrap_or(StoreForm::F32), old, new);
            *layer = Layer { key: regrown(&layer.key)?, value: regrown(&layer.value)? };
        }
        [self.room, self.capacity] = new;
        Ok(())
    }

    /// Where the step's keys go.
    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// The number of slots, and the number of keys that each has room for.
    pub(crate) fn room(&self) -> [usize; 2] {
        [self.room, self.capacity]
    }

    /// Whether there are keys of earlier steps.
    pub(crate) fn has_keys(&self) -> bool {
        self.keys.iter().any(|&keys| keys > 0)
    }

    /// Writes the step's keys and values of one layer behind those so far, queries and keys turned by `rotary`, and has attention look at all that are
    /// stored, or at those of the step as they are if they are the first.
    pub(crate) fn append(&mut self, layer: usize, heads: &mut Heads, rotary: Option<&Rotary>) -> Result<()> {
        let Heads { query, key, value } = heads;
        if is_grad_enabled() && (key.requires_grad() || value.requires_grad()) {
            return Err(Error::Runtime(
                "gradients cannot go through past_key_values: pass use_cache=False, or run within no_grad()"
                    .into(),
            ));
        }
        let rows = self.room * self.capacity;
        while self.layers.len() <= layer {
            let form = self.form.unwrap_or(StoreForm::F32);
            let room = |x: &Tensor| form.zeros(rows, x.shape()[1], x.shape()[2], x.device());
            self.layers.push(Layer { key: room(key)?, value: room(value)? });
        }
        let Layer { key: keys, value: values } = &self.layers[layer];
        if keys.shape()[1] != key.shape()[1] || ops::stored_dim(keys) != Some(key.shape()[2]) {
            return Err(Error::Input("past_key_values come from another model".into()));
        }
        match rotary {
            Some(rotary) => {
                ops::turn_and_store(query, rotary.angles(), [keys, key], [values, value], &self.places)?;
            }
            None => ops::store_rows([keys, key], [values, value], &self.places)?,
        }
        if self.has_keys() {
            (heads.key, heads.value) = (keys.clone(), values.clone());
        }
        Ok(())
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
            from.extend((0..self.keys[index]).map(|key| self.slots[index] * self.capacity + key));
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
            slots: self.slots.clone(),
            room: self.room,
            capacity: self.capacity,
            places: Places::default(),
            workspace: Workspace::default(),
            recorder: Recorder::default(),
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

    /// Makes sequence `i` what sequence `sources[i]` was: the choice of beams, repetition, or some of the sequences. A sequence that becomes
    /// several is copied, all others stay where they are.
    pub fn select(&mut self, sources: &[usize]) -> Result<()> {
        let batch = self.batch();
        if let Some(&source) = sources.iter().find(|&&source| source >= batch) {
            return Err(Error::Input(format!(
                "past_key_values hold {batch} sequences, there is no number {source}"
            )));
        }
        let mut is_taken = vec![false; batch];
        let repeated: Vec<bool> =
            sources.iter().map(|&source| std::mem::replace(&mut is_taken[source], true)).collect();
        let kept =
            sources.iter().filter(|&&source| is_taken[source]).map(|&source| self.slots[source]).collect();
        let copies = repeated.iter().filter(|&&repeated| repeated).count();
        let mut free = self.free(&kept, copies)?.into_iter();
        let mut slots = Vec::with_capacity(sources.len());
        for (&source, repeated) in sources.iter().zip(repeated) {
            let from = self.slots[source];
            let slot = if repeated { free.next().unwrap_or(from) } else { from };
            if repeated {
                let place = |slot: usize| slot * self.capacity;
                for store in self.layers.iter().flat_map(Layer::stores) {
                    copy_rows(store, place(slot), store, place(from), self.keys[source])?;
                }
            }
            slots.push(slot);
        }
        self.slots = slots;
        self.shown = sources.iter().map(|&source| self.shown[source].clone()).collect();
        self.keys = sources.iter().map(|&source| self.keys[source]).collect();
        if let Some(source) = &mut self.source {
            source.sequences = sources.iter().map(|&index| source.sequences[index].clone()).collect();
        }
        Ok(())
    }
}

impl Cache {
    /// So many slots beside those that are `kept`.
    fn free(&mut self, kept: &HashSet<usize>, count: usize) -> Result<Vec<usize>> {
        self.make_room(kept.len() + count, self.capacity)?;
        Ok((0..self.room).filter(|slot| !kept.contains(slot)).take(count).collect())
    }

    /// Takes in the sequences of another cache of the same model and form, behind its own. They may be of another length: the shorter ones
    /// are as if they had begun with padding.
    ///
    /// # Errors
    /// `Input` for a cache of another model or form, and for one with the keys of a source.
    pub fn join(&mut self, other: Cache) -> Result<()> {
        if self.batch() == 0 {
            *self = other;
            return Ok(());
        }
        let shapes = |cache: &Cache| -> Vec<_> {
            let store = |store: &Tensor| (store.shape()[1..].to_vec(), store.dtype());
            cache.layers.iter().flat_map(Layer::stores).map(store).collect()
        };
        if self.form != other.form || shapes(self) != shapes(&other) {
            return Err(Error::Input("past_key_values of different models or forms cannot be joined".into()));
        }
        if self.source.is_some() || other.source.is_some() {
            return Err(Error::Input("past_key_values with an encoder's keys cannot be joined".into()));
        }
        self.make_room(self.room, other.keys.iter().copied().max().unwrap_or(0))?;
        let slots = self.free(&self.slots.iter().copied().collect(), other.batch())?;
        for (index, &slot) in slots.iter().enumerate() {
            let from = other.slots[index] * other.capacity;
            let stores = self.layers.iter().flat_map(Layer::stores);
            for (to, store) in stores.zip(other.layers.iter().flat_map(Layer::stores)) {
                copy_rows(to, slot * self.capacity, store, from, other.keys[index])?;
            }
        }
        self.slots.extend(slots);
        self.keys.extend(other.keys);
        self.shown.extend(other.shown);
        let length = self.shown.iter().map(Vec::len).max().unwrap_or(0);
        for shown in &mut self.shown {
            let padding = length - shown.len();
            shown.splice(0..0, std::iter::repeat_n(false, padding));
        }
        self.trim();
        Ok(())
    }

    /// Forgets positions that are the padding of all sequences: what was there has left.
    fn trim(&mut self) {
        let padding = |shown: &Vec<bool>| shown.iter().take_while(|&&shown| !shown).count();
        let all = self.shown.iter().map(padding).min().unwrap_or(0);
        self.shown.iter_mut().for_each(|shown| drop(shown.drain(..all)));
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

/// The same rows with more slots, and more rows in each.
fn regrown(store: &Tensor, form: StoreForm, old: [usize; 2], new: [usize; 2]) -> Result<Tensor> {
    let (heads, width) = (store.shape()[1], store.shape()[2]);
    let dim = ops::stored_dim(store).unwrap_or(width);
    let grown = form.zeros(new[0] * new[1], heads, dim, store.device())?;
    let before = grown.view(&[new[0], new[1], heads, width])?.narrow(0, 0, old[0])?.narrow(1, 0, old[1])?;
    before.copy_(&store.view(&[old[0], old[1], heads, width])?)?;
    Ok(grown)
}

/// Copies so many rows of one store to a place in another, or in itself where they are not.
fn copy_rows(to: &Tensor, to_row: usize, from: &Tensor, from_row: usize, count: usize) -> Result<()> {
    Ok(to.narrow(0, to_row, to_row + count)?.copy_(&from.narrow(0, from_row, from_row + count)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache of one layer that has read a text for each of `masks`, the keys of which count from `first` on.
    fn read(masks: &[&[bool]], first: f32) -> Cache {
        let mut cache = Cache::default();
        more(&mut cache, masks, first);
        cache
    }

    fn more(cache: &mut Cache, masks: &[&[bool]], first: f32) {
        let packing = Packing::new(masks.len(), masks[0].len(), Some(&masks.concat()), |_| false).unwrap();
        cache.prepare(&packing, StoreForm::F32).unwrap();
        let numbers: Vec<f32> = (0..packing.rows()).map(|row| first + row as f32).collect();
        let rows = Tensor::from_slice(&numbers, &[numbers.len(), 1, 1]).unwrap();
        append(cache, &rows).unwrap();
        cache.advance(&packing);
    }

    fn append(cache: &mut Cache, rows: &Tensor) -> Result<()> {
        let mut heads = Heads { query: rows.clone(), key: rows.clone(), value: rows.clone() };
        cache.append(0, &mut heads, None)
    }

    /// The keys of each sequence, padding as zero.
    fn keys(cache: &Cache) -> Vec<Vec<f32>> {
        let (keys, _) = cache.layer(0).unwrap().unwrap();
        let keys = keys.contiguous().unwrap();
        keys.as_slice::<f32>().unwrap().chunks(cache.length()).map(<[f32]>::to_vec).collect()
    }

    #[test]
    fn sequences_change_places_without_being_moved() {
        let mut cache = read(&[&[true, true], &[true, true], &[false, true]], 1.0);
        cache.select(&[2, 0]).unwrap();
        assert_eq!(cache.slots, [2, 0]);
        assert_eq!(keys(&cache), [[0.0, 5.0], [1.0, 2.0]]);
        cache.select(&[1, 1, 0, 1]).unwrap();
        assert_eq!(keys(&cache), [[1.0, 2.0], [1.0, 2.0], [0.0, 5.0], [1.0, 2.0]]);
        more(&mut cache, &[&[true][..]; 4], 10.0);
        assert_eq!(keys(&cache)[3], [1.0, 2.0, 13.0]);
        assert_eq!(keys(&cache)[2], [0.0, 5.0, 12.0]);
    }

    #[test]
    fn sequences_join_and_leave() {
        let mut cache = read(&[&[true, true]], 1.0);
        cache.join(read(&[&[false, true, true, true], &[true; 4]], 10.0)).unwrap();
        assert_eq!(keys(&cache), [[0.0, 0.0, 1.0, 2.0], [0.0, 10.0, 11.0, 12.0], [13.0, 14.0, 15.0, 16.0]]);
        more(&mut cache, &[&[true][..]; 3], 20.0);
        cache.select(&[0, 1]).unwrap();
        // The one that comes takes the slot of the one that has left.
        let room = cache.room;
        cache.join(read(&[&[true]], 30.0)).unwrap();
        assert_eq!(cache.room, room);
        assert_eq!(keys(&cache), [[0.0, 1.0, 2.0, 20.0], [10.0, 11.0, 12.0, 21.0], [0.0, 0.0, 0.0, 30.0]]);
    }

    #[test]
    fn caches_of_different_forms_do_not_join() {
        let mut cache = read(&[&[true]], 1.0);
        let mut other = Cache::default();
        other.keep_as(StoreForm::F16);
        let packing = Packing::new(1, 1, None, |_| false).unwrap();
        other.prepare(&packing, StoreForm::F32).unwrap();
        let row = Tensor::from_slice(&[1f32], &[1, 1, 1]).unwrap();
        append(&mut other, &row).unwrap();
        other.advance(&packing);
        assert!(matches!(cache.join(other), Err(Error::Input(_))));
    }
}
