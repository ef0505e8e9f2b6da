//! Products of blocks with more than a few rows by AVX-512 VNNI: sixteen outputs side by side in the lanes of a vector.
//!
//! 256 elements of sixteen rows of weights are unpacked and turned, so that a vector holds four neighbouring codes of each. A row of the left
//! side then needs no sums across lanes, and its codes and scales are broadcast as they are read.

use std::arch::x86_64::*;
use std::ops::Range;

use super::activations::{Activations, PANEL, Panel, TURN};
use super::blocks::Blocks;
use super::unpack::{Unpack, quarters};
use super::vnni::{MAX_BYTES, there, whole_run};
use crate::cpu::simd::fetch_x86;
use crate::quant::{GROUP, RUN};

/// Outputs of a tile: the lanes of a vector.
const LANES: usize = 16;
const GROUPS: usize = RUN / GROUP;

/// 256 elements of sixteen rows.
struct Turned {
    /// Vector `i` has codes `4 i` to `4 i + 4` of each row, in the order of [`super::activations::Row::bytes`].
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
    let (width, runs) = (outputs.len(), columns.div_ceil(RUN));
    let mut straight = Straight {
        codes: [[0; RUN]; LANES],
        scales: [[0.0; GROUPS]; LANES],
        offsets: [[0.0; GROUPS]; LANES],
        copy: [0; MAX_BYTES],
    };
    let mut turned = Turned {
        codes: [_mm512_setzero_si512(); RUN / 4],
        scales: [_mm512_setzero_ps(); GROUPS],
        offsets: [_mm512_setzero_ps(); GROUPS],
    };
    for first in (0..width).step_by(LANES) {
        let count = LANES.min(width - first);
        let there = u16::MAX >> (LANES - count);
        for start in (0..columns).step_by(RUN) {
            // SAFETY: as the caller promises. Lanes beyond the last output repeat it and are not stored.
            unsafe {
                let row = |lane: usize| blocks.from(outputs.start + first + lane.min(count - 1));
                turn::<F>(row, (start, columns - start), &mut straight, &mut turned);
                for (index, panels) in left.panels.chunks_exact(runs).enumerate() {
                    let panel = &panels[start / RUN];
                    let (mut row, rows) = (0, PANEL.min(left.rows.len() - index * PANEL));
                    while row < rows {
                        let sums = to.as_mut_ptr().add((index * PANEL + row) * width + first);
                        row += match rows - row {
                            PANEL => add::<F, PANEL>(&turned, panel, row, sums, width, there),
                            4.. => add::<F, 4>(&turned, panel, row, sums, width, there),
                            2.. => add::<F, 2>(&turned, panel, row, sums, width, there),
                            _ => add::<F, 1>(&turned, panel, row, sums, width, there),
                        };
                    }
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
    /// See [`whole_run`].
    copy: [u8; MAX_BYTES],
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
        let row = row(lane);
        // SAFETY: as the caller promises; the rows have room for four vectors of codes and one of either float.
        unsafe {
            let run = whole_run::<F>(row, start, &mut straight.copy);
            // Sixteen rows are more than processors look ahead in by themselves.
            fetch_x86(run.wrapping_add(F::BYTES), F::BYTES);
            let [scales, offsets] = F::scales(row.as_ptr(), run, there(len));
            _mm512_store_ps(straight.scales[lane].as_mut_ptr(), scales);
            _mm512_store_ps(straight.offsets[lane].as_mut_ptr(), offsets);
            for half in 0..RUN / TURN {
                let to = straight.codes[lane].as_mut_ptr().add(TURN * half);
                let [even, odd] = F::codes(run, half);
                _mm512_store_si512(to.cast(), even);
                _mm512_store_si512(to.add(TURN / 2).cast(), odd);
            }
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
        let [a, b, c, d] = [0, 1, 2, 3]
            .map(|first| quarters([0, 4, 8, 12].map(|row| from.wrapping_add((first + row) * stride))));
        let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
        _mm512_store_si512(to.cast(), _mm512_unpacklo_epi64(ab, cd));
        _mm512_store_si512(to.add(1).cast(), _mm512_unpackhi_epi64(ab, cd));
        let (ab, cd) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
        _mm512_store_si512(to.add(2).cast(), _mm512_unpacklo_epi64(ab, cd));
        _mm512_store_si512(to.add(3).cast(), _mm512_unpackhi_epi64(ab, cd));
    }
}

/// Adds the products with `M` rows of a panel, from `row` on, to their sums, which are `width` apart; says M.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn add<F: Unpack, const M: usize>(
    turned: &Turned,
    panel: &Panel,
    row: usize,
    sums: *mut f32,
    width: usize,
    there: __mmask16,
) -> usize {
    /// Vectors of codes in a group of 16.
    const VECTORS: usize = GROUP / 4;
    // SAFETY: the rows are the panel's, and the mask leaves out what is beyond the sums.
    unsafe {
        let each = |all: &[f32; PANEL], m: usize| _mm512_set1_ps(*all.as_ptr().add(row + m));
        let mut total = [_mm512_setzero_ps(); M];
        for m in 0..M {
            total[m] = _mm512_maskz_loadu_ps(there, sums.add(m * width));
        }
        for group in (0..GROUPS).step_by(F::GROUPS_TOGETHER) {
            let mut products = [_mm512_setzero_si512(); M];
            for (byte, bytes) in panel.bytes.iter().enumerate() {
                for group in group..group + F::GROUPS_TOGETHER {
                    let first = TURN / 4 * (group / 8) + TURN / 8 * (group % 2) + VECTORS * (group % 8 / 2);
                    let (codes, fours) = (turned.codes.as_ptr().add(first), bytes.as_ptr().add(first));
                    for i in 0..VECTORS {
                        let (w, fours) = (*codes.add(i), fours.add(i).cast::<i32>().add(row));
                        for m in 0..M {
                            let x = _mm512_set1_epi32(fours.add(m).read_unaligned());
                            products[m] = _mm512_dpbusd_epi32(products[m], w, x);
                        }
                    }
                }
                if byte == 0 {
                    for m in 0..M {
                        products[m] = _mm512_slli_epi32::<8>(products[m]);
                    }
                }
            }
            let (scale, offset) = (turned.scales[group], turned.offsets[group]);
            for m in 0..M {
                let scale = _mm512_mul_ps(scale, each(&panel.scales[group], m));
                total[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products[m]), scale, total[m]);
                let sum = match F::GROUPS_TOGETHER {
                    1 => each(&panel.sums[group], m),
                    _ => each(&panel.sums_of_two[group / 2], m),
                };
                total[m] = _mm512_fmadd_ps(offset, sum, total[m]);
            }
        }
        for m in 0..M {
            _mm512_mask_storeu_ps(sums.add(m * width), there, total[m]);
        }
    }
    M
}
