//! Left matrices in 8 bits, as the tiles of [`super::quads`] read them.

use std::mem::MaybeUninit;

use crate::cpu::math::ROUNDS;
use crate::cpu::rows::for_each_run;
use crate::cpu::simd::vectorized;
use crate::{Result, Tensor};

/// Bytes of a quad.
pub(super) const QUAD: usize = size_of::<i32>();
/// The greatest code.
const MOST: f32 = 255.0;
/// Words in front of the quads of a row: the bits of its scale, and its zero.
const HEADER: usize = 2;
/// Elements that are rounded at once.
const AT_ONCE: usize = 64;

/// Rows rounded to 8 bits, each with a scale and a zero of its own: `x = scale · (code − zero)`.
pub(super) struct Codes {
    /// (rows, header and quads)
    words: Tensor,
}

impl Codes {
    /// Rounds the rows of a matrix. One that has an element which is not finite has a scale of nan.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Threads` when there are none to be had.
    pub(super) fn round(values: &[f32], [rows, columns]: [usize; 2]) -> Result<Codes> {
        let width = HEADER + columns.div_ceil(QUAD);
        let words = Tensor::build(&[rows, width], |out| {
            for_each_run(out, width, |first, out| {
                vectorized(
                    #[inline(always)]
                    || {
                        for (row, out) in (first..).zip(out.chunks_exact_mut(width)) {
                            let (header, quads) = out.split_at_mut(HEADER);
                            let (scale, zero) = round(&values[row * columns..][..columns], quads);
                            header[0].write(scale.to_bits() as i32);
                            header[1].write(zero);
                        }
                    },
                );
            })
        })?;
        Ok(Codes { words })
    }

    pub(super) fn rows(&self) -> Rows<'_> {
        Rows { words: self.words.elements(), stride: self.words.shape()[1] }
    }
}

/// Where the rows lie.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    words: &'a [i32],
    /// Words from a row to the next.
    pub(super) stride: usize,
}

impl<'a> Rows<'a> {
    /// The scale and the zero of a row.
    #[inline(always)]
    pub(super) fn header(self, row: usize) -> (f32, i32) {
        let header = &self.words[row * self.stride..][..HEADER];
        (f32::from_bits(header[0] as u32), header[1])
    }

    /// The quads of a row, and all that lies behind them.
    pub(super) fn quads(self, row: usize) -> &'a [i32] {
        &self.words[row * self.stride + HEADER..]
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
    let (whole, rest) = row.as_chunks::<AT_ONCE>();
    let (to_whole, to_rest) = to.split_at_mut(whole.len() * AT_ONCE / QUAD);
    for (to, x) in to_whole.as_chunks_mut().0.iter_mut().zip(whole) {
        *to = quads(x, inverse, zero).map(MaybeUninit::new);
    }
    let mut last = [0.0; AT_ONCE];
    last[..rest.len()].copy_from_slice(rest);
    let last = quads(&last, inverse, zero);
    to_rest.write_copy_of_slice(&last[..to_rest.len()]);
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
fn quads(x: &[f32; AT_ONCE], inverse: f32, zero: f32) -> [i32; AT_ONCE / QUAD] {
    let mut codes = [0; AT_ONCE];
    for i in 0..AT_ONCE {
        let code = x[i] * inverse + zero;
        let code = if code < MOST { code } else { MOST };
        let code = if code > 0.0 { code } else { 0.0 };
        codes[i] = (code + ROUNDS).to_bits() as u8;
    }
    let mut quads = [0; AT_ONCE / QUAD];
    for (quad, bytes) in quads.iter_mut().zip(codes.as_chunks().0) {
        *quad = i32::from_ne_bytes(*bytes);
    }
    quads
}
