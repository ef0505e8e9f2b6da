//! What llama.cpp calls things, as tables: one row is one architecture. Sources: llama.cpp's `convert_hf_to_gguf.py`, whose doings are
//! undone here, and transformers' `GGUF_CONFIG_MAPPING`.

use serde_json::{Map, Value};
use trustformers_gguf::File;

use super::config;
use crate::{Error, Result};

/// An architecture of llama.cpp.
pub(super) struct Row {
    /// Its name there: `general.architecture`.
    pub name: &'static str,
    /// Ours.
    pub model_type: &'static str,
    /// The values of a file, whose names begin with the architecture's, and the fields of the configuration that they are.
    pub fields: &'static [&'static [Field]],
    /// Fields that follow from others, or that files leave to llama.cpp.
    pub complete: fn(&File, &mut Map<String, Value>) -> Result<()>,
    /// The parts between the dots of a tensor's name, and what they are called here. The first that fits counts.
    pub names: &'static [&'static [(&'static str, &'static str)]],
    /// What was done to tensors, by a part of their names.
    pub changes: &'static [(&'static str, Change)],
}

/// A value of a file as a field of a configuration.
pub(super) struct Field {
    pub key: &'static str,
    pub field: &'static str,
    pub required: bool,
}

/// What the converter to GGUF did to a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The halves of each head, of so many as this field says, were shuffled: pairs that are turned together lie side by side.
    Interleaved(&'static str),
    /// A matrix of transformers' `Conv1D` was transposed.
    Transposed,
    /// One was added.
    PlusOne,
}

const fn required(key: &'static str, field: &'static str) -> Field {
    Field { key, field, required: true }
}

const fn optional(key: &'static str, field: &'static str) -> Field {
    Field { key, field, required: false }
}

const SIZES: &[Field] = &[
    required("context_length", "max_position_embeddings"),
    required("block_count", "num_hidden_layers"),
    required("embedding_length", "hidden_size"),
    required("attention.head_count", "num_attention_heads"),
    optional("vocab_size", "vocab_size"),
];

/// Llama's and those of all that are like it.
const LLAMA: &[Field] = &[
    required("feed_forward_length", "intermediate_size"),
    required("attention.layer_norm_rms_epsilon", "rms_norm_eps"),
    optional("attention.head_count_kv", "num_key_value_heads"),
    optional("rope.freq_base", "rope_theta"),
];

const HEAD_DIM: &[Field] = &[optional("attention.key_length", "head_dim")];
const WINDOW: &[Field] = &[optional("attention.sliding_window", "sliding_window")];
const LAYER_NORM: &[Field] = &[
    optional("feed_forward_length", "intermediate_size"),
    optional("attention.head_count_kv", "num_key_value_heads"),
    optional("rope.freq_base", "rope_theta"),
];

