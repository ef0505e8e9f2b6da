//! `tokenizer.json`, read and written field by field.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PaddingParams, PostProcessorWrapper,
    PreTokenizerWrapper, TruncationParams,
};

use crate::base64::decode;
use crate::error::guard;
use crate::model::{Model, WithIds};
use crate::slow::check_charsmap;
use crate::{Error, Result, Tokenizer};

const VERSION: &str = "1.0";

/// The file as it is read. The model keeps its text: read through the crate's own wrapper, a vocabulary would be copied twice on its
/// way, which takes as long as everything else.
#[derive(Deserialize)]
struct Read<'a> {
    version: Option<String>,
    truncation: Option<TruncationParams>,
    padding: Option<PaddingParams>,
    #[serde(default)]
    added_tokens: Vec<TokenWithId>,
    #[serde(borrow)]
    normalizer: Option<&'a RawValue>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    decoder: Option<DecoderWrapper>,
    #[serde(borrow)]
    model: &'a RawValue,
}

/// The file as it is written, in the order in which others write it.
#[derive(Serialize)]
struct Write<'a> {
    version: &'static str,
    truncation: Option<&'a TruncationParams>,
    padding: Option<&'a PaddingParams>,
    added_tokens: Vec<TokenWithId>,
    normalizer: Option<&'a NormalizerWrapper>,
    pre_tokenizer: Option<&'a PreTokenizerWrapper>,
    post_processor: Option<&'a PostProcessorWrapper>,
    decoder: Option<&'a DecoderWrapper>,
    model: &'a Model,
}

#[derive(Serialize, Deserialize)]
struct TokenWithId {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

#[derive(Deserialize)]
struct ModelType<'a> {
    #[serde(borrow, rename = "type")]
    name: Option<Cow<'a, str>>,
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Its ids are followed to the letter; its truncation and padding are kept, but no call applies them.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Format`] if it holds no tokenizer.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let content = fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        read(&content, &path.display().to_string())
    }

    /// Reads the content of a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Format`] if it is no tokenizer.
    pub fn from_json(content: &[u8]) -> Result<Self> {
        read(content, "the given content")
    }

    /// The content of a `tokenizer.json` that makes this tokenizer again, with the truncation and padding of the file that it came from.
    ///
    /// # Errors
    /// [`Error::Part`] if a part cannot be written.
    pub fn to_json(&self, pretty: bool) -> Result<String> {
        // The crate writes a vocabulary by counting up to its largest id.
        if let Some(id) = self.vocab(false).into_values().max().filter(|&id| id > i32::MAX as u32) {
            return Err(Error::Part(
                format!("the vocabulary has the id {id}, which no embedding reaches").into(),
            ));
        }
        let file = Write {
            version: VERSION,
            truncation: self.truncation(),
            padding: self.padding(),
            added_tokens: self
                .added_tokens()
                .into_iter()
                .map(|(id, token)| TokenWithId { id, token })
                .collect(),
            normalizer: self.normalizer(),
            pre_tokenizer: self.pre_tokenizer(),
            post_processor: self.post_processor(),
            decoder: self.decoder(),
            model: self.model(),
        };
        let json = if pretty { serde_json::to_string_pretty(&file) } else { serde_json::to_string(&file) };
        json.map_err(|error| Error::Part(error.into()))
    }

    /// Writes a `tokenizer.json`.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>, pretty: bool) -> Result<()> {
        let path = path.as_ref();
        fs::write(path, self.to_json(pretty)?).map_err(|source| Error::Io { path: path.to_owned(), source })
    }
}

fn read(content: &[u8], origin: &str) -> Result<Tokenizer> {
    guard(|| parse(content))
        .map_err(|error| Error::Format { origin: origin.to_owned(), reason: error.to_string() })
}

fn parse(content: &[u8]) -> Result<Tokenizer> {
    let file: Read = from_json(str::from_utf8(content).map_err(|error| Error::Part(error.into()))?)?;
    if let Some(version) = file.version.filter(|version| version != VERSION) {
        return Err(Error::Part(format!("its version is {version:?}, and only {VERSION:?} is known").into()));
    }
    let normalizer = file.normalizer.map(|normalizer| self::normalizer(normalizer.get())).transpose()?;
    let mut tokenizer = Tokenizer::from_parts(
        model(file.model.get())?,
        normalizer.flatten(),
        file.pre_tokenizer,
        file.decoder,
    )
    .post_processed(file.post_processor);
    tokenizer.remember(file.truncation, file.padding);
    let (tokenizer, _) = tokenizer.with_tokens(file.added_tokens.into_iter().map(|added| added.token))?;
    Ok(tokenizer)
}

fn normalizer(json: &str) -> Result<Option<NormalizerWrapper>> {
    let rules: Value = from_json(json)?;
    check_rules(&rules).map_err(|reason| Error::Part(reason.into()))?;
    from_json(json)
}

/// Checks the compiled rules of a normalizer, at any depth.
fn check_rules(normalizer: &Value) -> Result<(), String> {
    match normalizer {
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| match value.as_str() {
            // Read as strictly as it is written: what this check does not understand, the crate must not see.
            Some(rules) if name == "precompiled_charsmap" => decode(rules.as_bytes())
                .ok_or_else(|| "its rules of normalization are no base64".to_owned())
                .and_then(|rules| check_charsmap(&rules)),
            _ => check_rules(value),
        }),
        Value::Array(parts) => parts.iter().try_for_each(check_rules),
        _ => Ok(()),
    }
}

