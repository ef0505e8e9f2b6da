//! How many launches a layer takes on a GPU: each costs some microseconds where there are few rows, and one pass over memory where there are
//! many. The emulated device counts them.

#![allow(clippy::unwrap_used)] // What goes wrong here fails the test.

use std::ffi::{CString, c_char};
use std::process::Command;
use std::{env, mem};

use libloading::Library;
use trustformers_generation::table;
use trustformers_models::{Cache, Config, Inputs, LoadOptions, Model, Text};
use trustformers_tensor::autograd::no_grad;
use trustformers_tensor::{DType, Device, cuda};

/// Kernels and products that were run so far, and kernels that might have begun before those in front of them were done; nothing of a real GPU, which does
/// not count.
fn launched() -> Option<[u64; 2]> {
    // SAFETY: the library of CUDA, which is open already, and a function as counters.cpp declares it.
    unsafe {
        let library = Library::new("libcuda.so.1").ok()?;
        let counter = library.get::<extern "C" fn(*const c_char) -> u64>(b"emulated_cuda_counter").ok()?;
        let count = |name| counter(CString::new(name).unwrap().as_ptr());
        Some([count("kernels") + count("products"), count("early_kernels")])
    }
}

/// What a layer adds to a pass over the tokens `ids` behind those of `before`, in weights of bfloat16: to one that is done by itself, and to those in
/// which it is recorded and done again.
fn of_a_layer(
    class: &str,
    config: impl Fn(usize) -> String,
    before: &[i64],
    ids: &[i64],
) -> Option<[u64; 2]> {
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
            launched()
        };
        // The first pass also makes what is kept of parameters.
        let mut last = pass(if before.is_empty() { ids } else { before })?;
        let passes = (0..4).map(|_| {
            let now = pass(ids)?;
            let start = mem::replace(&mut last, now);
            Some([now[0] - start[0], now[1] - start[1]])
        });
        passes.collect::<Option<Vec<_>>>()
    });
    let all: Vec<_> = two?.iter().zip(one?).map(|(two, one)| [two[0] - one[0], two[1] - one[1]]).collect();
    assert!(all.iter().all(|found| *found == all[0]), "{class}: {all:?}");
    Some(all[0])
}

/// Steps of a Llama and of GPT-2, and passes over 24 tokens of a Llama and of BERT.
fn of_layers() -> [Option<[u64; 2]>; 4] {
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
    [
        of_a_layer("LlamaForCausalLM", llama, &prompt, &[4]),
        of_a_layer("GPT2LMHeadModel", gpt2, &prompt, &[4]),
        of_a_layer("LlamaForCausalLM", llama, &[], &many),
        of_a_layer("BertModel", bert, &[], &many),
    ]
}

/// In the first, the device that there is; in the others, which are started with it, those that know no kernels that begin early.
#[test]
fn layers_take_few_launches() {
    const EARLY: &str = "TRUSTFORMERS_TEST_EARLY";
    if !cuda::is_available() {
        return;
    }
    let is_other = env::var_os(EARLY).is_some();
    let wanted = [[6, 6], [6, 6], [9, 3], [8, 2]].map(|[all, early]| [all, if is_other { 0 } else { early }]);
    assert_eq!(of_layers(), wanted.map(Some));
    let others = [("EMULATED_CUDA_CAPABILITY", "8.0"), ("EMULATED_CUDA_DRIVER_VERSION", "12020")];
    for (name, value) in others.into_iter().filter(|_| !is_other) {
        let test =
            Command::new(env::current_exe().unwrap()).env(EARLY, "0").env(name, value).output().unwrap();
        assert!(test.status.success(), "{name}={value}: {}", String::from_utf8_lossy(&test.stdout));
    }
}