const LLAMA_NAMES: &[(&str, &str)] = &[
    ("token_embd", "model.embed_tokens"),
    ("blk", "model.layers"),
    ("output_norm", "model.norm"),
    ("output", "lm_head"),
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("attn_q_norm", "self_attn.q_norm"),
    ("attn_k_norm", "self_attn.k_norm"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// Norms on the way out of attention and feed-forward network.
const OUT_NORMS: &[(&str, &str)] =
    &[("post_attention_norm", "post_attention_layernorm"), ("post_ffw_norm", "post_feedforward_layernorm")];

const GPT2_NAMES: &[(&str, &str)] = &[
    ("token_embd", "transformer.wte"),
    ("position_embd", "transformer.wpe"),
    ("blk", "transformer.h"),
    ("output_norm", "transformer.ln_f"),
    ("output", "lm_head"),
    ("attn_norm", "ln_1"),
    ("attn_qkv", "attn.c_attn"),
    ("attn_output", "attn.c_proj"),
    ("ffn_norm", "ln_2"),
    ("ffn_up", "mlp.c_fc"),
    ("ffn_down", "mlp.c_proj"),
];

/// Llama's rotation of neighbours.
const INTERLEAVED: &[(&str, Change)] = &[
    ("attn_q", Change::Interleaved("num_attention_heads")),
    ("attn_k", Change::Interleaved("num_key_value_heads")),
];

/// Gemma's norms, which scale with one more than their weight.
const PLUS_ONE: &[(&str, Change)] = &[
    ("output_norm", Change::PlusOne),
    ("attn_norm", Change::PlusOne),
    ("post_attention_norm", Change::PlusOne),
    ("ffn_norm", Change::PlusOne),
    ("post_ffw_norm", Change::PlusOne),
    ("attn_q_norm", Change::PlusOne),
    ("attn_k_norm", Change::PlusOne),
];

/// Every architecture that is read.
const ROWS: &[Row] = &[
    Row {
        name: "llama",
        model_type: "llama",
        fields: &[SIZES, LLAMA, HEAD_DIM, &[optional("rope.dimension_count", "head_dim")]],
        complete: |file, values| {
            config::refuse_experts(file)?;
            config::rope_scaling(file, values)
        },
        names: &[LLAMA_NAMES],
        changes: INTERLEAVED,
    },
    Row {
        name: "smollm3",
        model_type: "smollm3",
        fields: &[SIZES, LLAMA],
        complete: config::rope_scaling,
        names: &[LLAMA_NAMES],
        changes: INTERLEAVED,
    },
    Row {
        name: "qwen2",
        model_type: "qwen2",
        fields: &[SIZES, LLAMA],
        complete: config::rope_scaling,
        names: &[LLAMA_NAMES],
        changes: &[],
    },
    Row {
        name: "qwen3",
        model_type: "qwen3",
        fields: &[SIZES, LLAMA, HEAD_DIM],
        complete: config::rope_scaling,
        names: &[LLAMA_NAMES],
        changes: &[],
    },
    Row {
        name: "olmo2",
        model_type: "olmo2",
        fields: &[SIZES, LLAMA],
        complete: config::rope_scaling,
        names: &[OUT_NORMS, LLAMA_NAMES],
        changes: &[],
    },
    Row {
        name: "gemma",
        model_type: "gemma",
        fields: &[SIZES, LLAMA, HEAD_DIM],
        complete: config::rope_scaling,
        names: &[LLAMA_NAMES],
        changes: PLUS_ONE,
    },
    Row {
        name: "gemma2",
        model_type: "gemma2",
        fields: &[
            SIZES,
            LLAMA,
            HEAD_DIM,
            WINDOW,
            &[
                optional("attn_logit_softcapping", "attn_logit_softcapping"),
                optional("final_logit_softcapping", "final_logit_softcapping"),
            ],
        ],
        complete: |_, values| config::gemma_scale(values, 46),
        names: &[&[("ffn_norm", "pre_feedforward_layernorm")], OUT_NORMS, LLAMA_NAMES],
        changes: PLUS_ONE,
    },
    Row {
        name: "gemma3",
        model_type: "gemma3_text",
        fields: &[
            SIZES,
            LLAMA,
            HEAD_DIM,
            WINDOW,
            &[
                optional("attention.sliding_window_pattern", "sliding_window_pattern"),
                optional("rope.freq_base_swa", "rope_local_base_freq"),
                optional("final_logit_softcapping", "final_logit_softcapping"),
            ],
        ],
        complete: |file, values| {
            config::gemma_scale(values, 62)?;
            config::rope_scaling(file, values)
        },
        names: &[&[("ffn_norm", "pre_feedforward_layernorm")], OUT_NORMS, LLAMA_NAMES],
        changes: PLUS_ONE,
    },
    Row {
        name: "phi3",
        model_type: "phi3",
        fields: &[SIZES, LLAMA, WINDOW],
        complete: |file, values| {
            config::partial_rotary(file, values)?;
            config::rope_scaling(file, values)
        },
        names: &[&[("attn_qkv", "self_attn.qkv_proj"), ("ffn_up", "mlp.gate_up_proj")], LLAMA_NAMES],
        changes: &[],
    },
    Row {
        name: "stablelm",
        model_type: "stablelm",
        fields: &[SIZES, LAYER_NORM, &[required("attention.layer_norm_epsilon", "layer_norm_eps")]],
        complete: |file, values| {
            values.insert("use_qkv_bias".into(), file.has_tensor("blk.0.attn_q.bias").into());
            values.insert("use_parallel_residual".into(), (!file.has_tensor("blk.0.ffn_norm.weight")).into());
            config::partial_rotary(file, values)
        },
        names: &[LLAMA_NAMES],
        changes: &[],
    },
    Row {
        name: "gpt2",
        model_type: "gpt2",
        fields: &[
            SIZES,
            &[
                optional("feed_forward_length", "n_inner"),
                required("attention.layer_norm_epsilon", "layer_norm_epsilon"),
            ],
        ],
        complete: |_, _| Ok(()),
        names: &[GPT2_NAMES],
        changes: &[
            ("attn_qkv", Change::Transposed),
            ("attn_output", Change::Transposed),
            ("ffn_up", Change::Transposed),
            ("ffn_down", Change::Transposed),
        ],
    },
];

impl Row {
    /// The row of a file's architecture.
    pub fn of(file: &File) -> Result<&'static Row> {
        let name = file.architecture()?;
        ROWS.iter().find(|row| row.name == name).ok_or_else(|| {
            let known: Vec<_> = ROWS.iter().map(|row| row.name).collect();
            let known = known.join(", ");
            Error::from(file.unsupported(format!(
                "GGUF model with architecture {name} is not supported yet. Supported are: {known}"
            )))
        })
    }

    /// What a tensor is called here, and what was done to it; `None` for one that has no name here.
    pub fn name(&self, tensor: &str) -> Option<(String, Option<Change>)> {
        let mut names = Vec::new();
        let mut change = None;
        for part in tensor.split('.') {
            let is_own = matches!(part, "weight" | "bias") || part.bytes().all(|byte| byte.is_ascii_digit());
            let known = self.names.iter().copied().flatten().find(|(theirs, _)| *theirs == part);
            names.push(match known {
                Some((_, ours)) => *ours,
                None if is_own => part,
                None => return None,
            });
            change =
                change.or(self.changes.iter().find(|(theirs, _)| *theirs == part).map(|(_, change)| *change));
        }
        Some((names.join("."), change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture;

    #[test]
    fn every_row_names_an_architecture_of_ours() {
        for row in ROWS {
            let defaults = architecture::find(row.model_type).unwrap().defaults();
            let aliases = architecture::find(row.model_type).unwrap().aliases;
            for Field { field, .. } in row.fields.iter().copied().flatten() {
                let own = aliases.iter().find(|(common, _)| common == field).map_or(*field, |(_, own)| own);
                // Older names, which become `rope_parameters`, and what is a constant of the class.
                let older = ["rope_theta", "rope_local_base_freq", "sliding_window_pattern"].contains(field);
                assert!(defaults.contains_key(own) || older, "{}: {field}", row.name);
            }
        }
    }

    #[test]
    fn names_are_those_of_transformers() {
        let row = |name| ROWS.iter().find(|row| row.name == name).unwrap();
        let turned = Some(Change::Interleaved("num_attention_heads"));
        for (architecture, theirs, ours) in [
            ("llama", "token_embd.weight", Some(("model.embed_tokens.weight", None))),
            ("llama", "blk.12.attn_q.weight", Some(("model.layers.12.self_attn.q_proj.weight", turned))),
            ("llama", "blk.0.attn_output.weight", Some(("model.layers.0.self_attn.o_proj.weight", None))),
            ("llama", "rope_freqs.weight", None),
            (
                "gemma2",
                "blk.1.ffn_norm.weight",
                Some(("model.layers.1.pre_feedforward_layernorm.weight", Some(Change::PlusOne))),
            ),
            ("gpt2", "output.weight", Some(("lm_head.weight", None))),
            (
                "gpt2",
                "blk.0.attn_qkv.bias",
                Some(("transformer.h.0.attn.c_attn.bias", Some(Change::Transposed))),
            ),
        ] {
            let expected = ours.map(|(name, change)| (name.to_owned(), change));
            assert_eq!(row(architecture).name(theirs), expected, "{theirs}");
        }
    }
}
