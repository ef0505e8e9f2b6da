//! The encoder-decoders of fairseq's descent: BART (Lewis et al. 2020), mBART, Blenderbot, Pegasus, Marian and M2M-100 (NLLB). They
//! differ in where the norms stand and in how positions are made: transformers' `BartModel` and its like.

use trustformers_tensor::Activation;

use super::common::{dense_classifier, head_dim, qa_outputs, words};
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{BiasAt, HeadSpec, LanguageSpec, Pool};
use crate::spec::*;
use crate::{Config, Error, Result};

/// What one of the family has of its own.
struct Kind {
    /// Norms on the way into each part and one at the end, not after each sum.
    pre_norm: bool,
    /// A norm over the embeddings.
    embedding_norm: bool,
    /// Where positions come from.
    positions: Positions,
    /// Whether the decoder's `inputs_embeds` are scaled.
    scales_given: bool,
}

enum Positions {
    /// Trained, this many rows below position 0.
    Learned(usize),
    Sinusoids,
    /// Of any number, counted without padding.
    Endless,
}

/// The names in which the two stacks differ.
struct Names {
    words: Path,
    positions: Path,
    embedding_norm: Path,
    layers: Path,
    norm: Path,
    fields: [&'static str; 4],
}

const ENCODER: Names = Names {
    words: "encoder.embed_tokens",
    positions: "encoder.embed_positions",
    embedding_norm: "encoder.layernorm_embedding",
    layers: "encoder.layers",
    norm: "encoder.layer_norm",
    fields: ["encoder_layers", "encoder_attention_heads", "encoder_ffn_dim", "encoder_layerdrop"],
};

const DECODER: Names = Names {
    words: "decoder.embed_tokens",
    positions: "decoder.embed_positions",
    embedding_norm: "decoder.layernorm_embedding",
    layers: "decoder.layers",
    norm: "decoder.layer_norm",
    fields: ["decoder_layers", "decoder_attention_heads", "decoder_ffn_dim", "decoder_layerdrop"],
};

const EPS: f32 = 1e-5;

const fn part(pre_norm: bool, embedding_norm: bool, positions: Positions) -> Kind {
    Kind { pre_norm, embedding_norm, positions, scales_given: false }
}

const BART_KIND: Kind = part(false, true, Positions::Learned(2));
const MBART_KIND: Kind = part(true, true, Positions::Learned(2));
const BLENDERBOT_KIND: Kind = part(true, false, Positions::Learned(0));
const M2M_100_KIND: Kind = part(true, false, Positions::Endless);
const PEGASUS_KIND: Kind = Kind { scales_given: true, ..part(true, false, Positions::Sinusoids) };
const MARIAN_KIND: Kind = Kind { scales_given: true, ..part(false, false, Positions::Sinusoids) };

fn stack(config: &Config, kind: &Kind, names: &Names, causal: bool) -> Result<StackSpec> {
    let hidden_size = config.count("d_model")?;
    let [layers, heads, width, layer_drop] = names.fields;
    let heads = config.count(heads)?;
    let padding = config.token("pad_token_id")?;
    let positions = config.count("max_position_embeddings")?;
    let positions = match kind.positions {
        Positions::Learned(offset) => PositionsSpec {
            table: PositionTable::Learned(names.positions),
            rows: positions + offset,
            offset,
            numbering: Numbering::Index,
        },
        Positions::Sinusoids => PositionsSpec {
            table: PositionTable::Sinusoids(names.positions),
            rows: positions,
            offset: 0,
            numbering: Numbering::Index,
        },
        Positions::Endless => {
            let missing = || Error::Config("`pad_token_id` must be a token number, got null".into());
            let padding = padding.filter(|&padding| padding >= 0).ok_or_else(missing)?;
            PositionsSpec {
                table: PositionTable::Endless { zero: padding as usize },
                rows: positions + 2,
                offset: padding as usize + 1,
                numbering: Numbering::NotPadding(padding),
            }
        }
    };
    let dropout = config.dropout("dropout")?;
    let attention_dropout = config.dropout("attention_dropout")?;
    let around = |norm: Path, part| {
        let norm = layer_norm(norm, EPS);
        let whole =
            if kind.pre_norm { Sublayer::pre_norm(norm, part) } else { Sublayer::post_norm(part, norm) };
        whole.dropping(dropout)
    };
    let head_dim = head_dim(config, hidden_size, heads)?;
    let attention = |[query, key, value, output]: [Path; 4]| {
        let projection = Projection::separate(query, key, value, true);
        let dropout = attention_dropout;
        AttentionSpec { dropout, ..AttentionSpec::new(projection, linear(output, true), heads, head_dim) }
    };
    let own = attention(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj"]);
    let cross = attention([
        "encoder_attn.q_proj",
        "encoder_attn.k_proj",
        "encoder_attn.v_proj",
        "encoder_attn.out_proj",
    ]);
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain { up: linear("fc1", true), down: linear("fc2", true) },
        width: config.count(width)?,
        activation: config.activation("activation_function")?,
        dropout: config.dropout("activation_dropout")?,
    };
    let feed_forward = {
        let norm = layer_norm("final_layer_norm", EPS);
        match kind.pre_norm {
            true => Sublayer::pre_norm(norm, feed_forward).dropping(dropout),
            false => Sublayer::post_norm(feed_forward, norm).dropping(dropout),
        }
    };
    let layer = LayerSpec {
        path: None,
        attention: around("self_attn_layer_norm", own),
        cross_attention: causal.then(|| around("encoder_attn_layer_norm", cross)),
        feed_forward,
        parallel: false,
        dropout: 0.0,
    };
    Ok(StackSpec {
        hidden_size,
        embeddings: EmbeddingsSpec {
            scale: if config.flag("scale_embedding")? { (hidden_size as f32).sqrt() } else { 1.0 },
            scales_given: kind.scales_given && causal,
            positions: Some(positions),
            norm: kind.embedding_norm.then_some(layer_norm(names.embedding_norm, EPS)),
            dropout,
            ..words(config, names.words, hidden_size)?
        },
        layers_path: names.layers,
        layers: vec![layer; config.layers(layers)?],
        final_norm: kind.pre_norm.then_some(layer_norm(names.norm, EPS)),
        project_out: None,
        causal,
        parts_texts: false,
        rotaries: Vec::new(),
        bias: None,
        dropout: 0.0,
        layer_drop: config.dropout(layer_drop)?,
        outgrows_f16: false,
    })
}

fn both(config: &Config, kind: &Kind) -> Result<EncoderDecoderSpec> {
    Ok(EncoderDecoderSpec {
        shared: Some("shared"),
        encoder: stack(config, kind, &ENCODER, false)?,
        decoder: stack(config, kind, &DECODER, true)?,
        decoder_start_token_id: config.token("decoder_start_token_id")?,
        pad_token_id: config.token("pad_token_id")?,
        starts_with_last_label: false,
        starts_from_source: false,
    })
}

fn whole(spec: EncoderDecoderSpec) -> Result<Spec> {
    Ok(Spec::EncoderDecoder(Box::new(spec)))
}

fn bart(config: &Config) -> Result<Spec> {
    whole(EncoderDecoderSpec { starts_from_source: true, ..both(config, &BART_KIND)? })
}

fn mbart(config: &Config) -> Result<Spec> {
    let spec = both(config, &MBART_KIND)?;
    whole(EncoderDecoderSpec { starts_from_source: true, starts_with_last_label: true, ..spec })
}

fn marian(config: &Config) -> Result<Spec> {
    let mut spec = both(config, &MARIAN_KIND)?;
    if !config.flag("share_encoder_decoder_embeddings")? {
        spec.shared = None;
        spec.decoder.embeddings.vocab_size = config.count("decoder_vocab_size")?;
    }
    whole(spec)
}

/// The decoder alone, as a language model.
fn decoder(config: &Config, kind: &Kind) -> Result<Spec> {
    Ok(Spec::Decoder(stack(config, kind, &DECODER, true)?))
}

/// A language model's head with a constant bias.
fn seq2seq_lm(config: &Config) -> Result<HeadSpec> {
    let head = LanguageSpec::new(config, "lm_head", config.count("d_model")?)?;
    Ok(HeadSpec::Language(LanguageSpec { bias: BiasAt::Buffer("final_logits_bias"), ..head }))
}

/// A matrix alone. In the decoders that stand alone, too, a position's label is what it says itself: transformers does not shift it.
fn plain_lm(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Language(LanguageSpec::new(config, "lm_head", config.count("d_model")?)?))
}

