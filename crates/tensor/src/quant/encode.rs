//! Floats to blocks, with the rounding of ggml's `quantize_row_*_ref`.

use half::f16;

use super::BlockFormat;
use crate::{Error, Result};

/// Writes one row of floats as `format`.
pub(crate) type Encode = fn(&[f32], &mut [u8]);

/// What writes `format`.
///
/// # Errors
/// `Argument` for the formats of 256 elements, which are read only.
pub(crate) fn encoder(format: BlockFormat) -> Result<Encode> {
    Ok(match format {
        BlockFormat::Q4_0 => |x, out| each(x, out, q4_0),
        BlockFormat::Q4_1 => |x, out| each(x, out, q4_1),
        BlockFormat::Q5_0 => |x, out| each(x, out, q5_0),
        BlockFormat::Q5_1 => |x, out| each(x, out, q5_1),
        BlockFormat::Q8_0 => |x, out| each(x, out, q8_0),
        BlockFormat::Int8 => int8,
        _ => {
            let message =
                format!("{format} can be read but not written: use Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or INT8");
            return Err(Error::argument("quantize", message));
        }
    })
}

fn each<const BYTES: usize>(x: &[f32], out: &mut [u8], encode: fn(&[f32; 32], &mut [u8; BYTES])) {
    for (x, out) in x.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        encode(x, out);
    }
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

fn put(out: &mut [u8], value: f32) {
    out[..2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// The element that is farthest from zero.
fn extreme(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |most: f32, &x| if x.abs() > most.abs() { x } else { most })
}

fn range(x: &[f32]) -> (f32, f32) {
    x.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)))
}

fn nibbles(codes: [u8; 32], out: &mut [u8]) {
    for (l, byte) in out.iter_mut().enumerate() {
        *byte = codes[l] & 15 | (codes[l + 16] & 15) << 4;
    }
}

fn fives(codes: [u8; 32], out: &mut [u8]) {
    let high = codes.iter().enumerate().fold(0, |high, (l, &code)| high | u32::from(code >> 4) << l);
    out[..4].copy_from_slice(&high.to_le_bytes());
    nibbles(codes, &mut out[4..]);
}

/// The extreme becomes the lowest code, of which there is one more than of positive ones.
fn q4_0(x: &[f32; 32], out: &mut [u8; 18]) {
    let d = extreme(x) / -8.0;
    let id = inverse(d);
    put(out, d);
    nibbles(x.map(|x| ((x * id + 8.5) as u8).min(15)), &mut out[2..]);
}

fn q4_1(x: &[f32; 32], out: &mut [u8; 20]) {
    let (low, high) = range(x);
    let d = (high - low) / 15.0;
    let id = inverse(d);
    put(out, d);
    put(&mut out[2..], low);
    nibbles(x.map(|x| (((x - low) * id + 0.5) as u8).min(15)), &mut out[4..]);
}

fn q5_0(x: &[f32; 32], out: &mut [u8; 22]) {
    let d = extreme(x) / -16.0;
    let id = inverse(d);
    put(out, d);
    fives(x.map(|x| ((x * id + 16.5) as u8).min(31)), &mut out[2..]);
}

fn q5_1(x: &[f32; 32], out: &mut [u8; 24]) {
    let (low, high) = range(x);
    let d = (high - low) / 31.0;
    let id = inverse(d);
    put(out, d);
    put(&mut out[2..], low);
    fives(x.map(|x| (((x - low) * id + 0.5) as u8).min(31)), &mut out[4..]);
}

fn q8_0(x: &[f32; 32], out: &mut [u8; 34]) {
    let d = extreme(x).abs() / 127.0;
    let id = inverse(d);
    put(out, d);
    for (out, x) in out[2..].iter_mut().zip(x) {
        *out = (x * id).round() as i8 as u8;
    }
}

fn int8(x: &[f32], out: &mut [u8]) {
    let d = extreme(x).abs() / 127.0;
    let id = inverse(d);
    let (scale, codes) = out.split_at_mut(BlockFormat::Int8.row_header());
    scale.copy_from_slice(&d.to_le_bytes());
    for (code, x) in codes.iter_mut().zip(x) {
        *code = (x * id).round() as i8 as u8;
    }
}
