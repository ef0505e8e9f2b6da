//! Drafts that the model verifies several tokens at a time (Leviathan et al. 2023): what it says stays the same.

use trustformers_models::{Family, Inputs, Model};
use trustformers_tensor::{DType, Tensor};

use super::prompt::prepared;
use super::{Generated, Session};
use crate::config::{GenerationConfig, Schedule};
use crate::decoder::{Decoder, common, logits};
use crate::error::setting;
use crate::processors::Chain;
use crate::sampling::{draw, pick};
use crate::scores::{argmax, softmax};
use crate::{Result, Scores};

/// Where drafts come from.
enum Drafter<'r> {
    Assistant(Box<Assistant<'r>>),
    /// What followed the last tokens where the text has said them before.
    Lookup {
        tokens: usize,
        longest_run: usize,
    },
}

/// A smaller model, and what it has read.
struct Assistant<'r> {
    decoder: Decoder<'r>,
    config: GenerationConfig,
    read: Vec<i64>,
    tokens: usize,
}

/// Tokens that may come, and the scores that they were chosen by, if they were.
#[derive(Default)]
struct Draft {
    tokens: Vec<i64>,
    scores: Vec<Vec<f32>>,
}

impl<'r> Session<'r> {
    /// transformers' `_assisted_decoding`.
    pub(super) fn assisted(mut self, assistant: Option<(&'r Model, GenerationConfig)>) -> Result<Generated> {
        if self.sequences.len() * self.copies > 1 {
            return setting("assisted generate is only supported for batch_size = 1");
        }
        if self.config.guidance().is_some() {
            return setting(
                "guidance_scale is not supported with assisted generation: it follows every token",
            );
        }
        let mut drafter = match (self.config.prompt_lookup_num_tokens, assistant) {
            (Some(tokens), _) => {
                let longest_run = self.config.max_matching_ngram_size.unwrap_or(2);
                if tokens == 0 || longest_run == 0 {
                    return setting("Invalid max_matching_ngram_size or num_output_tokens");
                }
                Drafter::Lookup { tokens, longest_run }
            }
            (None, Some((model, config))) => {
                Drafter::Assistant(Box::new(Assistant::new(model, config, &self)?))
            }
            (None, None) => return setting("assisted generation needs an assistant model"),
        };
        let mut is_first = true;
        loop {
            let length = self.sequences[0].len();
            let room = self.greatest_length - length - 1;
            let draft = match &mut drafter {
                Drafter::Assistant(assistant) => assistant.draft(
                    &self.sequences[0],
                    room,
                    &mut self.chain,
                    &self.config,
                    &self.generator,
                )?,
                &mut Drafter::Lookup { tokens, longest_run } => Draft {
                    tokens: look_up(&self.sequences[0], tokens.min(room), longest_run, self.config.ends()),
                    ..Draft::default()
                },
            };
            let longer = [&self.sequences[0][..], &draft.tokens].concat();
            let mut outputs = self.decoder.read(std::slice::from_ref(&longer), draft.tokens.len() + 1)?;
            let given = logits(&mut outputs)?.select(0, 0)?;
            let mut steps = Vec::with_capacity(draft.tokens.len() + 1);
            for step in 0..=draft.tokens.len() {
                let raw = given.narrow(0, step, step + 1)?;
                let mut scores = Scores::new(&raw)?;
                self.chain.process(&[longer[..length + step].to_vec()], &mut scores)?;
                steps.push((raw, scores));
            }
            let mut tokens = self.verified(&draft, &steps)?;
            tokens.truncate(self.greatest_length - length);
            if let Some(end) = tokens.iter().position(|token| self.config.ends().contains(token)) {
                tokens.truncate(end + 1);
            }
            for (raw, scores) in &steps[..tokens.len()] {
                self.record.logits(raw)?;
                self.record.scores(scores);
            }
            self.record.split_outputs(outputs, length, tokens.len(), is_first)?;
            self.sequences[0].extend(&tokens);
            self.decoder.forget(length + tokens.len() - 1);
            if let Drafter::Assistant(assistant) = &mut drafter {
                assistant.learn(tokens.len() == draft.tokens.len() + 1);
            }
            if let Some(streamer) = &mut self.streamer {
                streamer.put(&Tensor::from_slice(&tokens, &[1, tokens.len()])?)?;
            }
            is_first = false;
            if self.stops.check(&self.sequences, self.record.all_scores())?[0] {
                return self.finish_all();
            }
        }
    }

    /// What of a draft stands, and the token behind it.
    fn verified(&self, draft: &Draft, steps: &[(Tensor, Scores)]) -> Result<Vec<i64>> {
        let mut tokens = Vec::with_capacity(steps.len());
        for (place, (_, scores)) in steps.iter().enumerate() {
            let scores = scores.rows().next().unwrap_or(&[]);
            let drafted = draft.tokens.get(place).copied();
            match (drafted, draft.scores.get(place)) {
                (Some(drafted), Some(theirs)) if self.config.samples() => {
                    let (p, q) = (softmax(scores), softmax(theirs));
                    let chances = self.generator.uniform(&[2], DType::F64)?;
                    let chances = chances.as_slice::<f64>()?;
                    let ratio = f64::from(p[drafted as usize]) / f64::from(q[drafted as usize]);
                    if chances[0] <= ratio {
                        tokens.push(drafted);
                        continue;
                    }
                    let rest: Vec<f32> = p.iter().zip(&q).map(|(p, q)| (p - q).max(0.0)).collect();
                    let token = pick(&rest, chances[1]).or_else(|| pick(&p, chances[1])).unwrap_or(0);
                    tokens.push(token as i64);
                }
                _ => {
                    let token = match self.config.samples() {
                        true => draw(scores, &self.generator)? as i64,
                        false => argmax(scores) as i64,
                    };
                    tokens.push(token);
                    if drafted == Some(token) {
                        continue;
                    }
                }
            }
            break;
        }
        Ok(tokens)
    }
}

impl<'r> Assistant<'r> {
    fn new(model: &'r Model, config: GenerationConfig, session: &Session<'r>) -> Result<Assistant<'r>> {
        let main = session.decoder.model();
        let vocabulary = |model: &Model| model.config().size("vocab_size").unwrap_or(0);
        if vocabulary(main) != vocabulary(model) {
            return setting(format!(
                "The main and assistant models have different tokenizers, of {} and {} tokens: use an assistant of the same vocabulary",
                vocabulary(main),
                vocabulary(model)
            ));
        }
        let given = session.decoder.inputs();
        let inputs = match (main.family(), model.family()) {
            (Family::EncoderDecoder, Family::EncoderDecoder) => {
                let source =
                    Inputs { encoder_hidden_states: None, text: session.source.clone(), ..given.clone() };
                prepared(model, &session.config, source)?.inputs
            }
            (Family::EncoderDecoder, _) | (_, Family::EncoderDecoder) => {
                return setting("the assistant of an encoder-decoder must be one too, and only of one");
            }
            _ => Inputs {
                text: trustformers_models::Text { position_ids: None, ..given.text.clone() },
                ..given.clone()
            },
        };
        let inputs = Inputs { output_attentions: false, output_hidden_states: false, ..inputs };
        let tokens = config.num_assistant_tokens.unwrap_or(20);
        let length = session.sequences[0].len();
        let decoder = Decoder::new(model, inputs, Some(Default::default()), length)?;
        Ok(Assistant { decoder, config, read: Vec::new(), tokens })
    }

