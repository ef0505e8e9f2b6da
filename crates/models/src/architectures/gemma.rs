//! Gemma (Gemma Team 2024), Gemma 2 and the text model of Gemma 3: transformers' `GemmaModel`, `Gemma2Model` and `Gemma3TextModel`.

use serde_json::{Map, Value, json};

use super::common::{causal_lm, last_token_score, token_score};
use super::decoders::{complete_layer_types, complete_rope, llama_stack, set_windows};
use crate::architecture::{Architecture, Class, Task};
use crate::heads::HeadSpec;
use crate::rotary::RotarySpec;
use crate::spec::*;
use crate::{Config, Error, Result};

pub(crate) const GEMMA: Architecture = Architecture {
    model_type: "gemma",
    config_class: "GemmaConfig",
    defaults: r#"{
        "vocab_size": 256000,
        "hidden_size": 3072,
        "intermediate_size": 24576,
        "num_hidden_layers": 28,
        "num_attention_heads": 16,
        "num_key_value_heads": 16,
        "head_dim": 256,
        "hidden_act": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": true,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "tie_word_embeddings": true,
        "rope_parameters": null,
        "attention_bias": false,
        "attention_dropout": 0.0,
        "use_bidirectional_attention": null
    }"#,
    aliases: &[],
    complete: complete_gemma,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec: gemma,
    classes: &[
        Class::bare("GemmaModel"),
        Class::new("GemmaForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new("GemmaForSequenceClassification", Task::SequenceClassification, "model", last_token_score),
        Class::new("GemmaForTokenClassification", Task::TokenClassification, "model", token_score),
    ],
};

pub(crate) const GEMMA2: Architecture = Architecture {
    model_type: "gemma2",
    config_class: "Gemma2Config",
    defaults: r#"{
        "vocab_size": 256000,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 8192,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": true,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "tie_word_embeddings": true,
        "rope_parameters": null,
        "attention_bias": false,
        "attention_dropout": 0.0,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "layer_types": null,
        "final_logit_softcapping": 30.0,
        "attn_logit_softcapping": 50.0,
        "use_bidirectional_attention": null
    }"#,
    aliases: &[],
    complete: complete_gemma2,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec: |config| Ok(Spec::Decoder(gemma2_stack(config)?)),
    classes: &[
        Class::bare("Gemma2Model"),
        Class::new("Gemma2ForCausalLM", Task::CausalLM, "model", capped_lm),
        Class::new(
            "Gemma2ForSequenceClassification",
            Task::SequenceClassification,
            "model",
            last_token_score,
        ),
        Class::new("Gemma2ForTokenClassification", Task::TokenClassification, "model", token_score),
    ],
};

pub(crate) const GEMMA3_TEXT: Architecture = Architecture {
    model_type: "gemma3_text",
    config_class: "Gemma3TextConfig",
    defaults: r#"{
        "vocab_size": 262208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131072,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": true,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
        "tie_word_embeddings": true,
        "rope_parameters": null,
        "attention_bias": false,
        "attention_dropout": 0.0,
        "query_pre_attn_scalar": 256,
        "sliding_window": 4096,
        "layer_types": null,
        "final_logit_softcapping": null,
        "attn_logit_softcapping": null,
        "use_bidirectional_attention": false
    }"#,
    aliases: &[],
    complete: complete_gemma3,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec: gemma3,
    classes: &[
        Class::bare("Gemma3TextModel"),
        Class::new("Gemma3ForCausalLM", Task::CausalLM, "model", capped_lm),
        Class::new(
            "Gemma3TextForSequenceClassification",
            Task::SequenceClassification,
            "model",
            last_token_score,
        ),
    ],
};

fn complete_gemma(config: &mut Config) -> Result<()> {
    // The first configurations said "gelu" and meant its approximation.
    if config.text("hidden_act").is_ok_and(|name| name == "gelu") {
        config.set("hidden_act", "gelu_pytorch_tanh".into());
    }
    complete_rope(config, 10000.0, None)
}

fn complete_gemma2(config: &mut Config) -> Result<()> {
    complete_layer_types(config, |layer| layer % 2 == 0)?;
    complete_rope(config, 10000.0, None)
}

