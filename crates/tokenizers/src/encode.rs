//! Text to encodings: what a call says, and the steps from a text to its tokens.

use tokenizers::{
    Encoding, Model as _, NormalizerWrapper, OffsetReferential, OffsetType, PaddingParams, PaddingStrategy,
    PostProcessor, PreTokenizer, TruncationDirection, TruncationParams, TruncationStrategy,
};

use crate::error::guard;
use crate::truncate::Truncation;
use crate::{Batch, Error, Result, Tokenizer, threads};

/// No row is padded beyond this.
const MAX_WIDTH: usize = i32::MAX as usize;
/// Text as it was given.
const NO_NORMALIZER: Option<&NormalizerWrapper> = None;

/// What one call asks for.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// Whether the special tokens of the template are put around the sequences. Default: yes.
    pub add_special_tokens: bool,
    /// Whether special tokens that stand in the text are read as ordinary text. Default: no.
    pub split_special_tokens: bool,
    /// How sequences are cut. Default: they are not.
    pub truncation: Option<TruncationParams>,
    /// Whether what truncation cuts off follows as further rows. Default: no.
    pub return_overflowing: bool,
    /// How rows are filled up. Default: they are not.
    pub padding: Option<PaddingParams>,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            add_special_tokens: true,
            split_special_tokens: false,
            truncation: None,
            return_overflowing: false,
            padding: None,
        }
    }
}

/// One sequence of an input.
#[derive(Debug, Clone)]
pub enum Sequence<S> {
    /// A text.
    Text(S),
    /// A text that is already split into words, each of which is tokenized by itself.
    Words(Vec<S>),
    /// Ids, as they came from a tokenizer without special tokens.
    Ids(Vec<u32>),
}

/// What becomes one row: a sequence or two.
#[derive(Debug, Clone)]
pub struct Input<S> {
    /// The sequence, or the first of two.
    pub first: Sequence<S>,
    /// The second of two.
    pub second: Option<Sequence<S>>,
}

impl<'s> From<&'s str> for Input<&'s str> {
    fn from(text: &'s str) -> Self {
        Self { first: Sequence::Text(text), second: None }
    }
}

impl<'s> From<(&'s str, &'s str)> for Input<&'s str> {
    fn from((first, second): (&'s str, &'s str)) -> Self {
        Self { first: Sequence::Text(first), second: Some(Sequence::Text(second)) }
    }
}

impl<S: AsRef<str>> Sequence<S> {
    fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.as_ref().len(),
            Self::Words(words) => words.iter().map(|word| word.as_ref().len()).sum(),
            Self::Ids(_) => 0,
        }
    }
}

impl Tokenizer {
    /// Encodes inputs, in parallel, and pads them together.
    ///
    /// # Errors
    /// [`Error::NoRoom`], [`Error::Stride`], [`Error::NoSecondSequence`] and [`Error::TooShort`] where an input cannot be truncated as
    /// asked, [`Error::Part`] where the tokenizer cannot read it.
    pub fn encode_batch<S: AsRef<str> + Sync>(
        &self,
        inputs: &[Input<S>],
        options: &EncodeOptions,
    ) -> Result<Batch> {
        let mut batch = Batch::new(options);
        self.encode_into(&mut batch, inputs, options)?;
        Ok(batch)
    }

    /// Encodes inputs, in parallel, onto the end of a batch, for callers that want to stop now and then.
    ///
    /// # Errors
    /// As [`encode_batch`](Self::encode_batch).
    pub fn encode_into<S: AsRef<str> + Sync>(
        &self,
        batch: &mut Batch,
        inputs: &[Input<S>],
        options: &EncodeOptions,
    ) -> Result<()> {
        self.check(options)?;
        let bytes: usize = inputs
            .iter()
            .map(|input| input.first.bytes() + input.second.as_ref().map_or(0, Sequence::bytes))
            .sum();
        batch.extend(threads::map(inputs, bytes, |input| self.encode(input, options))?);
        Ok(())
    }

    /// Refuses what could never work, before any text is read.
    fn check(&self, options: &EncodeOptions) -> Result<()> {
        if let Some(&TruncationParams { stride, max_length, .. }) = options.truncation.as_ref() {
            let room = max_length.saturating_sub(self.num_special_tokens(false));
            if stride > room {
                return Err(Error::Stride { stride, room, max_length });
            }
        }
        if let Some(padding) = &options.padding {
            let length = match padding.strategy {
                PaddingStrategy::Fixed(length) => length,
                PaddingStrategy::BatchLongest => 0,
            };
            let length = length.max(padding.pad_to_multiple_of.unwrap_or(0));
            if length > MAX_WIDTH {
                return Err(Error::TooLong { length });
            }
        }
        Ok(())
    }

