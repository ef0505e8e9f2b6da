//! GPT-Neo (Black et al. 2021), GPT-2 with windows in some layers: transformers' `GPTNeoModel`.

use serde_json::Value;

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::spec::*;
use crate::{Config, Error, Result};

pub(crate) const GPT_NEO: Architecture = Architecture {
    model_type: "gpt_neo",
    config_class: "GPTNeoConfig",
    defaults: r#"{
        "vocab_size": 50257,
        "max_position_embeddings": 2048,
        "hidden_size": 2048,
        "num_layers": 24,
        "attention_types": null,
        "num_heads": 16,
        "intermediate_size": null,
        "window_size": 256,
        "activation_function": "gelu_new",
        "resid_dropout": 0.0,
        "embed_dropout": 0.0,
        "attention_dropout": 0.0,
        "classifier_dropout": 0.1,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "use_cache": true,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
        "pad_token_id": null,
        "tie_word_embeddings": true
    }"#,
    aliases: &[("num_attention_heads", "num_heads"), ("num_hidden_layers", "num_layers")],
    complete,
    prefix: "transformer.",
    renames: &[],
    ignored: &["attn.attention.bias", "attn.attention.masked_bias"],
    spec,
    classes: &[
        Class::bare("GPTNeoModel"),
        Class::new("GPTNeoForCausalLM", Task::CausalLM, "transformer", causal_lm),
        Class::new(
            "GPTNeoForSequenceClassification",
            Task::SequenceClassification,
            "transformer",
            last_token_score,
        ),
        Class::new("GPTNeoForTokenClassification", Task::TokenClassification, "transformer", decoder_tokens),
        Class::new("GPTNeoForQuestionAnswering", Task::QuestionAnswering, "transformer", qa_outputs),
    ],
};

/// `attention_types` says which layers repeat how often; `attention_layers` has them one by one.
fn complete(config: &mut Config) -> Result<()> {
    if !config.has("attention_types") {
        config.set("attention_types", serde_json::json!([[["global", "local"], 12]]));
    }
    let wrong = || {
        let rule = r#"must be a list like [[["global", "local"], 12]]"#;
        Error::Config(format!("`attention_types` {rule}, got {}", config.values()["attention_types"]))
    };
    // Ten times what anybody has trained.
    let limit = 10_000;
    let mut layers: Vec<Value> = Vec::new();
    for item in config.values()["attention_types"].as_array().ok_or_else(wrong)? {
        let kinds = item.get(0).and_then(Value::as_array).ok_or_else(wrong)?;
        let times = item.get(1).and_then(Value::as_u64).ok_or_else(wrong)?;
        for _ in 0..times {
            layers.extend(kinds.iter().cloned());
            if kinds.is_empty() || layers.len() > limit {
                return Err(wrong());
            }
        }
    }
    config.set("attention_layers", layers.into());
    Ok(())
}

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let head_dim = head_dim(config, hidden_size, heads)?;
    let eps = config.number("layer_norm_epsilon")?;
    let projection = Projection::separate(
        "attn.attention.q_proj",
        "attn.attention.k_proj",
        "attn.attention.v_proj",
        false,
    );
    let attention = AttentionSpec {
        scale: 1.0,
        insists: true,
        dropout: config.dropout("attention_dropout")?,
        ..AttentionSpec::new(projection, linear("attn.attention.out_proj", true), heads, head_dim)
    };
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain { up: linear("mlp.c_fc", true), down: linear("mlp.c_proj", true) },
        width: match config.has("intermediate_size") {
            true => config.count("intermediate_size")?,
            false => 4 * hidden_size,
        },
        activation: config.activation("activation_function")?,
        dropout: 0.0,
    };
    let dropout = config.dropout("resid_dropout")?;
    let count = config.layers("num_hidden_layers")?;
    let kinds = config.list("attention_layers", count)?;
    if kinds.len() != count {
        return Err(Error::Config(format!(
            "`attention_types` describes {} layers and `num_layers` is {count}",
            kinds.len()
        )));
    }
    let layer = |kind: &Value| {
        let window = match kind.as_str() {
            Some("global") => None,
            Some("local") => Some(config.count("window_size")?),
            _ => {
                let rule = "must hold \"global\" and \"local\"";
                return Err(Error::Config(format!("`attention_types` {rule}, got {kind}")));
            }
        };
        Ok(LayerSpec {
            path: None,
            attention: Sublayer::pre_norm(
                layer_norm("ln_1", eps),
                AttentionSpec { window, ..attention.clone() },
            )
            .dropping(dropout),
            cross_attention: None,
            feed_forward: Sublayer::pre_norm(layer_norm("ln_2", eps), feed_forward.clone()).dropping(dropout),
            parallel: false,
            dropout: 0.0,
        })
    };
    let layers = kinds.iter().map(layer).collect::<Result<_>>()?;
    let dropout = config.dropout("embed_dropout")?;
    let embeddings = EmbeddingsSpec { dropout, ..gpt_embeddings(config, hidden_size)? };
    Ok(Spec::Decoder(decoder_stack(embeddings, "h", layers, layer_norm("ln_f", eps))))
}
