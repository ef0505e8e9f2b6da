//! What decoders have alike: Llama's layers, GPT-2's embeddings, and the fields that transformers fills in.

use serde_json::Value;

use super::common::{decoder_dropout, head_dim, tokens_with, words};
use crate::heads::HeadSpec;
use crate::rotary::RotarySpec;
use crate::spec::*;
use crate::{Config, Error, Result};

/// Llama's stack: pre-norm layers with RMS norms, rotary positions, grouped-query attention and a gated feed-forward network, whose
/// activation is in the field `act`. Biases as given, of queries, keys and values; of the attention's output; of the feed-forward network.
pub(super) fn llama_stack(config: &Config, act: &str, biases: [bool; 3]) -> Result<StackSpec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let head_dim = head_dim(config, hidden_size, heads)?;
    let eps = config.number("rms_norm_eps")?;
    let projection =
        Projection::separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", biases[0]);
    let attention = AttentionSpec {
        kv_heads: config.count("num_key_value_heads")?,
        rotary: Some(0),
        dropout: config.dropout("attention_dropout")?,
        ..AttentionSpec::new(projection, linear("self_attn.o_proj", biases[1]), heads, head_dim)
    };
    let layer = LayerSpec {
        path: None,
        attention: Sublayer::pre_norm(rms_norm("input_layernorm", eps), attention),
        cross_attention: None,
        feed_forward: Sublayer::pre_norm(
            rms_norm("post_attention_layernorm", eps),
            gated(config, act, biases[2])?,
        ),
        parallel: false,
        dropout: 0.0,
    };
    let layers = vec![layer; config.layers("num_hidden_layers")?];
    let embeddings = words(config, "embed_tokens", hidden_size)?;
    Ok(StackSpec {
        rotaries: vec![RotarySpec::read(config, head_dim)?],
        ..decoder_stack(embeddings, "layers", layers, rms_norm("norm", eps))
    })
}

/// A decoder's stack, as wide as its embeddings.
pub(super) fn decoder_stack(
    embeddings: EmbeddingsSpec,
    layers_path: Path,
    layers: Vec<LayerSpec>,
    final_norm: NormSpec,
) -> StackSpec {
    StackSpec {
        hidden_size: embeddings.width,
        embeddings,
        layers_path,
        layers,
        final_norm: Some(final_norm),
        project_out: None,
        causal: true,
        parts_texts: true,
        rotaries: Vec::new(),
        bias: None,
        dropout: 0.0,
        layer_drop: 0.0,
        outgrows_f16: false,
    }
}

/// A classification of positions at `classifier`.
pub(super) fn decoder_tokens(config: &Config) -> Result<HeadSpec> {
    tokens_with(decoder_dropout(config)?)
}

/// Llama's feed-forward network, whose activation is in the field `act`.
pub(super) fn gated(config: &Config, act: &str, bias: bool) -> Result<FeedForwardSpec> {
    Ok(FeedForwardSpec {
        kind: FeedForwardKind::Gated {
            gate: linear("mlp.gate_proj", bias),
            up: linear("mlp.up_proj", bias),
            down: linear("mlp.down_proj", bias),
        },
        width: config.count("intermediate_size")?,
        activation: config.activation(act)?,
        dropout: 0.0,
    })
}

/// GPT-2's embeddings: words and positions, and words again for segments.
pub(super) fn gpt_embeddings(config: &Config, width: usize) -> Result<EmbeddingsSpec> {
    Ok(EmbeddingsSpec {
        positions: Some(PositionsSpec {
            table: PositionTable::Learned("wpe"),
            rows: config.count("max_position_embeddings")?,
            offset: 0,
            numbering: Numbering::Index,
        }),
        segments: Some(("wte", config.count("vocab_size")?)),
        padding: None,
        ..words(config, "wte", width)?
    })
}

/// Gives the layers that `layer_types` calls sliding a window.
pub(super) fn set_windows(stack: &mut StackSpec, config: &Config) -> Result<()> {
    let kinds = config.list("layer_types", stack.layers.len())?;
    for (layer, kind) in stack.layers.iter_mut().zip(kinds) {
        layer.attention.part.window = match kind.as_str() {
            Some("full_attention") => None,
            Some("sliding_attention") => Some(config.count("sliding_window")?),
            _ => {
                let rule = "must hold \"full_attention\" and \"sliding_attention\"";
                return Err(Error::Config(format!("`layer_types` {rule}, got {kind}")));
            }
        };
    }
    Ok(())
}

/// `layer_types`, where the configuration does not have them: which layers see a window only.
pub(super) fn complete_layer_types(config: &mut Config, slides: impl Fn(usize) -> bool) -> Result<()> {
    if !config.has("layer_types") {
        let kind = |layer| if slides(layer) { "sliding_attention" } else { "full_attention" };
        let kinds: Vec<Value> =
            (0..config.layers("num_hidden_layers")?).map(|layer| kind(layer).into()).collect();
        config.set("layer_types", kinds.into());
    }
    Ok(())
}

/// The heads of keys, which are as many as those of queries where the configuration does not say.
pub(super) fn complete_kv_heads(config: &mut Config) -> Result<()> {
    if !config.has("num_key_value_heads") {
        config.set("num_key_value_heads", config.count("num_attention_heads")?.into());
    }
    Ok(())
}

/// What transformers fills into a configuration like Llama's: the heads of keys, the width of a head, and `rope_parameters`.
pub(super) fn complete_llama(config: &mut Config) -> Result<()> {
    complete_kv_heads(config)?;
    if !config.has("head_dim") {
        let (hidden_size, heads) = (config.count("hidden_size")?, config.count("num_attention_heads")?);
        config.set("head_dim", head_dim(config, hidden_size, heads)?.into());
    }
    complete_rope(config, 10000.0, None)
}

/// `rope_parameters` from the fields that held them before version 5, `rope_scaling`, `rope_theta` and `partial_rotary_factor`, or from
/// the architecture's `theta` and `partial` factor.
pub(super) fn complete_rope(config: &mut Config, theta: f64, partial: Option<f64>) -> Result<()> {
    let old = config.object("rope_scaling")?.filter(|old| !old.is_empty());
    let mut parameters = old.or(config.object("rope_parameters")?).cloned().unwrap_or_default();
    config.remove("rope_scaling");
    let theta = config.remove("rope_theta").unwrap_or_else(|| theta.into());
    parameters.entry("rope_theta").or_insert(theta);
    let partial = config.remove("partial_rotary_factor").or(partial.map(Value::from));
    if let Some(partial) = partial {
        parameters.entry("partial_rotary_factor").or_insert(partial);
    }
    let kind = parameters.get("type").cloned().unwrap_or_else(|| "default".into());
    let kind = parameters.entry("rope_type").or_insert(kind);
    if kind == "llama3" || kind == "yarn" || kind == "longrope" {
        let field = "original_max_position_embeddings";
        if config.has(field) {
            parameters.insert(field.into(), config.count(field)?.into());
        } else if !parameters.contains_key(field) {
            parameters.insert(field.into(), config.count("max_position_embeddings")?.into());
        }
    }
    config.set("rope_parameters", parameters.into());
    Ok(())
}
