//! The tokens of a tokenizer as a grammar sees them.

use std::sync::{Arc, Mutex, Weak};

use llguidance::ParserFactory;
use toktrie::{ApproximateTokEnv, TokEnv, TokRxInfo, TokTrie};

use super::grammar::guarded;
use crate::Result;
use crate::error::setting;

/// The bytes of all tokens in a tree, and what makes grammars over them.
pub struct Vocabulary {
    pub(super) factory: ParserFactory,
    pub(super) ends: Vec<i64>,
}

/// The texts of all tokens, by number.
type Pieces = Vec<Vec<u8>>;
/// Vocabularies with what they were made of, for as long as that lives.
static KEPT: Mutex<Vec<(Weak<Pieces>, Arc<Vocabulary>)>> = Mutex::new(Vec::new());

impl Vocabulary {
    /// The tokens whose texts are `pieces`. `special` ones are no text, and neither are the `ends`, which come where a text is
    /// complete.
    ///
    /// # Errors
    /// `Setting` if there is no end, or it is no token.
    pub fn new(pieces: &[Vec<u8>], special: &[u32], ends: &[i64]) -> Result<Vocabulary> {
        if ends.is_empty() {
            return setting(
                "response_format needs an end for the text that is complete: set eos_token_id in the generation config",
            );
        }
        // A model may have more tokens than its tokenizer; none of those is text.
        let count = pieces.len().max(1 + ends.iter().copied().max().unwrap_or(0).clamp(0, 1 << 24) as usize);
        let Some(numbers) =
            ends.iter().map(|&end| u32::try_from(end).ok().filter(|&end| (end as usize) < count)).collect()
        else {
            return setting(format!("eos_token_id is {ends:?}, which are not the numbers of tokens"));
        };
        let numbers: Vec<u32> = numbers;
        let mut words = pieces.to_vec();
        words.resize(count, Vec::new());
        for &token in special.iter().chain(&numbers) {
            if let Some(word) = words.get_mut(token as usize)
                && word.first() != Some(&TokTrie::SPECIAL_TOKEN_MARKER)
            {
                word.insert(0, TokTrie::SPECIAL_TOKEN_MARKER);
            }
        }
        let info = TokRxInfo::new(count as u32, numbers[0]);
        let factory = guarded(move || {
            let trie = TokTrie::from(&info, &words).with_eos_tokens(&numbers);
            let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
            let mut factory = ParserFactory::new_simple(&environment).map_err(|error| error.to_string())?;
            factory.quiet();
            factory.limits_mut().verbose_errors = false;
            Ok(factory)
        });
        match factory {
            Ok(factory) => Ok(Vocabulary { factory, ends: ends.to_vec() }),
            Err(reason) => {
                setting(format!("response_format: this tokenizer cannot be constrained: {reason}"))
            }
        }
    }

    /// [`Vocabulary::new`], made once for a tokenizer's `pieces` and kept as long as those are: it takes some tenths of a second.
    ///
    /// # Errors
    /// As there.
    pub fn of(pieces: &Arc<Pieces>, special: &[u32], ends: &[i64]) -> Result<Arc<Vocabulary>> {
        // The lock is only tried: a child of `fork` must not wait for a thread that it does not have.
        if let Ok(kept) = KEPT.try_lock()
            && let Some((_, found)) = kept.iter().find(|(made_of, one)| {
                std::ptr::eq(made_of.as_ptr(), Arc::as_ptr(pieces)) && one.ends == ends
            })
        {
            return Ok(found.clone());
        }
        let made = Arc::new(Vocabulary::new(pieces, special, ends)?);
        if let Ok(mut kept) = KEPT.try_lock() {
            kept.retain(|(made_of, _)| made_of.strong_count() > 0);
            kept.push((Arc::downgrade(pieces), made.clone()));
        }
        Ok(made)
    }
}
