//! Chat templates, with Python's clock.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use trustformers::tokenizers::{self, Clock};

use crate::errors;

/// What a chat template writes: its plain text, and the texts in its expressions.
///
/// :raises ValueError: for what is no template.
#[pyfunction]
pub fn chat_template_texts(template: &str) -> PyResult<Vec<String>> {
    tokenizers::chat_template_texts(template).map_err(errors::tokenizers)
}

/// A text and where in it the model has spoken.
type Text = (String, Vec<(usize, usize)>);

/// Renders a chat template with each of some contexts (JSON text); `clock` tells the time in a format of `strftime`. With `track`, each
/// text comes with what of it is the model's: characters from and to.
///
/// :raises ValueError: for what cannot be rendered, and what the template raises.
#[pyfunction]
#[pyo3(signature = (template, contexts, clock, track=false))]
pub fn render_chat(
    py: Python<'_>,
    template: &str,
    contexts: Vec<String>,
    clock: Py<PyAny>,
    track: bool,
) -> PyResult<Vec<Text>> {
    let clock: Clock = Arc::new(move |format: &str| {
        Python::attach(|py| clock.bind(py).call1((format,))?.extract())
            .map_err(|error: PyErr| error.to_string())
    });
    let render = |context: &String| -> PyResult<Text> {
        let context = serde_json::from_str(context)
            .map_err(|error| PyValueError::new_err(format!("this conversation is not JSON: {error}")))?;
        let rendered = tokenizers::render_chat(template, &context, Some(&clock), track);
        rendered.map(|one| (one.text, one.generated)).map_err(errors::tokenizers)
    };
    py.detach(|| contexts.iter().map(render).collect())
}
