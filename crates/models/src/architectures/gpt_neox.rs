//! GPT-NeoX (Black et al. 2022), also Pythia: transformers' `GPTNeoXModel`.

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{HeadSpec, LanguageSpec};
use crate::rotary::RotarySpec;
use crate::spec::*;
use crate::{Config, Result};

pub(crate) const GPT_NEOX: Architecture = Architecture {
    model_type: "gpt_neox",
    config_class: "GPTNeoXConfig",
    defaults: r#"{
        "vocab_size": 50432,
        "hidden_size": 6144,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "intermediate_size": 24576,
        "hidden_act": "gelu",
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
        "classifier_dropout": 0.1,
        "max_position_embeddings": 2048,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "use_cache": true,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": null,
        "tie_word_embeddings": false,
        "use_parallel_residual": true,
        "rope_parameters": null,
        "attention_bias": true,
        "is_decoder": false
    }"#,
    aliases: &[],
    complete,
    prefix: "gpt_neox.",
    renames: &[("lm_head.", "embed_out.")],
    ignored: &["attention.bias", "attention.masked_bias", "rotary_emb.inv_freq"],
    spec,
    classes: &[
        Class::bare("GPTNeoXModel"),
        Class::new("GPTNeoXForCausalLM", Task::CausalLM, "gpt_neox", causal_lm),
        Class::new(
            "GPTNeoXForSequenceClassification",
            Task::SequenceClassification,
            "gpt_neox",
            last_token_score,
        ),
        Class::new("GPTNeoXForTokenClassification", Task::TokenClassification, "gpt_neox", decoder_tokens),
        Class::new("GPTNeoXForQuestionAnswering", Task::QuestionAnswering, "gpt_neox", qa_outputs),
    ],
};

fn complete(config: &mut Config) -> Result<()> {
    for (old, new) in [("rotary_emb_base", "rope_theta"), ("rotary_pct", "partial_rotary_factor")] {
        // The new names count for nothing outside of `rope_parameters`.
        config.remove(new);
        if let Some(value) = config.remove(old) {
            config.set(new, value);
        }
    }
    complete_rope(config, 10000.0, Some(0.25))
}

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let head_dim = head_dim(config, hidden_size, heads)?;
    let eps = config.number("layer_norm_eps")?;
    let bias = config.flag("attention_bias")?;
    let projection = Projection::Fused(linear("attention.query_key_value", bias), FusedOrder::Grouped);
    let attention = AttentionSpec {
        rotary: Some(0),
        dropout: config.dropout("attention_dropout")?,
        ..AttentionSpec::new(projection, linear("attention.dense", bias), heads, head_dim)
    };
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain {
            up: linear("mlp.dense_h_to_4h", true),
            down: linear("mlp.dense_4h_to_h", true),
        },
        width: config.count("intermediate_size")?,
        activation: config.activation("hidden_act")?,
        dropout: 0.0,
    };
    let dropout = config.dropout("hidden_dropout")?;
    let layer = LayerSpec {
        path: None,
        attention: Sublayer::pre_norm(layer_norm("input_layernorm", eps), attention).dropping(dropout),
        cross_attention: None,
        feed_forward: Sublayer::pre_norm(layer_norm("post_attention_layernorm", eps), feed_forward)
            .dropping(dropout),
        parallel: config.flag("use_parallel_residual")?,
        dropout: 0.0,
    };
    let layers = vec![layer; config.layers("num_hidden_layers")?];
    let embeddings = EmbeddingsSpec { dropout, padding: None, ..words(config, "embed_in", hidden_size)? };
    Ok(Spec::Decoder(StackSpec {
        rotaries: vec![RotarySpec::read(config, head_dim)?],
        ..decoder_stack(embeddings, "layers", layers, layer_norm("final_layer_norm", eps))
    }))
}

fn causal_lm(config: &Config) -> Result<HeadSpec> {
    let width = config.count("hidden_size")?;
    Ok(HeadSpec::Language(LanguageSpec { shifts: true, ..LanguageSpec::new(config, "embed_out", width)? }))
}
