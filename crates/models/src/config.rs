//! A model's configuration: the values of config.json over the defaults of its type.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde_json::{Map, Value};
use trustformers_hub::Repo;
use trustformers_tensor::{Activation, DType};

use crate::architecture::{self, Architecture};
use crate::checkpoint::replace;
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
        Config::from_file(&Config::file(repo)?)
    }

    /// Where config.json of a folder or repository is.
    ///
    /// # Errors
    /// `Unrecognized` without the file, or what the hub says.
    pub fn file(repo: &Repo) -> Result<PathBuf> {
        repo.file("config.json")?.ok_or_else(|| unrecognized(repo.name()))
    }

    /// Reads a file like config.json.
    ///
    /// # Errors
    /// As [`Config::from_repo`], or `Io`.
    pub fn from_file(path: &Path) -> Result<Config> {
        let values = read(path)?;
        if values.contains_key("model_type") {
            Config::new(values)
        } else {
            Err(unrecognized(path.display()))
        }
    }

    /// Reads a file like config.json as that of a model of type `model_type`. The second is the type that it names itself, if any.
    ///
    /// # Errors
    /// As [`Config::from_file`].
    pub fn from_file_as(path: &Path, model_type: &str) -> Result<(Config, Option<String>)> {
        let mut values = read(path)?;
        let named = values.insert("model_type".into(), model_type.into());
        let named = named.as_ref().and_then(Value::as_str).map(str::to_owned);
        Ok((Config::new(values)?, named))
    }

    /// Reads the text of a config.json, which may hold Python's `NaN` and `Infinity`; they become null.
    ///
    /// # Errors
    /// `Config` when it is not JSON or names no type, `UnknownModelType`.
    pub fn from_json(text: &str) -> Result<Config> {
        match parse(text).map_err(|error| Error::Config(error.to_string()))? {
            Value::Object(values) => Config::new(values),
            other => Err(Error::Config(format!("it must be an object, got {other}"))),
        }
    }

    /// A configuration of the given values.
    ///
    /// # Errors
    /// `UnknownModelType` or, without a `model_type`, `Config`.
    pub fn new(values: Map<String, Value>) -> Result<Config> {
        let given = Config { values };
        let architecture = given.architecture()?;
        let mut config = Config { values: architecture.defaults() };
        if given.has("num_labels") && !given.has("id2label") {
            // A number that is given counts for more than the labels of the defaults.
            config.values.remove("id2label");
            config.values.remove("label2id");
        }
        for (field, value) in given.values {
            config.set(&field, value);
        }
        (architecture.complete)(&mut config)?;
        Ok(config)
    }

    /// Sets a field, which may be called by its common name.
    pub fn set(&mut self, field: &str, value: Value) {
        let field = self.own_name(field).to_owned();
        self.values.insert(field, value);
    }

    /// Takes a field out; `None` if it is not there or null.
    pub fn remove(&mut self, field: &str) -> Option<Value> {
        let field = self.own_name(field).to_owned();
        self.values.remove(&field).filter(|value| !value.is_null())
    }

    /// What this architecture calls a field.
    fn own_name<'a>(&self, field: &'a str) -> &'a str {
        // Not `architecture()`, which reads a field itself.
        let model_type = self.values.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let aliases = architecture::find(model_type).map_or(&[][..], |architecture| architecture.aliases);
        aliases.iter().find(|(common, _)| *common == field).map_or(field, |(_, own)| own)
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

    /// A field that must be a number of layers.
    pub fn layers(&self, field: &str) -> Result<usize> {
        // Ten times what anybody has trained; each costs memory before the weights are looked at.
        match self.size(field)? {
            layers @ ..=10_000 => Ok(layers),
            layers => Err(Error::Config(format!("`{field}` must be at most 10000, got {layers}"))),
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

    /// A field that must be a probability: what is dropped in training.
    pub fn dropout(&self, field: &str) -> Result<f32> {
        match self.number(field)? {
            p if p <= 1.0 => Ok(p),
            p => Err(Error::Config(format!(
                "`{field}`: dropout probability has to be between 0 and 1, but got {p}"
            ))),
        }
    }

    /// The first of some fields that is there, which must be a probability, or this default.
    pub fn dropout_or(&self, fields: &[&str], default: f32) -> Result<f32> {
        fields.iter().find(|field| self.has(field)).map_or(Ok(default), |field| self.dropout(field))
    }

    /// A field that must be `true` or `false`.
    pub fn flag(&self, field: &str) -> Result<bool> {
        let value = self.get(field)?;
        value.as_bool().ok_or_else(|| Error::Config(format!("`{field}` must be true or false, got {value}")))
    }

    /// Whether a field is there and is not null.
    pub fn has(&self, field: &str) -> bool {
        self.values.get(self.own_name(field)).is_some_and(|value| !value.is_null())
    }

    /// A field that may be an object.
    pub fn object(&self, field: &str) -> Result<Option<&Map<String, Value>>> {
        match self.values.get(self.own_name(field)) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(value) => Err(Error::Config(format!("`{field}` must be an object, got {value}"))),
        }
    }

    /// A field that must be a list with an entry for each of `len` layers.
    pub fn list(&self, field: &str, len: usize) -> Result<&[Value]> {
        match self.get(field)?.as_array() {
            Some(list) if list.len() >= len => Ok(list),
            _ => Err(Error::Config(format!(
                "`{field}` must be a list of at least {len} entries, one for each layer"
            ))),
        }
    }

    /// A field that may be a token number; of several the first counts.
    pub fn token(&self, field: &str) -> Result<Option<i64>> {
        let value = self.values.get(self.own_name(field)).unwrap_or(&Value::Null);
        let first = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        match first.as_i64() {
            Some(token) => Ok(Some(token)),
            None if first.is_null() => Ok(None),
            None => Err(Error::Config(format!("`{field}` must be a token number, got {value}"))),
        }
    }

    /// The dtype that weights shall have: `dtype`, called `torch_dtype` before; `None` where nothing is said.
    pub fn dtype(&self) -> Result<Option<DType>> {
        let Some(field) = ["dtype", "torch_dtype"].into_iter().find(|field| self.has(field)) else {
            return Ok(None);
        };
        let value = self.get(field)?;
        let dtype =
            value.as_str().and_then(|name| name.parse().ok()).filter(|dtype: &DType| dtype.is_float());
        dtype.map(Some).ok_or_else(|| {
            Error::Config(format!("`{field}` must be float32, float16 or bfloat16, got {value}"))
        })
    }

    /// The standard deviation of freshly drawn weights: `initializer_range`, or `init_std`, or 0.02.
    pub fn initializer_range(&self) -> Result<f32> {
        let field = ["initializer_range", "init_std"].into_iter().find(|field| self.has(field));
        field.map_or(Ok(0.02), |field| self.number(field))
    }

    /// Writes config.json into a folder.
    ///
    /// # Errors
    /// `Save` when that cannot be done.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let text = format!("{:#}\n", Value::Object(self.values.clone()));
        replace(&folder.join("config.json"), |file| file.write_all(text.as_bytes()))
    }

    /// The number of labels of a classification: the entries of `id2label`, or `num_labels`, or 2.
    pub fn num_labels(&self) -> Result<usize> {
        match self.object("id2label")? {
            Some(labels) if !labels.is_empty() => Ok(labels.len()),
            _ if self.has("num_labels") => self.count("num_labels"),
            _ => Ok(2),
        }
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

    /// Refuses a field that is there, is not null, and has none of the values that are supported.
    pub fn only(&self, field: &str, supported: &[Value]) -> Result<()> {
        match self.values.get(field) {
            Some(value) if !value.is_null() && !supported.contains(value) => {
                let supported: Vec<_> = supported.iter().map(Value::to_string).collect();
                let instead = if supported.is_empty() { "null".into() } else { supported.join(" or ") };
                Err(Error::Config(format!("`{field}`: {value} is not supported yet, only {instead}")))
            }
            _ => Ok(()),
        }
    }

    fn get(&self, field: &str) -> Result<&Value> {
        let field = self.own_name(field);
        self.values.get(field).ok_or_else(|| Error::Config(format!("`{field}` is missing")))
    }
}

