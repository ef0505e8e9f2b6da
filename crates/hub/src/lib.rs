//! Where models come from: a local folder, the hub cache, a download.
//!
//! The cache has the layout, the locks and the environment variables of Python's `huggingface_hub`, so that each of the two
//! finds what the other has downloaded. A repository is asked for files by name; it answers with paths:
//!
//! ```no_run
//! use trustformers_hub::{Options, Repo};
//!
//! let repo = Repo::open("sentence-transformers/all-MiniLM-L6-v2", Options::default())?;
//! let config = repo.require("config.json")?;
//! let generation = repo.file("generation_config.json")?; // `None`: the repository has no such file
//! # Ok::<(), trustformers_hub::Error>(())
//! ```
//!
//! A [`Repo`] settles on one commit with the first file that it looks up, so all its files belong together and a model that
//! is in the cache costs one request to see whether it is still the newest, or none if the revision is a commit.

mod agent;
mod cache;
mod client;
mod download;
mod error;
mod http;
mod hub;
mod interrupt;
mod names;
mod partial;
mod progress;
mod repo;
mod retry;
mod settings;
mod url;

pub use error::{Error, Result};
pub use interrupt::Interrupt;
pub use repo::{Options, Repo};
pub use settings::Token;
