//! BERT's tokenizer from a bare vocabulary (`vocab.txt`), for checkpoints that have no `tokenizer.json`.

use tokenizers::AddedToken;

use crate::{Error, Result, Settings, Tokenizer, Vocabulary, find_kind};

/// How BERT's tokenizer reads text, and which tokens are special.
#[derive(Debug, Clone)]
pub struct BertOptions {
    /// Whether text is lowercased.
    pub do_lower_case: bool,
    /// Whether accents are dropped; if nothing is said, they are dropped where text is lowercased.
    pub strip_accents: Option<bool>,
    /// Whether every CJK ideograph is a word of its own.
    pub tokenize_chinese_chars: bool,
    /// Stands for what the vocabulary does not have.
    pub unk_token: String,
    /// Starts a sequence.
    pub cls_token: String,
    /// Ends each of the sequences.
    pub sep_token: String,
    /// Fills up shorter rows.
    pub pad_token: String,
    /// Hides a token that is to be predicted.
    pub mask_token: String,
}

impl Default for BertOptions {
    fn default() -> Self {
        Self {
            do_lower_case: true,
            strip_accents: None,
            tokenize_chinese_chars: true,
            unk_token: "[UNK]".to_owned(),
            cls_token: "[CLS]".to_owned(),
            sep_token: "[SEP]".to_owned(),
            pad_token: "[PAD]".to_owned(),
            mask_token: "[MASK]".to_owned(),
        }
    }
}

impl Tokenizer {
    /// BERT's tokenizer over tokens in the order of their ids. If a token comes twice, the last one counts. Special tokens that the
    /// vocabulary lacks get the next ids.
    ///
    /// # Errors
    /// [`Error::Template`] if a special token cannot stand in a template, as one with a space cannot.
    pub fn from_bert_vocab<T: Into<String>>(
        tokens: impl IntoIterator<Item = T>,
        options: &BertOptions,
    ) -> Result<Self> {
        let kind =
            find_kind("BertTokenizer").ok_or_else(|| Error::Part("BERT is not in the table".into()))?;
        let special = [
            ("unk_token", &options.unk_token),
            ("sep_token", &options.sep_token),
            ("pad_token", &options.pad_token),
            ("cls_token", &options.cls_token),
            ("mask_token", &options.mask_token),
        ];
        let mut settings: Settings =
            special.iter().map(|(name, token)| ((*name).to_owned(), token.as_str().into())).collect();
        settings.insert("do_lower_case".to_owned(), options.do_lower_case.into());
        settings.insert("strip_accents".to_owned(), options.strip_accents.into());
        settings.insert("tokenize_chinese_chars".to_owned(), options.tokenize_chinese_chars.into());
        let vocab = tokens.into_iter().map(Into::into).zip(0..).collect();
        let tokenizer = Self::from_vocabulary(kind, Vocabulary::Ids(vocab), &settings)?;
        let tokens = special.map(|(_, token)| AddedToken::from(token.as_str(), true));
        tokenizer.with_tokens(tokens)?.0.with_special_tokens_of(kind, &settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCAB: [&str; 8] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ä", "a", "##b"];

    fn tokens(options: &BertOptions, text: &str) -> Vec<String> {
        let tokenizer = Tokenizer::from_bert_vocab(VOCAB, options).unwrap();
        let batch = tokenizer.encode_batch(&[text.into()], &Default::default()).unwrap();
        batch.encoding(0).unwrap().get_tokens().to_vec()
    }

    #[test]
    fn case_and_accents_are_options() {
        let lower = BertOptions::default();
        assert_eq!(tokens(&lower, "Ä Ab"), ["[CLS]", "a", "a", "##b", "[SEP]"]);
        let accents = BertOptions { strip_accents: Some(false), ..lower.clone() };
        assert_eq!(tokens(&accents, "Ä"), ["[CLS]", "ä", "[SEP]"]);
        let cased = BertOptions { do_lower_case: false, ..lower };
        assert_eq!(tokens(&cased, "Ä a"), ["[CLS]", "[UNK]", "a", "[SEP]"]);
    }

    #[test]
    fn special_tokens_that_are_missing_come_last() {
        let tokenizer = Tokenizer::from_bert_vocab(["a", "[UNK]"], &BertOptions::default()).unwrap();
        let ids = ["[SEP]", "[PAD]", "[CLS]", "[MASK]"].map(|token| tokenizer.token_to_id(token));
        assert_eq!(ids, [Some(2), Some(3), Some(4), Some(5)]);
        assert_eq!((tokenizer.vocab_size(false), tokenizer.vocab_size(true)), (2, 6));
    }
}
