//! From token numbers to hidden states.

use trustformers_tensor::ops::Ids;
use trustformers_tensor::profile::Module;
use trustformers_tensor::{Activation, DType, Device, Tensor, ops};

use crate::checkpoint::{Init, Scope};
use crate::dropout::Dropout;
use crate::inputs::Text;
use crate::layers::{Linear, Norm};
use crate::paths::together;
use crate::site::Site;
use crate::spec::{EmbeddingsSpec, Numbering, PositionTable, PositionsSpec};
use crate::{Error, Packing, Parameter, Result};

/// Word, position and segment embeddings with their weights.
pub struct Embeddings {
    module: Module,
    word: Parameter,
    padding: Option<usize>,
    scale: f32,
    scales_given: bool,
    positions: Option<Positions>,
    segments: Option<Segments>,
    norm: Option<Norm>,
    projection: Option<Linear>,
    projects_words: bool,
    final_norm: Option<Norm>,
    dropout: f32,
}

/// What is looked up for the segments.
enum Segments {
    /// A row of a table of their own.
    Table(Parameter),
    /// A word.
    Words,
}

struct Positions {
    spec: PositionsSpec,
    table: Parameter,
}

impl Embeddings {
    /// Loads the tables of a stack that is `hidden` wide. Two stacks may share their `words`.
    pub fn load(
        scope: &Scope,
        spec: &EmbeddingsSpec,
        hidden: usize,
        words: Option<&Parameter>,
    ) -> Result<Embeddings> {
        let added = if spec.projects_words { hidden } else { spec.width };
        let table = |path, rows, width| scope.at(path).table("weight", &[rows, width]);
        let word = match words {
            Some(words) => scope.at(spec.word).tied("weight", words)?,
            None => table(spec.word, spec.vocab_size, spec.width)?,
        };
        let positions = spec.positions.as_ref().map(|positions| -> Result<_> {
            let table = match positions.table {
                PositionTable::Learned(path) => table(path, positions.rows, added)?,
                PositionTable::Sinusoids(path) => {
                    let shape = [positions.rows, added];
                    match scope.at(path).optional("weight", &shape, Init::Embedding)? {
                        Some(table) => table,
                        None => scope.derived(&shape, || sinusoids(shape[0], shape[1], shape[1] / 2))?,
                    }
                    .into()
                }
                PositionTable::Endless { zero } => {
                    let shape = [positions.rows, added];
                    scope.derived(&shape, || endless(shape[0], shape[1], zero))?.into()
                }
            };
            Ok(Positions { spec: positions.clone(), table })
        });
        let of_positions = spec.positions.as_ref().and_then(|positions| match positions.table {
            PositionTable::Learned(path) | PositionTable::Sinusoids(path) => Some(path),
            PositionTable::Endless { .. } => None,
        });
        let of_segments = spec.segments.map(|(path, _)| path).filter(|&path| path != spec.word);
        let tables: Vec<&str> = [Some(spec.word), of_positions, of_segments].into_iter().flatten().collect();
        Ok(Embeddings {
            module: scope.at(&together(&tables)).module(),
            padding: scope.padding(spec.padding, word.shape()[0]),
            word,
            scale: spec.scale,
            scales_given: spec.scales_given,
            positions: positions.transpose()?,
            segments: match spec.segments {
                Some((path, _)) if path == spec.word => Some(Segments::Words),
                Some((path, rows)) => Some(Segments::Table(table(path, rows, added)?)),
                None => None,
            },
            norm: spec.norm.map(|norm| Norm::load(scope, norm, added)).transpose()?,
            projection: spec
                .projection
                .map(|projection| Linear::load(scope, projection, hidden, spec.width))
                .transpose()?,
            projects_words: spec.projects_words,
            final_norm: spec.final_norm.map(|norm| Norm::load(scope, norm, hidden)).transpose()?,
            dropout: spec.dropout,
        })
    }

    /// The table of word embeddings (tokens, width).
    pub fn word(&self) -> &Parameter {
        &self.word
    }

    /// The row of them that gets no gradient.
    pub fn padding(&self) -> Option<usize> {
        self.padding
    }

