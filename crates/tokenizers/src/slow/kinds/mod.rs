//! All kinds, a row each. Source: transformers' `convert_slow_tokenizer` (4.57) and the classes of its tokenizers (5).

mod byte_level;
mod languages;
mod lookup;
mod sentencepiece;
mod wordpiece;

use super::kind::Kind;

/// The kinds.
pub fn kinds() -> impl Iterator<Item = &'static Kind> {
    [wordpiece::KINDS, byte_level::KINDS, sentencepiece::KINDS, lookup::KINDS].into_iter().flatten()
}

/// The kind of a class, under any of its names; `TokenizersBackend` is any SentencePiece model or tiktoken file.
pub fn find(class: &str) -> Option<&'static Kind> {
    let class = class.strip_suffix("Fast").unwrap_or(class);
    kinds().chain([&sentencepiece::ANY]).find(|kind| kind.class == class || kind.same.contains(&class))
}

const TOKENIZER_FILE: (&str, &str) = ("tokenizer_file", "tokenizer.json");
const WITH_TYPES: &[&str] = &["input_ids", "token_type_ids", "attention_mask"];
const WITHOUT_TYPES: &[&str] = &["input_ids", "attention_mask"];
