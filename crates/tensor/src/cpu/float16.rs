//! Runs of float16 to and from float32, in the vectors that the processor has: `half` converts eight numbers a call at best.

use std::mem::MaybeUninit;

use half::f16;
use half::slice::HalfFloatSliceExt;

/// `to[i] = from[i]`
pub(super) fn widen(from: &[f16], to: &mut [MaybeUninit<f32>]) {
    #[cfg(target_arch = "x86_64")]
    if machine::has_vectors() {
        // SAFETY: the processor was asked.
        return unsafe { machine::widen(from, to) };
    }
    to.fill(MaybeUninit::new(0.0));
    // SAFETY: initialised by the line above.
    from.convert_to_f32_slice(unsafe { to.assume_init_mut() });
}

/// `to[i] = from[i]`, rounded to the nearest, ties to even.
pub(super) fn narrow(from: &[f32], to: &mut [f16]) {
    #[cfg(target_arch = "x86_64")]
    if machine::has_vectors() {
        // SAFETY: the processor was asked.
        return unsafe { machine::narrow(from, to) };
    }
    to.convert_from_f32_slice(from);
}

#[cfg(target_arch = "x86_64")]
mod machine {
    use std::arch::x86_64::*;

    use super::*;
    use crate::cpu::level::Level;

    /// Numbers in a vector.
    const LANES: usize = 16;

    pub(super) fn has_vectors() -> bool {
        Level::current() >= Level::Avx512
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn widen(from: &[f16], to: &mut [MaybeUninit<f32>]) {
        let ((blocks, rest), (to_blocks, to_rest)) = (from.as_chunks(), to.as_chunks_mut::<LANES>());
        for (from, to) in blocks.iter().zip(to_blocks) {
            let from: &[f16; LANES] = from;
            // SAFETY: both are arrays of a vector's numbers.
            unsafe {
                _mm512_storeu_ps(
                    to.as_mut_ptr().cast(),
                    _mm512_cvtph_ps(_mm256_loadu_si256(from.as_ptr().cast())),
                )
            };
        }
        for (from, to) in rest.iter().zip(to_rest) {
            to.write(from.to_f32());
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn narrow(from: &[f32], to: &mut [f16]) {
        let ((blocks, rest), (to_blocks, to_rest)) = (from.as_chunks(), to.as_chunks_mut::<LANES>());
        for (from, to) in blocks.iter().zip(to_blocks) {
            let from: &[f32; LANES] = from;
            // SAFETY: both are arrays of a vector's numbers.
            unsafe {
                let rounded = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm512_loadu_ps(from.as_ptr()));
                _mm256_storeu_si256(to.as_mut_ptr().cast(), rounded);
            }
        }
        for (from, to) in rest.iter().zip(to_rest) {
            *to = f16::from_f32(*from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float16_comes_back_and_what_lies_between_is_rounded_as_half_does() {
        let all: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
        for len in [0, 1, 15, 16, 17, all.len()] {
            let mut wide = vec![MaybeUninit::uninit(); len];
            widen(&all[..len], &mut wide);
            // SAFETY: written by the line above, all of it.
            let wide: Vec<f32> = wide.into_iter().map(|x| unsafe { x.assume_init() }).collect();
            let mut back = vec![f16::ONE; len];
            narrow(&wide, &mut back);
            for ((x, wide), back) in all.iter().zip(wide).zip(back) {
                assert!(
                    x.is_nan() && wide.is_nan() && back.is_nan() || (x.to_f32(), *x) == (wide, back),
                    "{x}"
                );
            }
        }
        let between: Vec<f32> = (0..u32::MAX).step_by(65_521).map(f32::from_bits).collect();
        let mut rounded = vec![f16::ONE; between.len()];
        narrow(&between, &mut rounded);
        for (&x, rounded) in between.iter().zip(rounded) {
            assert!(x.is_nan() && rounded.is_nan() || rounded == f16::from_f32(x), "{x}");
        }
    }
}
