//! BLOOM (BigScience 2022), with biases for distance instead of positions: transformers' `BloomModel`.

use trustformers_tensor::{Activation, DType};

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::spec::*;
use crate::{Config, Result};

pub(crate) const BLOOM: Architecture = Architecture {
    model_type: "bloom",
    config_class: "BloomConfig",
    defaults: r#"{
        "vocab_size": 250880,
        "hidden_size": 64,
        "n_layer": 2,
        "n_head": 8,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "use_cache": true,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": null,
        "apply_residual_connection_post_layernorm": false,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "pretraining_tp": 1,
        "slow_but_exact": false,
        "tie_word_embeddings": true
    }"#,
    aliases: &[("num_hidden_layers", "n_layer"), ("num_attention_heads", "n_head")],
    complete,
    prefix: "transformer.",
    renames: &[],
    ignored: &[],
    spec,
    classes: &[
        Class::bare("BloomModel"),
        Class::new("BloomForCausalLM", Task::CausalLM, "transformer", causal_lm),
        Class::new(
            "BloomForSequenceClassification",
            Task::SequenceClassification,
            "transformer",
            last_token_score,
        ),
        Class::new("BloomForTokenClassification", Task::TokenClassification, "transformer", decoder_tokens),
        Class::new("BloomForQuestionAnswering", Task::QuestionAnswering, "transformer", qa_outputs),
    ],
};

fn complete(config: &mut Config) -> Result<()> {
    if let Some(width) = config.remove("n_embed") {
        config.set("hidden_size", width);
    }
    Ok(())
}

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let eps = config.number("layer_norm_epsilon")?;
    let projection = Projection::Fused(linear("self_attention.query_key_value", true), FusedOrder::Grouped);
    let head_dim = head_dim(config, hidden_size, heads)?;
    let attention = AttentionSpec {
        dropout: config.dropout("attention_dropout")?,
        ..AttentionSpec::new(projection, linear("self_attention.dense", true), heads, head_dim)
    };
    let dropout = config.dropout("hidden_dropout")?;
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain {
            up: linear("mlp.dense_h_to_4h", true),
            down: linear("mlp.dense_4h_to_h", true),
        },
        width: 4 * hidden_size,
        activation: Activation::GeluTanh,
        dropout: 0.0,
    };
    let adds_to_normed = config.flag("apply_residual_connection_post_layernorm")?;
    let layer = LayerSpec {
        path: None,
        attention: Sublayer {
            adds_to_normed,
            dropout,
            ..Sublayer::pre_norm(layer_norm("input_layernorm", eps), attention)
        },
        cross_attention: None,
        feed_forward: Sublayer {
            adds_to_normed,
            dropout,
            ..Sublayer::pre_norm(layer_norm("post_attention_layernorm", eps), feed_forward)
        },
        parallel: false,
        dropout: 0.0,
    };
    let layers = vec![layer; config.layers("num_hidden_layers")?];
    let embeddings = EmbeddingsSpec {
        norm: Some(layer_norm("word_embeddings_layernorm", eps)),
        padding: None,
        ..words(config, "word_embeddings", hidden_size)?
    };
    Ok(Spec::Decoder(StackSpec {
        bias: Some(BiasSpec::Alibi { heads, scale: 1.0, dtype: DType::F32 }),
        ..decoder_stack(embeddings, "h", layers, layer_norm("ln_f", eps))
    }))
}
