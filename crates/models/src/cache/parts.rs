//! A cache taken apart and made again, for pickles.

use std::collections::BTreeSet;

use trustformers_tensor::ops::{StoreForm, stored_dim};
use trustformers_tensor::{DType, Tensor};

use super::{Cache, Layer, Source, SourceSequence};
use crate::{Error, Result};

/// What a [`Cache`] holds.
pub struct CacheParts {
    /// The number of keys that a slot has room for.
    pub capacity: usize,
    /// For every sequence, which positions the masks have shown.
    pub shown: Vec<Vec<bool>>,
    /// The slot of every sequence.
    pub slots: Vec<usize>,
    /// The keys and values of each layer, (slots * capacity, heads, ..) as they are stored.
    pub layers: Vec<[Tensor; 2]>,
    /// What the cross-attention looks at.
    pub source: Option<SourceParts>,
}

/// What a cross-attention looks at.
pub struct SourceParts {
    /// The keys and values of each layer, (rows, heads, head_dim).
    pub layers: Vec<[Tensor; 2]>,
    /// For every sequence its first row, and which positions its rows stand for.
    pub sequences: Vec<(usize, Vec<bool>)>,
}

impl Cache {
    /// What the cache holds, over the same memory.
    pub fn parts(&self) -> CacheParts {
        let source = |source: &Source| {
            let sequences = source.sequences.iter().map(|sequence| (sequence.start, sequence.shown.to_vec()));
            SourceParts { layers: source.layers.clone(), sequences: sequences.collect() }
        };
        CacheParts {
            capacity: self.capacity,
            shown: self.shown.clone(),
            slots: self.slots.clone(),
            layers: self.layers.iter().map(|layer| [layer.key.clone(), layer.value.clone()]).collect(),
            source: self.source.as_ref().map(source),
        }
    }

    /// The cache that [`Cache::parts`] took apart.
    ///
    /// # Errors
    /// `Input` for parts that do not fit together.
    pub fn from_parts(parts: CacheParts) -> Result<Cache> {
        let CacheParts { capacity, shown, slots, layers, source } = parts;
        let misfit = || Error::Input("the parts of the cache do not fit together".into());
        let length = shown.first().map_or(0, Vec::len);
        let is_even = shown.iter().all(|shown| shown.len() == length) && length <= capacity;
        let room = match layers.first() {
            Some([key, _]) => key.shape().first().unwrap_or(&0) / capacity.max(1),
            None => slots.len(),
        };
        let is_placed = slots.len() == shown.len() && slots.iter().all(|&slot| slot < room);
        let is_apart = slots.iter().collect::<BTreeSet<_>>().len() == slots.len();
        let rows =
            room.checked_mul(capacity).filter(|_| is_even && is_placed && is_apart).ok_or_else(misfit)?;
        let mut form = None;
        for store in layers.iter().flatten() {
            let found = match store.dtype() {
                DType::F32 => StoreForm::F32,
                DType::F16 => StoreForm::F16,
                DType::U8 => StoreForm::Int8,
                _ => return Err(misfit()),
            };
            let fits = store.shape().len() == 3 && store.shape()[0] == rows && stored_dim(store).is_some();
            if !fits || !store.is_contiguous() || *form.get_or_insert(found) != found {
                return Err(misfit());
            }
        }
        let source = source.map(|SourceParts { layers, sequences }| {
            let sequence = |(start, shown): (usize, Vec<bool>)| SourceSequence {
                start,
                keys: count(&shown),
                shown: shown.into(),
            };
            Source { layers, sequences: sequences.into_iter().map(sequence).collect() }
        });
        if let Some(source) = &source {
            let end = source.sequences.iter().map(|s| s.start.saturating_add(s.keys)).max().unwrap_or(0);
            let holds = |store: &Tensor| store.shape().len() == 3 && store.shape()[0] >= end;
            let is_even = source.sequences.iter().all(|sequence| sequence.shown.len() == source.length());
            if !is_even || !source.layers.iter().flatten().all(holds) {
                return Err(misfit());
            }
        }
        Ok(Cache {
            layers: layers.into_iter().map(|[key, value]| Layer { key, value }).collect(),
            form,
            source,
            keys: shown.iter().map(|shown| count(shown)).collect(),
            shown,
            slots,
            room,
            capacity,
            ..Cache::default()
        })
    }
}

fn count(shown: &[bool]) -> usize {
    shown.iter().filter(|&&shown| shown).count()
}
