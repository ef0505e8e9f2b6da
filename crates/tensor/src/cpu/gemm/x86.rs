//! Tiles in the registers of x86-64: all sums of a tile stay in them, a row of the right matrix is loaded once for all of its rows, and
//! each element of the left one is broadcast.

use std::arch::x86_64::*;
use std::mem::{MaybeUninit, transmute};

use half::bf16;

use super::kernel::{Kernel, PairKernel, Runs, Tile, portable};

/// The kernel of one type and level. `$vectors` registers make the width of a tile, `$rows` of them its height; with `$sets` sums
/// each, a tile of few rows has enough independent ones to keep the units busy.
macro_rules! kernel {
    (
        $name:ident, $type:ident, $features:literal, $lanes:literal lanes, $vectors:literal wide, $rows:literal high [$($height:literal: $sets:literal),*],
        $pack:path, $product:ident, $zero:ident, $set:ident, $load:ident, $store:ident, $fma:ident, $add:ident, $mul:ident
    ) => {
        pub(super) mod $name {
            use super::*;

            pub(in super::super) static KERNEL: Kernel<$type> =
                Kernel { rows: $rows, columns: $vectors * $lanes, tile, pack: $pack };

            #[target_feature(enable = $features)]
            unsafe fn tile_of<const ROWS: usize, const SETS: usize>(tile: &Tile<$type>) {
                // SAFETY: the caller answers for every pointer in the tile.
                unsafe {
                    let mut sums = [[[$zero(); $vectors]; ROWS]; SETS];
                    let (mut a, mut b) = (tile.a, tile.b);
                    // The result's cache lines are on their way while the sums are made: without this, writing them cost a tenth.
                    for row in 0..ROWS {
                        for v in 0..$vectors {
                            _mm_prefetch::<_MM_HINT_ET0>(tile.c.add(row * tile.c_stride + v * $lanes).cast());
                        }
                    }
                    for _ in 0..tile.inner / SETS {
                        for set in 0..SETS {
                            let mut row_of_b = [$zero(); $vectors];
                            for v in 0..$vectors {
                                row_of_b[v] = $load(b.add(v * $lanes));
                                match tile.next {
                                    None => _mm_prefetch::<_MM_HINT_T0>(b.wrapping_add(v * $lanes + AHEAD).cast()),
                                    Some(next) if v == 0 => {
                                        _mm_prefetch::<_MM_HINT_T1>(b.wrapping_add(next).cast());
                                    }
                                    Some(_) => {}
                                }
                            }
                            for row in 0..ROWS {
                                let factor = $set(*a.add(row));
                                for v in 0..$vectors {
                                    sums[set][row][v] = $product(factor, row_of_b[v], sums[set][row][v]);
                                }
                            }
                            a = a.add(ROWS);
                            b = b.add(tile.b_stride);
                        }
                    }
                    for _ in 0..tile.inner % SETS {
                        for row in 0..ROWS {
                            let factor = $set(*a.add(row));
                            for v in 0..$vectors {
                                sums[0][row][v] = $product(factor, $load(b.add(v * $lanes)), sums[0][row][v]);
                            }
                        }
                        a = a.add(ROWS);
                        b = b.add(tile.b_stride);
                    }
                    let alpha = $set(tile.alpha);
                    for row in 0..ROWS {
                        for v in 0..$vectors {
                            let mut sum = sums[0][row][v];
                            for set in 1..SETS {
                                sum = $add(sum, sums[set][row][v]);
                            }
                            sum = match tile.add.is_null() {
                                true => $mul(sum, alpha),
                                false => {
                                    let add = tile.add.add(row * tile.add_stride + v * $lanes);
                                    $fma(sum, alpha, $load(add))
                                }
                            };
                            $store(tile.c.add(row * tile.c_stride + v * $lanes), sum);
                        }
                    }
                }
            }

            unsafe fn tile(rows: usize, tile: &Tile<$type>) {
                // SAFETY: as the caller's; a level is used only where the processor has it.
                unsafe {
                    match rows {
                        $($height => tile_of::<$height, $sets>(tile),)*
                        _ => tile_of::<$rows, 1>(tile),
                    }
                }
            }
        }
    };
}

/// How many elements ahead of its use the right matrix is fetched: the processor's own prefetching stops at the end of each page.
const AHEAD: usize = 1024;

