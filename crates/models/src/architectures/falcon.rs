//! Falcon (Almazrouei et al. 2023) in its three layouts: transformers' `FalconModel`.

use trustformers_tensor::DType;

use super::common::*;
use super::decoders::*;
use crate::architecture::{Architecture, Class, Task};
use crate::rotary::RotarySpec;
use crate::spec::*;
use crate::{Config, Error, Result};

pub(crate) const FALCON: Architecture = Architecture {
    model_type: "falcon",
    config_class: "FalconConfig",
    defaults: r#"{
        "vocab_size": 65024,
        "hidden_size": 4544,
        "num_hidden_layers": 32,
        "num_attention_heads": 71,
        "num_ln_in_parallel_attn": null,
        "layer_norm_epsilon": 1e-5,
        "initializer_range": 0.02,
        "use_cache": true,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "num_kv_heads": null,
        "alibi": false,
        "new_decoder_architecture": false,
        "multi_query": true,
        "parallel_attn": true,
        "bias": false,
        "max_position_embeddings": 2048,
        "rope_parameters": null,
        "bos_token_id": 11,
        "eos_token_id": 11,
        "pad_token_id": null,
        "ffn_hidden_size": null,
        "activation": "gelu",
        "tie_word_embeddings": true
    }"#,
    aliases: &[],
    complete,
    prefix: "transformer.",
    renames: &[],
    ignored: &["rotary_emb.inv_freq"],
    spec,
    classes: &[
        Class::bare("FalconModel"),
        Class::new("FalconForCausalLM", Task::CausalLM, "transformer", causal_lm),
        Class::new(
            "FalconForSequenceClassification",
            Task::SequenceClassification,
            "transformer",
            last_token_score,
        ),
        Class::new("FalconForTokenClassification", Task::TokenClassification, "transformer", decoder_tokens),
        Class::new("FalconForQuestionAnswering", Task::QuestionAnswering, "transformer", qa_outputs),
    ],
};

fn complete(config: &mut Config) -> Result<()> {
    if let Some(width) = config.remove("n_embed") {
        config.set("hidden_size", width);
    }
    if !config.has("num_kv_heads") {
        config.set("num_kv_heads", config.count("num_attention_heads")?.into());
    }
    if !config.has("ffn_hidden_size") {
        config.set("ffn_hidden_size", (4 * config.count("hidden_size")?).into());
    }
    complete_rope(config, 10000.0, None)
}

fn spec(config: &Config) -> Result<Spec> {
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let head_dim = head_dim(config, hidden_size, heads)?;
    let eps = config.number("layer_norm_epsilon")?;
    let bias = config.flag("bias")?;
    let alibi = config.flag("alibi")?;
    let is_new = config.flag("new_decoder_architecture")?;
    let parallel = config.flag("parallel_attn")?;
    let kv_heads = match (is_new, config.flag("multi_query")?) {
        (true, _) => config.count("num_kv_heads")?,
        (false, true) => 1,
        (false, false) => heads,
    };
    let projection = Projection::Fused(linear("self_attention.query_key_value", bias), FusedOrder::Grouped);
    let attention = AttentionSpec {
        kv_heads,
        rotary: (!alibi).then_some(0),
        // As transformers does: with rotary embeddings its probabilities stay.
        dropout: if alibi { config.dropout("attention_dropout")? } else { 0.0 },
        ..AttentionSpec::new(projection, linear("self_attention.dense", bias), heads, head_dim)
    };
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain {
            up: linear("mlp.dense_h_to_4h", bias),
            down: linear("mlp.dense_4h_to_h", bias),
        },
        width: config.count("ffn_hidden_size")?,
        activation: config.activation("activation")?,
        dropout: 0.0,
    };
    let norms = match config.has("num_ln_in_parallel_attn") {
        true => config.count("num_ln_in_parallel_attn")?,
        false if is_new => 2,
        false => 1,
    };
    let (first, second) = match (is_new, parallel, norms) {
        (true, true, 2) => ("ln_attn", Some("ln_mlp")),
        (_, true, 1) => ("input_layernorm", None),
        (false, false, _) => ("input_layernorm", Some("post_attention_layernorm")),
        _ => {
            return Err(Error::Config(format!(
                "`num_ln_in_parallel_attn` ({norms}) does not fit `new_decoder_architecture` ({is_new}) and `parallel_attn` \
                 ({parallel}): the new architecture is parallel and has 1 or 2, the old one 1"
            )));
        }
    };
    // Both parts' sum is dropped at once where they are parallel; else the attention's output as its probabilities.
    let hidden = config.dropout("hidden_dropout")?;
    let (of_attention, of_both) =
        if parallel { (0.0, hidden) } else { (config.dropout("attention_dropout")?, 0.0) };
    let layer = LayerSpec {
        path: None,
        attention: Sublayer::pre_norm(layer_norm(first, eps), attention).dropping(of_attention),
        cross_attention: None,
        feed_forward: Sublayer::pre_norm(second.map(|path| layer_norm(path, eps)), feed_forward)
            .dropping(hidden - of_both),
        parallel,
        dropout: of_both,
    };
    let layers = vec![layer; config.layers("num_hidden_layers")?];
    let embeddings = EmbeddingsSpec { padding: None, ..words(config, "word_embeddings", hidden_size)? };
    let scale = 1.0 / (head_dim as f32).sqrt();
    Ok(Spec::Decoder(StackSpec {
        rotaries: if alibi { Vec::new() } else { vec![RotarySpec::read(config, head_dim)?] },
        // The slopes were rounded to bfloat16 in training.
        bias: alibi.then_some(BiasSpec::Alibi { heads, scale, dtype: DType::BF16 }),
        ..decoder_stack(embeddings, "h", layers, layer_norm("ln_f", eps))
    }))
}
