//! GPT-2 (Radford et al. 2019): transformers' `GPT2Model`.

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::spec::*;
use crate::{Config, Result};

pub(crate) const GPT2: Architecture = Architecture {
    model_type: "gpt2",
    config_class: "GPT2Config",
    defaults: r#"{
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_inner": null,
        "activation_function": "gelu_new",
        "resid_pdrop": 0.1,
        "embd_pdrop": 0.1,
        "attn_pdrop": 0.1,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "summary_type": "cls_index",
        "summary_use_proj": true,
        "summary_activation": null,
        "summary_proj_to_labels": true,
        "summary_first_dropout": 0.1,
        "scale_attn_weights": true,
        "use_cache": true,
        "bos_token_id": 50256,
        "eos_token_id": 50256,
        "pad_token_id": null,
        "scale_attn_by_inverse_layer_idx": false,
        "reorder_and_upcast_attn": false,
        "add_cross_attention": false,
        "tie_word_embeddings": true
    }"#,
    aliases: &[
        ("hidden_size", "n_embd"),
        ("max_position_embeddings", "n_positions"),
        ("num_attention_heads", "n_head"),
        ("num_hidden_layers", "n_layer"),
    ],
    complete: |_| Ok(()),
    prefix: "transformer.",
    renames: &[],
    ignored: &[".attn.bias", ".attn.masked_bias", ".crossattention.bias", ".crossattention.masked_bias"],
    spec,
    classes: &[
        Class::bare("GPT2Model"),
        Class::new("GPT2LMHeadModel", Task::CausalLM, "transformer", causal_lm),
        Class::new(
            "GPT2ForSequenceClassification",
            Task::SequenceClassification,
            "transformer",
            last_token_score,
        ),
        Class::new("GPT2ForTokenClassification", Task::TokenClassification, "transformer", decoder_tokens),
        Class::new("GPT2ForQuestionAnswering", Task::QuestionAnswering, "transformer", qa_outputs),
    ],
};

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let eps = config.number("layer_norm_epsilon")?;
    let projection = Projection::Fused(conv1d("attn.c_attn"), FusedOrder::Concatenated);
    let attention = AttentionSpec {
        dropout: config.dropout("attn_pdrop")?,
        ..AttentionSpec::new(projection, conv1d("attn.c_proj"), heads, head_dim(config, hidden_size, heads)?)
    };
    let dropout = config.dropout("resid_pdrop")?;
    let scale = if config.flag("scale_attn_weights")? { attention.scale } else { 1.0 };
    let crosses = config.flag("add_cross_attention")?;
    let by_layer = config.flag("scale_attn_by_inverse_layer_idx")?;
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain { up: conv1d("mlp.c_fc"), down: conv1d("mlp.c_proj") },
        width: if config.has("n_inner") { config.count("n_inner")? } else { 4 * hidden_size },
        activation: config.activation("activation_function")?,
        dropout: 0.0,
    };
    let layer = |index: usize| {
        let scale = if by_layer { scale / (index + 1) as f32 } else { scale };
        LayerSpec {
            path: None,
            attention: Sublayer::pre_norm(
                layer_norm("ln_1", eps),
                AttentionSpec { scale, ..attention.clone() },
            )
            .dropping(dropout),
            cross_attention: crosses.then(|| {
                let projection =
                    Projection::Halves(conv1d("crossattention.q_attn"), conv1d("crossattention.c_attn"));
                let output = conv1d("crossattention.c_proj");
                let attention = AttentionSpec { scale, projection, output, ..attention.clone() };
                Sublayer::pre_norm(layer_norm("ln_cross_attn", eps), attention).dropping(dropout)
            }),
            feed_forward: Sublayer::pre_norm(layer_norm("ln_2", eps), feed_forward.clone()).dropping(dropout),
            parallel: false,
            dropout: 0.0,
        }
    };
    let layers = (0..config.layers("num_hidden_layers")?).map(layer).collect();
    let dropout = config.dropout("embd_pdrop")?;
    let embeddings = EmbeddingsSpec { dropout, ..gpt_embeddings(config, hidden_size)? };
    Ok(Spec::Decoder(decoder_stack(embeddings, "h", layers, layer_norm("ln_f", eps))))
}
