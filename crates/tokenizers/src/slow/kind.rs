//! What one kind of tokenizer can say of itself.

use serde_json::{Map, Value};

/// What a caller and the files beside a vocabulary say, by transformers' keywords; special tokens as their texts.
pub type Settings = Map<String, Value>;

/// A kind of tokenizer: a class of transformers, as data.
#[derive(Debug)]
pub struct Kind {
    /// The class. With `Fast` behind it transformers 4 named the same on a Rust engine.
    pub class: &'static str,
    /// Classes that differ from it in nothing but their names.
    pub same: &'static [&'static str],
    /// The types of models that it belongs to.
    pub model_types: &'static [&'static str],
    /// The files that it is made from: their keywords with their names.
    pub files: &'static [(&'static str, &'static str)],
    /// The other keywords with their defaults, a JSON object. Special tokens are texts, or objects with the flags of `AddedToken`.
    pub keywords: &'static str,
    /// What the models want to be given.
    pub model_input_names: &'static [&'static str],
    /// Where rows are filled up.
    pub padding_side: &'static str,
    /// The languages that texts are marked with.
    pub languages: Option<&'static Languages>,
    pub(super) reads: Reads,
    /// Special tokens that have no name.
    pub(super) extra: fn(&Settings) -> Vec<String>,
    /// What a SentencePiece model's pieces become.
    pub(super) layout: fn(&Settings) -> Layout,
    pub(super) normalizer: &'static [Step],
    pub(super) pre_tokenizer: &'static [Step],
    pub(super) decoder: &'static [Step],
    pub(super) processor: Processor,
}

/// Codes of languages, each of them a token that goes with the special tokens around a text.
#[derive(Debug)]
pub struct Languages {
    /// The codes.
    pub codes: &'static [&'static str],
    /// How the token of a code is spelled, with `{}` for the code.
    pub token: &'static str,
    /// The language of texts where nothing is said.
    pub default: &'static str,
    /// Whether the token stands before the text, and not last.
    pub before: bool,
}

/// What the files of a kind hold.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reads {
    /// Nothing but a `tokenizer.json`.
    TokenizerFile,
    /// `vocab.txt`.
    WordPiece,
    /// `vocab.json` and `merges.txt`.
    Bpe(BpeOptions),
    /// A SentencePiece model; with `bytes`, what no piece covers is written in bytes. With `tab`, an old model's token for that byte is the
    /// tabulator itself.
    SentencePiece { bytes: bool, tab: bool },
    /// A SentencePiece model that splits, and a `vocab.json` that has the ids.
    SentencePieceAndIds,
}

/// What sets one BPE apart from another.
#[derive(Debug, Clone, Copy)]
pub(super) struct BpeOptions {
    /// Whether what the vocabulary lacks is the unknown token, and not nothing.
    pub unknown: bool,
    /// What ends a word.
    pub suffix: &'static str,
}

/// How pieces become a vocabulary: some of the file's first ones are replaced, and others come behind.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub before: Vec<(String, f64)>,
    /// How many of the file's pieces are left out.
    pub replaced: usize,
    pub after: Vec<String>,
    /// Whether pieces such as `1,` are to be found last (ALBERT).
    pub numbers_without_commas: bool,
    /// User-defined pieces that are special all the same.
    pub special: &'static [&'static str],
}

/// A part of a tokenizer, as a `tokenizer.json` has it. A text `$name` in it stands for that setting.
#[derive(Debug)]
pub(super) enum Step {
    Part(&'static str),
    /// Where a setting is true.
    If(&'static str, &'static str),
    /// Where it is not.
    Unless(&'static str, &'static str),
    /// The model's own rules of normalization, if it has any.
    Charsmap,
}

/// What puts special tokens around sequences.
#[derive(Debug)]
pub(super) enum Processor {
    /// What `add_bos_token` and `add_eos_token` say.
    Asked,
    /// For one sequence and for two, with `{name}` for special tokens.
    Template(&'static str, &'static str),
    /// A part that places no tokens.
    Part(&'static str),
    /// RoBERTa's, which takes the spaces out of offsets.
    Roberta,
}

/// Whether a setting is true.
pub(super) fn flag(settings: &Settings, name: &str) -> bool {
    settings.get(name).is_some_and(|value| value.as_bool().unwrap_or(false))
}

/// A setting that is a number, or what stands for it.
pub(super) fn number(settings: &Settings, name: &str, default: u64) -> u64 {
    settings.get(name).and_then(Value::as_u64).unwrap_or(default)
}

/// A special token, if it is set.
pub(super) fn token<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    settings.get(name).and_then(Value::as_str)
}
