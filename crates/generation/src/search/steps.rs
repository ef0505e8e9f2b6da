//! One token after another: the likeliest, or a drawn one.

use trustformers_models::Outputs;
use trustformers_tensor::ops::{Later, Sampling};
use trustformers_tensor::{Device, Tensor};

use super::{Generated, Session};
use crate::decoder::index_of;
use crate::sampling::no_distribution;
use crate::{Result, Scores};

/// A token for each sequence that goes on, where it was chosen.
pub(super) struct Chosen {
    /// Which sequences go on.
    going: Vec<usize>,
    tokens: Tensor,
    /// The same tokens, on their way to the processor.
    coming: Later,
}

impl Session<'_> {
    /// transformers' `_sample`.
    pub(super) fn steps(mut self) -> Result<Generated> {
        let (mut logits, mut outputs) = self.read_prompts()?;
        loop {
            let chosen = self.choose(logits, outputs)?;
            let ahead = self.read_drawn(&chosen);
            let goes_on = self.accept(chosen)?;
            if !goes_on {
                // What was read behind the last tokens is forgotten, and what went wrong there nobody's concern.
                self.decoder.forget(self.sequences.first().map_or(0, Vec::len).saturating_sub(1));
                return self.finish_all();
            }
            (logits, outputs) = match ahead? {
                Some(next) => next,
                None => self.decoder.next(&self.sequences)?,
            };
        }
    }

    /// Chooses a token for each sequence from what a pass gave.
    pub(super) fn choose(&mut self, logits: Tensor, outputs: Outputs) -> Result<Chosen> {
        let (scores, sampling) = self.shaped(logits)?;
        self.record.outputs(outputs);
        let is_filled_up = self.padding().is_some();
        let goes_on = |&row: &usize| !is_filled_up || self.unfinished[row];
        let going: Vec<usize> = (0..self.unfinished.len()).filter(goes_on).collect();
        let scores = match going.len() == self.unfinished.len() {
            true => scores,
            false => scores.index_select(0, &index_of(&going)?)?,
        };
        let tokens = match self.config.samples() {
            true => scores.sample(&sampling, &self.generator)?,
            false => scores.argmax(Some(-1), false)?,
        };
        Ok(Chosen { going, coming: tokens.to_host_later()?, tokens })
    }

    /// What sequences that have ended are filled up with, where there are ends to be found.
    fn padding(&self) -> Option<i64> {
        self.config.padding().filter(|_| self.stops.finds_ends())
    }

    /// On a GPU, what is behind the chosen tokens before the processor knows them, so that neither waits for the other. Where it then turns out that
    /// they are the last ones, a step was for nothing.
    fn read_drawn(&mut self, chosen: &Chosen) -> Result<Option<(Tensor, Outputs)>> {
        let (device, rows) = (chosen.tokens.device(), self.unfinished.len());
        let is_last = self.sequences.iter().any(|sequence| sequence.len() + 1 >= self.greatest_length);
        if device == Device::Cpu || is_last || !self.decoder.takes_drawn() {
            return Ok(None);
        }
        let tokens = match self.padding() {
            Some(padding) if chosen.going.len() < rows => {
                let padding = Tensor::from_slice(&[padding], &[1])?.to_device(device)?;
                let mut places = vec![chosen.going.len(); rows];
                chosen.going.iter().enumerate().for_each(|(place, &row)| places[row] = place);
                Tensor::cat(&[&chosen.tokens, &padding], 0)?.index_select(0, &index_of(&places)?)?
            }
            _ => chosen.tokens.clone(),
        };
        self.decoder.next_drawn(&tokens).map(Some)
    }

    /// Takes what was chosen; whether one of the sequences goes on.
    pub(super) fn accept(&mut self, chosen: Chosen) -> Result<bool> {
        let mut tokens = vec![self.padding().unwrap_or_default(); self.unfinished.len()];
        for (row, &token) in chosen.going.into_iter().zip(chosen.coming.wait()?.as_slice::<i64>()?) {
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
