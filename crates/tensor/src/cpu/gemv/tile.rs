//! Products of blocks with more than a few rows by AVX-512 VNNI: sixteen outputs side by side in the lanes of a vector.
//!
//! 256 elements of sixteen rows of weights are unpacked and turned, so that a vector holds four neighbouring codes of each. A row of the left
//! side then needs no sums across lanes, and its codes and scales are broadcast as they are read.

use std::arch::x86_64::*;
use std::ops::Range;

use super::activations::Activations;
use super::blocks::Blocks;
use super::unpack::Unpack;
use crate::quant::{GROUP, RUN};

/// Outputs of a tile: the lanes of a vector.
const LANES: usize = 16;
const GROUPS: usize = RUN / GROUP;
const LINE: usize = 64;

/// 256 elements of sixteen rows.
struct Turned {
    /// Vector `i` has codes `4 i` to `4 i + 4` of each row.
    codes: [__m512i; RUN / 4],
    scales: [__m512; GROUPS],
    offsets: [__m512; GROUPS],
}

/// Writes the products of some outputs with all rows: (rows, outputs).
///
/// # Safety
/// As for [`super::vnni::run`]; the outputs must be rows of `blocks`.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
pub(super) unsafe fn all<F: Unpack>(
    blocks: &Blocks,
    left: &Activations,
    columns: usize,
    outputs: Range<usize>,
    to: &mut [f32],
) {
    let width = outputs.len();
    to.fill(0.0);
    let mut straight = Straight {
        codes: [[0; RUN]; LANES],
        scales: [[0.0; GROUPS]; LANES],
        offsets: [[0.0; GROUPS]; LANES],
    };
    let mut turned = Turned {
        codes: [_mm512_setzero_si512(); RUN / 4],
        scales: [_mm512_setzero_ps(); GROUPS],
        offsets: [_mm512_setzero_ps(); GROUPS],
    };
    for first in (0..width).step_by(LANES) {
        let count = LANES.min(width - first);
        let there = (1u32 << count) as u16;
        let there = if count == LANES { !0 } else { there - 1 };
        for start in (0..columns).step_by(RUN) {
            // SAFETY: as the caller promises. Lanes beyond the last output repeat it and are not stored.
            unsafe {
                let row = |lane: usize| blocks.row(outputs.start + first + lane.min(count - 1));
                // The rows of the next tile are one stretch of memory; those of this one are read side by side, which would be far slower.
                let bytes = blocks.row_bytes() * LANES;
                let soon = blocks.row(outputs.start + first).as_ptr().wrapping_add(bytes);
                for at in (start * bytes / columns..(start + RUN) * bytes / columns).step_by(LINE) {
                    _mm_prefetch::<_MM_HINT_T0>(soon.wrapping_add(at).cast());
                }
                turn::<F>(row, (start, (columns - start).min(RUN)), &mut straight, &mut turned);
                let mut row = 0;
                while row < left.rows {
                    let sums = to.as_mut_ptr().add(row * width + first);
                    row += match left.rows - row {
                        8.. => add::<F, 8>(&turned, left, row, start, sums, width, there),
                        4.. => add::<F, 4>(&turned, left, row, start, sums, width, there),
                        2.. => add::<F, 2>(&turned, left, row, start, sums, width, there),
                        _ => add::<F, 1>(&turned, left, row, start, sums, width, there),
                    };
                }
            }
        }
    }
}

/// 256 elements of sixteen rows as they were unpacked.
#[repr(align(64))]
struct Straight {
    codes: [[u8; RUN]; LANES],
    scales: [[f32; GROUPS]; LANES],
    offsets: [[f32; GROUPS]; LANES],
}

