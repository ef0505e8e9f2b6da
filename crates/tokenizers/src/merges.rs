//! Which tokens become one, and which of them first.

use ahash::AHashMap;

/// The ids of tokens.
pub type Vocab = AHashMap<String, u32>;

/// Longer tokens are not taken apart, which takes time with the square of their length. SentencePiece stops at 16 characters.
const LONGEST: usize = 256;

/// Merges as a file lists them: two tokens with a space between.
pub fn listed<'a>(
    merges: impl IntoIterator<Item = &'a str>,
    vocab: &Vocab,
) -> Result<Vec<(String, String)>, String> {
    let split = |(index, merge): (usize, &str)| match merge.split_once(' ') {
        Some((left, right)) if vocab.contains_key(left) && vocab.contains_key(right) => {
            Ok((left.to_owned(), right.to_owned()))
        }
        _ => Err(format!("has {merge:?} at {index}, which are no two tokens with a space between")),
    };
    merges.into_iter().enumerate().map(split).collect()
}

/// The merges that a vocabulary implies: each two tokens that make a third, those with the better ones first. transformers'
/// `generate_merges`.
pub fn implied(vocab: &Vocab, tokens: &[String], score: impl Fn(usize) -> f64) -> Vec<(String, String)> {
    struct Merge<'a> {
        parts: (&'a str, &'a str),
        score: f64,
        lengths: (usize, usize),
    }
    let mut merges = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.len() <= LONGEST) {
        let mut own: Vec<_> = token
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| {
                let parts = token.split_at(at);
                Some(((vocab.get(parts.0)?, vocab.get(parts.1)?), parts))
            })
            .collect();
        own.sort_by_key(|(ids, _)| *ids);
        merges.extend(own.into_iter().map(|(_, parts)| Merge {
            parts,
            score: score(index),
            lengths: (parts.0.chars().count(), parts.1.chars().count()),
        }));
    }
    merges.sort_by(|a, b| b.score.total_cmp(&a.score).then(b.lengths.cmp(&a.lengths)));
    merges.into_iter().map(|Merge { parts, .. }| (parts.0.to_owned(), parts.1.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_follow_the_scores() {
        let tokens = ["a", "b", "c", "ab", "bc", "abc"].map(str::to_owned);
        let vocab: Vocab = tokens.iter().cloned().zip(0..).collect();
        let scores = [0.0, 0.0, 0.0, -2.0, -1.0, -3.0];
        let merges = implied(&vocab, &tokens, |index| scores[index]);
        let merges: Vec<_> = merges.iter().map(|(left, right)| (left.as_str(), right.as_str())).collect();
        assert_eq!(merges, [("b", "c"), ("a", "b"), ("ab", "c"), ("a", "bc")]);
    }
}
