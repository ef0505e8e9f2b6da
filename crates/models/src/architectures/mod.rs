//! One small file per architecture: its defaults, its names, its reading of the configuration.

mod albert;
mod bert;
mod common;
mod distilbert;
mod electra;
mod llama;
mod modernbert;
mod mpnet;
mod roberta;

use crate::architecture::Architecture;

pub(crate) const ALL: &[&Architecture] = &[
    &albert::ALBERT,
    &bert::BERT,
    &distilbert::DISTILBERT,
    &electra::ELECTRA,
    &llama::LLAMA,
    &modernbert::MODERNBERT,
    &mpnet::MPNET,
    &roberta::CAMEMBERT,
    &roberta::ROBERTA,
    &roberta::XLM_ROBERTA,
];