/// Unpacks `len` elements of sixteen rows from `start` on, and turns them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn turn<'a, F: Unpack>(
    row: impl Fn(usize) -> &'a [u8],
    (start, len): (usize, usize),
    straight: &mut Straight,
    turned: &mut Turned,
) {
    for lane in 0..LANES {
        // SAFETY: as the caller promises; the rows have room for four vectors of codes and one of either float.
        unsafe {
            let unpacked = F::unpack(row(lane).as_ptr(), start, len);
            for (part, codes) in unpacked.codes.iter().enumerate() {
                _mm512_store_si512(straight.codes[lane].as_mut_ptr().add(64 * part).cast(), *codes);
            }
            _mm512_store_ps(straight.scales[lane].as_mut_ptr(), unpacked.scales);
            _mm512_store_ps(straight.offsets[lane].as_mut_ptr(), unpacked.offsets);
        }
    }
    let (codes, scales, offsets) =
        (straight.codes.as_ptr(), straight.scales.as_ptr(), straight.offsets.as_ptr());
    for four in 0..RUN / 16 {
        // SAFETY: four neighbouring words of every row are within it.
        unsafe {
            let from = codes.cast::<u8>().add(16 * four);
            turn_four(from, RUN, turned.codes.as_mut_ptr().add(4 * four));
        }
    }
    for four in 0..GROUPS / 4 {
        // SAFETY: as above.
        unsafe {
            let to = turned.scales.as_mut_ptr().add(4 * four);
            turn_four(scales.cast::<u8>().add(16 * four), size_of_val(&straight.scales[0]), to.cast());
            let to = turned.offsets.as_mut_ptr().add(4 * four);
            turn_four(offsets.cast::<u8>().add(16 * four), size_of_val(&straight.offsets[0]), to.cast());
        }
    }
}

/// Turns four words of each of sixteen rows, which lie `stride` bytes apart, to four vectors: within quarters, after those were put together
/// of rows 0, 4, 8 and 12, and so on.
#[inline]
#[target_feature(enable = "avx512f")]
unsafe fn turn_four(from: *const u8, stride: usize, to: *mut __m512i) {
    // SAFETY: as the caller promises.
    unsafe {
        let row = |row: usize| _mm_loadu_si128(from.add(row * stride).cast());
        let quarters = |first: usize| {
            let x = _mm512_castsi128_si512(row(first));
            let x = _mm512_inserti32x4::<1>(x, row(first + 4));
            let x = _mm512_inserti32x4::<2>(x, row(first + 8));
            _mm512_inserti32x4::<3>(x, row(first + 12))
        };
        let (a, b, c, d) = (quarters(0), quarters(1), quarters(2), quarters(3));
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        _mm512_store_si512(to.cast(), _mm512_unpacklo_epi64(ab, cd));
        _mm512_store_si512(to.add(1).cast(), _mm512_unpackhi_epi64(ab, cd));
        let (ab, cd) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        _mm512_store_si512(to.add(2).cast(), _mm512_unpacklo_epi64(ab, cd));
        _mm512_store_si512(to.add(3).cast(), _mm512_unpackhi_epi64(ab, cd));
    }
}

/// Adds the products with `M` rows of the left side, from `row` on, to their sums, which are `width` apart; says M.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn add<F: Unpack, const M: usize>(
    turned: &Turned,
    left: &Activations,
    row: usize,
    start: usize,
    sums: *mut f32,
    width: usize,
    there: __mmask16,
) -> usize {
    /// Vectors of codes in a group of 16.
    const VECTORS: usize = GROUP / 4;
    // SAFETY: the left side is filled up to whole runs, and the mask leaves out what is beyond the sums.
    unsafe {
        let mut codes = [std::ptr::null::<i8>(); M];
        let mut groups = [(std::ptr::null::<f32>(), std::ptr::null::<f32>()); M];
        let mut total = [_mm512_setzero_ps(); M];
        for m in 0..M {
            codes[m] = left.codes(row + m).as_ptr().add(start);
            let (scales, totals) = left.groups(row + m);
            groups[m] = (scales.as_ptr().add(start / GROUP), totals.as_ptr().add(start / GROUP));
            total[m] = _mm512_maskz_loadu_ps(there, sums.add(m * width));
        }
        for group in (0..GROUPS).step_by(F::GROUPS_TOGETHER) {
            let scale = turned.scales[group];
            let mut products = [_mm512_setzero_si512(); M];
            for i in 0..VECTORS * F::GROUPS_TOGETHER {
                let w = turned.codes[VECTORS * group + i];
                for m in 0..M {
                    let x = codes[m].add(4 * (VECTORS * group + i)).cast::<i32>().read_unaligned();
                    products[m] = _mm512_dpbusd_epi32(products[m], w, _mm512_set1_epi32(x));
                }
            }
            for m in 0..M {
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(*groups[m].0.add(group)));
                total[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[m]), scale, total[m]);
                for g in group..group + F::GROUPS_TOGETHER {
                    let sum = _mm512_set1_ps(*groups[m].1.add(g));
                    total[m] = _mm512_fmadd_ps(turned.offsets[g], sum, total[m]);
                }
            }
        }
        for m in 0..M {
            _mm512_mask_storeu_ps(sums.add(m * width), there, total[m]);
        }
    }
    M
}