fn marian_lm(config: &Config) -> Result<HeadSpec> {
    let HeadSpec::Language(head) = seq2seq_lm(config)? else { return seq2seq_lm(config) };
    let shared = config.flag("share_encoder_decoder_embeddings")?;
    let vocab_size = config.count(if shared { "vocab_size" } else { "decoder_vocab_size" })?;
    Ok(HeadSpec::Language(LanguageSpec { vocab_size, ..head }))
}

/// The decoder's last position of the end token, through a tanh layer.
fn classification(config: &Config) -> Result<HeadSpec> {
    let missing = || Error::Config("`eos_token_id` must be a token number, got null".into());
    let pool = Pool::End(config.token("eos_token_id")?.ok_or_else(missing)?);
    let paths = ["classification_head.dense", "classification_head.out_proj"];
    Ok(dense_classifier(pool, Activation::Tanh, paths, config.dropout("classifier_dropout")?))
}

const ALIASES: &[(&str, &str)] = &[
    ("num_attention_heads", "encoder_attention_heads"),
    ("hidden_size", "d_model"),
    ("num_hidden_layers", "encoder_layers"),
];
/// fairseq's bookkeeping, and positions that are computed.
const IGNORED: &[&str] = &["encoder.version", "decoder.version", "embed_positions._float_tensor"];

