//! What every format comes down to: a run of small integers, and for each group of them a scale and an offset.
//!
//! The layouts are those of ggml (`ggml-common.h`), its `dequantize_row_*` functions say what they mean.

use super::BlockFormat;

/// The most elements that are unpacked at once.
pub(crate) const RUN: usize = 256;
/// Elements that share a scale and an offset.
pub(crate) const GROUP: usize = 16;

/// Up to [`RUN`] elements of a row: element `i` is `scales[g] * codes[i] + offsets[g]`, where `g = i / GROUP`.
pub(crate) struct Run {
    pub(crate) codes: [i8; RUN],
    pub(crate) scales: [f32; RUN / GROUP],
    pub(crate) offsets: [f32; RUN / GROUP],
}

impl Run {
    pub(crate) const ZERO: Run =
        Run { codes: [0; RUN], scales: [0.0; RUN / GROUP], offsets: [0.0; RUN / GROUP] };

    /// Unpacks the elements of `row`, one of `format`, from `start` on, a multiple of [`RUN`]; says how many there were. The rest of the
    /// run stays as it is.
    #[inline(always)]
    pub(crate) fn unpack(&mut self, format: BlockFormat, row: &[u8], start: usize) -> usize {
        let from = format.row_header() + start / format.block_elements() * format.block_bytes();
        let bytes = RUN / format.block_elements() * format.block_bytes();
        let blocks = &row[from..row.len().min(from + bytes)];
        match format {
            BlockFormat::Q4_0 => self.each32(blocks, |block: &[u8; 18], run| {
                nibbles(&block[2..], 8, run.codes);
                run.set(half(block, 0), 0.0);
            }),
            BlockFormat::Q4_1 => self.each32(blocks, |block: &[u8; 20], run| {
                nibbles(&block[4..], 0, run.codes);
                run.set(half(block, 0), half(block, 2));
            }),
            BlockFormat::Q5_0 => self.each32(blocks, |block: &[u8; 22], run| {
                fives(&block[2..], 16, run.codes);
                run.set(half(block, 0), 0.0);
            }),
            BlockFormat::Q5_1 => self.each32(blocks, |block: &[u8; 24], run| {
                fives(&block[4..], 0, run.codes);
                run.set(half(block, 0), half(block, 2));
            }),
            BlockFormat::Q8_0 => self.each32(blocks, |block: &[u8; 34], run| {
                for (code, &byte) in run.codes.iter_mut().zip(&block[2..]) {
                    *code = byte as i8;
                }
                run.set(half(block, 0), 0.0);
            }),
            BlockFormat::Q2K => self.whole(blocks, Run::q2_k),
            BlockFormat::Q3K => self.whole(blocks, Run::q3_k),
            BlockFormat::Q4K => self.whole(blocks, |run, block: &[u8; 144]| {
                run.scales_of_32(half(block, 0), half(block, 2), &block[4..16]);
                run.nibbles_of_256(&block[16..], |_, _| 0);
            }),
            BlockFormat::Q5K => self.whole(blocks, |run, block: &[u8; 176]| {
                run.scales_of_32(half(block, 0), half(block, 2), &block[4..16]);
                let high = &block[16..48];
                run.nibbles_of_256(&block[48..], |part, l| (high[l] >> part & 1) << 4);
            }),
            BlockFormat::Q6K => self.whole(blocks, Run::q6_k),
            BlockFormat::Int8 => {
                let scale = f32::from_le_bytes([row[0], row[1], row[2], row[3]]);
                for (code, &byte) in self.codes.iter_mut().zip(blocks) {
                    *code = byte as i8;
                }
                self.scales.fill(scale);
                self.offsets.fill(0.0);
                blocks.len()
            }
        }
    }

    /// Unpacks blocks of 32 elements.
    #[inline(always)]
    fn each32<const BYTES: usize>(&mut self, blocks: &[u8], unpack: impl Fn(&[u8; BYTES], Part)) -> usize {
        let blocks = blocks.as_chunks::<BYTES>().0;
        let parts = self.codes.as_chunks_mut::<32>().0.iter_mut();
        let scales = self.scales.as_chunks_mut::<2>().0.iter_mut().zip(self.offsets.as_chunks_mut::<2>().0);
        for ((block, codes), (scales, offsets)) in blocks.iter().zip(parts).zip(scales) {
            unpack(block, Part { codes, scales, offsets });
        }
        32 * blocks.len()
    }

    /// Unpacks a block of 256 elements, if there is one.
    #[inline(always)]
    fn whole<const BYTES: usize>(&mut self, blocks: &[u8], unpack: impl Fn(&mut Run, &[u8; BYTES])) -> usize {
        match blocks.first_chunk() {
            Some(block) => {
                unpack(self, block);
                RUN
            }
            None => 0,
        }
    }

