//! The float types that weights are stored in, widened as they are read.

use half::{bf16, f16};
use rten_simd::Isa;
use rten_simd::Simd;
use rten_simd::ops::{BitOps, Extend, IntOps};

use crate::Element;
use crate::quant::widen as widen_f16;

/// A float that is computed with as f32.
pub(super) trait Widen: Element {
    fn widen(self) -> f32;
}

macro_rules! widen {
    ($($type:ty: |$x:ident| $widened:expr;)*) => {$(
        impl Widen for $type {
            #[inline(always)]
            fn widen(self) -> f32 {
                let $x = self;
                $widened
            }
        }
    )*};
}
// Without branches and calls, so that loops around them can be vectorised.
widen! {
    f32: |x| x;
    f64: |x| x as f32;
    bf16: |x| f32::from_bits(u32::from(x.to_bits()) << 16);
    f16: |x| widen_f16(x.to_bits());
}

/// A float that a kernel reads in vectors and computes with as f32.
pub(super) trait Stored: Widen {
    const ZERO: Self;

    /// Two vectors of f32 from the elements at `from`, of which there must be as many.
    unsafe fn load<I: Isa>(isa: I, from: *const Self) -> [I::F32; 2];

    /// The same of fewer elements, with zeros behind them.
    #[inline(always)]
    unsafe fn load_some<I: Isa>(isa: I, from: *const Self, count: usize) -> [I::F32; 2] {
        let mut some = [Self::ZERO; MOST];
        // SAFETY: as the caller promises; there is room for two vectors of any processor.
        unsafe {
            from.copy_to_nonoverlapping(some.as_mut_ptr(), count);
            Self::load(isa, some.as_ptr())
        }
    }
}

/// As many elements as two vectors have at most.
const MOST: usize = 32;

impl Stored for f32 {
    const ZERO: f32 = 0.0;

    #[inline(always)]
    unsafe fn load<I: Isa>(isa: I, from: *const f32) -> [I::F32; 2] {
        let ops = isa.f32();
        // SAFETY: as the caller promises.
        unsafe { [ops.load_ptr(from), ops.load_ptr(from.add(ops.len()))] }
    }
}

impl Stored for bf16 {
    const ZERO: bf16 = bf16::ZERO;

    #[inline(always)]
    unsafe fn load<I: Isa>(isa: I, from: *const bf16) -> [I::F32; 2] {
        let (narrow, wide) = (isa.i16(), isa.i32());
        // SAFETY: as the caller promises; bf16 is 16 bits, the upper ones of an f32.
        let both = unsafe { narrow.load_ptr(from.cast()) };
        [narrow.extend_low(both), narrow.extend_high(both)].map(
            #[inline(always)]
            |half| wide.shift_left::<16>(half).reinterpret_cast(),
        )
    }
}

impl Stored for f16 {
    const ZERO: f16 = f16::ZERO;

    #[inline(always)]
    unsafe fn load<I: Isa>(isa: I, from: *const f16) -> [I::F32; 2] {
        let ops = isa.f16();
        // SAFETY: as the caller promises; both types are the bits of a float16.
        let both = unsafe { ops.load_ptr(from.cast()) };
        [ops.extend_low(both), ops.extend_high(both)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_bits_are_widened_exactly() {
        for bits in 0..=u16::MAX {
            let (one, other) = (bf16::from_bits(bits), f16::from_bits(bits));
            assert!(one.is_nan() || one.widen() == one.to_f32());
            assert!(other.is_nan() || other.widen() == other.to_f32());
        }
    }
}
