//! Blocks unpacked to vectors: unsigned codes, and for each group of 16 a scale and an offset. The offset holds what was added to the codes to
//! make them unsigned. See [`crate::quant::Run`] for what the bits mean.

use std::arch::asm;
use std::arch::x86_64::*;

use super::activations::TURN;
use crate::quant::RUN;

/// A format: element `i` of a row is `scales[i / 16] * codes[i] + offsets[i / 16]`.
pub(super) trait Unpack {
    /// How many groups of 16 share their scale.
    const GROUPS_TOGETHER: usize;
    /// Bytes in front of a row's blocks.
    const HEADER: usize = 0;
    /// Bytes of a run of [`RUN`] elements. So many must be there to be read, whatever they say.
    const BYTES: usize;

    /// The scales and offsets of a run's groups; 0 for those that are not `there` if that matters.
    unsafe fn scales(row: *const u8, run: *const u8, there: __mmask16) -> [__m512; 2];

    /// The codes of the first or the second [`TURN`] elements of a run, in the order of [`super::activations::Row::bytes`]: a quarter of a
    /// vector is a group, the even ones come first. So where two groups share their scale, and in most formats they do, those lie in the
    /// same quarters of two vectors.
    unsafe fn codes(run: *const u8, half: usize) -> [__m512i; 2];
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
    /// Bytes of a block.
    const BLOCK: usize;
    const HAS_MINIMUM: bool;
    /// What was added to the codes.
    const ZERO: f32;
    /// Where the scale of each group lies in two vectors of 64 bytes, the first four blocks' and the others', in units of 2 bytes; behind
    /// them the same for the minima.
    const HEADERS: [i16; 32] = {
        let mut places = [0; 32];
        let mut place = 0;
        while place < 32 {
            let block = place % 16 / 2;
            places[place] = (32 * (block / 4) + block % 4 * Self::BLOCK / 2 + place / 16) as i16;
            place += 1;
        }
        places
    };

    /// The codes of four blocks, one after another: the first halves of all, and the second ones.
    unsafe fn codes(blocks: *const u8) -> [__m512i; 2];
}

impl<B: Block32> Unpack for B {
    const GROUPS_TOGETHER: usize = 2;
    const BYTES: usize = RUN / 32 * B::BLOCK;

    #[inline(always)]
    unsafe fn scales(_row: *const u8, run: *const u8, there: __mmask16) -> [__m512; 2] {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,f16c")]
        unsafe fn some<B: Block32>(run: *const u8, there: __mmask16) -> [__m512; 2] {
            // SAFETY: as the caller promises.
            let headers = unsafe { headers::<B>(run) };
            // What follows are the next row's.
            let scales = _mm512_maskz_cvtph_ps(there, _mm512_castsi512_si256(headers));
            let offsets = match B::HAS_MINIMUM {
                true => _mm512_maskz_cvtph_ps(there, _mm512_extracti64x4_epi64::<1>(headers)),
                false => _mm512_mul_ps(scales, _mm512_set1_ps(-B::ZERO)),
            };
            [scales, offsets]
        }
        // SAFETY: as the caller promises.
        unsafe { some::<B>(run, there) }
    }

    #[inline(always)]
    unsafe fn codes(run: *const u8, half: usize) -> [__m512i; 2] {
        // SAFETY: as the caller promises.
        unsafe { <B as Block32>::codes(run.add(4 * half * B::BLOCK)) }
    }
}

/// The float16 scales of all groups of eight blocks, and then what lies behind those.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn headers<B: Block32>(run: *const u8) -> __m512i {
    // SAFETY: as the caller promises; in blocks so small, four headers and 64 bytes from the fifth block on are within eight.
    unsafe {
        if 3 * B::BLOCK + 4 <= 64 {
            let run = apart(run);
            let [some, others] = [0, 4].map(|block| _mm512_loadu_si512(run.add(block * B::BLOCK).cast()));
            let places = _mm512_loadu_si512(B::HEADERS.as_ptr().cast());
            return _mm512_permutex2var_epi16(some, places, others);
        }
        let mut words = _mm512_setzero_si512();
        for block in 0..8 {
            let header = run.add(block * B::BLOCK).cast::<i32>().read_unaligned();
            words = _mm512_mask_set1_epi32(words, 3 << (2 * block), header);
        }
        let low = _mm512_castsi256_si512(_mm512_cvtepi32_epi16(words));
        _mm512_inserti64x4::<1>(low, _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(words)))
    }
}

