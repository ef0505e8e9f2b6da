//! A model that writes, token by token: what it has read so far, and what it is to read next.

use std::iter;
use std::ops::Range;

use trustformers_models::{self as models, Cache, Family, Inputs, Keep, Model, Outputs, Text};
use trustformers_tensor::{DType, Tensor, profile};

use crate::Result;
use crate::error::Error;
use crate::joint::Joint;

/// A model with the keys and values of what it has read.
///
/// Every sequence of a batch has as many tokens. Those that the prompt's mask hides are padding: they take no part, and positions are
/// counted without them, as transformers' `generate` does.
pub(crate) struct Decoder<'m> {
    model: &'m Model,
    /// `None` when all is read anew at every step.
    cache: Option<Cache>,
    /// The prompt and what else stays the same from step to step.
    inputs: Inputs,
    /// How many positions of each sequence have been read.
    read: usize,
    /// How many positions come before the first token: those of a prompt that is embeddings and not tokens.
    lead: usize,
    /// Whether the next pass is the first one.
    is_first: bool,
    /// For every sequence, the flags of its prompt's tokens, if some are hidden; in front those that a given cache holds.
    mask: Option<Vec<Vec<bool>>>,
    /// For every sequence, the positions of all tokens that it has been said for; `None` for models that count themselves.
    positions: Option<Vec<Vec<i64>>>,
    /// For every sequence, the segments of all tokens.
    segments: Option<Vec<Vec<i64>>>,
}

impl<'m> Decoder<'m> {
    /// A decoder for a prompt of `tokens` tokens: `inputs.text`, or `inputs.decoder` behind `inputs.encoder_hidden_states`.
    pub fn new(model: &'m Model, inputs: Inputs, cache: Option<Cache>, tokens: usize) -> Result<Decoder<'m>> {
        let text = match model.family() {
            Family::EncoderDecoder => &inputs.decoder,
            _ => &inputs.text,
        };
        let length = text.embeds.as_ref().map_or(tokens, |embeds| embeds.shape()[1]);
        let lead = length.saturating_sub(tokens);
        let past = cache.as_ref().map_or(0, Cache::length);
        let shown = text.mask.as_ref().and_then(|mask| mask.shape().last().copied()).unwrap_or(length);
        // What a given cache holds is the beginning of the prompt, unless the mask says that it came before.
        let read = if shown == length && past < length { past } else { 0 };
        let mask = text.mask.as_ref().map(flags).transpose()?;
        // A mask of the whole text says of the past what the cache knows.
        let mask = mask.map(|rows| -> Result<Vec<Vec<bool>>> {
            let given = rows.first().map_or(0, Vec::len);
            match given.checked_sub(length) {
                Some(before) if before == 0 || before == past => {
                    Ok(rows.into_iter().map(|row| row[before..].to_vec()).collect())
                }
                _ => Err(Error::Setting(format!(
                    "attention_mask must have the length {length} of the prompt, or {} with what past_key_values hold, got {given}",
                    length + past
                ))),
            }
        });
        let mask = mask.transpose()?;
        let given = text.position_ids.as_ref().map(rows).transpose()?;
        let positions = match (model.takes_position_ids(), given) {
            (_, Some(given)) => Some(given),
            (false, None) => None,
            (true, None) => {
                let batch = mask.as_ref().map(Vec::len).or(cache.as_ref().map(Cache::batch));
                let one = |row: usize| {
                    let before =
                        cache.as_ref().filter(|_| read == 0).map_or(0, |cache| cache.visible(row)) as i64;
                    let shown = |at: usize| mask.as_ref().is_none_or(|mask| mask[row][at]);
                    (0..length)
                        .scan(before, |next, at| {
                            // What is hidden stands at 0, and what follows a text that is padded on the right at 1.
                            let position = if shown(at) { *next } else { 0 };
                            *next += i64::from(shown(at));
                            Some(position)
                        })
                        .collect()
                };
                Some((0..batch.unwrap_or(1).max(1)).map(one).collect())
            }
        };
        let segments = text.token_type_ids.as_ref().map(rows).transpose()?;
        Ok(Decoder { model, cache, inputs, read, lead, is_first: true, mask, positions, segments })
    }

    /// The same decoder, which leaves it to the model to count positions.
    pub fn without_positions(self) -> Decoder<'m> {
        Decoder { positions: None, ..self }
    }

