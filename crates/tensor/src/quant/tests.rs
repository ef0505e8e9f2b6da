//! Against what the Python package `gguf` reads and writes (`tests/quant/make.py`), and against blocks made by hand.

use super::*;
use crate::weight::Form;

/// Two rows of one format.
struct Recorded {
    format: BlockFormat,
    columns: usize,
    blocks: Vec<u8>,
    numbers: Vec<f32>,
    source: Option<Vec<f32>>,
}

fn recorded() -> Vec<Recorded> {
    let mut file: &[u8] = include_bytes!("../../tests/quant/blocks.bin");
    let mut take = |bytes: usize| {
        let (taken, rest) = file.split_at(bytes);
        file = rest;
        (taken.to_vec(), rest.is_empty())
    };
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let mut all = Vec::new();
    loop {
        let format: BlockFormat = String::from_utf8(take(8).0).unwrap().trim().parse().unwrap();
        let header = take(8).0;
        let columns = u32::from_le_bytes(header[..4].try_into().unwrap()) as usize;
        let blocks = take(2 * format.row_bytes(columns).unwrap()).0;
        let (numbers, mut is_last) = take(8 * columns);
        let source = (header[4] == 1).then(|| {
            let (source, last) = take(8 * columns);
            is_last = last;
            floats(&source)
        });
        all.push(Recorded { format, columns, blocks, numbers: floats(&numbers), source });
        if is_last {
            return all;
        }
    }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.as_slice::<f32>().unwrap().to_vec()
}

fn bytes(bytes: &[u8]) -> Tensor {
    Tensor::from_slice(bytes, &[bytes.len()]).unwrap()
}

#[test]
fn numbers_are_those_that_gguf_reads() {
    let all = recorded();
    assert_eq!(all.len(), BlockFormat::ALL.len() - 1, "every format but our own");
    for Recorded { format, columns, blocks, numbers, .. } in all {
        let matrix = Quantized::new(format, bytes(&blocks), [2, columns]).unwrap();
        let largest = numbers.iter().fold(0f32, |most, x| most.max(x.abs()));
        for (i, (got, want)) in values(&matrix.dequantize().unwrap()).iter().zip(&numbers).enumerate() {
            assert!((got - want).abs() <= 1e-6 * largest, "{format}, element {i}: {got}, not {want}");
        }
        assert_eq!(values(&matrix.rows(&[1, 0, 1]).unwrap())[..columns], numbers[columns..], "{format}");
    }
}

#[test]
fn blocks_are_those_that_gguf_writes() {
    for Recorded { format, columns, blocks, source, .. } in recorded() {
        let Some(source) = source else { continue };
        let source = Tensor::from_slice(&source, &[2, columns]).unwrap();
        let matrix = Quantized::quantize(&source, format).unwrap();
        assert_eq!(matrix.blocks().unwrap().as_slice::<u8>().unwrap(), blocks, "{format}");
    }
}

#[test]
fn a_block_by_hand() {
    // d = 0.5, m = -1, low halves 0..16, high halves all 3.
    let mut block = vec![0x00, 0x38, 0x00, 0xbc];
    block.extend((0..16).map(|i| i | 3 << 4));
    let matrix = Quantized::new(BlockFormat::Q4_1, bytes(&block), [1, 32]).unwrap();
    let numbers = values(&matrix.dequantize().unwrap());
    for (i, number) in numbers[..16].iter().enumerate() {
        assert_eq!(*number, 0.5 * i as f32 - 1.0);
    }
    assert_eq!(numbers[16..], [0.5; 16]);
    // A scale for each row, then its integers.
    let mut rows = Vec::new();
    for (scale, codes) in [(0.25f32, [4i8, -8, 127]), (2.0, [1, 0, -128])] {
        rows.extend(scale.to_le_bytes());
        rows.extend(codes.map(|code| code as u8));
    }
    let matrix = Quantized::new(BlockFormat::Int8, bytes(&rows), [2, 3]).unwrap();
    assert_eq!(values(&matrix.dequantize().unwrap()), [1.0, -2.0, 31.75, 2.0, 0.0, -256.0]);
    let turned = matrix.select_rows(&[1, 0]).unwrap();
    assert_eq!(values(&turned.dequantize().unwrap()), [2.0, 0.0, -256.0, 1.0, -2.0, 31.75]);
}

