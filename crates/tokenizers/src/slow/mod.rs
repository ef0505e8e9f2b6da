//! Tokenizers of checkpoints without a `tokenizer.json`: what their older files say, made into the same parts. Source: transformers'
//! `convert_slow_tokenizer` (4.57), which wrote most of the `tokenizer.json` there are.
//!
//! What a tokenizer is made of is a row of a table, [`Kind`]; the files are read by `plain`, `sentencepiece` and `tiktoken`, and
//! `assemble` puts the parts together.

mod assemble;
mod kind;
mod kinds;
mod plain;
mod sentencepiece;
mod tiktoken;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use self::kind::Reads;
pub use self::kind::{Kind, Languages, Settings};
pub use self::kinds::{find as find_kind, kinds};
use self::sentencepiece::SentencePiece;
pub(crate) use self::sentencepiece::check_charsmap;
use crate::merges::Vocab;
use crate::{Error, Result};

/// A vocabulary with its merges, those that come first first.
#[derive(Debug, Clone, Default)]
pub struct Bpe {
    /// The ids of tokens.
    pub vocab: Vocab,
    /// Which tokens become one.
    pub merges: Vec<(String, String)>,
}

/// What a tokenizer is made from.
#[derive(Debug)]
pub enum Vocabulary {
    /// Tokens with their ids, for WordPiece.
    Ids(Vocab),
    /// Tokens with their ids, and merges.
    Bpe(Bpe),
    /// Pieces in the order of their ids, with scores.
    Pieces(Vec<(String, f64)>),
    /// What one of the files below says.
    File(Content),
}

/// The content of a file that only [`Vocabulary::read`] makes.
#[derive(Debug)]
pub struct Content(Read);

#[derive(Debug)]
enum Read {
    Tiktoken(Bpe),
    SentencePiece(SentencePiece),
    /// A SentencePiece model that splits, and who has the ids.
    WithIds(SentencePiece, Vocab),
}

impl Vocabulary {
    /// Reads the files of a kind, by their keywords. Of MarianMT's two models the source's splits.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read, [`Error::Format`] for one that is damaged.
    pub fn read(kind: &Kind, files: &HashMap<String, PathBuf>) -> Result<Self> {
        let path = |keywords: &[&str]| {
            let found = keywords.iter().find_map(|keyword| files.get(*keyword));
            found.ok_or_else(|| Error::Format {
                origin: "what was given".to_owned(),
                reason: format!("{} is made from {}", kind.class, keywords.join(" or ")),
            })
        };
        Ok(match kind.reads {
            Reads::WordPiece => Self::Ids(read(path(&["vocab_file"])?, plain::lines)?),
            Reads::Bpe(_) => Self::Bpe(Bpe {
                vocab: read(path(&["vocab_file"])?, plain::ids)?,
                merges: read(path(&["merges_file"])?, plain::merges)?,
            }),
            Reads::SentencePieceAndIds => {
                let model = read(path(&["spm_file", "source_spm"])?, SentencePiece::parse)?;
                Self::File(Content(Read::WithIds(model, read(path(&["vocab_file", "vocab"])?, plain::ids)?)))
            }
            Reads::SentencePiece { .. } => Self::File(Content(read(path(&["vocab_file"])?, model)?)),
            Reads::TokenizerFile => {
                let origin = path(&["vocab_file", "tokenizer_file"])?.display().to_string();
                let reason = format!("{} is made from a tokenizer.json alone", kind.class);
                return Err(Error::Format { origin, reason });
            }
        })
    }

    /// Reads the bytes of a `.model` file: SentencePiece's, or tiktoken's under the same name.
    ///
    /// # Errors
    /// [`Error::Format`] for what is neither.
    pub fn from_model(bytes: &[u8]) -> Result<Self> {
        let wrong = |reason| Error::Format { origin: "the given content".to_owned(), reason };
        model(bytes).map(|read| Self::File(Content(read))).map_err(wrong)
    }
}

/// Llama 3's `tokenizer.model` is tiktoken's, those of others SentencePiece's.
fn model(bytes: &[u8]) -> Result<Read, String> {
    let reason = match SentencePiece::parse(bytes) {
        Ok(model) => return Ok(Read::SentencePiece(model)),
        Err(reason) => reason,
    };
    let tiktoken = tiktoken::parse(bytes).map(Read::Tiktoken);
    tiktoken.map_err(|other| {
        format!("it is neither a SentencePiece model ({reason}) nor a tiktoken file ({other})")
    })
}