pub(crate) const BART: Architecture = Architecture {
    model_type: "bart",
    config_class: "BartConfig",
    defaults: r#"{
        "vocab_size": 50265, "max_position_embeddings": 1024, "encoder_layers": 12, "encoder_ffn_dim": 4096,
        "encoder_attention_heads": 16, "decoder_layers": 12, "decoder_ffn_dim": 4096, "decoder_attention_heads": 16,
        "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "activation_function": "gelu", "d_model": 1024, "dropout": 0.1,
        "attention_dropout": 0.0, "activation_dropout": 0.0, "init_std": 0.02, "classifier_dropout": 0.0,
        "scale_embedding": false, "use_cache": true, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2,
        "decoder_start_token_id": 2, "forced_eos_token_id": 2, "is_decoder": false, "tie_word_embeddings": true,
        "is_encoder_decoder": true,
        "id2label": {"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"},
        "label2id": {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    }"#,
    aliases: ALIASES,
    complete: |_| Ok(()),
    prefix: "model.",
    renames: &[],
    ignored: IGNORED,
    spec: bart,
    classes: &[
        Class::bare("BartModel"),
        Class::new("BartForConditionalGeneration", Task::Seq2SeqLM, "model", seq2seq_lm),
        Class::new("BartForSequenceClassification", Task::SequenceClassification, "model", classification),
        Class::new("BartForQuestionAnswering", Task::QuestionAnswering, "model", qa_outputs),
        Class::new("BartForCausalLM", Task::CausalLM, "model", plain_lm)
            .of(|config| decoder(config, &BART_KIND)),
    ],
};

pub(crate) const MBART: Architecture = Architecture {
    model_type: "mbart",
    config_class: "MBartConfig",
    defaults: r#"{
        "vocab_size": 50265, "max_position_embeddings": 1024, "encoder_layers": 12, "encoder_ffn_dim": 4096,
        "encoder_attention_heads": 16, "decoder_layers": 12, "decoder_ffn_dim": 4096, "decoder_attention_heads": 16,
        "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "use_cache": true, "activation_function": "gelu", "d_model": 1024,
        "dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0, "init_std": 0.02, "classifier_dropout": 0.0,
        "scale_embedding": false, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": null,
        "forced_eos_token_id": 2, "is_decoder": false, "tie_word_embeddings": true, "is_encoder_decoder": true
    }"#,
    spec: mbart,
    classes: &[
        Class::bare("MBartModel"),
        Class::new("MBartForConditionalGeneration", Task::Seq2SeqLM, "model", seq2seq_lm),
        Class::new("MBartForSequenceClassification", Task::SequenceClassification, "model", classification),
        Class::new("MBartForQuestionAnswering", Task::QuestionAnswering, "model", qa_outputs),
        Class::new("MBartForCausalLM", Task::CausalLM, "model", plain_lm)
            .of(|config| decoder(config, &MBART_KIND)),
    ],
    ..BART
};

pub(crate) const BLENDERBOT: Architecture = Architecture {
    model_type: "blenderbot",
    config_class: "BlenderbotConfig",
    defaults: r#"{
        "vocab_size": 8008, "max_position_embeddings": 128, "encoder_layers": 2, "encoder_ffn_dim": 10240,
        "encoder_attention_heads": 32, "decoder_layers": 24, "decoder_ffn_dim": 10240, "decoder_attention_heads": 32,
        "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "use_cache": true, "activation_function": "gelu", "d_model": 2560,
        "dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0, "init_std": 0.02, "decoder_start_token_id": 1,
        "scale_embedding": false, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "encoder_no_repeat_ngram_size": 3,
        "forced_eos_token_id": 2, "is_decoder": false, "tie_word_embeddings": true, "is_encoder_decoder": true
    }"#,
    spec: |config| whole(both(config, &BLENDERBOT_KIND)?),
    classes: &[
        Class::bare("BlenderbotModel"),
        Class::new("BlenderbotForConditionalGeneration", Task::Seq2SeqLM, "model", seq2seq_lm),
        Class::new("BlenderbotForCausalLM", Task::CausalLM, "model", plain_lm)
            .of(|config| decoder(config, &BLENDERBOT_KIND)),
    ],
    ..BART
};

