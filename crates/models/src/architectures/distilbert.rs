//! DistilBERT (Sanh et al. 2019): transformers' `DistilBertModel`.

use trustformers_tensor::Activation;

use super::common::{head_dim, tokens_with, words};
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{
    BiasAt, ClassifierSpec, HeadSpec, LanguageSpec, Pool, SequenceSpec, TransformSpec, classifier,
};
use crate::spec::*;
use crate::{Config, Result};

pub(crate) const DISTILBERT: Architecture = Architecture {
    model_type: "distilbert",
    config_class: "DistilBertConfig",
    defaults: r#"{
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "sinusoidal_pos_embds": false,
        "n_layers": 6,
        "n_heads": 12,
        "dim": 768,
        "hidden_dim": 3072,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "activation": "gelu",
        "initializer_range": 0.02,
        "qa_dropout": 0.1,
        "seq_classif_dropout": 0.2,
        "pad_token_id": 0,
        "eos_token_id": null,
        "bos_token_id": null,
        "tie_word_embeddings": true
    }"#,
    aliases: &[("hidden_size", "dim"), ("num_attention_heads", "n_heads"), ("num_hidden_layers", "n_layers")],
    complete: |_| Ok(()),
    prefix: "distilbert.",
    renames: &[],
    ignored: &[],
    spec,
    classes: &[
        Class::bare("DistilBertModel"),
        Class::new("DistilBertForMaskedLM", Task::MaskedLM, BASE, masked_lm),
        Class::new("DistilBertForSequenceClassification", Task::SequenceClassification, BASE, sequence),
        Class::new("DistilBertForMultipleChoice", Task::MultipleChoice, BASE, sequence),
        Class::new("DistilBertForTokenClassification", Task::TokenClassification, BASE, tokens),
        Class::new("DistilBertForQuestionAnswering", Task::QuestionAnswering, BASE, span),
    ],
};

const BASE: &str = "distilbert";

/// The same in all its norms, whatever a configuration says.
const EPS: f32 = 1e-12;

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("dim")?;
    let heads = config.count("n_heads")?;
    let projection = Projection::separate("attention.q_lin", "attention.k_lin", "attention.v_lin", true);
    let output = linear("attention.out_lin", true);
    let attention = AttentionSpec {
        dropout: config.dropout("attention_dropout")?,
        ..AttentionSpec::new(projection, output, heads, head_dim(config, hidden_size, heads)?)
    };
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain { up: linear("ffn.lin1", true), down: linear("ffn.lin2", true) },
        width: config.count("hidden_dim")?,
        activation: config.activation("activation")?,
        dropout: 0.0,
    };
    let layer = LayerSpec {
        path: None,
        attention: Sublayer::post_norm(attention, layer_norm("sa_layer_norm", EPS)),
        cross_attention: None,
        feed_forward: Sublayer::post_norm(feed_forward, layer_norm("output_layer_norm", EPS))
            .dropping(config.dropout("dropout")?),
        parallel: false,
        dropout: 0.0,
    };
    let embeddings = EmbeddingsSpec {
        // Sinusoids too are a parameter, and in the checkpoint.
        positions: Some(PositionsSpec {
            table: PositionTable::Learned("embeddings.position_embeddings"),
            rows: config.count("max_position_embeddings")?,
            offset: 0,
            numbering: Numbering::Index,
        }),
        norm: Some(layer_norm("embeddings.LayerNorm", EPS)),
        dropout: config.dropout("dropout")?,
        ..words(config, "embeddings.word_embeddings", hidden_size)?
    };
    let stack = StackSpec {
        hidden_size,
        embeddings,
        layers_path: "transformer.layer",
        layers: vec![layer; config.layers("n_layers")?],
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
    Ok(Spec::Encoder(EncoderSpec { stack, pooler: None }))
}

fn masked_lm(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Language(LanguageSpec {
        transform: Some(TransformSpec {
            dense: Some(linear("vocab_transform", true)),
            activation: config.activation("activation")?,
            norm: Some(layer_norm("vocab_layer_norm", EPS)),
            dropout: 0.0,
        }),
        bias: BiasAt::Decoder,
        ..LanguageSpec::new(config, "vocab_projector", config.count("dim")?)?
    }))
}

fn sequence(config: &Config) -> Result<HeadSpec> {
    let scores = ClassifierSpec {
        transform: Some(TransformSpec::dense(linear("pre_classifier", true), Activation::Relu)),
        dropout: config.dropout("seq_classif_dropout")?,
        ..classifier("classifier")
    };
    Ok(HeadSpec::Sequence(SequenceSpec::new(Pool::First, scores)))
}

fn tokens(config: &Config) -> Result<HeadSpec> {
    tokens_with(config.dropout("dropout")?)
}

fn span(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Span(classifier("qa_outputs").dropping(config.dropout("qa_dropout")?)))
}
