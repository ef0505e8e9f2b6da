//! Products with weights as they are stored, from few rows (decoding: bytes read per second, beside what the memory gives) to many (reading a
//! prompt: GFLOP/s). Each takes its turn with weights that exceed the caches, as the layers of a model do.
//!
//! `cargo bench -p trustformers-tensor --bench decode [filter] [rows] [MiB]`: the last are the weights that a measurement goes round.

use std::hint::black_box;
use std::time::Instant;

use trustformers_tensor::ops::linear;
use trustformers_tensor::pool::num_threads;
use trustformers_tensor::{
    Activation, BlockFormat, DType, Generator, Matrix, Quantized, Result, Tensor, Weight,
};

const OUTPUTS: usize = 3072;
const INNER: usize = 768;
/// Weights that a measurement goes round, if nothing else is said.
const MIB: usize = 96;

/// The least time of many, and the median.
fn measure(mut work: impl FnMut() -> Result<()>) -> Result<(f64, f64)> {
    let (mut times, begun) = (Vec::new(), Instant::now());
    while times.len() < 20 || begun.elapsed().as_secs_f64() < 0.5 {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok((times[0], times[times.len() / 2]))
}

/// Bytes that all threads together read in a second, each its own part of something large.
fn bandwidth() -> Result<f64> {
    let large = vec![1u64; 32 << 20];
    let part = large.len() / num_threads();
    let (best, _) = measure(|| {
        std::thread::scope(|scope| {
            for part in large.chunks_exact(part) {
                scope.spawn(move || {
                    let mut sums = [0u64; 32];
                    for line in part.as_chunks::<32>().0 {
                        sums.iter_mut().zip(line).for_each(|(sum, x)| *sum ^= x);
                    }
                    black_box(sums);
                });
            }
        });
        Ok(())
    })?;
    Ok((part * num_threads() * 8) as f64 / best)
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let (filter, only) = (arguments.next().unwrap_or_default(), arguments.next());
    let only: Option<usize> = only.and_then(|only| only.parse().ok());
    let around = arguments.next().and_then(|mib| mib.parse().ok()).unwrap_or(MIB) << 20;
    let generator = Generator::new(1);
    let dense = |shape: &[usize], dtype| generator.normal(shape, DType::F32)?.to_dtype(dtype);
    let bandwidth = bandwidth()?;
    println!("memory read by {} threads: {:.1} GB/s", num_threads(), bandwidth / 1e9);
    type Make<'a> = Box<dyn Fn() -> Result<Matrix> + 'a>;
    let mut cases: Vec<(String, usize, Make)> = Vec::new();
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let bytes = OUTPUTS * INNER * dtype.size();
        cases.push((dtype.to_string(), bytes, Box::new(move || Ok(dense(&[OUTPUTS, INNER], dtype)?.into()))));
        let transposed = move || Ok(dense(&[INNER, OUTPUTS], dtype)?.mt()?.into());
        cases.push((format!("{dtype} transposed"), bytes, Box::new(transposed)));
    }
    for &format in BlockFormat::ALL {
        let bytes = OUTPUTS * format.row_bytes(INNER)?;
        // Small scales wherever a format has them.
        let make = move || {
            let blocks = Tensor::from_slice(&vec![0x2d_u8; bytes], &[bytes])?;
            Ok(Quantized::new(format, blocks, [OUTPUTS, INNER])?.into())
        };
        cases.push((format.to_string(), bytes, Box::new(make)));
    }
    for (name, bytes, make) in &cases {
        if !name.contains(&filter) {
            continue;
        }
        let weights =
            (0..around.div_ceil(*bytes)).map(|_| Weight::new([make()?])).collect::<Result<Vec<_>>>()?;
        print!("{name:20}");
        for rows in [1, 2, 4, 8, 16, 512] {
            if only.is_some_and(|only| only != rows) {
                continue;
            }
            let x = generator.normal(&[rows, INNER], DType::F32)?;
            let mut next = 0;
            let (best, median) = measure(|| {
                next = (next + 1) % weights.len();
                black_box(linear(&x, &weights[next], None, Activation::Identity)?);
                Ok(())
            })?;
            let (rate, share) = (*bytes as f64 / best, *bytes as f64 / best / bandwidth);
            if rows <= 16 {
                print!(
                    " | {rows:2}: {:6.1} us ({:6.1}), {:5.1} GB/s {:3.0} %",
                    best * 1e6,
                    median * 1e6,
                    rate / 1e9,
                    100.0 * share
                );
            } else {
                let flops = 2.0 * (rows * INNER * OUTPUTS) as f64;
                print!(
                    " | {rows}: {:7.0} us ({:7.0}), {:6.1} GFLOP/s",
                    best * 1e6,
                    median * 1e6,
                    flops / best / 1e9
                );
            }
        }
        println!();
    }
    Ok(())
}
