//! Every level against integers and floats that are added up one by one, to the bit.

use proptest::prelude::*;

use super::*;
use crate::testing::draw;
use crate::{DType, Matrix, Tensor};

fn numbers(shape: &[usize], range: (f64, f64), seed: u64) -> Vec<f32> {
    let drawn = draw(shape, range, seed).to_dtype(DType::F32).unwrap();
    drawn.as_slice::<f32>().unwrap().to_vec()
}

/// Codes of all values, and scales that differ.
fn codes([rows, columns]: [usize; 2], seed: u64) -> Matrix {
    let row_bytes = BlockFormat::Int8.row_bytes(columns).unwrap();
    let noise = draw(&[rows * row_bytes], (0.0, 256.0), seed).to_dtype(DType::U8).unwrap();
    let mut bytes = noise.as_slice::<u8>().unwrap().to_vec();
    for (row, bytes) in bytes.chunks_exact_mut(row_bytes).enumerate() {
        bytes[..4].copy_from_slice(&(0.01 + 0.001 * (row % 17) as f32).to_le_bytes());
    }
    let blocks = Tensor::from_slice(&bytes, &[bytes.len()]).unwrap();
    Quantized::new(BlockFormat::Int8, blocks, [rows, columns]).unwrap().into()
}

/// The product, which is the same where panels are made as it goes along and where they are there.
fn run(level: Level, x: &[f32], parts: &[Matrix], finish: Finish) -> Vec<f32> {
    let kept: Vec<_> =
        parts.iter().map(|part| Some(Interleaved::of(part.quantized().unwrap()).unwrap())).collect();
    let [made, kept] = [&[][..], &kept].map(|interleaved| {
        let quads = Quads::of(parts, interleaved).unwrap();
        let mut out = vec![MaybeUninit::uninit(); x.len() / quads.inner * quads.outputs];
        quads.product_at(level, x, finish, &mut out).unwrap();
        // SAFETY: a product writes every element.
        out.into_iter().map(|x| unsafe { x.assume_init() }).collect::<Vec<f32>>()
    });
    same(&kept, &made, "panels that are there");
    made
}

/// A row's scale, zero and codes, and that they are what they should be.
fn rounded(row: &[f32]) -> (f32, i64, Vec<i64>) {
    let (low, high) = row.iter().fold((0.0_f32, 0.0_f32), |(low, high), &x| (low.min(x), high.max(x)));
    let codes = Codes::round(row, [1, row.len()]).unwrap();
    let ((scale, zero), quads) = (codes.rows().header(0), codes.rows().quads(0));
    let zero = i64::from(zero);
    let bytes: Vec<u8> = quads.iter().flat_map(|quad| quad.to_ne_bytes()).take(row.len()).collect();
    let steps = f64::from(high) / 255.0 - f64::from(low) / 255.0;
    assert!((f64::from(scale) - steps).abs() <= 1e-6 * steps);
    for (&x, &byte) in row.iter().zip(&bytes) {
        let back = f64::from(scale) * (i64::from(byte) - zero) as f64;
        // Half a step, or a whole one at the ends, where the zero was rounded the other way.
        let most = if byte == 0 || byte == 255 { 1.001 } else { 0.501 } * f64::from(scale);
        assert!((back - f64::from(x)).abs() <= most, "{x} became {back}, with steps of {scale}");
        assert!(x != 0.0 || back == 0.0);
    }
    (scale, zero, bytes.iter().map(|&byte| i64::from(byte)).collect())
}

/// `map(x partsᵀ + bias) + add` from sums of 64 bits.
fn reference(x: &[f32], parts: &[Matrix], bias: &[f32], relu: bool, add: Option<&[f32]>) -> Vec<f32> {
    let columns = parts[0].shape()[1];
    let mut out = Vec::new();
    for row in x.chunks_exact(columns) {
        let (scale, zero, codes) = rounded(row);
        for part in parts.iter().map(|part| part.quantized().unwrap()) {
            for weights in part.blocks().unwrap().as_slice::<u8>().unwrap().chunks_exact(4 + columns) {
                let (header, weights) = weights.split_first_chunk().unwrap();
                let sum: i64 = codes.iter().zip(weights).map(|(x, &w)| (x - zero) * i64::from(w as i8)).sum();
                let sum = i32::try_from(sum).unwrap();
                let value = sum as f32 * (scale * f32::from_le_bytes(*header)) + bias[out.len() % bias.len()];
                let value = if relu && value < 0.0 { 0.0 } else { value };
                out.push(add.map_or(value, |add| value + add[out.len()]));
            }
        }
    }
    out
}