    /// The packed embeddings (rows, hidden) of the packed tokens, `past` positions into the text.
    pub fn forward(
        &self,
        text: &Text,
        packing: &Packing,
        past: &dyn Past,
        dropout: &Dropout,
    ) -> Result<Tensor> {
        let _measured = self.module.enter();
        let drawn = match self.word.dense() {
            Some(table) => text.drawn_ids(packing, table.device())?,
            None => None,
        };
        let given = match drawn {
            Some(_) => None,
            None => {
                text.packed_ids("input_ids", &text.ids, packing, "the vocabulary", self.word.shape()[0])?
            }
        };
        let tokens = drawn.as_ref().map(Ids::There).or(given.as_deref().map(Ids::Here));
        let positions = match &self.positions {
            Some(positions) => {
                let rows = positions.rows(text, packing, past)?;
                Some((positions.reaching(&rows)?, rows, positions.padding()))
            }
            None => None,
        };
        let types = |table: &Parameter| {
            let (types, rows) = (&text.token_type_ids, table.shape()[0]);
            text.packed_ids("token_type_ids", types, packing, "the segment table", rows)
        };
        let segments = match &self.segments {
            Some(Segments::Table(table)) => {
                Some((table.clone(), types(table)?.unwrap_or_else(|| vec![0; packing.rows()]), None))
            }
            Some(Segments::Words) => types(&self.word)?.map(|types| (self.word.clone(), types, self.padding)),
            None => None,
        };
        let places =
            positions.iter().chain(&segments).map(|(table, ids, padding)| (table, Ids::Here(ids), *padding));
        let dtype = Site::of([self.word.memory()]).dtype;
        let is_plain = self.scale == 1.0 && !self.projects_words;
        let of_tokens = |lookups: &[(&Parameter, Ids, Option<usize>)]| {
            dropout.disturb(looked_up(lookups, dtype)?, packing.shape()[1])
        };
        let mut hidden = match (tokens, &text.embeds) {
            // Words and places in one pass.
            (Some(ids), _) if is_plain => {
                let words = (&self.word, ids, self.padding);
                of_tokens(&[words].into_iter().chain(places).collect::<Vec<_>>())?
            }
            _ => {
                let mut words = match (tokens, &text.embeds) {
                    (Some(ids), _) => of_tokens(&[(&self.word, ids, self.padding)])?,
                    (None, Some(embeds)) => {
                        let embeds = embeds.to_device(self.word.memory().device())?;
                        packing.pack(&embeds.to_dtype(dtype)?)?
                    }
                    (None, None) => return Err(text.nothing()),
                };
                if self.scale != 1.0 && (tokens.is_some() || self.scales_given) {
                    words = words.mul(f64::from(self.scale))?;
                }
                if let (Some(projection), true) = (&self.projection, self.projects_words) {
                    words = projection.forward(&words, Activation::Identity, dropout)?;
                }
                let places: Vec<_> = places.collect();
                if places.is_empty() {
                    words
                } else {
                    words.add(&looked_up(&places, dtype)?.to_device(words.device())?)?
                }
            }
        };
        if let Some(norm) = &self.norm {
            hidden = norm.forward(&hidden, None)?;
        }
        if self.final_norm.is_none() {
            hidden = dropout.apply(hidden, self.dropout)?;
        }
        if let (Some(projection), false) = (&self.projection, self.projects_words) {
            hidden = projection.forward(&hidden, Activation::Identity, dropout)?;
        }
        match &self.final_norm {
            Some(norm) => dropout.apply(norm.forward(&hidden, None)?, self.dropout),
            None => Ok(hidden),
        }
    }
}

/// What came before the tokens at hand.
pub trait Past {
    /// The number of positions so far, padding included.
    fn length(&self) -> usize;
    /// The number of those of one sequence that the masks have shown.
    fn visible(&self, sequence: usize) -> usize;
}

impl Positions {
    fn is_endless(&self) -> bool {
        matches!(self.spec.table, PositionTable::Endless { .. })
    }

    /// The row that gets no gradient: RoBERTa's, of the padding tokens themselves.
    fn padding(&self) -> Option<usize> {
        match self.spec.numbering {
            Numbering::NotPadding(padding) => usize::try_from(padding).ok(),
            Numbering::Index | Numbering::Visible => None,
        }
    }

    /// The table, or a longer one if it can be had and `rows` ask for it.
    fn reaching(&self, rows: &[i64]) -> Result<Parameter> {
        let needed = rows.iter().max().map_or(0, |&last| last as usize + 1);
        match self.spec.table {
            PositionTable::Endless { zero } if needed > self.spec.rows => {
                Ok(endless(needed, self.table.shape()[1], zero)?.into())
            }
            _ => Ok(self.table.clone()),
        }
    }

