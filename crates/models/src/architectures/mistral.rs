//! Mistral (Jiang et al. 2023), Llama with a window: transformers' `MistralModel`.

use super::common::{causal_lm, last_token_score, qa_outputs, token_score};
use super::decoders::{complete_llama, llama_stack};
use crate::architecture::{Architecture, Class, Task};
use crate::spec::{Spec, StackSpec};
use crate::{Config, Result};

pub(crate) const MISTRAL: Architecture = Architecture {
    model_type: "mistral",
    config_class: "MistralConfig",
    defaults: r#"{
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": null,
        "hidden_act": "silu",
        "max_position_embeddings": 131072,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": true,
        "pad_token_id": null,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": false,
        "rope_parameters": null,
        "sliding_window": 4096,
        "attention_dropout": 0.0
    }"#,
    aliases: &[],
    complete: complete_llama,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec: |config| Ok(Spec::Decoder(mistral_stack(config)?)),
    classes: &[
        Class::bare("MistralModel"),
        Class::new("MistralForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new(
            "MistralForSequenceClassification",
            Task::SequenceClassification,
            "model",
            last_token_score,
        ),
        Class::new("MistralForTokenClassification", Task::TokenClassification, "model", token_score),
        Class::new("MistralForQuestionAnswering", Task::QuestionAnswering, "model", qa_outputs),
    ],
};

/// Llama's stack without biases, whose layers all see a window of `sliding_window`, if there is one.
pub(super) fn mistral_stack(config: &Config) -> Result<StackSpec> {
    let mut stack = llama_stack(config, "hidden_act", [false; 3])?;
    let window = config.has("sliding_window").then(|| config.count("sliding_window")).transpose()?;
    for layer in &mut stack.layers {
        layer.attention.part.window = window;
    }
    Ok(stack)
}
