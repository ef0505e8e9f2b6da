//! How byte-level BPE splits a text into words: what `tokenizer.ggml.pre` names. Sources: llama.cpp's `llm_tokenizer_bpe`, which
//! describes the same as expressions, and the `tokenizer.json` of the models.

use serde_json::{Value, json};

/// A way to split.
pub struct Split {
    how: How,
    /// Whether a word that is a token is taken as it is, whatever merges say.
    pub ignores_merges: bool,
    /// Whether a text starts with `bos_token` where the file does not say.
    pub adds_bos: bool,
}

enum How {
    /// As GPT-2.
    Gpt2,
    /// As GPT-2, each digit for itself.
    Digits,
    /// Runs of punctuation apart, the rest as GPT-2, and digits by threes.
    Falcon,
    /// As an expression says.
    Expression(&'static str),
}

/// The ways by the names that llama.cpp has for them.
static SPLITS: [(&[&str], Split); 9] = [
    (
        &[
            "gpt-2",
            "default",
            "phi-2",
            "mpt",
            "olmo",
            "jais",
            "gigachat",
            "exaone4",
            "trillion",
            "granite-docling",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
            "roberta-bpe",
        ],
        Split::new(How::Gpt2),
    ),
    (
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        Split::new(How::Digits),
    ),
    (
        &["qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "kormo", "f2llmv2", "solar-open"],
        Split::new(How::Expression(QWEN2)),
    ),
    (&["dbrx", "smaug-bpe", "glm4", "chatglm-bpe"], Split::new(How::Expression(LLAMA3))),
    (
        &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        Split { ignores_merges: true, adds_bos: true, ..Split::new(How::Expression(LLAMA3)) },
    ),
    (&["tekken"], Split { ignores_merges: true, adds_bos: true, ..Split::new(How::Expression(TEKKEN)) }),
    (&["falcon"], Split::new(How::Falcon)),
    (&["bloom", "gpt3-finnish"], Split::new(How::Expression(BLOOM))),
    (&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], Split::new(How::Expression(GPT4O))),
];

const BLOOM: &str = r" ?[^(\s|[.,!?…。，、।۔،])]+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Split {
    const fn new(how: How) -> Split {
        Split { how, ignores_merges: false, adds_bos: false }
    }

    /// The same as a part of a `tokenizer.json`.
    pub fn pre_tokenizer(&self) -> Value {
        let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
        let split = |expression: &str| json!({"type": "Split", "pattern": {"Regex": expression}, "behavior": "Isolated", "invert": false});
        let first = match self.how {
            How::Gpt2 => return bytes(true),
            How::Falcon => {
                let punctuation = json!({"type": "Punctuation", "behavior": "Contiguous"});
                let digits = json!({"type": "Digits", "individual_digits": false});
                let parts = [punctuation, bytes(true), digits, split("[0-9][0-9][0-9]")];
                return json!({"type": "Sequence", "pretokenizers": parts});
            }
            How::Digits => json!({"type": "Digits", "individual_digits": true}),
            How::Expression(expression) => split(expression),
        };
        json!({"type": "Sequence", "pretokenizers": [first, bytes(matches!(self.how, How::Digits))]})
    }
}

/// The way that a name stands for.
pub fn find(name: &str) -> Option<&'static Split> {
    SPLITS.iter().find(|(names, _)| names.contains(&name)).map(|(_, split)| split)
}

/// All names, for messages.
pub fn known() -> String {
    SPLITS.iter().flat_map(|(names, _)| *names).copied().collect::<Vec<_>>().join(", ")
}
