//! Those over a SentencePiece model, whose spaces are written `▁`.

use super::languages::{MBART, MBART50, NLLB};
use super::{TOKENIZER_FILE, WITH_TYPES, WITHOUT_TYPES};
use crate::slow::kind::{Kind, Languages, Layout, Processor, Reads, Settings, Step, number, token};

const SPIECE: &[(&str, &str)] = &[("vocab_file", "spiece.model"), TOKENIZER_FILE];
const FAIRSEQ: &[(&str, &str)] = &[("vocab_file", "sentencepiece.bpe.model"), TOKENIZER_FILE];
const TOKENIZER_MODEL: &[(&str, &str)] = &[("vocab_file", "tokenizer.model"), TOKENIZER_FILE];

const METASPACE: &str =
    r#"{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "$prepend_scheme", "split": true}"#;
const ONE_SPACE: &str = r#"{"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}"#;
const SPACES_WRITTEN: &str = r#"{"type": "Replace", "pattern": {"String": " "}, "content": "▁"}"#;
const SPACES_READ: &str = r#"{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}"#;
const DOUBLE_BACKTICKS: &str = r#"{"type": "Replace", "pattern": {"String": "``"}, "content": "\""}"#;
const DOUBLE_QUOTES: &str = r#"{"type": "Replace", "pattern": {"String": "''"}, "content": "\""}"#;

const CLS_SEP: Processor = Processor::Template("[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1");
/// As RoBERTa has them.
const S_AND_S: Processor = Processor::Template("<s>:0 $A:0 </s>:0", "<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0");
const ALL: Processor = Processor::Asked;

