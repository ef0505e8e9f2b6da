//! One token after another: the likeliest, or a drawn one.

use trustformers_tensor::Tensor;

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
            self.sequences.iter_mut().zip(&tokens).for_each(|(sequence, &token)| sequence.push(token));
            if let Some(streamer) = &mut self.streamer {
                streamer.put(&Tensor::from_slice(&tokens, &[tokens.len()])?)?;
            }
            let stopped = self.stops.check(&self.sequences, self.record.all_scores())?;
            unfinished.iter_mut().zip(stopped).for_each(|(unfinished, stopped)| *unfinished &= !stopped);
            if !unfinished.contains(&true) {
                let sequences = std::mem::take(&mut self.sequences);
                return self.finish(&sequences);
            }
            (scores, outputs) = self.decoder.next(&self.sequences)?;
        }
    }
}
