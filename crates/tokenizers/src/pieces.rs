//! What each token says, as bytes: for those who look for texts in tokens.

use std::sync::Arc;

use serde_json::Value;

use crate::{EncodeOptions, Result, Tokenizer};

/// A word that tokens are joined behind, so that what they say within a text shows.
const BEFORE: &str = "abcdef";

/// How the decoder makes bytes of a token.
#[derive(Clone, Copy, PartialEq)]
enum Bytes {
    /// Each character stands for a byte (GPT-2).
    Level,
    /// A byte that is in no token has one of its own, such as `<0x0A>` (SentencePiece).
    Fallback,
    /// Not at all: tokens are text.
    None,
}

impl Tokenizer {
    /// The bytes of each token within a text, by its number; none where there is no such token. Made once and kept.
    ///
    /// # Errors
    /// [`crate::Error::Part`] if the decoder cannot join the tokens.
    pub fn pieces(&self) -> Result<Arc<Vec<Vec<u8>>>> {
        if let Some(pieces) = self.kept_pieces().get() {
            return Ok(pieces.clone());
        }
        let vocab = self.vocab(true);
        let mut pieces = vec![Vec::new(); vocab.values().max().map_or(0, |&last| last as usize + 1)];
        let kind = self.bytes();
        let options = EncodeOptions { add_special_tokens: false, ..EncodeOptions::default() };
        let before = self.encode_batch(&[BEFORE.into()], &options)?;
        let before: Vec<String> = before.encoding(0)?.get_tokens().to_vec();
        // Another word where the vocabulary does not have the letters.
        let said = self.join(before.clone())?;
        for (token, id) in vocab {
            let bytes = match kind {
                Bytes::Level => token.chars().map(byte_of).collect(),
                Bytes::Fallback => fallback(&token).map(|byte| vec![byte]),
                Bytes::None => None,
            };
            pieces[id as usize] = match bytes {
                Some(bytes) => bytes,
                None => {
                    let mut tokens = before.clone();
                    tokens.push(token);
                    let text = self.join(tokens)?;
                    text.strip_prefix(&said[..]).unwrap_or(&text).into()
                }
            };
        }
        Ok(self.kept_pieces().get_or_init(|| Arc::new(pieces)).clone())
    }

    fn bytes(&self) -> Bytes {
        fn has(value: &Value, kind: &str) -> bool {
            match value {
                Value::Object(fields) => {
                    fields.get("type").is_some_and(|found| found == kind)
                        || fields.values().any(|value| has(value, kind))
                }
                Value::Array(values) => values.iter().any(|value| has(value, kind)),
                _ => false,
            }
        }
        let decoder = self.decoder().and_then(|decoder| serde_json::to_value(decoder).ok());
        match decoder {
            Some(decoder) if has(&decoder, "ByteFallback") => Bytes::Fallback,
            Some(decoder) if has(&decoder, "ByteLevel") => Bytes::Level,
            _ => Bytes::None,
        }
    }
}

/// Whether a byte stands for itself in GPT-2's alphabet.
fn is_seen(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff)
}

/// The byte that a character of GPT-2's alphabet stands for: itself if it can be seen, else one of those beyond 255, in order.
fn byte_of(character: char) -> Option<u8> {
    match u32::from(character) {
        code @ 0..=255 => Some(code as u8).filter(|&byte| is_seen(byte)),
        code => (0..=255u8).filter(|&byte| !is_seen(byte)).nth(code as usize - 256),
    }
}

/// The character of GPT-2's alphabet that stands for a byte.
pub(crate) fn character_of(byte: u8) -> char {
    if is_seen(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&byte| !is_seen(byte)).count();
    char::from_u32(256 + before as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn fallback(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    u8::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BertOptions;

    #[test]
    fn bytes_have_characters_of_their_own() {
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
        assert_eq!(byte_of('a'), Some(b'a'));
        assert_eq!(byte_of('Ã'), Some(0xc3));
        assert_eq!(byte_of('▁'), None);
        assert!((0..=255).all(|byte| byte_of(character_of(byte)) == Some(byte)));
        assert_eq!(fallback("<0x0A>"), Some(10));
        assert_eq!(fallback("<0xA>"), None);
        assert_eq!(fallback("x"), None);
    }

    #[test]
    fn a_token_says_what_it_says_within_a_text() {
        let vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "!"];
        let tokenizer = Tokenizer::from_bert_vocab(vocab, &BertOptions::default()).unwrap();
        let pieces = tokenizer.pieces().unwrap();
        assert_eq!(pieces[5], b" a");
        assert_eq!(pieces[6], b"b");
    }
}
