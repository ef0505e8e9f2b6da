//! What goes into a forward pass, and the checks that it can be run.

use trustformers_tensor::{DType, Device, Tensor};

use crate::packing::room;
use crate::{Error, Packing, Result};

/// The arguments of a forward pass, named as in transformers.
#[derive(Clone, Default)]
pub struct Inputs {
    /// What an encoder or a decoder reads; the source of an encoder-decoder.
    pub text: Text,
    /// What the decoder of an encoder-decoder has written: transformers' arguments that begin with `decoder_`.
    pub decoder: Text,
    /// An encoder's last hidden states (batch, length, hidden): instead of running the model's own, or those of another model for a
    /// decoder with cross-attention.
    pub encoder_hidden_states: Option<Tensor>,
    /// Which of another model's hidden states are not padding: (batch, length), zero hides.
    pub encoder_attention_mask: Option<Tensor>,
    /// What a head should have said; it then gives its loss. See the head's task for shape and dtype.
    pub labels: Option<Tensor>,
    /// Whether the second text follows the first (0) or not (1): (batch) integers, of a head that predicts it.
    pub next_sentence_label: Option<Tensor>,
    /// Whether two texts are in their order (0) or not (1): (batch) integers, of a head that predicts it.
    pub sentence_order_label: Option<Tensor>,
    /// Where answers start: (batch) integers, of a head for question answering.
    pub start_positions: Option<Tensor>,
    /// Where answers end.
    pub end_positions: Option<Tensor>,
    /// What a causal language model divides the sum of its losses by, instead of the number of labels that count here: that of all
    /// batches whose gradients are added up.
    pub num_items_in_batch: Option<f64>,
    /// Of which positions a language model gives logits.
    pub logits_to_keep: Keep,
    /// Whether to return the hidden states of every layer.
    pub output_hidden_states: bool,
    /// Whether to return the attention probabilities of every layer.
    pub output_attentions: bool,
    /// Whether to return the scores that a mixture gives its experts; the configuration's `output_router_logits` if absent.
    pub output_router_logits: Option<bool>,
    /// Cuts the inputs to so many positions, if they have more.
    pub max_length: Option<usize>,
    /// What the random numbers of dropout follow from, in training. Without it nothing is dropped.
    pub dropout: Option<u64>,
    /// NEFTune's alpha: how much noise is added to the embeddings of tokens, where there is dropout.
    pub noise: Option<f64>,
    /// Whether the layers keep their inputs alone where gradients are recorded, and are computed again for those (gradient
    /// checkpointing). Not in a pass with a cache.
    pub recomputes: bool,
}

/// Of which positions of each sequence something is wanted.
#[derive(Clone, Debug)]
pub enum Keep {
    /// So many from the end; 0 for all.
    Last(usize),
    /// These; negative numbers count from the end.
    At(Vec<i64>),
}

impl Default for Keep {
    fn default() -> Keep {
        Keep::Last(0)
    }
}

impl Keep {
    /// The positions among `length`; `None` for all.
    ///
    /// # Errors
    /// `Index` for one that is not there.
    pub(crate) fn positions(&self, length: usize) -> Result<Option<Vec<usize>>> {
        let at = match self {
            Keep::Last(0) => return Ok(None),
            Keep::Last(count) => return Ok(Some((length.saturating_sub(*count)..length).collect())),
            Keep::At(at) => at,
        };
        let place = |&position: &i64| {
            let from_start = if position < 0 { position.saturating_add(length as i64) } else { position };
            usize::try_from(from_start).ok().filter(|&place| place < length).ok_or(Error::Index {
                what: "logits_to_keep",
                index: position,
                table: "the text",
                size: length,
            })
        };
        at.iter().map(place).collect::<Result<_>>().map(Some)
    }
}

impl Inputs {
    /// Where answers start and end, if both are told.
    pub(crate) fn span(&self) -> Option<[&Tensor; 2]> {
        Some([self.start_positions.as_ref()?, self.end_positions.as_ref()?])
    }

    /// The hidden states of another model's encoder, `width` wide, packed.
    pub(crate) fn encoded(&self, width: usize) -> Result<Option<(Tensor, Packing)>> {
        let Some(states) = &self.encoder_hidden_states else { return Ok(None) };
        let &[batch, length, _] = states.shape() else {
            return Err(Error::Input(format!(
                "encoder_hidden_states must be (batch, length, hidden), got the shape {:?}",
                states.shape()
            )));
        };
        if states.shape()[2] != width || !states.dtype().is_float() {
            return Err(Error::Runtime(format!(
                "encoder_hidden_states must be floats and {width} wide like the model, got {} {:?}",
                states.dtype(),
                states.shape()
            )));
        }
        let mask = Text { mask: self.encoder_attention_mask.clone(), prefix: "encoder_", ..Text::default() };
        if mask.has_matrix() {
            return Err(Error::Input("encoder_attention_mask must have the shape (batch, length)".into()));
        }
        let flags = mask.batched(None)?.flags(batch, length)?;
        let packing = Packing::new(batch, length, flags.as_deref(), |_| false)?;
        Ok(Some((packing.pack(&states.to_dtype(DType::F32)?)?, packing)))
    }
}

