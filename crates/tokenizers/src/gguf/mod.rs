//! The tokenizer that a GGUF file carries: vocabulary, merges and the kinds of tokens under llama.cpp's names, the rest by convention.

mod splits;

use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tokenizers::models::bpe::{BPE, BpeBuilder};
use tokenizers::{AddedToken, ModelWrapper};
use trustformers_gguf::{self as gguf, File, Texts, Value};

use crate::error::guard;
use crate::merges::{Vocab, implied, listed};
use crate::{Error, Result, Tokenizer};

/// llama.cpp's `llama_token_type`: special tokens, and ordinary ones that are found whole wherever they stand.
const CONTROL: Value = Value::Int(3);
const USER_DEFINED: Value = Value::Int(4);

/// What a file says of its tokenizer beside the vocabulary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GgufSettings {
    /// The special tokens that have a part to play: `bos_token`, `eos_token`, `unk_token`, `pad_token`, as far as there are.
    pub special_tokens: Vec<(&'static str, String)>,
    /// Whether a text starts with `bos_token`.
    pub add_bos_token: bool,
    /// Whether a text ends with `eos_token`.
    pub add_eos_token: bool,
    /// How a conversation becomes a text.
    pub chat_template: Option<String>,
}

/// Where files have the ids of special tokens.
const SPECIAL_TOKENS: [(&str, &str); 4] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("unk_token", UNKNOWN),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
];

const KIND: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";
const SPLIT: &str = "tokenizer.ggml.pre";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";

impl Tokenizer {
    /// The tokenizer of a GGUF file, with what the file says about it: byte-level BPE (`gpt2`), split as `tokenizer.ggml.pre` says, or
    /// SentencePiece's BPE (`llama`), with Gemma's and Phi-3's ways to treat spaces. As llama.cpp reads them, and transformers'
    /// `convert_gguf_tokenizer`, which does not know as many ways to split.
    ///
    /// # Errors
    /// [`Error::Gguf`] for a file without a vocabulary or with one of another kind, and for values that cannot be.
    pub fn from_gguf(file: &File) -> Result<(Self, GgufSettings)> {
        let missing = |key: &str| file.wrong(key, "is missing: the file has no tokenizer");
        let kind = file.text(KIND)?.ok_or_else(|| missing(KIND))?;
        let tokens = file.texts(TOKENS)?.ok_or_else(|| missing(TOKENS))?;
        let vocabulary = Vocabulary { file, tokens };
        let (tokenizer, adds_bos) = match kind {
            "gpt2" => vocabulary.byte_level()?,
            "llama" => (vocabulary.sentencepiece()?, true),
            other => {
                let reason = format!("its tokenizer is {other:?}, and \"gpt2\" and \"llama\" are read");
                return Err(file.unsupported(reason).into());
            }
        };
        let mut settings = GgufSettings {
            special_tokens: Vec::new(),
            add_bos_token: file.flag("tokenizer.ggml.add_bos_token")?.unwrap_or(adds_bos),
            add_eos_token: file.flag("tokenizer.ggml.add_eos_token")?.unwrap_or(false),
            chat_template: file.text("tokenizer.chat_template")?.map(str::to_owned),
        };
        for (name, key) in SPECIAL_TOKENS {
            settings.special_tokens.extend(vocabulary.token(key)?.map(|token| (name, token.to_owned())));
        }
        Ok((vocabulary.marked(tokenizer)?, settings))
    }
}

/// A file's vocabulary.
struct Vocabulary<'a> {
    file: &'a File,
    tokens: &'a Texts,
}

impl<'a> Vocabulary<'a> {
    /// Byte-level BPE, and whether a text starts with `bos_token` where the file does not say.
    fn byte_level(&self) -> Result<(Tokenizer, bool)> {
        let name = self.file.text(SPLIT)?.unwrap_or("gpt-2");
        let split = splits::find(name).ok_or_else(|| {
            let known = splits::known();
            self.file.unsupported(format!("`{SPLIT}` says {name:?}, which is none of {known}"))
        })?;
        let (vocab, _) = self.vocab(str::to_owned);
        let merges = self.merges(&vocab)?.ok_or_else(|| self.file.wrong(MERGES, "is missing"))?;
        let model = BPE::builder().vocab_and_merges(vocab, merges).ignore_merges(split.ignores_merges);
        let decoder =
            json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
        Ok((self.tokenizer(model, None, Some(split.pre_tokenizer()), decoder)?, split.adds_bos))
    }

