//! Phi (Li et al. 2023), attention and feed-forward side by side: transformers' `PhiModel`.

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{BiasAt, HeadSpec};
use crate::rotary::RotarySpec;
use crate::spec::*;
use crate::{Config, Result};

pub(crate) const PHI: Architecture = Architecture {
    model_type: "phi",
    config_class: "PhiConfig",
    defaults: r#"{
        "vocab_size": 51200,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
        "num_key_value_heads": null,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attention_dropout": 0.0,
        "hidden_act": "gelu_new",
        "max_position_embeddings": 2048,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "use_cache": true,
        "tie_word_embeddings": false,
        "rope_parameters": null,
        "qk_layernorm": false,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": null
    }"#,
    aliases: &[],
    complete,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec,
    classes: &[
        Class::bare("PhiModel"),
        Class::new("PhiForCausalLM", Task::CausalLM, "model", biased_lm),
        Class::new("PhiForSequenceClassification", Task::SequenceClassification, "model", last_token_score),
        Class::new("PhiForTokenClassification", Task::TokenClassification, "model", token_score),
    ],
};

fn complete(config: &mut Config) -> Result<()> {
    complete_kv_heads(config)?;
    complete_rope(config, 10000.0, Some(0.5))
}

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let head_dim = head_dim(config, hidden_size, heads)?;
    let eps = config.number("layer_norm_eps")?;
    let projection = Projection::separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", true);
    let attention = AttentionSpec {
        kv_heads: config.count("num_key_value_heads")?,
        rotary: Some(0),
        dropout: config.dropout("attention_dropout")?,
        qk_norm: config.flag("qk_layernorm")?.then_some(QkNorm {
            query: layer_norm("self_attn.q_layernorm", eps),
            key: layer_norm("self_attn.k_layernorm", eps),
            over: NormOver::Head,
        }),
        ..AttentionSpec::new(projection, linear("self_attn.dense", true), heads, head_dim)
    };
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain { up: linear("mlp.fc1", true), down: linear("mlp.fc2", true) },
        width: config.count("intermediate_size")?,
        activation: config.activation("hidden_act")?,
        dropout: 0.0,
    };
    let dropout = config.dropout("resid_pdrop")?;
    let layer = LayerSpec {
        path: None,
        attention: Sublayer::pre_norm(layer_norm("input_layernorm", eps), attention).dropping(dropout),
        cross_attention: None,
        feed_forward: Sublayer::pre_norm(None, feed_forward).dropping(dropout),
        parallel: true,
        dropout: 0.0,
    };
    let layers = vec![layer; config.layers("num_hidden_layers")?];
    let dropout = config.dropout("embd_pdrop")?;
    let embeddings = EmbeddingsSpec { dropout, ..words(config, "embed_tokens", hidden_size)? };
    Ok(Spec::Decoder(StackSpec {
        rotaries: vec![RotarySpec::read(config, head_dim)?],
        ..decoder_stack(embeddings, "layers", layers, layer_norm("final_layernorm", eps))
    }))
}

/// A matrix with a bias.
fn biased_lm(config: &Config) -> Result<HeadSpec> {
    language_model(config, BiasAt::Decoder)
}
