//! StableLM (Bellagente et al. 2024), Llama with layer norms and partly turned heads: transformers' `StableLmModel`.

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::rotary::RotarySpec;
use crate::spec::*;
use crate::{Config, Result};

pub(crate) const STABLELM: Architecture = Architecture {
    model_type: "stablelm",
    config_class: "StableLmConfig",
    defaults: r#"{
        "vocab_size": 50304,
        "intermediate_size": 6912,
        "hidden_size": 2560,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "hidden_act": "silu",
        "max_position_embeddings": 4096,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-5,
        "use_cache": true,
        "tie_word_embeddings": false,
        "rope_parameters": null,
        "use_qkv_bias": false,
        "qk_layernorm": false,
        "use_parallel_residual": false,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": null
    }"#,
    aliases: &[],
    complete,
    prefix: "model.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec,
    classes: &[
        Class::bare("StableLmModel"),
        Class::new("StableLmForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new(
            "StableLmForSequenceClassification",
            Task::SequenceClassification,
            "model",
            last_token_score,
        ),
        Class::new("StableLmForTokenClassification", Task::TokenClassification, "model", token_score),
    ],
};

fn complete(config: &mut Config) -> Result<()> {
    complete_kv_heads(config)?;
    complete_rope(config, 10000.0, Some(0.25))
}

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let head_dim = head_dim(config, hidden_size, heads)?;
    let eps = config.number("layer_norm_eps")?;
    let bias = config.flag("use_qkv_bias")?;
    let head_norm = |path| NormSpec { kind: NormKind::LayerNoBias, ..layer_norm(path, eps) };
    let projection = Projection::separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", bias);
    let attention = AttentionSpec {
        kv_heads: config.count("num_key_value_heads")?,
        rotary: Some(0),
        dropout: config.dropout("attention_dropout")?,
        qk_norm: config.flag("qk_layernorm")?.then(|| QkNorm {
            query: head_norm("self_attn.q_layernorm"),
            key: head_norm("self_attn.k_layernorm"),
            over: NormOver::EachHead,
        }),
        ..AttentionSpec::new(projection, linear("self_attn.o_proj", false), heads, head_dim)
    };
    let parallel = config.flag("use_parallel_residual")?;
    let second = (!parallel).then_some(layer_norm("post_attention_layernorm", eps));
    let layer = LayerSpec {
        path: None,
        attention: Sublayer::pre_norm(layer_norm("input_layernorm", eps), attention),
        cross_attention: None,
        feed_forward: Sublayer::pre_norm(second, gated(config, "hidden_act", false)?)
            .dropping(config.dropout("hidden_dropout")?),
        parallel,
        dropout: 0.0,
    };
    let layers = vec![layer; config.layers("num_hidden_layers")?];
    let embeddings = words(config, "embed_tokens", hidden_size)?;
    Ok(Spec::Decoder(StackSpec {
        rotaries: vec![RotarySpec::read(config, head_dim)?],
        ..decoder_stack(embeddings, "layers", layers, layer_norm("norm", eps))
    }))
}
