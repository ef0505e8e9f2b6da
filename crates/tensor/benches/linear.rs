//! Linear layers of the sizes that models have, prepacked: time and GFLOP/s, for comparison beside torch with as many threads.
//!
//! `cargo bench -p trustformers-tensor --bench linear [rows]`

use std::hint::black_box;
use std::time::Instant;

use trustformers_tensor::ops::linear;
use trustformers_tensor::{Activation, DType, Generator, Result, Weight};

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let generator = Generator::new(1);
    let normal = |shape: &[usize]| generator.normal(shape, DType::F32);
    let only: Option<usize> = std::env::args().skip(1).find_map(|arg| arg.parse().ok());
    for (inner, outputs) in
        [(384, 1152), (384, 384), (384, 1536), (1536, 384), (512, 2048), (768, 3072), (3072, 768)]
    {
        // As many weights as exceed the caches, as in a model of many layers.
        let copies = (64 << 20) / (inner * outputs * 4);
        let weights =
            (0..copies).map(|_| Weight::new(vec![normal(&[outputs, inner])?])).collect::<Result<Vec<_>>>()?;
        let bias = normal(&[outputs])?;
        for rows in [1, 2, 4, 8, 16, 32, 64, 128, 512, 1024, 4096] {
            if only.is_some_and(|only| only != rows) {
                continue;
            }
            let x = normal(&[rows, inner])?;
            let time = |weights: &[Weight]| -> Result<(f64, f64)> {
                let (mut times, mut next) = (Vec::new(), 0);
                let begun = Instant::now();
                while times.len() < 9 || begun.elapsed().as_secs_f64() < 0.2 {
                    let start = Instant::now();
                    black_box(linear(&x, &weights[next], Some(&bias), Activation::Identity)?);
                    times.push(start.elapsed().as_secs_f64());
                    next = (next + 1) % weights.len();
                }
                times.sort_by(f64::total_cmp);
                Ok((times[times.len() / 2], times[0]))
            };
            let rate = |time: f64| 2e-9 * (rows * inner * outputs) as f64 / time;
            let ((median, least), (cold, _)) = (time(&weights[..1])?, time(&weights)?);
            println!(
                "{rows:5} x {inner:4} by {outputs:4}: {:9.1} us (least {:9.1}), {:6.1} GFLOP/s (most {:6.1}); many weights {:9.1} us, {:6.1} GB/s",
                median * 1e6,
                least * 1e6,
                rate(median),
                rate(least),
                cold * 1e6,
                4e-9 * (inner * outputs) as f64 / cold,
            );
        }
    }
    Ok(())
}
