//! Matrices of blocks in the form of the kernel: sixteen rows side by side, word by word, so that a vector holds the same bits of sixteen
//! outputs. It has as many bytes as the file, and lies in one stretch of memory.

use std::ops::Range;

use super::Part;
use super::activations::Activations;
use super::words::Unit;
use crate::cpu::gemm::{Real, Runs};
use crate::cpu::level::Level;
use crate::quant::BlockFormat;
use crate::{Buffer, Quantized, Result, team};

/// Rows of a panel: the lanes of a vector.
pub(super) const LANES: usize = 16;

/// The panels of a matrix.
pub(crate) struct Interleaved {
    pub(super) format: BlockFormat,
    pub(super) columns: usize,
    /// Words of a row.
    words: usize,
    data: Buffer,
}

impl Interleaved {
    /// Whether a kernel reads it.
    pub(crate) fn is_read() -> bool {
        Level::current() >= Level::Vnni
    }

    /// The form of a matrix.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Threads` when there are none to be had.
    pub(crate) fn of(matrix: &Quantized) -> Result<Interleaved> {
        let (format, [rows, columns]) = (matrix.format(), *matrix.shape());
        let (bytes, row_bytes) = (matrix.blocks().as_slice::<u8>()?, matrix.blocks().shape()[1]);
        let unit = Unit::of(format);
        let words = unit.of_row(columns);
        let panels = rows.div_ceil(LANES);
        let data = Buffer::lasting(panels.saturating_mul(LANES * words * size_of::<i32>()))?;
        let interleaved = Interleaved { format, columns, words, data };
        team::for_each(panels, |panel| {
            // Rows that are not there are zeros: scales too.
            let mut straight = vec![0; LANES * words];
            let from = bytes[panel * LANES * row_bytes..].chunks_exact(row_bytes.max(1));
            for (row, words) in from.zip(straight.chunks_exact_mut(words.max(1))) {
                unit.write(row, words);
            }
            let runs = Runs {
                data: straight.as_ptr().cast::<f32>(),
                lanes: LANES,
                lane_stride: words as isize,
                inner: words,
                inner_stride: 1,
            };
            let to = interleaved.panel(panel).cast_mut().cast();
            // SAFETY: a panel has room for the words of as many rows, and belongs to this task; any bits may be moved as floats.
            unsafe { (f32::kernel(Level::current()).pack)(&runs, to, LANES) }
        })?;
        Ok(interleaved)
    }

    /// Where a panel begins.
    pub(super) fn panel(&self, panel: usize) -> *const i32 {
        self.data.as_mut_ptr().cast::<i32>().wrapping_add(panel * LANES * self.words)
    }
}

/// Panels and what they are multiplied with.
pub(super) struct Product<'a>(pub(super) &'a Interleaved, pub(super) &'a Activations);

impl Part for Product<'_> {
    fn run(&self, outputs: Range<usize>, to: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: panels are made only where the processor has the level.
        unsafe {
            super::vnni::run(self.0, self.1, outputs, to)
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (self.0.format, self.0.columns, self.1, outputs, to);
    }
}
