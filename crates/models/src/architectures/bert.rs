//! BERT (Devlin et al. 2018): transformers' `BertModel`.

use super::common::{
    POOLER, bert_decoder, bert_embeddings, bert_predictions, bert_stack, pooled_classifier, qa_outputs,
    token_classifier,
};
use crate::architecture::{Architecture, Class, Task};
use crate::heads::{HeadSpec, LanguageSpec};
use crate::spec::{EncoderSpec, Spec, linear};
use crate::{Config, Result};

pub(crate) const BERT: Architecture = Architecture {
    model_type: "bert",
    config_class: "BertConfig",
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
    aliases: &[],
    complete: |_| Ok(()),
    prefix: "bert.",
    renames: &[],
    ignored: &[],
    spec,
    classes: &[
        Class::bare("BertModel"),
        Class::new("BertForPreTraining", Task::PreTraining, "bert", pre_training),
        Class::new("BertLMHeadModel", Task::CausalLM, "bert", causal_lm),
        Class::new("BertForMaskedLM", Task::MaskedLM, "bert", masked_lm),
        Class::new("BertForNextSentencePrediction", Task::NextSentencePrediction, "bert", next_sentence),
        Class::new("BertForSequenceClassification", Task::SequenceClassification, "bert", pooled_classifier),
        Class::new("BertForMultipleChoice", Task::MultipleChoice, "bert", pooled_classifier),
        Class::new("BertForTokenClassification", Task::TokenClassification, "bert", token_classifier),
        Class::new("BertForQuestionAnswering", Task::QuestionAnswering, "bert", qa_outputs),
    ],
};

fn spec(config: &Config) -> Result<Spec> {
    let eps = config.number("layer_norm_eps")?;
    let embeddings = bert_embeddings(config, config.count("hidden_size")?, eps)?;
    let stack = bert_decoder(config, bert_stack(config, embeddings, eps)?, eps)?;
    Ok(Spec::Encoder(EncoderSpec { stack, pooler: POOLER }))
}

fn masked_lm(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Language(bert_predictions(config)?))
}

fn causal_lm(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Language(LanguageSpec { shifts: true, ..bert_predictions(config)? }))
}

fn next_sentence(_: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::NextSentence(linear("cls.seq_relationship", true)))
}

fn pre_training(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::PreTraining(bert_predictions(config)?, linear("cls.seq_relationship", true)))
}
