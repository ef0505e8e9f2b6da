//! Left matrices in 8 bits, as the tiles of [`super::quads`] read them.

use std::mem::MaybeUninit;

use super::kernel::{Kernel, Runs};
use super::{pointer, scratch, share};
use crate::cpu::math::ROUNDS;
use crate::cpu::rows::PARALLEL_FROM;
use crate::cpu::simd::vectorized;
use crate::{Buffer, Result, team};

/// Bytes of a quad.
pub(super) const QUAD: usize = size_of::<i32>();
/// The greatest code.
const MOST: f32 = 255.0;
/// Words in front of the quads of a row: the bits of its scale, and its zero.
const HEADER: usize = 2;

/// Rows rounded to 8 bits, each with a scale and a zero of its own: `x = scale · (code − zero)`. They are cut to panels as high as a tile,
/// each of which has the scales of its rows, then their zeros, then their quads side by side.
pub(super) struct Codes {
    data: Buffer,
    rows: usize,
    depth: usize,
    pub(super) tiles: usize,
}

/// The rows of a tile.
pub(super) struct Panel<'a> {
    /// The first.
    pub(super) start: usize,
    pub(super) scales: &'a [f32],
    pub(super) zeros: &'a [i32],
    /// As many for each quad of the inner dimension.
    pub(super) quads: *const i32,
}

impl Codes {
    /// Rounds the rows of a matrix for a kernel. One that has an element which is not finite has a scale of nan.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Threads` when there are none to be had.
    pub(super) fn round(values: &[f32], [rows, columns]: [usize; 2], kernel: &Kernel<i32>) -> Result<Codes> {
        let (depth, tiles) = (columns.div_ceil(QUAD), rows.div_ceil(kernel.rows));
        let data = scratch::<i32>(rows.saturating_mul(HEADER + depth))?;
        let codes = Codes { data, rows, depth, tiles };
        let one = |tile: usize| {
            let (start, end) = share(rows, tiles, tile);
            let lanes = end - start;
            let straight = scratch::<i32>(lanes * depth)?;
            let to = pointer::<i32>(&codes.data).wrapping_add(start * (HEADER + depth));
            // SAFETY: the scratch has room for the quads of the rows, the panel for their headers too; no two tasks have one in common.
            unsafe {
                let quads =
                    std::slice::from_raw_parts_mut(pointer::<MaybeUninit<i32>>(&straight), lanes * depth);
                vectorized(
                    #[inline(always)]
                    || {
                        for lane in 0..lanes {
                            let row = &values[(start + lane) * columns..][..columns];
                            let (scale, zero) = round(row, &mut quads[lane * depth..][..depth]);
                            to.add(lane).write(scale.to_bits() as i32);
                            to.add(lanes + lane).write(zero);
                        }
                    },
                );
                let data = quads.as_ptr().cast();
                let runs = Runs { data, lanes, lane_stride: depth as isize, inner: depth, inner_stride: 1 };
                (kernel.pack)(&runs, to.add(HEADER * lanes), lanes);
            }
            Ok(())
        };
        match rows * columns < PARALLEL_FROM {
            true => (0..tiles).try_for_each(one)?,
            false => team::try_for_each(tiles, one)?,
        }
        Ok(codes)
    }

    pub(super) fn panel(&self, tile: usize) -> Panel<'_> {
        let (start, end) = share(self.rows, self.tiles, tile);
        let (first, rows) =
            (pointer::<i32>(&self.data).wrapping_add(start * (HEADER + self.depth)), end - start);
        // SAFETY: written when the rows were rounded; any bits are a number.
        let (scales, zeros) = unsafe {
            (
                std::slice::from_raw_parts(first.cast(), rows),
                std::slice::from_raw_parts(first.wrapping_add(rows), rows),
            )
        };
        Panel { start, scales, zeros, quads: first.wrapping_add(HEADER * rows) }
    }
}

/// Rounds a row, filled up with zeros to whole quads; says its scale and its zero.
#[inline(always)]
fn round(row: &[f32], to: &mut [MaybeUninit<i32>]) -> (f32, i32) {
    // As integers that are ordered like the numbers, nan beyond all of them.
    let (mut low, mut high) = (0, 0);
    for x in row {
        let key = turned(x.to_bits() as i32);
        low = if key < low { key } else { low };
        high = if key > high { key } else { high };
    }
    let (low, high) = (f32::from_bits(turned(low) as u32), f32::from_bits(turned(high) as u32));
    let scale = high / MOST - low / MOST;
    let inverse = if scale < f32::MIN_POSITIVE { 0.0 } else { 1.0 / scale };
    // Zero has a code, so that what is zero stays it.
    let zero = ((-low * inverse).min(MOST) + ROUNDS) - ROUNDS;
    let (whole, rest) = row.as_chunks::<QUAD>();
    for (to, x) in to.iter_mut().zip(whole) {
        to.write(quad(x, inverse, zero));
    }
    if !rest.is_empty() {
        let mut last = [0.0; QUAD];
        last[..rest.len()].copy_from_slice(rest);
        to[whole.len()].write(quad(&last, inverse, zero));
    }
    let scale = match scale.is_finite() {
        true if inverse == 0.0 => 0.0,
        true => scale,
        false => f32::NAN,
    };
    (scale, zero as i32)
}

/// The bits of a float as an integer that is ordered like it, and back.
#[inline(always)]
fn turned(bits: i32) -> i32 {
    bits ^ ((bits >> 31) & i32::MAX)
}

#[inline(always)]
fn quad(x: &[f32; QUAD], inverse: f32, zero: f32) -> i32 {
    let mut codes = [0; QUAD];
    for i in 0..QUAD {
        let code = x[i] * inverse + zero;
        let code = if code < MOST { code } else { MOST };
        let code = if code > 0.0 { code } else { 0.0 };
        codes[i] = (code + ROUNDS).to_bits() as u8;
    }
    i32::from_ne_bytes(codes)
}