kernel! {
    f32_avx512, f32, "avx512f", 16 lanes, 2 wide, 14 high
    [1: 4, 2: 3, 3: 2, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 1, 12: 1, 13: 1],
    pack_avx512, _mm512_fmadd_ps, _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm512_mul_ps
}
kernel! {
    pairs_avx512, f32, "avx512f,avx512bf16", 16 lanes, 2 wide, 14 high
    [1: 4, 2: 3, 3: 2, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 1, 12: 1, 13: 1],
    pack_avx512, add_pairs, _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm512_mul_ps
}
kernel! {
    f64_avx512, f64, "avx512f", 8 lanes, 2 wide, 14 high
    [1: 4, 2: 3, 3: 2, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1, 9: 1, 10: 1, 11: 1, 12: 1, 13: 1],
    portable::pack, _mm512_fmadd_pd, _mm512_setzero_pd, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_fmadd_pd, _mm512_add_pd, _mm512_mul_pd
}
kernel! {
    f32_avx2, f32, "avx2,fma", 8 lanes, 2 wide, 6 high [1: 4, 2: 2, 3: 1, 4: 1, 5: 1],
    portable::pack, _mm256_fmadd_ps, _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm256_mul_ps
}
kernel! {
    f64_avx2, f64, "avx2,fma", 4 lanes, 2 wide, 6 high [1: 4, 2: 2, 3: 1, 4: 1, 5: 1],
    portable::pack, _mm256_fmadd_pd, _mm256_setzero_pd, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_fmadd_pd, _mm256_add_pd, _mm256_mul_pd
}

/// The products of pairs of bfloat16, both of a pair added to its sum.
#[target_feature(enable = "avx512f,avx512bf16")]
#[inline]
fn add_pairs(a: __m512, b: __m512, sums: __m512) -> __m512 {
    // SAFETY: vectors of as many bits, any of which are a pair of bfloat16.
    let (a, b) = unsafe { (transmute::<__m512, __m512bh>(a), transmute::<__m512, __m512bh>(b)) };
    _mm512_dpbf16_ps(sums, a, b)
}

pub(super) static PAIRS: PairKernel = PairKernel { kernel: &pairs_avx512::KERNEL, round, interleave };

/// See [`PairKernel::round`].
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn round(from: &[f32], to: &mut [MaybeUninit<f32>]) {
    for (from, to) in from.chunks(16).zip(to.chunks_mut(8)) {
        let (count, pairs) = (mask(from.len()), mask(to.len()) as __mmask8);
        // SAFETY: the masks leave out what is beyond the ends; bits of one vector are those of another.
        unsafe {
            let rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(count, from.as_ptr()));
            _mm256_mask_storeu_epi32(to.as_mut_ptr().cast(), pairs, transmute::<__m256bh, __m256i>(rounded));
        }
    }
}

/// See [`PairKernel::interleave`].
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn interleave(runs: &Runs<bf16>, to: *mut f32, width: usize) {
    let ends = |count: usize| if count >= 32 { !0 } else { (1_u32 << count) - 1 };
    // Element i of the first row, then of the second: for the first half of the lanes, and for the second.
    let order = |first: i32| {
        let pairs = _mm512_add_epi32(
            _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
            _mm512_set1_epi32(first),
        );
        let second = _mm512_slli_epi32::<16>(_mm512_add_epi32(pairs, _mm512_set1_epi32(32)));
        _mm512_or_si512(pairs, second)
    };
    let (low, high) = (order(0), order(16));
    for first in (0..runs.lanes).step_by(32) {
        let lanes = runs.lanes - first;
        for pair in 0..runs.inner.div_ceil(2) {
            // SAFETY: the masks leave out the lanes that are not there, and a row that is not.
            unsafe {
                let row = |row: usize| {
                    let there = if row < runs.inner { ends(lanes) } else { 0 };
                    let from = runs.data.wrapping_offset(row as isize * runs.inner_stride + first as isize);
                    _mm512_maskz_loadu_epi16(there, from.cast())
                };
                let (one, other) = (row(2 * pair), row(2 * pair + 1));
                let to = to.add(pair * width + first);
                let half = |order| _mm512_castsi512_ps(_mm512_permutex2var_epi16(one, order, other));
                _mm512_mask_storeu_ps(to, mask(lanes), half(low));
                if lanes > 16 {
                    _mm512_mask_storeu_ps(to.add(16), mask(lanes - 16), half(high));
                }
            }
        }
    }
}

