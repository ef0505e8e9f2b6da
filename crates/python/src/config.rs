//! Configurations, and what architectures there are.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;
use trustformers::models::architecture::{Architecture, Class};
use trustformers::models::{self, Config, architecture};

use crate::errors;
use crate::hub::PyRepo;
use crate::interrupt::detached;

/// Config.json of a folder or repository, or another file like it, or what a GGUF file of the repository says, over the defaults of its
/// model type, as JSON text; and that type. With `model_type` a file is read as that of a model of this type, whatever it says itself.
///
/// :raises ValueError: without the file, without a model type in it, or for one that is not supported.
/// :raises OSError: for a file that is not JSON, or a repository that cannot be read.
#[pyfunction]
#[pyo3(signature = (repo, file=None, gguf_file=None, *, model_type=None))]
pub fn read_config(
    py: Python<'_>,
    repo: Option<&PyRepo>,
    file: Option<PathBuf>,
    gguf_file: Option<&str>,
    model_type: Option<&str>,
) -> PyResult<(String, Option<String>)> {
    let read = || {
        let file = match (repo, file, gguf_file) {
            (_, Some(file), _) => file,
            (Some(repo), None, Some(name)) => {
                let config = Config::from_gguf(&models::gguf_file(&repo.0, name)?)?;
                let named = config.architecture()?.model_type.to_owned();
                return Ok((config, Some(named)));
            }
            (Some(repo), None, None) => Config::file(&repo.0)?,
            (None, None, _) => return Err(models::Error::Config("name a repository or a file".into())),
        };
        match model_type {
            Some(model_type) => Config::from_file_as(&file, model_type),
            None => {
                let config = Config::from_file(&file)?;
                let named = config.architecture()?.model_type.to_owned();
                Ok((config, Some(named)))
            }
        }
    };
    let (config, named) = detached(py, read).map_err(errors::models)?;
    Ok((Value::Object(config.values().clone()).to_string(), named))
}

/// A configuration (JSON text, as is the result) over the defaults of its model type, with the fields filled in that follow from others.
///
/// :raises ValueError: for a type that is not supported, and for values that cannot be.
#[pyfunction]
pub fn complete_config(config: &str) -> PyResult<String> {
    let config = Config::from_json(config).map_err(errors::models)?;
    Ok(Value::Object(config.values().clone()).to_string())
}

/// The architectures: for each its model type, its configuration class, the common names of its fields with its own, the attribute under
/// which models with heads hold the model, and its model classes: name, task, and where the model is in it.
#[pyfunction]
pub fn architectures(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let describe = |one: &&Architecture| {
        let about = PyDict::new(py);
        about.set_item("model_type", one.model_type)?;
        about.set_item("config_class", one.config_class)?;
        about.set_item("aliases", one.aliases.to_vec())?;
        about.set_item("prefix", one.prefix.trim_end_matches('.'))?;
        let class = |class: &Class| (class.name, class.task.name(), class.base);
        let classes: Vec<_> = one.classes.iter().map(class).collect();
        about.set_item("classes", classes)?;
        Ok(about)
    };
    architecture::ALL.iter().map(describe).collect()
}
