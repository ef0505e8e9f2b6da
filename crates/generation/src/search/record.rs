//! What is kept of every step, where it is asked for.

use trustformers_models::Outputs;
use trustformers_tensor::Tensor;

use super::Generated;
use crate::config::GenerationConfig;
use crate::{Result, Scores};

/// Cuts a step out of what a pass gave for each layer.
type Cut<'c> = &'c dyn Fn(&[Tensor], usize) -> Result<Vec<Tensor>>;

/// The scores, logits and outputs of the steps so far; `None` for what is not asked for.
pub(super) struct Record {
    scores: Option<Vec<Scores>>,
    logits: Option<Vec<Scores>>,
    hidden_states: Option<Vec<Vec<Tensor>>>,
    attentions: Option<Vec<Vec<Tensor>>>,
    cross_attentions: Option<Vec<Vec<Tensor>>>,
}

impl Record {
    pub fn new(config: &GenerationConfig) -> Record {
        let asked = |flag: Option<bool>| flag == Some(true);
        Record {
            scores: asked(config.output_scores).then(Vec::new),
            logits: asked(config.output_logits).then(Vec::new),
            hidden_states: asked(config.output_hidden_states).then(Vec::new),
            attentions: asked(config.output_attentions).then(Vec::new),
            cross_attentions: asked(config.output_attentions).then(Vec::new),
        }
    }

    /// Keeps a step's logits, before they are processed.
    pub fn logits(&mut self, logits: &Tensor) -> Result<()> {
        if let Some(all) = &mut self.logits {
            all.push(Scores::new(logits)?);
        }
        Ok(())
    }

    /// Keeps a step's processed scores.
    pub fn scores(&mut self, scores: &Scores) {
        if let Some(all) = &mut self.scores {
            all.push(scores.clone());
        }
    }

    /// Keeps what else a pass gave.
    pub fn outputs(&mut self, outputs: Outputs) {
        let fields = [
            (&mut self.hidden_states, outputs.hidden_states.or(outputs.decoder_hidden_states)),
            (&mut self.attentions, outputs.attentions.or(outputs.decoder_attentions)),
            (&mut self.cross_attentions, outputs.cross_attentions),
        ];
        for (all, one) in fields {
            if let (Some(all), Some(one)) = (all, one) {
                all.push(one);
            }
        }
    }

    /// Keeps of a pass over several tokens a step for each of the last `count`; of the first pass, what comes before belongs to the first
    /// step.
    pub fn split_outputs(
        &mut self,
        outputs: Outputs,
        length: usize,
        count: usize,
        is_first: bool,
    ) -> Result<()> {
        let rows = |axis: usize, is_square: bool| {
            move |layers: &[Tensor], step: usize| -> Result<Vec<Tensor>> {
                let cut = |layer: &Tensor| -> Result<Tensor> {
                    let passed = layer.shape()[axis];
                    // The pass read `passed` tokens; the first step of the first pass has all up to the prompt's end.
                    let (from, to) = match is_first {
                        true if step == 0 => (0, length),
                        true => (length + step - 1, length + step),
                        false => (step, step + 1),
                    };
                    let cut = layer.narrow(axis, from.min(passed), to.min(passed))?;
                    let seen = cut.shape()[cut.ndim() - 1].min(length + step);
                    Ok(if is_square { cut.narrow(cut.ndim() - 1, 0, seen)? } else { cut })
                };
                layers.iter().map(cut).collect()
            }
        };
        let (hidden, square, cross) = (rows(1, false), rows(2, true), rows(2, false));
        let states = outputs.hidden_states.as_ref().or(outputs.decoder_hidden_states.as_ref());
        let attentions = outputs.attentions.as_ref().or(outputs.decoder_attentions.as_ref());
        for step in 0..count {
            let one =
                |layers: Option<&Vec<Tensor>>, cut: Cut| layers.map(|layers| cut(layers, step)).transpose();
            self.outputs(Outputs {
                hidden_states: one(states, &hidden)?,
                attentions: one(attentions, &square)?,
                cross_attentions: one(outputs.cross_attentions.as_ref(), &cross)?,
                ..Outputs::default()
            });
        }
        Ok(())
    }

    /// The scores so far, if they are kept.
    pub fn all_scores(&self) -> Option<&[Scores]> {
        self.scores.as_deref()
    }

    /// Whether scores are kept.
    pub fn keeps_scores(&self) -> bool {
        self.scores.is_some()
    }

    /// Everything that was kept.
    pub fn into_generated(self) -> Result<Generated> {
        let tensors = |all: Option<Vec<Scores>>| -> Result<Option<Vec<Tensor>>> {
            all.map(|all| all.iter().map(Scores::to_tensor).collect()).transpose()
        };
        Ok(Generated {
            scores: tensors(self.scores)?,
            logits: tensors(self.logits)?,
            hidden_states: self.hidden_states,
            attentions: self.attentions,
            cross_attentions: self.cross_attentions.filter(|all| !all.is_empty()),
            ..Generated::default()
        })
    }
}
