//! What can be wrong with a file.

use std::io;
use std::path::PathBuf;

/// The result of reading a file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system does not let it be read.
    #[error("could not read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// What Git leaves in place of a large file that it has not fetched.
    #[error("{} is a Git LFS pointer and not the file itself: run `git lfs pull` in its folder", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },
    /// It is no GGUF file, or one that is cut short or lies about its contents.
    #[error("{} is not a sound GGUF file: {reason}. Check that it was downloaded whole", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What does not hold.
        reason: String,
    },
    /// A GGUF file of a kind that is not read.
    #[error("{} is not supported: {reason}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What kind it is, and what is read.
        reason: String,
    },
    /// Its metadata lack a value, or have one that cannot be.
    #[error("{}: `{key}` {reason}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The name of the value.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}
