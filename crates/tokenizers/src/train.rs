//! A tokenizer like another one, with a vocabulary from other texts: transformers' `train_new_from_iterator`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use tokenizers::models::TrainerWrapper;
use tokenizers::{
    AddedToken, AddedVocabulary, Model as _, ModelWrapper, OffsetReferential, OffsetType,
    PostProcessorWrapper, PreTokenizer, Trainer,
};

use crate::error::guard;
use crate::pieces::character_of;
use crate::{Error, Result, Tokenizer};

/// What is asked of a new vocabulary.
#[derive(Debug, Clone, Default)]
pub struct Training {
    /// How many tokens it has, special ones and single characters among them.
    pub vocab_size: usize,
    /// Special tokens beside those that the tokenizer has.
    pub new_special_tokens: Vec<AddedToken>,
    /// Special tokens that get other names.
    pub renamed: HashMap<String, String>,
    /// Settings of the crate's trainers by their names (`min_frequency`, `limit_alphabet`, `max_token_length`, ...).
    pub settings: Map<String, Value>,
}

impl Tokenizer {
    /// A tokenizer of the same parts whose vocabulary is learned from texts.
    ///
    /// # Errors
    /// [`Error::Part`] for settings that the model's trainer does not have, and for texts that no vocabulary can be made of.
    pub fn train_new<S: AsRef<str> + Send>(
        &self,
        texts: impl Iterator<Item = S> + Send,
        training: &Training,
    ) -> Result<Self> {
        guard(|| self.train(texts, training))
    }

    fn train<S: AsRef<str> + Send>(
        &self,
        texts: impl Iterator<Item = S> + Send,
        training: &Training,
    ) -> Result<Self> {
        if self.model().ids().is_some() {
            return Err(Error::Part(
                "a tokenizer with a vocabulary beside its model cannot be trained".into(),
            ));
        }
        let (mut model, unknown) = self.emptied_model(training)?;
        let mut trainer = self.trainer(&model, unknown, training)?;
        trainer.feed(texts, |text| self.words(text))?;
        let special = trainer.train(&mut model)?;
        let mut new = Self::from_parts(
            model.into(),
            self.normalizer().cloned(),
            self.pre_tokenizer().cloned(),
            self.decoder().cloned(),
        );
        new.remember(self.truncation().cloned(), self.padding().cloned());
        let (new, _) = new.with_tokens(special)?;
        let processor = self.post_processor().map(|processor| new.moved(processor, training)).transpose()?;
        Ok(new.post_processed(processor))
    }

    /// The model without its vocabulary, and its unknown token if that stands in the vocabulary itself.
    fn emptied_model(&self, training: &Training) -> Result<(ModelWrapper, Option<String>)> {
        let mut model = json_of(self.model().inner())?;
        let mut unknown = None;
        if let Some(token) = model["unk_token"].as_str() {
            model["unk_token"] = training.name(token).into();
        }
        match self.model_type() {
            "BPE" => (model["vocab"], model["merges"]) = (json!({}), json!([])),
            "Unigram" => {
                if let Some(id) = model["unk_id"].as_u64() {
                    let token = model["vocab"][id as usize][0].as_str().unwrap_or_default();
                    let token = training.name(token).to_owned();
                    (model["unk_id"], model["vocab"]) = (json!(0), json!([[token, 0.0]]));
                    unknown = Some(token);
                }
            }
            _ => model["vocab"] = json!({}),
        }
        Ok((serde_json::from_value(model).map_err(|error| Error::Part(error.into()))?, unknown))
    }

    fn trainer(
        &self,
        model: &ModelWrapper,
        unknown: Option<String>,
        training: &Training,
    ) -> Result<TrainerWrapper> {
        let kind = self.model_type();
        let kept = self.added_tokens().into_iter().map(|(_, token)| token);
        let kept = kept.filter(|token| token.special || kind == "Unigram");
        let renamed =
            kept.map(|token| AddedToken { content: training.name(&token.content).to_owned(), ..token });
        let special =
            renamed.chain(training.new_special_tokens.iter().cloned()).map(|token| token.special(true));

        let mut settings = training.settings.clone();
        settings.insert("vocab_size".to_owned(), training.vocab_size.into());
        settings.insert("special_tokens".to_owned(), json_of(&special.collect::<Vec<_>>())?);
        if let Some(unknown) = unknown {
            settings.insert("unk_token".to_owned(), unknown.into());
        }
        let model_json = json_of(model)?;
        for affix in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if kind == "BPE" && !model_json[affix].is_null() {
                settings.entry(affix).or_insert_with(|| model_json[affix].clone());
            }
        }
        let splitter = json_of(&self.pre_tokenizer())?;
        let is_byte_level = |part: &Value| part["type"] == "ByteLevel";
        if is_byte_level(&splitter)
            || splitter["pretokenizers"].as_array().is_some_and(|parts| parts.iter().any(is_byte_level))
        {
            let alphabet: Vec<char> = (0..=255).map(character_of).collect();
            settings.insert("initial_alphabet".to_owned(), json_of(&alphabet)?);
        }

