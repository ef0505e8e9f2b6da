//! T5 (Raffel et al. 2020) in its first version, 1.1 and FLAN, and mT5: transformers' `T5Model`.

use trustformers_tensor::Activation;

use super::common::{dense_classifier, qa_outputs, tokens_with, words};
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{HeadSpec, LanguageSpec, Pool};
use crate::relative::RelativeSpec;
use crate::spec::*;
use crate::{Config, Error, Result};

/// The names in which the two stacks differ.
struct Names {
    words: Path,
    layers: Path,
    relative: Path,
    norm: Path,
    /// The feed-forward network, which comes behind the cross-attention in the decoder.
    feed_forward: FeedForwardNames,
}

struct FeedForwardNames {
    norm: Path,
    wi: Path,
    wi_0: Path,
    wi_1: Path,
    wo: Path,
}

const ENCODER: Names = Names {
    words: "encoder.embed_tokens",
    layers: "encoder.block",
    relative: "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    norm: "encoder.final_layer_norm",
    feed_forward: FeedForwardNames {
        norm: "layer.1.layer_norm",
        wi: "layer.1.DenseReluDense.wi",
        wi_0: "layer.1.DenseReluDense.wi_0",
        wi_1: "layer.1.DenseReluDense.wi_1",
        wo: "layer.1.DenseReluDense.wo",
    },
};

const DECODER: Names = Names {
    words: "decoder.embed_tokens",
    layers: "decoder.block",
    relative: "decoder.block.0.layer.0.SelfAttention.relative_attention_bias",
    norm: "decoder.final_layer_norm",
    feed_forward: FeedForwardNames {
        norm: "layer.2.layer_norm",
        wi: "layer.2.DenseReluDense.wi",
        wi_0: "layer.2.DenseReluDense.wi_0",
        wi_1: "layer.2.DenseReluDense.wi_1",
        wo: "layer.2.DenseReluDense.wo",
    },
};

fn stack(config: &Config, names: &Names, layers: &str, causal: bool) -> Result<StackSpec> {
    let hidden_size = config.count("d_model")?;
    let (heads, head_dim) = (config.count("num_heads")?, config.count("d_kv")?);
    let eps = config.number("layer_norm_epsilon")?;
    let dropout = config.dropout("dropout_rate")?;
    let attention = |[query, key, value, output]: [Path; 4]| AttentionSpec {
        // The scale is in the weights.
        scale: 1.0,
        dropout,
        ..AttentionSpec::new(
            Projection::separate(query, key, value, false),
            linear(output, false),
            heads,
            head_dim,
        )
    };
    let own = attention([
        "layer.0.SelfAttention.q",
        "layer.0.SelfAttention.k",
        "layer.0.SelfAttention.v",
        "layer.0.SelfAttention.o",
    ]);
    let cross = attention([
        "layer.1.EncDecAttention.q",
        "layer.1.EncDecAttention.k",
        "layer.1.EncDecAttention.v",
        "layer.1.EncDecAttention.o",
    ]);
    let FeedForwardNames { norm, wi, wi_0, wi_1, wo } = names.feed_forward;
    let down = linear(wo, false);
    let kind = match config.flag("is_gated_act")? {
        true => FeedForwardKind::Gated { gate: linear(wi_0, false), up: linear(wi_1, false), down },
        false => FeedForwardKind::Plain { up: linear(wi, false), down },
    };
    let feed_forward = FeedForwardSpec {
        kind,
        width: config.count("d_ff")?,
        activation: config.activation("dense_act_fn")?,
        dropout,
    };
    let layer = LayerSpec {
        path: None,
        attention: Sublayer::pre_norm(rms_norm("layer.0.layer_norm", eps), own).dropping(dropout),
        cross_attention: causal
            .then(|| Sublayer::pre_norm(rms_norm("layer.1.layer_norm", eps), cross).dropping(dropout)),
        feed_forward: Sublayer::pre_norm(rms_norm(norm, eps), feed_forward).dropping(dropout),
        parallel: false,
        dropout: 0.0,
    };
    Ok(StackSpec {
        hidden_size,
        embeddings: EmbeddingsSpec { dropout, padding: None, ..words(config, names.words, hidden_size)? },
        layers_path: names.layers,
        layers: vec![layer; config.layers(layers)?],
        final_norm: Some(rms_norm(names.norm, eps)),
        project_out: None,
        causal,
        parts_texts: false,
        rotaries: Vec::new(),
        bias: Some(BiasSpec::Relative(RelativeSpec {
            path: names.relative,
            heads,
            buckets: config.count("relative_attention_num_buckets")?,
            max_distance: config.count("relative_attention_max_distance")?,
            bidirectional: !causal,
        })),
        dropout,
        layer_drop: 0.0,
        outgrows_f16: true,
    })
}

