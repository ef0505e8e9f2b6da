//! When generation ends: transformers' `StoppingCriteria`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::processors::in_place_of;
use crate::{Result, Scores};

/// Says which sequences are at their end.
pub trait StoppingCriterion: Send {
    /// A flag for each of the sequences so far; `scores` are those of every step, if they are recorded.
    ///
    /// # Errors
    /// Its own, which end the generation.
    fn stops(&mut self, sequences: &[Vec<i64>], scores: Option<&[Scores]>) -> Result<Vec<bool>>;

    /// The name of the class that it is, so that one of the caller's own takes the place of one that the settings ask for.
    fn name(&self) -> &str;

    /// Whether a sequence that has stopped is filled up with padding: where there is an end to be found.
    fn finds_ends(&self) -> bool {
        false
    }
}

/// transformers' `MaxLengthCriteria`.
pub(crate) struct MaxLength(pub usize);

impl StoppingCriterion for MaxLength {
    fn stops(&mut self, sequences: &[Vec<i64>], _: Option<&[Scores]>) -> Result<Vec<bool>> {
        Ok(sequences.iter().map(|sequence| sequence.len() >= self.0).collect())
    }

    fn name(&self) -> &str {
        "MaxLengthCriteria"
    }
}

/// transformers' `MaxTimeCriteria`.
pub(crate) struct MaxTime {
    begun: Instant,
    limit: Duration,
}

impl MaxTime {
    /// From now on, so many seconds.
    pub fn new(seconds: f64) -> MaxTime {
        let limit = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
        MaxTime { begun: Instant::now(), limit }
    }
}

impl StoppingCriterion for MaxTime {
    fn stops(&mut self, sequences: &[Vec<i64>], _: Option<&[Scores]>) -> Result<Vec<bool>> {
        Ok(vec![self.begun.elapsed() > self.limit; sequences.len()])
    }

    fn name(&self) -> &str {
        "MaxTimeCriteria"
    }
}

/// transformers' `EosTokenCriteria`.
pub(crate) struct EndToken(pub Vec<i64>);

impl StoppingCriterion for EndToken {
    fn stops(&mut self, sequences: &[Vec<i64>], _: Option<&[Scores]>) -> Result<Vec<bool>> {
        let ends = |sequence: &Vec<i64>| sequence.last().is_some_and(|last| self.0.contains(last));
        Ok(sequences.iter().map(ends).collect())
    }

    fn name(&self) -> &str {
        "EosTokenCriteria"
    }

    fn finds_ends(&self) -> bool {
        true
    }
}

/// transformers' `StopStringCriteria`: one of some texts ends within the last token.
pub struct StopStrings {
    strings: Vec<Vec<u8>>,
    pieces: Arc<Vec<Vec<u8>>>,
}

impl StopStrings {
    /// For the texts of all tokens by number, as bytes.
    pub fn new(strings: &[String], pieces: Arc<Vec<Vec<u8>>>) -> StopStrings {
        let strings = strings.iter().map(|text| text.as_bytes().to_vec()).filter(|text| !text.is_empty());
        StopStrings { strings: strings.collect(), pieces }
    }

    fn piece(&self, token: i64) -> &[u8] {
        usize::try_from(token).ok().and_then(|token| self.pieces.get(token)).map_or(&[], Vec::as_slice)
    }

    /// Whether one of the texts ends within the last token of a sequence.
    pub fn ends(&self, sequence: &[i64]) -> bool {
        let Some((&last, before)) = sequence.split_last() else { return false };
        let longest = self.strings.iter().map(Vec::len).max().unwrap_or(0);
        // What is before the last token, as far as a text that ends in it reaches.
        let (mut from, mut bytes) = (before.len(), 0);
        while from > 0 && bytes < longest {
            from -= 1;
            bytes += self.piece(before[from]).len();
        }
        let mut text: Vec<u8> = before[from..].iter().flat_map(|&token| self.piece(token)).copied().collect();
        let start = text.len();
        text.extend_from_slice(self.piece(last));
        let ends_in_last = |string: &Vec<u8>| {
            (start + 1..=text.len()).any(|end| end >= string.len() && text[..end].ends_with(string))
        };
        self.strings.iter().any(ends_in_last)
    }
}

impl StoppingCriterion for StopStrings {
    fn stops(&mut self, sequences: &[Vec<i64>], _: Option<&[Scores]>) -> Result<Vec<bool>> {
        Ok(sequences.iter().map(|sequence| self.ends(sequence)).collect())
    }

    fn name(&self) -> &str {
        "StopStringCriteria"
    }
}

/// Criteria, any of which stops a sequence.
#[derive(Default)]
pub(crate) struct Stops<'c>(Vec<Box<dyn StoppingCriterion + 'c>>);

impl<'c> Stops<'c> {
    /// Some criteria and the caller's `own`, which take the place of those that have their names.
    pub fn new(
        mut criteria: Vec<Box<dyn StoppingCriterion + 'c>>,
        own: Vec<Box<dyn StoppingCriterion + 'c>>,
    ) -> Stops<'c> {
        in_place_of(&mut criteria, own, |one| one.name());
        Stops(criteria)
    }

    /// Which of the sequences are at their end.
    pub fn check(&mut self, sequences: &[Vec<i64>], scores: Option<&[Scores]>) -> Result<Vec<bool>> {
        let mut stopped = vec![false; sequences.len()];
        for criterion in &mut self.0 {
            let flags = criterion.stops(sequences, scores)?;
            stopped.iter_mut().zip(flags).for_each(|(stopped, flag)| *stopped |= flag);
        }
        Ok(stopped)
    }

    /// Whether one of them looks for an end.
    pub fn finds_ends(&self) -> bool {
        self.0.iter().any(|one| one.finds_ends())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_may_be_spread_over_tokens_and_end_within_one() {
        let pieces =
            ["", "a", "st", "op", "opper", "stop", "xsto", "p"].map(|piece| piece.as_bytes().to_vec());
        let mut stop = StopStrings::new(&["stop".into()], Arc::new(pieces.to_vec()));
        let mut ends = |tokens: &[i64]| stop.stops(&[tokens.to_vec()], None).unwrap()[0];
        assert!(ends(&[1, 2, 3]));
        assert!(ends(&[2, 4]));
        assert!(ends(&[5]));
        assert!(ends(&[6, 7]));
        assert!(!ends(&[2, 3, 1]), "it ended before the last token");
        assert!(!ends(&[2, 1, 3]));
        assert!(!ends(&[]));
        assert!(!ends(&[99, -1]));
    }

    #[test]
    fn several_of_the_callers_that_have_one_name_all_count() {
        let own = |length: usize| Box::new(MaxLength(length)) as Box<dyn StoppingCriterion>;
        let mut stops = Stops::new(vec![own(1)], vec![own(3), own(2)]);
        let stopped = stops.check(&[vec![0], vec![0; 2], vec![0; 3]], None).unwrap();
        assert_eq!(stopped, [false, true, true]);
    }
}
