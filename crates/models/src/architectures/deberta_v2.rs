//! DeBERTa v2 and v3 (He et al. 2021): transformers' `DebertaV2Model`.

use serde_json::Value;
use trustformers_tensor::Activation;

use super::common::{bert_predictions, bert_stack, qa_outputs, tokens_with, words};
use crate::architecture::{Architecture, Class, Task};
use crate::convolution::ConvolutionSpec;
use crate::disentangled::{DisentangledSpec, DistanceHeads, DistanceProjection};
use crate::heads::{
    BiasAt, ClassifierSpec, HeadSpec, LabelReading, LanguageSpec, Pool, SequenceSpec, TransformSpec,
    classifier,
};
use crate::spec::*;
use crate::{Config, Error, Result};

pub(crate) const DEBERTA_V2: Architecture = Architecture {
    model_type: "deberta-v2",
    config_class: "DebertaV2Config",
    defaults: r#"{
        "vocab_size": 128100,
        "hidden_size": 1536,
        "num_hidden_layers": 24,
        "num_attention_heads": 24,
        "intermediate_size": 6144,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 0,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-7,
        "relative_attention": false,
        "max_relative_positions": -1,
        "pad_token_id": 0,
        "bos_token_id": null,
        "eos_token_id": null,
        "position_biased_input": true,
        "pos_att_type": null,
        "pooler_dropout": 0.0,
        "pooler_hidden_act": "gelu",
        "pooler_hidden_size": null,
        "legacy": true,
        "tie_word_embeddings": true
    }"#,
    aliases: &[],
    complete,
    prefix: "deberta.",
    renames: &[],
    // What version 1 and the training of version 3 had.
    ignored: &["position_embeddings", "mask_predictions"],
    spec,
    classes: &[
        Class::bare("DebertaV2Model"),
        Class::new("DebertaV2ForMaskedLM", Task::MaskedLM, BASE, masked_lm),
        Class::new("DebertaV2ForSequenceClassification", Task::SequenceClassification, BASE, sequence),
        Class::new("DebertaV2ForMultipleChoice", Task::MultipleChoice, BASE, sequence),
        Class::new("DebertaV2ForTokenClassification", Task::TokenClassification, BASE, tokens),
        Class::new("DebertaV2ForQuestionAnswering", Task::QuestionAnswering, BASE, qa_outputs),
    ],
};

const BASE: &str = "deberta";

fn complete(config: &mut Config) -> Result<()> {
    if !config.has("pooler_hidden_size") {
        config.set("pooler_hidden_size", config.size("hidden_size")?.into());
    }
    if let Some(Value::String(kinds)) = config.values().get("pos_att_type") {
        let kinds: Vec<Value> = kinds.to_lowercase().split('|').map(|kind| kind.trim().into()).collect();
        config.set("pos_att_type", kinds.into());
    }
    Ok(())
}

/// The value of a field that a configuration need not have.
fn or<T>(config: &Config, field: &str, default: T, read: fn(&Config, &str) -> Result<T>) -> Result<T> {
    if config.has(field) { read(config, field) } else { Ok(default) }
}

/// A whole number that may be negative.
fn integer(config: &Config, field: &str) -> Result<i64> {
    let value = config.values().get(field).unwrap_or(&Value::Null);
    match value.as_i64().filter(|integer| integer.abs() < 1 << 31) {
        Some(integer) => Ok(integer),
        None => Err(Error::Config(format!("`{field}` must be a whole number, got {value}"))),
    }
}

fn spec(config: &Config) -> Result<Spec> {
    let eps = config.number("layer_norm_eps")?;
    let hidden_size = config.count("hidden_size")?;
    let width = or(config, "embedding_size", hidden_size, Config::count)?;
    let table = PositionsSpec {
        table: PositionTable::Learned("embeddings.position_embeddings"),
        rows: config.count("max_position_embeddings")?,
        offset: 0,
        numbering: Numbering::Index,
    };
    let segments = config.size("type_vocab_size")?;
    let embeddings = EmbeddingsSpec {
        positions: config.flag("position_biased_input")?.then_some(table),
        segments: (segments > 0).then_some(("embeddings.token_type_embeddings", segments)),
        projection: (width != hidden_size).then_some(linear("embeddings.embed_proj", false)),
        final_norm: Some(layer_norm("embeddings.LayerNorm", eps)),
        dropout: config.dropout("hidden_dropout_prob")?,
        convolution: convolution(config)?,
        ..words(config, "embeddings.word_embeddings", width)?
    };
    let mut stack = bert_stack(config, embeddings, eps)?;
    let kinds = kinds(config)?;
    let is_relative = config.flag("relative_attention")?;
    for LayerSpec { attention, .. } in &mut stack.layers {
        let part = &mut attention.part;
        part.projection = Projection::separate(
            "attention.self.query_proj",
            "attention.self.key_proj",
            "attention.self.value_proj",
            true,
        );
        // As many parts as a score is the sum of.
        let parts = 1 + usize::from(kinds.keys.is_some()) + usize::from(kinds.queries.is_some());
        part.scale = 1.0 / ((part.head_dim * parts) as f32).sqrt();
        part.distances = is_relative.then_some(kinds);
    }
    if is_relative {
        stack.bias = Some(BiasSpec::Disentangled(distances(config, eps)?));
    }
    Ok(Spec::Encoder(EncoderSpec { stack, pooler: None }))
}

