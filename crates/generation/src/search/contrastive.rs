//! Contrastive search (Su et al. 2022): likely tokens whose meaning is unlike what has been said.

use trustformers_models::Outputs;
use trustformers_tensor::{DType, Tensor};

use super::{Generated, Session, repeat_all, selected};
use crate::decoder::index_of;
use crate::error::Error;
use crate::scores::{argmax, softmax, top};
use crate::{Result, Scores};

impl Session<'_> {
    /// transformers 4.57's `_contrastive_search`.
    pub(super) fn contrastive(mut self, alpha: f32) -> Result<Generated> {
        let (mut logits, mut outputs) = self.read_prompts()?;
        let batch = self.sequences.len();
        let padding = self.config.padding().filter(|_| self.stops.finds_ends());
        // (batch, positions, hidden), each of length 1.
        let mut context = directions(&outputs)?;
        loop {
            self.record.logits(&logits)?;
            let mut scores = Scores::new(&logits)?;
            let count = self.config.top_k.unwrap_or(50).min(scores.vocabulary());
            self.chain.process(&self.sequences, &mut scores)?;
            self.record.scores(&scores);
            self.record.outputs(outputs);
            let probabilities: Vec<Vec<f32>> = scores.rows().map(softmax).collect();
            let candidates: Vec<Vec<usize>> = probabilities.iter().map(|row| top(row, count)).collect();

            // All candidates of all sequences are read side by side.
            let copies = repeat_all(&(0..batch).collect::<Vec<_>>(), count);
            self.decoder.select(&copies)?;
            let tokens = candidates.iter().flatten();
            let longer: Vec<Vec<i64>> = copies
                .iter()
                .zip(tokens)
                .map(|(&row, &token)| [&self.sequences[row][..], &[token as i64]].concat())
                .collect();
            let (next, next_outputs) = self.decoder.next(&longer)?;
            let meant = directions(&next_outputs)?;

            let mut chosen = Vec::with_capacity(batch);
            let mut tokens = Vec::with_capacity(batch);
            for row in 0..batch {
                // (count, positions): how much each candidate is like each position.
                let said = context.select(0, row)?;
                let alike =
                    meant.narrow(0, row * count, (row + 1) * count)?.select(1, 0)?.matmul(&said.mt()?)?;
                let penalty = alike.amax(&[-1], false)?.contiguous()?.to_host()?;
                let ranks: Vec<f32> = (candidates[row].iter().zip(penalty.as_slice::<f32>()?))
                    .map(|(&token, penalty)| (1.0 - alpha) * probabilities[row][token] - alpha * penalty)
                    .collect();
                let best = argmax(&ranks);
                chosen.push(row * count + best);
                tokens.push(match padding.filter(|_| !self.unfinished[row]) {
                    Some(padding) => padding,
                    None => candidates[row][best] as i64,
                });
            }
            self.decoder.select(&chosen)?;
            let places = index_of(&chosen)?;
            context = Tensor::cat(&[&context, &meant.index_select(0, &places)?], 1)?;
            logits = next.index_select(0, &places)?;
            outputs = selected(next_outputs, &chosen)?;

            if !self.take(&tokens)? {
                return self.finish_all();
            }
        }
    }
}

/// The last hidden states (batch, positions, hidden), each divided by its length. What padding hides stays zero.
fn directions(outputs: &Outputs) -> Result<Tensor> {
    let states = outputs.hidden_states.as_ref().or(outputs.decoder_hidden_states.as_ref());
    let last = states.and_then(|states| states.last());
    let last = last.ok_or_else(|| Error::Runtime("the model gave no hidden states to compare".into()))?;
    let last = last.to_dtype(DType::F32)?;
    let lengths = last.mul(&last)?.sum(&[-1], true)?.sqrt()?;
    Ok(last.div(&lengths.clamp(Some(f64::from(f32::MIN_POSITIVE).into()), None)?)?)
}
