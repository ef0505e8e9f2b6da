//! Products with blocks by AVX-512 VNNI: four products of a byte with a signed byte added up in each lane.
//!
//! With 256 elements unpacked as [`super::unpack`] does it, `Σ w x = Σ_groups scale · Σ code · x + offset · Σ x`.

use std::arch::x86_64::*;
use std::ops::Range;

use super::activations::Activations;
use super::blocks::Blocks;
use super::tile;
use super::unpack::{Int8, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Unpack};
use crate::quant::{BlockFormat, GROUP, RUN};

/// Writes the products of some outputs with all rows: (rows, outputs).
///
/// # Safety
/// The processor must have AVX-512 with BW, VL, DQ and VNNI, and F16C; `blocks` must be of this format, with so many columns.
pub(super) unsafe fn run(
    blocks: &Blocks,
    format: BlockFormat,
    left: &Activations,
    columns: usize,
    outputs: Range<usize>,
    to: &mut [f32],
) {
    // SAFETY: as the caller promises.
    unsafe {
        match format {
            BlockFormat::Q4_0 => some::<Q4_0>(blocks, left, columns, outputs, to),
            BlockFormat::Q4_1 => some::<Q4_1>(blocks, left, columns, outputs, to),
            BlockFormat::Q5_0 => some::<Q5_0>(blocks, left, columns, outputs, to),
            BlockFormat::Q5_1 => some::<Q5_1>(blocks, left, columns, outputs, to),
            BlockFormat::Q8_0 => some::<Q8_0>(blocks, left, columns, outputs, to),
            BlockFormat::Q2K => some::<Q2K>(blocks, left, columns, outputs, to),
            BlockFormat::Q3K => some::<Q3K>(blocks, left, columns, outputs, to),
            BlockFormat::Q4K => some::<Q4K>(blocks, left, columns, outputs, to),
            BlockFormat::Q5K => some::<Q5K>(blocks, left, columns, outputs, to),
            BlockFormat::Q6K => some::<Q6K>(blocks, left, columns, outputs, to),
            BlockFormat::Int8 => some::<Int8>(blocks, left, columns, outputs, to),
        }
    }
}

/// So few rows are multiplied by one output after another: turning the weights would not pay.
const ROWS: usize = 4;

unsafe fn some<F: Unpack>(
    blocks: &Blocks,
    left: &Activations,
    columns: usize,
    outputs: Range<usize>,
    to: &mut [f32],
) {
    // SAFETY: as the caller promises.
    unsafe {
        match left.rows {
            0..=ROWS => one_by_one::<F>(blocks, left, columns, outputs, to),
            _ => tile::all::<F>(blocks, left, columns, outputs, to),
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn one_by_one<F: Unpack>(
    blocks: &Blocks,
    left: &Activations,
    columns: usize,
    outputs: Range<usize>,
    to: &mut [f32],
) {
    blocks.each(
        outputs,
        to,
        #[inline(always)]
        |row, sums| {
            // SAFETY: as the caller promises.
            unsafe {
                match sums.len() {
                    1 => dots::<F, 1>(row, columns, left, sums),
                    2 => dots::<F, 2>(row, columns, left, sums),
                    3 => dots::<F, 3>(row, columns, left, sums),
                    _ => dots::<F, ROWS>(row, columns, left, sums),
                }
            }
        },
    );
}

/// The products of one row of blocks with `M` rows of the left side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn dots<F: Unpack, const M: usize>(row: &[u8], columns: usize, left: &Activations, to: &mut [f32]) {
    // SAFETY: the left side is filled up to whole runs; formats read only blocks that there are.
    unsafe {
        let mut sums = [[_mm512_setzero_ps(); 2]; M];
        let mut lefts = [std::ptr::null::<i8>(); M];
        let mut groups = [(std::ptr::null::<f32>(), std::ptr::null::<f32>()); M];
        for m in 0..M {
            lefts[m] = left.codes(m).as_ptr();
            let (scales, totals) = left.groups(m);
            groups[m] = (scales.as_ptr(), totals.as_ptr());
        }
        for start in (0..columns).step_by(RUN) {
            let unpacked = F::unpack(row.as_ptr(), start, (columns - start).min(RUN));
            for m in 0..M {
                let scale = _mm512_mul_ps(unpacked.scales, _mm512_loadu_ps(groups[m].0.add(start / GROUP)));
                let totals = _mm512_loadu_ps(groups[m].1.add(start / GROUP));
                sums[m][0] = _mm512_fmadd_ps(unpacked.offsets, totals, sums[m][0]);
                for part in 0..4 {
                    let x = _mm512_loadu_si512(lefts[m].add(start + 64 * part).cast());
                    let products = _mm512_dpbusd_epi32(_mm512_setzero_si512(), unpacked.codes[part], x);
                    let four = _mm512_permutexvar_ps(each_four_times(4 * part as i32), scale);
                    let sum = &mut sums[m][part % 2];
                    *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(products), four, *sum);
                }
            }
        }
        for m in 0..M {
            to[m] = _mm512_reduce_add_ps(_mm512_add_ps(sums[m][0], sums[m][1]));
        }
    }
}

/// Lanes `first` to `first + 4`, each four times.
#[inline]
#[target_feature(enable = "avx512f")]
fn each_four_times(first: i32) -> __m512i {
    let quarters = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    _mm512_add_epi32(quarters, _mm512_set1_epi32(first))
}
