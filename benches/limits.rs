//! What this machine can do at most: loops of nothing but one instruction, over registers, and one that reads memory.
//! `limits.py` compiles them for the machine they run on: what its processor lacks is not in the library.

use std::hint::black_box;

/// Sums that are kept at once: more than an instruction's latency times what a core begins in a cycle.
const SUMS: usize = 16;

/// Multiplies and adds float32; gives back how many operations that was, a product and a sum being two.
#[cfg(all(target_arch = "x86_64", target_feature = "avx512f"))]
#[unsafe(no_mangle)]
pub extern "C" fn multiply_f32(rounds: u64) -> u64 {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_set1_ps, _mm512_setzero_ps};
    // SAFETY: the processor has the instructions, for that is what this was compiled for.
    unsafe {
        let factor = black_box(_mm512_set1_ps(0.5));
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, factor);
            }
        }
        black_box(sums);
    }
    rounds * (SUMS * 16 * 2) as u64
}

#[cfg(all(target_arch = "x86_64", target_feature = "fma", not(target_feature = "avx512f")))]
#[unsafe(no_mangle)]
pub extern "C" fn multiply_f32(rounds: u64) -> u64 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm256_setzero_ps};
    const SUMS: usize = 12; // of 16 registers
    // SAFETY: as above.
    unsafe {
        let factor = black_box(_mm256_set1_ps(0.5));
        let mut sums = [_mm256_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, factor);
            }
        }
        black_box(sums);
    }
    rounds * (SUMS * 8 * 2) as u64
}

/// The same of bfloat16, summed as float32.
#[cfg(all(target_arch = "x86_64", target_feature = "avx512bf16"))]
#[unsafe(no_mangle)]
pub extern "C" fn multiply_bf16(rounds: u64) -> u64 {
    use std::arch::x86_64::{__m512bh, _mm512_dpbf16_ps, _mm512_setzero_ps};
    // SAFETY: any bits are a vector of bfloat16.
    let factor: __m512bh = unsafe { std::mem::transmute(black_box([0x3f00u16; 32])) };
    // SAFETY: the processor has the instructions, for that is what this was compiled for.
    unsafe {
        let mut sums = [_mm512_setzero_ps(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, factor, factor);
            }
        }
        black_box(sums);
    }
    rounds * (SUMS * 32 * 2) as u64
}

/// The same of 8-bit integers, summed as 32-bit ones.
#[cfg(all(target_arch = "x86_64", target_feature = "avx512vnni"))]
#[unsafe(no_mangle)]
pub extern "C" fn multiply_int8(rounds: u64) -> u64 {
    use std::arch::x86_64::{_mm512_dpbusd_epi32, _mm512_set1_epi8, _mm512_setzero_si512};
    // SAFETY: the processor has the instructions, for that is what this was compiled for.
    unsafe {
        let factor = black_box(_mm512_set1_epi8(3));
        let mut sums = [_mm512_setzero_si512(); SUMS];
        for _ in 0..rounds {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, factor, factor);
            }
        }
        black_box(sums);
    }
    rounds * (SUMS * 64 * 2) as u64
}

/// Places that are read in turn: memory answers several streams of a core faster than one.
const STREAMS: usize = 4;

/// Reads `words` of 8 bytes, a multiple of 64; gives back their sum, so that none is left out.
///
/// # Safety
/// There must be so many from `from` on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(from: *const u64, words: usize) -> u64 {
    // SAFETY: as the caller promises.
    let words = unsafe { std::slice::from_raw_parts(from, words) };
    let mut streams = words.chunks_exact(words.len() / STREAMS);
    let parts: [&[u64]; STREAMS] = std::array::from_fn(|_| streams.next().unwrap_or_default());
    let mut sums = [0u64; 16];
    for at in (0..parts[0].len()).step_by(sums.len()) {
        for part in parts {
            for (sum, word) in sums.iter_mut().zip(&part[at..]) {
                *sum = sum.wrapping_add(*word);
            }
        }
    }
    sums.iter().fold(0, |total, sum| total.wrapping_add(*sum))
}
