//! How many launches a layer takes on a GPU: each costs some microseconds where there are few rows, and one pass over memory where there are
//! many. The emulated device counts them.

#![allow(clippy::unwrap_used)] // What goes wrong here fails the test.

use std::ffi::{CString, c_char};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::{env, mem};

use libloading::Library;
use trustformers_generation::{GenerationConfig, Request, Streamer, generate, table};
use trustformers_models::{Cache, Config, Inputs, LoadOptions, Model, Text};
use trustformers_tensor::autograd::no_grad;
use trustformers_tensor::{DType, Device, Generator, Tensor, cuda};

/// The device counts for all tests.
static COUNTING: Mutex<()> = Mutex::new(());

/// What the emulated device has counted so far under some names; nothing of a real GPU, which does not count.
fn counted<const N: usize>(names: [&str; N]) -> Option<[u64; N]> {
    // SAFETY: the library of CUDA, which is open already, and a function as counters.cpp declares it.
    unsafe {
        let library = Library::new("libcuda.so.1").ok()?;
        let counter = library.get::<extern "C" fn(*const c_char) -> u64>(b"emulated_cuda_counter").ok()?;
        Some(names.map(|name| counter(CString::new(name).unwrap().as_ptr())))
    }
}

/// Kernels and products that were run so far, and kernels that might have begun before those in front of them were done.
fn launched() -> Option<[u64; 2]> {
    counted(["kernels", "products", "early_kernels"])
        .map(|[kernels, products, early]| [kernels + products, early])
}

/// A model on the device, in bfloat16.
fn model(class: &str, config: &str) -> Model {
    let options = LoadOptions { class: Some(class.into()), ..LoadOptions::default() };
    let model = Model::from_config(Config::from_json(config).unwrap(), &options, 3).unwrap();
    model.to_dtype(DType::BF16).unwrap().to_device(Device::Cuda(0)).unwrap()
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
        let model = model(class, &config(layers));
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

fn llama(layers: usize) -> String {
    format!(
        r#"{{"model_type": "llama", "vocab_size": 40, "hidden_size": 64, "intermediate_size": 96,
            "num_hidden_layers": {layers}, "num_attention_heads": 4, "num_key_value_heads": 2}}"#
    )
}

/// Steps of a Llama and of GPT-2, and passes over 24 tokens of a Llama and of BERT.
fn of_layers() -> [Option<[u64; 2]>; 4] {
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
    let _alone = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let is_other = env::var_os(EARLY).is_some();
    let wanted = [[6, 6], [6, 6], [9, 3], [8, 2]].map(|[all, early]| [all, if is_other { 0 } else { early }]);
    assert_eq!(of_layers(), wanted.map(Some));
    let others = [("EMULATED_CUDA_CAPABILITY", "8.0"), ("EMULATED_CUDA_DRIVER_VERSION", "12020")];
    for (name, value) in others.into_iter().filter(|_| !is_other) {
        let test = Command::new(env::current_exe().unwrap())
            .arg("layers_take")
            .env(EARLY, "0")
            .env(name, value)
            .output()
            .unwrap();
        assert!(test.status.success(), "{name}={value}: {}", String::from_utf8_lossy(&test.stdout));
    }
}

/// What the device had been asked for whenever a token was known: graphs, and waits of the processor.
struct Watch(Arc<Mutex<Vec<[u64; 2]>>>);

impl Streamer for Watch {
    fn put(&mut self, _: &Tensor) -> trustformers_generation::Result<()> {
        self.0.lock().unwrap().extend(counted(["graph_launches", "synchronizations"]));
        Ok(())
    }

    fn end(&mut self) -> trustformers_generation::Result<()> {
        Ok(())
    }
}

/// The step behind a token is asked for before the processor knows the token, and all that it waits for is one token a step.
#[test]
fn steps_do_not_wait_for_the_processor() {
    if !cuda::is_available() {
        return;
    }
    let _alone = COUNTING.lock().unwrap_or_else(PoisonError::into_inner);
    let model = model("LlamaForCausalLM", &llama(1));
    for config in [
        r#"{"max_new_tokens": 12, "eos_token_id": null}"#,
        r#"{"max_new_tokens": 12, "eos_token_id": null, "do_sample": true, "top_k": 5, "num_return_sequences": 3}"#,
    ] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let text = Text { ids: Some(table([[7, 8, 9]]).unwrap()), ..Text::default() };
        let request = Request {
            inputs: Inputs { text, ..Inputs::default() },
            streamer: Some(Box::new(Watch(seen.clone()))),
            ..Request::default()
        };
        let config = GenerationConfig::from_json(config).unwrap();
        no_grad(|| generate(&model, config, request, Generator::new(5))).unwrap();
        let Some([graphs, _]) = counted(["graph_launches", "synchronizations"]) else { return };
        let seen = seen.lock().unwrap();
        // The prompt, and the tokens: the first steps are not launched as graphs.
        let steps = &seen[seen.len() - 6..];
        assert_eq!([steps[5][0], steps[4][0], steps[3][0]], [graphs, graphs, graphs - 1]);
        assert!(steps.windows(2).all(|two| two[1][1] - two[0][1] == 1), "{steps:?}");
    }
}
