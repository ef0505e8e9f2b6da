//! MPNet (Song et al. 2020): BERT with relative positions beside absolute ones. transformers' `MPNetModel`.

use trustformers_tensor::Activation;

use super::common::{
    POOLER, bert_stack, first_classifier, pooled_choice, qa_outputs, roberta_masked_lm, roberta_positions,
    tokens_with, words,
};
use crate::architecture::{Architecture, Class, Task};
use crate::heads::HeadSpec;
use crate::relative::RelativeSpec;
use crate::spec::*;
use crate::{Config, Result};

pub(crate) const MPNET: Architecture = Architecture {
    model_type: "mpnet",
    config_class: "MPNetConfig",
    defaults: r#"{
        "vocab_size": 30527,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "relative_attention_num_buckets": 32,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "tie_word_embeddings": true
    }"#,
    aliases: &[],
    complete: |_| Ok(()),
    prefix: "mpnet.",
    renames: &[],
    ignored: &[],
    spec,
    classes: &[
        Class::bare("MPNetModel"),
        Class::new("MPNetForMaskedLM", Task::MaskedLM, BASE, roberta_masked_lm),
        Class::new("MPNetForSequenceClassification", Task::SequenceClassification, BASE, sequence),
        Class::new("MPNetForMultipleChoice", Task::MultipleChoice, BASE, pooled_choice),
        Class::new("MPNetForTokenClassification", Task::TokenClassification, BASE, tokens),
        Class::new("MPNetForQuestionAnswering", Task::QuestionAnswering, BASE, qa_outputs),
    ],
};

const BASE: &str = "mpnet";

fn spec(config: &Config) -> Result<Spec> {
    // transformers counts in 32 buckets whatever the table has.
    config.only("relative_attention_num_buckets", &[32.into()])?;
    let eps = config.number("layer_norm_eps")?;
    let heads = config.count("num_attention_heads")?;
    let embeddings = EmbeddingsSpec {
        // And it begins behind token 1, whatever the padding is.
        positions: Some(roberta_positions(config, 1)?),
        norm: Some(layer_norm("embeddings.LayerNorm", eps)),
        dropout: config.dropout("hidden_dropout_prob")?,
        padding: Some(1),
        ..words(config, "embeddings.word_embeddings", config.count("hidden_size")?)?
    };
    let mut stack = bert_stack(config, embeddings, eps)?;
    for LayerSpec { attention, .. } in &mut stack.layers {
        attention.part.projection =
            Projection::separate("attention.attn.q", "attention.attn.k", "attention.attn.v", true);
        attention.part.output = linear("attention.attn.o", true);
        attention.added = Some(layer_norm("attention.LayerNorm", eps));
    }
    stack.bias = Some(BiasSpec::Relative(RelativeSpec {
        path: "encoder.relative_attention_bias",
        heads,
        buckets: 32,
        max_distance: 128,
        bidirectional: true,
    }));
    Ok(Spec::Encoder(EncoderSpec { stack, pooler: POOLER }))
}

fn sequence(config: &Config) -> Result<HeadSpec> {
    Ok(first_classifier(Activation::Tanh, config.dropout("hidden_dropout_prob")?))
}

fn tokens(config: &Config) -> Result<HeadSpec> {
    tokens_with(config.dropout("hidden_dropout_prob")?)
}