#[test]
fn what_is_written_is_near_what_is_read() {
    use crate::testing::draw;
    for (format, bits) in [
        (BlockFormat::Q4_0, 3),
        (BlockFormat::Q4_1, 4),
        (BlockFormat::Q5_0, 4),
        (BlockFormat::Q5_1, 5),
        (BlockFormat::Q8_0, 7),
        (BlockFormat::Int8, 7),
    ] {
        for dtype in [DType::F32, DType::BF16] {
            let x = draw(&[5, 320], (-1.0, 1.0), 3).to_dtype(dtype).unwrap();
            let matrix = Quantized::quantize(&x.mt().unwrap().copy().unwrap().mt().unwrap(), format).unwrap();
            let (x, back) = (x.to_dtype(DType::F32).unwrap(), matrix.dequantize().unwrap());
            for (x, back) in values(&x).iter().zip(values(&back)) {
                assert!((x - back).abs() <= 1.1 / f32::from(1u8 << bits), "{format}: {back}, not {x}");
            }
        }
    }
    assert!(Quantized::quantize(&draw(&[2, 256], (0.0, 1.0), 1), BlockFormat::Q4K).is_err());
    for format in [BlockFormat::Int8, BlockFormat::Q4_1] {
        let empty = Quantized::quantize(&Tensor::zeros(&[3, 0]).unwrap(), format).unwrap();
        assert_eq!(empty.dequantize().unwrap().shape(), [3, 0]);
        assert_eq!(empty.blocks().unwrap().shape(), [3, format.row_header()]);
    }
}

/// What is made of floats lies as the kernel reads it, where there is one.
#[test]
fn what_is_made_here_is_held_once_and_says_the_same() {
    use crate::testing::draw;
    use crate::{Activation, Matrix, Weight, ops::linear};
    let float = |shape: &[usize], seed| draw(shape, (-1.0, 1.0), seed).to_dtype(DType::F32).unwrap();
    for format in [BlockFormat::Q4_1, BlockFormat::Q8_0, BlockFormat::Int8] {
        let made = Quantized::quantize(&float(&[37, 96], 1), format).unwrap();
        let filed = Quantized::new(format, made.blocks().unwrap(), [37, 96]).unwrap();
        let same = |one: &Tensor, other: &Tensor| assert_eq!(values(one), values(other), "{format}");
        let ids = [36, 0, 17, 0];
        same(&made.dequantize().unwrap(), &filed.dequantize().unwrap());
        same(&made.rows(&ids).unwrap(), &filed.rows(&ids).unwrap());
        let [some, of_file] = [&made, &filed].map(|matrix| matrix.select_rows(&ids).unwrap());
        same(&some.dequantize().unwrap(), &of_file.dequantize().unwrap());
        let copy = made.copy().unwrap();
        same(&copy.dequantize().unwrap(), &filed.dequantize().unwrap());
        assert!(!copy.memory().shares_storage(made.memory()));
        assert!(made.to_device(Device::Cpu).unwrap().memory().is(made.memory()));

        let weight = Weight::new([made.clone()]).unwrap();
        // A weight with a part that is trained has no form that is kept.
        let trained = float(&[3, 96], 2);
        trained.set_requires_grad(true).unwrap();
        let mixed = |blocks: &Quantized| Weight::new([Matrix::from(blocks.clone()), trained.clone().into()]);
        let [mixed, of_file] = [&made, &filed].map(|blocks| mixed(blocks).unwrap());
        let from_file = Weight::new([filed.clone()]).unwrap();
        for rows in [1, 5, 17, 70] {
            let x = float(&[rows, 96], 3);
            let run = |weight| linear(&x, weight, None, Activation::Identity).unwrap();
            same(&run(&weight), &run(&from_file));
            same(&run(&mixed), &run(&of_file));
        }
        let Some(form) = weight.form().unwrap() else { continue };
        let Form::Blocks(kept) = &*form else { panic!("blocks") };
        assert!(kept[0].as_ref().unwrap().memory().is(made.memory()), "{format}");
    }
}

#[test]
fn hostile_sizes_are_errors() {
    let block = bytes(&[0; 18]);
    let of = |shape| Quantized::new(BlockFormat::Q4_0, block.clone(), shape);
    assert!(of([1, 32]).is_ok());
    for shape in [
        [2, 32],
        [1, 64],
        [1, 33],
        [0, 32],
        [usize::MAX, 32],
        [usize::MAX, usize::MAX - 31],
        [1 << 60, 1 << 9],
    ] {
        assert!(of(shape).is_err(), "{shape:?}");
    }
    assert!(Quantized::new(BlockFormat::Q4_0, Tensor::zeros(&[18]).unwrap(), [1, 32]).is_err());
    let matrix = of([1, 32]).unwrap();
    for id in [-1, 1, i64::MAX] {
        assert!(matrix.rows(&[0, id]).unwrap_err().to_string().contains(&id.to_string()));
        assert!(matrix.select_rows(&[id]).is_err());
    }
}
