//! The logits processor that keeps texts to a grammar.

use llguidance::Matcher;

use super::grammar::reason;
use crate::decoder::common;
use crate::error::setting;
use crate::processors::LogitsProcessor;
use crate::{Result, Scores};

/// Leaves the tokens that go on as a grammar has it, and the ends where it is complete.
///
/// Each text has a matcher that has read it. A step finds for every sequence the matcher that has read most of it, takes back what is not
/// in the sequence and reads on: so beams may be chosen anew, and drafts dropped.
pub struct Constraint {
    start: Matcher,
    ends: Vec<i64>,
    /// Whether sequences may come that hold what is not allowed, and are not gone on with.
    explores: bool,
    /// The length of the prompts, once they have been seen.
    prompt: Option<usize>,
    read: Vec<Read>,
}

/// A text, and the matcher that has read it.
#[derive(Clone)]
struct Read {
    tokens: Vec<i64>,
    matcher: Matcher,
}

/// How a text stands.
enum Standing {
    /// It goes on.
    Open,
    /// It has come to its end.
    Ended,
    /// It holds this token where that may not be.
    Broken(i64),
}

impl Constraint {
    pub(super) fn new(start: Matcher, ends: Vec<i64>, explores: bool) -> Constraint {
        Constraint { start, ends, explores, prompt: None, read: Vec::new() }
    }

    /// For each text, a matcher that has read as much of it as any has.
    fn matchers(&mut self, texts: &[&[i64]]) -> Vec<Read> {
        let before = std::mem::take(&mut self.read);
        let closest = |(index, text): (usize, &&[i64])| match before.get(index) {
            Some(read) if text.starts_with(&read.tokens) => Some(index),
            _ => (0..before.len()).max_by_key(|&one| common(&before[one].tokens, text)),
        };
        let sources: Vec<Option<usize>> = texts.iter().enumerate().map(closest).collect();
        let mut before: Vec<Option<Read>> = before.into_iter().map(Some).collect();
        let mut matchers = Vec::with_capacity(texts.len());
        for (place, source) in sources.iter().enumerate() {
            let is_last = !sources[place + 1..].contains(source);
            let found = source.and_then(|source| match is_last {
                true => before[source].take(),
                false => before[source].clone(),
            });
            matchers.push(found.unwrap_or_else(|| Read { tokens: Vec::new(), matcher: self.start.clone() }));
        }
        matchers
    }
}

impl Read {
    /// Reads a text, up to its end or to what may not be.
    fn follow(&mut self, text: &[i64], ends: &[i64]) -> Result<Standing> {
        let common = common(&self.tokens, text);
        let back = self.tokens.len() - common;
        self.tokens.truncate(common);
        checked(self.matcher.rollback(back))?;
        for &token in &text[common..] {
            if ends.contains(&token) {
                return Ok(Standing::Ended);
            }
            let number = u32::try_from(token).ok().filter(|_| !self.matcher.is_stopped());
            if checked(self.matcher.try_consume_tokens(number.as_slice()))? == 0 {
                return Ok(Standing::Broken(token));
            }
            self.tokens.push(token);
        }
        Ok(Standing::Open)
    }

    /// Leaves those scores whose tokens may come. Whether there is one.
    fn mask(&mut self, scores: &mut [f32]) -> Result<bool> {
        let allowed = checked(self.matcher.compute_mask_or_eos())?;
        let mut is_any_left = false;
        for (token, score) in scores.iter_mut().enumerate() {
            if token >= allowed.len() || !allowed.get(token) {
                *score = f32::NEG_INFINITY;
            }
            is_any_left |= *score != f32::NEG_INFINITY;
        }
        Ok(is_any_left)
    }
}

/// What a matcher gives. One that gives up has reached a limit, or is at a place that no token leads on from.
fn checked<T, E: std::fmt::Display>(result: std::result::Result<T, E>) -> Result<T> {
    result.or_else(|error| {
        setting(format!("response_format cannot be followed any further: {}", reason(&error.to_string())))
    })
}

impl LogitsProcessor for Constraint {
    fn process(&mut self, sequences: &[Vec<i64>], scores: &mut Scores) -> Result<()> {
        // The first that is asked for is what follows the prompts.
        let prompt = *self.prompt.get_or_insert(sequences.first().map_or(0, Vec::len));
        let texts: Vec<&[i64]> = sequences.iter().map(|row| row.get(prompt..).unwrap_or(&[])).collect();
        let mut matchers = self.matchers(&texts);
        for ((read, text), scores) in matchers.iter_mut().zip(texts).zip(scores.rows_mut()) {
            match read.follow(text, &self.ends)? {
                Standing::Ended => {}
                Standing::Open => {
                    if !read.mask(scores)? && !self.explores {
                        return setting(
                            "response_format and the other settings contradict each other: they leave no token that may come \
                             next. Leave out what keeps tokens from coming, such as min_new_tokens, bad_words_ids or suppress_tokens",
                        );
                    }
                }
                Standing::Broken(_) if self.explores => scores.fill(f32::NEG_INFINITY),
                Standing::Broken(token) => {
                    return setting(format!(
                        "response_format does not allow token {token}, which another setting or processor has chosen"
                    ));
                }
            }
        }
        self.read = matchers;
        Ok(())
    }

    fn name(&self) -> &str {
        "GrammarConstraint"
    }
}