/// One batch of texts. Either `ids` or `embeds` is needed. Where a (batch, length) table is asked for, a single row may be given as
/// (length).
#[derive(Clone, Default)]
pub struct Text {
    /// Token numbers, `input_ids`: (batch, length) integers.
    pub ids: Option<Tensor>,
    /// Whether `ids` were drawn from the model's own vocabulary: on a GPU nobody then waits for them to check them.
    pub drawn: bool,
    /// Embeddings instead of tokens, `inputs_embeds`: (batch, length, hidden) floats.
    pub embeds: Option<Tensor>,
    /// `attention_mask`, what is not padding: (batch, length), or (1, length) for all sequences; zero hides. Or a matrix for every
    /// sequence, (batch, 1 or heads, length, keys): floats are added to the scores, of anything else zero hides.
    pub mask: Option<Tensor>,
    /// Segment numbers: (batch, length) integers; all 0 if absent.
    pub token_type_ids: Option<Tensor>,
    /// Positions: (batch, length) integers; 0, 1, 2, … if absent.
    pub position_ids: Option<Tensor>,
    /// `decoder_` in messages about a decoder's arguments.
    pub prefix: &'static str,
}

impl Text {
    /// The same text with a batch dimension and within `max_length`.
    pub(crate) fn batched(&self, max_length: Option<usize>) -> Result<Text> {
        let cut = |tensor: Tensor| match max_length {
            Some(max) if tensor.ndim() > 1 && tensor.shape()[1] > max => tensor.narrow(1, 0, max),
            _ => Ok(tensor),
        };
        let table = |table: &Option<Tensor>| {
            let row = |table: &Tensor| match table.shape() {
                &[length] => table.contiguous()?.view(&[1, length]),
                _ => Ok(table.clone()),
            };
            table.as_ref().map(|table| cut(row(table)?)).transpose()
        };
        Ok(Text {
            ids: table(&self.ids)?,
            drawn: self.drawn,
            embeds: self.embeds.clone().map(cut).transpose()?,
            mask: match &self.mask {
                Some(mask) if mask.ndim() > 2 => Some(mask.clone()),
                mask => table(mask)?,
            },
            token_type_ids: table(&self.token_type_ids)?,
            position_ids: table(&self.position_ids)?,
            prefix: self.prefix,
        })
    }

    /// Several texts for each of the batch, (batch, choices, length), as one batch; and the number of choices.
    pub(crate) fn choices(&self) -> Result<(Text, usize)> {
        let given = self.ids.as_ref().or(self.embeds.as_ref()).ok_or_else(|| self.nothing())?;
        let rank = if self.ids.is_some() { 3 } else { 4 };
        if given.ndim() != rank {
            return Err(Error::Input(format!(
                "several texts to choose from must be (batch, choices, length), got the shape {:?}",
                given.shape()
            )));
        }
        let flat = |tensor: &Option<Tensor>| tensor.as_ref().map(|tensor| tensor.flatten(0, 1)).transpose();
        let text = Text {
            ids: flat(&self.ids)?,
            drawn: self.drawn,
            embeds: flat(&self.embeds)?,
            mask: flat(&self.mask)?,
            token_type_ids: flat(&self.token_type_ids)?,
            position_ids: flat(&self.position_ids)?,
            prefix: self.prefix,
        };
        Ok((text, given.shape()[1]))
    }

    /// What is said when there is no text, or two.
    pub(crate) fn nothing(&self) -> Error {
        let prefix = self.prefix;
        Error::Input(format!("You must specify exactly one of {prefix}input_ids or {prefix}inputs_embeds"))
    }

    /// The size of the batch, checked to be one that can be run.
    pub(crate) fn batch_and_length(&self, width: usize) -> Result<(usize, usize)> {
        let (name, tensor, rank) = match (&self.ids, &self.embeds) {
            (Some(ids), None) => ("input_ids", ids, 2),
            (None, Some(embeds)) => ("inputs_embeds", embeds, 3),
            _ => return Err(self.nothing()),
        };
        let name = format!("{}{name}", self.prefix);
        let shape = tensor.shape();
        if shape.len() != rank {
            let wanted = if rank == 2 { "(batch, length)" } else { "(batch, length, hidden)" };
            return Err(Error::Input(format!(
                "{name} must have {rank} dimensions {wanted}, got the shape {shape:?}"
            )));
        }
        if rank == 3 && shape[2] != width {
            let message = format!("{name} must be {width} wide like the model, got the shape {shape:?}");
            return Err(Error::Runtime(message));
        }
        if rank == 3 && !tensor.dtype().is_float() {
            return Err(Error::Runtime(format!("{name} must be floats, got {}", tensor.dtype())));
        }
        if shape[0] == 0 || shape[1] == 0 {
            return Err(Error::Runtime(format!(
                "{name} is empty, it has the shape {shape:?}: give at least one sequence of at least one token"
            )));
        }
        Ok((shape[0], shape[1]))
    }

