//! The tokenizer: its parts, its vocabulary, and ids back to text.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use tokenizers::normalizers::BertNormalizer;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::utils::parallelism::set_parallelism;
use tokenizers::{
    AddedToken, AddedVocabulary, Decoder, DecoderWrapper, Model as _, ModelWrapper, NormalizerWrapper,
    PaddingParams, PostProcessor, PostProcessorWrapper, PreTokenizerWrapper, TruncationParams,
};

use crate::error::guard;
use crate::model::{Model, join_pieces};
use crate::{Error, Result, threads};

/// A tokenizer that nothing can change: share it between threads, in an [`Arc`] or by reference. Adding tokens makes a new one, which
/// shares the model with the old one.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    parts: Arc<Parts>,
    normalizer: Option<Arc<NormalizerWrapper>>,
    post_processor: Option<PostProcessorWrapper>,
    added: AddedVocabulary,
    /// The added vocabulary with special tokens read as ordinary text, made when the first call asks for that.
    added_as_text: OnceLock<AddedVocabulary>,
    /// See [`Tokenizer::pieces`].
    pieces: OnceLock<Arc<Vec<Vec<u8>>>>,
    truncation: Option<TruncationParams>,
    padding: Option<PaddingParams>,
}

#[derive(Debug)]
struct Parts {
    pre_tokenizer: Option<PreTokenizerWrapper>,
    model: Model,
    decoder: Option<DecoderWrapper>,
}

impl Tokenizer {
    pub(crate) fn from_parts(
        model: Model,
        normalizer: Option<NormalizerWrapper>,
        pre_tokenizer: Option<PreTokenizerWrapper>,
        decoder: Option<DecoderWrapper>,
    ) -> Self {
        // Left to itself the crate starts rayon's global pool, which hangs a forked child; our batches have a pool of their own.
        set_parallelism(false);
        Self {
            parts: Arc::new(Parts { pre_tokenizer, model, decoder }),
            normalizer: normalizer.map(Arc::new),
            post_processor: None,
            added: AddedVocabulary::new(),
            added_as_text: OnceLock::new(),
            pieces: OnceLock::new(),
            truncation: None,
            padding: None,
        }
    }

    pub(crate) fn post_processed(mut self, post_processor: Option<PostProcessorWrapper>) -> Self {
        self.post_processor = post_processor;
        self
    }

    pub(crate) fn remember(&mut self, truncation: Option<TruncationParams>, padding: Option<PaddingParams>) {
        self.truncation = truncation;
        self.padding = padding;
    }

    /// This tokenizer with more tokens, and how many of them were new or differ from what they were. Tokens that are already in the
    /// vocabulary keep their ids, the others get the next ones.
    ///
    /// # Errors
    /// [`Error::Tokens`] if they cannot be searched for, as two that normalize to the same text cannot.
    pub fn with_tokens(&self, tokens: impl IntoIterator<Item = AddedToken>) -> Result<(Self, usize)> {
        let mut added = self.added.clone();
        let count = guard(|| Ok(added.add_tokens(tokens, self.model(), self.normalizer())?))
            .map_err(|error| Error::Tokens(error.to_string()))?;
        let tokenizer = Self {
            parts: Arc::clone(&self.parts),
            normalizer: self.normalizer.clone(),
            post_processor: self.post_processor.clone(),
            added,
            added_as_text: OnceLock::new(),
            pieces: OnceLock::new(),
            truncation: self.truncation.clone(),
            padding: self.padding.clone(),
        };
        Ok((tokenizer, count))
    }

    /// This tokenizer with special tokens placed by templates such as `[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1`, in which a piece is a token
    /// or a sequence (`$A`, `$B`) and the number is its type id.
    ///
    /// # Errors
    /// [`Error::Template`] if a template cannot be read or names a token that is not in `special`.
    pub fn with_template(&self, single: &str, pair: &str, special: &[(String, u32)]) -> Result<Self> {
        let special: Vec<_> = special.iter().map(|(token, id)| (token.as_str(), *id)).collect();
        let template = TemplateProcessing::builder()
            .try_single(single)
            .and_then(|builder| builder.try_pair(pair))
            .map_err(|error| Error::Template(error.to_string()))?
            .special_tokens(special)
            .build()
            .map_err(|error| Error::Template(error.to_string()))?;
        Ok(self.clone().post_processed(Some(template.into())))
    }

    /// How text is read, if it is read as BERT reads it.
    pub fn bert_normalizer(&self) -> Option<&BertNormalizer> {
        match self.normalizer() {
            Some(NormalizerWrapper::BertNormalizer(normalizer)) => Some(normalizer),
            _ => None,
        }
    }