    fn draft(
        &mut self,
        sequence: &[i64],
        room: usize,
        chain: &mut Chain,
        config: &GenerationConfig,
        generator: &trustformers_tensor::Generator,
    ) -> Result<Draft> {
        let mut draft = Draft::default();
        // What it drafted in vain it forgets; of the last token it shall say again what follows.
        self.decoder.forget(common(&self.read, sequence).min(sequence.len() - 1));
        let mut text = sequence.to_vec();
        let threshold = self.config.assistant_confidence_threshold.unwrap_or(0.4) as f32;
        for _ in 0..self.tokens.min(room) {
            let mut scores = Scores::new(&self.decoder.next(std::slice::from_ref(&text))?.0)?;
            self.read.clone_from(&text);
            chain.process_draft(std::slice::from_ref(&text), &mut scores)?;
            let row = scores.rows().next().unwrap_or(&[]);
            let token = if config.samples() { draw(row, generator)? } else { argmax(row) };
            let confidence = softmax(row)[token];
            draft.scores.push(row.to_vec());
            draft.tokens.push(token as i64);
            text.push(token as i64);
            if confidence < threshold || config.ends().contains(&(token as i64)) {
                break;
            }
        }
        Ok(draft)
    }

    /// Drafts more after a full success, and less after a failure, if it is to.
    fn learn(&mut self, all_stood: bool) {
        if self.config.num_assistant_tokens_schedule.unwrap_or(Schedule::Constant) != Schedule::Constant {
            self.tokens = if all_stood { self.tokens + 2 } else { self.tokens.saturating_sub(1).max(1) };
        }
    }
}

/// What followed the longest run of last tokens where it came first (Saxena 2023), up to an end.
fn look_up(sequence: &[i64], tokens: usize, longest_run: usize, ends: &[i64]) -> Vec<i64> {
    for size in (1..=longest_run.min(sequence.len().saturating_sub(1))).rev() {
        let run = &sequence[sequence.len() - size..];
        let place = sequence.windows(size).position(|window| window == run);
        // The run itself has nothing behind it.
        if let Some(start) = place.map(|place| place + size).filter(|&start| start < sequence.len()) {
            let found = &sequence[start..sequence.len().min(start + tokens)];
            return found.iter().copied().take_while(|token| !ends.contains(token)).collect();
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_run_that_came_before_is_gone_on_with() {
        assert_eq!(look_up(&[1, 2, 3, 9, 2, 7, 1, 2], 2, 2, &[]), [3, 9]);
        assert_eq!(look_up(&[1, 2, 3, 9, 2, 7, 5, 2], 2, 2, &[]), [3, 9]);
        assert_eq!(look_up(&[1, 2, 3, 9, 1, 2], 9, 2, &[9]), [3]);
        assert_eq!(look_up(&[1, 2, 3], 4, 2, &[]), [0i64; 0]);
        assert_eq!(look_up(&[], 4, 2, &[]), [0i64; 0]);
    }
}
