//! ModernBERT (Warner et al. 2024): pre-norm layers of which most see only their neighbourhood, rotary positions and gated
//! feed-forward networks. transformers' `ModernBertModel`.

use serde_json::{Map, Value};

use super::common::{head_dim, words};
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{
    BiasAt, ClassifierSpec, HeadSpec, LanguageSpec, Pool, SequenceSpec, TransformSpec, classifier,
};
use crate::rotary::RotarySpec;
use crate::spec::*;
use crate::{Config, Error, Result};

pub(crate) const MODERNBERT: Architecture = Architecture {
    model_type: "modernbert",
    config_class: "ModernBertConfig",
    defaults: r#"{
        "vocab_size": 50368,
        "hidden_size": 768,
        "intermediate_size": 1152,
        "num_hidden_layers": 22,
        "num_attention_heads": 12,
        "hidden_activation": "gelu",
        "max_position_embeddings": 8192,
        "initializer_range": 0.02,
        "initializer_cutoff_factor": 2.0,
        "norm_eps": 1e-5,
        "norm_bias": false,
        "pad_token_id": 50283,
        "eos_token_id": 50282,
        "bos_token_id": 50281,
        "cls_token_id": 50281,
        "sep_token_id": 50282,
        "attention_bias": false,
        "attention_dropout": 0.0,
        "layer_types": null,
        "rope_parameters": null,
        "local_attention": 128,
        "embedding_dropout": 0.0,
        "mlp_bias": false,
        "mlp_dropout": 0.0,
        "decoder_bias": true,
        "classifier_pooling": "cls",
        "classifier_dropout": 0.0,
        "classifier_bias": false,
        "classifier_activation": "gelu",
        "deterministic_flash_attn": false,
        "sparse_prediction": false,
        "sparse_pred_ignore_index": -100,
        "tie_word_embeddings": true
    }"#,
    aliases: &[],
    complete,
    prefix: "model.",
    renames: &[],
    ignored: &[],
    spec,
    classes: &[
        Class::bare("ModernBertModel"),
        Class::new("ModernBertForMaskedLM", Task::MaskedLM, BASE, masked_lm),
        Class::new("ModernBertForSequenceClassification", Task::SequenceClassification, BASE, sequence),
        Class::new("ModernBertForMultipleChoice", Task::MultipleChoice, BASE, multiple_choice),
        Class::new("ModernBertForTokenClassification", Task::TokenClassification, BASE, tokens),
        Class::new("ModernBertForQuestionAnswering", Task::QuestionAnswering, BASE, span),
    ],
};

const BASE: &str = "model";
const GLOBAL: &str = "full_attention";
const LOCAL: &str = "sliding_attention";

/// The kinds of layers and their rotary embeddings, from the fields that held them before version 5.
fn complete(config: &mut Config) -> Result<()> {
    if !config.has("layer_types") {
        let every = match config.has("global_attn_every_n_layers") {
            true => config.count("global_attn_every_n_layers")?,
            false => 3,
        };
        let layers = 0..config.layers("num_hidden_layers")?;
        let kind = |layer: usize| if layer.is_multiple_of(every) { GLOBAL } else { LOCAL };
        config.set("layer_types", layers.map(kind).collect::<Vec<_>>().into());
    }
    let mut all = config.object("rope_parameters")?.cloned().unwrap_or_default();
    let scaling = config.object("rope_scaling")?.cloned().unwrap_or_default();
    for (kind, old, theta) in
        [(GLOBAL, "global_rope_theta", 160_000.0), (LOCAL, "local_rope_theta", 10_000.0)]
    {
        let mut own: Map<String, Value> = match all.get(kind) {
            Some(Value::Object(own)) => own.clone(),
            _ => Map::new(),
        };
        own.entry("rope_type").or_insert("default".into());
        own.extend(scaling.clone());
        let theta = config.remove(old).unwrap_or_else(|| theta.into());
        own.entry("rope_theta").or_insert(theta);
        all.insert(kind.into(), own.into());
    }
    config.set("rope_parameters", all.into());
    Ok(())
}

