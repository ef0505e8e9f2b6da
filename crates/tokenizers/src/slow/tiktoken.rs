//! tiktoken's files: on each line the bytes of a token in base64 and, behind a space, its rank, which is its id.

use ahash::AHashMap;

use super::Bpe;
use crate::base64::decode;
use crate::merges::Vocab;
use crate::pieces::character_of;

/// Longer tokens are not taken apart, which takes time with the square of their length.
const LONGEST: usize = 256;

/// Reads a file's bytes into the vocabulary and the merges of a byte-level BPE: transformers' `TikTokenConverter`. Of the ways to put a
/// token together, those of the lowest ranks come first.
///
/// # Errors
/// What is wrong with them, in words.
pub fn parse(bytes: &[u8]) -> Result<Bpe, String> {
    let mut ranks: AHashMap<Vec<u8>, u32> = AHashMap::new();
    for (number, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let entry = str::from_utf8(line).ok().and_then(|line| line.split_once(' '));
        let (token, rank) = entry
            .and_then(|(token, rank)| Some((decode(token.as_bytes())?, rank.parse().ok()?)))
            .ok_or_else(|| format!("line {} is no token in base64 with a rank behind it", number + 1))?;
        ranks.insert(token, rank);
    }
    if ranks.is_empty() {
        return Err("it has no tokens".to_owned());
    }
    let mut merges = Vec::new();
    for (token, &rank) in ranks.iter().filter(|(token, _)| token.len() <= LONGEST) {
        let parts = (1..token.len()).filter_map(|at| {
            let (left, right) = token.split_at(at);
            Some(((rank, *ranks.get(left)?, *ranks.get(right)?), left, right))
        });
        merges.extend(parts);
    }
    merges.sort_by_key(|(ranks, ..)| *ranks);
    let merges = merges.into_iter().map(|(_, left, right)| (spell(left), spell(right))).collect();
    let vocab: Vocab = ranks.iter().map(|(token, &rank)| (spell(token), rank)).collect();
    Ok(Bpe { vocab, merges })
}

/// A token in GPT-2's alphabet, which has a character for every byte.
fn spell(token: &[u8]) -> String {
    token.iter().map(|&byte| character_of(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_come_in_the_order_of_ranks() {
        let bpe = parse(b"YQ== 0\nYg== 1\nIA== 2\nYWI= 4\nIGE= 3\n\nIGFi 5\n").unwrap();
        let merges: Vec<_> = bpe.merges.iter().map(|(left, right)| (left.as_str(), right.as_str())).collect();
        assert_eq!(merges, [("Ġ", "a"), ("a", "b"), ("Ġ", "ab"), ("Ġa", "b")]);
        assert_eq!(bpe.vocab["Ġab"], 5);
    }

    #[test]
    fn what_is_no_line_is_named() {
        assert!(parse(b"YQ== 0\nYg==\n").unwrap_err().contains("line 2"));
        assert!(parse(b"YQ== 99999999999\n").unwrap_err().contains("line 1"));
        assert!(parse(b"\xff\xff 1").unwrap_err().contains("line 1"));
        assert!(parse(b"").unwrap_err().contains("no tokens"));
    }
}