pub(crate) const PEGASUS: Architecture = Architecture {
    model_type: "pegasus",
    config_class: "PegasusConfig",
    defaults: r#"{
        "vocab_size": 50265, "max_position_embeddings": 1024, "encoder_layers": 12, "encoder_ffn_dim": 4096,
        "encoder_attention_heads": 16, "decoder_layers": 12, "decoder_ffn_dim": 4096, "decoder_attention_heads": 16,
        "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "use_cache": true, "activation_function": "gelu", "d_model": 1024,
        "dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0, "init_std": 0.02, "decoder_start_token_id": 0,
        "scale_embedding": false, "pad_token_id": 0, "eos_token_id": 1, "forced_eos_token_id": 1, "is_decoder": false,
        "tie_word_embeddings": true, "is_encoder_decoder": true
    }"#,
    spec: |config| whole(both(config, &PEGASUS_KIND)?),
    classes: &[
        Class::bare("PegasusModel"),
        Class::new("PegasusForConditionalGeneration", Task::Seq2SeqLM, "model", seq2seq_lm),
        Class::new("PegasusForCausalLM", Task::CausalLM, "model", plain_lm)
            .of(|config| decoder(config, &PEGASUS_KIND)),
    ],
    ..BART
};

pub(crate) const MARIAN: Architecture = Architecture {
    model_type: "marian",
    config_class: "MarianConfig",
    defaults: r#"{
        "vocab_size": 58101, "decoder_vocab_size": null, "max_position_embeddings": 1024, "encoder_layers": 12,
        "encoder_ffn_dim": 4096, "encoder_attention_heads": 16, "decoder_layers": 12, "decoder_ffn_dim": 4096,
        "decoder_attention_heads": 16, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0, "use_cache": true,
        "activation_function": "gelu", "d_model": 1024, "dropout": 0.1, "attention_dropout": 0.0, "activation_dropout": 0.0,
        "init_std": 0.02, "decoder_start_token_id": 58100, "scale_embedding": false, "pad_token_id": 58100, "eos_token_id": 0,
        "bos_token_id": null, "forced_eos_token_id": 0, "share_encoder_decoder_embeddings": true, "is_decoder": false,
        "tie_word_embeddings": true, "is_encoder_decoder": true
    }"#,
    complete: |config| {
        if !config.has("decoder_vocab_size") {
            config.set("decoder_vocab_size", config.count("vocab_size")?.into());
        }
        Ok(())
    },
    spec: marian,
    classes: &[
        Class::bare("MarianModel"),
        Class::new("MarianMTModel", Task::Seq2SeqLM, "model", marian_lm),
        Class::new("MarianForCausalLM", Task::CausalLM, "model", plain_lm)
            .of(|config| decoder(config, &MARIAN_KIND)),
    ],
    ..BART
};

pub(crate) const M2M_100: Architecture = Architecture {
    model_type: "m2m_100",
    config_class: "M2M100Config",
    defaults: r#"{
        "vocab_size": 128112, "max_position_embeddings": 1024, "encoder_layers": 12, "encoder_ffn_dim": 4096,
        "encoder_attention_heads": 16, "decoder_layers": 12, "decoder_ffn_dim": 4096, "decoder_attention_heads": 16,
        "encoder_layerdrop": 0.05, "decoder_layerdrop": 0.05, "use_cache": true, "activation_function": "relu", "d_model": 1024,
        "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.0, "init_std": 0.02, "decoder_start_token_id": 2,
        "scale_embedding": true, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "tie_word_embeddings": true,
        "is_encoder_decoder": true
    }"#,
    ignored: &["encoder.version", "decoder.version", "embed_positions"],
    spec: |config| whole(both(config, &M2M_100_KIND)?),
    classes: &[
        Class::bare("M2M100Model"),
        Class::new("M2M100ForConditionalGeneration", Task::Seq2SeqLM, "model", plain_lm),
    ],
    ..BART
};
