//! Every level against sums in f64, and the levels for blocks against one another.

use half::f16;
use proptest::prelude::*;

use super::*;
use crate::quant::RUN;
use crate::testing::draw;
use crate::{Activation, BlockFormat, Quantized, Tensor};

fn numbers(shape: &[usize], seed: u64) -> Tensor {
    draw(shape, (-1.0, 1.0), seed).to_dtype(DType::F32).unwrap()
}

/// A matrix of random blocks: any codes, ordinary scales.
fn blocks(format: BlockFormat, [rows, columns]: [usize; 2], seed: u64) -> Quantized {
    let row_bytes = format.row_bytes(columns).unwrap();
    let noise = draw(&[rows * row_bytes], (0.0, 256.0), seed).to_dtype(DType::U8).unwrap();
    let mut bytes = noise.as_slice::<u8>().unwrap().to_vec();
    let halves: &[usize] = match format {
        BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 => &[0],
        BlockFormat::Q4_1 | BlockFormat::Q5_1 | BlockFormat::Q4K | BlockFormat::Q5K => &[0, 2],
        BlockFormat::Q2K => &[80, 82],
        BlockFormat::Q3K => &[108],
        BlockFormat::Q6K => &[208],
        BlockFormat::Int8 => &[],
    };
    for (i, row) in bytes.chunks_exact_mut(row_bytes.max(1)).enumerate() {
        if format == BlockFormat::Int8 {
            row[..4].copy_from_slice(&(0.01 + 0.001 * i as f32).to_le_bytes());
        }
        for (j, block) in row.chunks_exact_mut(format.block_bytes()).enumerate() {
            for &at in halves {
                let scale = f16::from_f32(0.02 - 0.003 * ((i + 3 * j + at) % 13) as f32);
                block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
            }
        }
    }
    let length = bytes.len();
    Quantized::new(format, Tensor::from_slice(&bytes, &[length]).unwrap(), [rows, columns]).unwrap()
}

#[test]
fn interleaved_rows_are_read_back() {
    for &format in BlockFormat::ALL {
        for [rows, units] in [[1, 1], [16, 2], [37, 5], [5, 0]] {
            let columns = units * format.block_elements();
            let matrix = blocks(format, [rows, columns], 1);
            let interleaved = Interleaved::of(&matrix).unwrap();
            let (mut row, mut space) = (vec![1; format.row_bytes(columns).unwrap()], Vec::new());
            for index in 0..rows {
                interleaved.write_row(index, &mut row);
                assert_eq!(row, matrix.row(index, &mut space), "{format}, row {index} of {rows}");
            }
        }
    }
}

fn run(level: Level, x: &Tensor, parts: &[Matrix], add: &Tensor) -> Vec<f32> {
    let &[rows, columns] = x.shape() else { panic!("a matrix") };
    let left = Left { values: x.as_slice().unwrap(), rows, columns };
    let outputs: usize = parts.iter().map(|part| part.shape()[0]).sum();
    let out = Tensor::build(&[rows, outputs], |out| {
        let map = crate::cpu::activation::kernel(Activation::Relu);
        let finish = Finish { bias: Some(add.as_slice()?), map, ..Finish::default() };
        // Where the processor has a kernel for them, blocks are in its form.
        let is_made = level >= Level::Vnni && Interleaved::is_read();
        let form = |part: &Matrix| part.quantized().filter(|_| is_made).map(Interleaved::of).transpose();
        let interleaved: Vec<_> = parts.iter().map(form).collect::<Result<_>>()?;
        let interleaved = if is_made { interleaved.as_slice() } else { &[] };
        assert!(Parts { parts, interleaved, level }.product(left, finish, out)?);
        Ok(())
    });
    out.unwrap().as_slice::<f32>().unwrap().to_vec()
}

/// `x` as products with blocks round it.
fn rounded(x: &Tensor) -> Tensor {
    let &[rows, columns] = x.shape() else { panic!("a matrix") };
    let values: &[f32] = x.as_slice().unwrap();
    let mut out = Vec::new();
    Activations::with(Left { values, rows, columns }, false, |rounded| {
        for row in rounded.rounded.chunks_exact(rounded.runs) {
            let element = |run: &activations::Rounded, i: usize| {
                run.scales[i / activations::SHARED] * f32::from(run.codes[i])
            };
            out.extend((0..columns).map(|i| element(&row[i / RUN], i % RUN)));
        }
        Ok(())
    })
    .unwrap();
    for (x, rounded) in values.iter().zip(&out) {
        // The greatest of 32 is 1 at most: half a step of 32512.
        assert!((x - rounded).abs() <= 0.51 / 32512.0, "{rounded}, not {x}");
    }
    Tensor::from_slice(&out, &[rows, columns]).unwrap()
}

