//! BERT's and those of its descendants: WordPiece over a `vocab.txt`.

use super::{TOKENIZER_FILE, WITH_TYPES, WITHOUT_TYPES};
use crate::slow::kind::{Kind, Layout, Processor, Reads, Step};

const BERT: Kind = Kind {
    class: "BertTokenizer",
    same: &[
        "ConvBertTokenizer",
        "DPRContextEncoderTokenizer",
        "DPRQuestionEncoderTokenizer",
        "DPRReaderTokenizer",
        "ElectraTokenizer",
        "LayoutLMTokenizer",
        "LxmertTokenizer",
        "MobileBertTokenizer",
        "RealmTokenizer",
        "RetriBertTokenizer",
        "SqueezeBertTokenizer",
    ],
    model_types: &[
        "bert",
        "convbert",
        "dpr",
        "electra",
        "ernie",
        "layoutlm",
        "lxmert",
        "megatron-bert",
        "mobilebert",
        "nezha",
        "nomic_bert",
        "qdqbert",
        "realm",
        "retribert",
        "squeezebert",
        "visual_bert",
    ],
    files: &[("vocab_file", "vocab.txt"), TOKENIZER_FILE],
    keywords: r#"{
        "do_lower_case": true, "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
        "mask_token": "[MASK]", "tokenize_chinese_chars": true, "strip_accents": null
    }"#,
    model_input_names: WITH_TYPES,
    padding_side: "right",
    languages: None,
    reads: Reads::WordPiece,
    extra: |_| Vec::new(),
    layout: |_| Layout::default(),
    normalizer: &[Step::Part(
        r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": "$tokenize_chinese_chars",
            "strip_accents": "$strip_accents", "lowercase": "$do_lower_case"}"#,
    )],
    pre_tokenizer: &[Step::Part(r#"{"type": "BertPreTokenizer"}"#)],
    decoder: &[Step::Part(r###"{"type": "WordPiece", "prefix": "##", "cleanup": true}"###)],
    processor: Processor::Template(
        "{cls_token}:0 $A:0 {sep_token}:0",
        "{cls_token}:0 $A:0 {sep_token}:0 $B:1 {sep_token}:1",
    ),
};

pub const KINDS: &[Kind] = &[
    BERT,
    Kind {
        class: "DistilBertTokenizer",
        same: &[],
        model_types: &["distilbert"],
        model_input_names: WITHOUT_TYPES,
        ..BERT
    },
    Kind {
        class: "FunnelTokenizer",
        same: &[],
        model_types: &["funnel"],
        keywords: r#"{
            "do_lower_case": true, "unk_token": "<unk>", "sep_token": "<sep>", "pad_token": "<pad>", "cls_token": "<cls>",
            "mask_token": "<mask>", "bos_token": "<s>", "eos_token": "</s>", "tokenize_chinese_chars": true,
            "strip_accents": null
        }"#,
        processor: Processor::Template(
            "{cls_token}:2 $A:0 {sep_token}:0",
            "{cls_token}:2 $A:0 {sep_token}:0 $B:1 {sep_token}:1",
        ),
        ..BERT
    },
    Kind {
        class: "MPNetTokenizer",
        same: &[],
        model_types: &["mpnet"],
        keywords: r#"{
            "do_lower_case": true, "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>",
            "unk_token": "[UNK]", "pad_token": "<pad>", "mask_token": {"content": "<mask>", "lstrip": true, "normalized": false},
            "tokenize_chinese_chars": true, "strip_accents": null
        }"#,
        model_input_names: WITHOUT_TYPES,
        processor: Processor::Template(
            "{cls_token}:0 $A:0 {sep_token}:0",
            "{cls_token}:0 $A:0 {sep_token}:0 {sep_token}:0 $B:1 {sep_token}:1",
        ),
        ..BERT
    },
];
