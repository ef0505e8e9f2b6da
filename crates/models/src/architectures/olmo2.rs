//! OLMo 2 (OLMo Team 2024), Llama with norms behind its parts: transformers' `Olmo2Model`.

use super::common::{causal_lm, last_token_score};
use super::decoders::{complete_kv_heads, complete_rope, llama_stack};
use crate::architecture::{Architecture, Class, Task};
use crate::spec::{NormOver, QkNorm, Spec, rms_norm};
use crate::{Config, Result};

pub(crate) const OLMO2: Architecture = Architecture {
    model_type: "olmo2",
    config_class: "Olmo2Config",
    defaults: r#"{
        "vocab_size": 50304,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": null,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "initializer_range": 0.02,
        "use_cache": true,
        "pad_token_id": 1,
        "bos_token_id": null,
        "eos_token_id": 50279,
        "tie_word_embeddings": false,
        "rope_parameters": null,
        "attention_bias": false,
        "attention_dropout": 0.0,
        "rms_norm_eps": 1e-5
    }"#,
    aliases: &[],
    complete,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec,
    classes: &[
        Class::bare("Olmo2Model"),
        Class::new("Olmo2ForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new("Olmo2ForSequenceClassification", Task::SequenceClassification, "model", last_token_score),
    ],
};

fn complete(config: &mut Config) -> Result<()> {
    complete_kv_heads(config)?;
    complete_rope(config, 10000.0, None)
}

fn spec(config: &Config) -> Result<Spec> {
    let bias = config.flag("attention_bias")?;
    let mut stack = llama_stack(config, "hidden_act", [bias, bias, false])?;
    let eps = config.number("rms_norm_eps")?;
    for layer in &mut stack.layers {
        layer.attention.before = None;
        layer.attention.after = Some(rms_norm("post_attention_layernorm", eps));
        layer.attention.part.qk_norm = Some(QkNorm {
            query: rms_norm("self_attn.q_norm", eps),
            key: rms_norm("self_attn.k_norm", eps),
            over: NormOver::All,
        });
        layer.feed_forward.before = None;
        layer.feed_forward.after = Some(rms_norm("post_feedforward_layernorm", eps));
    }
    Ok(Spec::Decoder(stack))
}
