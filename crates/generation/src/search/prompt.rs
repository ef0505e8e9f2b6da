//! What a search begins with: the prompt, what an encoder makes of it, and the first token of a decoder.

use trustformers_models::{Family, Inputs, Model, Outputs, Text};
use trustformers_tensor::Tensor;

use crate::Result;
use crate::config::GenerationConfig;
use crate::decoder::{rows, table};
use crate::error::setting;

/// What a generation begins with.
pub(super) struct Prepared {
    /// The inputs with everything that the first step needs.
    pub inputs: Inputs,
    /// What the encoder gave.
    pub encoded: Outputs,
    /// The tokens of the source, if it is tokens.
    pub source: Option<Vec<Vec<i64>>>,
}

/// Runs the encoder, if there is one, and lets the text begin.
pub(super) fn prepared(model: &Model, config: &GenerationConfig, mut inputs: Inputs) -> Result<Prepared> {
    if inputs.text.ids.is_none() && inputs.text.embeds.is_none() && inputs.encoder_hidden_states.is_none() {
        let Some(first) = config.bos_token_id else {
            return setting("`bos_token_id` has to be defined when no `input_ids` are provided.");
        };
        inputs.text.ids = Some(table([[first]])?);
    }
    if let Some(ids) = &inputs.text.ids
        && ids.ndim() == 1
    {
        inputs.text.ids = Some(ids.unsqueeze(0)?);
    }
    let source = inputs.text.ids.as_ref().map(rows).transpose()?;
    if model.family() != Family::EncoderDecoder {
        if inputs.text.mask.is_none() && inputs.text.embeds.is_none() {
            inputs.text.mask = shown(config, source.as_deref().unwrap_or(&[]))?;
        }
        return Ok(Prepared { inputs, encoded: Outputs::default(), source });
    }
    let mut encoded = Outputs::default();
    if inputs.encoder_hidden_states.is_none() {
        if inputs.text.mask.is_none() && inputs.text.embeds.is_none() {
            inputs.text.mask = shown(config, source.as_deref().unwrap_or(&[]))?;
        }
        let asking = Inputs {
            output_hidden_states: config.output_hidden_states == Some(true),
            output_attentions: config.output_attentions == Some(true),
            ..inputs.clone()
        };
        encoded = model.encode_source(&asking)?;
        inputs.encoder_hidden_states = encoded.last_hidden_state.take();
        encoded.encoder_hidden_states = encoded.hidden_states.take();
        encoded.encoder_attentions = encoded.attentions.take();
        (inputs.text.ids, inputs.text.embeds) = (None, None);
    }
    let batch = inputs.encoder_hidden_states.as_ref().map_or(1, |states| states.shape()[0]);
    inputs.decoder.prefix = "decoder_";
    begin_decoder(config, &mut inputs.decoder, batch)?;
    Ok(Prepared { inputs, encoded, source })
}

/// Lets a decoder's text begin with the token that it must begin with.
fn begin_decoder(config: &GenerationConfig, decoder: &mut Text, batch: usize) -> Result<()> {
    let start = config.decoder_start_token_id.clone().or(config.bos_token_id.map(|token| vec![token]));
    let Some(start) = start.filter(|start| !start.is_empty()) else {
        return setting(
            "`decoder_start_token_id` or `bos_token_id` has to be defined for encoder-decoder generation.",
        );
    };
    if start.len() != 1 && start.len() != batch {
        return setting(format!(
            "`decoder_start_token_id` expected to have length {batch} but got {}",
            start.len()
        ));
    }
    let start = |row: usize| start[row % start.len()];
    let given = decoder.ids.as_ref().map(rows).transpose()?;
    let rows: Vec<Vec<i64>> = match given {
        None => (0..batch).map(|row| vec![start(row)]).collect(),
        Some(given) if given.iter().enumerate().all(|(row, ids)| ids.first() != Some(&start(row))) => {
            if let Some(mask) = &decoder.mask {
                let first = Tensor::ones(&[mask.shape()[0], 1], mask.dtype())?;
                decoder.mask = Some(Tensor::cat(&[&first, mask], 1)?);
            }
            let begun = |(row, ids): (usize, Vec<i64>)| [vec![start(row)], ids].concat();
            given.into_iter().enumerate().map(begun).collect()
        }
        Some(given) => given,
    };
    decoder.ids = Some(table(&rows)?);
    Ok(())
}

/// The mask that the padding token stands for, as transformers infers it: where it is there and is no end too.
fn shown(config: &GenerationConfig, rows: &[Vec<i64>]) -> Result<Option<Tensor>> {
    let Some(padding) = config.pad_token_id.filter(|padding| !config.ends().contains(padding)) else {
        return Ok(None);
    };
    if !rows.iter().flatten().any(|&token| token == padding) {
        return Ok(None);
    }
    let flags: Vec<Vec<i64>> =
        rows.iter().map(|row| row.iter().map(|&token| i64::from(token != padding)).collect()).collect();
    table(&flags).map(Some)
}