    /// Whether the mask is a matrix per sequence.
    pub(crate) fn has_matrix(&self) -> bool {
        self.mask.as_ref().is_some_and(|mask| mask.ndim() > 2)
    }

    /// The attention mask as flags, if there is one: (batch, length).
    pub(crate) fn flags(&self, batch: usize, length: usize) -> Result<Option<Vec<bool>>> {
        let Some(mask) = self.mask.as_ref().filter(|mask| mask.ndim() <= 2) else { return Ok(None) };
        let shape = mask.shape();
        if shape != [batch, length] && shape != [1, length] {
            return Err(Error::Input(format!(
                "{}attention_mask must have the shape [{batch}, {length}] of the inputs, got {shape:?}",
                self.prefix
            )));
        }
        let shown = mask.to_host()?.to_dtype(DType::F64)?.contiguous()?;
        let shown = shown.as_slice::<f64>()?;
        let mut flags = room(&[batch, length])?;
        flags.extend(shown.iter().cycle().take(batch * length).map(|&shown| shown != 0.0));
        Ok(Some(flags))
    }

    /// What a mask of matrices adds to the scores: one tensor (1 or heads, length, keys) per sequence.
    pub(crate) fn matrices(&self, batch: usize, length: usize, keys: usize) -> Result<Option<Vec<Tensor>>> {
        let Some(mask) = self.mask.as_ref().filter(|mask| mask.ndim() > 2) else { return Ok(None) };
        let mask = if mask.ndim() == 3 { mask.unsqueeze(1)? } else { mask.clone() };
        let fits = |at: usize, sizes: &[usize]| sizes.contains(&mask.shape()[at]);
        if mask.ndim() != 4 || !fits(0, &[1, batch]) || !fits(2, &[1, length]) || !fits(3, &[keys]) {
            return Err(Error::Input(format!(
                "{}attention_mask must have the shape [{batch}, {keys}], or [{batch}, 1, {length}, {keys}] as a matrix per sequence, \
                 got {:?}",
                self.prefix,
                mask.shape()
            )));
        }
        let added = match mask.dtype().is_float() {
            true => mask.to_dtype(DType::F32)?,
            false => Tensor::select_where(&mask.to_dtype(DType::Bool)?, 0.0, f64::from(f32::MIN))?,
        };
        (0..batch)
            .map(|index| Ok(added.select(0, index.min(added.shape()[0] - 1))?))
            .collect::<Result<_>>()
            .map(Some)
    }

    /// The numbers of the packed tokens on `device`, if they were drawn there.
    pub(crate) fn drawn_ids(&self, packing: &Packing, device: Device) -> Result<Option<Tensor>> {
        let is_there = |ids: &&Tensor| ids.device() == device && ids.dtype() == DType::I64;
        match self.ids.as_ref().filter(is_there) {
            Some(ids) if self.drawn && packing.is_dense() && device != Device::Cpu => {
                Ok(Some(ids.contiguous()?.view(&[packing.rows()])?))
            }
            _ => Ok(None),
        }
    }

    /// A table of numbers below `size` at the packed rows. The table is (batch, length), or (1, length) for all sequences.
    pub(crate) fn packed_ids(
        &self,
        name: &'static str,
        ids: &Option<Tensor>,
        packing: &Packing,
        table: &'static str,
        size: usize,
    ) -> Result<Option<Vec<i64>>> {
        let Some(ids) = ids else { return Ok(None) };
        let prefix = self.prefix;
        if !ids.dtype().is_int() {
            return Err(Error::Runtime(format!("{prefix}{name} must be integers, got {}", ids.dtype())));
        }
        let fits = packing.shape();
        if ids.shape() != fits && ids.shape() != [1, fits[1]] {
            return Err(Error::Runtime(format!(
                "{prefix}{name} must have the shape {fits:?} of the inputs, got {:?}",
                ids.shape()
            )));
        }
        let ids = ids.to_host()?.to_dtype(DType::I64)?.contiguous()?;
        let ids = packing.pack_ids(ids.as_slice()?);
        match ids.iter().find(|&&id| usize::try_from(id).map_or(true, |id| id >= size)) {
            Some(&index) => Err(Error::Index { what: name, index, table, size }),
            None => Ok(Some(ids)),
        }
    }
}