/// Packing by squares of 16 by 16: runs that lie one after another are transposed in registers, runs that lie side by side are copied.
unsafe fn pack_avx512(runs: &Runs<f32>, to: *mut f32, width: usize) {
    // SAFETY: as the caller's; this level is used only where the processor has it.
    unsafe {
        match (runs.lane_stride, runs.inner_stride) {
            (_, 1) => transpose(runs, to, width),
            (1, _) => copy(runs, to, width),
            _ => portable::pack(runs, to, width),
        }
    }
}

/// The first `count` of 16 lanes.
fn mask(count: usize) -> __mmask16 {
    if count >= 16 { !0 } else { (1 << count) - 1 }
}

#[target_feature(enable = "avx512f")]
unsafe fn copy(runs: &Runs<f32>, to: *mut f32, width: usize) {
    for first in (0..runs.lanes).step_by(16) {
        let lanes = mask(runs.lanes - first);
        for i in 0..runs.inner {
            // SAFETY: the mask leaves out the lanes that are not there.
            unsafe {
                let row = runs.data.offset(i as isize * runs.inner_stride).add(first);
                _mm512_mask_storeu_ps(to.add(i * width + first), lanes, _mm512_maskz_loadu_ps(lanes, row));
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn transpose(runs: &Runs<f32>, to: *mut f32, width: usize) {
    for first in (0..runs.lanes).step_by(16) {
        let lanes = runs.lanes - first;
        for start in (0..runs.inner).step_by(16) {
            let columns = mask(runs.inner - start);
            let mut square = [_mm512_setzero_ps(); 16];
            for (lane, row) in square.iter_mut().enumerate() {
                if lane < lanes {
                    // SAFETY: the lane is there, and the mask leaves out what is beyond its end.
                    *row = unsafe {
                        let lane = runs.data.offset((first + lane) as isize * runs.lane_stride);
                        _mm512_maskz_loadu_ps(columns, lane.add(start))
                    };
                }
            }
            let square = transposed(square);
            for (i, row) in square.iter().enumerate().take(runs.inner - start) {
                // SAFETY: the mask leaves out the lanes that are not there.
                unsafe { _mm512_mask_storeu_ps(to.add((start + i) * width + first), mask(lanes), *row) }
            }
        }
    }
}

/// A square of 16 by 16: pairs, then fours, within quarters of the registers, then the quarters themselves.
#[target_feature(enable = "avx512f")]
#[inline]
fn transposed(rows: [__m512; 16]) -> [__m512; 16] {
    let mut fours = [_mm512_setzero_ps(); 16];
    for i in 0..4 {
        let [r0, r1, r2, r3] = [rows[4 * i], rows[4 * i + 1], rows[4 * i + 2], rows[4 * i + 3]];
        let (low, high) = (_mm512_unpacklo_ps(r0, r1), _mm512_unpackhi_ps(r0, r1));
        let (low2, high2) = (_mm512_unpacklo_ps(r2, r3), _mm512_unpackhi_ps(r2, r3));
        let pair = |a, b| (_mm512_castps_pd(a), _mm512_castps_pd(b));
        let ((a, b), (c, d)) = (pair(low, low2), pair(high, high2));
        fours[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
        fours[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        fours[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
        fours[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
    }
    // fours[4 i + j], quarter q: elements 4 i .. 4 i + 4 of column 4 q + j.
    let mut columns = [_mm512_setzero_ps(); 16];
    for j in 0..4 {
        let even = _mm512_shuffle_f32x4::<0x88>(fours[j], fours[4 + j]);
        let odd = _mm512_shuffle_f32x4::<0xdd>(fours[j], fours[4 + j]);
        let even2 = _mm512_shuffle_f32x4::<0x88>(fours[8 + j], fours[12 + j]);
        let odd2 = _mm512_shuffle_f32x4::<0xdd>(fours[8 + j], fours[12 + j]);
        columns[j] = _mm512_shuffle_f32x4::<0x88>(even, even2);
        columns[8 + j] = _mm512_shuffle_f32x4::<0xdd>(even, even2);
        columns[4 + j] = _mm512_shuffle_f32x4::<0x88>(odd, odd2);
        columns[12 + j] = _mm512_shuffle_f32x4::<0xdd>(odd, odd2);
    }
    columns
}
