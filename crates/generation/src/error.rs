//! What can go wrong while a text is written. Each variant names the Python exception that it becomes.

use trustformers_models as models;
use trustformers_tensor as tensor;

/// The result of generating.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A generation that cannot be begun or gone on with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The model failed (its error's own exception).
    #[error(transparent)]
    Model(#[from] models::Error),
    /// An operation failed (the tensor error's own exception).
    #[error(transparent)]
    Tensor(#[from] tensor::Error),
    /// A setting that cannot be, or that contradicts another (`ValueError`).
    #[error("{0}")]
    Setting(String),
    /// What torch would refuse while it runs (`RuntimeError`).
    #[error("{0}")]
    Runtime(String),
    /// A processor, a criterion or a streamer of the caller's own failed (its own exception).
    #[error("{0}")]
    Callback(Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    /// Whether the caller has asked to stop, see [`trustformers_tensor::interrupt`].
    pub(crate) fn is_interrupted(&self) -> bool {
        matches!(
            self,
            Error::Tensor(tensor::Error::Interrupted)
                | Error::Model(models::Error::Tensor(tensor::Error::Interrupted))
        )
    }
}

impl From<trustformers_hub::Error> for Error {
    fn from(error: trustformers_hub::Error) -> Error {
        models::Error::from(error).into()
    }
}

/// A [`Error::Setting`].
pub(crate) fn setting<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Setting(message.into()))
}
