//! The few types that arithmetic is done in, and how all others are read and written as one of them.
//!
//! Fifteen dtypes times every operation would be thousands of loops. There are five types to compute in instead: `f32` (also for the
//! halves), `f64`, `i64` (for all narrower integers and bools, with the same results modulo their width), `u64`, and `u8` for truth
//! values. Runs of other dtypes are converted on the way through the first-level cache.

use std::mem::MaybeUninit;

use half::{bf16, f16};

use crate::{DType, Element, Error, Result};

/// Reads elements `stride` bytes apart into a run.
///
/// # Safety
/// Every element must lie in readable memory and on its alignment.
pub(super) type Load<C> = unsafe fn(*const u8, isize, &mut [MaybeUninit<C>]);
/// Writes a run to elements `stride` bytes apart.
///
/// # Safety
/// Every element must lie in writable memory, on its alignment, and be read by nobody meanwhile.
pub(super) type Store<C> = unsafe fn(&[C], *mut u8, isize);

/// A type that kernels compute in.
pub(super) trait Number: Element + PartialOrd + Default {
    /// Whether elements of `dtype` are this very type.
    fn is_native(dtype: DType) -> bool {
        dtype == Self::DTYPE
    }
    /// How elements of `dtype` are read as this type.
    fn load(dtype: DType) -> Result<Load<Self>>;
    /// How this type is written as elements of `dtype`.
    fn store(dtype: DType) -> Result<Store<Self>>;
}

/// The type that elements of `dtype` are computed in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Int,
    Unsigned,
    Single,
    Double,
}

impl Class {
    pub(super) fn of(dtype: DType) -> Class {
        match dtype {
            DType::F16 | DType::BF16 | DType::F32 => Class::Single,
            DType::F64 | DType::C64 | DType::C128 => Class::Double,
            DType::U64 => Class::Unsigned,
            _ => Class::Int,
        }
    }
}

/// Runs `$body` with `$type` standing for the type that `$dtype` is computed in.
macro_rules! by_class {
    ($dtype:expr, $type:ident => $body:expr) => {
        match $crate::cpu::number::Class::of($dtype) {
            $crate::cpu::number::Class::Int => {
                type $type = i64;
                $body
            }
            $crate::cpu::number::Class::Unsigned => {
                type $type = u64;
                $body
            }
            $crate::cpu::number::Class::Single => {
                type $type = f32;
                $body
            }
            $crate::cpu::number::Class::Double => {
                type $type = f64;
                $body
            }
        }
    };
}
pub(super) use by_class;

/// Conversion as Rust's `as`: integers wrap, floats truncate and saturate.
pub(super) trait To<T> {
    fn to(self) -> T;
}

/// Bits that are copied and never looked at.
macro_rules! bits {
    ($($type:ty),*) => {$(
        impl To<$type> for $type {
            #[inline(always)]
            fn to(self) -> $type { self }
        }
    )*};
}
bits!(u16, u32, [u32; 2], [u64; 2]);

/// A truth value in memory.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Bit(u8);

macro_rules! plain {
    ($from:ty => $($to:ty),*) => {$(
        impl To<$to> for $from {
            #[inline(always)]
            fn to(self) -> $to { self as $to }
        }
    )*};
}
macro_rules! computed {
    ($($type:ty, $wide:ty, $half:ident);* $(;)?) => {$(
        plain!($type => u8, u16, u32, u64, i8, i16, i32, i64, f32, f64);
        impl To<f16> for $type {
            #[inline(always)]
            fn to(self) -> f16 { f16::$half(self as $wide) }
        }
        impl To<bf16> for $type {
            #[inline(always)]
            fn to(self) -> bf16 { round_bf16(self as $wide) }
        }
        impl To<Bit> for $type {
            #[inline(always)]
            fn to(self) -> Bit { Bit((self != <$type>::default()) as u8) }
        }
        impl To<$type> for f16 {
            #[inline(always)]
            fn to(self) -> $type { f32::from(self) as $type }
        }
        impl To<$type> for bf16 {
            #[inline(always)]
            fn to(self) -> $type { f32::from_bits(u32::from(self.to_bits()) << 16) as $type }
        }
        impl To<$type> for Bit {
            #[inline(always)]
            fn to(self) -> $type { self.0 as $type }
        }
    )*};
}
computed! {
    u8, f32, from_f32;
    i64, f64, from_f64;
    u64, f64, from_f64;
    f32, f32, from_f32;
    f64, f64, from_f64;
}
plain!(u16 => u8, i64, u64, f32, f64);
plain!(u32 => u8, i64, u64, f32, f64);
plain!(i8 => u8, i64, u64, f32, f64);
plain!(i16 => u8, i64, u64, f32, f64);
plain!(i32 => u8, i64, u64, f32, f64);

/// Rounds to the nearest bf16, ties to even, without a branch that would keep loops from being vectorised.
trait RoundBf16 {
    fn round(self) -> bf16;
}
impl RoundBf16 for f32 {
    #[inline(always)]
    fn round(self) -> bf16 {
        let bits = self.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        bf16::from_bits(if self.is_nan() { (bits >> 16) | 0x40 } else { rounded } as u16)
    }
}
impl RoundBf16 for f64 {
    #[inline(always)]
    fn round(self) -> bf16 {
        bf16::from_f64(self)
    }
}
#[inline(always)]
fn round_bf16(x: impl RoundBf16) -> bf16 {
    x.round()
}

