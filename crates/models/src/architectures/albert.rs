//! ALBERT (Lan et al. 2020): BERT with narrow word embeddings and layers that are used repeatedly. transformers' `AlbertModel`.

use trustformers_tensor::Activation;

use super::common::{bert_embeddings, head_dim, pooled_with, qa_outputs, tokens_with};
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{BiasAt, HeadSpec, LanguageSpec, TransformSpec, classifier};
use crate::spec::*;
use crate::{Config, Error, Result};

pub(crate) const ALBERT: Architecture = Architecture {
    model_type: "albert",
    config_class: "AlbertConfig",
    defaults: r#"{
        "vocab_size": 30000,
        "embedding_size": 128,
        "hidden_size": 4096,
        "num_hidden_layers": 12,
        "num_hidden_groups": 1,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
        "inner_group_num": 1,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "classifier_dropout_prob": 0.1,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "tie_word_embeddings": true
    }"#,
    aliases: &[],
    complete: |_| Ok(()),
    prefix: "albert.",
    renames: &[],
    ignored: &[],
    spec,
    classes: &[
        Class::bare("AlbertModel"),
        Class::new("AlbertForPreTraining", Task::PreTraining, BASE, pre_training),
        Class::new("AlbertForMaskedLM", Task::MaskedLM, BASE, masked_lm),
        Class::new("AlbertForSequenceClassification", Task::SequenceClassification, BASE, pooled),
        Class::new("AlbertForMultipleChoice", Task::MultipleChoice, BASE, pooled),
        Class::new("AlbertForTokenClassification", Task::TokenClassification, BASE, tokens),
        Class::new("AlbertForQuestionAnswering", Task::QuestionAnswering, BASE, qa_outputs),
    ],
};

const BASE: &str = "albert";

fn spec(config: &Config) -> Result<Spec> {
    config.only("position_embedding_type", &["absolute".into()])?;
    let eps = config.number("layer_norm_eps")?;
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let projection = Projection::separate("attention.query", "attention.key", "attention.value", true);
    let output = linear("attention.dense", true);
    let attention = AttentionSpec {
        dropout: config.dropout("attention_probs_dropout_prob")?,
        ..AttentionSpec::new(projection, output, heads, head_dim(config, hidden_size, heads)?)
    };
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain { up: linear("ffn", true), down: linear("ffn_output", true) },
        width: config.count("intermediate_size")?,
        activation: config.activation("hidden_act")?,
        dropout: 0.0,
    };
    let layer = LayerSpec {
        path: None,
        attention: Sublayer::post_norm(attention, layer_norm("attention.LayerNorm", eps))
            .dropping(config.dropout("hidden_dropout_prob")?),
        cross_attention: None,
        feed_forward: Sublayer::post_norm(feed_forward, layer_norm("full_layer_layer_norm", eps)),
        parallel: false,
        dropout: 0.0,
    };
    let layers =
        paths(config)?.into_iter().map(|path| LayerSpec { path: Some(path), ..layer.clone() }).collect();
    let embeddings = EmbeddingsSpec {
        projection: Some(linear("encoder.embedding_hidden_mapping_in", true)),
        ..bert_embeddings(config, config.count("embedding_size")?, eps)?
    };
    let stack = StackSpec {
        hidden_size,
        embeddings,
        layers_path: "encoder.albert_layer_groups",
        layers,
        final_norm: None,
        project_out: None,
        causal: false,
        parts_texts: false,
        rotaries: Vec::new(),
        bias: None,
        dropout: 0.0,
        layer_drop: 0.0,
        outgrows_f16: false,
    };
    Ok(Spec::Encoder(EncoderSpec { stack, pooler: Some((linear("pooler", true), Activation::Tanh)) }))
}

/// Where the layers are in the order in which they run: a group for so many of them, each group several layers.
fn paths(config: &Config) -> Result<Vec<String>> {
    let layers = config.layers("num_hidden_layers")?;
    let groups = config.count("num_hidden_groups")?;
    let inner = config.count("inner_group_num")?;
    if layers.saturating_mul(inner) > 10_000 || groups > layers.max(1) {
        return Err(Error::Config(format!(
            "`num_hidden_layers` ({layers}) times `inner_group_num` ({inner}) must be at most 10000, and \
             `num_hidden_groups` ({groups}) at most the layers"
        )));
    }
    let group = |layer: usize| (layer as f64 / (layers as f64 / groups as f64)) as usize;
    let path = |layer, inner| format!("encoder.albert_layer_groups.{}.albert_layers.{inner}", group(layer));
    Ok((0..layers).flat_map(|layer| (0..inner).map(move |inner| path(layer, inner))).collect())
}

fn predictions(config: &Config) -> Result<LanguageSpec> {
    Ok(LanguageSpec {
        transform: Some(TransformSpec {
            dense: Some(linear("predictions.dense", true)),
            activation: config.activation("hidden_act")?,
            norm: Some(layer_norm("predictions.LayerNorm", config.number("layer_norm_eps")?)),
            dropout: 0.0,
        }),
        bias: BiasAt::Path("predictions.bias"),
        ..LanguageSpec::new(config, "predictions.decoder", config.count("embedding_size")?)?
    })
}

fn masked_lm(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Language(predictions(config)?))
}

fn pre_training(config: &Config) -> Result<HeadSpec> {
    let order = classifier("sop_classifier.classifier").dropping(config.dropout("classifier_dropout_prob")?);
    Ok(HeadSpec::SentenceOrder(predictions(config)?, order))
}

fn pooled(config: &Config) -> Result<HeadSpec> {
    pooled_with(config.dropout("classifier_dropout_prob")?)
}

fn tokens(config: &Config) -> Result<HeadSpec> {
    tokens_with(config.dropout_or(&["classifier_dropout_prob", "hidden_dropout_prob"], 0.0)?)
}
