//! The CUDA kernels against the processor's, over drawn shapes, strides and dtypes: run by an emulator, since there need not be a GPU.
//!
//! What this shows is that they compute what they should, stay within their memory and wait where they must, with the instructions of several
//! generations. What it cannot show is how a GPU rounds its own functions and the sums of its matrix units.

// A failed step fails the test, also in its helpers.
#![allow(clippy::unwrap_used, clippy::panic)]
// CUDA's functions are called by macros that assert what they answer.
#![allow(clippy::macro_metavars_in_unsafe)]

#[path = "../../src/cuda/arguments.rs"]
mod arguments;
mod attention;
mod cuda;
mod device;
mod drawing;
mod driver;
mod elementwise;
#[path = "../../src/cuda/geometry.rs"]
mod geometry;
mod products;
mod rows;
mod weights;

use std::sync::OnceLock;

use trustformers_tensor::{Activation, Backend, DType, Generator, Mask, Tensor, ops};

/// The types that models compute in.
const FLOATS: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

/// What kernels call `dtype`.
fn name(dtype: DType) -> &'static str {
    match dtype {
        DType::F64 => "f64",
        DType::F32 => "f32",
        DType::F16 => "f16",
        DType::BF16 => "bf16",
        DType::I64 => "i64",
        DType::U64 => "u64",
        other => panic!("kernels do not compute in {other}"),
    }
}

/// The processor's kernels, which say what is right.
fn cpu() -> &'static dyn Backend {
    static ANY: OnceLock<Tensor> = OnceLock::new();
    ANY.get_or_init(|| Tensor::zeros(&[1]).unwrap()).storage().backend()
}

/// Even numbers between `low` and `high`, as `dtype`.
fn draw(shape: &[usize], (low, high): (f64, f64), dtype: DType, seed: u64) -> Tensor {
    let x = Generator::new(seed).uniform(shape, DType::F64).unwrap();
    x.mul(high - low).unwrap().add(low).unwrap().to_dtype(dtype).unwrap()
}

/// `x` as float32.
fn single(x: &Tensor) -> Tensor {
    x.to_dtype(DType::F32).unwrap().contiguous().unwrap()
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.to_dtype(DType::F64).unwrap().contiguous().unwrap().as_slice::<f64>().unwrap().to_vec()
}

/// How far a result of `dtype` may be off, relative to its size.
fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::BF16 => 8e-3,
        DType::F16 => 1e-3,
        DType::F32 => 1e-5,
        _ => 1e-12,
    }
}

#[track_caller]
fn close(what: &str, got: &Tensor, want: &Tensor, tolerance: f64) {
    assert_eq!(got.shape(), want.shape(), "{what}");
    for (i, (got, want)) in numbers(got).into_iter().zip(numbers(want)).enumerate() {
        let same = got == want
            || got.is_nan() && want.is_nan()
            || (got - want).abs() <= tolerance * (1.0 + want.abs());
        assert!(same, "{what}: element {i} is {got}, not {want}");
    }
}