/// `SpmConverter`: what most of them share.
const PLAIN: Kind = Kind {
    class: "",
    same: &[],
    model_types: &[],
    files: SPIECE,
    keywords: "{}",
    model_input_names: WITHOUT_TYPES,
    padding_side: "right",
    languages: None,
    reads: Reads::SentencePiece { bytes: false, tab: false },
    extra: |_| Vec::new(),
    layout: |_| Layout::default(),
    normalizer: &[
        Step::Charsmap,
        Step::Part(r#"{"type": "Strip", "strip_left": false, "strip_right": true}"#),
        Step::Part(r#"{"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}"#),
    ],
    pre_tokenizer: &[Step::Part(METASPACE)],
    decoder: &[Step::Part(METASPACE)],
    processor: ALL,
};

/// Any model's, as it says itself: transformers' `build_tokenizer_from_spm_proto`.
pub const ANY: Kind = Kind {
    class: "TokenizersBackend",
    same: &["PreTrainedTokenizer"],
    model_types: &[],
    files: TOKENIZER_MODEL,
    keywords: "{}",
    reads: Reads::SentencePiece { bytes: true, tab: false },
    normalizer: &[
        Step::Charsmap,
        Step::If(
            "remove_extra",
            r#"{"type": "Replace", "pattern": {"Regex": "\\A +| +\\z"}, "content": ""}"#,
        ),
        Step::If("remove_extra", ONE_SPACE),
        Step::If("escape", SPACES_WRITTEN),
        Step::If(
            "legacy_dummy_prefix",
            r#"{"type": "Replace", "pattern": {"Regex": "\\A▁"}, "content": "▁▁"}"#,
        ),
    ],
    pre_tokenizer: &[Step::If(
        "add_dummy_prefix",
        r#"{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "$prepend_scheme", "split": false}"#,
    )],
    decoder: &[
        Step::Part(SPACES_READ),
        Step::Part(r#"{"type": "ByteFallback"}"#),
        Step::Part(r#"{"type": "Fuse"}"#),
        Step::If("add_dummy_prefix", r#"{"type": "Strip", "content": " ", "start": 1, "stop": 0}"#),
    ],
    ..PLAIN
};

/// `LlamaConverter`.
const LLAMA: Kind = Kind {
    class: "LlamaTokenizer",
    same: &["CodeLlamaTokenizer", "Phi3Tokenizer"],
    model_types: &["llama", "code_llama", "mistral", "mixtral", "phi3", "idefics"],
    files: TOKENIZER_MODEL,
    keywords: r#"{
        "clean_up_tokenization_spaces": false, "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>",
        "use_default_system_prompt": false, "legacy": false, "add_prefix_space": true
    }"#,
    padding_side: "left",
    reads: Reads::SentencePiece { bytes: true, tab: false },
    // What begins a text is marked in two ways, which differ where special tokens stand in it.
    normalizer: &[
        Step::If("legacy_prefix", r#"{"type": "Prepend", "prepend": "▁"}"#),
        Step::If("legacy", SPACES_WRITTEN),
    ],
    pre_tokenizer: &[Step::Unless(
        "legacy",
        r#"{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "$prepend_scheme", "split": false}"#,
    )],
    decoder: &[
        Step::Part(SPACES_READ),
        Step::Part(r#"{"type": "ByteFallback"}"#),
        Step::Part(r#"{"type": "Fuse"}"#),
        Step::If("add_prefix_space", r#"{"type": "Strip", "content": " ", "start": 1, "stop": 0}"#),
    ],
    ..PLAIN
};

/// `AlbertConverter`.
const ALBERT: Kind = Kind {
    class: "AlbertTokenizer",
    same: &[],
    model_types: &["albert"],
    keywords: r#"{
        "do_lower_case": true, "keep_accents": false, "bos_token": "[CLS]", "eos_token": "[SEP]", "unk_token": "<unk>",
        "sep_token": "[SEP]", "pad_token": "<pad>", "cls_token": "[CLS]",
        "mask_token": {"content": "[MASK]", "lstrip": true, "normalized": false}
    }"#,
    model_input_names: WITH_TYPES,
    layout: |_| Layout { numbers_without_commas: true, ..Layout::default() },
    normalizer: &[
        Step::Part(DOUBLE_BACKTICKS),
        Step::Part(DOUBLE_QUOTES),
        Step::Unless("keep_accents", r#"{"type": "NFKD"}"#),
        Step::Unless("keep_accents", r#"{"type": "StripAccents"}"#),
        Step::If("do_lower_case", r#"{"type": "Lowercase"}"#),
        Step::Charsmap,
        Step::Part(ONE_SPACE),
    ],
    processor: CLS_SEP,
    ..PLAIN
};

/// `XLMRobertaConverter`.
const XLM_ROBERTA: Kind = Kind {
    class: "XLMRobertaTokenizer",
    same: &["LayoutXLMTokenizer"],
    model_types: &["xlm-roberta", "xlm-roberta-xl", "gte", "jina_embeddings_v3"],
    files: FAIRSEQ,
    keywords: FAIRSEQ_KEYWORDS,
    layout: |_| fairseq(&["<mask>"]),
    processor: S_AND_S,
    ..PLAIN
};

const FAIRSEQ_KEYWORDS: &str = r#"{
    "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>",
    "pad_token": "<pad>", "mask_token": {"content": "<mask>", "lstrip": true}
}"#;

pub const KINDS: &[Kind] = &[
    LLAMA,
    ALBERT,
    XLM_ROBERTA,
    Kind {
        class: "T5Tokenizer",
        same: &[],
        model_types: &["t5", "mt5", "umt5", "longt5", "switch_transformers", "musicgen"],
        keywords: r#"{
            "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>", "extra_ids": 100, "add_prefix_space": true
        }"#,
        extra: sentinels,
        layout: |settings| {
            let after = sentinels(settings).into_iter().rev().collect();
            Layout { after, ..Layout::default() }
        },
        processor: Processor::Template("$A:0 </s>:0", "$A:0 </s>:0 $B:0 </s>:0"),
        ..PLAIN
    },
    Kind {
        class: "PegasusTokenizer",
        same: &[],
        model_types: &["pegasus", "bigbird_pegasus", "pegasus_x"],
        keywords: r#"{
            "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask_2>",
            "mask_token_sent": "<mask_1>", "offset": 103
        }"#,
        extra: |settings| {
            let sentence = token(settings, "mask_token_sent").map(str::to_owned);
            sentence.into_iter().chain(unused(settings)).collect()
        },
        layout: |settings| {
            let named = ["pad_token", "eos_token", "mask_token_sent", "mask_token"];
            let named = named.into_iter().filter_map(|name| token(settings, name));
            let named = named.map(|token| (token.to_owned(), 0.0));
            let before = named.chain(unused(settings).map(|token| (token, -100.0))).collect();
            Layout { before, replaced: 2, ..Layout::default() }
        },
        pre_tokenizer: &[Step::Part(r#"{"type": "WhitespaceSplit"}"#), Step::Part(METASPACE)],
        processor: Processor::Template("$A:0 {eos_token}:0", "$A:0 $B:0 {eos_token}:0"),
        ..PLAIN
    },
    Kind {
        class: "CamembertTokenizer",
        same: &[],
        model_types: &["camembert"],
        files: FAIRSEQ,
        keywords: r#"{
            "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>",
            "pad_token": "<pad>", "mask_token": {"content": "<mask>", "lstrip": true, "normalized": false}
        }"#,
        extra: |_| ["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"].map(str::to_owned).into(),
        layout: |_| Layout {
            before: scored(&[
                ("<s>NOTUSED", 0.0),
                ("<pad>", 0.0),
                ("</s>NOTUSED", 0.0),
                ("<unk>", 0.0),
                ("<unk>NOTUSED", -100.0),
            ]),
            replaced: 1,
            after: vec!["<mask>".to_owned()],
            ..Layout::default()
        },
        processor: S_AND_S,
        ..PLAIN
    },
    Kind {
        class: "DebertaV2Tokenizer",
        same: &[],
        model_types: &["deberta-v2"],
        files: &[("vocab_file", "spm.model"), TOKENIZER_FILE],
        keywords: r#"{
            "do_lower_case": false, "split_by_punct": false, "bos_token": "[CLS]", "eos_token": "[SEP]",
            "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]"
        }"#,
        model_input_names: &["input_ids", "attention_mask", "token_type_ids"],
        normalizer: &[
            Step::If("do_lower_case", r#"{"type": "Lowercase"}"#),
            Step::Part(r#"{"type": "Strip", "strip_left": true, "strip_right": true}"#),
            Step::Charsmap,
            Step::Part(ONE_SPACE),
        ],
        pre_tokenizer: &[
            Step::If("split_by_punct", r#"{"type": "Punctuation", "behavior": "Isolated"}"#),
            Step::Part(METASPACE),
        ],
        processor: CLS_SEP,
        ..PLAIN
    },
    Kind {
        class: "MBartTokenizer",
        same: &[],
        model_types: &["mbart"],
        languages: Some(&MBART),
        extra: |_| codes(&MBART),
        layout: |_| fairseq(&[MBART.codes, &["<mask>"]].concat()),
        processor: ALL,
        ..XLM_ROBERTA
    },
    Kind {
        class: "MBart50Tokenizer",
        same: &[],
        model_types: &["mbart50"],
        keywords: r#"{
            "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>", "pad_token": "<pad>",
            "mask_token": {"content": "<mask>", "lstrip": true}
        }"#,
        languages: Some(&MBART50),
        extra: |_| codes(&MBART50),
        layout: |_| fairseq(&[MBART50.codes, &["<mask>"]].concat()),
        processor: ALL,
        ..XLM_ROBERTA
    },
    Kind {
        class: "NllbTokenizer",
        same: &[],
        model_types: &["nllb", "nllb-moe"],
        keywords: r#"{
            "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>",
            "pad_token": "<pad>", "mask_token": {"content": "<mask>", "lstrip": true, "normalized": true},
            "legacy_behaviour": false
        }"#,
        languages: Some(&NLLB),
        extra: |_| codes(&NLLB),
        layout: |_| fairseq(&[]),
        processor: ALL,
        ..XLM_ROBERTA
    },
    Kind {
        class: "XGLMTokenizer",
        same: &[],
        model_types: &["xglm"],
        keywords: r#"{
            "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>", "unk_token": "<unk>",
            "pad_token": "<pad>"
        }"#,
        extra: madeup_words,
        layout: |settings| {
            let mut layout = fairseq(&[]);
            layout.after = madeup_words(settings);
            layout
        },
        processor: Processor::Template("</s>:0 $A:0", "</s>:0 $A:0 </s>:0 </s>:0 $B:0"),
        ..XLM_ROBERTA
    },
    Kind {
        class: "XLNetTokenizer",
        model_types: &["xlnet"],
        keywords: r#"{
            "do_lower_case": false, "keep_accents": false, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
            "sep_token": "<sep>", "pad_token": "<pad>", "cls_token": "<cls>",
            "mask_token": {"content": "<mask>", "lstrip": true}
        }"#,
        model_input_names: WITH_TYPES,
        padding_side: "left",
        extra: |_| ["<eop>", "<eod>"].map(str::to_owned).into(),
        processor: Processor::Template("$A:0 <sep>:0 <cls>:2", "$A:0 <sep>:0 $B:1 <sep>:1 <cls>:2"),
        ..ALBERT
    },
    Kind {
        class: "GemmaTokenizer",
        same: &[],
        model_types: &["gemma", "gemma2", "gemma3", "gemma3_text", "recurrent_gemma"],
        keywords: r#"{
            "unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "mask_token": "<mask>"
        }"#,
        reads: Reads::SentencePiece { bytes: true, tab: true },
        layout: |settings| {
            let named =
                ["pad_token", "eos_token", "bos_token"].map(|name| token(settings, name).unwrap_or_default());
            Layout {
                before: named.map(|token| (token.to_owned(), 0.0)).into(),
                replaced: 3,
                special: &["<start_of_turn>", "<end_of_turn>"],
                ..Layout::default()
            }
        },
        normalizer: &[Step::Part(SPACES_WRITTEN)],
        pre_tokenizer: &[Step::Part(
            r#"{"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}"#,
        )],
        decoder: &[
            Step::Part(SPACES_READ),
            Step::Part(r#"{"type": "ByteFallback"}"#),
            Step::Part(r#"{"type": "Fuse"}"#),
        ],
        ..LLAMA
    },
];

/// fairseq's first four tokens in the place of the model's first three.
fn fairseq(after: &[&str]) -> Layout {
    Layout {
        before: scored(&[("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]),
        replaced: 3,
        after: after.iter().map(|&token| token.to_owned()).collect(),
        ..Layout::default()
    }
}

fn scored(pieces: &[(&str, f64)]) -> Vec<(String, f64)> {
    pieces.iter().map(|&(piece, score)| (piece.to_owned(), score)).collect()
}

fn codes(languages: &Languages) -> Vec<String> {
    languages.codes.iter().map(|&code| code.to_owned()).collect()
}

/// T5's tokens for spans that were taken out of a text. No model has more than a few hundred.
fn sentinels(settings: &Settings) -> Vec<String> {
    (0..number(settings, "extra_ids", 100).min(10_000)).map(|index| format!("<extra_id_{index}>")).collect()
}

/// Pegasus's tokens that only its pretraining used.
fn unused(settings: &Settings) -> impl Iterator<Item = String> {
    (2..number(settings, "offset", 103).min(10_000)).map(|index| format!("<unk_{index}>"))
}

fn madeup_words(_: &Settings) -> Vec<String> {
    (0..7).map(|index| format!("<madeupword{index}>")).collect()
}