    fn encode<S: AsRef<str>>(&self, input: &Input<S>, options: &EncodeOptions) -> Result<Encoding> {
        guard(|| self.encode_input(input, options))
    }

    fn encode_input<S: AsRef<str>>(&self, input: &Input<S>, options: &EncodeOptions) -> Result<Encoding> {
        let pair = input.second.is_some();
        let mut first = self.encode_sequence(&input.first, 0, pair, options)?;
        let second = input.second.as_ref().map(|second| self.encode_sequence(second, 1, pair, options));
        let mut second = second.transpose()?;
        if let Some(params) = &options.truncation {
            let special = if options.add_special_tokens { self.num_special_tokens(pair) } else { 0 };
            let truncation = Truncation { params, special, keep_overflow: options.return_overflowing };
            truncation.apply(&mut first, second.as_mut())?;
        }
        match self.post_processor() {
            Some(processor) => Ok(processor.process(first, second, options.add_special_tokens)?),
            None => {
                let encodings = [first].into_iter().chain(second).collect();
                let encodings = <dyn PostProcessor>::default_process(encodings, options.add_special_tokens)?;
                Ok(Encoding::merge(encodings, false))
            }
        }
    }

    fn encode_sequence<S: AsRef<str>>(
        &self,
        sequence: &Sequence<S>,
        type_id: u32,
        pair: bool,
        options: &EncodeOptions,
    ) -> Result<Encoding> {
        let limit = enough(type_id, pair, options);
        match sequence {
            Sequence::Text(text) => self.encode_text(text.as_ref(), type_id, None, limit, options),
            Sequence::Words(words) => {
                let mut encoding = Encoding::default();
                for (word, index) in words.iter().zip(0..) {
                    if limit.is_some_and(|limit| encoding.len() >= limit) {
                        break;
                    }
                    let word = self.encode_text(word.as_ref(), type_id, Some(index), limit, options)?;
                    encoding.merge_with(word, false);
                }
                Ok(encoding)
            }
            Sequence::Ids(ids) => {
                let token = |&id: &u32| (id, self.id_to_token(id).unwrap_or_default(), (0, 0), None, type_id);
                Ok(ids.iter().map(token).collect())
            }
        }
    }

    fn encode_text(
        &self,
        text: &str,
        type_id: u32,
        word: Option<u32>,
        limit: Option<usize>,
        options: &EncodeOptions,
    ) -> Result<Encoding> {
        if !self.model().knows_codes() || !text.contains(">>") {
            return self.encode_plain(text, type_id, word, limit, options);
        }
        // Special tokens cut a text into parts, each of which may begin with a code.
        let parts =
            self.added_vocabulary(options.split_special_tokens).extract_and_normalize(NO_NORMALIZER, text);
        let (mut tokens, mut before, mut characters) = (Vec::new(), 0, 0);
        for (_, (start, end), special) in parts.get_splits(OffsetReferential::Original, OffsetType::Byte) {
            if limit.is_some_and(|limit| tokens.len() >= limit) {
                break;
            }
            characters += text[before..start].chars().count();
            before = start;
            let (mut part, mut first) = (&text[start..end], characters);
            if special.is_none()
                && let Some((id, code)) = self.model().leading_code(part)
            {
                let length = code.chars().count();
                tokens.push((id, code.to_owned(), (first, first + length), word, type_id));
                (part, first) = (&part[code.len()..], first + length);
            }
            let found = self.encode_plain(part, type_id, word, limit, options)?;
            let each = found.get_ids().iter().zip(found.get_tokens()).zip(found.get_offsets());
            tokens.extend(each.zip(found.get_word_ids()).map(|(((id, token), (from, to)), index)| {
                (*id, token.clone(), (first + from, first + to), *index, type_id)
            }));
        }
        Ok(tokens.into_iter().collect())
    }

    fn encode_plain(
        &self,
        text: &str,
        type_id: u32,
        word: Option<u32>,
        limit: Option<usize>,
        options: &EncodeOptions,
    ) -> Result<Encoding> {
        // Offsets count characters. In ASCII these are the bytes, which need no table.
        let offsets = if text.is_ascii() { OffsetType::Byte } else { OffsetType::Char };
        let added = self.added_vocabulary(options.split_special_tokens);
        let mut text = added.extract_and_normalize(self.normalizer(), text);
        if let Some(pre_tokenizer) = self.pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut text)?;
        }
        let limit = limit.map(|limit| (limit, TruncationDirection::Right));
        self.model().tokenize_in_pretokenized(&mut text, limit)?;
        Ok(text.into_encoding(word, type_id, offsets)?)
    }
}

