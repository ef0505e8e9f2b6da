//! Blocks of sixteen rows that lie side by side, unpacked: vectors of words, a lane for each row, become vectors of codes, four neighbours in
//! a lane, and for each group of them a vector of scales and one of offsets.
//!
//! Codes are unsigned here; the offset holds what was added to make them so. See [`crate::quant::Run`] for what the bits mean, and
//! [`super::words`] for where they are.

use std::arch::x86_64::*;

/// Neighbouring vectors of words.
#[derive(Clone, Copy)]
pub(super) struct Words(pub(super) *const i32);

impl Words {
    /// Vector `index`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
    unsafe fn at(self, index: usize) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { _mm512_load_si512(self.0.add(16 * index).cast()) }
    }

    /// The numbers that each byte `index` from the first word on begins with.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
    unsafe fn byte(self, index: usize) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { _mm512_srl_epi32(self.at(index / 4), count(8 * (index % 4))) }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn count(bits: usize) -> __m128i {
    _mm_cvtsi32_si128(bits as i32)
}

/// A format, whose unit is said in [`super::words`]. All of its functions are for units that are there, on processors with AVX-512 with BW
/// and F16C.
pub(super) trait Unpack {
    /// Vectors in front of the units.
    const HEADER: usize = 0;
    const ELEMENTS: usize = 64;
    const WORDS: usize;
    /// Elements that share a scale: 16 or 32.
    const SHARED: usize = 32;

    /// The scales and the offsets of a group of a unit.
    unsafe fn scales(header: Words, unit: Words, group: usize) -> [__m512; 2];

    /// The codes of 32 elements of a unit.
    unsafe fn codes(unit: Words, part: usize) -> [__m512i; 8];
}

/// Float16s in the low halves of words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn low_half(words: __m512i) -> __m512 {
    _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words))
}

/// Float16s in the high halves of words.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn high_half(words: __m512i) -> __m512 {
    low_half(_mm512_srli_epi32::<16>(words))
}

/// `words & mask`, the same mask for every byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn bytes(words: __m512i, mask: i8) -> __m512i {
    _mm512_and_si512(words, _mm512_set1_epi8(mask))
}

/// `words & mask` as floats.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn floats(words: __m512i, mask: i32) -> __m512 {
    _mm512_cvtepi32_ps(_mm512_and_si512(words, _mm512_set1_epi32(mask)))
}

/// A scale, and what the codes of a format with this zero are off by.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn around(scale: __m512, zero: f32) -> [__m512; 2] {
    [scale, _mm512_mul_ps(scale, _mm512_set1_ps(-zero))]
}

/// 32 codes of 4 bits in four words: low halves of all bytes, then high ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn nibbles(words: Words) -> [__m512i; 8] {
    // SAFETY: as the caller promises.
    unsafe {
        let [a, b, c, d] = [words.at(0), words.at(1), words.at(2), words.at(3)];
        let high = |x| bytes(_mm512_srli_epi16::<4>(x), 15);
        [bytes(a, 15), bytes(b, 15), bytes(c, 15), bytes(d, 15), high(a), high(b), high(c), high(d)]
    }
}

/// The same with a fifth bit each, those of a row in the word in front.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn fives(words: Words) -> [__m512i; 8] {
    // SAFETY: as the caller promises.
    unsafe {
        // Four bits spread over four bytes, as the fifth of each.
        let spread = |bits: i32| (0..4).fold(0, |word, i| word | (bits >> i & 1) << (8 * i + 4));
        let table: [i32; 16] = std::array::from_fn(|bits| spread(bits as i32));
        let table = _mm512_loadu_si512(table.as_ptr().cast());
        let (mut codes, bits) = (nibbles(Words(words.0.add(16))), words.at(0));
        for (quad, codes) in codes.iter_mut().enumerate() {
            let four = _mm512_srl_epi32(bits, count(4 * quad));
            *codes = _mm512_or_si512(*codes, _mm512_permutexvar_epi32(four, table));
        }
        codes
    }
}