    /// Reads what of `sequences` it has not read yet. The outputs have the logits of the last `keep` tokens.
    pub fn read(&mut self, sequences: &[Vec<i64>], keep: usize) -> Result<Outputs> {
        let _measured = profile::span(if self.is_first { "prefill" } else { "decode" });
        let length = self.lead + sequences.first().map_or(0, Vec::len);
        self.turn(length);
        let from = if self.cache.is_some() { self.read } else { 0 };
        let mut text = Text { prefix: self.text().prefix, ..Text::default() };
        match &self.text().embeds {
            Some(embeds) if self.is_first => text.embeds = Some(embeds.narrow(1, from, embeds.shape()[1])?),
            _ => {
                let new = |row: &'_ Vec<i64>| from.saturating_sub(self.lead).min(row.len());
                text.ids = Some(table(sequences.iter().map(|row| &row[new(row)..]))?);
            }
        }
        self.pass(text, sequences.len(), from..from.max(length), keep)
    }

    /// Reads what `text` has for each of so many sequences at some positions.
    fn pass(&mut self, mut text: Text, rows: usize, at: Range<usize>, keep: usize) -> Result<Outputs> {
        self.go_on(at.start, at.end);
        let window = |all: &Option<Vec<Vec<i64>>>| {
            // One row may serve every sequence.
            let pick = |row: usize| all.as_ref().map(|all| &all[row % all.len()][at.clone()]);
            all.as_ref().map(|_| table((0..rows).filter_map(pick))).transpose()
        };
        text.position_ids = window(&self.positions)?;
        text.token_type_ids = window(&self.segments)?;
        let shown = |row: usize, at: usize| {
            let flags = self.mask.as_ref().map(|mask| &mask[row % mask.len()]);
            i64::from(flags.and_then(|flags| flags.get(at)).copied().unwrap_or(true))
        };
        if self.mask.as_ref().is_some_and(|mask| at.start < mask.first().map_or(0, Vec::len)) {
            let flags: Vec<Vec<i64>> =
                (0..rows).map(|row| at.clone().map(|at| shown(row, at)).collect()).collect();
            text.mask = Some(table(&flags)?);
        }
        let mut inputs = Inputs { logits_to_keep: Keep::Last(keep), ..self.inputs.clone() };
        match self.model.family() {
            Family::EncoderDecoder => {
                inputs.decoder = text;
                if self.cache.as_ref().is_some_and(|cache| cache.source_length() > 0) {
                    inputs.encoder_hidden_states = None;
                }
            }
            _ => inputs.text = text,
        }
        let outputs = self.model.forward(&inputs, self.cache.as_mut()).map_err(|error| match error {
            // Nobody has given positions: the text is too long.
            models::Error::Index { what: "position_ids", size, .. } => models::Error::Runtime(format!(
                "The sequence has {} tokens, more than the {size} positions that the model knows: truncate it, or ask for fewer \
                 new tokens",
                at.end
            )),
            other => other,
        })?;
        (self.read, self.is_first) = (at.end, false);
        Ok(outputs)
    }

    /// Forgets everything where a text of `length` positions is turned otherwise than what has been read of it.
    fn turn(&mut self, length: usize) {
        let (Some(point), Some(cache)) = (self.model.turning_point(), &mut self.cache) else { return };
        let before = cache.length() - self.read.min(cache.length());
        if self.lead == 0 && before == 0 && (1..=point).contains(&cache.length()) && length > point {
            *cache = Cache::default();
            cache.reserve(length + 1);
            self.read = 0;
        }
    }

    /// [`Decoder::read`], and the logits (sequences, vocabulary) of the token behind, where the model left them.
    pub fn next(&mut self, sequences: &[Vec<i64>]) -> Result<(Tensor, Outputs)> {
        let outputs = self.read(sequences, 1)?;
        last_logits(outputs)
    }