/// The values in a file like config.json.
fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = fs::read(path).map_err(|source| Error::Io { path: path.into(), source })?;
    let broken = |reason: String| Error::Json { path: path.into(), reason };
    let text = String::from_utf8(text).map_err(|error| broken(error.to_string()))?;
    match parse(&text).map_err(|error| broken(error.to_string()))? {
        Value::Object(values) => Ok(values),
        _ => Err(unrecognized(path.display())),
    }
}

fn unrecognized(place: impl ToString) -> Error {
    Error::Unrecognized { place: place.to_string(), known: architecture::known() }
}

/// Parses JSON as Python writes it: with `NaN` and infinities, for which JSON has no words and which become null.
fn parse(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| {
        let mut plain = String::with_capacity(text.len());
        // Every second piece between quotes is a string and stays as it is; an escaped quote joins two pieces of one string.
        let mut quoted = false;
        for piece in text.split_inclusive('"') {
            if quoted {
                plain.push_str(piece);
                let body = piece.strip_suffix('"').unwrap_or(piece);
                let backslashes = body.len() - body.trim_end_matches('\\').len();
                quoted = backslashes % 2 == 1;
            } else {
                let words =
                    piece.replace("-Infinity", "null").replace("Infinity", "null").replace("NaN", "null");
                plain.push_str(&words);
                quoted = true;
            }
        }
        serde_json::from_str(&plain).map_err(|_| error)
    })
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
    fn pythons_words_for_numbers_are_read() {
        let text = r#"{"model_type": "bert", "a": NaN, "b": [-Infinity, Infinity, 1], "c": "NaN \" Infinity\\", "d": NaN}"#;
        let config = Config::from_json(text).unwrap();
        assert_eq!(config.values()["a"], Value::Null);
        assert_eq!(config.values()["b"], json!([null, null, 1]));
        assert_eq!(config.values()["c"], json!("NaN \" Infinity\\"));
        assert_eq!(config.values()["d"], Value::Null);
        assert!(Config::from_json("{nope").is_err());
        assert!(Config::from_json("[]").is_err());
    }

    #[test]
    fn what_would_change_the_computation_is_refused() {
        for (field, value) in
            [("add_cross_attention", json!(true)), ("position_embedding_type", json!("relative_key"))]
        {
            let config = config(json!({"model_type": "bert", field: value})).unwrap();
            let error = (config.architecture().unwrap().spec)(&config).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
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
