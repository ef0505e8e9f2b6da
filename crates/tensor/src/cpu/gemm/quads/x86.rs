//! Tiles in the registers of x86-64: all sums of a tile stay in them, quads of the weights are loaded once for all of its rows, and each quad
//! of a row is broadcast.

use std::arch::x86_64::*;

use super::WIDTH;
use super::kernel::{Kernel, MAX_ROWS, Tile};
use crate::cpu::gemv::LANES;
use crate::cpu::simd::fetch_to_write_x86;

pub(super) static VNNI: Kernel = Kernel { rows: MAX_ROWS, tile: vnni };

unsafe fn vnni(rows: usize, tile: &Tile) {
    macro_rules! of {
        ($($rows:literal)*) => {
            // SAFETY: as the caller's; the level is used only where the processor has it.
            unsafe {
                match rows {
                    // So many sums that none waits for the one before it.
                    1 => vnni_of::<1, 4>(tile),
                    $($rows => vnni_of::<$rows, 1>(tile),)*
                    _ => vnni_of::<MAX_ROWS, 1>(tile),
                }
            }
        };
    }
    of!(2 3 4 5 6 7 8 9 10 11 12 13)
}

/// With `SETS` sums for each of the tile's.
#[target_feature(enable = "avx512f,avx512vnni")]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn vnni_of<const ROWS: usize, const SETS: usize>(tile: &Tile) {
    // SAFETY: the caller answers for every pointer in the tile.
    unsafe {
        let mut sums = [[[_mm512_setzero_si512(); 2]; ROWS]; SETS];
        // The result's cache lines are on their way while the sums are made.
        for row in 0..ROWS {
            fetch_to_write_x86(
                tile.out.wrapping_add(row * tile.out_stride).cast(),
                size_of::<[f32; WIDTH]>(),
            );
        }
        let [one, other] = tile.panels;
        let add = |k: usize, sums: &mut [[__m512i; 2]; ROWS]| {
            let quads = [one, other].map(|panel| _mm512_loadu_si512(panel.add(k * LANES).cast()));
            for row in 0..ROWS {
                let codes = _mm512_set1_epi32(*tile.rows.add(row * tile.stride + k));
                for v in 0..2 {
                    sums[row][v] = _mm512_dpbusd_epi32(sums[row][v], codes, quads[v]);
                }
            }
        };
        let whole = tile.depth - tile.depth % SETS;
        for k in (0..whole).step_by(SETS) {
            for set in 0..SETS {
                add(k + set, &mut sums[set]);
            }
        }
        for k in whole..tile.depth {
            add(k, &mut sums[0]);
        }
        for row in 0..ROWS {
            for v in 0..2 {
                let mut sum = sums[0][row][v];
                for set in 1..SETS {
                    sum = _mm512_add_epi32(sum, sums[set][row][v]);
                }
                _mm512_storeu_si512(tile.sums.add(row).cast::<__m512i>().add(v), sum);
            }
        }
    }
}

pub(super) static AVX2: Kernel = Kernel { rows: 4, tile: avx2 };

unsafe fn avx2(rows: usize, tile: &Tile) {
    // SAFETY: as the caller's; the level is used only where the processor has it.
    unsafe {
        match rows {
            1 => avx2_of::<1>(tile),
            2 => avx2_of::<2>(tile),
            3 => avx2_of::<3>(tile),
            _ => avx2_of::<4>(tile),
        }
    }
}

/// By products of 16 bits, even bytes and odd ones: the instruction for bytes has sums of 16 bits, which do not hold all.
#[target_feature(enable = "avx2")]
#[allow(clippy::needless_range_loop)] // As above.
unsafe fn avx2_of<const ROWS: usize>(tile: &Tile) {
    // SAFETY: the caller answers for every pointer in the tile.
    unsafe {
        for (part, panel) in tile.panels.into_iter().enumerate() {
            let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
            for k in 0..tile.depth {
                let quads = [0, 1].map(|v| {
                    let both = _mm256_loadu_si256(panel.add(k * LANES).cast::<__m256i>().add(v));
                    let even = _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(both));
                    [even, _mm256_srai_epi16::<8>(both)]
                });
                for row in 0..ROWS {
                    let codes = _mm256_set1_epi32(*tile.rows.add(row * tile.stride + k));
                    let even = _mm256_and_si256(codes, _mm256_set1_epi16(0xff));
                    let odd = _mm256_srli_epi16::<8>(codes);
                    for v in 0..2 {
                        let even = _mm256_madd_epi16(even, quads[v][0]);
                        let odd = _mm256_madd_epi16(odd, quads[v][1]);
                        sums[row][v] = _mm256_add_epi32(_mm256_add_epi32(sums[row][v], even), odd);
                    }
                }
            }
            for row in 0..ROWS {
                for v in 0..2 {
                    let to = tile.sums.add(row).cast::<[i32; LANES]>().add(part).cast::<__m256i>();
                    _mm256_storeu_si256(to.add(v), sums[row][v]);
                }
            }
        }
    }
}
