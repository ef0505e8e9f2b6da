//! What llama.cpp calls things, as tables: one row is one architecture. Sources: llama.cpp's `convert_hf_to_gguf.py`, whose doings are
//! undone here, and transformers' `GGUF_CONFIG_MAPPING`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use trustformers_gguf::File;

use super::{config, names};
use crate::{Error, Result};

/// An architecture of llama.cpp.
pub(super) struct Row {
    /// Its name there: `general.architecture`.
    pub name: &'static str,
    /// A tensor that tells its files from others of this name.
    pub mark: Option<&'static str>,
    /// Ours.
    pub model_type: &'static str,
    /// The values of a file, whose names begin with the architecture's, and the fields of the configuration that they are.
    pub fields: &'static [&'static [Field]],
    /// Fields that follow from others, or that files leave to llama.cpp.
    pub complete: fn(&File, &mut Map<String, Value>) -> Result<()>,
    /// The parts between the dots of a tensor's name, and what they are called here. The first that fits counts. `*` stands for the
    /// number of a matrix where several are stacked.
    pub names: &'static [&'static [(&'static str, &'static str)]],
    /// What was done to tensors, by a part of their names.
    pub changes: &'static [&'static [(&'static str, Change)]],
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
    /// The rows of all queries, then those of all keys and of all values stand together, instead of those of each key with its queries and
    /// its value. There are as many heads and keys as these fields say.
    Ungrouped(&'static str, &'static str),
    /// The matrices of all experts are one tensor.
    Stacked,
}

const fn required(key: &'static str, field: &'static str) -> Field {
    Field { key, field, required: true }
}

const fn optional(key: &'static str, field: &'static str) -> Field {
    Field { key, field, required: false }
}

const CONTEXT: &[Field] = &[required("context_length", "max_position_embeddings")];
const SIZES: &[Field] = &[
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
/// All of a head is turned.
const TURNED: &[Field] = &[optional("rope.dimension_count", "head_dim")];
const EXPERTS: &[Field] =
    &[required("expert_count", "num_local_experts"), required("expert_used_count", "num_experts_per_tok")];
const WINDOW: &[Field] = &[optional("attention.sliding_window", "sliding_window")];
const LAYER_NORM: &[Field] = &[
    optional("feed_forward_length", "intermediate_size"),
    optional("attention.head_count_kv", "num_key_value_heads"),
    optional("rope.freq_base", "rope_theta"),
];

const FALCON: &[&[Field]] = &[
    CONTEXT,
    SIZES,
    &[
        required("attention.head_count_kv", "num_kv_heads"),
        required("attention.layer_norm_epsilon", "layer_norm_epsilon"),
        optional("feed_forward_length", "ffn_hidden_size"),
        optional("rope.freq_base", "rope_theta"),
    ],
];

/// Llama's rotation of neighbours.
const INTERLEAVED: &[(&str, Change)] = &[
    ("attn_q", Change::Interleaved("num_attention_heads")),
    ("attn_k", Change::Interleaved("num_key_value_heads")),
];

const STACKED: &[(&str, Change)] = &[
    ("ffn_gate_exps", Change::Stacked),
    ("ffn_up_exps", Change::Stacked),
    ("ffn_down_exps", Change::Stacked),
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
        mark: Some("blk.0.ffn_gate_inp.weight"),
        model_type: "mixtral",
        fields: &[CONTEXT, SIZES, LLAMA, HEAD_DIM, TURNED, EXPERTS],
        complete: config::rope_scaling,
        names: &[names::MIXTRAL, names::LLAMA],
        changes: &[INTERLEAVED, STACKED],
    },
    Row {
        name: "llama",
        mark: None,
        model_type: "llama",
        fields: &[CONTEXT, SIZES, LLAMA, HEAD_DIM, TURNED],
        complete: config::rope_scaling,
        names: &[names::LLAMA],
        changes: &[INTERLEAVED],
    },
    Row {
        name: "smollm3",
        mark: None,
        model_type: "smollm3",
        fields: &[CONTEXT, SIZES, LLAMA],
        complete: config::rope_scaling,
        names: &[names::LLAMA],
        changes: &[INTERLEAVED],
    },
    Row {
        name: "qwen2",
        mark: None,
        model_type: "qwen2",
        fields: &[CONTEXT, SIZES, LLAMA],
        complete: config::rope_scaling,
        names: &[names::LLAMA],
        changes: &[],
    },
    Row {
        name: "qwen3",
        mark: None,
        model_type: "qwen3",
        fields: &[CONTEXT, SIZES, LLAMA, HEAD_DIM],
        complete: config::rope_scaling,
        names: &[names::LLAMA],
        changes: &[],
    },
    Row {
        name: "olmo2",
        mark: None,
        model_type: "olmo2",
        fields: &[CONTEXT, SIZES, LLAMA],
        complete: config::rope_scaling,
        names: &[names::OUT_NORMS, names::LLAMA],
        changes: &[],
    },
    Row {
        name: "gemma",
        mark: None,
        model_type: "gemma",
        fields: &[CONTEXT, SIZES, LLAMA, HEAD_DIM],
        complete: config::rope_scaling,
        names: &[names::LLAMA],
        changes: &[PLUS_ONE],
    },
    Row {
        name: "gemma2",
        mark: None,
        model_type: "gemma2",
        fields: &[
            CONTEXT,
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
        names: &[&[("ffn_norm", "pre_feedforward_layernorm")], names::OUT_NORMS, names::LLAMA],
        changes: &[PLUS_ONE],
    },
    Row {
        name: "gemma3",
        mark: None,
        model_type: "gemma3_text",
        fields: &[
            CONTEXT,
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
        names: &[&[("ffn_norm", "pre_feedforward_layernorm")], names::OUT_NORMS, names::LLAMA],
        changes: &[PLUS_ONE],
    },
    Row {
        name: "phi3",
        mark: None,
        model_type: "phi3",
        fields: &[CONTEXT, SIZES, LLAMA, WINDOW],
        complete: |file, values| {
            config::partial_rotary(file, values)?;
            config::rope_scaling(file, values)
        },
        names: &[&[("attn_qkv", "self_attn.qkv_proj"), ("ffn_up", "mlp.gate_up_proj")], names::LLAMA],
        changes: &[],
    },
    Row {
        name: "stablelm",
        mark: None,
        model_type: "stablelm",
        fields: &[CONTEXT, SIZES, LAYER_NORM, &[required("attention.layer_norm_epsilon", "layer_norm_eps")]],
        complete: |file, values| {
            values.insert("use_qkv_bias".into(), file.has_tensor("blk.0.attn_q.bias").into());
            values.insert("use_parallel_residual".into(), (!file.has_tensor("blk.0.ffn_norm.weight")).into());
            config::partial_rotary(file, values)
        },
        names: &[names::LLAMA],
        changes: &[],
    },
    Row {
        name: "phi2",
        mark: None,
        model_type: "phi",
        fields: &[CONTEXT, SIZES, LAYER_NORM, &[required("attention.layer_norm_epsilon", "layer_norm_eps")]],
        complete: config::partial_rotary,
        names: &[names::PHI, names::LLAMA],
        changes: &[],
    },
    Row {
        name: "gptneox",
        mark: None,
        model_type: "gpt_neox",
        fields: &[
            CONTEXT,
            SIZES,
            &[
                required("feed_forward_length", "intermediate_size"),
                required("attention.layer_norm_epsilon", "layer_norm_eps"),
                optional("rope.freq_base", "rotary_emb_base"),
            ],
        ],
        complete: |file, values| {
            let parallel = file.flag("gptneox.use_parallel_residual")?;
            values.extend(parallel.map(|parallel| ("use_parallel_residual".into(), parallel.into())));
            config::partial_rotary(file, values)?;
            let turned = values.remove("partial_rotary_factor");
            values.extend(turned.map(|turned| ("rotary_pct".into(), turned)));
            Ok(())
        },
        names: &[names::GPT_NEOX],
        changes: &[&[("attn_qkv", Change::Ungrouped("num_attention_heads", "num_attention_heads"))]],
    },
    Row {
        name: "bloom",
        mark: None,
        model_type: "bloom",
        fields: &[SIZES, &[required("attention.layer_norm_epsilon", "layer_norm_epsilon")]],
        complete: |_, _| Ok(()),
        names: &[names::BLOOM],
        changes: &[&[("attn_qkv", Change::Ungrouped("n_head", "n_head"))]],
    },
    // With a key for each group of heads and a norm before each of both halves of a layer: Falcon 40B.
    Row {
        name: "falcon",
        mark: Some("blk.0.attn_norm_2.weight"),
        model_type: "falcon",
        fields: FALCON,
        complete: config::falcon_layout,
        names: &[&[("attn_norm", "ln_mlp"), ("attn_norm_2", "ln_attn")], names::BLOOM],
        changes: &[&[("attn_qkv", Change::Ungrouped("num_attention_heads", "num_kv_heads"))]],
    },
    Row {
        name: "falcon",
        mark: None,
        model_type: "falcon",
        fields: FALCON,
        complete: config::falcon_layout,
        names: &[names::BLOOM],
        changes: &[&[("attn_qkv", Change::Ungrouped("num_attention_heads", "num_kv_heads"))]],
    },
    Row {
        name: "gpt2",
        mark: None,
        model_type: "gpt2",
        fields: &[
            CONTEXT,
            SIZES,
            &[
                optional("feed_forward_length", "n_inner"),
                required("attention.layer_norm_epsilon", "layer_norm_epsilon"),
            ],
        ],
        complete: |_, _| Ok(()),
        names: &[names::GPT2],
        changes: &[&[
            ("attn_qkv", Change::Transposed),
            ("attn_output", Change::Transposed),
            ("ffn_up", Change::Transposed),
            ("ffn_down", Change::Transposed),
        ]],
    },
];

impl Row {
    /// The row of a file's architecture.
    pub fn of(file: &File) -> Result<&'static Row> {
        let name = file.architecture()?;
        let fits = |row: &&Row| row.name == name && row.mark.is_none_or(|tensor| file.has_tensor(tensor));
        ROWS.iter().find(fits).ok_or_else(|| {
            let known: BTreeSet<_> = ROWS.iter().map(|row| row.name).collect();
            let known = known.into_iter().collect::<Vec<_>>().join(", ");
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
            let changed = self.changes.iter().copied().flatten().find(|(theirs, _)| *theirs == part);
            change = change.or(changed.map(|(_, change)| *change));
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
                let older =
                    ["rope_theta", "rope_local_base_freq", "rotary_emb_base", "sliding_window_pattern"]
                        .contains(field);
                assert!(defaults.contains_key(own) || older, "{}: {field}", row.name);
            }
        }
    }

    #[test]
    fn names_are_those_of_transformers() {
        let row = |model_type| ROWS.iter().find(|row| row.model_type == model_type).unwrap();
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
            (
                "mixtral",
                "blk.3.ffn_up_exps.weight",
                Some(("model.layers.3.block_sparse_moe.experts.*.w3.weight", Some(Change::Stacked))),
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