    /// The table's row of every packed token.
    fn rows(&self, text: &Text, packing: &Packing, past: &dyn Past) -> Result<Vec<i64>> {
        let PositionsSpec { rows, offset, numbering, .. } = self.spec;
        let known = rows - offset;
        let [batch, length] = packing.shape();
        if let Some(positions) =
            text.packed_ids("position_ids", &text.position_ids, packing, "the position table", rows)?
        {
            // RoBERTa's callers count as its table does, from the padding token on.
            let offset = if matches!(numbering, Numbering::NotPadding(_)) { 0 } else { offset as i64 };
            return positions
                .into_iter()
                .map(|position| match position + offset {
                    row if row < rows as i64 => Ok(row),
                    _ => Err(Error::Index {
                        what: "position_ids",
                        index: position,
                        table: "the position table",
                        size: known,
                    }),
                })
                .collect();
        }
        let past_length = past.length();
        let numbers = match (numbering, &text.ids) {
            (Numbering::Index, _) | (Numbering::NotPadding(_), None) => packing
                .positions()
                .iter()
                .map(|position| position + past_length as i64 + offset as i64)
                .collect(),
            (Numbering::Visible, _) => {
                let mut numbers = Vec::with_capacity(packing.rows());
                for (index, s) in packing.ragged().sequences().iter().enumerate() {
                    let shown = (0..s.keys).map(|row| (past.visible(index) + row + offset) as i64);
                    // What the mask hides is counted as the one before the first.
                    let hidden = (s.keys..s.rows).map(|_| offset as i64 - 1);
                    numbers.extend(shown.chain(hidden));
                }
                numbers
            }
            (Numbering::NotPadding(padding), Some(ids)) => {
                let ids = ids.to_host()?.to_dtype(DType::I64)?.contiguous()?;
                let mut numbers = Vec::with_capacity(batch * length);
                for row in ids.as_slice::<i64>()?.chunks_exact(length) {
                    let mut next = padding + past_length as i64;
                    numbers.extend(row.iter().map(|&id| match id == padding {
                        true => padding,
                        false => {
                            next += 1;
                            next
                        }
                    }));
                }
                packing.pack_ids(&numbers)
            }
        };
        match numbers.iter().max() {
            Some(&last) if last >= rows as i64 && !self.is_endless() => Err(Error::Runtime(format!(
                "The sequence has {} tokens, more than the {known} positions that the model knows: \
                 truncate it, with `truncation=True, max_length={known}` in the tokenizer's call",
                past_length + length
            ))),
            _ => Ok(numbers),
        }
    }
}

/// The sum of what is looked up, where the first table is: in one pass, unless a table is in blocks, or one that was made is elsewhere.
fn looked_up(lookups: &[(&Parameter, Ids, Option<usize>)], dtype: DType) -> Result<Tensor> {
    let device = lookups.first().map_or(Device::Cpu, |(table, ..)| table.memory().device());
    let dense: Option<Vec<_>> = lookups
        .iter()
        .map(|&(table, ids, padding)| {
            let table = table.dense().filter(|table| table.device() == device)?;
            Some(ops::Lookup { table, ids, padding })
        })
        .collect();
    if let Some(dense) = dense {
        return Ok(ops::embedding(&dense, dtype)?);
    }
    let mut rows = lookups.iter().map(|&(table, ids, padding)| {
        let rows = match table.dense() {
            Some(table) => ops::embedding(&[ops::Lookup { table, ids, padding }], DType::F32)?,
            // Those that were drawn name rows of a dense table.
            None => table.rows(ids.here().unwrap_or_default())?,
        };
        Ok::<_, Error>(rows.to_device(device)?)
    });
    let first = rows.next().ok_or_else(|| Error::Input("there is nothing to look up".into()))??;
    Ok(rows.try_fold(first, |sum, rows| Ok::<_, Error>(sum.add(&rows?)?))?.to_dtype(dtype)?)
}

/// Sines in the first half of each row and cosines in the second; `steps` is over how many of them the wavelength grows to 10000.
fn sinusoids(rows: usize, width: usize, steps: usize) -> Result<Tensor> {
    let half = width / 2;
    let mut table = crate::packing::room(&[rows, width])?;
    table.resize(rows * width, 0f32);
    for (row, values) in table.chunks_exact_mut(width).enumerate() {
        for i in 0..half {
            let angle = row as f64 * 10000f64.powf(-(i as f64) / steps as f64);
            values[i] = angle.sin() as f32;
            values[half + i] = angle.cos() as f32;
        }
    }
    Ok(Tensor::from_slice(&table, &[rows, width])?)
}

/// The sinusoids of tensor2tensor, with a row of zeros.
fn endless(rows: usize, width: usize, zero: usize) -> Result<Tensor> {
    let table = sinusoids(rows, width, (width / 2).saturating_sub(1).max(1))?;
    if zero < rows {
        table.select(0, zero)?.fill_(0.0)?;
    }
    Ok(table)
}
