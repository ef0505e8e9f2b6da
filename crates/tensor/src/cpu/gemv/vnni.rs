//! Products with blocks by AVX-512 VNNI: four products of a byte with a signed byte added up in each lane, and a lane is an output.
//!
//! With groups unpacked as [`super::unpack`] does it, `Σ w x = Σ_groups scale · Σ code · x + offset · Σ x`, and since `x` is two bytes,
//! `Σ code · x = 256 Σ code · high + Σ code · low`. What was unpacked stays in registers for as many rows as a tile is high.

use std::arch::x86_64::*;
use std::ops::Range;

use super::activations::{Activations, SHARED, Split, Strip};
use super::interleaved::{Interleaved, LANES};
use super::unpack::{Int8, Q2K, Q3K, Q4_0, Q4_1, Q4K, Q5_0, Q5_1, Q5K, Q6K, Q8_0, Unpack, Words};
use crate::cpu::simd::fetch_x86;
use crate::quant::{BlockFormat, GROUP, RUN};

/// Elements whose codes are unpacked at once.
const PART: usize = SHARED;
/// How many bytes ahead panels are fetched.
const AHEAD: usize = 2 << 10;

/// Writes the products of some outputs with all rows: (rows, outputs).
///
/// # Safety
/// The processor must have AVX-512 with BW, VL, DQ and VNNI, and F16C; the outputs must be rows of `blocks`, as long as those of `left`.
pub(super) unsafe fn run(blocks: &Interleaved, left: &Activations, outputs: Range<usize>, to: &mut [f32]) {
    // SAFETY: as the caller promises.
    unsafe {
        match blocks.format {
            BlockFormat::Q4_0 => all::<Q4_0>(blocks, left, outputs, to),
            BlockFormat::Q4_1 => all::<Q4_1>(blocks, left, outputs, to),
            BlockFormat::Q5_0 => all::<Q5_0>(blocks, left, outputs, to),
            BlockFormat::Q5_1 => all::<Q5_1>(blocks, left, outputs, to),
            BlockFormat::Q8_0 => all::<Q8_0>(blocks, left, outputs, to),
            BlockFormat::Q2K => all::<Q2K>(blocks, left, outputs, to),
            BlockFormat::Q3K => all::<Q3K>(blocks, left, outputs, to),
            BlockFormat::Q4K => all::<Q4K>(blocks, left, outputs, to),
            BlockFormat::Q5K => all::<Q5K>(blocks, left, outputs, to),
            BlockFormat::Q6K => all::<Q6K>(blocks, left, outputs, to),
            BlockFormat::Int8 => all::<Int8>(blocks, left, outputs, to),
        }
    }
}

unsafe fn all<F: Unpack>(blocks: &Interleaved, left: &Activations, outputs: Range<usize>, to: &mut [f32]) {
    let width = outputs.len();
    for panel in outputs.start / LANES..outputs.end.div_ceil(LANES) {
        let first = panel * LANES;
        let (from, end) = (outputs.start.max(first), outputs.end.min(first + LANES));
        let there = lanes(end - first) & !lanes(from - first);
        for strip in &left.strips {
            // SAFETY: as the caller promises; the result has a row for each of the strip's.
            unsafe {
                let to = to.as_mut_ptr().add(strip.first * width + from - outputs.start);
                let place = Place { to, width, rows: strip.rows, there };
                match strip.height {
                    1 => product::<F, 1>(blocks, panel, left, strip, place),
                    2 => product::<F, 2>(blocks, panel, left, strip, place),
                    4 => product::<F, 4>(blocks, panel, left, strip, place),
                    _ => product::<F, 8>(blocks, panel, left, strip, place),
                }
            }
        }
    }
}

/// The first `count` of the lanes.
fn lanes(count: usize) -> __mmask16 {
    ((1_u32 << count) - 1) as __mmask16
}

/// Where the products of a panel and a strip go.
struct Place {
    to: *mut f32,
    /// From one row to the next.
    width: usize,
    rows: usize,
    /// The outputs that are asked for.
    there: __mmask16,
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
#[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
unsafe fn product<F: Unpack, const M: usize>(
    blocks: &Interleaved,
    panel: usize,
    left: &Activations,
    strip: &Strip,
    place: Place,
) {
    let header = blocks.panel(panel);
    let mut unit = header.wrapping_add(LANES * F::HEADER);
    let mut units = blocks.columns.div_ceil(F::ELEMENTS);
    let mut sums = [_mm512_setzero_ps(); M];
    for tile in left.tiles::<M>(strip) {
        for some in 0..units.min(RUN / F::ELEMENTS) {
            // SAFETY: the panel has this unit.
            unsafe { add::<F, M>([header, unit].map(Words), tile, some, &mut sums) }
            unit = unit.wrapping_add(LANES * F::WORDS);
        }
        units = units.saturating_sub(RUN / F::ELEMENTS);
    }
    let count = lanes(place.there.count_ones() as usize);
    for m in 0..M.min(place.rows) {
        let asked = _mm512_maskz_compress_ps(place.there, sums[m]);
        // SAFETY: the caller has room for the row, and the mask leaves out what is beyond it.
        unsafe { _mm512_mask_storeu_ps(place.to.add(m * place.width), count, asked) }
    }
}

/// Adds the products of unit `place` of a run.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,f16c")]
#[allow(clippy::needless_range_loop)] // As above.
unsafe fn add<F: Unpack, const M: usize>(
    [header, unit]: [Words; 2],
    tile: &[Split; M],
    place: usize,
    sums: &mut [__m512; M],
) {
    let groups = PART / F::SHARED;
    let quads = F::SHARED / 4;
    for part in 0..F::ELEMENTS / PART {
        let element = place * F::ELEMENTS + part * PART;
        // Some at a time: more than a processor can ask for at once keep those that are needed first waiting.
        let bytes = F::WORDS.div_ceil(F::ELEMENTS / PART) * LANES * size_of::<i32>();
        fetch_x86(unit.0.wrapping_byte_add(AHEAD + part * bytes).cast(), bytes);
        // SAFETY: as the caller promises.
        let codes = unsafe { F::codes(unit, part) };
        for group in 0..groups {
            // SAFETY: as above.
            let [scale, offset] = unsafe { F::scales(header, unit, groups * part + group) };
            let mut dots = [_mm512_setzero_si512(); M];
            for byte in 0..2 {
                for i in 0..quads {
                    let quad = group * quads + i;
                    for m in 0..M {
                        let four = tile[m].bytes[byte].as_chunks().0[element / 4 + quad];
                        let four = _mm512_set1_epi32(i32::from_le_bytes(four));
                        dots[m] = _mm512_dpbusd_epi32(dots[m], codes[quad], four);
                    }
                }
                if byte == 0 {
                    for m in 0..M {
                        dots[m] = _mm512_slli_epi32::<8>(dots[m]);
                    }
                }
            }
            for m in 0..M {
                let x = match F::SHARED {
                    GROUP => tile[m].sums[element / GROUP + group],
                    _ => tile[m].sums_of_two[element / PART],
                };
                let scale = _mm512_mul_ps(scale, _mm512_set1_ps(tile[m].scales[element / PART]));
                sums[m] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[m]), scale, sums[m]);
                sums[m] = _mm512_fmadd_ps(offset, _mm512_set1_ps(x), sums[m]);
            }
        }
    }
}
