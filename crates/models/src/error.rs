//! What can go wrong between a name and an answer. Each variant names the Python exception that it becomes.

use std::path::PathBuf;

use trustformers_tensor as tensor;

use crate::checkpoint::Report;

/// The result of working with a model.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A model that cannot be read or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model could not be found or fetched (`OSError`).
    #[error(transparent)]
    Hub(#[from] trustformers_hub::Error),
    /// An operation failed (the tensor error's own exception).
    #[error(transparent)]
    Tensor(#[from] tensor::Error),
    /// A file could not be read (`OSError`).
    #[error("could not read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not what its name says (`OSError`).
    #[error("It looks like the file at '{}' is not a valid JSON file: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A folder or repository without weights (`OSError`).
    #[error("Error no file named {looked_for} found in {place}. {remedy}")]
    NoWeights {
        /// The file names that would have done.
        looked_for: String,
        /// The folder or repository.
        place: String,
        /// What to do.
        remedy: &'static str,
    },
    /// A weight file whose header does not hold (`SafetensorError`, an `OSError`).
    #[error("Error while deserializing {}: {reason}. The file is damaged or incomplete: fetch it again", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        reason: String,
    },
    /// A GGUF file that cannot be used (`OSError` if it is damaged, else `ValueError`).
    #[error(transparent)]
    Gguf(#[from] trustformers_gguf::Error),
    /// A `.bin` file that is damaged, is no state dict, or could run code (`OSError`).
    #[error("{} is not loaded: {reason}", path.display())]
    Bin {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// What Git leaves in place of a large file that it has not fetched (`OSError`).
    #[error("{} is a Git LFS pointer and not the file itself: run `git lfs pull` in its folder", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// An index that does not fit its shards (`OSError`).
    #[error("the index {} is wrong: {reason}", path.display())]
    Shards {
        /// The index.
        path: PathBuf,
        /// What does not fit.
        reason: String,
    },
    /// A state dict that does not fit a model (`RuntimeError`).
    #[error("Error(s) in loading state_dict for {class}:\n\t{problems}")]
    StateDict {
        /// The model's class.
        class: &'static str,
        /// All that does not fit.
        problems: String,
    },
    /// A file of weights that could not be written (`OSError`).
    #[error("could not write {}: {reason}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// What prevents it.
        reason: String,
    },
    /// There is no configuration that names a model type (`ValueError`).
    #[error(
        "Unrecognized model in {place}. Should have a `model_type` key in its config.json, one of: {known}"
    )]
    Unrecognized {
        /// The folder or repository.
        place: String,
        /// The supported types.
        known: String,
    },
    /// The configuration names a type that we do not have (`ValueError`).
    #[error(
        "The checkpoint you are trying to load has model type `{model_type}`, which trustformers does not support. Supported are: {known}"
    )]
    UnknownModelType {
        /// The type named.
        model_type: String,
        /// The supported types.
        known: String,
    },
    /// A field of the configuration has an impossible value (`ValueError`).
    #[error("config.json: {0}")]
    Config(String),
    /// The configuration names an activation that we do not have (`KeyError`).
    #[error("config.json: {0}")]
    Activation(String),
    /// Weights and configuration do not fit (`RuntimeError`).
    #[error("{0}")]
    Mismatch(Box<Report>),
    /// Arguments of a call that do not fit the model or one another (`ValueError`).
    #[error("{0}")]
    Input(String),
    /// Arguments that torch would refuse at run time (`RuntimeError`).
    #[error("{0}")]
    Runtime(String),
    /// A number outside the table that it indexes (`IndexError`).
    #[error("{what} {index} is out of range: {table} has {size} entries, so it must be between 0 and {last}", last = size.saturating_sub(1))]
    Index {
        /// What was given, such as `input_ids`.
        what: &'static str,
        /// The offending number.
        index: i64,
        /// The table, such as "the vocabulary".
        table: &'static str,
        /// The number of entries.
        size: usize,
    },
}