fn model(json: &str) -> Result<Model> {
    let ModelType { name } = from_json(json)?;
    let model: ModelWrapper = match name.as_deref() {
        Some(WithIds::TYPE) => return Ok(from_json::<WithIds>(json)?.into()),
        Some("WordPiece") => from_json::<WordPiece>(json)?.into(),
        Some("BPE") => from_json::<BPE>(json)?.into(),
        Some("Unigram") => from_json::<Unigram>(json)?.into(),
        Some("WordLevel") => from_json::<WordLevel>(json)?.into(),
        Some(other) => {
            return Err(Error::Part(
                format!("its model is a {other:?}, and WordPiece, BPE, Unigram and WordLevel are known")
                    .into(),
            ));
        }
        // Files from before models had types: the crate tries one after the other.
        None => from_json(json)?,
    };
    Ok(model.into())
}

fn from_json<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| Error::Part(error.into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{BertOptions, Column, EncodeOptions};

    fn bert() -> Tokenizer {
        let vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"];
        Tokenizer::from_bert_vocab(vocab, &BertOptions::default()).unwrap()
    }

    fn edited(edit: impl FnOnce(&mut Value)) -> Result<Tokenizer> {
        let mut file: Value = serde_json::from_str(&bert().to_json(false).unwrap()).unwrap();
        edit(&mut file);
        Tokenizer::from_json(file.to_string().as_bytes())
    }

    fn reason(tokenizer: Result<Tokenizer>) -> String {
        match tokenizer {
            Err(Error::Format { reason, .. }) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        bert().save(&path, true).unwrap();
        let again = Tokenizer::from_file(&path).unwrap();
        assert_eq!(again.to_json(true).unwrap(), bert().to_json(true).unwrap());
        let theirs: tokenizers::Tokenizer = tokenizers::Tokenizer::from_file(&path).unwrap();
        assert_eq!(serde_json::to_string_pretty(&theirs).unwrap(), again.to_json(true).unwrap());
    }

    #[test]
    fn padding_and_truncation_of_the_file_are_kept_and_not_applied() {
        let tokenizer = edited(|file| {
            file["truncation"] =
                json!({"direction": "Left", "max_length": 3, "strategy": "OnlyFirst", "stride": 1});
            file["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Left", "pad_to_multiple_of": null,
                "pad_id": 4, "pad_type_id": 1, "pad_token": "[MASK]"});
        })
        .unwrap();
        let batch = tokenizer.encode_batch(&["a a a".into()], &EncodeOptions::default()).unwrap();
        assert_eq!(batch.row(Column::InputIds, 0).collect::<Vec<_>>(), [2, 5, 5, 5, 3]);
        let written: Value = serde_json::from_str(&tokenizer.to_json(false).unwrap()).unwrap();
        assert_eq!(written["truncation"]["max_length"], 3);
        assert_eq!(written["padding"]["pad_token"], "[MASK]");
    }

    #[test]
    fn models_without_a_type_are_tried() {
        let tokenizer = edited(|file| {
            file["model"].as_object_mut().unwrap().remove("type");
        });
        assert_eq!(tokenizer.unwrap().model_type(), "WordPiece");
    }

    #[test]
    fn what_is_no_tokenizer_is_named() {
        assert!(reason(Tokenizer::from_json(b"hello")).contains("expected value"));
        assert!(reason(Tokenizer::from_json(b"{}")).contains("missing field `model`"));
        assert!(reason(Tokenizer::from_json(b"[1]")).contains("invalid"));
        assert!(reason(Tokenizer::from_json(&[0xff, 0xfe])).contains("utf-8"));
        assert!(reason(edited(|file| file["version"] = json!("2.0"))).contains("2.0"));
        assert!(reason(edited(|file| file["model"]["type"] = json!("Mystery"))).contains("Mystery"));
        assert!(reason(edited(|file| file["model"]["vocab"] = json!(3))).contains("invalid type"));
        let path = std::path::Path::new("/nowhere/tokenizer.json");
        assert!(Tokenizer::from_file(path).unwrap_err().to_string().contains("/nowhere/tokenizer.json"));
    }

    #[test]
    fn rules_of_normalization_that_lie_about_their_size_are_an_error() {
        for (charsmap, reads) in [("////fwEC", "cut short"), ("////fw", "no base64")] {
            let rules = json!({"type": "Precompiled", "precompiled_charsmap": charsmap});
            let parts = json!({"type": "Sequence", "normalizers": [rules]});
            assert!(reason(edited(|file| file["normalizer"] = parts)).contains(reads));
        }
    }

    #[test]
    fn settings_that_contradict_each_other_do_not_panic() {
        let tokenizer = edited(|file| {
            file["decoder"] = json!({"type": "Strip", "content": "a", "start": 1, "stop": 1});
        })
        .unwrap();
        assert!(matches!(tokenizer.decode(&[5], false), Err(Error::Panicked(_))));
    }

    #[test]
    fn ids_that_no_embedding_reaches_are_not_written() {
        let tokenizer = edited(|file| file["model"]["vocab"]["b"] = json!(u32::MAX)).unwrap();
        assert!(tokenizer.to_json(false).unwrap_err().to_string().contains("4294967295"));
    }

    #[test]
    fn files_cut_short_are_errors() {
        let file = bert().to_json(false).unwrap();
        for end in 0..file.len() {
            assert!(Tokenizer::from_json(&file.as_bytes()[..end]).is_err());
        }
    }
}