    /// This tokenizer with text read as BERT reads it. Added tokens are looked for in what the new normalizer makes of a text.
    ///
    /// # Errors
    /// [`Error::Tokens`] if the added tokens cannot be told apart any more.
    pub fn with_bert_normalizer(&self, normalizer: BertNormalizer) -> Result<Self> {
        let tokens = self.added_tokens().into_iter().map(|(_, token)| token);
        let tokenizer = Self {
            normalizer: Some(Arc::new(normalizer.into())),
            added: AddedVocabulary::new(),
            ..self.clone()
        };
        Ok(tokenizer.with_tokens(tokens)?.0)
    }

    /// The truncation that the file asked for. No call applies it.
    pub fn truncation(&self) -> Option<&TruncationParams> {
        self.truncation.as_ref()
    }

    /// The padding that the file asked for. No call applies it.
    pub fn padding(&self) -> Option<&PaddingParams> {
        self.padding.as_ref()
    }

    /// The id of a token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.added.token_to_id(token, self.model())
    }

    /// The token with this id. An added token that was normalized on the way in comes back normalized.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.added.simple_id_to_token(id).or_else(|| self.model().id_to_token(id))
    }

    /// Every token with its id.
    pub fn vocab(&self, with_added_tokens: bool) -> HashMap<String, u32> {
        let mut vocab = self.model().get_vocab();
        if with_added_tokens {
            vocab.extend(self.added.get_vocab().iter().map(|(token, &id)| (token.clone(), id)));
        }
        vocab
    }

    /// How many tokens there are.
    pub fn vocab_size(&self, with_added_tokens: bool) -> usize {
        let base = self.model().get_vocab_size();
        if !with_added_tokens {
            return base;
        }
        base + self.added.get_vocab().keys().filter(|token| self.model().token_to_id(token).is_none()).count()
    }

    /// The added tokens by ascending id.
    pub fn added_tokens(&self) -> Vec<(u32, AddedToken)> {
        let decoder = self.added.get_added_tokens_decoder();
        let mut tokens: Vec<_> = decoder.iter().map(|(&id, token)| (id, token.clone())).collect();
        tokens.sort_unstable_by_key(|(id, _)| *id);
        tokens
    }

    /// Whether the tokenizer says how special tokens are placed, if only that there are none.
    pub fn has_template(&self) -> bool {
        self.post_processor.is_some()
    }

    /// How many special tokens go around one sequence, or around two.
    pub fn num_special_tokens(&self, pair: bool) -> usize {
        self.post_processor.as_ref().map_or(0, |processor| processor.added_tokens(pair))
    }

    /// The kind of model inside: `WordPiece`, `BPE`, `Unigram` or `WordLevel`.
    pub fn model_type(&self) -> &'static str {
        match self.model().inner() {
            ModelWrapper::WordPiece(_) => "WordPiece",
            ModelWrapper::BPE(_) => "BPE",
            ModelWrapper::Unigram(_) => "Unigram",
            ModelWrapper::WordLevel(_) => "WordLevel",
        }
    }

    /// Text from ids. Ids that are not in the vocabulary are left out.
    ///
    /// # Errors
    /// [`Error::Part`] if the decoder cannot join the tokens.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        let token = |&id: &u32| {
            self.id_to_token(id).filter(|token| !skip_special_tokens || !self.added.is_special_token(token))
        };
        self.join(ids.iter().filter_map(token).collect())
    }

    /// The texts of several rows of ids, in parallel.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_batch<I: AsRef<[u32]> + Sync>(
        &self,
        rows: &[I],
        skip_special_tokens: bool,
    ) -> Result<Vec<String>> {
        let ids = rows.iter().map(|ids| ids.as_ref().len()).sum();
        threads::map(rows, ids, |ids| self.decode(ids.as_ref(), skip_special_tokens))
    }

    /// Text from tokens, as the decoder joins them; with spaces between them if there is no decoder.
    ///
    /// # Errors
    /// [`Error::Part`] if the decoder cannot join the tokens.
    pub fn join(&self, tokens: Vec<String>) -> Result<String> {
        if self.model().ids().is_some() {
            return Ok(self.join_sentencepiece(&tokens));
        }
        if tokens.is_empty() {
            return Ok(String::new()); // at which the crate's decoder of ended words panics
        }
        match self.decoder() {
            Some(decoder) => guard(|| Ok(decoder.decode(tokens)?)),
            None => Ok(tokens.join(" ")),
        }
    }

    /// Text as SentencePiece joins its pieces, with special tokens between. Those beyond the vocabulary, such as M2M100's languages, stand
    /// apart.
    fn join_sentencepiece(&self, tokens: &[String]) -> String {
        let mut texts = vec![String::new()];
        let is_special = |token: &String| self.added.is_special_token(token);
        for run in tokens.chunk_by(|left, right| !is_special(left) && !is_special(right)) {
            match (run, texts.last_mut()) {
                ([token], _) if is_special(token) && self.model().token_to_id(token).is_none() => {
                    texts.extend([token.clone(), String::new()]);
                }
                ([token], Some(text)) if is_special(token) => {
                    text.push_str(token);
                    text.push_str(self.model().behind_special_tokens());
                }
                (pieces, Some(text)) => text.push_str(&join_pieces(pieces)),
                (_, None) => {}
            }
        }
        let texts: Vec<_> = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
        texts.join(" ")
    }

    pub(crate) fn kept_pieces(&self) -> &OnceLock<Arc<Vec<Vec<u8>>>> {
        &self.pieces
    }

    pub(crate) fn model(&self) -> &Model {
        &self.parts.model
    }

    pub(crate) fn normalizer(&self) -> Option<&NormalizerWrapper> {
        self.normalizer.as_deref()
    }

    pub(crate) fn pre_tokenizer(&self) -> Option<&PreTokenizerWrapper> {
        self.parts.pre_tokenizer.as_ref()
    }

    pub(crate) fn decoder(&self) -> Option<&DecoderWrapper> {
        self.parts.decoder.as_ref()
    }

    pub(crate) fn post_processor(&self) -> Option<&PostProcessorWrapper> {
        self.post_processor.as_ref()
    }

    /// The added tokens to look for in a text: all of them, or only those that are not special.
    pub(crate) fn added_vocabulary(&self, split_special_tokens: bool) -> &AddedVocabulary {
        if !split_special_tokens {
            return &self.added;
        }
        if let Some(added) = self.added_as_text.get() {
            return added;
        }
        // Made outside of the cell: a child forked from another thread in the meantime would wait for it forever.
        let mut added = self.added.clone();
        added.set_encode_special_tokens(true);
        self.added_as_text.get_or_init(|| added)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BertOptions, Column, EncodeOptions};

    fn bert() -> Tokenizer {
        let vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b", "!"];
        Tokenizer::from_bert_vocab(vocab, &BertOptions::default()).unwrap()
    }

    #[test]
    fn adding_tokens_leaves_the_old_tokenizer_alone() {
        let old = bert();
        let (new, count) = old
            .with_tokens([
                AddedToken::from("xyz", false),
                AddedToken::from("a", false),
                AddedToken::from("", false),
            ])
            .unwrap();
        assert_eq!(count, 2);
        assert_eq!((old.token_to_id("xyz"), new.token_to_id("xyz")), (None, Some(8)));
        assert_eq!((old.vocab_size(true), new.vocab_size(true)), (8, 9));
        assert_eq!(new.vocab(true).len(), 9);
        assert_eq!(new.with_tokens([AddedToken::from("xyz", false)]).unwrap().1, 0);
    }

    #[test]
    fn decoding_skips_what_it_does_not_know() {
        let tokenizer = bert();
        assert_eq!(tokenizer.decode(&[2, 5, 6, 7, 99, 3], false).unwrap(), "[CLS] ab! [SEP]");
        assert_eq!(tokenizer.decode(&[2, 5, 6, 7, u32::MAX, 3], true).unwrap(), "ab!");
        assert_eq!(tokenizer.decode(&[], false).unwrap(), "");
        assert_eq!(tokenizer.id_to_token(99), None);
    }

    #[test]
    fn another_normalizer_leaves_the_ids_of_added_tokens() {
        let tokens = [AddedToken::from("XY", false), AddedToken::from("<s>", true)];
        let lower = bert().with_tokens(tokens).unwrap().0;
        assert!(lower.bert_normalizer().unwrap().lowercase);
        let cased = lower.with_bert_normalizer(BertNormalizer::new(true, true, None, false)).unwrap();
        let ids = |tokenizer: &Tokenizer, text: &str| {
            let batch = tokenizer.encode_batch(&[text.into()], &EncodeOptions::default()).unwrap();
            batch.row(Column::InputIds, 0).collect::<Vec<_>>()
        };
        assert_eq!(ids(&lower, "A xy <s>"), [2, 5, 8, 9, 3]);
        assert_eq!(ids(&cased, "A XY xy <s>"), [2, 1, 8, 1, 9, 3]);
        assert_eq!(cased.added_tokens(), lower.added_tokens());
        assert!(
            Tokenizer::from_json(cased.to_json(false).unwrap().as_bytes())
                .unwrap()
                .bert_normalizer()
                .is_some()
        );
    }

    #[test]
    fn templates_place_special_tokens() {
        let special = [("[CLS]".to_owned(), 2)];
        let tokenizer = bert().with_template("$A:0", "[CLS]:1 $A:0 $B:1", &special).unwrap();
        assert_eq!((tokenizer.num_special_tokens(false), tokenizer.num_special_tokens(true)), (0, 1));
        let batch = tokenizer.encode_batch(&[("a", "!").into()], &EncodeOptions::default()).unwrap();
        assert_eq!(batch.row(Column::InputIds, 0).collect::<Vec<_>>(), [2, 5, 7]);
        assert!(matches!(bert().with_template("$A:0", "[SEP] $A $B", &special), Err(Error::Template(_))));
    }
}
