//! Where queries and keys stand in their text, for what depends on it: relative positions, and windows in a text with hidden positions.

use std::collections::HashMap;

use trustformers_tensor::ops::Sequence;
use trustformers_tensor::{Device, Ragged, Tensor};

use crate::Result;
use crate::block::brought;
use crate::packing::room;
use crate::stack::Pass;

/// The positions of a sequence's queries and keys.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Places {
    pub queries: Vec<i64>,
    pub keys: Vec<i64>,
}

/// The places of every sequence of a pass.
pub fn places(pass: &Pass, ragged: &Ragged) -> Vec<Places> {
    let (all, past) = (pass.packing.positions(), pass.cache.as_ref().map_or(0, |cache| cache.length()));
    let one = |(index, s): (usize, &Sequence)| {
        let rows = &all[s.start..s.start + s.rows];
        let queries: Vec<i64> = rows.iter().map(|position| position + past as i64).collect();
        let before = pass.cache.as_ref().map(|cache| cache.shown(index)).unwrap_or_default();
        let before = (0i64..).zip(before).filter(|(_, shown)| **shown).map(|(position, _)| position);
        let keys = before.chain(queries.iter().copied()).take(s.keys).collect();
        Places { queries, keys }
    };
    ragged.sequences().iter().enumerate().map(one).collect()
}

impl Places {
    /// Whether counting packed rows is counting positions.
    pub fn is_unbroken(&self) -> bool {
        let Some(&first) = self.keys.first() else { return true };
        let ahead = self.keys.len().saturating_sub(self.queries.len()) as i64;
        let follows = |from: i64, places: &[i64]| (from..).zip(places).all(|(at, &place)| at == place);
        follows(first, &self.keys) && follows(first + ahead, &self.queries)
    }

    /// What keeps each query to its window, added to its scores: (1, queries, keys).
    pub fn window(&self, window: usize, causal: bool) -> Result<Tensor> {
        let shape = [1, self.queries.len(), self.keys.len()];
        let window = i64::try_from(window).unwrap_or(i64::MAX);
        let mut hidden = room(&shape)?;
        for query in &self.queries {
            hidden.extend(self.keys.iter().map(|key| match query - key {
                back if causal && back < window => 0.0,
                distance if !causal && distance.abs() <= window => 0.0,
                _ => f32::NEG_INFINITY,
            }));
        }
        Ok(Tensor::from_slice(&hidden, &shape)?)
    }
}

/// How the windows of layers are kept.
pub enum Windows {
    /// Not at all: a matrix that the caller gives says everything.
    Open,
    /// By the kernel, which counts packed rows.
    Packed,
    /// By a bias for every window and sequence, because hidden positions count too and rows do not.
    Added(HashMap<usize, Vec<Tensor>>),
}

impl Windows {
    /// The same for layers of another device.
    pub fn to_device(&self, device: Device) -> Result<Windows> {
        Ok(match self {
            Windows::Open => Windows::Open,
            Windows::Packed => Windows::Packed,
            Windows::Added(biases) => {
                let one = |(&window, all): (&usize, &Vec<Tensor>)| Ok((window, brought(all, device)?));
                Windows::Added(biases.iter().map(one).collect::<Result<_>>()?)
            }
        })
    }

    /// The window that the kernel keeps and the bias, of a layer with this window where others add `bias`.
    pub fn of<'a>(
        &'a self,
        window: Option<usize>,
        bias: Option<&'a [Tensor]>,
    ) -> (Option<usize>, Option<&'a [Tensor]>) {
        match self {
            Windows::Open => (None, bias),
            Windows::Packed => (window, bias),
            Windows::Added(biases) => match window.and_then(|window| biases.get(&window)) {
                Some(biases) => (None, Some(biases)),
                // None, or one that is wider than the text.
                None => (None, bias),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(queries: &[i64], keys: &[i64]) -> Places {
        Places { queries: queries.into(), keys: keys.into() }
    }

    #[test]
    fn a_text_without_holes_is_unbroken_wherever_it_begins() {
        assert!(places(&[2, 3, 4], &[2, 3, 4]).is_unbroken());
        assert!(places(&[7], &[5, 6, 7]).is_unbroken());
        assert!(places(&[0], &[]).is_unbroken());
        assert!(!places(&[0, 1, 3], &[0, 1, 3]).is_unbroken());
        // A hidden position 0 that asks stands behind the visible ones.
        assert!(!places(&[1, 2, 0], &[1, 2]).is_unbroken());
        assert!(!places(&[7], &[4, 5, 7]).is_unbroken());
    }

    #[test]
    fn a_window_counts_hidden_positions() {
        let seen = |places: &Places, window, causal| {
            let bias = places.window(window, causal).unwrap();
            bias.as_slice::<f32>().unwrap().iter().map(|&added| added == 0.0).collect::<Vec<_>>()
        };
        let holes = places(&[0, 3, 4], &[0, 3, 4]);
        assert_eq!(seen(&holes, 1, false), [true, false, false, false, true, true, false, true, true]);
        // The kernel hides what comes later.
        assert_eq!(seen(&holes, 2, true), [true, true, true, false, true, true, false, true, true]);
    }
}
