//! Configurations, checkpoints and the model families: from a folder of files to hidden states.
//!
//! An architecture is data: one file in [`architectures`](architecture) says what is particular about it, and a family runs it.

pub mod architecture;
mod architectures;
mod checkpoint;
mod config;
mod encoder;
mod error;
mod layers;
mod model;
mod packing;

pub use checkpoint::{
    Checkpoint, Init, Loader, MappedFile, Mismatch, Report, Scope, load_bin, parse_size, save_checkpoint,
    save_file,
};
pub use config::Config;
pub use encoder::{Encoder, EncoderSpec};
pub use error::{Error, Result};
pub use layers::{LayerNorm, Linear};
pub use model::{Inputs, LoadOptions, Model, Outputs};
pub use packing::Packing;
