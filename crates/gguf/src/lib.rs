//! GGUF, the files of llama.cpp: what they say about a model, and where its tensors lie.
//!
//! Opening a file reads its header, versions 2 and 3, and checks everything in it against the size of the file; the tensors are left
//! where they are. Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod error;
mod file;
mod kind;
mod metadata;
mod parts;
mod reader;
#[cfg(test)]
mod testing;

pub use error::{Error, Result};
pub use file::{File, TensorInfo};
pub use kind::Kind;
pub use metadata::{Numbers, Texts, Value};
pub use parts::part_names;
