//! GPT-J (Wang & Komatsuzaki 2021), attention and feed-forward side by side: transformers' `GPTJModel`.

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{BiasAt, HeadSpec};
use crate::rotary::{RopeScaling, RotarySpec};
use crate::spec::*;
use crate::{Config, Error, Result};

pub(crate) const GPTJ: Architecture = Architecture {
    model_type: "gptj",
    config_class: "GPTJConfig",
    defaults: r#"{
        "vocab_size": 50400,
        "n_positions": 2048,
        "n_embd": 4096,
        "n_layer": 28,
        "n_head": 16,
        "rotary_dim": 64,
        "n_inner": null,
        "activation_function": "gelu_new",
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "use_cache": true,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
        "pad_token_id": null,
        "tie_word_embeddings": false
    }"#,
    aliases: &[
        ("max_position_embeddings", "n_positions"),
        ("hidden_size", "n_embd"),
        ("num_attention_heads", "n_head"),
        ("num_hidden_layers", "n_layer"),
    ],
    complete: |_| Ok(()),
    prefix: "transformer.",
    renames: &[],
    ignored: &[".attn.bias", ".attn.masked_bias"],
    spec,
    classes: &[
        Class::bare("GPTJModel"),
        Class::new("GPTJForCausalLM", Task::CausalLM, "transformer", biased_lm),
        Class::new(
            "GPTJForSequenceClassification",
            Task::SequenceClassification,
            "transformer",
            last_token_score,
        ),
        Class::new("GPTJForQuestionAnswering", Task::QuestionAnswering, "transformer", qa_outputs),
    ],
};

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let head_dim = head_dim(config, hidden_size, heads)?;
    let eps = config.number("layer_norm_epsilon")?;
    let dims = config.count("rotary_dim")?;
    if dims > head_dim || !dims.is_multiple_of(2) {
        return Err(Error::Config(format!(
            "`rotary_dim` ({dims}) must be even and at most the width of a head ({head_dim})"
        )));
    }
    let projection = Projection::separate("attn.q_proj", "attn.k_proj", "attn.v_proj", false);
    let attention = AttentionSpec {
        rotary: Some(0),
        dropout: config.dropout("attn_pdrop")?,
        ..AttentionSpec::new(projection, linear("attn.out_proj", false), heads, head_dim)
    };
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain { up: linear("mlp.fc_in", true), down: linear("mlp.fc_out", true) },
        width: if config.has("n_inner") { config.count("n_inner")? } else { 4 * hidden_size },
        activation: config.activation("activation_function")?,
        dropout: 0.0,
    };
    let dropout = config.dropout("resid_pdrop")?;
    let layer = LayerSpec {
        path: None,
        attention: Sublayer::pre_norm(layer_norm("ln_1", eps), attention).dropping(dropout),
        cross_attention: None,
        feed_forward: Sublayer::pre_norm(None, feed_forward).dropping(dropout),
        parallel: true,
        dropout: 0.0,
    };
    let layers = vec![layer; config.layers("num_hidden_layers")?];
    let embeddings = EmbeddingsSpec {
        segments: Some(("wte", config.count("vocab_size")?)),
        dropout: config.dropout("embd_pdrop")?,
        padding: None,
        ..words(config, "wte", hidden_size)?
    };
    Ok(Spec::Decoder(StackSpec {
        rotaries: vec![RotarySpec { dims, interleaved: true, theta: 10000.0, scaling: RopeScaling::Default }],
        ..decoder_stack(embeddings, "h", layers, layer_norm("ln_f", eps))
    }))
}

/// A matrix with a bias.
fn biased_lm(config: &Config) -> Result<HeadSpec> {
    language_model(config, BiasAt::Decoder)
}
