//! The registry: which architectures there are, and what one says about itself.

use serde_json::{Map, Value};

use crate::{Config, EncoderSpec, Error, Result, architectures};

/// What is particular about one architecture. Everything else its family does.
pub struct Architecture {
    /// What config.json calls it.
    pub model_type: &'static str,
    /// The fields of transformers' configuration class and their defaults, as JSON.
    pub defaults: &'static str,
    /// The attribute under which transformers' models with heads hold this model, and so a prefix that tensor names may have.
    pub prefix: &'static str,
    /// How parts of tensor names in checkpoints become our names, which are transformers'.
    pub renames: &'static [(&'static str, &'static str)],
    /// Beginnings of names that checkpoints contain and this model does not need.
    pub ignored: &'static [&'static str],
    /// Reads a configuration.
    pub spec: fn(&Config) -> Result<EncoderSpec>,
}

impl Architecture {
    /// The default configuration, `model_type` included.
    pub fn defaults(&self) -> Map<String, Value> {
        // The text is a constant of ours; a test parses it for every architecture.
        let mut values: Map<String, Value> = serde_json::from_str(self.defaults).unwrap_or_default();
        values.insert("model_type".into(), self.model_type.into());
        values
    }
}

/// Every architecture.
pub const ALL: &[&Architecture] = &[&architectures::BERT];

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
            (architecture.spec)(&config).unwrap();
        }
    }
}
