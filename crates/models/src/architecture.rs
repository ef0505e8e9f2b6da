//! The registry: which architectures there are, and what one says about itself.

use serde_json::{Map, Value};

use crate::heads::HeadSpec;
use crate::spec::Spec;
use crate::{Config, Error, Result, architectures};

/// What is particular about one architecture. Everything else its family does.
pub struct Architecture {
    /// What config.json calls it.
    pub model_type: &'static str,
    /// The name of its configuration class in transformers, such as `BertConfig`.
    pub config_class: &'static str,
    /// The fields of that class and their defaults, as JSON.
    pub defaults: &'static str,
    /// Other names for fields: the common name and this architecture's own (`hidden_size` is GPT-2's `n_embd`).
    pub aliases: &'static [(&'static str, &'static str)],
    /// Fills in fields that follow from others where the file does not say.
    pub complete: fn(&mut Config) -> Result<()>,
    /// The attribute under which transformers' models with heads hold this model, and so a prefix that tensor names may have.
    pub prefix: &'static str,
    /// How parts of tensor names in checkpoints become our names, which are transformers'.
    pub renames: &'static [(&'static str, &'static str)],
    /// Parts of the names of tensors that checkpoints contain and this model does not need.
    pub ignored: &'static [&'static str],
    /// Reads a configuration.
    pub spec: fn(&Config) -> Result<Spec>,
    /// The model and its heads.
    pub classes: &'static [Class],
}

/// A model class of transformers: the model with one of its heads.
pub struct Class {
    /// Its name there, such as `BertForMaskedLM`.
    pub name: &'static str,
    /// What it is for.
    pub task: Task,
    /// Where the model is in it, such as `bert`; empty if it stands at the root.
    pub base: &'static str,
    /// Its head.
    pub head: fn(&Config) -> Result<HeadSpec>,
    /// The model in it, where that is not the whole one: an encoder of an encoder-decoder, or its decoder.
    pub spec: Option<fn(&Config) -> Result<Spec>>,
    /// Parts of the names of tensors that checkpoints contain and this class does not need.
    pub ignored: &'static [&'static str],
}

impl Class {
    /// The model without a head.
    pub const fn bare(name: &'static str) -> Class {
        Class::new(name, Task::Base, "", |_| Ok(HeadSpec::Bare))
    }

    /// The model at `base` with a head.
    pub const fn new(
        name: &'static str,
        task: Task,
        base: &'static str,
        head: fn(&Config) -> Result<HeadSpec>,
    ) -> Class {
        Class { name, task, base, head, spec: None, ignored: &[] }
    }

    /// The same class of a part of the model.
    pub const fn of(self, spec: fn(&Config) -> Result<Spec>) -> Class {
        Class { spec: Some(spec), ..self }
    }

    /// The same class, which passes over tensors with these parts in their names without a word.
    pub const fn ignoring(self, ignored: &'static [&'static str]) -> Class {
        Class { ignored, ..self }
    }
}

/// What a model is for: the auto classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// `AutoModel`
    Base,
    /// `AutoModelForPreTraining`
    PreTraining,
    /// `AutoModelForTextEncoding`
    TextEncoding,
    /// `AutoModelForCausalLM`
    CausalLM,
    /// `AutoModelForMaskedLM`
    MaskedLM,
    /// `AutoModelForSeq2SeqLM`
    Seq2SeqLM,
    /// `AutoModelForSequenceClassification`
    SequenceClassification,
    /// `AutoModelForTokenClassification`
    TokenClassification,
    /// `AutoModelForQuestionAnswering`
    QuestionAnswering,
    /// `AutoModelForMultipleChoice`
    MultipleChoice,
    /// `AutoModelForNextSentencePrediction`
    NextSentencePrediction,
}

impl Task {
    /// The name, as in the auto class behind `AutoModelFor`; `Base` for `AutoModel`.
    pub fn name(self) -> &'static str {
        match self {
            Task::Base => "Base",
            Task::PreTraining => "PreTraining",
            Task::TextEncoding => "TextEncoding",
            Task::CausalLM => "CausalLM",
            Task::MaskedLM => "MaskedLM",
            Task::Seq2SeqLM => "Seq2SeqLM",
            Task::SequenceClassification => "SequenceClassification",
            Task::TokenClassification => "TokenClassification",
            Task::QuestionAnswering => "QuestionAnswering",
            Task::MultipleChoice => "MultipleChoice",
            Task::NextSentencePrediction => "NextSentencePrediction",
        }
    }
}

impl Architecture {
    /// The default configuration, `model_type` included.
    pub fn defaults(&self) -> Map<String, Value> {
        // The text is a constant of ours; a test parses it for every architecture.
        let mut values: Map<String, Value> = serde_json::from_str(self.defaults).unwrap_or_default();
        values.insert("model_type".into(), self.model_type.into());
        values
    }

    /// The class of transformers called `name`.
    pub fn class(&self, name: &str) -> Result<&'static Class> {
        self.classes.iter().find(|class| class.name == name).ok_or_else(|| {
            let names: Vec<_> = self.classes.iter().map(|class| class.name).collect();
            let model_type = self.model_type;
            Error::Config(format!("{model_type} has no class {name}, only {}", names.join(", ")))
        })
    }
}

/// Every architecture.
pub const ALL: &[&Architecture] = architectures::ALL;

/// The architecture called `model_type`.
pub fn find(model_type: &str) -> Result<&'static Architecture> {
    ALL.iter()
        .copied()
        .find(|architecture| architecture.model_type == model_type)
        .ok_or_else(|| Error::UnknownModelType { model_type: model_type.into(), known: known() })
}

/// The names of all architectures, for messages.
pub fn known() -> String {
    ALL.iter().map(|architecture| architecture.model_type).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_configuration_is_one_that_runs() {
        for architecture in ALL {
            let config = Config::new(architecture.defaults()).unwrap();
            assert!(config.values().len() > 5, "{}: the defaults did not parse", architecture.model_type);
            (architecture.spec)(&config)
                .unwrap_or_else(|error| panic!("{}: {error}", architecture.model_type));
            for class in architecture.classes {
                (class.head)(&config).unwrap_or_else(|error| panic!("{}: {error}", class.name));
            }
        }
    }

    #[test]
    fn every_name_is_there_once() {
        let mut names: Vec<_> = ALL.iter().flat_map(|one| one.classes).map(|class| class.name).collect();
        names.extend(ALL.iter().map(|one| one.config_class));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