fn relu(x: &[f32], out: &mut [MaybeUninit<f32>]) {
    for (out, &x) in out.iter_mut().zip(x) {
        out.write(if x < 0.0 { 0.0 } else { x });
    }
}

/// As floats, so that nan is nan.
#[track_caller]
fn same(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!(got == want || (got.is_nan() && want.is_nan()), "{what}: {got} at {i}, not {want}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn every_level_gives_the_same_bits(
        rows in 1usize..70, columns in 1usize..300, outputs in [1usize..90, 1usize..40],
        ends in (-4.0..1.0, 1.0..4.0), with_map: bool, with_add: bool, seed in 0u64..1000,
    ) {
        let x = numbers(&[rows, columns], ends, seed);
        let parts = [codes([outputs[0], columns], seed + 1), codes([outputs[1], columns], seed + 2)];
        let total = outputs[0] + outputs[1];
        let bias = numbers(&[total], (-1.0, 1.0), seed + 3);
        let add = with_add.then(|| numbers(&[rows, total], (-1.0, 1.0), seed + 4));
        let map = if with_map { Some(relu as crate::cpu::gemm::Map<f32>) } else { None };
        let want = reference(&x, &parts, &bias, with_map, add.as_deref());
        for level in Level::available() {
            let finish = Finish { bias: Some(&bias), map, add: add.as_deref(), gates: false };
            same(&run(level, &x, &parts, finish), &want, &format!("{level:?}"));
        }
    }
}

#[test]
fn tasks_do_not_change_the_bits() {
    // So many that every thread gets some, by rows and by columns.
    let (rows, columns, outputs) = (1200, 2000, 100);
    let (x, parts) = (numbers(&[rows, columns], (-1.0, 2.0), 1), [codes([outputs, columns], 2)]);
    for level in Level::available().filter(|&level| level > Level::Portable) {
        let all = run(level, &x, &parts, Finish::default());
        for row in [0, 13, 14, 600, rows - 1] {
            let alone = run(level, &x[row * columns..][..columns], &parts, Finish::default());
            same(&all[row * outputs..][..outputs], &alone, &format!("{level:?}, row {row}"));
        }
    }
}

#[test]
fn a_row_of_zeros_and_one_that_is_not_finite_concern_no_other() {
    let (columns, outputs) = (37, 9);
    let (parts, bias) = ([codes([outputs, columns], 1)], numbers(&[outputs], (-1.0, 1.0), 2));
    let mut x = numbers(&[7, columns], (-1.0, 1.0), 3);
    x[columns..2 * columns].fill(0.0);
    x[2 * columns + 5] = f32::NAN;
    x[3 * columns + 36] = f32::INFINITY;
    x[4 * columns] = f32::NEG_INFINITY;
    x[5 * columns..6 * columns].fill(f32::MIN_POSITIVE);
    for level in Level::available() {
        let got = run(level, &x, &parts, Finish { bias: Some(&bias), ..Finish::default() });
        let row = |row: usize| &got[row * outputs..][..outputs];
        for zeros in [1, 5] {
            same(row(zeros), &bias, &format!("{level:?}"));
        }
        for bad in 2..5 {
            assert!(row(bad).iter().all(|x| x.is_nan()), "{level:?}, row {bad}");
        }
        for good in [0, 6] {
            let alone = &x[good * columns..][..columns];
            same(row(good), &reference(alone, &parts, &bias, false, None), &format!("{level:?}, row {good}"));
        }
    }
}

#[test]
fn ends_and_the_greatest_sums_fit() {
    for row in [&[f32::MAX, f32::MIN][..], &[1.0, -1.0], &[0.5], &[-3.0, -2.0, -1e-9], &[127.5, -127.5, 0.0]]
    {
        rounded(row);
    }
    let bytes = [&1.0_f32.to_le_bytes()[..], &vec![128_u8; MAX_INNER]].concat();
    let blocks = Tensor::from_slice(&bytes, &[bytes.len()]).unwrap();
    let parts = [Quantized::new(BlockFormat::Int8, blocks, [1, MAX_INNER]).unwrap().into()];
    for level in Level::available() {
        let got = run(level, &vec![255.0; MAX_INNER], &parts, Finish::default());
        assert_eq!(got, [-255.0 * 128.0 * MAX_INNER as f32], "{level:?}");
    }
    assert!(Quads::of(&[codes([1, MAX_INNER + 1], 1)], &[]).is_none());
    assert!(Quads::of(&[codes([2, 4], 1), Tensor::ones(&[2, 4], DType::F32).unwrap().into()], &[]).is_none());
    assert!(Quads::of(&[], &[]).is_none());
    assert!(run(Level::current(), &[1.0], &[codes([0, 1], 1)], Finish::default()).is_empty());
}
