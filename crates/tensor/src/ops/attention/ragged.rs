//! Where sequences lie, and which keys their rows may see.

use std::ops::Range;

use super::table::Table;
use crate::{Device, Result, Tensor};

/// Where one sequence lies: its query rows, and the keys that they look at.
///
/// A causal mask needs to know where the rows stand among the keys: the last row stands at the last key, so the first one at key
/// `keys - rows`, after what a cache held before. Where there are more rows than keys, the first row stands at the first key, and rows
/// beyond the keys see what the last key sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The first query row.
    pub start: usize,
    /// The number of query rows.
    pub rows: usize,
    /// The first row of key and value.
    pub key_start: usize,
    /// The number of keys.
    pub keys: usize,
}

impl Sequence {
    /// The key at which row `row` (from 0) stands.
    fn position(&self, row: usize) -> usize {
        self.keys.saturating_sub(self.rows) + row
    }
}

/// Sequences of different lengths, one after another without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ragged {
    sequences: Vec<Sequence>,
    table: Table,
}

impl Ragged {
    /// Appends a sequence that attends to itself: `rows` rows of which the first `keys` are keys. Rows beyond the keys ask but are not
    /// seen.
    pub fn push(&mut self, rows: usize, keys: usize) {
        self.push_at(rows, self.total(), keys.min(rows));
    }

    /// Appends a sequence of `rows` rows whose keys lie elsewhere, in a cache or in another sequence: `keys` of them from row `key_start`
    /// of key and value on.
    pub fn push_at(&mut self, rows: usize, key_start: usize, keys: usize) {
        self.sequences.push(Sequence { start: self.total(), rows, key_start, keys });
        self.table = Table::default();
    }

    /// What kernels of a GPU read, int64 on `device`: start, rows, first key and keys of each sequence. The same tensor whenever it is asked for
    /// there, which a graph reads at every launch.
    ///
    /// # Errors
    /// As for [`Tensor::to_device`].
    pub fn on(&self, device: Device) -> Result<Tensor> {
        let each = |s: &Sequence| [s.start, s.rows, s.key_start, s.keys].map(|number| number as i64);
        self.table.on(device, || self.sequences.iter().flat_map(each).collect())
    }

    /// The sequences in order.
    pub fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// The number of query rows of all sequences.
    pub fn total(&self) -> usize {
        self.sequences.last().map_or(0, |last| last.start + last.rows)
    }
}

/// Which keys of its sequence a row may see; all of them by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// Only the keys up to the one at which the row stands.
    pub causal: bool,
    /// Only near keys. If causal, so many, the row's own included (Mistral); else those at most so far away, on either side (ModernBERT).
    pub window: Option<usize>,
}

impl Mask {
    /// The keys of `sequence` that its row `row` (from 0) may see. Neither end ever falls from row to row.
    pub fn visible(&self, sequence: &Sequence, row: usize) -> Range<usize> {
        let position = sequence.position(row);
        let (back, ahead) = match (self.causal, self.window) {
            (false, None) => return 0..sequence.keys,
            (true, None) => (usize::MAX, 1),
            (true, Some(window)) => (window.saturating_sub(1), window.min(1)),
            (false, Some(window)) => (window, window.saturating_add(1)),
        };
        let end = position.saturating_add(ahead).min(sequence.keys);
        position.saturating_sub(back).min(end)..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_the_last_keys() {
        let sees = |causal, window, rows, keys| {
            let sequence = Sequence { start: 0, rows, key_start: 0, keys };
            let mask = Mask { causal, window };
            (0..rows).map(|row| mask.visible(&sequence, row)).collect::<Vec<_>>()
        };
        assert_eq!(sees(false, None, 2, 3), [0..3, 0..3]);
        assert_eq!(sees(true, None, 3, 3), [0..1, 0..2, 0..3]);
        assert_eq!(sees(true, None, 2, 5), [0..4, 0..5]);
        assert_eq!(sees(true, None, 3, 2), [0..1, 0..2, 0..2]);
        assert_eq!(sees(true, None, 2, 0), [0..0, 0..0]);
        assert_eq!(sees(true, Some(2), 4, 4), [0..1, 0..2, 1..3, 2..4]);
        assert_eq!(sees(true, Some(2), 4, 1), [0..1, 0..1, 1..1, 1..1]);
        assert!(sees(true, Some(0), 2, 2).iter().all(Range::is_empty));
        assert_eq!(sees(false, Some(1), 4, 4), [0..2, 0..3, 1..4, 2..4]);
        assert_eq!(sees(false, Some(0), 2, 4), [2..3, 3..4]);
        assert_eq!(sees(false, Some(usize::MAX), 2, 2), [0..2, 0..2]);
    }

    #[test]
    fn sequences_follow_one_another() {
        let mut ragged = Ragged::default();
        ragged.push(3, 7);
        ragged.push_at(2, 40, 9);
        ragged.push(1, 0);
        let ends: Vec<_> =
            ragged.sequences().iter().map(|s| (s.start, s.rows, s.key_start, s.keys)).collect();
        assert_eq!(ends, [(0, 3, 0, 3), (3, 2, 40, 9), (5, 1, 5, 0)]);
        assert_eq!(ragged.total(), 6);
    }
}
