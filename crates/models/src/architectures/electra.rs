//! ELECTRA (Clark et al. 2020): BERT with narrow word embeddings, trained to find replaced tokens. transformers' `ElectraModel`.

use trustformers_tensor::Activation;

use super::common::{
    bert_decoder, bert_dropout, bert_embeddings, bert_stack, first_classifier, qa_outputs, token_classifier,
};
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{
    BiasAt, ClassifierSpec, HeadSpec, LanguageSpec, Pool, SequenceSpec, TransformSpec, classifier,
};
use crate::spec::{EmbeddingsSpec, EncoderSpec, Spec, layer_norm, linear};
use crate::{Config, Error, Result};

pub(crate) const ELECTRA: Architecture = Architecture {
    model_type: "electra",
    config_class: "ElectraConfig",
    defaults: r#"{
        "vocab_size": 30522,
        "embedding_size": 128,
        "hidden_size": 256,
        "num_hidden_layers": 12,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.1,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "initializer_range": 0.02,
        "layer_norm_eps": 1e-12,
        "summary_type": "first",
        "summary_use_proj": true,
        "summary_activation": "gelu",
        "summary_last_dropout": 0.1,
        "pad_token_id": 0,
        "use_cache": true,
        "classifier_dropout": null,
        "is_decoder": false,
        "add_cross_attention": false,
        "bos_token_id": null,
        "eos_token_id": null,
        "tie_word_embeddings": true
    }"#,
    aliases: &[],
    complete: |_| Ok(()),
    prefix: "electra.",
    renames: &[],
    ignored: &[],
    spec,
    classes: &[
        Class::bare("ElectraModel"),
        Class::new("ElectraForPreTraining", Task::PreTraining, BASE, pre_training),
        Class::new("ElectraForCausalLM", Task::CausalLM, BASE, causal_lm),
        Class::new("ElectraForMaskedLM", Task::MaskedLM, BASE, masked_lm),
        Class::new("ElectraForSequenceClassification", Task::SequenceClassification, BASE, sequence),
        Class::new("ElectraForMultipleChoice", Task::MultipleChoice, BASE, multiple_choice),
        Class::new("ElectraForTokenClassification", Task::TokenClassification, BASE, token_classifier),
        Class::new("ElectraForQuestionAnswering", Task::QuestionAnswering, BASE, qa_outputs),
    ],
};

const BASE: &str = "electra";

fn spec(config: &Config) -> Result<Spec> {
    let eps = config.number("layer_norm_eps")?;
    let width = config.count("embedding_size")?;
    let projects = width != config.count("hidden_size")?;
    let embeddings = EmbeddingsSpec {
        projection: projects.then_some(linear("embeddings_project", true)),
        ..bert_embeddings(config, width, eps)?
    };
    let stack = bert_decoder(config, bert_stack(config, embeddings, eps)?, eps)?;
    Ok(Spec::Encoder(EncoderSpec { stack, pooler: None }))
}

/// The language model of the generator, the small model that replaces tokens.
fn predictions(config: &Config) -> Result<LanguageSpec> {
    Ok(LanguageSpec {
        transform: Some(TransformSpec {
            dense: Some(linear("generator_predictions.dense", true)),
            activation: Activation::Gelu,
            norm: Some(layer_norm("generator_predictions.LayerNorm", config.number("layer_norm_eps")?)),
            dropout: 0.0,
        }),
        bias: BiasAt::Decoder,
        ..LanguageSpec::new(config, "generator_lm_head", config.count("embedding_size")?)?
    })
}

fn masked_lm(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Language(predictions(config)?))
}

fn causal_lm(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Language(LanguageSpec { shifts: true, ..predictions(config)? }))
}

fn pre_training(config: &Config) -> Result<HeadSpec> {
    let dense = linear("discriminator_predictions.dense", true);
    let transform = TransformSpec::dense(dense, config.activation("hidden_act")?);
    let scores = classifier("discriminator_predictions.dense_prediction");
    Ok(HeadSpec::Replaced(ClassifierSpec { transform: Some(transform), ..scores }))
}

fn sequence(config: &Config) -> Result<HeadSpec> {
    Ok(first_classifier(Activation::Gelu, bert_dropout(config)?))
}

fn multiple_choice(config: &Config) -> Result<HeadSpec> {
    config.only("summary_proj_to_labels", &[false.into()])?;
    let pool = match config.text("summary_type")? {
        "first" => Pool::First,
        // Without the places that `cls_index` would name, transformers takes the last one.
        "last" | "cls_index" => Pool::VeryLast,
        "mean" => Pool::MeanOfAll,
        other => {
            return Err(Error::Config(format!(
                "`summary_type` must be first, last, mean or cls_index, got {other}"
            )));
        }
    };
    let activation = match config.has("summary_activation") {
        true => config.activation("summary_activation")?,
        false => Activation::Identity,
    };
    let dense = config.flag("summary_use_proj")?.then_some(linear("sequence_summary.summary", true));
    let dropout = config.dropout_or(&["summary_first_dropout"], 0.0)?;
    let scores = ClassifierSpec {
        transform: Some(TransformSpec { dense, activation, norm: None, dropout }),
        dropout: config.dropout_or(&["summary_last_dropout"], 0.0)?,
        ..classifier("classifier")
    };
    Ok(HeadSpec::Sequence(SequenceSpec::new(pool, scores)))
}
