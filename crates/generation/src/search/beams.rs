//! Beam search: the likeliest texts as a whole, and not token by token.

use trustformers_tensor::{DType, Tensor};

use super::{Generated, Session};
use crate::config::EarlyStopping;
use crate::sampling::draw_several;
use crate::scores::top;
use crate::{Result, Scores};

/// What counts as impossible: transformers' own number, which is added to scores.
const IMPOSSIBLE: f32 = -1.0e9;

/// A text with its score.
#[derive(Clone)]
struct Beam {
    tokens: Vec<i64>,
    score: f32,
    /// Which of all beams each generated token came from.
    sources: Vec<i32>,
    is_finished: bool,
}

/// The beams of one prompt.
struct Group {
    running: Vec<Beam>,
    finished: Vec<Beam>,
    /// Whether a better text may still come.
    may_improve: bool,
}

/// A beam search under way.
struct Search {
    groups: Vec<Group>,
    beams: usize,
    prompt: usize,
    greatest_length: usize,
    length_penalty: f64,
    early_stopping: EarlyStopping,
}

impl Session<'_> {
    /// transformers' `_beam_search`.
    pub(super) fn beams(mut self) -> Result<Generated> {
        let beams = self.config.beams();
        let (logits, outputs) = self.read_prompts()?;
        let mut search = Search::new(&self, beams);
        let mut step = Some((logits, outputs));
        // As many candidates as leave enough to go on with if all the likeliest are at an end.
        let kept = 2.max(1 + self.config.ends().len()) * beams;
        loop {
            let (logits, outputs) = match step.take() {
                Some(first) => first,
                None => self.decoder.next(&self.sequences)?,
            };
            self.record.logits(&logits)?;
            let mut scores = Scores::new(&logits.to_dtype(DType::F32)?.log_softmax(-1)?)?;
            self.chain.process(&self.sequences, &mut scores)?;
            self.record.scores(&scores);
            self.record.outputs(outputs);

            let vocabulary = scores.vocabulary();
            let rows: Vec<&[f32]> = scores.rows().collect();
            let mut candidates = Vec::new();
            for (index, group) in search.groups.iter().enumerate() {
                let sums: Vec<f32> = (group.running.iter().zip(&rows[index * beams..]))
                    .flat_map(|(beam, row)| row.iter().map(|score| score + beam.score))
                    .collect();
                let places = match self.config.samples() {
                    true => {
                        let mut drawn = draw_several(&sums, kept, &self.generator)?;
                        drawn.sort_by(|&a, &b| sums[b].total_cmp(&sums[a]));
                        drawn
                    }
                    false => top(&sums, kept),
                };
                let candidate = |place: usize| {
                    let beam = &group.running[place / vocabulary];
                    let mut next = Beam { score: sums[place], ..beam.clone() };
                    next.tokens.push((place % vocabulary) as i64);
                    next.sources.push((index * beams + place / vocabulary) as i32);
                    next
                };
                candidates.push(places.into_iter().map(candidate).collect::<Vec<_>>());
            }
            let texts: Vec<Vec<i64>> = candidates.iter().flatten().map(|beam| beam.tokens.clone()).collect();
            let stopped = self.stops.check(&texts, self.record.all_scores())?;
            let goes_on = search.advance(candidates, &stopped);
            if !goes_on {
                break;
            }
            let running = || search.groups.iter().flat_map(|group| &group.running);
            let sources: Vec<usize> =
                running().map(|beam| beam.sources.last().map_or(0, |&source| source as usize)).collect();
            self.decoder.select(&sources)?;
            self.sequences = running().map(|beam| beam.tokens.clone()).collect();
        }
        search.finish(self)
    }
}

impl Search {
    fn new(session: &Session, beams: usize) -> Search {
        let group = |prompts: &[Vec<i64>]| {
            // Only the first of them counts at first, so that they do not all say the same.
            let one = |(index, tokens): (usize, &Vec<i64>)| Beam {
                tokens: tokens.clone(),
                score: if index == 0 { 0.0 } else { IMPOSSIBLE },
                sources: Vec::new(),
                is_finished: false,
            };
            let running: Vec<Beam> = prompts.iter().enumerate().map(one).collect();
            let finished = running.iter().map(|beam| Beam { score: IMPOSSIBLE, ..beam.clone() }).collect();
            Group { running, finished, may_improve: true }
        };
        Search {
            groups: session.sequences.chunks(beams).map(group).collect(),
            beams,
            prompt: session.sequences.first().map_or(0, Vec::len),
            greatest_length: session.greatest_length,
            length_penalty: session.config.length_penalty.unwrap_or(1.0),
            early_stopping: session.config.early_stopping.unwrap_or_default(),
        }
    }

