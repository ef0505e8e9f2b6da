//! One small file per architecture: its defaults, its names, its reading of the configuration.

mod bert;
mod common;
mod llama;

use crate::architecture::Architecture;

pub(crate) const ALL: &[&Architecture] = &[&bert::BERT, &llama::LLAMA];
