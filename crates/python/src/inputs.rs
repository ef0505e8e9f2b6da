//! What goes into a forward pass.

use std::collections::BTreeMap;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use trustformers::models::{self, Inputs, Text};
use trustformers::tensor::Tensor;

use crate::tensor::PyTensor;

/// Of which positions logits are wanted.
#[derive(FromPyObject)]
pub enum Keep {
    /// So many from the end; 0 for all.
    Last(usize),
    /// These.
    At(Vec<i64>),
}

impl From<Keep> for models::Keep {
    fn from(keep: Keep) -> models::Keep {
        match keep {
            Keep::Last(count) => models::Keep::Last(count),
            Keep::At(positions) => models::Keep::At(positions),
        }
    }
}

/// Tensors by name, from a dictionary.
pub fn named(tensors: &Bound<'_, PyDict>) -> PyResult<BTreeMap<String, Tensor>> {
    let one = |(name, tensor): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        Ok((name.extract()?, tensor.cast::<PyTensor>()?.get().0.clone()))
    };
    tensors.iter().map(one).collect()
}

/// The arguments of a forward pass, by transformers' names for them.
pub fn inputs(tensors: &Bound<'_, PyDict>) -> PyResult<Inputs> {
    let mut given = named(tensors)?;
    let mut take = |name: &str| given.remove(name);
    let mut text = |prefix: &'static str| Text {
        ids: take(&format!("{prefix}input_ids")),
        embeds: take(&format!("{prefix}inputs_embeds")),
        mask: take(&format!("{prefix}attention_mask")),
        token_type_ids: take(&format!("{prefix}token_type_ids")),
        position_ids: take(&format!("{prefix}position_ids")),
        prefix,
        ..Text::default()
    };
    let inputs = Inputs {
        text: text(""),
        decoder: text("decoder_"),
        encoder_hidden_states: take("encoder_last_hidden_state").or_else(|| take("encoder_hidden_states")),
        encoder_attention_mask: take("encoder_attention_mask"),
        labels: take("labels"),
        next_sentence_label: take("next_sentence_label"),
        sentence_order_label: take("sentence_order_label"),
        start_positions: take("start_positions"),
        end_positions: take("end_positions"),
        ..Inputs::default()
    };
    match given.keys().next() {
        Some(name) => {
            Err(PyTypeError::new_err(format!("forward() got an unexpected keyword argument '{name}'")))
        }
        None => Ok(inputs),
    }
}