fn spec(config: &Config) -> Result<Spec> {
    Ok(Spec::EncoderDecoder(Box::new(EncoderDecoderSpec {
        shared: Some("shared"),
        encoder: stack(config, &ENCODER, "num_layers", false)?,
        decoder: stack(config, &DECODER, "num_decoder_layers", true)?,
        decoder_start_token_id: config.token("decoder_start_token_id")?,
        pad_token_id: config.token("pad_token_id")?,
        starts_with_last_label: false,
        starts_from_source: false,
    })))
}

/// The classes that read the source a second time when they are given nothing to write.
fn reading(config: &Config) -> Result<Spec> {
    match spec(config)? {
        Spec::EncoderDecoder(spec) => {
            Ok(Spec::EncoderDecoder(Box::new(EncoderDecoderSpec { starts_from_source: true, ..*spec })))
        }
        other => Ok(other),
    }
}

/// The encoder alone; its words are called `shared`.
fn encoder(config: &Config) -> Result<Spec> {
    let mut stack = stack(config, &ENCODER, "num_layers", false)?;
    stack.embeddings.word = "shared";
    Ok(Spec::Encoder(EncoderSpec { stack, pooler: None }))
}

fn language(config: &Config, scales: bool) -> Result<HeadSpec> {
    let width = config.count("d_model")?;
    let scale = if scales { 1.0 / (width as f32).sqrt() } else { 1.0 };
    Ok(HeadSpec::Language(LanguageSpec { scale, ..LanguageSpec::new(config, "lm_head", width)? }))
}

fn tokens(config: &Config) -> Result<HeadSpec> {
    tokens_with(config.dropout("classifier_dropout")?)
}

/// The last position of the end token, through a tanh layer.
fn classification(config: &Config) -> Result<HeadSpec> {
    let missing = || Error::Config("`eos_token_id` must be a token number, got null".into());
    let pool = Pool::End(config.token("eos_token_id")?.ok_or_else(missing)?);
    let paths = ["classification_head.dense", "classification_head.out_proj"];
    Ok(dense_classifier(pool, Activation::Tanh, paths, config.dropout("classifier_dropout")?))
}

/// `feed_forward_proj` says two things in one word: whether there is a gate and what is applied to it.
fn complete(config: &mut Config) -> Result<()> {
    let text = config.text("feed_forward_proj")?.to_owned();
    let (gated, activation) = match text.split_once('-') {
        None => (false, text.as_str()),
        Some(("gated", activation)) => (true, activation),
        Some(_) => {
            return Err(Error::Config(format!(
                "`feed_forward_proj` must be an activation or `gated-` and one, such as gated-gelu, got {text}"
            )));
        }
    };
    // For compatibility with the first checkpoints of 1.1, as transformers has it.
    let activation = if text == "gated-gelu" { "gelu_new" } else { activation };
    config.set("is_gated_act", gated.into());
    config.set("dense_act_fn", activation.into());
    if !config.has("num_decoder_layers") {
        config.set("num_decoder_layers", config.size("num_layers")?.into());
    }
    Ok(())
}

