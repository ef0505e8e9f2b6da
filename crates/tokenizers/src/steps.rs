//! What the first steps from a text to its tokens make of it, for whoever wants to see them.

use tokenizers::{
    NormalizedString, Normalizer as _, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _,
};

use crate::error::guard;
use crate::{Result, Tokenizer};

impl Tokenizer {
    /// Whether a text is normalized.
    pub fn has_normalizer(&self) -> bool {
        self.normalizer().is_some()
    }

    /// Whether a text is split before the model sees it.
    pub fn has_pre_tokenizer(&self) -> bool {
        self.pre_tokenizer().is_some()
    }

    /// What the normalizer makes of a text, which is the text itself if there is none.
    ///
    /// # Errors
    /// [`Error::Part`](crate::Error::Part) if it cannot read the text.
    pub fn normalize(&self, text: &str) -> Result<String> {
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = self.normalizer() {
            guard(|| Ok(normalizer.normalize(&mut normalized)?))?;
        }
        Ok(normalized.get().to_owned())
    }

    /// The pieces that the pre-tokenizer makes of a text, which the model splits one by one, each with the characters that it comes
    /// from: the first, and the one after the last. Nothing is normalized before. Without a pre-tokenizer the text is one piece.
    ///
    /// # Errors
    /// [`Error::Part`](crate::Error::Part) if it cannot read the text.
    pub fn pre_tokenize(&self, text: &str) -> Result<Vec<(String, (usize, usize))>> {
        let mut pieces = PreTokenizedString::from(text);
        if let Some(pre_tokenizer) = self.pre_tokenizer() {
            guard(|| Ok(pre_tokenizer.pre_tokenize(&mut pieces)?))?;
        }
        let pieces = pieces.get_splits(OffsetReferential::Original, OffsetType::Char);
        Ok(pieces.into_iter().map(|(piece, characters, _)| (piece.to_owned(), characters)).collect())
    }
}

#[cfg(test)]
mod tests {
    use crate::{BertOptions, Tokenizer};

    #[test]
    fn a_text_is_normalized_and_split() {
        let bert = Tokenizer::from_bert_vocab(["[UNK]", "a"], &BertOptions::default()).unwrap();
        assert_eq!(bert.normalize("Héllò ü").unwrap(), "hello u");
        let pieces = bert.pre_tokenize("Né, a").unwrap();
        assert_eq!(pieces, [("Né".into(), (0, 2)), (",".into(), (2, 3)), ("a".into(), (4, 5))]);
        assert!(bert.has_normalizer() && bert.has_pre_tokenizer());
        let bare =
            r#"{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}}"#;
        let bare = Tokenizer::from_json(bare.as_bytes()).unwrap();
        assert_eq!(bare.normalize("É b").unwrap(), "É b");
        assert_eq!(bare.pre_tokenize("é b").unwrap(), [("é b".into(), (0, 3))]);
        assert!(!bare.has_normalizer() && !bare.has_pre_tokenizer());
    }
}
