//! A model on a GPU writes what it writes on the processor. Where there is no device, there is nothing to see.

#![allow(clippy::unwrap_used)] // What goes wrong here fails the test.

use trustformers_generation::{GenerationConfig, Request, generate, rows, table};
use trustformers_models::{Cache, Config, Family, Inputs, LoadOptions, Model, Text};
use trustformers_tensor::autograd::no_grad;
use trustformers_tensor::{DType, Device, Generator, Tensor, cuda};

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

/// What is written, and the keys and values of what was read.
fn written(model: &Model, config: &str) -> (Vec<Vec<i64>>, Option<Cache>) {
    let request = Request { inputs: inputs(), ..Request::default() };
    let config = GenerationConfig::from_json(config).unwrap();
    let generated = generate(model, config, request, Generator::new(5)).unwrap();
    (rows(&generated.sequences.unwrap()).unwrap(), generated.cache)
}

fn texts(model: &Model, config: &str) -> Vec<Vec<i64>> {
    written(model, config).0
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
            // Texts end one by one.
            r#"{"max_new_tokens": 9, "do_sample": true, "temperature": 1.5, "top_k": 0, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.5,
                "num_return_sequences": 3, "eos_token_id": [1, 3, 5, 8, 9, 13], "pad_token_id": 0, "decoder_start_token_id": 0}"#,
            r#"{"max_new_tokens": 8, "repetition_penalty": 1.3, "eos_token_id": null, "decoder_start_token_id": 0}"#,
        ] {
            assert_eq!(texts(&there, wish), texts(&here, wish), "{class} {wish}");
        }
    }
}

/// On a GPU a step is read before it is known whether the text goes on: nothing of it is left where the text has come to its end.
#[test]
fn what_is_read_ahead_is_forgotten_at_the_end() {
    if !cuda::is_available() {
        return;
    }
    for (class, config) in MODELS {
        let here = model(class, config);
        let there = here.to_device(Device::Cuda(0)).unwrap();
        let plain =
            texts(&here, r#"{"max_new_tokens": 12, "eos_token_id": null, "decoder_start_token_id": 0}"#);
        let end = plain[0][plain[0].len() - 6];
        for wish in [
            // An end that is found, one that was asked for, and one text that ends before the other.
            format!(
                r#"{{"max_new_tokens": 12, "eos_token_id": {end}, "pad_token_id": 1, "decoder_start_token_id": 0}}"#
            ),
            r#"{"max_new_tokens": 12, "eos_token_id": null, "decoder_start_token_id": 0}"#.into(),
            format!(
                r#"{{"max_new_tokens": 12, "eos_token_id": {end}, "pad_token_id": 1, "do_sample": true, "top_k": 3, "num_return_sequences": 2,
                    "decoder_start_token_id": 0}}"#
            ),
        ] {
            let [(wanted, known), (found, cached)] = [&here, &there].map(|model| written(model, &wish));
            let [known, cached] = [known, cached].map(Option::unwrap);
            assert_eq!(found, wanted, "{class} {wish}");
            assert_eq!(cached.length(), known.length(), "{class} {wish}");
            for layer in 0..known.layers() {
                let [(key, value), (wanted_key, wanted_value)] =
                    [&cached, &known].map(|cache| cache.layer(layer).unwrap().unwrap());
                for (found, wanted) in [(key, wanted_key), (value, wanted_value)] {
                    let (found, wanted) = (values(&found), values(&wanted));
                    assert_eq!(found.len(), wanted.len());
                    let off = found.iter().zip(&wanted).map(|(one, other)| (one - other).abs());
                    assert!(
                        off.fold(0f32, f32::max) < 1e-2,
                        "{class} {wish}: keys and values of layer {layer}"
                    );
                }
            }
        }
    }
}

fn values(x: &Tensor) -> Vec<f32> {
    x.to_host().unwrap().contiguous().unwrap().as_slice::<f32>().unwrap().to_vec()
}

