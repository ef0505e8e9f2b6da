//! From what a file says to a configuration.

use serde_json::{Map, Value, json};
use trustformers_gguf::{self as gguf, File};

use super::rows::Row;
use crate::{Config, Error, Result};

/// The configuration of a file's model: transformers' fields, as its `load_gguf_checkpoint` has them.
///
/// # Errors
/// `Gguf` for an architecture that is not supported, and for values that are missing or cannot be.
pub fn read(file: &File) -> Result<Config> {
    let row = Row::of(file)?;
    let mut values = Map::new();
    values.insert("model_type".into(), row.model_type.into());
    for field in row.fields.iter().copied().flatten() {
        let key = format!("{}.{}", row.name, field.key);
        match number(file, &key)? {
            Some(value) => {
                // What several values may say the first of them says.
                values.entry(field.field).or_insert(value);
            }
            None if field.required => return Err(file.wrong(&key, "is missing").into()),
            None => {}
        }
    }
    let heads = values.get("num_attention_heads").cloned().unwrap_or_default();
    if row.fields.iter().copied().flatten().any(|field| field.field == "num_key_value_heads") {
        values.entry("num_key_value_heads").or_insert(heads);
    }
    for (field, key) in [
        ("bos_token_id", "bos_token_id"),
        ("eos_token_id", "eos_token_id"),
        ("unk_token_id", "unknown_token_id"),
        ("pad_token_id", "padding_token_id"),
    ] {
        if let Some(id) = file.size(&format!("tokenizer.ggml.{key}"))? {
            values.insert(field.into(), id.into());
        }
    }
    // The table of words is the last to know how many there are; converters round its rows up.
    let words = file.tensors().iter().find(|tensor| tensor.name == "token_embd.weight");
    if let Some(&[tokens, _]) = words.map(|words| words.shape.as_slice()) {
        values.insert("vocab_size".into(), tokens.into());
    }
    values.insert("tie_word_embeddings".into(), (!file.has_tensor("output.weight")).into());
    (row.complete)(file, &mut values)?;
    Config::new(values)
}

/// A number of the file. Where there is one for each layer they must be equal.
fn number(file: &File, key: &str) -> Result<Option<Value>> {
    let one = |value: &gguf::Value| match value {
        gguf::Value::Int(number) => i64::try_from(*number).ok().map(Value::from),
        gguf::Value::Float(number) => Some(Value::from(*number)).filter(|value| !value.is_null()),
        _ => None,
    };
    let found = match file.get(key) {
        None => return Ok(None),
        Some(gguf::Value::Numbers(all)) => {
            let mut all = all.iter();
            all.next().filter(|first| all.all(|other| other == *first)).as_ref().and_then(one)
        }
        Some(value) => one(value),
    };
    let wrong = || Error::from(file.wrong(key, "must be a number, the same for all layers"));
    found.map(Some).ok_or_else(wrong)
}

/// `rope_scaling`, from the file's values or from its tensors of factors.
pub(super) fn rope_scaling(file: &File, values: &mut Map<String, Value>) -> Result<()> {
    let name = file.architecture()?;
    let key = |rest: &str| format!("{name}.rope.scaling.{rest}");
    let original = number(file, &key("original_context_length"))?;
    let original = original.or_else(|| values.get("max_position_embeddings").cloned()).unwrap_or_default();
    // Llama 3.1 has one factor for each frequency, Phi-3 one for short texts and one for long ones.
    let factors = |tensor: &str| file.floats(tensor);
    let lists = match (factors("rope_factors_short.weight")?, factors("rope_factors_long.weight")?) {
        (Some(short), Some(long)) => Some((short, long)),
        _ => factors("rope_freqs.weight")?.map(|all| (all.clone(), all)),
    };
    let scaling = match (lists, file.text(&key("type"))?) {
        (Some((short, long)), _) => json!({
            "rope_type": "longrope",
            "short_factor": short,
            "long_factor": long,
            "original_max_position_embeddings": original,
            "attention_factor": number(file, &key("attn_factor"))?.unwrap_or_else(|| 1.0.into()),
        }),
        (None, Some(kind @ ("linear" | "yarn"))) => {
            let mut scaling = Map::new();
            scaling.insert("rope_type".into(), kind.into());
            scaling.insert("factor".into(), number(file, &key("factor"))?.unwrap_or_else(|| 1.0.into()));
            if kind == "yarn" {
                scaling.insert("original_max_position_embeddings".into(), original);
                for (field, rest) in [("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow")] {
                    scaling.extend(number(file, &key(rest))?.map(|value| (field.into(), value)));
                }
            }
            scaling.into()
        }
        (None, None | Some("none")) => return Ok(()),
        (None, Some(kind)) => {
            let reason =
                format!("is {kind:?}, and \"none\", \"linear\", \"yarn\" and tensors of factors are read");
            return Err(file.wrong(&key("type"), reason).into());
        }
    };
    values.insert("rope_scaling".into(), scaling);
    Ok(())
}

/// `partial_rotary_factor`: how much of a head is turned.
pub(super) fn partial_rotary(file: &File, values: &mut Map<String, Value>) -> Result<()> {
    let turned = number(file, &format!("{}.rope.dimension_count", file.architecture()?))?;
    let size = |field: &str| values.get(field).and_then(Value::as_f64);
    if let (Some(turned), Some(hidden), Some(heads)) =
        (turned.as_ref().and_then(Value::as_f64), size("hidden_size"), size("num_attention_heads"))
        && hidden > 0.0
    {
        values.insert("partial_rotary_factor".into(), (turned * heads / hidden).into());
    }
    Ok(())
}

/// What Gemma scales queries with follows from the width of a head, and in the largest model, of so many `layers`, from that of the
/// hidden states.
pub(super) fn gemma_scale(values: &mut Map<String, Value>, layers: u64) -> Result<()> {
    let size = |field: &str| values.get(field).and_then(Value::as_u64);
    let shared = size("hidden_size").zip(size("num_attention_heads").filter(|&heads| heads > 0));
    let scale = match size("num_hidden_layers") == Some(layers) {
        true => shared.map(|(hidden, heads)| hidden / heads),
        false => size("head_dim"),
    };
    values.extend(scale.map(|scale| ("query_pre_attn_scalar".into(), scale.into())));
    Ok(())
}

/// What tells Falcon's layouts apart: a key for all heads, or one for each group of them.
pub(super) fn falcon_layout(file: &File, values: &mut Map<String, Value>) -> Result<()> {
    let is_new = values.get("num_kv_heads").and_then(Value::as_u64) != Some(1);
    let norms = if file.has_tensor("blk.0.attn_norm_2.weight") { 2 } else { 1 };
    values.insert("new_decoder_architecture".into(), is_new.into());
    values.insert("num_ln_in_parallel_attn".into(), norms.into());
    Ok(())
}
