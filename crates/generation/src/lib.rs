//! Generation with language models: from a prompt to a text, token by token.
//!
//! [`generate`] reads a prompt and writes behind it. At every step the model gives a score for each token of its vocabulary;
//! [`processors`] change the scores, a token is chosen, and criteria say whether the text is at its end.

pub mod config;
pub mod constraint;
mod decoder;
mod error;
mod joint;
pub mod processors;
mod sampling;
mod scores;
mod search;
mod stopping;

pub use config::GenerationConfig;
pub use decoder::{rows, table};
pub use error::{Error, Result};
pub use processors::LogitsProcessor;
pub use scores::Scores;
pub use search::{Generated, Job, Request, Streamer, Turn, Writer, generate, write_together};
pub use stopping::{StopStrings, StoppingCriterion};
