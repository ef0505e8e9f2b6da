//! OPT (Zhang et al. 2022): transformers' `OPTModel`.

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{HeadSpec, LanguageSpec};
use crate::spec::*;
use crate::{Config, Result};

pub(crate) const OPT: Architecture = Architecture {
    model_type: "opt",
    config_class: "OPTConfig",
    defaults: r#"{
        "vocab_size": 50272,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "ffn_dim": 3072,
        "max_position_embeddings": 2048,
        "do_layer_norm_before": true,
        "_remove_final_layer_norm": false,
        "word_embed_proj_dim": null,
        "dropout": 0.1,
        "attention_dropout": 0.0,
        "num_attention_heads": 12,
        "activation_function": "relu",
        "layerdrop": 0.0,
        "init_std": 0.02,
        "use_cache": true,
        "pad_token_id": 1,
        "bos_token_id": 2,
        "eos_token_id": 2,
        "enable_bias": true,
        "layer_norm_elementwise_affine": true,
        "tie_word_embeddings": true
    }"#,
    aliases: &[],
    complete,
    prefix: "model.",
    renames: &[],
    ignored: &[],
    spec,
    classes: &[
        Class::bare("OPTModel"),
        Class::new("OPTForCausalLM", Task::CausalLM, "model", causal_lm),
        Class::new("OPTForSequenceClassification", Task::SequenceClassification, "model", last_token_score),
        Class::new("OPTForQuestionAnswering", Task::QuestionAnswering, "model", qa_outputs),
    ],
};

/// torch's default, which the configuration cannot change.
const EPS: f32 = 1e-5;

fn complete(config: &mut Config) -> Result<()> {
    if !config.has("word_embed_proj_dim") {
        config.set("word_embed_proj_dim", config.count("hidden_size")?.into());
    }
    Ok(())
}

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let bias = config.flag("enable_bias")?;
    let kind =
        if config.flag("layer_norm_elementwise_affine")? { NormKind::Layer } else { NormKind::LayerPlain };
    let norm = |path| NormSpec { path, kind, eps: EPS };
    let projection = Projection::separate("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", bias);
    let head_dim = head_dim(config, hidden_size, heads)?;
    let attention = AttentionSpec {
        dropout: config.dropout("attention_dropout")?,
        ..AttentionSpec::new(projection, linear("self_attn.out_proj", bias), heads, head_dim)
    };
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain { up: linear("fc1", bias), down: linear("fc2", bias) },
        width: config.count("ffn_dim")?,
        activation: config.activation("activation_function")?,
        dropout: 0.0,
    };
    let (first, second) = (norm("self_attn_layer_norm"), norm("final_layer_norm"));
    let before = config.flag("do_layer_norm_before")?;
    // OPT-350m is the one with norms after the sums, and so with none at the end.
    let (attention, feed_forward) = match before {
        true => (Sublayer::pre_norm(first, attention), Sublayer::pre_norm(second, feed_forward)),
        false => (Sublayer::post_norm(attention, first), Sublayer::post_norm(feed_forward, second)),
    };
    let dropout = config.dropout("dropout")?;
    let (attention, feed_forward) = (attention.dropping(dropout), feed_forward.dropping(dropout));
    let layer = LayerSpec {
        path: None,
        attention,
        cross_attention: None,
        feed_forward,
        parallel: false,
        dropout: 0.0,
    };
    let layers = vec![layer; config.layers("num_hidden_layers")?];
    let width = config.count("word_embed_proj_dim")?;
    let projects = width != hidden_size;
    let embeddings = EmbeddingsSpec {
        positions: Some(PositionsSpec {
            table: PositionTable::Learned("decoder.embed_positions"),
            rows: config.count("max_position_embeddings")? + 2,
            offset: 2,
            numbering: Numbering::Visible,
        }),
        projection: projects.then_some(linear("decoder.project_in", false)),
        projects_words: projects,
        ..words(config, "decoder.embed_tokens", width)?
    };
    let last = norm("decoder.final_layer_norm");
    let has_last = before && !config.flag("_remove_final_layer_norm")?;
    Ok(Spec::Decoder(StackSpec {
        hidden_size,
        layer_drop: config.dropout("layerdrop")?,
        final_norm: has_last.then_some(last),
        project_out: projects.then_some(linear("decoder.project_out", false)),
        parts_texts: false,
        ..decoder_stack(embeddings, "decoder.layers", layers, last)
    }))
}

fn causal_lm(config: &Config) -> Result<HeadSpec> {
    let width = config.count("word_embed_proj_dim")?;
    Ok(HeadSpec::Language(LanguageSpec { shifts: true, ..LanguageSpec::new(config, "lm_head", width)? }))
}
