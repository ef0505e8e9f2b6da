//! One token after another: the likeliest, or a drawn one.

use trustformers_models::Outputs;
use trustformers_tensor::Tensor;
use trustformers_tensor::ops::Sampling;

use super::{Generated, Session};
use crate::decoder::index_of;
use crate::sampling::no_distribution;
use crate::{Result, Scores};

impl Session<'_> {
    /// transformers' `_sample`.
    pub(super) fn steps(mut self) -> Result<Generated> {
        let (mut logits, mut outputs) = self.read_prompts()?;
        while self.step(logits, outputs)? {
            (logits, outputs) = self.decoder.next(&self.sequences)?;
        }
        self.finish_all()
    }

    /// Chooses a token for each sequence from what a pass gave; whether one of them goes on.
    pub(super) fn step(&mut self, logits: Tensor, outputs: Outputs) -> Result<bool> {
        let (scores, sampling) = self.shaped(logits)?;
        self.record.outputs(outputs);
        // What has ended is filled up where there are ends to be found.
        let padding = self.config.padding().filter(|_| self.stops.finds_ends());
        let mut tokens = vec![padding.unwrap_or_default(); self.unfinished.len()];
        let goes_on = |&row: &usize| padding.is_none() || self.unfinished[row];
        let going: Vec<usize> = (0..tokens.len()).filter(goes_on).collect();
        let scores = match going.len() == tokens.len() {
            true => scores,
            false => scores.index_select(0, &index_of(&going)?)?,
        };
        let chosen = match self.config.samples() {
            true => scores.sample(&sampling, &self.generator)?,
            false => scores.argmax(Some(-1), false)?,
        };
        let chosen = chosen.to_host()?;
        for (row, &token) in going.into_iter().zip(chosen.as_slice::<i64>()?) {
            tokens[row] = if token < 0 { return no_distribution() } else { token };
        }
        self.take(&tokens)
    }

    /// The scores that tokens are chosen from, and what of them to draw from. Where the processors can do all that they do with that, scores stay
    /// where the model left them: only tokens come from a GPU.
    fn shaped(&mut self, logits: Tensor) -> Result<(Tensor, Sampling)> {
        self.record.logits(&logits)?;
        if !self.record.keeps_scores()
            && let Some(shaped) = self.chain.shaped(&self.sequences, &logits)?
        {
            return Ok(shaped);
        }
        let mut scores = Scores::new(&logits)?;
        self.chain.process(&self.sequences, &mut scores)?;
        self.record.scores(&scores);
        Ok((scores.to_tensor()?, Sampling::default()))
    }
}
