//! How long one attention takes: the median of many runs in microseconds, and what share of it is multiplications.
//!
//! `cargo bench -p trustformers-tensor --bench attention [case]`

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
}

fn cases() -> Vec<Case> {
    let case = |name, sequences, heads, kv_heads, causal| {
        let mask = Mask { causal, window: None };
        Case { name, sequences, heads, kv_heads, head_dim: 64, mask }
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
    ]
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let filter = std::env::args().nth(1).filter(|arg| !arg.starts_with('-'));
    for case in cases() {
        if filter.as_ref().is_some_and(|filter| filter != case.name) {
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
        let [query, key, value] = if rows == key_rows {
            let fused = random(&[rows, heads + 2 * kv_heads, dim])?;
            [(0, heads), (heads, heads + kv_heads), (heads + kv_heads, heads + 2 * kv_heads)]
                .map(|(from, to)| fused.narrow(1, from, to))
        } else {
            [
                random(&[rows, heads, dim]),
                random(&[key_rows, kv_heads, dim]),
                random(&[key_rows, kv_heads, dim]),
            ]
        };
        let (query, key, value) = (query?, key?, value?);
        let attention = Attention { mask: case.mask, ..Attention::new(&query, &key, &value, &ragged) };
        let mut times = Vec::new();
        let begun = Instant::now();
        while times.len() < 5 || begun.elapsed().as_secs_f64() < 0.5 {
            let start = Instant::now();
            black_box(attention.run()?);
            times.push(start.elapsed().as_secs_f64());
        }
        times.sort_by(f64::total_cmp);
        let (time, best) = (times[times.len() / 2], times[0]);
        println!(
            "{:26} {:10.1} us {:10.1} best {:7.1} GFLOP/s",
            case.name,
            time * 1e6,
            best * 1e6,
            work as f64 / time / 1e9
        );
    }
    Ok(())
}
