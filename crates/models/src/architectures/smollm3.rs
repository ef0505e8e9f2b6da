//! SmolLM 3 (Bakouch et al. 2025), Llama with layers that know no positions: transformers' `SmolLM3Model`.

use serde_json::Value;

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::spec::Spec;
use crate::{Config, Error, Result};

pub(crate) const SMOLLM3: Architecture = Architecture {
    model_type: "smollm3",
    config_class: "SmolLM3Config",
    defaults: r#"{
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "hidden_act": "silu",
        "max_position_embeddings": 32768,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": true,
        "pad_token_id": 128004,
        "bos_token_id": 128000,
        "eos_token_id": 128001,
        "rope_parameters": null,
        "use_sliding_window": false,
        "sliding_window": null,
        "no_rope_layers": null,
        "no_rope_layer_interval": 4,
        "layer_types": null,
        "attention_bias": false,
        "attention_dropout": 0.0,
        "mlp_bias": false,
        "tie_word_embeddings": true
    }"#,
    aliases: &[],
    complete,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec,
    classes: &[
        Class::bare("SmolLM3Model"),
        Class::new("SmolLM3ForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new(
            "SmolLM3ForSequenceClassification",
            Task::SequenceClassification,
            "model",
            last_token_score,
        ),
        Class::new("SmolLM3ForTokenClassification", Task::TokenClassification, "model", token_score),
        Class::new("SmolLM3ForQuestionAnswering", Task::QuestionAnswering, "transformer", qa_outputs),
    ],
};

fn complete(config: &mut Config) -> Result<()> {
    let layers = config.layers("num_hidden_layers")?;
    if !config.has("no_rope_layers") {
        let interval = config.count("no_rope_layer_interval")?;
        let turned = (1..=layers).map(|layer| Value::from(u8::from(!layer.is_multiple_of(interval))));
        config.set("no_rope_layers", turned.collect());
    }
    let turned = turned(config, layers)?;
    let slides = config.flag("use_sliding_window")? && config.has("sliding_window");
    complete_layer_types(config, |layer| slides && !turned[layer])?;
    complete_kv_heads(config)?;
    complete_rope(config, 2e6, None)
}

/// Which layers turn queries and keys: those with a 1 in `no_rope_layers`.
fn turned(config: &Config, layers: usize) -> Result<Vec<bool>> {
    let flag = |value: &Value| match value {
        Value::Bool(flag) => Ok(*flag),
        value => value
            .as_i64()
            .map(|number| number != 0)
            .ok_or_else(|| Error::Config(format!("`no_rope_layers` must hold 0 and 1, got {value}"))),
    };
    config.list("no_rope_layers", layers)?.iter().take(layers).map(flag).collect()
}

fn spec(config: &Config) -> Result<Spec> {
    let bias = config.flag("attention_bias")?;
    let mut stack = llama_stack(config, "hidden_act", [bias, bias, config.flag("mlp_bias")?])?;
    set_windows(&mut stack, config)?;
    let turned = turned(config, stack.layers.len())?;
    for (layer, turned) in stack.layers.iter_mut().zip(turned) {
        layer.attention.part.rotary = turned.then_some(0);
    }
    Ok(Spec::Decoder(stack))
}
