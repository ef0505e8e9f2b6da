//! One small file per architecture: its defaults, its names, its reading of the configuration.

mod bert;

pub(crate) use bert::BERT;