pub(super) unsafe fn load_from<S: Copy + To<C>, C>(
    from: *const u8,
    stride: isize,
    to: &mut [MaybeUninit<C>],
) {
    let from = from.cast::<S>();
    if stride == size_of::<S>() as isize {
        // SAFETY: the caller vouches for these elements, which lie one after another.
        let from = unsafe { std::slice::from_raw_parts(from, to.len()) };
        return super::simd::each(
            from,
            to,
            #[inline(always)]
            |x| x.to(),
        );
    }
    if stride == 0 {
        // SAFETY: the caller vouches for the one element that is repeated.
        return to.iter_mut().for_each(|to| _ = to.write(unsafe { *from }.to()));
    }
    for (i, to) in to.iter_mut().enumerate() {
        // SAFETY: the caller vouches for the elements that lie `stride` bytes apart.
        to.write(unsafe { *from.byte_offset(i as isize * stride) }.to());
    }
}

pub(super) unsafe fn store_to<C: Copy + To<T>, T: Copy>(from: &[C], to: *mut u8, stride: isize) {
    let to = to.cast::<T>();
    if stride == size_of::<T>() as isize {
        // A slice, not a pointer: a pointer that a closure borrows might be overwritten by the stores, as far as the compiler
        // knows, and then no loop is vectorised.
        // SAFETY: the caller vouches for these elements, which lie one after another.
        let to = unsafe { std::slice::from_raw_parts_mut(to.cast::<MaybeUninit<T>>(), from.len()) };
        return super::simd::each(
            from,
            to,
            #[inline(always)]
            |x| x.to(),
        );
    }
    for (i, &x) in from.iter().enumerate() {
        // SAFETY: the caller vouches for the elements that lie `stride` bytes apart.
        unsafe { to.byte_offset(i as isize * stride).write(x.to()) };
    }
}

/// f16 to f32 in runs, for which processors have instructions.
unsafe fn load_f16(from: *const u8, stride: isize, to: &mut [MaybeUninit<f32>]) {
    if stride != 2 {
        // SAFETY: as for this function.
        return unsafe { load_from::<f16, f32>(from, stride, to) };
    }
    // SAFETY: the caller vouches for the elements, which lie one after another.
    super::float16::widen(unsafe { std::slice::from_raw_parts(from.cast(), to.len()) }, to);
}

/// f32 to f16 in runs, likewise.
unsafe fn store_f16(from: &[f32], to: *mut u8, stride: isize) {
    if stride != 2 {
        // SAFETY: as for this function.
        return unsafe { store_to::<f32, f16>(from, to, stride) };
    }
    // SAFETY: the caller vouches for the elements, which lie one after another; any bits are valid.
    super::float16::narrow(from, unsafe { std::slice::from_raw_parts_mut(to.cast(), from.len()) });
}

fn complex<T>(dtype: DType) -> Result<T> {
    Err(Error::DType { op: "elementwise", rule: "arithmetic is for real numbers", dtype })
}

macro_rules! numbers {
    ($($type:ty: $load_f16:path, $store_f16:path, [$native:pat];)*) => {$(
        impl Number for $type {
            fn is_native(dtype: DType) -> bool {
                matches!(dtype, $native)
            }
            fn load(dtype: DType) -> Result<Load<Self>> {
                Ok(match dtype {
                    DType::Bool => load_from::<Bit, Self>,
                    DType::U8 => load_from::<u8, Self>,
                    DType::U16 => load_from::<u16, Self>,
                    DType::U32 => load_from::<u32, Self>,
                    DType::U64 => load_from::<u64, Self>,
                    DType::I8 => load_from::<i8, Self>,
                    DType::I16 => load_from::<i16, Self>,
                    DType::I32 => load_from::<i32, Self>,
                    DType::I64 => load_from::<i64, Self>,
                    DType::F16 => $load_f16,
                    DType::BF16 => load_from::<bf16, Self>,
                    DType::F32 => load_from::<f32, Self>,
                    DType::F64 => load_from::<f64, Self>,
                    DType::C64 | DType::C128 => return complex(dtype),
                })
            }
            fn store(dtype: DType) -> Result<Store<Self>> {
                Ok(match dtype {
                    DType::Bool => store_to::<Self, Bit>,
                    DType::U8 => store_to::<Self, u8>,
                    DType::U16 => store_to::<Self, u16>,
                    DType::U32 => store_to::<Self, u32>,
                    DType::U64 => store_to::<Self, u64>,
                    DType::I8 => store_to::<Self, i8>,
                    DType::I16 => store_to::<Self, i16>,
                    DType::I32 => store_to::<Self, i32>,
                    DType::I64 => store_to::<Self, i64>,
                    DType::F16 => $store_f16,
                    DType::BF16 => store_to::<Self, bf16>,
                    DType::F32 => store_to::<Self, f32>,
                    DType::F64 => store_to::<Self, f64>,
                    DType::C64 | DType::C128 => return complex(dtype),
                })
            }
        }
    )*};
}
numbers! {
    u8: load_from::<f16, u8>, store_to::<u8, f16>, [DType::U8 | DType::Bool];
    i64: load_from::<f16, i64>, store_to::<i64, f16>, [DType::I64];
    u64: load_from::<f16, u64>, store_to::<u64, f16>, [DType::U64];
    f32: load_f16, store_f16, [DType::F32];
    f64: load_from::<f16, f64>, store_to::<f64, f16>, [DType::F64];
}
