//! Phi 3 (Abdin et al. 2024), Llama with fused projections and LongRoPE: transformers' `Phi3Model`.

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::spec::*;
use crate::{Config, Result};

pub(crate) const PHI3: Architecture = Architecture {
    model_type: "phi3",
    config_class: "Phi3Config",
    defaults: r#"{
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": null,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-5,
        "use_cache": true,
        "tie_word_embeddings": false,
        "rope_parameters": null,
        "bos_token_id": 1,
        "eos_token_id": 32000,
        "pad_token_id": 32000,
        "sliding_window": null
    }"#,
    aliases: &[],
    complete,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec,
    classes: &[
        Class::bare("Phi3Model"),
        Class::new("Phi3ForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new("Phi3ForSequenceClassification", Task::SequenceClassification, "model", last_token_score),
        Class::new("Phi3ForTokenClassification", Task::TokenClassification, "model", token_score),
    ],
};

fn complete(config: &mut Config) -> Result<()> {
    complete_kv_heads(config)?;
    // It is read and stays.
    let partial = config.values().get("partial_rotary_factor").cloned();
    complete_rope(config, 10000.0, Some(1.0))?;
    if let Some(partial) = partial {
        config.set("partial_rotary_factor", partial);
    }
    // LongRoPE's names in the first configurations.
    let mut parameters = config.object("rope_parameters")?.cloned().unwrap_or_default();
    if parameters.get("rope_type").is_some_and(|kind| kind == "su" || kind == "yarn") {
        parameters.insert("rope_type".into(), "longrope".into());
        config.set("rope_parameters", parameters.into());
        complete_rope(config, 10000.0, Some(1.0))?;
    }
    Ok(())
}

fn spec(config: &Config) -> Result<Spec> {
    let mut stack = super::mistral::mistral_stack(config)?;
    let dropout = config.dropout("resid_pdrop")?;
    for layer in &mut stack.layers {
        layer.attention.dropout = dropout;
        layer.feed_forward.dropout = dropout;
        layer.attention.part.projection =
            Projection::Fused(linear("self_attn.qkv_proj", false), FusedOrder::Concatenated);
        layer.feed_forward.part.kind = FeedForwardKind::GatedFused {
            gate_up: linear("mlp.gate_up_proj", false),
            down: linear("mlp.down_proj", false),
        };
    }
    Ok(Spec::Decoder(stack))
}