        // The crate writes a trainer with all its settings, those of WordPiece inside of those of BPE.
        let mut trainer = json_of(&model.get_trainer())?;
        let mut fields = trainer.as_object_mut().and_then(|kinds| kinds.values_mut().next());
        if kind == "WordPiece" {
            fields = fields.and_then(|outer| outer.get_mut("bpe_trainer"));
        }
        let fields = fields.and_then(Value::as_object_mut);
        let fields = fields.ok_or_else(|| Error::Part(format!("a {kind} cannot be trained").into()))?;
        for (name, value) in settings {
            match fields.get_mut(&name).filter(|_| name != "words") {
                Some(field) => *field = value,
                None => {
                    return Err(Error::Part(
                        format!("the trainer of a {kind} has no setting {name:?}").into(),
                    ));
                }
            }
        }
        serde_json::from_value(trainer).map_err(|error| Error::Part(error.into()))
    }

    /// What a text is split into before the model sees it.
    fn words(&self, text: &str) -> tokenizers::Result<Vec<String>> {
        let mut text = AddedVocabulary::new().extract_and_normalize(self.normalizer(), text);
        if let Some(pre_tokenizer) = self.pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut text)?;
        }
        let splits = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
        Ok(splits.into_iter().map(|(split, ..)| split.to_owned()).collect())
    }

    /// A post-processor with the ids that its tokens have here.
    fn moved(&self, processor: &PostProcessorWrapper, training: &Training) -> Result<PostProcessorWrapper> {
        let mut processor = json_of(processor)?;
        let missing = || {
            Error::Part(
                "Attempted to set a token in the post processor that does not exist in the mapping".into(),
            )
        };
        let id = |token: &str| self.token_to_id(token).ok_or_else(missing);
        for placed in processor["special_tokens"].as_object_mut().into_iter().flat_map(|all| all.values_mut())
        {
            let tokens = placed["tokens"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let tokens: Vec<_> = tokens.map(|token| training.name(token).to_owned()).collect();
            placed["ids"] = tokens.iter().map(|token| id(token)).collect::<Result<Vec<_>>>()?.into();
            placed["tokens"] = tokens.into();
        }
        for name in ["cls", "sep"] {
            if let Some(token) = processor[name][0].as_str() {
                let token = training.name(token).to_owned();
                let id = id(&token)?;
                processor[name] = json!([token, id]);
            }
        }
        serde_json::from_value(processor).map_err(|error| Error::Part(error.into()))
    }
}

impl Training {
    /// What a special token is called from now on.
    fn name<'a>(&'a self, token: &'a str) -> &'a str {
        self.renamed.get(token).map_or(token, String::as_str)
    }
}

fn json_of<T: serde::Serialize>(value: &T) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::Part(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BertOptions, Column};

    fn trained(training: Training) -> Result<Tokenizer> {
        let bert = Tokenizer::from_bert_vocab(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "x"],
            &BertOptions::default(),
        );
        bert?.train_new(["Low lower lowest", "low low"].into_iter(), &training)
    }

    #[test]
    fn a_new_vocabulary_keeps_the_special_tokens() {
        let renamed = HashMap::from([("[MASK]".to_owned(), "<mask>".to_owned())]);
        let new_special_tokens = vec![AddedToken::from("<new>", false)];
        let training = Training { vocab_size: 25, new_special_tokens, renamed, ..Default::default() };
        let tokenizer = trained(training).unwrap();
        assert_eq!(tokenizer.token_to_id("x"), None);
        let special: Vec<_> = tokenizer.added_tokens().into_iter().map(|(_, token)| token.content).collect();
        assert!(special.contains(&"<mask>".to_owned()) && special.contains(&"<new>".to_owned()));
        let low = tokenizer.token_to_id("low").unwrap();
        let batch = tokenizer.encode_batch(&["low".into()], &Default::default()).unwrap();
        let placed = ["[CLS]", "[SEP]"].map(|token| tokenizer.token_to_id(token).unwrap());
        assert_eq!(batch.row(Column::InputIds, 0).collect::<Vec<_>>(), [placed[0], low, placed[1]]);
    }

    #[test]
    fn settings_that_are_not_there_are_named() {
        let settings = json!({"minimal_frequency": 2}).as_object().unwrap().clone();
        let training = Training { vocab_size: 30, settings, ..Default::default() };
        assert!(trained(training).unwrap_err().to_string().contains("minimal_frequency"));
    }
}