/// Which parts there are beside content with content, and where their vectors come from.
fn kinds(config: &Config) -> Result<DistanceHeads> {
    let kinds: Vec<&str> = match config.values().get("pos_att_type") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
        Some(value) => {
            let rule = format!("`pos_att_type` must be a list of c2p and p2c, got {value}");
            return Err(Error::Config(rule));
        }
    };
    let is_shared = or(config, "share_att_key", false, Config::flag)?;
    let projection = |kind, path| {
        let own = DistanceProjection::Own(linear(path, true));
        kinds.contains(&kind).then_some(if is_shared { DistanceProjection::Shared } else { own })
    };
    Ok(DistanceHeads {
        keys: projection("c2p", "attention.self.pos_key_proj"),
        queries: projection("p2c", "attention.self.pos_query_proj"),
    })
}

fn distances(config: &Config, eps: f32) -> Result<DisentangledSpec> {
    let longest = match or(config, "max_relative_positions", -1, integer)? {
        ..=0 => config.count("max_position_embeddings")?,
        given => given as usize,
    };
    let is_layer_norm = |config: &Config, field: &str| {
        Ok(config.text(field)?.to_lowercase().split('|').any(|norm| norm.trim() == "layer_norm"))
    };
    let buckets = or(config, "position_buckets", -1, integer)?;
    if buckets == 1 || buckets > 0 && longest as i64 - 1 <= buckets / 2 {
        return Err(Error::Config(format!(
            "`position_buckets` ({buckets}) must be at least 2, and half of it less than `max_relative_positions` ({longest}) - 1"
        )));
    }
    Ok(DisentangledSpec {
        path: "encoder.rel_embeddings",
        span: if buckets > 0 { buckets as usize } else { longest },
        longest: (buckets > 0).then_some(longest),
        norm: or(config, "norm_rel_ebd", false, is_layer_norm)?
            .then_some(layer_norm("encoder.LayerNorm", eps)),
        dropout: config.dropout("hidden_dropout_prob")?,
    })
}

fn convolution(config: &Config) -> Result<Option<ConvolutionSpec>> {
    let kernel = or(config, "conv_kernel_size", 0, Config::size)?;
    if kernel == 0 {
        return Ok(None);
    }
    config.only("conv_groups", &[1.into()])?;
    if kernel % 2 == 0 {
        return Err(Error::Config(format!("`conv_kernel_size` must be an odd number, got {kernel}")));
    }
    Ok(Some(ConvolutionSpec {
        path: "encoder.conv.conv",
        kernel,
        activation: or(config, "conv_act", Activation::Tanh, Config::activation)?,
        norm: layer_norm("encoder.conv.LayerNorm", config.number("layer_norm_eps")?),
        dropout: config.dropout("hidden_dropout_prob")?,
    }))
}

fn masked_lm(config: &Config) -> Result<HeadSpec> {
    let hidden_size = config.count("hidden_size")?;
    let width = or(config, "embedding_size", hidden_size, Config::count)?;
    if config.flag("legacy")? {
        return Ok(HeadSpec::Language(LanguageSpec { width, ..bert_predictions(config)? }));
    }
    if width != hidden_size {
        return Err(Error::Config(format!(
            "`embedding_size` ({width}) must be `hidden_size` ({hidden_size}) unless `legacy` is set"
        )));
    }
    Ok(HeadSpec::Language(LanguageSpec {
        transform: Some(TransformSpec {
            dense: Some(linear("lm_predictions.lm_head.dense", true)),
            activation: config.activation("hidden_act")?,
            norm: Some(layer_norm("lm_predictions.lm_head.LayerNorm", config.number("layer_norm_eps")?)),
            dropout: 0.0,
        }),
        decoder: None,
        bias: BiasAt::Path("lm_predictions.lm_head.bias"),
        ..LanguageSpec::new(config, "", hidden_size)?
    }))
}

fn tokens(config: &Config) -> Result<HeadSpec> {
    tokens_with(config.dropout("hidden_dropout_prob")?)
}

fn sequence(config: &Config) -> Result<HeadSpec> {
    let (hidden_size, pooled) = (config.count("hidden_size")?, config.count("pooler_hidden_size")?);
    if pooled != hidden_size {
        return Err(Error::Config(format!(
            "`pooler_hidden_size` ({pooled}) must be `hidden_size` ({hidden_size})"
        )));
    }
    let dense = linear("pooler.dense", true);
    let transform = TransformSpec::dense(dense, config.activation("pooler_hidden_act")?);
    let scores = ClassifierSpec {
        transform: Some(TransformSpec { dropout: config.dropout("pooler_dropout")?, ..transform }),
        dropout: config.dropout_or(&["cls_dropout", "hidden_dropout_prob"], 0.0)?,
        ..classifier("classifier")
    };
    let labels = LabelReading::Distribution;
    Ok(HeadSpec::Sequence(SequenceSpec { labels, ..SequenceSpec::new(Pool::First, scores) }))
}
