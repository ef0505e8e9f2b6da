//! Classifier-free guidance (Sanchez et al. 2023): away from what the model would say without the prompt.

use trustformers_models::{Inputs, Model, Text};

use super::LogitsProcessor;
use crate::decoder::{Decoder, rows, table};
use crate::scores::log_softmax;
use crate::{Result, Scores};

/// transformers' `UnbatchedClassifierFreeGuidanceLogitsProcessor`.
pub struct Guidance<'m> {
    scale: f32,
    model: &'m Model,
    inputs: Inputs,
    uses_cache: bool,
    state: Option<(Decoder<'m>, Vec<Vec<i64>>)>,
}

impl<'m> Guidance<'m> {
    /// Guidance of `model` away from a `negative` prompt, or, without one, from what it says behind the prompt's last token alone.
    pub fn new(scale: f64, model: &'m Model, negative: Option<Text>, uses_cache: bool) -> Guidance<'m> {
        let inputs = Inputs { text: negative.unwrap_or_default(), ..Inputs::default() };
        Guidance { scale: scale as f32, model, inputs, uses_cache, state: None }
    }
}

impl LogitsProcessor for Guidance<'_> {
    fn process(&mut self, sequences: &[Vec<i64>], scores: &mut Scores) -> Result<()> {
        let last = |sequence: &Vec<i64>| sequence.last().copied();
        let (decoder, texts) = match &mut self.state {
            Some((decoder, texts)) => {
                texts.iter_mut().zip(sequences).for_each(|(text, sequence)| text.extend(last(sequence)));
                (decoder, texts)
            }
            None => {
                let texts: Vec<Vec<i64>> = match &self.inputs.text.ids {
                    Some(ids) => {
                        let rows = rows(ids)?;
                        // One prompt may be for all sequences, and each for several of them.
                        let each = (sequences.len() / rows.len().max(1)).max(1);
                        (0..sequences.len())
                            .map(|row| rows[(row / each).min(rows.len() - 1)].clone())
                            .collect()
                    }
                    None => sequences.iter().map(|sequence| last(sequence).into_iter().collect()).collect(),
                };
                let length = texts.first().map_or(0, Vec::len);
                let mut inputs = self.inputs.clone();
                inputs.text.ids = Some(table(&texts)?);
                let cache = self.uses_cache.then(Default::default);
                // As in transformers, which gives the model no positions here.
                let decoder = Decoder::new(self.model, inputs, cache, length)?.without_positions();
                let (decoder, texts) = self.state.insert((decoder, texts));
                (decoder, texts)
            }
        };
        let mut without = Scores::new(&decoder.next(texts)?.0)?;
        for (row, without) in scores.rows_mut().zip(without.rows_mut()) {
            log_softmax(row);
            log_softmax(without);
            for (score, without) in row.iter_mut().zip(without) {
                *score = self.scale * (*score - *without) + *without;
            }
        }
        Ok(())
    }

    fn name(&self) -> &str {
        "UnbatchedClassifierFreeGuidanceLogitsProcessor"
    }
}
