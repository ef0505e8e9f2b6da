//! What splits words into tokens: one of the crate's models, or one whose ids are looked up elsewhere.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use ahash::AHashMap;
use serde::{Deserialize, Serialize, Serializer};
use tokenizers::models::TrainerWrapper;
use tokenizers::{ModelWrapper, Token};

use crate::merges::Vocab;

/// Where a SentencePiece model writes spaces.
const SPACE: char = '▁';

/// A model of the crate. Some checkpoints (MarianMT, M2M100) split with one and take the ids from a vocabulary of their own.
#[derive(Debug)]
pub(crate) struct Model {
    splits: ModelWrapper,
    ids: Option<Ids>,
}

/// Ids by token.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ids {
    vocab: Vocab,
    unknown: u32,
    /// Whether a text may begin with the code of a language, such as `>>fr<<` (MarianMT).
    codes: bool,
    #[serde(skip)]
    tokens: AHashMap<u32, String>,
}

impl Ids {
    pub fn new(vocab: Vocab, unknown: u32, codes: bool) -> Self {
        Self { vocab, unknown, codes, tokens: AHashMap::new() }
    }

    /// With the tokens by their ids, which are not written.
    fn indexed(mut self) -> Self {
        self.tokens = self.vocab.iter().map(|(token, &id)| (id, token.clone())).collect();
        self
    }

    fn id(&self, token: &str) -> u32 {
        self.vocab.get(token).copied().unwrap_or(self.unknown)
    }
}

/// How a model with other ids is written: by us alone, for no `tokenizer.json` can say it.
#[derive(Deserialize)]
pub(crate) struct WithIds {
    splits: ModelWrapper,
    ids: Ids,
}

#[derive(Serialize)]
struct WrittenWithIds<'a> {
    r#type: &'static str,
    splits: &'a ModelWrapper,
    ids: &'a Ids,
}

impl WithIds {
    /// What it says for a type.
    pub const TYPE: &str = "WithIds";
}

impl Serialize for Model {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.ids {
            None => self.splits.serialize(serializer),
            Some(ids) => {
                WrittenWithIds { r#type: WithIds::TYPE, splits: &self.splits, ids }.serialize(serializer)
            }
        }
    }
}

impl From<WithIds> for Model {
    fn from(WithIds { splits, ids }: WithIds) -> Self {
        Self::with_ids(splits, ids)
    }
}

impl From<ModelWrapper> for Model {
    fn from(splits: ModelWrapper) -> Self {
        Self { splits, ids: None }
    }
}

impl Model {
    pub fn with_ids(splits: ModelWrapper, ids: Ids) -> Self {
        Self { splits, ids: Some(ids.indexed()) }
    }

    /// The crate's model.
    pub fn inner(&self) -> &ModelWrapper {
        &self.splits
    }

    /// Where the ids are looked up, if not in the model itself.
    pub fn ids(&self) -> Option<&Ids> {
        self.ids.as_ref()
    }

    /// Whether texts may begin with codes of languages.
    pub fn knows_codes(&self) -> bool {
        self.ids.as_ref().is_some_and(|ids| ids.codes)
    }

    /// The code of a language that a text begins with, as a token, where there are such.
    pub fn leading_code<'t>(&self, text: &'t str) -> Option<(u32, &'t str)> {
        let ids = self.ids.as_ref().filter(|ids| ids.codes && text.starts_with(">>"))?;
        let code = &text[..text.find("<<")? + 2];
        Some((ids.id(code), code))
    }

    /// What stands behind a special token where tokens are joined.
    pub fn behind_special_tokens(&self) -> &'static str {
        if self.knows_codes() { " " } else { "" }
    }
}

impl tokenizers::Model for Model {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, sequence: &str) -> tokenizers::Result<Vec<Token>> {
        let mut tokens = self.splits.tokenize(sequence)?;
        if let Some(ids) = &self.ids {
            for token in &mut tokens {
                // What the model does not know may be in the vocabulary all the same, which two models share.
                if let Some(surface) = sequence.get(token.offsets.0..token.offsets.1) {
                    surface.clone_into(&mut token.value);
                }
                token.id = ids.id(&token.value);
            }
        }
        Ok(tokens)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match &self.ids {
            Some(ids) => ids.vocab.get(token).copied(),
            None => self.splits.token_to_id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match &self.ids {
            Some(ids) => ids.tokens.get(&id).cloned(),
            None => self.splits.id_to_token(id),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        match &self.ids {
            Some(ids) => ids.vocab.iter().map(|(token, &id)| (token.clone(), id)).collect(),
            None => self.splits.get_vocab(),
        }
    }

    fn get_vocab_size(&self) -> usize {
        self.ids.as_ref().map_or_else(|| self.splits.get_vocab_size(), |ids| ids.vocab.len())
    }

    fn save(&self, folder: &Path, prefix: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        self.splits.save(folder, prefix)
    }

    fn get_trainer(&self) -> TrainerWrapper {
        self.splits.get_trainer()
    }
}

/// The text of pieces: spaces where they are marked, but none in front.
pub(crate) fn join_pieces(pieces: &[String]) -> String {
    let text: String = pieces.concat();
    text.strip_prefix(SPACE).unwrap_or(&text).replace(SPACE, " ")
}