/// The same address, unknown to the compiler: what is loaded from here it would otherwise shuffle out of what it has loaded from there,
/// and that takes longer than to load it again.
#[inline(always)]
#[expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is read through it")]
fn apart(mut at: *const u8) -> *const u8 {
    // SAFETY: nothing is done.
    unsafe { asm!("/* {0} */", inout(reg) at, options(pure, nomem, nostack, preserves_flags)) };
    at
}

/// 16 bytes from each of four places.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn quarters(at: [*const u8; 4]) -> __m512i {
    // SAFETY: as the caller promises.
    unsafe {
        let [a, b, c, d] = at.map(|at| _mm_loadu_si128(at.cast()));
        let x = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(a), b);
        _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(x, c), d)
    }
}

/// Where the words of 16 bytes lie that each of four blocks of `BLOCK` bytes has from byte `FROM` on: in 64 bytes from the first block on, and
/// in the last 64 bytes of all.
struct Sixteens<const BLOCK: usize, const FROM: usize>;

impl<const BLOCK: usize, const FROM: usize> Sixteens<BLOCK, FROM> {
    const LAST: usize = 4 * BLOCK - 64;
    const WORDS: [i16; 32] = {
        let mut words = [0; 32];
        let mut word = 0;
        while word < 32 {
            let at = (word / 8 * BLOCK + FROM) / 2 + word % 8;
            words[word] = if at < 32 { at } else { 32 + at - Self::LAST / 2 } as i16;
            word += 1;
        }
        words
    };

    /// These bytes, side by side: less work than to load and insert each.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn of(blocks: *const u8) -> __m512i {
        // SAFETY: as the caller promises, four blocks are there.
        unsafe {
            let [first, last] = [0, Self::LAST].map(|at| _mm512_loadu_si512(blocks.add(at).cast()));
            _mm512_permutex2var_epi16(first, _mm512_loadu_si512(Self::WORDS.as_ptr().cast()), last)
        }
    }
}

/// 32 codes of 4 bits of each of four blocks: low halves, then high ones.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn nibbles<const BLOCK: usize, const FROM: usize>(blocks: *const u8) -> [__m512i; 2] {
    // SAFETY: as the caller promises.
    let x = unsafe { Sixteens::<BLOCK, FROM>::of(blocks) };
    [and(x, 15), and(_mm512_srli_epi16::<4>(x), 15)]
}

/// The same with a fifth bit each, from 4 bytes in front.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn fives<const BLOCK: usize, const FROM: usize>(blocks: *const u8) -> [__m512i; 2] {
    // SAFETY: as the caller promises.
    unsafe {
        let bits =
            |block: usize| u64::from(blocks.add(block * BLOCK + FROM - 4).cast::<u32>().read_unaligned());
        let [a, b, c, d] = [bits(0), bits(1), bits(2), bits(3)];
        let sixteen = |from: u32| {
            let one = |bits: u64, to: u32| (bits >> from & 0xffff) << to;
            one(a, 0) | one(b, 16) | one(c, 32) | one(d, 48)
        };
        let [low, high] = nibbles::<BLOCK, FROM>(blocks);
        let more = _mm512_set1_epi8(16);
        [
            _mm512_mask_add_epi8(low, sixteen(0), low, more),
            _mm512_mask_add_epi8(high, sixteen(16), high, more),
        ]
    }
}

/// 32 codes of 8 bits each, made unsigned.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn eights<const BLOCK: usize, const FROM: usize>(blocks: *const u8) -> [__m512i; 2] {
    // SAFETY: as the caller promises.
    let [a, b, c, d] = [0, 1, 2, 3].map(
        #[inline(always)]
        |block| unsafe { _mm256_loadu_si256(blocks.add(block * BLOCK + FROM).cast()) },
    );
    let both = [(a, b), (c, d)].map(|(a, b)| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), b));
    paired(both).map(|half| _mm512_xor_si512(half, _mm512_set1_epi8(-128)))
}