fn norm(config: &Config, path: Path) -> Result<NormSpec> {
    let kind = if config.flag("norm_bias")? { NormKind::Layer } else { NormKind::LayerNoBias };
    Ok(NormSpec { path, kind, eps: config.number("norm_eps")? })
}

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let head_dim = head_dim(config, hidden_size, heads)?;
    let [attention_bias, mlp_bias] = [config.flag("attention_bias")?, config.flag("mlp_bias")?];
    let projection = Projection::Fused(linear("attn.Wqkv", attention_bias), FusedOrder::Concatenated);
    let dropout = config.dropout("attention_dropout")?;
    let attention = AttentionSpec {
        dropout,
        ..AttentionSpec::new(projection, linear("attn.Wo", attention_bias), heads, head_dim)
    };
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::GatedFused {
            gate_up: linear("mlp.Wi", mlp_bias),
            down: linear("mlp.Wo", mlp_bias),
        },
        width: config.count("intermediate_size")?,
        activation: config.activation("hidden_activation")?,
        dropout: config.dropout("mlp_dropout")?,
    };
    let [attn_norm, mlp_norm] = [norm(config, "attn_norm")?, norm(config, "mlp_norm")?];
    let reach = config.size("local_attention")? / 2;
    let count = config.layers("num_hidden_layers")?;
    let layer = |(index, kind): (usize, &Value)| {
        let (rotary, window) = match kind.as_str() {
            Some(GLOBAL) => (0, None),
            Some(LOCAL) => (1, Some(reach)),
            _ => {
                let rule = format!("`layer_types` must be {GLOBAL} or {LOCAL} for each layer, got {kind}");
                return Err(Error::Config(rule));
            }
        };
        let attention = AttentionSpec { rotary: Some(rotary), window, ..attention.clone() };
        Ok(LayerSpec {
            path: None,
            // The embeddings are normalised already.
            attention: Sublayer::pre_norm((index > 0).then_some(attn_norm), attention).dropping(dropout),
            cross_attention: None,
            feed_forward: Sublayer::pre_norm(mlp_norm, feed_forward.clone()),
            parallel: false,
            dropout: 0.0,
        })
    };
    let layers = config.list("layer_types", count)?[..count].iter().enumerate().map(layer);
    let stack = StackSpec {
        hidden_size,
        embeddings: EmbeddingsSpec {
            norm: Some(norm(config, "embeddings.norm")?),
            dropout: config.dropout("embedding_dropout")?,
            ..words(config, "embeddings.tok_embeddings", hidden_size)?
        },
        layers_path: "layers",
        layers: layers.collect::<Result<_>>()?,
        final_norm: Some(norm(config, "final_norm")?),
        project_out: None,
        causal: false,
        parts_texts: false,
        rotaries: vec![
            RotarySpec::read_for(config, GLOBAL, "global_rope_theta", head_dim)?,
            RotarySpec::read_for(config, LOCAL, "local_rope_theta", head_dim)?,
        ],
        bias: None,
        dropout: 0.0,
        layer_drop: 0.0,
        outgrows_f16: false,
    };
    Ok(Spec::Encoder(EncoderSpec { stack, pooler: None }))
}

/// The layer before all scores.
fn head(config: &Config) -> Result<TransformSpec> {
    Ok(TransformSpec {
        dense: Some(linear("head.dense", config.flag("classifier_bias")?)),
        activation: config.activation("classifier_activation")?,
        norm: Some(norm(config, "head.norm")?),
        dropout: 0.0,
    })
}

/// The scores, and the layer before them.
fn scores(config: &Config) -> Result<ClassifierSpec> {
    let dropout = config.dropout("classifier_dropout")?;
    Ok(ClassifierSpec { transform: Some(head(config)?), dropout, ..classifier("classifier") })
}

fn masked_lm(config: &Config) -> Result<HeadSpec> {
    // It would leave out the logits that have no label.
    config.only("sparse_prediction", &[false.into()])?;
    Ok(HeadSpec::Language(LanguageSpec {
        transform: Some(head(config)?),
        bias: if config.flag("decoder_bias")? { BiasAt::Decoder } else { BiasAt::None },
        ..LanguageSpec::new(config, "decoder", config.count("hidden_size")?)?
    }))
}

fn pooled(config: &Config, first: Pool) -> Result<HeadSpec> {
    let pool = match config.text("classifier_pooling")? {
        "cls" => first,
        "mean" => Pool::Mean,
        other => {
            return Err(Error::Config(format!("`classifier_pooling` must be cls or mean, got {other}")));
        }
    };
    Ok(HeadSpec::Sequence(SequenceSpec::new(pool, scores(config)?)))
}

fn sequence(config: &Config) -> Result<HeadSpec> {
    pooled(config, Pool::First)
}

fn multiple_choice(config: &Config) -> Result<HeadSpec> {
    pooled(config, Pool::FirstShown)
}

fn tokens(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Tokens(scores(config)?))
}

fn span(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Span(scores(config)?))
}