    /// [`Decoder::next`] behind the next token of each sequence, (sequences) of int64, which is on the model's GPU alone so far: what is
    /// computed does not wait for the processor to know it. All before must have been read.
    pub fn next_drawn(&mut self, tokens: &Tensor) -> Result<(Tensor, Outputs)> {
        let _measured = profile::span("decode");
        let (ids, prefix) = (Some(tokens.unsqueeze(1)?), self.text().prefix);
        let text = Text { ids, drawn: true, prefix, ..Text::default() };
        let outputs = self.pass(text, tokens.numel(), self.read..self.read + 1, 1)?;
        last_logits(outputs)
    }

    /// Whether it can go on with [`Decoder::next_drawn`]: nothing that has been read is read again.
    pub fn takes_drawn(&self) -> bool {
        self.cache.is_some() && self.model.turning_point().is_none()
    }

    fn text(&self) -> &Text {
        match self.model.family() {
            Family::EncoderDecoder => &self.inputs.decoder,
            _ => &self.inputs.text,
        }
    }

    /// Counts positions and segments on as far as `to`.
    fn go_on(&mut self, from: usize, to: usize) {
        for (rows, step) in [(&mut self.positions, 1), (&mut self.segments, 0)] {
            for row in rows.iter_mut().flatten() {
                let last = row[..from.max(row.len().min(to))].last().copied().unwrap_or(-step);
                let known = row.len();
                row.extend((1..).map(|count| last + step * count).take(to.saturating_sub(known)));
            }
        }
    }

    /// Forgets what it has read from token `length` on.
    pub fn forget(&mut self, length: usize) {
        let length = self.lead + length;
        let forgotten = self.read.saturating_sub(length);
        if let Some(cache) = self.cache.as_mut().filter(|_| forgotten > 0) {
            cache.crop(-(forgotten as i64));
        }
        self.read -= forgotten;
        for row in self.positions.iter_mut().chain(&mut self.segments).flatten() {
            row.truncate(length.max(1));
        }
    }

    /// Makes sequence `i` what sequence `sources[i]` was.
    pub fn select(&mut self, sources: &[usize]) -> Result<()> {
        if sources.iter().copied().eq(0..sources.len())
            && self.rows().is_none_or(|rows| rows == sources.len())
        {
            return Ok(());
        }
        if let Some(cache) = &mut self.cache {
            cache.select(sources)?;
        }
        let index = index_of(sources)?;
        let select = |tensor: &mut Option<Tensor>| -> Result<()> {
            // One row may serve every sequence.
            if let Some(one) = tensor.as_mut().filter(|one| one.shape()[0] > 1 || one.dtype().is_float()) {
                *one = one.index_select(0, &index)?;
            }
            Ok(())
        };
        select(&mut self.inputs.encoder_hidden_states)?;
        select(&mut self.inputs.encoder_attention_mask)?;
        if self.model.family() == Family::EncoderDecoder {
            select(&mut self.inputs.text.mask)?;
        }
        let mask = self.mask.take();
        self.mask =
            mask.map(|rows| sources.iter().map(|&source| rows[source % rows.len()].clone()).collect());
        for rows in [&mut self.positions, &mut self.segments] {
            if let Some(all) = rows.as_mut().filter(|all| all.len() > 1) {
                *all = sources.iter().map(|&source| all[source].clone()).collect();
            }
        }
        Ok(())
    }

    /// Asks for room for so many tokens of each sequence, if nothing has been read yet.
    pub fn reserve(&mut self, tokens: usize) {
        let positions = self.lead + tokens;
        if let Some(cache) = &mut self.cache {
            cache.reserve(positions);
        }
    }

    /// How many tokens of each of some sequences of `length` tokens it has not read.
    pub fn unread(&self, length: usize) -> usize {
        (self.lead + length).saturating_sub(self.read)
    }

    /// Whether what it can go on from in a [`Joint`] may be read in pieces: tokens may, a prompt of embeddings is one piece.
    pub fn reads_in_pieces(&self) -> bool {
        self.text().embeds.is_none()
    }

    /// Whether it can go on in a [`Joint`], up to so many tokens: with a cache of its own, a text whose beginning never changes, and
    /// positions that the model knows, so that it cannot fail there.
    pub fn can_join(&self, tokens: usize) -> bool {
        let positions = self.model.config().size("max_position_embeddings").ok();
        self.cache.as_ref().is_some_and(|cache| cache.batch() == 0)
            && self.model.turning_point().is_none()
            && positions.is_none_or(|positions| self.lead + tokens <= positions)
    }