/// `relu(x partᵀ + add)` and the sizes of the sums' terms.
fn reference(x: &Tensor, parts: &[Matrix], add: &Tensor) -> Vec<(f64, f64)> {
    let numbers = |t: Tensor| t.contiguous().unwrap().as_slice::<f32>().unwrap().to_vec();
    let columns = x.shape()[1];
    let weights: Vec<f32> =
        parts.iter().flat_map(|part| numbers(part.to_dtype(DType::F32).unwrap())).collect();
    let (x, add) = (numbers(x.clone()), numbers(add.clone()));
    let mut out = Vec::new();
    for x in x.chunks_exact(columns) {
        for (output, add) in add.iter().enumerate() {
            let terms =
                x.iter().zip(&weights[output * columns..]).map(|(x, w)| f64::from(*x) * f64::from(*w));
            let (sum, size) =
                terms.fold((f64::from(*add), 1.0), |(sum, size), term| (sum + term, size + term.abs()));
            out.push((sum.max(0.0), size));
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn dense_products_equal_their_sums(
        rows in 1usize..=MAX_ROWS, columns in 1usize..150, outputs in [1usize..90, 1usize..20], seed in 0u64..1000,
    ) {
        let x = numbers(&[rows, columns], seed);
        let add = numbers(&[outputs[0] + outputs[1]], seed + 1);
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let part = |n: usize| numbers(&[n, columns], seed + n as u64).to_dtype(dtype).unwrap();
            let turned = part(outputs[0]).mt().unwrap().copy().unwrap().mt().unwrap();
            // Every other row of something larger.
            let gaps = part(2 * outputs[1]).view(&[outputs[1], 2, columns]).unwrap().select(1, 1).unwrap();
            let parts = [Matrix::from(turned), Matrix::from(gaps)];
            for level in Level::available() {
                let got = run(level, &x, &parts, &add);
                for (got, (want, size)) in got.iter().zip(reference(&x, &parts, &add)) {
                    prop_assert!((f64::from(*got) - want).abs() <= 1e-6 * size, "{:?} {}: {} not {}", level, dtype, got, want);
                }
            }
        }
    }

    #[test]
    fn blocks_of_every_format_equal_their_numbers_at_every_level(
        rows in 1usize..=MAX_ROWS, blocks_in_row in 1usize..20, outputs in 1usize..70, seed in 0u64..1000,
    ) {
        for &format in BlockFormat::ALL {
            let columns = match format.block_elements() {
                256 => 256 * (1 + blocks_in_row % 3),
                32 => 32 * blocks_in_row,
                _ => 37 * blocks_in_row,
            };
            let x = numbers(&[rows, columns], seed);
            let add = numbers(&[outputs], seed + 1);
            let parts = [Matrix::from(blocks(format, [outputs, columns], seed + 2))];
            let portable = run(Level::Portable, &x, &parts, &add);
            let reference = reference(&rounded(&x), &parts, &add);
            for (got, (want, size)) in portable.iter().zip(&reference) {
                let is_near = (f64::from(*got) - want).abs() <= 2e-6 * size;
                prop_assert!(is_near, "{}: {} not {}", format, got, want);
            }
            for level in Level::available() {
                let got = run(level, &x, &parts, &add);
                for ((got, want), (_, size)) in got.iter().zip(&portable).zip(&reference) {
                    prop_assert!(f64::from(got - want).abs() <= 2e-6 * size, "{:?} {}: {} not {}", level, format, got, want);
                }
            }
        }
    }
}

#[test]
fn nothing_to_do_is_done() {
    let x = numbers(&[2, 0], 1);
    let parts = [Matrix::from(numbers(&[3, 0], 2))];
    assert_eq!(run(Level::current(), &x, &parts, &numbers(&[3], 3)).len(), 6);
    let blocks = Matrix::from(blocks(BlockFormat::Q4_0, [3, 0], 1));
    assert_eq!(run(Level::current(), &x, &[blocks], &numbers(&[3], 3)).len(), 6);
    let parts = [Matrix::from(numbers(&[3, 4], 1).to_dtype(DType::F64).unwrap())];
    let left = Left { values: &[0.0; 4], rows: 1, columns: 4 };
    assert!(!product(left, &parts, &[], Finish::default(), &mut [MaybeUninit::uninit(); 3]).unwrap());
}