/// Version 1.1 does not tie its head and does not scale; transformers 5 reads the one off the other and then ties always, unless the
/// checkpoint has a head of its own.
fn complete_t5(config: &mut Config) -> Result<()> {
    complete(config)?;
    if !config.has("scale_decoder_outputs") {
        let tied = !config.has("tie_word_embeddings") || config.flag("tie_word_embeddings")?;
        config.set("scale_decoder_outputs", tied.into());
    }
    config.set("tie_word_embeddings", true.into());
    Ok(())
}

pub(crate) const T5: Architecture = Architecture {
    model_type: "t5",
    config_class: "T5Config",
    defaults: r#"{
        "vocab_size": 32128, "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6, "num_decoder_layers": null,
        "num_heads": 8, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "dropout_rate": 0.1,
        "layer_norm_epsilon": 1e-6, "initializer_factor": 1.0, "feed_forward_proj": "relu", "use_cache": true,
        "pad_token_id": 0, "eos_token_id": 1, "classifier_dropout": 0.0, "is_decoder": false, "is_encoder_decoder": true,
        "scale_decoder_outputs": null, "tie_word_embeddings": null
    }"#,
    aliases: &[
        ("hidden_size", "d_model"),
        ("num_attention_heads", "num_heads"),
        ("num_hidden_layers", "num_layers"),
        ("head_dim", "d_kv"),
    ],
    complete: complete_t5,
    prefix: "transformer.",
    renames: &[],
    ignored: &["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"],
    spec,
    classes: &[
        Class::bare("T5Model"),
        Class::new("T5ForConditionalGeneration", Task::Seq2SeqLM, "", |config| {
            language(config, config.flag("scale_decoder_outputs")?)
        }),
        Class::new("T5EncoderModel", Task::TextEncoding, "", |_| Ok(HeadSpec::Bare))
            .of(encoder)
            .ignoring(&["decoder"]),
        Class::new(
            "T5ForSequenceClassification",
            Task::SequenceClassification,
            "transformer",
            classification,
        )
        .of(reading),
        Class::new("T5ForTokenClassification", Task::TokenClassification, "transformer", tokens)
            .of(encoder)
            .ignoring(&["decoder"]),
        Class::new("T5ForQuestionAnswering", Task::QuestionAnswering, "", qa_outputs).of(reading),
    ],
};

pub(crate) const MT5: Architecture = Architecture {
    model_type: "mt5",
    config_class: "MT5Config",
    defaults: r#"{
        "vocab_size": 250112, "d_model": 512, "d_kv": 64, "d_ff": 1024, "num_layers": 8, "num_decoder_layers": null,
        "num_heads": 6, "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128, "dropout_rate": 0.1,
        "layer_norm_epsilon": 1e-6, "initializer_factor": 1.0, "feed_forward_proj": "gated-gelu", "use_cache": true,
        "tie_word_embeddings": true, "bos_token_id": null, "pad_token_id": 0, "eos_token_id": 1,
        "decoder_start_token_id": 0, "classifier_dropout": 0.0, "is_decoder": false, "is_encoder_decoder": true
    }"#,
    complete: |config| {
        complete(config)?;
        config.set("tie_word_embeddings", true.into());
        Ok(())
    },
    classes: &[
        Class::bare("MT5Model"),
        Class::new("MT5ForConditionalGeneration", Task::Seq2SeqLM, "", |config| language(config, false)),
        Class::new("MT5EncoderModel", Task::TextEncoding, "", |_| Ok(HeadSpec::Bare)).of(encoder),
        Class::new(
            "MT5ForSequenceClassification",
            Task::SequenceClassification,
            "transformer",
            classification,
        )
        .of(reading),
        Class::new("MT5ForTokenClassification", Task::TokenClassification, "transformer", tokens).of(encoder),
        Class::new("MT5ForQuestionAnswering", Task::QuestionAnswering, "", qa_outputs).of(reading),
    ],
    ..T5
};
