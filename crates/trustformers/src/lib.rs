//! The engine of the Python package `trustformers`, for Rust users: one name for its crates.

pub use trustformers_generation as generation;
pub use trustformers_gguf as gguf;
pub use trustformers_hub as hub;
pub use trustformers_models as models;
pub use trustformers_tensor as tensor;
pub use trustformers_tokenizers as tokenizers;
pub use trustformers_training as training;
