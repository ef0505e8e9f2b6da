//! Qwen 2 (Yang et al. 2024) and Qwen 3 (Yang et al. 2025): transformers' `Qwen2Model` and `Qwen3Model`.

use serde_json::Value;

use super::common::{causal_lm, last_token_score, qa_outputs, token_score};
use super::decoders::{complete_kv_heads, complete_layer_types, complete_rope, llama_stack, set_windows};
use crate::architecture::{Architecture, Class, Task};
use crate::spec::{NormOver, QkNorm, Spec, rms_norm};
use crate::{Config, Result};

pub(crate) const QWEN2: Architecture = Architecture {
    model_type: "qwen2",
    config_class: "Qwen2Config",
    defaults: r#"{
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "hidden_act": "silu",
        "max_position_embeddings": 32768,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": true,
        "tie_word_embeddings": false,
        "rope_parameters": null,
        "use_sliding_window": false,
        "sliding_window": 4096,
        "max_window_layers": 28,
        "layer_types": null,
        "attention_dropout": 0.0,
        "pad_token_id": null,
        "bos_token_id": null,
        "eos_token_id": null
    }"#,
    aliases: &[],
    complete,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec: qwen2,
    classes: &[
        Class::bare("Qwen2Model"),
        Class::new("Qwen2ForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new("Qwen2ForSequenceClassification", Task::SequenceClassification, "model", last_token_score),
        Class::new("Qwen2ForTokenClassification", Task::TokenClassification, "model", token_score),
        Class::new("Qwen2ForQuestionAnswering", Task::QuestionAnswering, "transformer", qa_outputs),
    ],
};

pub(crate) const QWEN3: Architecture = Architecture {
    model_type: "qwen3",
    config_class: "Qwen3Config",
    defaults: r#"{
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "head_dim": 128,
        "hidden_act": "silu",
        "max_position_embeddings": 32768,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": true,
        "tie_word_embeddings": false,
        "rope_parameters": null,
        "attention_bias": false,
        "use_sliding_window": false,
        "sliding_window": 4096,
        "max_window_layers": 28,
        "layer_types": null,
        "attention_dropout": 0.0,
        "pad_token_id": null,
        "bos_token_id": null,
        "eos_token_id": null
    }"#,
    aliases: &[],
    complete,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec: qwen3,
    classes: &[
        Class::bare("Qwen3Model"),
        Class::new("Qwen3ForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new("Qwen3ForSequenceClassification", Task::SequenceClassification, "model", last_token_score),
        Class::new("Qwen3ForTokenClassification", Task::TokenClassification, "model", token_score),
        Class::new("Qwen3ForQuestionAnswering", Task::QuestionAnswering, "transformer", qa_outputs),
    ],
};

fn complete(config: &mut Config) -> Result<()> {
    if !config.flag("use_sliding_window")? {
        config.set("sliding_window", Value::Null);
    }
    let (slides, from) = (config.has("sliding_window"), config.size("max_window_layers")?);
    complete_layer_types(config, |layer| slides && layer >= from)?;
    complete_kv_heads(config)?;
    complete_rope(config, 10000.0, None)
}

fn qwen2(config: &Config) -> Result<Spec> {
    let mut stack = llama_stack(config, "hidden_act", [true, false, false])?;
    set_windows(&mut stack, config)?;
    Ok(Spec::Decoder(stack))
}

fn qwen3(config: &Config) -> Result<Spec> {
    let bias = config.flag("attention_bias")?;
    let mut stack = llama_stack(config, "hidden_act", [bias, bias, false])?;
    set_windows(&mut stack, config)?;
    let eps = config.number("rms_norm_eps")?;
    let norm = |path| rms_norm(path, eps);
    for layer in &mut stack.layers {
        layer.attention.part.qk_norm = Some(QkNorm {
            query: norm("self_attn.q_norm"),
            key: norm("self_attn.k_norm"),
            over: NormOver::Head,
        });
    }
    Ok(Spec::Decoder(stack))
}
