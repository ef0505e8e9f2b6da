//! What a pass and a step ask the system for once they run steadily: handles, and no memory for numbers. A test of its own, because it counts
//! what the whole process asks for.

#![allow(clippy::unwrap_used)] // What goes wrong here fails the test.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use trustformers_generation::{GenerationConfig, Request, generate, table};
use trustformers_models::{Config, Inputs, LoadOptions, Model, Text};
use trustformers_tensor::autograd::no_grad;
use trustformers_tensor::{Generator, Tensor};

/// Below this the allocator of the system is as good as a cache.
const LARGE: usize = 64 << 10;

/// The system's allocator, which counts.
struct Counting;

static LARGE_ONES: AtomicUsize = AtomicUsize::new(0);
static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGE_ONES.fetch_add(usize::from(layout.size() >= LARGE), Ordering::Relaxed);
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as for this function.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// How many large blocks, and how many bytes in all, `work` asks for at the least: a thread that loses its core while it holds the idle memory
/// sends others to the system.
fn asked(work: impl Fn()) -> [usize; 2] {
    let now = || [&LARGE_ONES, &BYTES].map(|count| count.load(Ordering::Relaxed));
    let once = |_| {
        let before = now();
        work();
        let after = now();
        [0, 1].map(|i| after[i] - before[i])
    };
    (0..8).map(once).min().unwrap()
}

fn model(class: &str, config: &str) -> Model {
    let options = LoadOptions { class: Some(class.into()), ..LoadOptions::default() };
    Model::from_config(Config::from_json(config).unwrap(), &options, 3).unwrap()
}

fn inputs(ids: Tensor) -> Inputs {
    Inputs { text: Text { ids: Some(ids), ..Text::default() }, ..Inputs::default() }
}

#[test]
fn what_runs_steadily_asks_for_no_memory() {
    let decoder = model(
        "LlamaForCausalLM",
        r#"{"model_type": "llama", "vocab_size": 30000, "hidden_size": 256, "intermediate_size": 20000, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2}"#,
    );
    let write = |tokens: usize| {
        let wish = format!(r#"{{"max_new_tokens": {tokens}, "eos_token_id": null}}"#);
        let request = Request { inputs: inputs(table([[7, 8, 9]]).unwrap()), ..Request::default() };
        generate(&decoder, GenerationConfig::from_json(&wish).unwrap(), request, Generator::new(5)).unwrap();
    };
    write(60);
    // Both lengths have the same room in the cache of keys and values: what differs is twenty steps.
    let [short, long] = [40, 60].map(|tokens| asked(|| write(tokens)));
    assert_eq!(long[0], short[0], "large blocks in twenty steps");
    let step = (long[1] - short[1]) / 20;
    assert!(step < 64 << 10, "{step} bytes in a step, the scores of which alone are 120,000");

    let encoder = model(
        "BertModel",
        r#"{"model_type": "bert", "vocab_size": 100, "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 2,
            "num_attention_heads": 4}"#,
    );
    let ids = Tensor::from_slice(&[7i64; 512], &[4, 128]).unwrap();
    let pass = || {
        no_grad(|| encoder.forward(&inputs(ids.clone()), None).unwrap());
    };
    (0..3).for_each(|_| pass());
    let [large, bytes] = asked(pass);
    assert_eq!(large, 0, "large blocks in a pass");
    assert!(bytes < 128 << 10, "{bytes} bytes in a pass, whose results alone are half a million");
}
