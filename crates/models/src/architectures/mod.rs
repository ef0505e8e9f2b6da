//! One small file per architecture: its defaults, its names, its reading of the configuration.

mod albert;
mod bart;
mod bert;
mod bloom;
mod common;
mod deberta_v2;
mod decoders;
mod distilbert;
mod electra;
mod falcon;
mod gemma;
mod gpt2;
mod gpt_neo;
mod gpt_neox;
mod gptj;
mod llama;
mod mistral;
mod mixtral;
mod modernbert;
mod mpnet;
mod olmo2;
mod opt;
mod phi;
mod phi3;
mod qwen;
mod roberta;
mod smollm3;
mod stablelm;
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
    &deberta_v2::DEBERTA_V2,
    &bloom::BLOOM,
    &distilbert::DISTILBERT,
    &electra::ELECTRA,
    &falcon::FALCON,
    &gemma::GEMMA,
    &gemma::GEMMA2,
    &gemma::GEMMA3_TEXT,
    &gpt2::GPT2,
    &gpt_neo::GPT_NEO,
    &gpt_neox::GPT_NEOX,
    &gptj::GPTJ,
    &llama::LLAMA,
    &mistral::MISTRAL,
    &mixtral::MIXTRAL,
    &modernbert::MODERNBERT,
    &mpnet::MPNET,
    &olmo2::OLMO2,
    &opt::OPT,
    &phi3::PHI3,
    &phi::PHI,
    &qwen::QWEN2,
    &qwen::QWEN3,
    &roberta::CAMEMBERT,
    &roberta::ROBERTA,
    &roberta::XLM_ROBERTA,
    &smollm3::SMOLLM3,
    &stablelm::STABLELM,
    &t5::MT5,
    &t5::T5,
];
