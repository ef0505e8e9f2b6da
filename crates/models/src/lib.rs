//! Configurations, checkpoints and the model families: from a folder of files to hidden states.
//!
//! An architecture is data: one file in [`architectures`](architecture) says what is particular about it, and a family runs it.

mod alibi;
pub mod architecture;
mod architectures;
mod attention;
mod block;
mod cache;
mod checkpoint;
mod config;
mod convolution;
mod derived;
mod disentangled;
mod dropout;
mod embeddings;
mod error;
mod feed_forward;
pub mod heads;
mod inputs;
mod layers;
mod loss;
mod low_rank;
mod model;
mod outputs;
mod packing;
mod parameter;
mod paths;
mod places;
mod pooling;
mod recomputed;
mod recorded;
mod relative;
pub mod rotary;
mod site;
pub mod spec;
mod stack;
mod weights;

pub use cache::{Cache, CacheParts, SourceParts};
pub use checkpoint::{
    Checkpoint, Init, Loaded, Loader, MappedFile, Mismatch, Quantization, Report, Resize, Scope, gguf_file,
    load_bin, parse_size, save_checkpoint, save_file,
};
pub use config::Config;
pub use error::{Error, Result};
pub use inputs::{Inputs, Keep, Text};
pub use low_rank::LowRank;
pub use model::{Family, LoadOptions, Model};
pub use outputs::{Output, Outputs};
pub use packing::Packing;
pub use parameter::{Order, Parameter};
pub use relative::RelativeSpec;
pub use weights::Incompatible;
