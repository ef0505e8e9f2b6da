//! How long operations take: one line each, the median of many runs. For comparison beside NumPy or torch, with as many threads.
//!
//! `cargo bench -p trustformers-tensor --bench ops [filter]`

use std::hint::black_box;
use std::time::Instant;

use trustformers_tensor::ops::{layer_norm, linear};
use trustformers_tensor::{Activation, DType, Generator, Result, Tensor, Weight};

#[allow(clippy::print_stdout)]
fn median(name: &str, bytes: usize, mut work: impl FnMut() -> Result<()>) -> Result<()> {
    let filter = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    if filter.is_some_and(|filter| !name.contains(&filter)) {
        return Ok(());
    }
    work()?;
    let begun = Instant::now();
    work()?;
    // Short work is repeated within one measurement, long work is measured at least nine times.
    let inner = (2e-4 / begun.elapsed().as_secs_f64()).clamp(1.0, 1e5) as usize;
    let mut times = Vec::new();
    let begun = Instant::now();
    while times.len() < 9 || begun.elapsed().as_secs_f64() < 0.4 {
        let start = Instant::now();
        for _ in 0..inner {
            work()?;
        }
        times.push(start.elapsed().as_secs_f64() / inner as f64);
    }
    times.sort_by(f64::total_cmp);
    let time = times[times.len() / 2];
    let rate = if bytes > 0 { format!("{:8.2} GB/s", bytes as f64 / time / 1e9) } else { String::new() };
    println!("{name:34} {:12.3} us {rate}", time * 1e6);
    Ok(())
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let generator = Generator::new(1);
    let normal = |shape: &[usize]| generator.normal(shape, DType::F32);
    let run = |result: Result<Tensor>| result.map(|tensor| drop(black_box(tensor)));

    let (small, other) = (normal(&[64])?, normal(&[64])?);
    median("add 64", 0, || run(small.add(&other)))?;
    median("add scalar 64", 0, || run(small.add(1.5)))?;
    median("exp 64", 0, || run(small.exp()))?;
    median("sum 64", 0, || run(small.sum_all()))?;
    median("gt 64", 0, || run(small.gt(&other)))?;
    median("view 64", 0, || run(small.view(&[8, 8])))?;

    let (x, y) = (normal(&[8192, 4096])?, normal(&[8192, 4096])?);
    let size = 8192 * 4096 * 4;
    let (bias, ints) = (normal(&[4096])?, x.mul(100.0)?.to_dtype(DType::I32)?);
    median("add", 3 * size, || run(x.add(&y)))?;
    median("add in place", 3 * size, || x.add_(&y))?;
    median("mul scalar", 2 * size, || run(x.mul(1.0000001)))?;
    median("add bias", 2 * size, || run(x.add(&bias)))?;
    median("add int32", 3 * size, || run(ints.add(&ints)))?;
    median("copy", 2 * size, || run(x.copy()))?;
    median("copy transposed", 2 * size, || run(x.mt()?.copy()))?;
    median("to bfloat16", size + size / 2, || run(x.to_dtype(DType::BF16)))?;
    median("gt", 2 * size + size / 4, || run(x.gt(&y)))?;
    for (name, work) in [
        ("exp", Tensor::exp as fn(&Tensor) -> Result<Tensor>),
        ("log", Tensor::log),
        ("tanh", Tensor::tanh),
        ("erf", Tensor::erf),
        ("sqrt", Tensor::sqrt),
    ] {
        median(name, 2 * size, || run(work(&x)))?;
    }
    median("sum", size, || run(x.sum_all()))?;
    median("sum rows", size, || run(x.sum(&[1], false)))?;
    median("sum columns", size, || run(x.sum(&[0], false)))?;
    median("max", size, || run(x.amax(&[], false)))?;
    median("argmax rows", size, || run(x.argmax(Some(1), false)))?;
    drop((x, y, ints));

    let x = normal(&[4096, 768])?;
    let (scale, shift) = (normal(&[768])?, normal(&[768])?);
    median("softmax 4096x768", 0, || run(x.softmax(-1)))?;
    median("layer_norm 4096x768", 0, || run(layer_norm(&x, None, &scale, Some(&shift), 1e-5)))?;
    median("gelu 4096x768", 0, || run(x.gelu()))?;
    let (weight, bias) = (normal(&[3072, 768])?, normal(&[3072])?);
    let packed = Weight::new(vec![weight.clone()])?;
    median("linear 4096x768 by 3072", 0, || run(linear(&x, &packed, Some(&bias), Activation::Identity)))?;
    median("matmul 4096x768 by 3072", 0, || run(x.matmul(&weight.mt()?)))?;
    let leaves = [x.copy()?, weight.copy()?, bias.copy()?];
    for leaf in &leaves {
        leaf.set_requires_grad(true)?;
    }
    let trained = Weight::new(vec![leaves[1].clone()])?;
    let gradient = normal(&[4096, 3072])?;
    median("linear forward and backward", 0, || {
        leaves.iter().try_for_each(|leaf| leaf.set_grad(None))?;
        linear(&leaves[0], &trained, Some(&leaves[2]), Activation::Identity)?.backward(Some(&gradient))
    })?;
    median("layer_norm forward and backward", 0, || {
        leaves[0].set_grad(None)?;
        layer_norm(&leaves[0], None, &scale, Some(&shift), 1e-5)?.backward(Some(&x))
    })?;
    median("gelu forward and backward", 0, || {
        leaves[0].set_grad(None)?;
        leaves[0].gelu()?.backward(Some(&x))
    })?;
    median("softmax forward and backward", 0, || {
        leaves[0].set_grad(None)?;
        leaves[0].softmax(-1)?.backward(Some(&x))
    })?;
    Ok(())
}