/// Groups in their order put in that of [`Unpack::codes`].
#[inline]
#[target_feature(enable = "avx512f")]
fn paired([x, y]: [__m512i; 2]) -> [__m512i; 2] {
    let even = _mm512_setr_epi64(0, 1, 4, 5, 8, 9, 12, 13);
    let odd = _mm512_setr_epi64(2, 3, 6, 7, 10, 11, 14, 15);
    [_mm512_permutex2var_epi64(x, even, y), _mm512_permutex2var_epi64(x, odd, y)]
}

macro_rules! blocks32 {
    ($($name:ident, $bytes:literal, $zero:literal, $has_minimum:literal, $codes:ident from $from:literal;)*) => {$(
        pub(super) struct $name;
        impl Block32 for $name {
            const BLOCK: usize = $bytes;
            const HAS_MINIMUM: bool = $has_minimum;
            const ZERO: f32 = $zero;

            #[inline(always)]
            unsafe fn codes(blocks: *const u8) -> [__m512i; 2] {
                // SAFETY: as the caller promises.
                unsafe { $codes::<$bytes, $from>(blocks) }
            }
        }
    )*};
}
blocks32! {
    Q4_0, 18, 8.0, false, nibbles from 2;
    Q4_1, 20, 0.0, true, nibbles from 4;
    Q5_0, 22, 16.0, false, fives from 6;
    Q5_1, 24, 0.0, true, fives from 8;
    Q8_0, 34, 128.0, false, eights from 2;
}

pub(super) struct Int8;

impl Unpack for Int8 {
    const GROUPS_TOGETHER: usize = 2;
    const HEADER: usize = size_of::<f32>();
    const BYTES: usize = RUN;

    #[inline(always)]
    unsafe fn scales(row: *const u8, _run: *const u8, _there: __mmask16) -> [__m512; 2] {
        #[inline]
        #[target_feature(enable = "avx512f")]
        unsafe fn some(row: *const u8) -> [__m512; 2] {
            // SAFETY: the row begins with its scale.
            let scales = _mm512_set1_ps(unsafe { row.cast::<f32>().read_unaligned() });
            [scales, _mm512_mul_ps(scales, _mm512_set1_ps(-128.0))]
        }
        // SAFETY: as the caller promises.
        unsafe { some(row) }
    }

    #[inline(always)]
    unsafe fn codes(run: *const u8, half: usize) -> [__m512i; 2] {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        unsafe fn some(from: *const u8) -> [__m512i; 2] {
            // SAFETY: as the caller promises.
            let signed =
                unsafe { [_mm512_loadu_si512(from.cast()), _mm512_loadu_si512(from.add(64).cast())] };
            paired(signed).map(|codes| _mm512_xor_si512(codes, _mm512_set1_epi8(-128)))
        }
        // SAFETY: as the caller promises.
        unsafe { some(run.add(half * TURN)) }
    }
}

