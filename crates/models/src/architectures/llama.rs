//! Llama (Touvron et al. 2023) in all its versions: transformers' `LlamaModel`.

use super::common::{causal_lm, last_token_score, qa_outputs, token_score};
use super::decoders::{complete_llama, llama_stack};
use crate::architecture::{Architecture, Class, Task};
use crate::spec::Spec;
use crate::{Config, Result};

pub(crate) const LLAMA: Architecture = Architecture {
    model_type: "llama",
    config_class: "LlamaConfig",
    defaults: r#"{
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": null,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-6,
        "use_cache": true,
        "pad_token_id": null,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pretraining_tp": 1,
        "tie_word_embeddings": false,
        "rope_parameters": null,
        "attention_bias": false,
        "attention_dropout": 0.0,
        "mlp_bias": false,
        "head_dim": null
    }"#,
    aliases: &[],
    complete: complete_llama,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec,
    classes: &[
        Class::bare("LlamaModel"),
        Class::new("LlamaForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new("LlamaForSequenceClassification", Task::SequenceClassification, "model", last_token_score),
        Class::new("LlamaForTokenClassification", Task::TokenClassification, "model", token_score),
        Class::new("LlamaForQuestionAnswering", Task::QuestionAnswering, "transformer", qa_outputs),
    ],
};

fn spec(config: &Config) -> Result<Spec> {
    let attention = config.flag("attention_bias")?;
    Ok(Spec::Decoder(llama_stack(config, "hidden_act", [attention, attention, config.flag("mlp_bias")?])?))
}
