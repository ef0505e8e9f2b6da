//! A step of a language model's layers by their shapes (SmolLM2-135M's): where its time goes, kind by kind, in microseconds a step.
//!
//! `cargo bench -p trustformers-tensor --bench step -- [texts] [keys] [steps]`

use std::time::Instant;

use trustformers_tensor::ops::{Attention, LinearStep, Norm, Places, Ragged, StoreForm, Then, store_rows};
use trustformers_tensor::{
    Activation, BlockFormat, DType, Device, Generator, Matrix, Quantized, Result, Tensor, Weight, Workspace,
};

const LAYERS: usize = 30;
const WIDTH: usize = 576;
const INNER: usize = 1536;
const HEADS: usize = 9;
const KV_HEADS: usize = 3;
const HEAD: usize = 64;
const VOCABULARY: usize = 49152;

fn blocks(format: BlockFormat, rows: usize, columns: usize) -> Result<Matrix> {
    let bytes = rows * format.row_bytes(columns)?;
    let blocks = Tensor::from_slice(&vec![0x2d_u8; bytes], &[bytes])?;
    Ok(Quantized::new(format, blocks, [rows, columns])?.into())
}

struct Layer {
    qkv: Weight,
    out: Weight,
    gate_up: Weight,
    down: Weight,
    key: Tensor,
    value: Tensor,
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<usize>().ok());
    let (texts, keys) = (arguments.next().unwrap_or(1), arguments.next().unwrap_or(10));
    let steps = arguments.next().unwrap_or(200);
    let generator = Generator::new(1);
    let random = |shape: &[usize], dtype| generator.normal(shape, DType::F32)?.to_dtype(dtype);
    let q4 = |rows, columns| blocks(BlockFormat::Q4_1, rows, columns);
    let mut layers = Vec::new();
    let rows = random(&[texts * keys, KV_HEADS, HEAD], DType::F32)?;
    let places: Places = (0..texts * keys).map(|row| [row, row]).collect();
    let room = || StoreForm::F16.zeros(texts * keys, KV_HEADS, HEAD, Device::Cpu);
    for _ in 0..LAYERS {
        let (key, value) = (room()?, room()?);
        store_rows([&key, &rows], [&value, &rows], &places)?;
        layers.push(Layer {
            qkv: Weight::new([
                q4(HEADS * HEAD, WIDTH)?,
                q4(KV_HEADS * HEAD, WIDTH)?,
                q4(KV_HEADS * HEAD, WIDTH)?,
            ])?,
            out: Weight::new([q4(WIDTH, WIDTH)?])?,
            gate_up: Weight::new([q4(INNER, WIDTH)?, q4(INNER, WIDTH)?])?,
            down: Weight::new([q4(WIDTH, INNER)?])?,
            key,
            value,
        });
    }
    let head = Weight::new([blocks(BlockFormat::Q8_0, VOCABULARY, WIDTH)?])?;
    let scale = Tensor::ones(&[WIDTH], DType::F32)?;
    let norm = Some(Norm::Rms { weight: &scale, eps: 1e-5 });
    let mut ragged = Ragged::default();
    for text in 0..texts {
        ragged.push_at(1, text * keys, keys);
    }
    let x = random(&[texts, WIDTH], DType::F32)?;
    let workspace = &mut Workspace::default();
    let names = ["qkv", "attention", "out", "gate and up", "down", "head"];
    let mut times: Vec<[f64; 6]> = Vec::new();
    for _ in 0..steps {
        let mut step = [0.0; 6];
        let mut timed = |kind: usize, start: Instant| step[kind] += start.elapsed().as_secs_f64();
        for layer in &layers {
            let start = Instant::now();
            let then = Then::Activate(Activation::Identity);
            let qkv = LinearStep { x: &x, norm, weight: &layer.qkv, bias: None, then, dtype: None }
                .run(workspace)?;
            timed(0, start);
            let start = Instant::now();
            let heads = qkv.view(&[texts, HEADS + 2 * KV_HEADS, HEAD])?;
            let query = heads.narrow(1, 0, HEADS)?;
            let context = Attention::new(&query, &layer.key, &layer.value, &ragged).run()?.context;
            timed(1, start);
            let start = Instant::now();
            let then = Then::Add(&x);
            let out =
                LinearStep { x: &context, norm: None, weight: &layer.out, bias: None, then, dtype: None }
                    .run(workspace)?;
            timed(2, start);
            let start = Instant::now();
            let then = Then::Gate(Activation::Silu);
            let inner = LinearStep { x: &out, norm, weight: &layer.gate_up, bias: None, then, dtype: None }
                .run(workspace)?;
            timed(3, start);
            let start = Instant::now();
            let then = Then::Add(&out);
            let last =
                LinearStep { x: &inner, norm: None, weight: &layer.down, bias: None, then, dtype: None }
                    .run(workspace)?;
            timed(4, start);
            [qkv, out, inner, last].into_iter().for_each(|tensor| workspace.give(tensor));
        }
        let start = Instant::now();
        let then = Then::Activate(Activation::Identity);
        LinearStep { x: &x, norm, weight: &head, bias: None, then, dtype: None }.run(workspace)?;
        timed(5, start);
        times.push(step);
    }
    let mut all = 0.0;
    for (kind, name) in names.iter().enumerate() {
        let mut own: Vec<f64> = times.iter().map(|step| step[kind]).collect();
        own.sort_by(f64::total_cmp);
        all += own[own.len() / 2];
        print!("{name} {:.0}, ", own[own.len() / 2] * 1e6);
    }
    println!("all {:.0}", all * 1e6);
    Ok(())
}
