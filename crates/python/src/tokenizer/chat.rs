//! Chat templates.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde_json::Value;
use trustformers::tokenizers::ChatTemplate;

use crate::errors;

/// A chat template that has been read.
#[pyclass(frozen, name = "ChatTemplate", module = "trustformers._engine")]
pub struct PyChatTemplate(ChatTemplate);

#[pymethods]
impl PyChatTemplate {
    /// Reads a template.
    ///
    /// :raises ValueError: for what is no Jinja.
    #[new]
    fn new(source: &str) -> PyResult<Self> {
        ChatTemplate::new(source).map(Self).map_err(errors::tokenizers)
    }

    /// The text that it makes of variables (JSON text), and where in it the assistant speaks: first characters and those behind the last.
    ///
    /// :raises ValueError: if the template refuses them.
    fn render(&self, py: Python<'_>, variables: &str) -> PyResult<(String, Vec<(usize, usize)>)> {
        let variables: Value =
            serde_json::from_str(variables).map_err(|error| PyValueError::new_err(error.to_string()))?;
        let rendered = py.detach(|| self.0.render(variables)).map_err(errors::tokenizers)?;
        let spans = rendered.generated.iter().map(|span| (span.start, span.end)).collect();
        Ok((rendered.text, spans))
    }
}
