//! One token after another: the likeliest, or a drawn one.

use super::{Generated, Session};
use crate::Result;
use crate::sampling::draw;
use crate::scores::argmax;

impl Session<'_> {
    /// transformers' `_sample`.
    pub(super) fn steps(mut self) -> Result<Generated> {
        let (mut scores, mut outputs) = self.read_prompts()?;
        let mut unfinished = vec![true; self.sequences.len()];
        // What has ended is filled up where there are ends to be found.
        let padding = self.config.padding().filter(|_| self.stops.finds_ends());
        loop {
            self.record.logits(&scores);
            self.chain.process(&self.sequences, &mut scores)?;
            self.record.scores(&scores);
            self.record.outputs(outputs);
            let mut tokens = Vec::with_capacity(self.sequences.len());
            for (row, &unfinished) in scores.rows().zip(&unfinished) {
                tokens.push(match padding.filter(|_| !unfinished) {
                    Some(padding) => padding,
                    None if self.config.samples() => draw(row, self.generator)? as i64,
                    None => argmax(row) as i64,
                });
            }
            if !self.take(&tokens, &mut unfinished)? {
                return self.finish_all();
            }
            (scores, outputs) = self.decoder.next(&self.sequences)?;
        }
    }
}
