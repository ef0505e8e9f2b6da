//! Texts of any lengths that a model goes on with at once.

use trustformers_models::{Cache, Inputs, Keep, Model, Text};
use trustformers_tensor::{Tensor, profile};

use crate::Result;
use crate::decoder::{logits, table};

/// Sequences of any lengths that have been read, each by a decoder of its own, and go on together.
pub(crate) struct Joint<'m> {
    pub model: &'m Model,
    pub cache: Cache,
    /// The position of each sequence's next token; `None` for models that count themselves.
    pub positions: Option<Vec<i64>>,
    /// The segment of each sequence's next token.
    pub segments: Vec<i64>,
    /// Whether any were given.
    pub has_segments: bool,
}

impl<'m> Joint<'m> {
    /// No sequences.
    pub fn new(model: &'m Model) -> Joint<'m> {
        let (cache, segments) = (Cache::default(), Vec::new());
        Joint { model, cache, positions: None, segments, has_segments: false }
    }

    /// Takes in the sequences of another one, behind its own.
    pub fn join(&mut self, other: Joint<'m>) -> Result<()> {
        self.cache.join(other.cache)?;
        match (&mut self.positions, other.positions) {
            (Some(positions), Some(others)) => positions.extend(others),
            (positions, others) => *positions = others,
        }
        self.segments.extend(other.segments);
        self.has_segments |= other.has_segments;
        Ok(())
    }

    /// Keeps some of the sequences, in this order.
    pub fn select(&mut self, rows: &[usize]) -> Result<()> {
        if rows.is_empty() {
            *self = Joint::new(self.model);
            return Ok(());
        }
        self.cache.select(rows)?;
        let pick = |all: &[i64]| rows.iter().map(|&row| all[row]).collect();
        self.positions = self.positions.as_deref().map(pick);
        self.segments = pick(&self.segments);
        Ok(())
    }

    /// Reads the next token of each sequence: the logits (rows, vocabulary) of the one behind.
    pub fn step(&mut self, tokens: &[i64]) -> Result<Tensor> {
        let _measured = profile::span("decode");
        let column = |numbers: &[i64]| table(numbers.chunks(1));
        let text = Text {
            ids: Some(column(tokens)?),
            position_ids: self.positions.as_deref().map(column).transpose()?,
            token_type_ids: self.has_segments.then(|| column(&self.segments)).transpose()?,
            ..Text::default()
        };
        let inputs = Inputs { text, logits_to_keep: Keep::Last(1), ..Inputs::default() };
        let mut outputs = self.model.forward(&inputs, Some(&mut self.cache))?;
        self.positions.iter_mut().flatten().for_each(|position| *position += 1);
        Ok(logits(&mut outputs)?.select(1, 0)?)
    }
}
