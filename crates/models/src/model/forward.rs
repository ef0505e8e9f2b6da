//! The forward passes of the families: what is shown of a text is packed, goes through the stacks, and to the head.

use std::sync::Arc;

use trustformers_tensor::{DType, Device, profile};

use super::{EncoderDecoder, Model, Network, Single};
use crate::architecture::Task;
use crate::cache::Cache;
use crate::dropout::Dropout;
use crate::heads::{Finished, Head};
use crate::inputs::{Inputs, Text};
use crate::outputs::Outputs;
use crate::stack::{Pass, Stack};
use crate::{Error, Packing, Result};

impl Model {
    /// Runs the model over a batch; a `cache` holds the text before it and takes it in.
    ///
    /// # Errors
    /// `Input`, `Runtime` or `Index` when the arguments do not fit the model or one another.
    pub fn forward(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Outputs> {
        let _measured = profile::span(self.class.name);
        match &*self.network {
            Network::Single(single) => self.read(inputs, single, cache),
            Network::EncoderDecoder(both) => self.translate(inputs, both, cache),
        }
    }

    /// Runs the encoder of an encoder-decoder alone: the packed hidden states with their packing come unpacked.
    pub fn encode_source(&self, inputs: &Inputs) -> Result<Outputs> {
        let _measured = profile::span("encoder");
        let Network::EncoderDecoder(both) = &*self.network else {
            return Err(Error::Input("this model has no encoder of its own".into()));
        };
        let text = inputs.text.batched(inputs.max_length)?;
        let packing = packed(&both.encoder, &text, None, |_| false)?;
        let dropout = Dropout::new(inputs.dropout).with_noise(inputs.noise);
        let passed = both
            .encoder
            .forward(Pass { version: self.version_on_gpu(), ..pass(inputs, &text, &packing, &dropout) })?;
        Ok(Outputs {
            last_hidden_state: Some(packing.outward(&passed.hidden)?),
            hidden_states: passed.hidden_states,
            attentions: passed.attentions,
            ..Outputs::default()
        })
    }

    fn read(&self, inputs: &Inputs, single: &Single, cache: Option<&mut Cache>) -> Result<Outputs> {
        let Single { stack, pooler, decodes } = single;
        let dropout = Dropout::new(inputs.dropout).with_noise(inputs.noise);
        if cache.is_some() && !decodes {
            return Err(Error::Input("an encoder has no past_key_values".into()));
        }
        let (text, choices) = match self.class.task {
            Task::MultipleChoice => {
                let (text, choices) = inputs.text.choices()?;
                (text.batched(inputs.max_length)?, Some(choices))
            }
            _ => (inputs.text.batched(inputs.max_length)?, None),
        };
        let (batch, length) = text.batch_and_length(stack.embedding_width())?;
        let labels = self.position_labels(inputs, [batch, length])?;
        let kept = self.head.kept(inputs, length)?;
        let asks = self.head.asks(inputs, length, kept.as_deref(), labels.as_deref());
        let asked = |place: usize| pooler.is_some() && place.is_multiple_of(length) || asks(place);
        let packing = packed(stack, &text, cache.as_deref(), asked)?;
        let encoded = inputs.encoded(stack.output_width())?;
        if encoded.is_some() && !stack.crosses() {
            return Err(Error::Input(
                "this model has no cross-attention for encoder_hidden_states: its configuration must have is_decoder and \
                 add_cross_attention"
                    .into(),
            ));
        }
        let routes = "output_router_logits";
        let by_default = self.config.has(routes) && self.config.flag(routes)?;
        let passed = stack.forward(Pass {
            cache,
            version: self.version_on_gpu(),
            encoded: encoded.as_ref().map(|(hidden, packing)| (hidden, packing)),
            output_router_logits: inputs.output_router_logits.unwrap_or(by_default),
            readers: self.head.readers(&packing),
            ..pass(inputs, &text, &packing, &dropout)
        })?;
        let pooled = match pooler {
            Some((dense, activation)) => {
                let first = passed.hidden.gather_rows(&packing.rows_at(0))?;
                Some(dense.leave(&first, *activation, &dropout)?)
            }
            None => None,
        };
        let mut outputs = Outputs {
            hidden_states: passed.hidden_states,
            attentions: passed.attentions,
            cross_attentions: passed.cross_attentions,
            router_logits: match &passed.routed {
                Some(all) => Some(
                    all.iter()
                        .map(|one| packing.unpack(one)?.flatten(0, 1).map_err(Error::from))
                        .collect::<Result<_>>()?,
                ),
                None => None,
            },
            ..Outputs::default()
        };
        if self.head.is_bare() {
            outputs.last_hidden_state = Some(packing.outward(&passed.hidden)?);
            outputs.pooler_output = pooled.clone();
        }
        let finished = Finished {
            config: &self.config,
            inputs,
            hidden: &passed.hidden,
            packing: &packing,
            pooled: pooled.as_ref(),
            routed: passed.routed.as_deref(),
            ids: text.ids.as_ref(),
            choices,
            kept: kept.as_deref(),
            dropout: &dropout,
        };
        self.head.forward(&finished, labels.as_deref(), &mut outputs)?;
        Ok(outputs)
    }

    fn translate(
        &self,
        inputs: &Inputs,
        both: &EncoderDecoder,
        mut cache: Option<&mut Cache>,
    ) -> Result<Outputs> {
        let (mut outputs, dropout) =
            (Outputs::default(), Dropout::new(inputs.dropout).with_noise(inputs.noise));
        let text = inputs.text.batched(inputs.max_length)?;
        let is_known = cache.as_ref().is_some_and(|cache| cache.source.is_some());
        let encoded = match &inputs.encoder_hidden_states {
            Some(states) => {
                let given = Text { ids: None, embeds: Some(states.clone()), ..text.clone() };
                let packing = packed(&both.encoder, &given, None, |_| false)?;
                outputs.encoder_last_hidden_state = Some(states.clone());
                Some((packing.pack(&states.to_dtype(DType::F32)?)?, packing))
            }
            None if is_known => None,
            None => {
                let packing = packed(&both.encoder, &text, None, |_| false)?;
                let passed = both.encoder.forward(Pass {
                    version: self.version_on_gpu(),
                    ..pass(inputs, &text, &packing, &dropout)
                })?;
                outputs.encoder_last_hidden_state = Some(packing.outward(&passed.hidden)?);
                outputs.encoder_hidden_states = passed.hidden_states;
                outputs.encoder_attentions = passed.attentions;
                Some((passed.hidden, packing))
            }
        };
        let decoder_text = both.decoder_text(inputs, &text, &self.head)?;
        let (batch, length) = decoder_text.batch_and_length(both.decoder.embedding_width())?;
        let labels = self.position_labels(inputs, [batch, length])?;
        let kept = self.head.kept(inputs, length)?;
        let asked = self.head.asks(inputs, length, kept.as_deref(), labels.as_deref());
        let packing = packed(&both.decoder, &decoder_text, cache.as_deref(), asked)?;
        let passed = both.decoder.forward(Pass {
            cache: cache.take(),
            encoded: encoded.as_ref().map(|(hidden, packing)| (hidden, &**packing)),
            ..pass(inputs, &decoder_text, &packing, &dropout)
        })?;
        outputs.decoder_hidden_states = passed.hidden_states;
        outputs.decoder_attentions = passed.attentions;
        outputs.cross_attentions = passed.cross_attentions;
        if self.head.is_bare() {
            outputs.last_hidden_state = Some(packing.outward(&passed.hidden)?);
        }
        let finished = Finished {
            config: &self.config,
            inputs,
            hidden: &passed.hidden,
            packing: &packing,
            pooled: None,
            routed: None,
            ids: text.ids.as_ref(),
            choices: None,
            kept: kept.as_deref(),
            dropout: &dropout,
        };
        self.head.forward(&finished, labels.as_deref(), &mut outputs)?;
        Ok(outputs)
    }

    fn position_labels(&self, inputs: &Inputs, shape: [usize; 2]) -> Result<Option<Vec<i64>>> {
        match &inputs.labels {
            Some(labels) => self.head.position_labels(labels, shape),
            None => Ok(None),
        }
    }

    /// [`Model::version`] of a model on a GPU, whose passes may be recorded.
    fn version_on_gpu(&self) -> Option<u64> {
        let (_, first) = self.named_parameters().first()?;
        matches!(first.memory().device(), Device::Cuda(_)).then(|| self.version())
    }
}

impl EncoderDecoder {
    /// What the decoder reads: what the caller gave, or the labels one position later.
    fn decoder_text(&self, inputs: &Inputs, source: &Text, head: &Head) -> Result<Text> {
        let mut text = Text { prefix: "decoder_", ..inputs.decoder.batched(None)? };
        if text.ids.is_none() && text.embeds.is_none() {
            let labels = inputs.labels.as_ref().filter(|_| head.is_language());
            let labels = labels.or(source.ids.as_ref().filter(|_| self.spec.starts_from_source));
            let labels = labels.ok_or_else(|| text.nothing())?;
            text.ids = Some(self.spec.shifted(labels)?);
        }
        Ok(text)
    }
}

/// What a pass over a stack is given in every family.
fn pass<'a>(inputs: &'a Inputs, text: &'a Text, packing: &'a Arc<Packing>, dropout: &'a Dropout) -> Pass<'a> {
    Pass {
        text,
        packing,
        cache: None,
        encoded: None,
        output_hidden_states: inputs.output_hidden_states,
        output_attentions: inputs.output_attentions,
        output_router_logits: false,
        readers: None,
        dropout,
        recomputes: inputs.recomputes,
        version: None,
    }
}

/// What the text's mask shows of it, and the hidden places that are `asked` for.
fn packed(
    stack: &Stack,
    text: &Text,
    cache: Option<&Cache>,
    asked: impl Fn(usize) -> bool,
) -> Result<Arc<Packing>> {
    let (batch, length) = text.batch_and_length(stack.embedding_width())?;
    let past = cache.map_or(0, Cache::length);
    // A mask over the text so far and the new one, or over the new one alone.
    let covers_past = text.mask.as_ref().is_some_and(|mask| mask.shape().last() != Some(&length));
    let flags = if past > 0 && covers_past {
        text.flags(batch, past + length)?.map(|flags| -> Result<Vec<bool>> {
            let mut new = Vec::with_capacity(batch * length);
            for (index, row) in flags.chunks_exact(past + length).enumerate() {
                let before = cache.map_or(&[][..], |cache| cache.shown(index));
                if &row[..past] != before {
                    return Err(Error::Input(format!(
                        "{}attention_mask shows other positions of the past than it did when past_key_values were made",
                        text.prefix
                    )));
                }
                new.extend_from_slice(&row[past..]);
            }
            Ok(new)
        })
    } else {
        text.flags(batch, length)?.map(Ok)
    };
    Packing::new(batch, length, flags.transpose()?.as_deref(), asked).map(Arc::new)
}