    #[inline(always)]
    fn q2_k(&mut self, block: &[u8; 84]) {
        let (d, min) = (half(block, 80), half(block, 82));
        for (g, &scale) in block[..16].iter().enumerate() {
            self.scales[g] = d * f32::from(scale & 15);
            self.offsets[g] = -(min * f32::from(scale >> 4));
        }
        for (part, codes) in self.codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let from = &block[16 + part / 4 * 32..][..32];
            for (code, &byte) in codes.iter_mut().zip(from) {
                *code = (byte >> (2 * (part % 4)) & 3) as i8;
            }
        }
    }

    #[inline(always)]
    fn q3_k(&mut self, block: &[u8; 110]) {
        let (high, low, packed, d) = (&block[..32], &block[32..96], &block[96..108], half(block, 108));
        for g in 0..16 {
            let four = packed[g % 8] >> (g / 8 * 4) & 15;
            let two = packed[8 + g % 4] >> (g / 4 * 2) & 3;
            self.scales[g] = d * f32::from((four | two << 4) as i8 - 32);
        }
        self.offsets.fill(0.0);
        for (part, codes) in self.codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let from = low[part / 4 * 32..][..32].iter().zip(high);
            for (code, (&low, &high)) in codes.iter_mut().zip(from) {
                *code = (low >> (2 * (part % 4)) & 3) as i8 - 4 + ((high >> part & 1) << 2) as i8;
            }
        }
    }

    #[inline(always)]
    fn q6_k(&mut self, block: &[u8; 210]) {
        let (low, high, packed, d) = (&block[..128], &block[128..192], &block[192..208], half(block, 208));
        for (scale, &byte) in self.scales.iter_mut().zip(packed) {
            *scale = d * f32::from(byte as i8);
        }
        self.offsets.fill(0.0);
        for (part, codes) in self.codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (first, part) = (part / 4, part % 4);
            let from = low[64 * first + 32 * (part % 2)..][..32].iter().zip(&high[32 * first..][..32]);
            for (code, (&low, &high)) in codes.iter_mut().zip(from) {
                *code = ((low >> (part / 2 * 4) & 15) | (high >> (2 * part) & 3) << 4) as i8 - 32;
            }
        }
    }

    /// Eight scales and minima of 6 bits each in 12 bytes.
    #[inline(always)]
    fn scales_of_32(&mut self, d: f32, min: f32, packed: &[u8]) {
        for part in 0..8 {
            let (scale, least) = match part {
                0..4 => (packed[part] & 63, packed[part + 4] & 63),
                _ => (
                    packed[part + 4] & 15 | packed[part - 4] >> 6 << 4,
                    packed[part + 4] >> 4 | packed[part] >> 6 << 4,
                ),
            };
            self.scales[2 * part..][..2].fill(d * f32::from(scale));
            self.offsets[2 * part..][..2].fill(-(min * f32::from(least)));
        }
    }

    /// Runs of 32 elements: the low halves of 32 bytes, their high halves, and so on; `more` has the bits above, by run and element.
    #[inline(always)]
    fn nibbles_of_256(&mut self, bytes: &[u8], more: impl Fn(usize, usize) -> u8) {
        for (part, codes) in self.codes.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let from = &bytes[part / 2 * 32..][..32];
            for (l, code) in codes.iter_mut().enumerate() {
                *code = (from[l] >> (part % 2 * 4) & 15 | more(part, l)) as i8;
            }
        }
    }
}

/// 32 elements of a run.
struct Part<'a> {
    codes: &'a mut [i8; 32],
    scales: &'a mut [f32; 2],
    offsets: &'a mut [f32; 2],
}

impl Part<'_> {
    #[inline(always)]
    fn set(self, scale: f32, offset: f32) {
        *self.scales = [scale; 2];
        *self.offsets = [offset; 2];
    }
}

/// The float16 at a place of a block.
#[inline(always)]
fn half(block: &[u8], at: usize) -> f32 {
    widen(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// A float16 without branches, so that loops around it can be vectorised.
#[inline(always)]
pub(crate) fn widen(bits: u16) -> f32 {
    let bits = u32::from(bits);
    let (sign, magnitude) = ((bits & 0x8000) << 16, (bits & 0x7fff) << 13);
    // The exponents differ by 112, and a product with a power of two is exact, of denormals too.
    let finite = f32::from_bits(magnitude) * f32::from_bits((112 + 127) << 23);
    let special = f32::from_bits(magnitude | 0x7f80_0000);
    f32::from_bits(if magnitude < 0x0f80_0000 { finite } else { special }.to_bits() | sign)
}

/// 32 codes of 4 bits: the low halves of 16 bytes, then their high halves.
#[inline(always)]
fn nibbles(bytes: &[u8], zero: i8, codes: &mut [i8; 32]) {
    for l in 0..16 {
        codes[l] = (bytes[l] & 15) as i8 - zero;
        codes[l + 16] = (bytes[l] >> 4) as i8 - zero;
    }
}

/// 32 codes of 5 bits: the fifth ones in 4 bytes, then the others as [`nibbles`].
#[inline(always)]
fn fives(bytes: &[u8], zero: i8, codes: &mut [i8; 32]) {
    let high = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    nibbles(&bytes[4..], zero, codes);
    for (l, code) in codes.iter_mut().enumerate() {
        *code += ((high >> l & 1) << 4) as i8;
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_float16_is_widened_exactly() {
        for bits in 0..=u16::MAX {
            let (got, want) = (widen(bits), f16::from_bits(bits).to_f32());
            assert!(
                got.to_bits() == want.to_bits() || (got.is_nan() && want.is_nan()),
                "{bits:x}: {got}, not {want}"
            );
        }
    }
}
