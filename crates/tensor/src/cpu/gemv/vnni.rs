//! Products with blocks by AVX-512 VNNI: four products of a byte with a signed byte added up in each lane.
//!
//! With 256 elements unpacked as [`super::unpack`] does it, `Σ w x = Σ_groups scale · Σ code · x + offset · Σ x`, and since `x` is two bytes,
//! `Σ code · x = 256 Σ code · high + Σ code · low`.

use std::arch::x86_64::*;
use std::ops::Range;

use super::activations::{Activations, Row, TURN};
use super::blocks::Blocks;
use super::unpack::{Int8, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Unpack};
use super::{AHEAD, ONE_BY_ONE, tile};
use crate::cpu::simd::{fetch_x86, sums_of_lanes};
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

unsafe fn some<F: Unpack>(
    blocks: &Blocks,
    left: &Activations,
    columns: usize,
    outputs: Range<usize>,
    to: &mut [f32],
) {
    // SAFETY: as the caller promises.
    unsafe {
        match left.rows.len() {
            0..=ONE_BY_ONE => one_by_one::<F>(blocks, left, columns, outputs, to),
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
    // SAFETY: as the caller promises.
    unsafe {
        match left.rows.len() {
            1 => dots::<F, 1>(blocks, left, columns, outputs, to),
            2 => dots::<F, 2>(blocks, left, columns, outputs, to),
            3 => dots::<F, 3>(blocks, left, columns, outputs, to),
            _ => dots::<F, ONE_BY_ONE>(blocks, left, columns, outputs, to),
        }
    }
}

/// Outputs whose sums across lanes are taken at once.
const TOGETHER: usize = 4;

/// The products of rows of blocks with `M` rows of the left side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn dots<F: Unpack, const M: usize>(
    blocks: &Blocks,
    left: &Activations,
    columns: usize,
    outputs: Range<usize>,
    to: &mut [f32],
) {
    let width = outputs.len();
    let left: [Place; M] = std::array::from_fn(|m| Place::of(&left.rows[m]));
    let mut copy = [0; MAX_BYTES];
    for first in (0..width).step_by(TOGETHER) {
        let count = TOGETHER.min(width - first);
        let mut sums = [[_mm512_setzero_ps(); TOGETHER]; M];
        for n in 0..count {
            let row = blocks.from(outputs.start + first + n);
            // SAFETY: as the caller promises.
            let dots = unsafe { dot::<F, M>(row, columns, left, &mut copy) };
            sums.iter_mut().zip(dots).for_each(|(sums, dot)| sums[n] = dot);
        }
        for (m, sums) in sums.into_iter().enumerate() {
            // SAFETY: so many results are there.
            unsafe {
                let to = to.as_mut_ptr().add(m * width + first);
                _mm_mask_storeu_ps(to, (1u8 << count) - 1, sums_of_lanes(sums));
            }
        }
    }
}

/// Where a row of the left side lies, from some element on: see [`Row`].
#[derive(Clone, Copy)]
struct Place {
    high: *const i8,
    low: *const i8,
    scales: *const f32,
    sums: *const f32,
}

impl Place {
    fn of(row: &Row) -> Place {
        let (high, low) = row.bytes.split_at(row.codes.len());
        let [high, low] = [high, low].map(<[i8]>::as_ptr);
        Place { high, low, scales: row.scales.as_ptr(), sums: row.sums.as_ptr() }
    }

    #[inline(always)]
    fn next_run(self) -> Place {
        Place {
            high: self.high.wrapping_add(RUN),
            low: self.low.wrapping_add(RUN),
            scales: self.scales.wrapping_add(RUN / GROUP),
            sums: self.sums.wrapping_add(RUN / GROUP),
        }
    }
}

/// The products of the row of blocks that `row` begins with and `M` rows of the left side, as terms in lanes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
unsafe fn dot<F: Unpack, const M: usize>(
    row: &[u8],
    columns: usize,
    left: [Place; M],
    copy: &mut [u8; MAX_BYTES],
) -> [__m512; M] {
    let mut sums = [[_mm512_setzero_ps(); 2]; M];
    let (mut left, rest) = (left, columns % RUN);
    let mut run = row.as_ptr().wrapping_add(F::HEADER);
    // Each run but the last of all rows has its bytes behind it, and if there is a rest, that one.
    let whole = columns / RUN;
    // SAFETY: the left side is filled up to whole runs, and a run has all its bytes.
    unsafe {
        for _ in 0..whole {
            let scales = add_offsets::<F, M>(row, run, !0, left, &mut sums);
            add_half::<F, M, 0>(run, left, scales, &mut sums);
            add_half::<F, M, 1>(run, left, scales, &mut sums);
            run = run.wrapping_add(F::BYTES);
            left = left.map(Place::next_run);
        }
        if rest > 0 {
            let run = whole_run::<F>(row, whole * RUN, copy);
            let scales = add_offsets::<F, M>(row, run, there(rest), left, &mut sums);
            add_half::<F, M, 0>(run, left, scales, &mut sums);
            if rest > TURN {
                add_half::<F, M, 1>(run, left, scales, &mut sums);
            }
        }
    }
    sums.map(|[a, b]| _mm512_add_ps(a, b))
}

/// Adds what the offsets of a run come to and says what products of its codes are scaled with.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn add_offsets<F: Unpack, const M: usize>(
    row: &[u8],
    run: *const u8,
    there: __mmask16,
    left: [Place; M],
    sums: &mut [[__m512; 2]; M],
) -> [__m512; M] {
    fetch_x86(run.wrapping_add(AHEAD), F::BYTES);
    let mut products = [_mm512_setzero_ps(); M];
    // SAFETY: as for `dot`.
    unsafe {
        let [scales, offsets] = F::scales(row.as_ptr(), run, there);
        for m in 0..M {
            products[m] = _mm512_mul_ps(scales, _mm512_loadu_ps(left[m].scales));
            sums[m][0] = _mm512_fmadd_ps(offsets, _mm512_loadu_ps(left[m].sums), sums[m][0]);
        }
    }
    products
}

