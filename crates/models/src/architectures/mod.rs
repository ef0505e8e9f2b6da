//! One small file per architecture: its defaults, its names, its reading of the configuration.

mod bert;
mod common;
mod distilbert;
mod llama;
mod roberta;

use crate::architecture::Architecture;

pub(crate) const ALL: &[&Architecture] = &[
    &bert::BERT,
    &distilbert::DISTILBERT,
    &llama::LLAMA,
    &roberta::CAMEMBERT,
    &roberta::ROBERTA,
    &roberta::XLM_ROBERTA,
];
