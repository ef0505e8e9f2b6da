//! How long one attention takes: the median of many runs in microseconds, how many multiplications that is, and how many bytes of keys and
//! values. `far` ones are read by layers in turn, which together exceed the caches, as those of a model do.
//!
//! `cargo bench -p trustformers-tensor --bench attention -- [filter]`

use std::hint::black_box;
use std::time::Instant;

use trustformers_tensor::ops::{Attention, Mask, Ragged};
use trustformers_tensor::{DType, Generator, Result};

/// Sequences as (rows, keys), heads, heads of keys, size of a head.
struct Case {
    name: &'static str,
    sequences: Vec<(usize, usize)>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    mask: Mask,
    /// What keys and values are kept as.
    dtype: DType,
    layers: usize,
}

fn cases() -> Vec<Case> {
    let case = |name, sequences, heads, kv_heads, causal| {
        let mask = Mask { causal, window: None };
        Case { name, sequences, heads, kv_heads, head_dim: 64, mask, dtype: DType::F32, layers: 1 }
    };
    let step = |name, keys, heads, kv_heads, dtype, layers| Case {
        dtype,
        layers,
        ..case(name, vec![(1, keys)], heads, kv_heads, true)
    };
    let ragged = (0..64).map(|i| 4 + (i * 37) % 125).map(|rows| (rows, rows)).collect();
    vec![
        case("8x128", vec![(128, 128); 8], 12, 12, false),
        case("1x512", vec![(512, 512)], 12, 12, false),
        case("1x16", vec![(16, 16)], 12, 12, false),
        case("64 ragged", ragged, 12, 12, false),
        case("causal 1x1024", vec![(1024, 1024)], 32, 8, true),
        case("causal 1x4096", vec![(4096, 4096)], 12, 12, true),
        case("decode 1000", vec![(1, 1000)], 12, 12, true),
        case("decode 4000", vec![(1, 4000)], 12, 12, true),
        case("decode 16x1000", vec![(1, 1000); 16], 12, 12, true),
        case("decode 1000 grouped", vec![(1, 1000)], 32, 8, true),
        case("decode 16x1000 grouped", vec![(1, 1000); 16], 32, 8, true),
        case("decode 4000 one kv head", vec![(1, 4000)], 8, 1, true),
        step("step 64, near", 64, 9, 3, DType::F16, 1),
        step("step 1000, near", 1000, 9, 3, DType::F16, 1),
        step("step 1000, far", 1000, 9, 3, DType::F16, 240),
        step("step 4000, far", 4000, 9, 3, DType::F16, 60),
        step("step 1000 of GPT-2 float16, far", 1000, 12, 12, DType::F16, 60),
        step("step 1000 of GPT-2 float32, far", 1000, 12, 12, DType::F32, 30),
    ]
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    for case in cases() {
        if filter.as_ref().is_some_and(|filter| !case.name.contains(filter.as_str())) {
            continue;
        }
        let mut ragged = Ragged::default();
        let mut work = 0;
        let (mut rows, mut key_rows) = (0, 0);
        for &(own, keys) in &case.sequences {
            ragged.push_at(own, key_rows, keys);
            (rows, key_rows) = (rows + own, key_rows + keys);
            let last = ragged.sequences().last().copied();
            let seen = |s| (0..own).map(|row| case.mask.visible(s, row).len()).sum::<usize>();
            work += last.as_ref().map_or(0, seen) * case.heads * case.head_dim * 4;
        }
        let random = |shape: &[usize]| Generator::new(1).normal(shape, DType::F32);
        let (heads, kv_heads, dim) = (case.heads, case.kv_heads, case.head_dim);
        // Where rows are their own keys, query, key and value are parts of one product.
        let fused = random(&[rows, heads + 2 * kv_heads, dim])?;
        let query = fused.narrow(1, 0, heads)?;
        let store = random(&[key_rows, kv_heads, dim])?.to_dtype(case.dtype)?;
        let kept = |first: usize| match rows == key_rows {
            true => fused.narrow(1, first, first + kv_heads),
            false => store.copy(),
        };
        let layers = (0..case.layers)
            .map(|_| Ok([kept(heads)?, kept(heads + kv_heads)?]))
            .collect::<Result<Vec<_>>>()?;
        let (mut times, mut next) = (Vec::new(), 0);
        let begun = Instant::now();
        while times.len() < 5 || begun.elapsed().as_secs_f64() < 0.5 {
            next = (next + 1) % layers.len();
            let [key, value] = &layers[next];
            let attention = Attention { mask: case.mask, ..Attention::new(&query, key, value, &ragged) };
            let start = Instant::now();
            black_box(attention.run()?);
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let (time, best) = (times[times.len() / 2], times[0]);
        println!(
            "{:32} {:10.1} us {:10.1} best {:7.1} GFLOP/s {:6.1} GB/s",
            case.name,
            time * 1e6,
            best * 1e6,
            work as f64 / time / 1e9,
            (2 * key_rows * kv_heads * dim * case.dtype.size()) as f64 / time / 1e9
        );
    }
    Ok(())
}
