//! BERT (Devlin et al. 2018): transformers' `BertModel`.

use crate::architecture::Architecture;
use crate::{Config, EncoderSpec, Result};

pub(crate) const BERT: Architecture = Architecture {
    model_type: "bert",
    defaults: r#"{
        "vocab_size": 30522,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
        "use_cache": true,
        "classifier_dropout": null,
        "is_decoder": false,
        "add_cross_attention": false,
        "bos_token_id": null,
        "eos_token_id": null,
        "tie_word_embeddings": true
    }"#,
    prefix: "bert.",
    // Checkpoints converted from TensorFlow call the norm's scale and shift by the paper's letters.
    renames: &[("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")],
    ignored: &["embeddings.position_ids"],
    spec,
};

fn spec(config: &Config) -> Result<EncoderSpec> {
    // Each of these would change what is computed.
    config.only("is_decoder", &[false.into()])?;
    config.only("add_cross_attention", &[false.into()])?;
    config.only("position_embedding_type", &["absolute".into()])?;
    Ok(EncoderSpec {
        vocab_size: config.count("vocab_size")?,
        hidden_size: config.count("hidden_size")?,
        num_hidden_layers: config.size("num_hidden_layers")?,
        num_attention_heads: config.count("num_attention_heads")?,
        intermediate_size: config.count("intermediate_size")?,
        max_position_embeddings: config.count("max_position_embeddings")?,
        type_vocab_size: config.count("type_vocab_size")?,
        activation: config.activation("hidden_act")?,
        layer_norm_eps: config.number("layer_norm_eps")?,
    })
}
