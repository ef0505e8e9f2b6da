//! What a text must be like: OpenAI's `response_format`.

use serde::Deserialize;
use serde_json::Value;

use crate::Result;
use crate::error::Error;

/// What a text must be like.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ResponseFormat {
    /// Some JSON object.
    JsonObject,
    /// JSON that a schema describes.
    JsonSchema {
        /// The schema.
        json_schema: NamedSchema,
    },
    /// What a regular expression, in the syntax of the crate `regex`, matches as a whole.
    Regex {
        /// The expression.
        regex: String,
    },
    /// What a grammar describes, in llguidance's variant of Lark.
    Grammar {
        /// The grammar.
        grammar: String,
    },
}

/// A schema as OpenAI's clients send it, with a name and other fields that change nothing.
#[derive(Clone, Debug, Deserialize)]
pub struct NamedSchema {
    /// JSON Schema, 2020-12.
    pub schema: Value,
}

impl ResponseFormat {
    /// The format in JSON text.
    ///
    /// # Errors
    /// `Setting` that names what is wrong with it.
    pub fn from_json(text: &str) -> Result<ResponseFormat> {
        serde_json::from_str(text).map_err(|error| Error::Setting(format!("response_format: {error}")))
    }
}
