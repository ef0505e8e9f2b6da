//! What is drawn: random numbers, dropout and tokens, the same as the processor draws.

use trustformers_tensor::ops::{Distribution, Sampling};
use trustformers_tensor::{DType, Tensor};

use crate::arguments::Rows;
use crate::device::{Argument, Memory, Module};
use crate::geometry::{Geometry, drawing, elements};
use crate::{FLOATS, close, cpu, draw, launch, name, numbers, single, tolerance};

/// Seed and block of a stream, both of which need 64 bits.
const STREAM: (u64, u64) = (0xffff_ffff_0000_0007, (1 << 32) - 5);

#[test]
fn numbers_and_dropout() {
    for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64] {
        let module = Module::new("random", &[&format!("T={}", name(dtype))]);
        for count in [0usize, 1, 63, 64, 65, 5001] {
            let at = elements(count.div_ceil(2), 1);
            for (kernel, distribution) in
                [("uniform", Distribution::Uniform), ("normal", Distribution::Normal)]
            {
                let out = Memory::new(count * dtype.size());
                launch!(module, kernel, at, [&out, count as i64, STREAM.0, STREAM.1]);
                let want = cpu().random(distribution, STREAM, &[count], dtype).unwrap();
                let off = if kernel == "uniform" { 0.0 } else { tolerance(dtype) };
                close(kernel, &out.tensor(&[count], dtype), &want, off);
            }
            let x = draw(&[count], (-2.0, 2.0), dtype, 1);
            for p in [0.0, 0.1, 0.75] {
                let limit = (p * 32f64.exp2()).round() as u32;
                let out = Memory::new(count * dtype.size());
                launch!(
                    module,
                    "dropout",
                    elements(count.div_ceil(4), 1),
                    [&out, &Memory::of(&x), count as i64, limit, 1.0 / (1.0 - p), STREAM.0, STREAM.1]
                );
                let want = cpu().dropout(&x, p, STREAM).unwrap();
                close("dropout", &out.tensor(&[count], dtype), &want, 0.0);
            }
        }
    }
}

/// The token that is drawn, by a sort.
fn sampled(x: &[f64], temperature: f64, top_k: usize, top_p: f64, share: f64) -> i64 {
    let x: Vec<f64> = x.iter().map(|x| x / temperature).collect();
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sorted = x.clone();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let mut least = if top_k > 0 && top_k < x.len() { sorted[top_k - 1] } else { f64::NEG_INFINITY };
    let mass = |x: f64| (x - max).exp();
    let total: f64 = sorted.iter().filter(|&&x| x >= least).map(|&x| mass(x)).sum();
    if top_p < 1.0 {
        let mut sum = 0.0;
        for &x in sorted.iter().filter(|&&x| x >= least) {
            sum += mass(x);
            if sum >= top_p * total {
                least = x;
                break;
            }
        }
    }
    let kept: Vec<(usize, f64)> =
        x.iter().enumerate().filter(|(_, x)| **x >= least).map(|(i, &x)| (i, mass(x))).collect();
    let mut left = share * kept.iter().map(|(_, mass)| mass).sum::<f64>();
    for &(token, mass) in &kept {
        left -= mass;
        if left < 0.0 {
            return token as i64;
        }
    }
    kept.last().map_or(-1, |last| last.0 as i64)
}

/// What the kernels draw, in two grids: the product's, and one so small that blocks go on.
fn drawn(module: &Module, x: &Tensor, sampling: &Sampling, stream: (u64, u64)) -> Vec<f64> {
    let (count, width) = (x.shape()[0], x.shape()[1]);
    let logits = Memory::of(x);
    let rows = Rows::new(logits.address(), count, width, sampling);
    let draw = |(of_runs, of_rows): (Geometry, Geometry)| {
        let [zeros, others] = rows.found();
        let (zeros, others) = (Memory::of_slice(&vec![0u64; zeros]), Memory::new(8 * others));
        let rows = rows.with(zeros.address(), others.address());
        let tokens = Memory::new(8 * count);
        launch!(module, "largest", of_runs, [Argument::of(rows)]);
        for round in 0..rows.rounds {
            launch!(module, "weigh", of_runs, [Argument::of(rows), round]);
        }
        launch!(module, "keep", of_runs, [Argument::of(rows)]);
        launch!(module, "draw", of_rows, [&tokens, Argument::of(rows), stream.0, stream.1]);
        numbers(&tokens.tensor(&[count], DType::I64))
    };
    let tokens = draw(drawing(count, width));
    let small = Geometry { grid: [2, 3, 1], block: [64, 1, 1], shared: 0 };
    assert_eq!(draw((small, Geometry { grid: [2, 1, 1], ..small })), tokens);
    tokens
}

#[test]
fn tokens() {
    for dtype in FLOATS {
        let module = Module::new("sampling", &[&format!("T={}", name(dtype))]);
        for (rows, width, temperature, top_k, top_p) in [
            (1, 1, 1.0, 0, 1.0),
            (40, 7, 1.0, 0, 1.0),
            (40, 300, 0.7, 0, 0.9),
            (40, 300, 1.5, 5, 1.0),
            (40, 1000, 1.0, 50, 0.5),
            (3, 20, 1.0, 100, 1e-9),
            // Several runs, the last of one token.
            (3, 4097, 0.8, 600, 0.9),
        ] {
            let x = draw(&[rows, width], (-6.0, 6.0), dtype, 1);
            let sampling =
                Sampling { temperature: temperature as f32, top_k, top_p: top_p as f32, min_p: 0.0 };
            let got = drawn(&module, &x, &sampling, (7, 100));
            if dtype == DType::F32 {
                assert_eq!(got, numbers(&cpu().sample(&x, &sampling, (7, 100)).unwrap()));
            }
            let uniform = cpu().random(Distribution::Uniform, (7, 100), &[2 * rows], DType::F64).unwrap();
            let (shares, logits) = (numbers(&uniform), numbers(&single(&x)));
            for (row, got) in got.iter().enumerate() {
                let logits = &logits[row * width..][..width];
                // Sums in another order may choose a neighbour where the share lies between two.
                let near = [0.0, 1e-6, -1e-6].map(|off| {
                    sampled(logits, temperature, top_k, top_p, (shares[2 * row] + off).clamp(0.0, 1.0)) as f64
                });
                assert!(near.contains(got), "{dtype} row {row} of {rows} x {width}: {got}, not {near:?}");
            }
        }
        let broken =
            [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2], [f32::NEG_INFINITY, 3.0]];
        let x = Tensor::from_slice(broken.as_flattened(), &[4, 2]).unwrap().to_dtype(dtype).unwrap();
        assert_eq!(drawn(&module, &x, &Sampling::default(), (7, 0)), [-1.0, -1.0, -1.0, 1.0]);
    }
    // As often as they should.
    let module = Module::new("sampling", &["T=f32"]);
    let row = Tensor::from_slice(&[0.0f32, f32::NEG_INFINITY, 2f32.ln(), 0.0], &[1, 4]).unwrap();
    let x = row.expand(&[2000, 4]).unwrap();
    let often = |min_p: f32, token: f64| {
        let tokens = drawn(&module, &x, &Sampling { min_p, ..Sampling::default() }, (3, 0));
        tokens.iter().filter(|&&other| other == token).count()
    };
    assert_eq!(often(0.0, 1.0), 0);
    assert!((900..1100).contains(&often(0.0, 2.0)), "{}", often(0.0, 2.0));
    assert_eq!([often(0.4, 2.0) < 1100, often(0.6, 2.0) == 2000], [true; 2]);
}
