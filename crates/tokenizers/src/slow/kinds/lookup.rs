//! Those whose SentencePiece model splits a text, and whose `vocab.json` has the ids.

use super::languages::{M2M100, WMT21_CODES};
use super::{TOKENIZER_FILE, WITHOUT_TYPES};
use crate::slow::kind::{Kind, Layout, Processor, Reads, Settings, Step, token};

const MARIAN: Kind = Kind {
    class: "MarianTokenizer",
    same: &[],
    model_types: &["marian"],
    files: &[
        ("source_spm", "source.spm"),
        ("target_spm", "target.spm"),
        ("vocab", "vocab.json"),
        ("target_vocab_file", "target_vocab.json"),
        TOKENIZER_FILE,
    ],
    keywords: r#"{
        "source_lang": null, "target_lang": null, "unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>",
        "model_max_length": 512, "separate_vocabs": false
    }"#,
    model_input_names: WITHOUT_TYPES,
    padding_side: "right",
    languages: None,
    reads: Reads::SentencePieceAndIds,
    extra: |_| Vec::new(),
    layout: |_| Layout::default(),
    normalizer: &[
        Step::Charsmap,
        // SentencePiece takes away spaces alone, and at the end their signs too.
        Step::Part(r#"{"type": "Replace", "pattern": {"Regex": "\\A +|[ ▁]+\\z"}, "content": ""}"#),
        Step::Part(r#"{"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}"#),
        // SentencePiece puts a space in front of a text that begins with one's sign too, and the next part does not.
        Step::Part(r#"{"type": "Replace", "pattern": {"Regex": "\\A▁"}, "content": "▁▁"}"#),
    ],
    pre_tokenizer: &[Step::Part(
        r#"{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}"#,
    )],
    decoder: &[],
    processor: Processor::Template("$A:0 {eos_token}:0", "$A:0 $B:0 {eos_token}:0"),
};

pub const KINDS: &[Kind] = &[
    MARIAN,
    Kind {
        class: "M2M100Tokenizer",
        same: &[],
        model_types: &["m2m_100"],
        files: &[("vocab_file", "vocab.json"), ("spm_file", "sentencepiece.bpe.model"), TOKENIZER_FILE],
        keywords: r#"{
            "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>",
            "language_codes": "m2m100", "num_madeup_words": 8
        }"#,
        languages: Some(&M2M100),
        extra: language_tokens,
        processor: Processor::Asked,
        ..MARIAN
    },
];

fn language_tokens(settings: &Settings) -> Vec<String> {
    let codes: &[&str] =
        if token(settings, "language_codes") == Some("wmt21") { &WMT21_CODES } else { M2M100.codes };
    codes.iter().map(|code| M2M100.token.replace("{}", code)).collect()
}
