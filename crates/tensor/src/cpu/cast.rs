//! Conversion between dtypes, for any strides.

use std::mem::MaybeUninit;

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::rows::for_each_run;
use crate::{DType, Element, Error, Result, Tensor};

/// A real number, as the two types through which all convert: f64 holds every float and int up to 53 bits, i128 every integer.
trait Real: Element {
    fn to_f64(self) -> f64;
    fn to_i128(self) -> i128;
    fn from_f64(x: f64) -> Self;
    fn from_i128(x: i128) -> Self;
    const INTEGER: bool;
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Real for $type {
            fn to_f64(self) -> f64 { self as f64 }
            fn to_i128(self) -> i128 { self as i128 }
            fn from_f64(x: f64) -> Self { x as $type }
            fn from_i128(x: i128) -> Self { x as $type }
            const INTEGER: bool = true;
        }
    )*};
}
integers!(u8, u16, u32, u64, i8, i16, i32, i64);

macro_rules! floats {
    ($($type:ty: $to:expr, $from:expr;)*) => {$(
        impl Real for $type {
            fn to_f64(self) -> f64 { $to(self) }
            fn to_i128(self) -> i128 { $to(self) as i128 }
            fn from_f64(x: f64) -> Self { $from(x) }
            fn from_i128(x: i128) -> Self { $from(x as f64) }
            const INTEGER: bool = false;
        }
    )*};
}
floats! {
    f16: f16::to_f64, f16::from_f64;
    bf16: bf16::to_f64, bf16::from_f64;
    f32: f64::from, |x| x as f32;
    f64: |x: f64| x, |x: f64| x;
}

/// `x` as `dtype`, in C order.
pub(super) fn cast(x: &Tensor, dtype: DType) -> Result<Tensor> {
    let x = if x.is_contiguous() { x.clone() } else { gather(x)? };
    if x.dtype() == dtype {
        return Ok(x);
    }
    match (x.dtype(), dtype) {
        // The two conversions that weights go through, which `half` does with vector instructions.
        (DType::F16, DType::F32) => halves::<f16>(&x, |from, to| from.convert_to_f32_slice(to)),
        (DType::BF16, DType::F32) => halves::<bf16>(&x, |from, to| from.convert_to_f32_slice(to)),
        (DType::Bool | DType::U8, _) => to::<u8>(&x, dtype),
        (DType::U16, _) => to::<u16>(&x, dtype),
        (DType::U32, _) => to::<u32>(&x, dtype),
        (DType::U64, _) => to::<u64>(&x, dtype),
        (DType::I8, _) => to::<i8>(&x, dtype),
        (DType::I16, _) => to::<i16>(&x, dtype),
        (DType::I32, _) => to::<i32>(&x, dtype),
        (DType::I64, _) => to::<i64>(&x, dtype),
        (DType::F16, _) => to::<f16>(&x, dtype),
        (DType::BF16, _) => to::<bf16>(&x, dtype),
        (DType::F32, _) => to::<f32>(&x, dtype),
        (DType::F64, _) => to::<f64>(&x, dtype),
        (DType::C64 | DType::C128, _) => Err(complex(x.dtype())),
    }
}

fn to<A: Real>(x: &Tensor, dtype: DType) -> Result<Tensor> {
    match dtype {
        DType::Bool => convert(x, DType::Bool, |x: A| u8::from(x.to_f64() != 0.0)),
        DType::U8 => numbers::<A, u8>(x),
        DType::U16 => numbers::<A, u16>(x),
        DType::U32 => numbers::<A, u32>(x),
        DType::U64 => numbers::<A, u64>(x),
        DType::I8 => numbers::<A, i8>(x),
        DType::I16 => numbers::<A, i16>(x),
        DType::I32 => numbers::<A, i32>(x),
        DType::I64 => numbers::<A, i64>(x),
        DType::F16 => numbers::<A, f16>(x),
        DType::BF16 => numbers::<A, bf16>(x),
        DType::F32 => numbers::<A, f32>(x),
        DType::F64 => numbers::<A, f64>(x),
        DType::C64 | DType::C128 => Err(complex(dtype)),
    }
}

fn numbers<A: Real, B: Real>(x: &Tensor) -> Result<Tensor> {
    if A::INTEGER && B::INTEGER {
        convert(x, B::DTYPE, |x: A| B::from_i128(x.to_i128()))
    } else {
        convert(x, B::DTYPE, |x: A| B::from_f64(x.to_f64()))
    }
}

/// Converts each element; bools are bytes on both sides.
fn convert<A: Element, B: Element>(
    x: &Tensor,
    dtype: DType,
    one: impl Fn(A) -> B + Send + Sync,
) -> Result<Tensor> {
    let source: &[A] = x.elements();
    Tensor::build_as(x.shape(), dtype, |out: &mut [MaybeUninit<B>]| {
        for_each_run(out, 1, |start, run| {
            for (to, &from) in run.iter_mut().zip(&source[start..]) {
                to.write(one(from));
            }
        })
    })
}

fn halves<H: Element>(x: &Tensor, run: impl Fn(&[H], &mut [f32]) + Send + Sync) -> Result<Tensor> {
    let source: &[H] = x.elements();
    Tensor::build(x.shape(), |out: &mut [MaybeUninit<f32>]| {
        for_each_run(out, 1, |start, to| {
            to.fill(MaybeUninit::new(0.0));
            // SAFETY: initialised by the line above.
            run(&source[start..start + to.len()], unsafe { to.assume_init_mut() });
        })
    })
}

/// The elements in C order, of whatever dtype: a copy by size.
fn gather(x: &Tensor) -> Result<Tensor> {
    match x.dtype().size() {
        1 => copy::<u8>(x),
        2 => copy::<u16>(x),
        4 => copy::<u32>(x),
        8 if x.dtype() == DType::C64 => copy::<[u32; 2]>(x),
        8 => copy::<u64>(x),
        _ => copy::<[u64; 2]>(x),
    }
}

/// A copy of the bits of each element, walking the strides of `x`.
fn copy<T: Copy + Send + Sync>(x: &Tensor) -> Result<Tensor> {
    let (shape, strides) = (x.shape(), x.layout().strides());
    let inner = shape.last().copied().unwrap_or(1);
    let inner_stride = strides.last().copied().unwrap_or(1);
    let first = Address(x.as_ptr().cast::<T>());
    Tensor::build_as(shape, x.dtype(), |out: &mut [MaybeUninit<T>]| {
        for_each_run(out, inner, |start, rows| {
            for (row, to) in rows.chunks_exact_mut(inner).enumerate() {
                let mut rest = start + row;
                let mut offset = 0isize;
                for (&size, &stride) in shape.iter().zip(strides).rev().skip(1) {
                    offset += (rest % size) as isize * stride;
                    rest /= size;
                }
                for (i, to) in to.iter_mut().enumerate() {
                    // SAFETY: the index stays within the shape, and every element of a tensor lies within its storage.
                    to.write(unsafe { *first.get().offset(offset + i as isize * inner_stride) });
                }
            }
        })
    })
}

/// An address that threads may share: they only read there.
struct Address<T>(*const T);
// SAFETY: plain data behind it is read only while the tensor that owns it is borrowed.
unsafe impl<T: Sync> Sync for Address<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Send for Address<T> {}

impl<T> Address<T> {
    fn get(&self) -> *const T {
        self.0
    }
}

fn complex(dtype: DType) -> Error {
    Error::DType { op: "cast", rule: "only real numbers can be converted", dtype }
}
