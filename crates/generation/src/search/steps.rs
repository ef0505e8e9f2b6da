//! One token after another: the likeliest, or a drawn one.

use trustformers_models::Outputs;

use super::{Generated, Session};
use crate::sampling::draw;
use crate::scores::argmax;
use crate::{Result, Scores};

impl Session<'_> {
    /// transformers' `_sample`.
    pub(super) fn steps(mut self) -> Result<Generated> {
        let (mut scores, mut outputs) = self.read_prompts()?;
        while self.step(scores, outputs)? {
            (scores, outputs) = self.decoder.next(&self.sequences)?;
        }
        self.finish_all()
    }

    /// Chooses a token for each sequence from what a pass gave; whether one of them goes on.
    pub(super) fn step(&mut self, mut scores: Scores, outputs: Outputs) -> Result<bool> {
        // What has ended is filled up where there are ends to be found.
        let padding = self.config.padding().filter(|_| self.stops.finds_ends());
        self.record.logits(&scores);
        self.chain.process(&self.sequences, &mut scores)?;
        self.record.scores(&scores);
        self.record.outputs(outputs);
        let mut tokens = Vec::with_capacity(self.sequences.len());
        for (row, &unfinished) in scores.rows().zip(&self.unfinished) {
            tokens.push(match padding.filter(|_| !unfinished) {
                Some(padding) => padding,
                None if self.config.samples() => draw(row, &self.generator)? as i64,
                None => argmax(row) as i64,
            });
        }
        self.take(&tokens)
    }
}