/// 32 codes of 8 bits in eight words, made unsigned.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn eights(words: Words) -> [__m512i; 8] {
    // SAFETY: as the caller promises.
    unsafe { each(|i| _mm512_xor_si512(words.at(i), _mm512_set1_epi8(-128))) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn each(of: impl Fn(usize) -> __m512i) -> [__m512i; 8] {
    [of(0), of(1), of(2), of(3), of(4), of(5), of(6), of(7)]
}

/// Formats with blocks of 32: two of `$each` words, a float16 scale for each in `$shared` words in front of both, or in front of each with
/// a minimum.
macro_rules! blocks32 {
    ($($name:ident, $shared:literal + 2 * $each:literal words, $scales:expr, $codes:ident from $from:literal;)*) => {$(
        pub(super) struct $name;
        impl Unpack for $name {
            const WORDS: usize = $shared + 2 * $each;

            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
            unsafe fn scales(_header: Words, unit: Words, group: usize) -> [__m512; 2] {
                // SAFETY: as the caller promises.
                unsafe { $scales(Words(unit.0.wrapping_add(16 * (1 - $shared) * $each * group)), group) }
            }

            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
            unsafe fn codes(unit: Words, part: usize) -> [__m512i; 8] {
                // SAFETY: as the caller promises.
                unsafe { $codes(Words(unit.0.add(16 * ($shared + $each * part + $from)))) }
            }
        }
    )*};
}
blocks32! {
    Q4_0, 1 + 2 * 4 words, |unit, group| scale_of_two(unit, group, 8.0), nibbles from 0;
    Q4_1, 0 + 2 * 5 words, |unit, _| scale_and_minimum(unit), nibbles from 1;
    Q5_0, 1 + 2 * 5 words, |unit, group| scale_of_two(unit, group, 16.0), fives from 0;
    Q5_1, 0 + 2 * 6 words, |unit, _| scale_and_minimum(unit), fives from 1;
    Q8_0, 1 + 2 * 8 words, |unit, group| scale_of_two(unit, group, 128.0), eights from 0;
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn scale_of_two(unit: Words, group: usize, zero: f32) -> [__m512; 2] {
    // SAFETY: as the caller promises.
    unsafe {
        let both = unit.at(0);
        around(if group == 0 { low_half(both) } else { high_half(both) }, zero)
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn scale_and_minimum(block: Words) -> [__m512; 2] {
    // SAFETY: as the caller promises.
    unsafe {
        let both = block.at(0);
        [low_half(both), high_half(both)]
    }
}

pub(super) struct Int8;

impl Unpack for Int8 {
    const HEADER: usize = 1;
    const WORDS: usize = 16;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
    unsafe fn scales(header: Words, _unit: Words, _group: usize) -> [__m512; 2] {
        // SAFETY: as the caller promises; a row's header is a float.
        unsafe { around(_mm512_castsi512_ps(header.at(0)), 128.0) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
    unsafe fn codes(unit: Words, part: usize) -> [__m512i; 8] {
        // SAFETY: as the caller promises.
        unsafe { eights(Words(unit.0.add(16 * 8 * part))) }
    }
}

/// Formats with blocks of 256.
macro_rules! blocks256 {
    ($($name:ident, $words:literal words, $shared:literal, $scales:ident, $codes:ident;)*) => {$(
        pub(super) struct $name;
        impl Unpack for $name {
            const ELEMENTS: usize = 256;
            const WORDS: usize = $words;
            const SHARED: usize = $shared;

            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
            unsafe fn scales(_header: Words, unit: Words, group: usize) -> [__m512; 2] {
                // SAFETY: as the caller promises.
                unsafe { $scales(unit, group) }
            }

            #[inline]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
            unsafe fn codes(unit: Words, part: usize) -> [__m512i; 8] {
                // SAFETY: as the caller promises.
                unsafe { $codes(unit, part) }
            }
        }
    )*};
}
blocks256! {
    Q2K, 21 words, 16, q2_k_scales, q2_k_codes;
    Q3K, 28 words, 16, q3_k_scales, q3_k_codes;
    Q4K, 36 words, 32, scales_of_32, q4_k_codes;
    Q5K, 44 words, 32, scales_of_32, q5_k_codes;
    Q6K, 53 words, 16, q6_k_scales, q6_k_codes;
}

/// 32 codes in eight words, of so many bits above `shift` in each byte.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn shifted(words: Words, shift: usize, mask: i8) -> [__m512i; 8] {
    // SAFETY: as the caller promises.
    unsafe { each(|i| bytes(_mm512_srl_epi32(words.at(i), count(shift)), mask)) }
}

/// The same with more bits above them: those of `high` above `shift`, that many places up.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn with_high(codes: [__m512i; 8], high: [__m512i; 8], up: u32) -> [__m512i; 8] {
    each(|i| _mm512_or_si512(codes[i], _mm512_sll_epi32(high[i], count(up as usize))))
}

/// Vector `index` of a unit and those behind it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
fn from(unit: Words, index: usize) -> Words {
    Words(unit.0.wrapping_add(16 * index))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn q2_k_scales(unit: Words, group: usize) -> [__m512; 2] {
    // SAFETY: as the caller promises.
    unsafe {
        let (both, packed) = (unit.at(20), unit.byte(group));
        let minimum = _mm512_mul_ps(high_half(both), floats(_mm512_srli_epi32::<4>(packed), 15));
        [_mm512_mul_ps(low_half(both), floats(packed, 15)), _mm512_sub_ps(_mm512_setzero_ps(), minimum)]
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn q2_k_codes(unit: Words, part: usize) -> [__m512i; 8] {
    // SAFETY: as the caller promises.
    unsafe { shifted(from(unit, 4 + 8 * (part / 4)), 2 * (part % 4), 3) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn q3_k_scales(unit: Words, group: usize) -> [__m512; 2] {
    let packed = from(unit, 24);
    // SAFETY: as the caller promises.
    unsafe {
        let four = _mm512_srl_epi32(packed.byte(group % 8), count(group / 8 * 4));
        let two = _mm512_srl_epi32(packed.byte(8 + group % 4), count(group / 4 * 2));
        let six = _mm512_add_ps(floats(four, 15), floats(_mm512_slli_epi32::<4>(two), 48));
        let signed = _mm512_sub_ps(six, _mm512_set1_ps(32.0));
        around(_mm512_mul_ps(low_half(unit.at(27)), signed), 4.0)
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn q3_k_codes(unit: Words, part: usize) -> [__m512i; 8] {
    // SAFETY: as the caller promises.
    unsafe {
        let low = shifted(from(unit, 8 + 8 * (part / 4)), 2 * (part % 4), 3);
        with_high(low, shifted(unit, part, 1), 2)
    }
}

/// A scale and a minimum of 6 bits for each 32, in three words behind a float16 for either.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn scales_of_32(unit: Words, group: usize) -> [__m512; 2] {
    let packed = from(unit, 1);
    // SAFETY: as the caller promises.
    unsafe {
        let (both, [scale, minimum]) = (
            unit.at(0),
            match group {
                0..4 => [floats(packed.byte(group), 63), floats(packed.byte(4 + group), 63)],
                _ => {
                    let (four, two) = (packed.byte(4 + group), [packed.byte(group - 4), packed.byte(group)]);
                    let fours = [four, _mm512_srli_epi32::<4>(four)];
                    let six = |i: usize| {
                        let high = floats(_mm512_srli_epi32::<2>(two[i]), 48);
                        _mm512_add_ps(floats(fours[i], 15), high)
                    };
                    [six(0), six(1)]
                }
            },
        );
        let minimum = _mm512_mul_ps(high_half(both), minimum);
        [_mm512_mul_ps(low_half(both), scale), _mm512_sub_ps(_mm512_setzero_ps(), minimum)]
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn q4_k_codes(unit: Words, part: usize) -> [__m512i; 8] {
    // SAFETY: as the caller promises.
    unsafe { shifted(from(unit, 4 + 8 * (part / 2)), 4 * (part % 2), 15) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn q5_k_codes(unit: Words, part: usize) -> [__m512i; 8] {
    // SAFETY: as the caller promises.
    unsafe {
        let low = shifted(from(unit, 12 + 8 * (part / 2)), 4 * (part % 2), 15);
        with_high(low, shifted(from(unit, 4), part, 1), 4)
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn q6_k_scales(unit: Words, group: usize) -> [__m512; 2] {
    // SAFETY: as the caller promises.
    unsafe {
        let signed = _mm512_srai_epi32::<24>(_mm512_slli_epi32::<24>(from(unit, 48).byte(group)));
        around(_mm512_mul_ps(low_half(unit.at(52)), _mm512_cvtepi32_ps(signed)), 32.0)
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
unsafe fn q6_k_codes(unit: Words, part: usize) -> [__m512i; 8] {
    let (half, part) = (part / 4, part % 4);
    // SAFETY: as the caller promises.
    unsafe {
        let low = shifted(from(unit, 16 * half + 8 * (part % 2)), part / 2 * 4, 15);
        with_high(low, shifted(from(unit, 32 + 8 * half), 2 * part, 3), 4)
    }
}
