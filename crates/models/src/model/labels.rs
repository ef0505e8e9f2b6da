//! What labels are to a model: how they are read, and what a decoder reads to predict them.

use trustformers_tensor::{DType, Tensor};

use super::{Model, Network};
use crate::architecture::Task;
use crate::loss::{IGNORED, LabelReading, ProblemType};
use crate::spec::EncoderDecoderSpec;
use crate::{Error, Result};

impl Model {
    /// What a loss over `labels` takes them to be where the configuration says nothing: the `problem_type` that transformers then writes there. `None`
    /// for models that do not classify texts, and those for which transformers writes nothing.
    ///
    /// # Errors
    /// `Config` when the configuration has no number of labels, or a `problem_type` that is none.
    pub fn problem_type(&self, labels: &Tensor) -> Result<Option<&'static str>> {
        match self.head.label_reading() {
            Some(LabelReading::Usual) if self.class.task != Task::MultipleChoice => {
                let given = ProblemType::read(&self.config)?;
                Ok(given.of(self.config.num_labels()?, labels, LabelReading::Usual).name())
            }
            _ => Ok(None),
        }
    }

    /// What the decoder reads to predict `labels` (batch, length), which is what it reads where labels are all that it is given: transformers'
    /// `prepare_decoder_input_ids_from_labels`.
    ///
    /// # Errors
    /// `Input` for a model without a decoder behind an encoder and for other shapes; `Config` when the configuration lacks a token.
    pub fn decoder_input_ids(&self, labels: &Tensor) -> Result<Tensor> {
        match &*self.network {
            Network::EncoderDecoder(both) => both.spec.shifted(labels),
            Network::Single(_) => Err(Error::Input("this model has no decoder behind an encoder".into())),
        }
    }
}

impl EncoderDecoderSpec {
    /// Decoder inputs that predict `labels` (batch, length): transformers' `shift_tokens_right`.
    pub(super) fn shifted(&self, labels: &Tensor) -> Result<Tensor> {
        let &[batch, length] = labels.shape() else {
            return Err(Error::Input(format!("labels must be (batch, length), got {:?}", labels.shape())));
        };
        let missing =
            |what| Error::Config(format!("`{what}` has to be defined to make decoder inputs of labels"));
        let padding = self.pad_token_id.ok_or_else(|| missing("pad_token_id"))?;
        let labels = labels.to_host()?.to_dtype(DType::I64)?.contiguous()?;
        let mut shifted = Vec::with_capacity(batch * length);
        for row in labels.as_slice::<i64>()?.chunks_exact(length.max(1)) {
            let real = |label: i64| if label == IGNORED { padding } else { label };
            let first = if self.starts_with_last_label {
                // The last label is the language code. As transformers finds it: all padding is taken to be at the end.
                let count = row.iter().filter(|&&label| real(label) != padding).count();
                count.checked_sub(1).map_or(padding, |last| real(row[last]))
            } else {
                self.decoder_start_token_id.ok_or_else(|| missing("decoder_start_token_id"))?
            };
            shifted.push(first);
            shifted.extend(row[..length.saturating_sub(1)].iter().map(|&label| real(label)));
        }
        Ok(Tensor::from_slice(&shifted, &[batch, length])?)
    }
}