fn complete_gemma3(config: &mut Config) -> Result<()> {
    let given = config.has("sliding_window_pattern");
    let pattern = if given { config.count("sliding_window_pattern")? } else { 6 };
    config.set("_sliding_window_pattern", pattern.into());
    complete_layer_types(config, |layer| !(layer + 1).is_multiple_of(pattern))?;
    let mut all = config.object("rope_parameters")?.cloned().unwrap_or_default();
    let scaling = config.object("rope_scaling")?.cloned().unwrap_or_default();
    let kinds = [
        ("full_attention", scaling, "rope_theta", 1e6),
        ("sliding_attention", Map::new(), "rope_local_base_freq", 1e4),
    ];
    for (kind, scaling, old_theta, theta) in kinds {
        let theta = config.remove(old_theta).unwrap_or_else(|| theta.into());
        let own = all.entry(kind).or_insert(Value::Null);
        if own.is_null() {
            *own = json!({"rope_type": "default"});
        }
        if let Some(own) = own.as_object_mut() {
            own.extend(scaling);
            own.entry("rope_theta").or_insert(theta);
        }
    }
    config.remove("rope_scaling");
    config.set("rope_parameters", all.into());
    Ok(())
}

/// Llama's stack with scaled embeddings and norms that scale with one more than their weight. Its activation is called `act`.
fn gemma_stack(config: &Config, act: &str) -> Result<StackSpec> {
    let bias = config.flag("attention_bias")?;
    let mut stack = llama_stack(config, act, [bias, bias, false])?;
    stack.outgrows_f16 = true;
    stack.embeddings.scale = (stack.hidden_size as f32).sqrt();
    stack.final_norm = stack.final_norm.map(plus_one);
    for layer in &mut stack.layers {
        layer.attention.before = layer.attention.before.map(plus_one);
        layer.feed_forward.before = layer.feed_forward.before.map(plus_one);
    }
    Ok(stack)
}

fn plus_one(norm: NormSpec) -> NormSpec {
    NormSpec { kind: NormKind::RmsPlusOne, ..norm }
}

fn gemma(config: &Config) -> Result<Spec> {
    config.only("use_bidirectional_attention", &[false.into()])?;
    Ok(Spec::Decoder(gemma_stack(config, "hidden_act")?))
}

fn gemma2_stack(config: &Config) -> Result<StackSpec> {
    config.only("use_bidirectional_attention", &[false.into()])?;
    let mut stack = sandwiched(config)?;
    let softcap = optional(config, "attn_logit_softcapping")?;
    for layer in &mut stack.layers {
        layer.attention.part.softcap = softcap;
    }
    set_windows(&mut stack, config)?;
    Ok(stack)
}

/// What Gemma 2 and 3 share: norms on both ways, and a scale of their own.
fn sandwiched(config: &Config) -> Result<StackSpec> {
    let mut stack = gemma_stack(config, "hidden_activation")?;
    let eps = config.number("rms_norm_eps")?;
    let norm = |path| Some(plus_one(rms_norm(path, eps)));
    let scale = 1.0 / (config.count("query_pre_attn_scalar")? as f32).sqrt();
    for layer in &mut stack.layers {
        layer.attention.part.scale = scale;
        layer.attention.after = norm("post_attention_layernorm");
        layer.feed_forward.before = norm("pre_feedforward_layernorm");
        layer.feed_forward.after = norm("post_feedforward_layernorm");
    }
    Ok(stack)
}

fn gemma3(config: &Config) -> Result<Spec> {
    let mut stack = sandwiched(config)?;
    set_windows(&mut stack, config)?;
    let head_dim = config.count("head_dim")?;
    stack.rotaries = vec![
        RotarySpec::read_for(config, "full_attention", "rope_theta", head_dim)?,
        RotarySpec::read_for(config, "sliding_attention", "rope_local_base_freq", head_dim)?,
    ];
    let both_ways = config.flag("use_bidirectional_attention")?;
    stack.causal = !both_ways;
    let eps = config.number("rms_norm_eps")?;
    let norm = |path| plus_one(rms_norm(path, eps));
    for layer in &mut stack.layers {
        let attention = &mut layer.attention.part;
        attention.rotary = Some(usize::from(attention.window.is_some()));
        if both_ways {
            attention.window = attention.window.map(|window| window / 2);
        }
        attention.qk_norm = Some(QkNorm {
            query: norm("self_attn.q_norm"),
            key: norm("self_attn.k_norm"),
            over: NormOver::Head,
        });
    }
    Ok(Spec::Decoder(stack))
}

/// The language model's head, its logits kept within `final_logit_softcapping`.
fn capped_lm(config: &Config) -> Result<HeadSpec> {
    match causal_lm(config)? {
        HeadSpec::Language(head) => {
            let softcap = optional(config, "final_logit_softcapping")?;
            Ok(HeadSpec::Language(crate::heads::LanguageSpec { softcap, ..head }))
        }
        other => Ok(other),
    }
}

/// A cap, which must be above 0 if it is there.
fn optional(config: &Config, field: &str) -> Result<Option<f32>> {
    if !config.has(field) {
        return Ok(None);
    }
    match config.number(field)? {
        cap if cap > 0.0 => Ok(Some(cap)),
        cap => Err(Error::Config(format!("`{field}` must be above 0, got {cap}"))),
    }
}
