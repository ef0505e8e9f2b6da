//! How many launches a layer takes on a GPU: each costs some microseconds where there are few rows, and one pass over memory where there are
//! many. The emulated device counts them.

#![allow(clippy::unwrap_used)] // What goes wrong here fails the test.

use std::ffi::{CString, c_char};

use libloading::Library;
use trustformers_generation::table;
use trustformers_models::{Cache, Config, Inputs, LoadOptions, Model, Text};
use trustformers_tensor::autograd::no_grad;
use trustformers_tensor::{DType, Device, cuda};

/// Kernels and products that were run so far; nothing of a real GPU, which does not count.
fn launched() -> Option<u64> {
    // SAFETY: the library of CUDA, which is open already, and a function as counters.cpp declares it.
    unsafe {
        let library = Library::new("libcuda.so.1").ok()?;
        let counter = library.get::<extern "C" fn(*const c_char) -> u64>(b"emulated_cuda_counter").ok()?;
        let count = |name| counter(CString::new(name).unwrap().as_ptr());
        Some(count("kernels") + count("products"))
    }
}

/// What a layer adds to a pass over the tokens `ids` behind those of `before`, in weights of bfloat16.
fn of_a_layer(class: &str, config: impl Fn(usize) -> String, before: &[i64], ids: &[i64]) -> Option<u64> {
    let [one, two] = [1, 2].map(|layers| {
        let options = LoadOptions { class: Some(class.into()), ..LoadOptions::default() };
        let model = Model::from_config(Config::from_json(&config(layers)).unwrap(), &options, 3).unwrap();
        let model = model.to_dtype(DType::BF16).unwrap().to_device(Device::Cuda(0)).unwrap();
        let mut cache = (!before.is_empty()).then(Cache::default);
        let mut pass = |ids: &[i64]| {
            let text = Text { ids: Some(table([ids.to_vec()]).unwrap()), ..Text::default() };
            let inputs = Inputs { text, ..Inputs::default() };
            let out = no_grad(|| model.forward(&inputs, cache.as_mut())).unwrap();
            out.logits.or(out.last_hidden_state).unwrap().to_host().unwrap();
        };
        // The first pass also makes what is kept of parameters.
        pass(if before.is_empty() { ids } else { before });
        let start = launched()?;
        pass(ids);
        Some(launched()? - start)
    });
    Some(two? - one?)
}

#[test]
fn layers_take_few_launches() {
    if !cuda::is_available() {
        return;
    }
    let llama = |layers| {
        format!(
            r#"{{"model_type": "llama", "vocab_size": 40, "hidden_size": 64, "intermediate_size": 96,
                "num_hidden_layers": {layers}, "num_attention_heads": 4, "num_key_value_heads": 2}}"#
        )
    };
    let gpt2 = |layers| {
        format!(
            r#"{{"model_type": "gpt2", "vocab_size": 40, "n_embd": 64, "n_layer": {layers}, "n_head": 4,
                "n_positions": 64}}"#
        )
    };
    let bert = |layers| {
        format!(
            r#"{{"model_type": "bert", "vocab_size": 40, "hidden_size": 64, "intermediate_size": 96,
                "num_hidden_layers": {layers}, "num_attention_heads": 4}}"#
        )
    };
    let (prompt, many) = ([7, 8, 9], [5i64; 24]);
    let found = [
        of_a_layer("LlamaForCausalLM", llama, &prompt, &[4]),
        of_a_layer("GPT2LMHeadModel", gpt2, &prompt, &[4]),
        of_a_layer("LlamaForCausalLM", llama, &[], &many),
        of_a_layer("BertModel", bert, &[], &many),
    ];
    assert_eq!(found, [7, 6, 9, 8].map(Some));
}