/// How many tokens of a sequence are enough because truncation drops what follows, if it is known to. Of two sequences cut together
/// both lengths must be known: which of them is longer decides who keeps an odd token.
fn enough(type_id: u32, pair: bool, options: &EncodeOptions) -> Option<usize> {
    let params = options.truncation.as_ref()?;
    let cut = match params.strategy {
        TruncationStrategy::LongestFirst => !pair,
        TruncationStrategy::OnlyFirst => type_id == 0,
        TruncationStrategy::OnlySecond => type_id == 1,
    };
    let from_the_end = params.direction == TruncationDirection::Right;
    (cut && from_the_end && !options.return_overflowing).then_some(params.max_length)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use proptest::prelude::*;
    use tokenizers::{PaddingDirection, PostProcessorWrapper, pad_encodings, truncate_encodings};

    use super::*;
    use crate::{BertOptions, Column};

    const VOCAB: [&str; 16] = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "b", "##b", "é", "!", "中", "##c", "abc",
        "👩", "d",
    ];

    fn bert() -> Tokenizer {
        let options = BertOptions { strip_accents: Some(false), ..Default::default() };
        Tokenizer::from_bert_vocab(VOCAB, &options).unwrap()
    }

    /// What the crate makes of an input step by step. Truncating by itself it stops before it knows how long both sequences are.
    fn reference(input: (&str, Option<&str>), options: &EncodeOptions) -> Encoding {
        let mut whole: tokenizers::Tokenizer = bert().to_json(false).unwrap().parse().unwrap();
        whole.set_encode_special_tokens(options.split_special_tokens);
        let mut bare = whole.clone();
        bare.with_post_processor(None::<PostProcessorWrapper>);
        let encode = |text: &str| bare.encode_char_offsets(text, false).unwrap();
        let (mut first, mut second) = (encode(input.0), input.1.map(encode));
        if let Some(params) = &options.truncation {
            let special = if options.add_special_tokens { 2 + usize::from(second.is_some()) } else { 0 };
            let params = TruncationParams { max_length: params.max_length - special, ..params.clone() };
            (first, second) = truncate_encodings(first, second, &params).unwrap();
        }
        whole.post_process(first, second, options.add_special_tokens).unwrap()
    }

    fn truncation(max_length: usize) -> Option<TruncationParams> {
        Some(TruncationParams { max_length, ..Default::default() })
    }

    fn texts() -> impl Strategy<Value = String> {
        "([abcdABé!中👩 \t\u{0}]|\\[CLS\\]|\\[MASK\\]|👩‍🚀|\u{301}|\\PC){0,12}"
    }

    proptest! {
        #[test]
        fn encodes_as_the_crate_does(
            first in proptest::collection::vec(texts(), 1..4), pairs: bool, add_special_tokens: bool,
            split_special_tokens: bool, max_length in proptest::option::of(3..12_usize), left: bool,
            pad_left: bool, multiple in proptest::option::of(0..6_usize), fixed in proptest::option::of(0..12_usize),
        ) {
            let direction = if left { TruncationDirection::Left } else { TruncationDirection::Right };
            let options = EncodeOptions {
                add_special_tokens,
                split_special_tokens,
                truncation: max_length.map(|max_length| TruncationParams { max_length, direction, ..Default::default() }),
                return_overflowing: false,
                padding: Some(PaddingParams {
                    strategy: fixed.map_or(PaddingStrategy::BatchLongest, PaddingStrategy::Fixed),
                    direction: if pad_left { PaddingDirection::Left } else { PaddingDirection::Right },
                    pad_to_multiple_of: multiple,
                    pad_id: 4,
                    pad_type_id: 1,
                    pad_token: "[MASK]".to_owned(),
                }),
            };
            let inputs: Vec<Input<&str>> = first
                .iter()
                .map(|text| if pairs { (text.as_str(), "a b!").into() } else { text.as_str().into() })
                .collect();
            let pair = pairs.then_some("a b!");
            let mut theirs: Vec<_> = first.iter().map(|text| reference((text, pair), &options)).collect();
            pad_encodings(&mut theirs, options.padding.as_ref().unwrap()).unwrap();
            let ours = bert().encode_batch(&inputs, &options).unwrap();
            prop_assert_eq!(ours.len(), theirs.len());
            for (row, expected) in theirs.iter().enumerate() {
                let encoding = ours.encoding(row).unwrap();
                prop_assert_eq!(encoding.get_tokens(), expected.get_tokens());
                prop_assert_eq!(encoding.get_sequence_ids(), expected.get_sequence_ids());
                prop_assert_eq!(ours.row(Column::InputIds, row).collect::<Vec<_>>(), expected.get_ids());
                prop_assert_eq!(ours.row(Column::TokenTypeIds, row).collect::<Vec<_>>(), expected.get_type_ids());
                prop_assert_eq!(ours.row(Column::AttentionMask, row).collect::<Vec<_>>(), expected.get_attention_mask());
                prop_assert_eq!(
                    ours.row(Column::SpecialTokensMask, row).collect::<Vec<_>>(), expected.get_special_tokens_mask()
                );
                prop_assert_eq!(ours.offsets(row).collect::<Vec<_>>(), expected.get_offsets());
                prop_assert_eq!(encoding.get_word_ids(), expected.get_word_ids());
            }
        }

        #[test]
        fn words_are_encoded_as_the_crate_does(words in proptest::collection::vec(texts(), 0..5)) {
            let options = EncodeOptions::default();
            let input = Input { first: Sequence::Words(words.clone()), second: None };
            let ours = bert().encode_batch(&[input], &options).unwrap().encoding(0).unwrap();
            let whole: tokenizers::Tokenizer = bert().to_json(false).unwrap().parse().unwrap();
            let theirs = whole.encode_char_offsets(words.as_slice(), true).unwrap();
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn the_longer_of_two_texts_keeps_the_odd_token() {
        // Both are longer than max_length, and only their full lengths say which is the longer one.
        let options = EncodeOptions { truncation: truncation(4), ..Default::default() };
        for (first, second) in [("a b a b a b", "a b a b a"), ("a b a b a", "a b a b a b")] {
            let ours = bert().encode_batch(&[(first, second).into()], &options).unwrap();
            let expected = reference((first, Some(second)), &options);
            assert_eq!(ours.encoding(0).unwrap().get_tokens(), expected.get_tokens());
        }
    }

    #[test]
    fn overflowing_parts_follow_their_row() {
        let options =
            EncodeOptions { truncation: truncation(4), return_overflowing: true, ..Default::default() };
        let batch = bert().encode_batch(&["a b a b b".into(), "d".into()], &options).unwrap();
        assert_eq!(batch.samples().collect::<Vec<_>>(), [0, 0, 0, 1]);
        assert_eq!(batch.lengths().collect::<Vec<_>>(), [4, 4, 3, 3]);
        assert_eq!(batch.row(Column::InputIds, 2).collect::<Vec<_>>(), [2, 7, 3]);
    }

    #[test]
    fn ids_are_a_sequence_too() {
        let input: Input<&str> =
            Input { first: Sequence::Ids(vec![5, 6]), second: Some(Sequence::Ids(vec![7])) };
        let batch = bert().encode_batch(&[input], &EncodeOptions::default()).unwrap();
        assert_eq!(batch.row(Column::InputIds, 0).collect::<Vec<_>>(), [2, 5, 6, 3, 7, 3]);
        assert_eq!(batch.row(Column::TokenTypeIds, 0).collect::<Vec<_>>(), [0, 0, 0, 0, 1, 1]);
        assert_eq!(batch.encoding(0).unwrap().get_tokens()[1..3], ["a", "##a"]);
    }

    #[test]
    fn what_cannot_work_is_an_error() {
        let of = |options: EncodeOptions| bert().encode_batch(&["a b a b".into()], &options).unwrap_err();
        let with = |params| EncodeOptions { truncation: Some(params), ..Default::default() };
        let params = TruncationParams { max_length: 1, ..Default::default() };
        assert!(matches!(of(with(params)), Error::NoRoom { max_length: 1, special: 2 }));
        for stride in [2, 3] {
            let params = TruncationParams { max_length: 4, stride, ..Default::default() };
            assert!(matches!(of(with(params)), Error::Stride { room: 2, .. }));
        }
        let params = TruncationParams {
            max_length: 4,
            strategy: TruncationStrategy::OnlySecond,
            ..Default::default()
        };
        assert!(matches!(of(with(params)), Error::NoSecondSequence));
        for padding in [
            PaddingParams { strategy: PaddingStrategy::Fixed(usize::MAX), ..Default::default() },
            PaddingParams { pad_to_multiple_of: Some(usize::MAX), ..Default::default() },
        ] {
            let options = EncodeOptions { padding: Some(padding), ..Default::default() };
            assert!(matches!(of(options), Error::TooLong { length: usize::MAX }));
        }
    }

    #[test]
    fn threads_with_different_settings_do_not_meet() {
        let tokenizer = Arc::new(bert());
        let threads: Vec<_> = (3..11)
            .map(|max_length| {
                let tokenizer = Arc::clone(&tokenizer);
                thread::spawn(move || {
                    let options = EncodeOptions { truncation: truncation(max_length), ..Default::default() };
                    let text = "a b ".repeat(4000);
                    let inputs = [text.as_str().into(), "a b a b a b a b a b".into()];
                    (0..50).all(|_| {
                        let batch = tokenizer.encode_batch(&inputs, &options).unwrap();
                        batch.lengths().all(|length| length == max_length)
                    })
                })
            })
            .collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
    }
}