/// A format with blocks of 256 elements.
macro_rules! blocks256 {
    ($($name:ident, $bytes:literal, $together:literal, $scales:ident, $codes:ident;)*) => {$(
        pub(super) struct $name;
        impl Unpack for $name {
            const GROUPS_TOGETHER: usize = $together;
            const BYTES: usize = $bytes;

            #[inline(always)]
            unsafe fn scales(_row: *const u8, run: *const u8, _there: __mmask16) -> [__m512; 2] {
                // SAFETY: as the caller promises; rows are whole blocks.
                unsafe { $scales(run) }
            }

            #[inline(always)]
            unsafe fn codes(run: *const u8, half: usize) -> [__m512i; 2] {
                // SAFETY: as above.
                unsafe { $codes(run, half) }
            }
        }
    )*};
}
blocks256! {
    Q2K, 84, 1, q2_k_scales, q2_k_codes;
    Q3K, 110, 1, q3_k_scales, q3_k_codes;
    Q4K, 144, 2, scales_of_32, q4_k_codes;
    Q5K, 176, 2, scales_of_32, q5_k_codes;
    Q6K, 210, 1, q6_k_scales, q6_k_codes;
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn q2_k_scales(block: *const u8) -> [__m512; 2] {
    // SAFETY: as the caller promises.
    unsafe {
        let packed = _mm512_cvtepu8_epi32(_mm_loadu_si128(block.cast()));
        let scales = _mm512_and_si512(packed, _mm512_set1_epi32(15));
        let minimum = _mm512_mul_ps(half(block.add(82)), _mm512_cvtepi32_ps(_mm512_srli_epi32::<4>(packed)));
        let scales = _mm512_mul_ps(half(block.add(80)), _mm512_cvtepi32_ps(scales));
        [scales, _mm512_sub_ps(_mm512_setzero_ps(), minimum)]
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn q2_k_codes(block: *const u8, half: usize) -> [__m512i; 2] {
    // SAFETY: as the caller promises.
    unsafe { paired(twos(block.add(16 + 32 * half))) }
}

/// 128 codes of 2 bits from 32 bytes: the lowest two bits of all, the next, and so on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn twos(from: *const u8) -> [__m512i; 2] {
    // SAFETY: as the caller promises.
    let both = unsafe { twice(from) };
    [and(shift(both, 0, 2), 3), and(shift(both, 4, 6), 3)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn q3_k_scales(block: *const u8) -> [__m512; 2] {
    // SAFETY: as the caller promises.
    unsafe {
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
        [scales, _mm512_mul_ps(scales, _mm512_set1_ps(-4.0))]
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn q3_k_codes(block: *const u8, half: usize) -> [__m512i; 2] {
    // SAFETY: as the caller promises.
    let ([a, b], high) = unsafe { (twos(block.add(32 + 32 * half)), twice(block)) };
    let third = |codes, from| {
        let bit = and(shift(high, from, from + 1), 1);
        _mm512_or_si512(codes, _mm512_slli_epi32::<2>(bit))
    };
    let from = 4 * half as i32;
    paired([third(a, from), third(b, from + 2)])
}

/// The scales and offsets of eight groups of 32 from the first 16 bytes of a block: a float16 for either, and 6 bits each.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn scales_of_32(block: *const u8) -> [__m512; 2] {
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
        [_mm512_mul_ps(half(block), scales), _mm512_sub_ps(_mm512_setzero_ps(), minimum)]
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn q4_k_codes(block: *const u8, half: usize) -> [__m512i; 2] {
    let from = block.wrapping_add(16 + 64 * half);
    // SAFETY: as the caller promises.
    paired(unsafe { [twice(from), twice(from.wrapping_add(32))] }.map(|both| and(shift(both, 0, 4), 15)))
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn q5_k_codes(block: *const u8, half: usize) -> [__m512i; 2] {
    // SAFETY: as the caller promises.
    unsafe {
        let high = twice(block.add(16));
        paired([2 * half, 2 * half + 1].map(|part| {
            let low = and(shift(twice(block.add(48 + 32 * part)), 0, 4), 15);
            let bit = and(shift(high, 2 * part as i32, 2 * part as i32 + 1), 1);
            _mm512_or_si512(low, _mm512_slli_epi32::<4>(bit))
        }))
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,f16c")]
unsafe fn q6_k_scales(block: *const u8) -> [__m512; 2] {
    // SAFETY: as the caller promises.
    unsafe {
        let packed = _mm512_cvtepi8_epi32(_mm_loadu_si128(block.add(192).cast()));
        let scales = _mm512_mul_ps(half(block.add(208)), _mm512_cvtepi32_ps(packed));
        [scales, _mm512_mul_ps(scales, _mm512_set1_ps(-32.0))]
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn q6_k_codes(block: *const u8, half: usize) -> [__m512i; 2] {
    // SAFETY: as the caller promises.
    let (low, high) =
        unsafe { (_mm512_loadu_si512(block.add(64 * half).cast()), twice(block.add(128 + 32 * half))) };
    let six = |low, high| _mm512_or_si512(and(low, 15), _mm512_slli_epi32::<4>(and(high, 3)));
    paired([six(low, shift(high, 0, 2)), six(_mm512_srli_epi32::<4>(low), shift(high, 4, 6))])
}
