//! Blocks unpacked to vectors: 256 unsigned codes in their order, so that a quarter of a vector is a group of 16, and for each group a scale and
//! an offset. The offset holds what was added to the codes to make them unsigned. See [`crate::quant::Run`] for what the bits mean.

use std::arch::x86_64::*;

use crate::quant::RUN;

/// 256 elements: `scales[g] · codes[i] + offsets[g]`.
pub(super) struct Unpacked {
    pub(super) codes: [__m512i; 4],
    pub(super) scales: __m512,
    pub(super) offsets: __m512,
}

pub(super) trait Unpack {
    /// How many groups of 16 share their scale.
    const GROUPS_TOGETHER: usize;

    /// Unpacks `len` elements of a row from `start` on, a multiple of [`RUN`]. What is beyond has offset and either scale or codes 0, or meets
    /// zeros.
    unsafe fn unpack(row: *const u8, start: usize, len: usize) -> Unpacked;
}

/// A float16 in all lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,f16c")]
unsafe fn half(at: *const u8) -> __m512 {
    // SAFETY: two bytes are there.
    let bits = unsafe { at.cast::<i16>().read_unaligned() };
    _mm512_cvtph_ps(_mm256_set1_epi16(bits))
}

/// The bits from `low` on in the first half of a vector, from `high` on in the second.
#[inline]
#[target_feature(enable = "avx512f")]
fn shift(x: __m512i, low: i32, high: i32) -> __m512i {
    let counts = _mm512_inserti64x4::<1>(_mm512_set1_epi32(low), _mm256_set1_epi32(high));
    _mm512_srlv_epi32(x, counts)
}

/// 32 bytes twice.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn twice(at: *const u8) -> __m512i {
    // SAFETY: as the caller promises.
    _mm512_broadcast_i64x4(unsafe { _mm256_loadu_si256(at.cast()) })
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn and(x: __m512i, mask: i8) -> __m512i {
    _mm512_and_si512(x, _mm512_set1_epi8(mask))
}

/// A format with blocks of 32 elements: a float16 scale first, after it a float16 minimum if there is one.
trait Block32 {
    const BYTES: usize;
    const HAS_MINIMUM: bool;
    /// What was added to the codes.
    const ZERO: f32;

    /// The codes of two blocks.
    unsafe fn codes(first: *const u8, second: *const u8) -> __m512i;
}

impl<B: Block32> Unpack for B {
    const GROUPS_TOGETHER: usize = 2;

    #[inline(always)]
    unsafe fn unpack(row: *const u8, start: usize, len: usize) -> Unpacked {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
        #[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
        unsafe fn some<B: Block32>(first: *const u8, blocks: usize) -> Unpacked {
            let block = |index: usize| first.wrapping_add(index * B::BYTES);
            let mut headers = _mm512_setzero_si512();
            let mut codes = [_mm512_setzero_si512(); 4];
            // SAFETY: every block that is read is there.
            unsafe {
                for index in 0..blocks {
                    let header = block(index).cast::<i32>().read_unaligned();
                    headers = _mm512_mask_set1_epi32(headers, 3 << (2 * index), header);
                }
                for pair in 0..blocks.div_ceil(2) {
                    // An odd one's twin has scale and offset 0.
                    codes[pair] = B::codes(block(2 * pair), block((2 * pair + 1).min(blocks - 1)));
                }
            }
            let half = |words| _mm512_cvtph_ps(_mm512_cvtepi32_epi16(words));
            let scales = half(headers);
            let offsets = match B::HAS_MINIMUM {
                true => half(_mm512_srli_epi32::<16>(headers)),
                false => _mm512_mul_ps(scales, _mm512_set1_ps(-B::ZERO)),
            };
            Unpacked { codes, scales, offsets }
        }
        let first = row.wrapping_add(start / 32 * B::BYTES);
        // SAFETY: as the caller promises.
        unsafe {
            match len {
                RUN => some::<B>(first, 8),
                _ => some::<B>(first, len / 32),
            }
        }
    }
}

/// 32 codes of 4 bits from 16 bytes each: low halves, then high ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn nibbles(first: *const u8, second: *const u8) -> __m512i {
    // SAFETY: as the caller promises.
    let both = unsafe {
        let first = _mm256_broadcastsi128_si256(_mm_loadu_si128(first.cast()));
        let second = _mm256_broadcastsi128_si256(_mm_loadu_si128(second.cast()));
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second)
    };
    let counts = _mm512_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4, 0, 0, 0, 0, 4, 4, 4, 4);
    and(_mm512_srlv_epi32(both, counts), 15)
}

