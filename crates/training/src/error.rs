/// What can go wrong while parameters are changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that cannot be.
    #[error("{0}")]
    Setting(String),
    /// A state that does not belong to these parameters.
    #[error("{0}")]
    State(String),
    /// What a tensor has refused.
    #[error(transparent)]
    Tensor(#[from] trustformers_tensor::Error),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
