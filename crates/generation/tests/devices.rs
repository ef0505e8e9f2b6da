//! A model on a GPU writes what it writes on the processor. Where there is no device, there is nothing to see.

#![allow(clippy::unwrap_used)] // What goes wrong here fails the test.

use trustformers_generation::{GenerationConfig, Request, generate, rows, table};
use trustformers_models::{Config, Inputs, LoadOptions, Model, Text};
use trustformers_tensor::{Device, Generator, Tensor, cuda};

const MODELS: [(&str, &str); 3] = [
    (
        "LlamaForCausalLM",
        r#"{"model_type": "llama", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.4}"#,
    ),
    (
        "GPT2LMHeadModel",
        r#"{"model_type": "gpt2", "vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64,
            "initializer_range": 0.4}"#,
    ),
    (
        "T5ForConditionalGeneration",
        r#"{"model_type": "t5", "vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2,
            "decoder_start_token_id": 0, "initializer_factor": 3.0}"#,
    ),
];

fn model(class: &str, config: &str) -> Model {
    let options = LoadOptions { class: Some(class.into()), ..LoadOptions::default() };
    Model::from_config(Config::from_json(config).unwrap(), &options, 3).unwrap()
}

/// Two texts, the second behind padding.
fn inputs() -> Inputs {
    let ids = table([[7, 8, 9], [0, 6, 7]]).unwrap();
    let mask = Tensor::from_slice(&[1i64, 1, 1, 0, 1, 1], &[2, 3]).unwrap();
    Inputs { text: Text { ids: Some(ids), mask: Some(mask), ..Text::default() }, ..Inputs::default() }
}

fn texts(model: &Model, config: &str) -> Vec<Vec<i64>> {
    let request = Request { inputs: inputs(), ..Request::default() };
    let config = GenerationConfig::from_json(config).unwrap();
    rows(&generate(model, config, request, Generator::new(5)).unwrap().sequences.unwrap()).unwrap()
}

#[test]
fn texts_do_not_depend_on_the_device() {
    if !cuda::is_available() {
        return;
    }
    for (class, config) in MODELS {
        let here = model(class, config);
        let there = here.to_device(Device::Cuda(0)).unwrap();
        for wish in [
            // Longer than a power of two, so that recorded steps are made anew.
            r#"{"max_new_tokens": 20, "eos_token_id": null, "decoder_start_token_id": 0}"#,
            r#"{"max_new_tokens": 8, "num_beams": 3, "eos_token_id": null, "decoder_start_token_id": 0}"#,
            r#"{"max_new_tokens": 8, "do_sample": true, "num_return_sequences": 2, "eos_token_id": null, "decoder_start_token_id": 0}"#,
        ] {
            assert_eq!(texts(&there, wish), texts(&here, wish), "{class} {wish}");
        }
    }
}