fn read<T>(path: &Path, parse: impl Fn(&[u8]) -> Result<T, String>) -> Result<T> {
    let bytes = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    parse(&bytes).map_err(|reason| Error::Format { origin: path.display().to_string(), reason })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tokenizers::AddedToken;

    use super::*;
    use crate::{Column, EncodeOptions, Tokenizer};

    #[test]
    fn every_row_can_be_read() {
        let mut classes: Vec<&str> = Vec::new();
        for kind in kinds() {
            let keywords: Settings = serde_json::from_str(kind.keywords).unwrap();
            assert!(
                keywords.values().all(|value| !value.is_object() || value["content"].is_string()),
                "{}",
                kind.class
            );
            assert!(kind.files.contains(&("tokenizer_file", "tokenizer.json")));
            classes.push(kind.class);
            classes.extend(kind.same);
        }
        let count = classes.len();
        classes.sort_unstable();
        classes.dedup();
        assert_eq!(classes.len(), count);
        assert!(find_kind("BartTokenizerFast").is_some_and(|kind| kind.class == "RobertaTokenizer"));
        assert!(find_kind("NoTokenizer").is_none());
    }

    #[test]
    fn a_model_is_sentencepieces_or_tiktokens() {
        let kind = find_kind("LlamaTokenizer").unwrap();
        let ranks: Vec<String> = (0..=255_u8).map(|byte| format!("{} {byte}", base64(byte))).collect();
        let vocabulary = Vocabulary::from_model(ranks.join("\n").as_bytes()).unwrap();
        let tokenizer = Tokenizer::from_vocabulary(kind, vocabulary, &Settings::new()).unwrap();
        let batch = tokenizer.encode_batch(&["a é".into()], &EncodeOptions::default()).unwrap();
        assert_eq!(batch.row(Column::InputIds, 0).collect::<Vec<_>>(), [0x61, 0x20, 0xc3, 0xa9]);
        let reason = Vocabulary::from_model(b"neither").unwrap_err().to_string();
        assert!(reason.contains("SentencePiece") && reason.contains("tiktoken"));
    }

    fn base64(byte: u8) -> String {
        let digit = |bits: u8| {
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[bits as usize] as char
        };
        format!("{}{}==", digit(byte >> 2), digit((byte & 3) << 4))
    }

    #[test]
    fn ids_may_be_looked_up() {
        let kind = find_kind("MarianTokenizer").unwrap();
        let piece = |text: &str, score: f32, kind: u8| {
            let text = [&[10, text.len() as u8], text.as_bytes()].concat();
            let content = [text, [&[0x15][..], &score.to_le_bytes(), &[0x18, kind]].concat()].concat();
            [&[10, content.len() as u8][..], &content].concat()
        };
        let model =
            [piece("<unk>", 0.0, 2), piece("▁a", -1.0, 1), piece("b", -2.0, 1), piece("▁", -3.0, 1)].concat();
        let ids =
            serde_json::from_str(r#"{"</s>": 0, "<unk>": 1, "▁a": 7, "é": 9, ">>fr<<": 4, "<pad>": 10}"#)
                .unwrap();
        let model = SentencePiece::parse(&model).unwrap();
        let vocabulary = Vocabulary::File(Content(Read::WithIds(model, ids)));
        let settings = Settings::from_iter([("eos_token".to_owned(), Value::from("</s>"))]);
        let tokenizer = Tokenizer::from_vocabulary(kind, vocabulary, &settings).unwrap();
        let tokenizer = tokenizer.with_tokens([AddedToken::from("</s>", true)]).unwrap().0;
        let tokenizer = tokenizer.with_special_tokens_of(kind, &settings).unwrap();
        let again = Tokenizer::from_json(tokenizer.to_json(false).unwrap().as_bytes()).unwrap();
        for tokenizer in [tokenizer, again] {
            let encoding = |text: &str| {
                let batch = tokenizer.encode_batch(&[text.into()], &EncodeOptions::default()).unwrap();
                batch.encoding(0).unwrap()
            };
            assert_eq!(encoding(">>fr<< a  abé").get_ids(), [4, 7, 7, 1, 9, 0]);
            assert_eq!(encoding(">>xx<<a").get_ids(), [1, 7, 0]);
            assert_eq!(encoding("a >>fr<<").get_offsets()[0], (0, 1));
            assert_eq!(encoding(">>fr<<a").get_offsets(), [(0, 6), (6, 7), (0, 0)]);
            // A code may follow a special token, and none goes across one.
            assert_eq!(encoding("a</s>>>fr<<a").get_ids(), [7, 0, 4, 7, 0]);
            assert_eq!(encoding("a</s>>>fr<<a").get_offsets(), [(0, 1), (1, 5), (5, 11), (11, 12), (0, 0)]);
            assert_eq!(encoding(">>a</s>b<<").get_ids()[..2], encoding(">>a").get_ids()[..2]);
            assert_eq!(tokenizer.decode(&[7, 7, 0, 7], false).unwrap(), "a a</s> a");
            assert_eq!(tokenizer.decode(&[7, 7, 0], true).unwrap(), "a a");
            assert_eq!((tokenizer.vocab_size(true), tokenizer.id_to_token(9).as_deref()), (6, Some("é")));
        }
    }
}
