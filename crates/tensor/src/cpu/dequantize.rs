//! Blocks back to floats.

use std::mem::MaybeUninit;

use super::rows::for_each_run;
use super::simd::vectorized;
use crate::quant::{BlockFormat, GROUP, Quantized, RUN, Run};
use crate::{Result, Tensor};

/// See [`crate::Backend::dequantize`].
pub(super) fn dequantize(matrix: &Quantized, rows: Option<&[i64]>) -> Result<Tensor> {
    let &[count, columns] = matrix.shape();
    Tensor::build(&[rows.map_or(count, <[i64]>::len), columns], |out| {
        for_each_run(out, columns, |first, out| {
            let mut space = Vec::new();
            for (i, out) in out.chunks_exact_mut(columns).enumerate() {
                let row = rows.map_or(first + i, |rows| rows[first + i] as usize);
                dequantize_row(matrix.format(), matrix.row(row, &mut space), out);
            }
        })
    })
}

/// Writes the numbers of one row.
fn dequantize_row(format: BlockFormat, row: &[u8], out: &mut [MaybeUninit<f32>]) {
    for (start, out) in (0..).step_by(RUN).zip(out.chunks_mut(RUN)) {
        dequantize_run(format, row, start, out);
    }
}

/// Writes some numbers of one row, at most [`RUN`], from `start` on, a multiple of it.
pub(super) fn dequantize_run(format: BlockFormat, row: &[u8], start: usize, out: &mut [MaybeUninit<f32>]) {
    vectorized(
        #[inline(always)]
        || {
            let mut run = Run::ZERO;
            run.unpack(format, row, start);
            let groups = run.codes.as_chunks::<GROUP>().0.iter().zip(run.scales.iter().zip(&run.offsets));
            for (out, (codes, (scale, offset))) in out.chunks_mut(GROUP).zip(groups) {
                for (out, &code) in out.iter_mut().zip(codes) {
                    out.write(scale * f32::from(code) + offset);
                }
            }
        },
    );
}