/// The same with a fifth bit each, from 4 bytes in front.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn fives(first: *const u8, second: *const u8) -> __m512i {
    // SAFETY: as the caller promises.
    unsafe {
        let high = |at: *const u8| u64::from(at.cast::<u32>().read_unaligned());
        let bits = high(first) | high(second) << 32;
        let fours = nibbles(first.add(4), second.add(4));
        _mm512_mask_add_epi8(fours, bits, fours, _mm512_set1_epi8(16))
    }
}

macro_rules! blocks32 {
    ($($name:ident, $bytes:literal, $zero:literal, $has_minimum:literal, |$first:ident, $second:ident| $codes:expr;)*) => {$(
        pub(super) struct $name;
        impl Block32 for $name {
            const BYTES: usize = $bytes;
            const HAS_MINIMUM: bool = $has_minimum;
            const ZERO: f32 = $zero;

            #[inline(always)]
            unsafe fn codes($first: *const u8, $second: *const u8) -> __m512i {
                // SAFETY: as the caller promises.
                unsafe { $codes }
            }
        }
    )*};
}
blocks32! {
    Q4_0, 18, 8.0, false, |first, second| nibbles(first.add(2), second.add(2));
    Q4_1, 20, 0.0, true, |first, second| nibbles(first.add(4), second.add(4));
    Q5_0, 22, 16.0, false, |first, second| fives(first.add(2), second.add(2));
    Q5_1, 24, 0.0, true, |first, second| fives(first.add(4), second.add(4));
    Q8_0, 34, 128.0, false, |first, second| eights(first.add(2), second.add(2));
}

/// 32 codes of 8 bits each, made unsigned.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn eights(first: *const u8, second: *const u8) -> __m512i {
    // SAFETY: as the caller promises.
    let both = unsafe {
        let (first, second) = (_mm256_loadu_si256(first.cast()), _mm256_loadu_si256(second.cast()));
        _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second)
    };
    _mm512_xor_si512(both, _mm512_set1_epi8(-128))
}

pub(super) struct Int8;

impl Unpack for Int8 {
    const GROUPS_TOGETHER: usize = 2;

    #[inline(always)]
    unsafe fn unpack(row: *const u8, start: usize, len: usize) -> Unpacked {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        unsafe fn some(row: *const u8, start: usize, len: usize) -> Unpacked {
            // SAFETY: the row has a scale and so many elements; the masks leave out what is beyond.
            unsafe {
                let scales = _mm512_set1_ps(row.cast::<f32>().read_unaligned());
                let first = row.wrapping_add(size_of::<f32>() + start).cast::<i8>();
                let mut codes = [_mm512_setzero_si512(); 4];
                for (part, codes) in codes.iter_mut().enumerate() {
                    let there = match len.saturating_sub(64 * part) {
                        64.. => !0,
                        some => (1 << some) - 1,
                    };
                    let signed = _mm512_maskz_loadu_epi8(there, first.wrapping_add(64 * part));
                    *codes = _mm512_xor_si512(signed, _mm512_set1_epi8(-128));
                }
                Unpacked { codes, scales, offsets: _mm512_mul_ps(scales, _mm512_set1_ps(-128.0)) }
            }
        }
        // SAFETY: as the caller promises.
        unsafe {
            match len {
                RUN => some(row, start, RUN),
                _ => some(row, start, len),
            }
        }
    }
}