    /// SentencePiece's BPE: spaces are written `▁`, and what no token covers is written in bytes.
    fn sentencepiece(&self) -> Result<Tokenizer> {
        let architecture = self.file.architecture()?;
        let is_gemma = architecture.starts_with("gemma");
        let prefixed = !is_gemma && self.file.flag("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        // Gemma's tokens of several spaces are stored as spaces.
        let (vocab, spelled) = self.vocab(|token| match token.trim_matches(' ') {
            "" if is_gemma => token.replace(' ', "▁"),
            _ => token.to_owned(),
        });
        let merges = match self.merges(&vocab)? {
            Some(merges) => merges,
            // Its scores do not follow the order of its merges: that is the order of the tokens.
            None if is_gemma => implied(&vocab, &spelled, |index| -(index as f64)),
            None => {
                let scores = self.scores()?;
                implied(&vocab, &spelled, |index| scores[index])
            }
        };
        let model = BPE::builder().vocab_and_merges(vocab, merges).fuse_unk(true).byte_fallback(true);
        let model = match self.token(UNKNOWN)? {
            Some(unknown) if is_gemma => model.unk_token(unknown.to_owned()),
            _ => model,
        };
        let spaces = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
        // A file does not say which of these a model was trained with; they differ where a text starts with spaces.
        let (normalizer, pre_tokenizer) = if is_gemma {
            let split = json!({
                "type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false
            });
            (Some(spaces), Some(split))
        } else if architecture == "phi3" {
            let prefix = json!({"type": "Prepend", "prepend": "▁"});
            (Some(json!({"type": "Sequence", "normalizers": [prefix, spaces]})), None)
        } else {
            let scheme = if prefixed { "first" } else { "never" };
            let metaspace =
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
            (None, Some(metaspace))
        };
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if prefixed {
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let decoder = json!({"type": "Sequence", "decoders": decoders});
        self.tokenizer(model, normalizer, pre_tokenizer, decoder)
    }

    /// The tokens with their ids, and in their order, spelled as the model looks them up.
    fn vocab(&self, spell: impl Fn(&str) -> String) -> (Vocab, Vec<String>) {
        let spelled: Vec<String> = self.tokens.iter().map(spell).collect();
        (spelled.iter().cloned().zip(0..).collect(), spelled)
    }

    /// The merges that the file lists, if it does.
    fn merges(&self, vocab: &Vocab) -> Result<Option<Vec<(String, String)>>> {
        let Some(merges) = self.file.texts(MERGES)? else { return Ok(None) };
        listed(merges.iter(), vocab).map(Some).map_err(|reason| self.file.wrong(MERGES, reason).into())
    }

    fn scores(&self) -> Result<Vec<f64>> {
        let numbers = self.file.numbers(SCORES)?.ok_or_else(|| self.file.wrong(SCORES, "is missing"))?;
        let scores: Vec<f64> = numbers
            .iter()
            .map(|score| if let Value::Float(score) = score { score } else { f64::NAN })
            .collect();
        if scores.len() != self.tokens.len() || scores.iter().any(|score| score.is_nan()) {
            let rule = format!("must be a number for each of the {} tokens", self.tokens.len());
            return Err(self.file.wrong(SCORES, rule).into());
        }
        Ok(scores)
    }

    /// The token whose id the file has at `key`.
    fn token(&self, key: &str) -> Result<Option<&'a str>> {
        let Some(id) = self.file.size(key)? else { return Ok(None) };
        let wrong = || self.file.wrong(key, format!("is {id}, and there are {} tokens", self.tokens.len()));
        Ok(Some(self.tokens.get(id).ok_or_else(wrong)?))
    }

    /// A tokenizer of parts as a `tokenizer.json` has them.
    fn tokenizer(
        &self,
        model: BpeBuilder,
        normalizer: Option<Json>,
        pre_tokenizer: Option<Json>,
        decoder: Json,
    ) -> Result<Tokenizer> {
        let made = guard(|| {
            Ok(Tokenizer::from_parts(
                ModelWrapper::from(model.build()?).into(),
                normalizer.map(part).transpose()?,
                pre_tokenizer.map(part).transpose()?,
                Some(part(decoder)?),
            ))
        });
        let origin = self.file.path().display().to_string();
        made.map_err(|error| Error::Format { origin, reason: error.to_string() })
    }

    /// The tokenizer with the tokens that the file marks: they are found whole in a text.
    fn marked(&self, tokenizer: Tokenizer) -> Result<Tokenizer> {
        let Some(types) = self.file.numbers(TYPES)? else { return Ok(tokenizer) };
        if types.len() != self.tokens.len() {
            let rule = format!("must be a number for each of the {} tokens", self.tokens.len());
            return Err(self.file.wrong(TYPES, rule).into());
        }
        let of = |kind: Value, special: bool| {
            let tokens = self.tokens.iter().zip(types.iter()).filter(move |(_, own)| *own == kind);
            tokens.map(move |(token, _)| AddedToken::from(token, special).normalized(false))
        };
        let known = |token: &AddedToken| tokenizer.token_to_id(&token.content).is_some();
        let marked: Vec<_> = of(CONTROL, true).chain(of(USER_DEFINED, false)).filter(known).collect();
        Ok(tokenizer.with_tokens(marked)?.0)
    }
}

fn part<T: DeserializeOwned>(json: Json) -> Result<T> {
    serde_json::from_value(json).map_err(|error| Error::Part(error.into()))
}

impl From<gguf::Error> for Error {
    fn from(error: gguf::Error) -> Error {
        Error::Gguf(Box::new(error))
    }
}