    /// What its `rows` sequences go on from in a [`Joint`]. It is left without its cache.
    pub fn hand_over(&mut self, rows: usize) -> Joint<'m> {
        let behind = |all: &Option<Vec<Vec<i64>>>, step: i64| {
            let next = |all: &Vec<Vec<i64>>| {
                (0..rows).map(|row| all[row % all.len()].last().map_or(0, |last| last + step)).collect()
            };
            all.as_ref().map(next)
        };
        Joint {
            model: self.model,
            cache: self.cache.take().unwrap_or_default(),
            positions: behind(&self.positions, 1),
            segments: behind(&self.segments, 0).unwrap_or_else(|| vec![0; rows]),
            has_segments: self.segments.is_some(),
        }
    }

    /// The number of sequences, as far as it is known.
    fn rows(&self) -> Option<usize> {
        let states = self.inputs.encoder_hidden_states.as_ref().map(|states| states.shape()[0]);
        self.cache.as_ref().map(Cache::batch).or(states)
    }

    /// For every sequence of the prompt, how many tokens of padding it begins with.
    pub fn padding(&self) -> Vec<usize> {
        let first = |row: &Vec<bool>| row.iter().position(|&shown| shown).unwrap_or(0);
        self.mask.iter().flatten().map(first).collect()
    }

    /// The model.
    pub fn model(&self) -> &'m Model {
        self.model
    }

    /// The prompt, and what else every pass is given.
    pub fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// The keys and values of what it has read.
    pub fn into_cache(self) -> Option<Cache> {
        self.cache
    }
}

/// The logits (batch, vocabulary) of the last position, out of what a pass gave.
fn last_logits(mut outputs: Outputs) -> Result<(Tensor, Outputs)> {
    let logits = logits(&mut outputs)?;
    Ok((logits.select(1, logits.shape()[1].saturating_sub(1))?, outputs))
}

/// Takes the logits (batch, positions, vocabulary) out of what a pass gave.
pub(crate) fn logits(outputs: &mut Outputs) -> Result<Tensor> {
    let missing = || Error::Setting("this model has no language model's head to generate with".into());
    outputs.logits.take().ok_or_else(missing)
}

/// Places, as a tensor to select with.
pub(crate) fn index_of(places: &[usize]) -> Result<Tensor> {
    let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    Ok(Tensor::from_slice(&places, &[places.len()])?)
}

/// How many tokens two sequences begin with alike.
pub(crate) fn common(one: &[i64], other: &[i64]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}

/// Sequences of one length as a (rows, length) tensor of int64.
///
/// # Errors
/// What the tensor says when they are not of one length.
pub fn table<'a>(rows: impl IntoIterator<Item = impl AsRef<[i64]> + 'a>) -> Result<Tensor> {
    let (mut all, mut count, mut length) = (Vec::new(), 0, 0);
    for row in rows {
        let row = row.as_ref();
        (count, length) = (count + 1, row.len());
        all.extend_from_slice(row);
    }
    Ok(Tensor::from_slice(&all, &[count, length])?)
}

/// The rows of a (rows, length) table of whole numbers, or its one row.
///
/// # Errors
/// What the tensor says when it holds something else.
pub fn rows(table: &Tensor) -> Result<Vec<Vec<i64>>> {
    let length = table.shape().last().copied().unwrap_or(0);
    let numbers = table.to_host()?.to_dtype(DType::I64)?.contiguous()?;
    let numbers = numbers.as_slice::<i64>()?;
    if length == 0 {
        let rows = table.shape().first().copied().unwrap_or(0);
        return Ok(iter::repeat_n(Vec::new(), rows).collect());
    }
    Ok(numbers.chunks_exact(length).map(<[i64]>::to_vec).collect())
}

fn flags(mask: &Tensor) -> Result<Vec<Vec<bool>>> {
    if mask.ndim() > 2 {
        return Err(Error::Setting("`attention_mask` passed to `generate` must be 2D.".into()));
    }
    let shown = mask.to_dtype(DType::Bool)?.to_dtype(DType::I64)?;
    Ok(rows(&shown)?.into_iter().map(|row| row.into_iter().map(|flag| flag != 0).collect()).collect())
}
