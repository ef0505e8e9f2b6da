//! One small file per architecture: its defaults, its names, its reading of the configuration.

mod albert;
mod bart;
mod bert;
mod common;
mod distilbert;
mod electra;
mod llama;
mod modernbert;
mod mpnet;
mod roberta;
mod t5;

use crate::architecture::Architecture;

pub(crate) const ALL: &[&Architecture] = &[
    &albert::ALBERT,
    &bart::BART,
    &bart::BLENDERBOT,
    &bart::M2M_100,
    &bart::MARIAN,
    &bart::MBART,
    &bart::PEGASUS,
    &bert::BERT,
    &distilbert::DISTILBERT,
    &electra::ELECTRA,
    &llama::LLAMA,
    &modernbert::MODERNBERT,
    &mpnet::MPNET,
    &roberta::CAMEMBERT,
    &roberta::ROBERTA,
    &roberta::XLM_ROBERTA,
    &t5::MT5,
    &t5::T5,
];