/// Adds the products of codes of half a run times `scales`.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn add_half<F: Unpack, const M: usize, const HALF: usize>(
    run: *const u8,
    left: [Place; M],
    scales: [__m512; M],
    sums: &mut [[__m512; 2]; M],
) {
    // SAFETY: as for `dot`.
    unsafe {
        let codes = F::codes(run, HALF);
        for m in 0..M {
            let add = |sum: __m512i, vector: usize, bytes: *const i8| {
                let x = _mm512_loadu_si512(bytes.add(TURN * HALF + 64 * vector).cast());
                _mm512_dpbusd_epi32(sum, codes[vector], x)
            };
            for first in (0..2).step_by(F::GROUPS_TOGETHER) {
                let vectors = first..first + F::GROUPS_TOGETHER;
                let mut total = _mm512_setzero_si512();
                for vector in vectors.clone() {
                    total = add(total, vector, left[m].high);
                }
                total = _mm512_slli_epi32::<8>(total);
                for vector in vectors {
                    total = add(total, vector, left[m].low);
                }
                let places = every_other((RUN / GROUP / 2 * HALF + first) as i32);
                let scales = _mm512_permutexvar_ps(places, scales[m]);
                sums[m][HALF] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(total), scales, sums[m][HALF]);
            }
        }
    }
}

/// The most bytes of a run.
pub(super) const MAX_BYTES: usize = 34 * RUN / 32;

/// A run of a row that all its bytes can be read of. At the end of a matrix that is a copy, with anything behind it.
#[inline(always)]
pub(super) fn whole_run<F: Unpack>(row: &[u8], start: usize, copy: &mut [u8; MAX_BYTES]) -> *const u8 {
    let run = &row[F::HEADER + start / RUN * F::BYTES..];
    if run.len() >= F::BYTES {
        return run.as_ptr();
    }
    copy[..run.len()].copy_from_slice(run);
    copy.as_ptr()
}

/// The groups of a run that are within so many elements.
#[inline(always)]
pub(super) fn there(len: usize) -> __mmask16 {
    if len < RUN { (1 << len.div_ceil(GROUP)) - 1 } else { !0 }
}

/// Four lanes from `first` on, every other one, each four times.
#[inline]
#[target_feature(enable = "avx512f")]
fn every_other(first: i32) -> __m512i {
    let quarters = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
    _mm512_add_epi32(quarters, _mm512_set1_epi32(first))
}
