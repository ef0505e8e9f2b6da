//! GPT-2's, RoBERTa's and those of their descendants: BPE over a `vocab.json` and a `merges.txt`, most of them over bytes.

use super::{TOKENIZER_FILE, WITHOUT_TYPES};
use crate::slow::kind::{BpeOptions, Kind, Layout, Processor, Reads, Step};

const BYTE_LEVEL: &str =
    r#"{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}"#;
const NO_TRIMMING: &str =
    r#"{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true}"#;
/// The rest of a text that an expression has split.
const BYTES_ALONE: &str = r#"{"type": "ByteLevel", "add_prefix_space": "$add_prefix_space", "trim_offsets": true, "use_regex": false}"#;
const ENDED_WORDS: BpeOptions = BpeOptions { unknown: true, suffix: "</w>" };
const FILES: &[(&str, &str)] = &[("vocab_file", "vocab.json"), ("merges_file", "merges.txt"), TOKENIZER_FILE];

const GPT2: Kind = Kind {
    class: "GPT2Tokenizer",
    same: &["CodeGenTokenizer"],
    model_types: &["gpt2", "gpt_neo", "gptj", "codegen", "opt", "phi", "dbrx"],
    files: FILES,
    keywords: r#"{
        "errors": "replace", "unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
        "pad_token": null, "add_prefix_space": false
    }"#,
    model_input_names: WITHOUT_TYPES,
    padding_side: "right",
    languages: None,
    reads: Reads::Bpe(BpeOptions { unknown: false, suffix: "" }),
    extra: |_| Vec::new(),
    layout: |_| Layout::default(),
    normalizer: &[],
    pre_tokenizer: &[Step::Part(
        r#"{"type": "ByteLevel", "add_prefix_space": "$add_prefix_space", "trim_offsets": true, "use_regex": true}"#,
    )],
    decoder: &[Step::Part(BYTE_LEVEL)],
    processor: Processor::Part(NO_TRIMMING),
};

const ROBERTA: Kind = Kind {
    class: "RobertaTokenizer",
    same: &["BartTokenizer", "LEDTokenizer", "LongformerTokenizer", "MvpTokenizer"],
    model_types: &[
        "roberta",
        "roberta-prelayernorm",
        "bart",
        "led",
        "longformer",
        "mvp",
        "data2vec-text",
        "ibert",
        "xmod",
    ],
    keywords: r#"{
        "errors": "replace", "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>",
        "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": {"content": "<mask>", "lstrip": true},
        "add_prefix_space": false, "trim_offsets": true
    }"#,
    processor: Processor::Roberta,
    ..GPT2
};

pub const KINDS: &[Kind] = &[
    GPT2,
    ROBERTA,
    Kind {
        class: "BlenderbotTokenizer",
        same: &[],
        model_types: &["blenderbot"],
        keywords: r#"{
            "errors": "replace", "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>",
            "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": {"content": "<mask>", "lstrip": true},
            "add_prefix_space": true, "trim_offsets": true
        }"#,
        processor: Processor::Template("$A:0 {eos_token}:0", "$A:0 $B:1"),
        ..ROBERTA
    },
    Kind {
        class: "DebertaTokenizer",
        same: &[],
        model_types: &["deberta"],
        keywords: r#"{
            "errors": "replace", "bos_token": "[CLS]", "eos_token": "[SEP]", "sep_token": "[SEP]", "cls_token": "[CLS]",
            "unk_token": "[UNK]", "pad_token": "[PAD]", "mask_token": {"content": "[MASK]", "lstrip": true},
            "add_prefix_space": false
        }"#,
        model_input_names: &["input_ids", "attention_mask", "token_type_ids"],
        processor: Processor::Template(
            "{cls_token}:0 $A:0 {sep_token}:0",
            "{cls_token}:0 $A:0 {sep_token}:0 $B:1 {sep_token}:1",
        ),
        ..GPT2
    },
    Kind {
        class: "Qwen2Tokenizer",
        same: &["Qwen3Tokenizer"],
        model_types: &["qwen2", "qwen2_moe", "qwen3", "qwen3_moe"],
        keywords: r#"{
            "unk_token": "<|endoftext|>", "bos_token": null, "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
            "add_prefix_space": false
        }"#,
        normalizer: &[Step::Part(r#"{"type": "NFC"}"#)],
        pre_tokenizer: &[
            Step::Part(
                r#"{"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
                    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}}"#,
            ),
            Step::Part(BYTES_ALONE),
        ],
        ..GPT2
    },
    Kind {
        class: "GPTNeoXTokenizer",
        same: &[],
        model_types: &["gpt_neox", "mamba", "mpt", "olmo", "olmoe", "rwkv"],
        keywords: r#"{
            "errors": "replace", "unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
            "pad_token": "<|padding|>", "add_prefix_space": false
        }"#,
        normalizer: &[Step::Part(r#"{"type": "NFC"}"#)],
        ..GPT2
    },
    // Of these two no model comes without a tokenizer.json.
    Kind {
        class: "BloomTokenizer",
        same: &[],
        model_types: &["bloom"],
        files: &[TOKENIZER_FILE],
        keywords: r#"{"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}"#,
        padding_side: "left",
        reads: Reads::TokenizerFile,
        ..GPT2
    },
    Kind {
        class: "CohereTokenizer",
        same: &[],
        model_types: &["cohere", "cohere2"],
        files: &[TOKENIZER_FILE],
        keywords: r#"{
            "unk_token": "<UNK>", "bos_token": "<BOS_TOKEN>", "eos_token": "<|END_OF_TURN_TOKEN|>", "pad_token": "<PAD>",
            "cls_token": "<CLS>", "sep_token": "<SEP>", "mask_token": "<MASK_TOKEN>"
        }"#,
        padding_side: "left",
        reads: Reads::TokenizerFile,
        ..GPT2
    },
    Kind {
        class: "OpenAIGPTTokenizer",
        same: &[],
        model_types: &["openai-gpt"],
        keywords: r#"{"unk_token": "<unk>"}"#,
        reads: Reads::Bpe(ENDED_WORDS),
        normalizer: &[Step::Part(
            r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                "lowercase": true}"#,
        )],
        pre_tokenizer: &[Step::Part(r#"{"type": "BertPreTokenizer"}"#)],
        decoder: &[Step::Part(r#"{"type": "BPEDecoder", "suffix": "</w>"}"#)],
        processor: Processor::Asked,
        ..GPT2
    },
];
