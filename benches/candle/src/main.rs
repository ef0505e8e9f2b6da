//! candle's models behind the protocol of `worker.py serve`: `candle-peer SETTINGS` answers in a line of JSON what it can be
//! asked for, and each line `{"workload": …, "seconds": …}` with the median time of a call, `{"ms": …}`.

mod encoder;
mod gpt2;

use std::io::BufRead;
use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::quantized::gguf_file;
use candle_core::{Device, Error, Result, Tensor};
use candle_transformers::models::quantized_llama::ModelWeights;
use serde_json::{Value, json};

use encoder::Encoder;
use gpt2::Gpt2;

const WORKLOADS: [&str; 7] = [
    "BERT-base f32, 1 x 16",
    "BERT-base f32, 8 x 128",
    "BERT-base f32, 1 x 512",
    "MiniLM f32, 64 ragged sentences",
    "GPT-2 f32, 32 tokens",
    "SmolLM2 Q4_1, 32 tokens",
    "SmolLM2 Q4_1, 512 prompt tokens",
];
/// Those of which the fastest is taken.
const BATCH_SIZES: [usize; 5] = [4, 8, 16, 32, 64];

type Call = Box<dyn FnMut() -> Result<()>>;

/// A model that says what comes next.
pub trait Language {
    /// Begin a new text.
    fn forget(&mut self);

    /// The scores of what follows `ids`, which stand behind `past` others: (vocabulary).
    fn scores(&mut self, ids: &[u32], past: usize) -> Result<Tensor>;
}

impl Language for ModelWeights {
    fn forget(&mut self) {
        self.clear_kv_cache();
    }

    fn scores(&mut self, ids: &[u32], past: usize) -> Result<Tensor> {
        self.forward(&Tensor::new(ids, &Device::Cpu)?.unsqueeze(0)?, past)?.squeeze(0)
    }
}

fn main() -> Result<()> {
    let settings = std::env::args().nth(1).ok_or_else(|| Error::msg("Usage: candle-peer SETTINGS"))?;
    let settings: Value = serde_json::from_str(&settings).map_err(Error::wrap)?;
    println!("{}", json!(WORKLOADS));
    let mut ready: Option<(String, Call)> = None;
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?).map_err(Error::wrap)?;
        let name = text(&request, "workload")?;
        if ready.as_ref().is_none_or(|(which, _)| which != name) {
            drop(ready.take());
            ready = Some((name.to_owned(), open(name, &settings)?));
        }
        if let Some((_, call)) = &mut ready {
            call()?;
            let seconds = request["seconds"].as_f64().unwrap_or_default();
            println!("{}", json!({ "ms": median(call, seconds)? * 1e3 }));
        }
    }
    Ok(())
}

/// Seconds of a call, of three at least and of as many as there is time for.
fn median(call: &mut Call, seconds: f64) -> Result<f64> {
    let mut times = Vec::new();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while times.len() < 3 || Instant::now() < end {
        let start = Instant::now();
        call()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok((times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2.0)
}

/// What a workload calls, its model opened.
fn open(workload: &str, settings: &Value) -> Result<Call> {
    let (model, what) = workload.split_once(", ").ok_or_else(|| Error::msg(workload))?;
    let folder = |name: &str| -> Result<_> { Ok(Path::new(text(settings, "models")?).join(name)) };
    match model {
        "BERT-base f32" => forward(Encoder::open(&folder("bert")?)?, what),
        "MiniLM f32" => sentences(Encoder::open(Path::new(text(settings, "minilm")?))?, settings),
        "GPT-2 f32" => Ok(write(Gpt2::open(&folder("gpt2")?)?, what)),
        _ => {
            let mut file = std::fs::File::open(text(settings, "smollm2")?)?;
            let content = gguf_file::Content::read(&mut file)?;
            Ok(write(ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?, what))
        }
    }
}

fn text<'a>(object: &'a Value, name: &str) -> Result<&'a str> {
    object[name].as_str().ok_or_else(|| Error::msg(format!("{name} is missing")))
}

/// "batch x length" of ids through an encoder.
fn forward(encoder: Encoder, shape: &str) -> Result<Call> {
    let sizes: Vec<usize> = shape.split(" x ").filter_map(|size| size.parse().ok()).collect();
    let count = sizes.iter().product::<usize>() as u32;
    let ids = Tensor::from_iter((0..count).map(|i| 1000 + i * 13 % 19000), &Device::Cpu)?.reshape(sizes)?;
    Ok(Box::new(move || encoder.forward(&ids).map(drop)))
}

fn sentences(encoder: Encoder, settings: &Value) -> Result<Call> {
    let texts = settings["texts"].as_array().into_iter().flatten();
    let texts: Vec<String> = texts.filter_map(Value::as_str).map(str::to_owned).collect();
    let mut fastest = (f64::INFINITY, BATCH_SIZES[0]);
    for size in BATCH_SIZES {
        encoder.embed(&texts, size)?;
        let start = Instant::now();
        encoder.embed(&texts, size)?;
        let seconds = start.elapsed().as_secs_f64();
        if seconds < fastest.0 {
            fastest = (seconds, size);
        }
    }
    Ok(Box::new(move || encoder.embed(&texts, fastest.1).map(drop)))
}

/// "32 tokens" behind a short prompt, or one behind "512 prompt tokens".
fn write(mut model: impl Language + 'static, what: &str) -> Call {
    let (prompt, tokens) = if what.contains("prompt") { (512, 1) } else { (10, 32) };
    let prompt: Vec<u32> = (0..prompt).map(|place| 100 + 13 * place % 20000).collect();
    Box::new(move || {
        model.forget();
        let mut scores = model.scores(&prompt, 0)?;
        for written in 1..tokens {
            let likeliest = scores.argmax(0)?.to_scalar::<u32>()?;
            scores = model.scores(&[likeliest], prompt.len() + written - 1)?;
        }
        scores.argmax(0)?.to_scalar::<u32>().map(drop)
    })
}