/// Hidden states of 16 bits are as near to those of float32 as rounding some tens of them lets them be; what comes out is float32.
#[test]
fn weights_of_16_bits_are_computed_in_16_bits() {
    if !cuda::is_available() {
        return;
    }
    for (class, config) in MODELS {
        for (dtype, near) in [(DType::BF16, 4e-2), (DType::F16, 6e-3)] {
            let here = model(class, config).to_dtype(dtype).unwrap();
            let there = here.to_device(Device::Cuda(0)).unwrap();
            let read = |model: &Model, inputs: &Inputs, cache: Option<&mut Cache>| {
                let out = no_grad(|| model.forward(inputs, cache)).unwrap().logits.unwrap();
                assert_eq!(out.dtype(), DType::F32);
                out
            };
            let mut whole = Inputs { output_hidden_states: true, ..inputs() };
            if here.family() == Family::EncoderDecoder {
                whole.decoder.ids = Some(table([[0, 5, 3], [0, 9, 9]]).unwrap());
            }
            let [wanted, found] = [&here, &there].map(|model| values(&read(model, &whole, None)));
            let most = wanted.iter().fold(0f32, |most, value| most.max(value.abs()));
            let off = wanted.iter().zip(&found).map(|(one, other)| (one - other).abs());
            let off = off.fold(0f32, f32::max) / most;
            assert!(off < near, "{class} {dtype}: off by {off}");
            let states = no_grad(|| there.forward(&whole, None)).unwrap();
            let states = states.hidden_states.or(states.decoder_hidden_states).unwrap();
            assert!(states.iter().all(|state| state.dtype() == DType::F32));
            // Token by token, most of it by a graph, what is read at once.
            if here.family() != Family::Decoder {
                continue;
            }
            let ids: Vec<i64> = (0..12).map(|i| (i * i * 7 + 3) % 39).collect();
            let text = |ids: &[i64]| Inputs {
                text: Text { ids: Some(table([ids.to_vec()]).unwrap()), ..Text::default() },
                ..Inputs::default()
            };
            let wanted = values(&read(&there, &text(&ids), None));
            let mut cache = Cache::default();
            let found: Vec<f32> =
                ids.iter().flat_map(|&id| values(&read(&there, &text(&[id]), Some(&mut cache)))).collect();
            let off = wanted.iter().zip(&found).map(|(one, other)| (one - other).abs());
            let off = off.fold(0f32, f32::max) / most;
            assert!(off < near, "{class} {dtype}: step by step off by {off}");
        }
    }
}

#[test]
fn encoders_do_not_depend_on_the_device() {
    if !cuda::is_available() {
        return;
    }
    for (class, config) in [
        (
            "BertModel",
            r#"{"model_type": "bert", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
                "num_attention_heads": 2, "max_position_embeddings": 200, "initializer_range": 0.4}"#,
        ),
        (
            "ModernBertModel",
            r#"{"model_type": "modernbert", "vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 4,
                "num_attention_heads": 2, "local_attention": 8, "pad_token_id": 0, "initializer_range": 0.4}"#,
        ),
    ] {
        let here = model(class, config);
        let there = here.to_device(Device::Cuda(0)).unwrap();
        let text = |rows: usize, length: usize| {
            let ids: Vec<i64> = (0..rows * length).map(|i| (i * i * 7 + 3) as i64 % 39 + 1).collect();
            let mask: Vec<i64> =
                (0..rows * length).map(|i| i64::from(i / length == 0 || i % length < 5)).collect();
            let tensor = |numbers: &[i64]| Some(Tensor::from_slice(numbers, &[rows, length]).unwrap());
            Inputs {
                text: Text { ids: tensor(&ids), mask: tensor(&mask), ..Text::default() },
                ..Inputs::default()
            }
        };
        // Of one kind, of another, of the first again; the second is recorded, the third launched, some with fewer rows.
        for (rows, length) in
            [(2, 9), (2, 9), (2, 12), (2, 7), (1, 150), (2, 9), (3, 20), (3, 20), (1, 150), (1, 130)]
        {
            let inputs = text(rows, length);
            let hidden = |model: &Model| {
                let out = no_grad(|| model.forward(&inputs, None)).unwrap().last_hidden_state.unwrap();
                out.to_host().unwrap().contiguous().unwrap().as_slice::<f32>().unwrap().to_vec()
            };
            for (got, want) in hidden(&there).iter().zip(hidden(&here)) {
                assert!((got - want).abs() < 1e-4, "{class} {rows}x{length}: {got} is not {want}");
            }
        }
    }
}