/// A format with blocks of 256 elements.
macro_rules! blocks256 {
    ($($name:ident, $bytes:literal, $together:literal, $unpack:ident;)*) => {$(
        pub(super) struct $name;
        impl Unpack for $name {
            const GROUPS_TOGETHER: usize = $together;

            #[inline(always)]
            unsafe fn unpack(row: *const u8, start: usize, _len: usize) -> Unpacked {
                // SAFETY: as the caller promises; rows are whole blocks.
                unsafe { $unpack(row.wrapping_add(start / RUN * $bytes)) }
            }
        }
    )*};
}
blocks256! {
    Q2K, 84, 1, q2_k;
    Q3K, 110, 1, q3_k;
    Q4K, 144, 2, q4_k;
    Q5K, 176, 2, q5_k;
    Q6K, 210, 1, q6_k;
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn q2_k(block: *const u8) -> Unpacked {
    // SAFETY: as the caller promises.
    unsafe {
        let packed = _mm512_cvtepu8_epi32(_mm_loadu_si128(block.cast()));
        let (scales, least) =
            (_mm512_and_si512(packed, _mm512_set1_epi32(15)), _mm512_srli_epi32::<4>(packed));
        let minimum = _mm512_mul_ps(half(block.add(82)), _mm512_cvtepi32_ps(least));
        Unpacked {
            codes: twos(block.add(16)),
            scales: _mm512_mul_ps(half(block.add(80)), _mm512_cvtepi32_ps(scales)),
            offsets: _mm512_sub_ps(_mm512_setzero_ps(), minimum),
        }
    }
}

/// 256 codes of 2 bits from 64 bytes: of each 32 bytes the lowest two bits, the next, and so on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn twos(from: *const u8) -> [__m512i; 4] {
    // SAFETY: as the caller promises.
    let [first, second] = unsafe { [twice(from), twice(from.add(32))] };
    [
        and(shift(first, 0, 2), 3),
        and(shift(first, 4, 6), 3),
        and(shift(second, 0, 2), 3),
        and(shift(second, 4, 6), 3),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn q3_k(block: *const u8) -> Unpacked {
    // SAFETY: as the caller promises.
    unsafe {
        let mut codes = twos(block.add(32));
        let high = twice(block);
        for (part, codes) in codes.iter_mut().enumerate() {
            let bit = and(shift(high, 2 * part as i32, 2 * part as i32 + 1), 1);
            *codes = _mm512_or_si512(*codes, _mm512_slli_epi32::<2>(bit));
        }
        let word = |at: usize| block.add(96 + 4 * at).cast::<u32>().read_unaligned();
        let [low, middle, high] = [word(0), word(1), word(2)];
        let six = |four: u32, two: u32| ((four & 0x0f0f0f0f) | (two & 0x03030303) << 4) as i32;
        let packed = _mm_setr_epi32(
            six(low, high),
            six(middle, high >> 2),
            six(low >> 4, high >> 4),
            six(middle >> 4, high >> 6),
        );
        let signed = _mm512_sub_epi32(_mm512_cvtepu8_epi32(packed), _mm512_set1_epi32(32));
        let scales = _mm512_mul_ps(half(block.add(108)), _mm512_cvtepi32_ps(signed));
        Unpacked { codes, scales, offsets: _mm512_mul_ps(scales, _mm512_set1_ps(-4.0)) }
    }
}

/// The scales and offsets of eight groups of 32 from the first 16 bytes of a block: a float16 for either, and 6 bits each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn scales_of_32(block: *const u8) -> (__m512, __m512) {
    // SAFETY: as the caller promises.
    unsafe {
        let word = |at: usize| block.add(4 + 4 * at).cast::<u32>().read_unaligned();
        let [low, least, high] = [word(0), word(1), word(2)];
        let six = |four: u32, two: u32| (four & 0x0f0f0f0f) | (two >> 2 & 0x30303030);
        let eight = |first: u32, second: u32| {
            let bytes = _mm_set1_epi64x((u64::from(first) | u64::from(second) << 32) as i64);
            _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_unpacklo_epi8(bytes, bytes)))
        };
        let scales = eight(low & 0x3f3f3f3f, six(high, low));
        let minima = eight(least & 0x3f3f3f3f, six(high >> 4, least));
        let minimum = _mm512_mul_ps(half(block.add(2)), minima);
        (_mm512_mul_ps(half(block), scales), _mm512_sub_ps(_mm512_setzero_ps(), minimum))
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn q4_k(block: *const u8) -> Unpacked {
    // SAFETY: as the caller promises.
    unsafe {
        let (scales, offsets) = scales_of_32(block);
        let codes = [0, 1, 2, 3].map(|part| and(shift(twice(block.add(16 + 32 * part)), 0, 4), 15));
        Unpacked { codes, scales, offsets }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn q5_k(block: *const u8) -> Unpacked {
    // SAFETY: as the caller promises.
    unsafe {
        let (scales, offsets) = scales_of_32(block);
        let high = twice(block.add(16));
        let codes = [0, 1, 2, 3].map(|part| {
            let low = and(shift(twice(block.add(48 + 32 * part)), 0, 4), 15);
            let bit = and(shift(high, 2 * part as i32, 2 * part as i32 + 1), 1);
            _mm512_or_si512(low, _mm512_slli_epi32::<4>(bit))
        });
        Unpacked { codes, scales, offsets }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn q6_k(block: *const u8) -> Unpacked {
    // SAFETY: as the caller promises.
    unsafe {
        let packed = _mm512_cvtepi8_epi32(_mm_loadu_si128(block.add(192).cast()));
        let scales = _mm512_mul_ps(half(block.add(208)), _mm512_cvtepi32_ps(packed));
        let mut codes = [_mm512_setzero_si512(); 4];
        for part in 0..2 {
            let low = _mm512_loadu_si512(block.add(64 * part).cast());
            let high = twice(block.add(128 + 32 * part));
            let six = |low, high| _mm512_or_si512(and(low, 15), _mm512_slli_epi32::<4>(and(high, 3)));
            codes[2 * part] = six(low, shift(high, 0, 2));
            codes[2 * part + 1] = six(_mm512_srli_epi32::<4>(low), shift(high, 4, 6));
        }
        Unpacked { codes, scales, offsets: _mm512_mul_ps(scales, _mm512_set1_ps(-32.0)) }
    }
}
