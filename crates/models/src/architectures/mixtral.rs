//! Mixtral (Jiang et al. 2024), Mistral with a mixture of experts: transformers' `MixtralModel`.

use super::common::{last_token_score, qa_outputs, token_score};
use super::decoders::{complete_kv_heads, complete_rope};
use super::mistral::mistral_stack;
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{HeadSpec, LanguageSpec};
use crate::spec::{ExpertsSpec, FeedForwardKind, Spec};
use crate::{Config, Error, Result};

pub(crate) const MIXTRAL: Architecture = Architecture {
    model_type: "mixtral",
    config_class: "MixtralConfig",
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
        "rms_norm_eps": 1e-5,
        "use_cache": true,
        "pad_token_id": null,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": false,
        "sliding_window": null,
        "attention_dropout": 0.0,
        "num_experts_per_tok": 2,
        "num_local_experts": 8,
        "output_router_logits": false,
        "router_aux_loss_coef": 0.001,
        "router_jitter_noise": 0.0,
        "rope_parameters": null
    }"#,
    aliases: &[("num_experts", "num_local_experts")],
    complete,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec,
    classes: &[
        Class::bare("MixtralModel"),
        Class::new("MixtralForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new(
            "MixtralForSequenceClassification",
            Task::SequenceClassification,
            "model",
            last_token_score,
        ),
        Class::new("MixtralForTokenClassification", Task::TokenClassification, "model", token_score),
        Class::new("MixtralForQuestionAnswering", Task::QuestionAnswering, "model", qa_outputs),
    ],
};

fn complete(config: &mut Config) -> Result<()> {
    complete_kv_heads(config)?;
    complete_rope(config, 1e6, None)
}

fn spec(config: &Config) -> Result<Spec> {
    let mut stack = mistral_stack(config)?;
    let (count, chosen) = (config.count("num_local_experts")?, config.count("num_experts_per_tok")?);
    if chosen > count {
        return Err(Error::Config(format!(
            "`num_experts_per_tok` ({chosen}) must be at most `num_local_experts` ({count})"
        )));
    }
    let experts = ExpertsSpec {
        router: "block_sparse_moe.gate",
        experts: "block_sparse_moe.experts",
        matrices: ["w1", "w3", "w2"],
        count,
        chosen,
    };
    for layer in &mut stack.layers {
        layer.feed_forward.part.kind = FeedForwardKind::Experts(experts);
    }
    Ok(Spec::Decoder(stack))
}

fn causal_lm(config: &Config) -> Result<HeadSpec> {
    let head = LanguageSpec::new(config, "lm_head", config.count("hidden_size")?)?;
    let balance = Some((config.number("router_aux_loss_coef")?, config.count("num_experts_per_tok")?));
    Ok(HeadSpec::Language(LanguageSpec { shifts: true, balance, ..head }))
}