    /// Takes a step's candidates, the best first, and which of them are at their end. Whether to go on.
    fn advance(&mut self, candidates: Vec<Vec<Beam>>, stopped: &[bool]) -> bool {
        let mut stopped_of = stopped.iter().copied();
        let at_once = self.early_stopping == EarlyStopping::Yes;
        for (group, candidates) in self.groups.iter_mut().zip(candidates) {
            let flags: Vec<bool> = stopped_of.by_ref().take(candidates.len()).collect();
            // The best of those that can be gone on with.
            let open: Vec<f32> = candidates
                .iter()
                .zip(&flags)
                .map(|(beam, &stopped)| beam.score + if stopped { IMPOSSIBLE } else { 0.0 })
                .collect();
            let running = top(&open, self.beams);
            // The best of those that are at their end, with those that were before.
            let length = candidates.first().map_or(0, |beam| beam.tokens.len());
            let scale = (length.saturating_sub(self.prompt) as f64).powf(self.length_penalty) as f32;
            let is_full = at_once && group.finished.iter().all(|beam| beam.is_finished);
            let ended = candidates.iter().zip(&flags).enumerate().map(|(place, (beam, &stopped))| {
                let is_finished = stopped && place < self.beams;
                let out = |is_out: bool| if is_out { IMPOSSIBLE } else { 0.0 };
                let score = beam.score / scale + out(is_full) + out(!group.may_improve) + out(!is_finished);
                Beam { score, is_finished, ..beam.clone() }
            });
            let mut all: Vec<Beam> = group.finished.drain(..).chain(ended).collect();
            // Of equal scores, as impossible ones are, a text counts for more than a place that none has taken.
            all.sort_by_key(|beam| !beam.is_finished);
            let scores: Vec<f32> = all.iter().map(|beam| beam.score).collect();
            group.finished = top(&scores, self.beams).into_iter().map(|place| all[place].clone()).collect();
            group.running = running
                .iter()
                .map(|&place| Beam { score: open[place], ..candidates[place].clone() })
                .collect();
        }
        for place in 0..self.groups.len() {
            self.groups[place].may_improve &= self.can_improve(&self.groups[place]);
        }
        let improves = self.groups.iter().any(|group| group.may_improve);
        let mut finished = self.groups.iter().flat_map(|group| &group.finished);
        let is_open = !(at_once && finished.all(|beam| beam.is_finished));
        improves && is_open && stopped.contains(&false)
    }

    /// Whether the best running beam may still become better than the worst finished one.
    fn can_improve(&self, group: &Group) -> bool {
        let Some(best) = group.running.first() else { return false };
        let longest = match self.early_stopping {
            EarlyStopping::Never if self.length_penalty > 0.0 => self.greatest_length,
            _ => best.tokens.len(),
        };
        let scale = (longest.saturating_sub(self.prompt) as f64).powf(self.length_penalty) as f32;
        let possible = best.score / scale;
        let worst = group.finished.iter().map(|beam| beam.score).fold(f32::INFINITY, f32::min);
        group.finished.iter().any(|beam| possible > if beam.is_finished { worst } else { IMPOSSIBLE })
    }

    fn finish(self, mut session: Session) -> Result<Generated> {
        let texts = session.config.texts();
        let best: Vec<Beam> =
            self.groups.into_iter().flat_map(|group| group.finished.into_iter().take(texts)).collect();
        let longest = best.iter().map(|beam| beam.sources.len()).max().unwrap_or(0);
        // As in transformers, where a padding token of 0 counts as none.
        let fill = match session.config.ends().first() {
            Some(&end) => session.config.pad_token_id.filter(|&padding| padding != 0).unwrap_or(end),
            None => -1,
        };
        let keeps_scores = session.record.keeps_scores();
        let mut sequences = Vec::with_capacity(best.len());
        let mut sources = Vec::with_capacity(best.len() * longest);
        for beam in &best {
            let mut tokens = beam.tokens.clone();
            tokens.resize(self.prompt + longest, fill);
            sequences.push(tokens);
            sources.extend(beam.sources.iter().copied().chain(std::iter::repeat(-1)).take(longest));
        }
        let scores: Vec<f32> = best.iter().map(|beam| beam.score).collect();
        session.sequences.clear();
        let generated = session.finish(&sequences)?;
        Ok(Generated {
            sequences_scores: match keeps_scores {
                true => Some(Tensor::from_slice(&scores, &[best.len()])?),
                false => None,
            },
            beam_indices: Some(Tensor::from_slice(&sources, &[best.len(), longest])?.to_dtype(DType::I32)?),
            ..generated
        })
    }
}
