//! A model's configuration: the values of config.json over the defaults of its type.

use std::fs;
use std::str::FromStr;

use serde_json::{Map, Value};
use trustformers_hub::Repo;
use trustformers_tensor::Activation;

use crate::architecture::{self, Architecture};
use crate::{Error, Result};

/// Config.json, with the defaults of its `model_type` underneath. Fields that nobody knows are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    values: Map<String, Value>,
}

impl Config {
    /// Reads config.json of a folder or repository.
    ///
    /// # Errors
    /// `Unrecognized` without the file or a `model_type` in it, `UnknownModelType`, `Json`, or what the hub says.
    pub fn from_repo(repo: &Repo) -> Result<Config> {
        let unrecognized = || Error::Unrecognized { place: repo.name().into(), known: architecture::known() };
        let path = repo.file("config.json")?.ok_or_else(unrecognized)?;
        let text = fs::read(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        let value: Value = serde_json::from_slice(&text)
            .map_err(|error| Error::Json { path: path.clone(), reason: error.to_string() })?;
        match value {
            Value::Object(values) if values.contains_key("model_type") => Config::new(values),
            _ => Err(unrecognized()),
        }
    }

    /// A configuration of the given values.
    ///
    /// # Errors
    /// `UnknownModelType` or, without a `model_type`, `Config`.
    pub fn new(values: Map<String, Value>) -> Result<Config> {
        let config = Config { values };
        let defaults = config.architecture()?.defaults();
        let mut values = defaults;
        values.extend(config.values);
        Ok(Config { values })
    }

    /// The architecture that `model_type` names.
    pub fn architecture(&self) -> Result<&'static Architecture> {
        architecture::find(self.text("model_type")?)
    }

    /// All values, defaults included.
    pub fn values(&self) -> &Map<String, Value> {
        &self.values
    }

    /// A field that must be a count: a whole number, at least 1.
    pub fn count(&self, field: &str) -> Result<usize> {
        match self.size(field)? {
            0 => Err(Error::Config(format!("`{field}` must be at least 1, got 0"))),
            size => Ok(size),
        }
    }

    /// A field that must be a whole number, at least 0.
    pub fn size(&self, field: &str) -> Result<usize> {
        let value = self.get(field)?;
        // Above this nothing could be allocated, and products of two sizes would overflow.
        let limit = 1 << 31;
        match value.as_u64() {
            Some(size) if size <= limit => Ok(size as usize),
            _ => {
                Err(Error::Config(format!("`{field}` must be a whole number from 0 to {limit}, got {value}")))
            }
        }
    }

    /// A field that must be a finite number, at least 0.
    pub fn number(&self, field: &str) -> Result<f32> {
        let value = self.get(field)?;
        value
            .as_f64()
            .filter(|number| number.is_finite() && *number >= 0.0)
            .map(|number| number as f32)
            .ok_or_else(|| Error::Config(format!("`{field}` must be a number, at least 0, got {value}")))
    }

    /// A field that must be `true` or `false`.
    pub fn flag(&self, field: &str) -> Result<bool> {
        let value = self.get(field)?;
        value.as_bool().ok_or_else(|| Error::Config(format!("`{field}` must be true or false, got {value}")))
    }

    /// A field that must be text.
    pub fn text(&self, field: &str) -> Result<&str> {
        let value = self.get(field)?;
        value.as_str().ok_or_else(|| Error::Config(format!("`{field}` must be text, got {value}")))
    }

    /// A field that must name an activation function.
    pub fn activation(&self, field: &str) -> Result<Activation> {
        Activation::from_str(self.text(field)?)
            .map_err(|error| Error::Activation(format!("`{field}`: {error}")))
    }

    fn get(&self, field: &str) -> Result<&Value> {
        self.values.get(field).ok_or_else(|| Error::Config(format!("`{field}` is missing")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(value: Value) -> Result<Config> {
        match value {
            Value::Object(values) => Config::new(values),
            _ => unreachable!(),
        }
    }

    #[test]
    fn defaults_lie_underneath() {
        let config = config(json!({"model_type": "bert", "hidden_size": 24, "mine": [1]})).unwrap();
        assert_eq!(config.count("hidden_size").unwrap(), 24);
        assert_eq!(config.count("num_hidden_layers").unwrap(), 12);
        assert_eq!(config.values()["mine"], json!([1]));
    }

    #[test]
    fn impossible_values_are_named() {
        for bad in [json!(-1), json!(0), json!(1.5), json!("a"), json!(null), json!(1u64 << 40)] {
            let config = config(json!({"model_type": "bert", "hidden_size": bad})).unwrap();
            assert!(config.count("hidden_size").unwrap_err().to_string().contains("hidden_size"));
        }
        let error = config(json!({"model_type": "bart-x"})).unwrap_err().to_string();
        assert!(error.contains("bart-x") && error.contains("bert"), "{error}");
        assert!(
            config(json!({"model_type": "bert", "hidden_act": "nope"}))
                .unwrap()
                .activation("hidden_act")
                .is_err()
        );
    }
}
