//! RoBERTa (Liu et al. 2019) and its siblings that differ in their vocabulary: transformers' `RobertaModel`, `XLMRobertaModel` and
//! `CamembertModel`.

use trustformers_tensor::Activation;

use super::common::{
    POOLER, bert_decoder, bert_dropout, bert_embeddings, bert_stack, first_classifier, pooled_choice,
    qa_outputs, roberta_masked_lm, roberta_positions, roberta_predictions, token_classifier,
};
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{HeadSpec, LanguageSpec};
use crate::spec::{EmbeddingsSpec, EncoderSpec, Spec};
use crate::{Config, Error, Result};

pub(crate) const ROBERTA: Architecture = Architecture {
    model_type: "roberta",
    config_class: "RobertaConfig",
    defaults: r#"{
        "vocab_size": 50265,
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
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "use_cache": true,
        "classifier_dropout": null,
        "is_decoder": false,
        "add_cross_attention": false,
        "tie_word_embeddings": true
    }"#,
    aliases: &[],
    complete: |_| Ok(()),
    prefix: "roberta.",
    renames: &[],
    ignored: &[],
    spec,
    classes: &[
        Class::bare("RobertaModel"),
        Class::new("RobertaForCausalLM", Task::CausalLM, BASE, causal_lm),
        Class::new("RobertaForMaskedLM", Task::MaskedLM, BASE, roberta_masked_lm),
        Class::new("RobertaForSequenceClassification", Task::SequenceClassification, BASE, sequence),
        Class::new("RobertaForMultipleChoice", Task::MultipleChoice, BASE, pooled_choice),
        Class::new("RobertaForTokenClassification", Task::TokenClassification, BASE, token_classifier),
        Class::new("RobertaForQuestionAnswering", Task::QuestionAnswering, BASE, qa_outputs),
    ],
};

pub(crate) const XLM_ROBERTA: Architecture = Architecture {
    model_type: "xlm-roberta",
    config_class: "XLMRobertaConfig",
    defaults: SIBLING,
    classes: &[
        Class::bare("XLMRobertaModel"),
        Class::new("XLMRobertaForCausalLM", Task::CausalLM, BASE, causal_lm),
        Class::new("XLMRobertaForMaskedLM", Task::MaskedLM, BASE, roberta_masked_lm),
        Class::new("XLMRobertaForSequenceClassification", Task::SequenceClassification, BASE, sequence),
        Class::new("XLMRobertaForMultipleChoice", Task::MultipleChoice, BASE, pooled_choice),
        Class::new("XLMRobertaForTokenClassification", Task::TokenClassification, BASE, token_classifier),
        Class::new("XLMRobertaForQuestionAnswering", Task::QuestionAnswering, BASE, qa_outputs),
    ],
    ..ROBERTA
};

pub(crate) const CAMEMBERT: Architecture = Architecture {
    model_type: "camembert",
    config_class: "CamembertConfig",
    defaults: SIBLING,
    classes: &[
        Class::bare("CamembertModel"),
        Class::new("CamembertForCausalLM", Task::CausalLM, BASE, causal_lm),
        Class::new("CamembertForMaskedLM", Task::MaskedLM, BASE, roberta_masked_lm),
        Class::new("CamembertForSequenceClassification", Task::SequenceClassification, BASE, sequence),
        Class::new("CamembertForMultipleChoice", Task::MultipleChoice, BASE, pooled_choice),
        Class::new("CamembertForTokenClassification", Task::TokenClassification, BASE, token_classifier),
        Class::new("CamembertForQuestionAnswering", Task::QuestionAnswering, BASE, qa_outputs),
    ],
    ..ROBERTA
};

const BASE: &str = "roberta";

/// RoBERTa's defaults with BERT's vocabulary.
const SIBLING: &str = r#"{
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
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "use_cache": true,
    "classifier_dropout": null,
    "is_decoder": false,
    "add_cross_attention": false,
    "tie_word_embeddings": true
}"#;

fn spec(config: &Config) -> Result<Spec> {
    let eps = config.number("layer_norm_eps")?;
    let padding = config.token("pad_token_id")?;
    let padding = padding
        .ok_or_else(|| Error::Config("`pad_token_id` is missing: positions begin behind it".into()))?;
    let embeddings = EmbeddingsSpec {
        positions: Some(roberta_positions(config, padding)?),
        ..bert_embeddings(config, config.count("hidden_size")?, eps)?
    };
    let stack = bert_decoder(config, bert_stack(config, embeddings, eps)?, eps)?;
    Ok(Spec::Encoder(EncoderSpec { stack, pooler: POOLER }))
}

fn causal_lm(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Language(LanguageSpec { shifts: true, ..roberta_predictions(config)? }))
}

fn sequence(config: &Config) -> Result<HeadSpec> {
    Ok(first_classifier(Activation::Tanh, bert_dropout(config)?))
}
