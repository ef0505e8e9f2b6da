//! Matrices of blocks in the form of the kernel: sixteen rows side by side, word by word, so that a vector holds the same bits of sixteen
//! outputs. It has as many bytes as the file, and lies in one stretch of memory.
//!
//! Codes of 8 bits are four to a word, which is what products of many rows read, too ([`crate::cpu::gemm`]).

use std::ops::Range;
use std::sync::Arc;

use super::Part;
use super::activations::Activations;
use super::words::Unit;
use crate::cpu::gemm::{Real, Runs};
use crate::cpu::level::Level;
use crate::quant::BlockFormat;
use crate::{Buffer, DType, Layout, Quantized, Result, Storage, Tensor, team};

/// Rows of a panel: the lanes of a vector.
pub(crate) const LANES: usize = 16;

/// The panels of a matrix. Cloning shares them.
#[derive(Clone, Debug)]
pub(crate) struct Interleaved {
    pub(super) format: BlockFormat,
    pub(super) columns: usize,
    /// Words of a row.
    words: usize,
    /// (panels, words of each)
    memory: Tensor,
}

impl Interleaved {
    /// Whether a kernel reads it.
    pub(crate) fn is_read() -> bool {
        Level::current() >= Level::Vnni
    }

    /// The form of a matrix, which may be all that it has.
    ///
    /// # Errors
    /// `OutOfMemory`, or `Threads` when there are none to be had.
    pub(crate) fn of(matrix: &Quantized) -> Result<Interleaved> {
        if let Some(interleaved) = matrix.interleaved() {
            return Ok(interleaved.clone());
        }
        let (format, [rows, columns]) = (matrix.format(), *matrix.shape());
        let (panels, words) = (rows.div_ceil(LANES), words_of_panel(matrix) / LANES);
        let storage = Buffer::lasting(panels.saturating_mul(LANES * words * size_of::<i32>()))?;
        let layout = Layout::contiguous(&[panels, LANES * words]);
        let memory = Tensor::from_storage(Arc::new(Storage::Cpu(storage)), layout, DType::I32)?;
        let interleaved = Interleaved { format, columns, words, memory };
        team::for_each(panels, |panel| {
            // SAFETY: a panel belongs to this task, and has room for its words.
            unsafe { fill(matrix, panel, interleaved.panel(panel).cast_mut()) }
        })?;
        Ok(interleaved)
    }

    /// Where a panel begins.
    pub(crate) fn panel(&self, panel: usize) -> *const i32 {
        self.memory.as_ptr().cast::<i32>().wrapping_add(panel * LANES * self.words)
    }

    pub(crate) fn copy(&self) -> Result<Interleaved> {
        Ok(Interleaved { memory: self.memory.copy()?, ..*self })
    }

    pub(crate) fn memory(&self) -> &Tensor {
        &self.memory
    }

    /// Writes a row, which must be there, as it is stored.
    pub(crate) fn write_row(&self, row: usize, to: &mut [u8]) {
        let first = (row / LANES) * LANES * self.words + row % LANES;
        // A row without columns may have no words.
        let lane = self.memory.elements::<i32>().get(first..).unwrap_or_default().iter().step_by(LANES);
        Unit::of(self.format).read(lane.copied(), to);
    }
}

/// The words of a panel of such a matrix.
pub(crate) fn words_of_panel(matrix: &Quantized) -> usize {
    LANES * Unit::of(matrix.format()).of_row(matrix.shape()[1])
}

/// Writes a panel of a matrix. Rows that are not there are zeros: scales too.
///
/// # Safety
/// `to` must have room for its words.
pub(crate) unsafe fn fill(matrix: &Quantized, panel: usize, to: *mut i32) {
    let (unit, words) = (Unit::of(matrix.format()), words_of_panel(matrix) / LANES);
    let (mut straight, mut space) = (vec![0; LANES * words], Vec::new());
    let rows = panel * LANES..matrix.shape()[0].min((panel + 1) * LANES);
    for (row, words) in rows.zip(straight.chunks_exact_mut(words.max(1))) {
        unit.write(matrix.row(row, &mut space), words);
    }
    let runs = Runs {
        data: straight.as_ptr().cast::<f32>(),
        lanes: LANES,
        lane_stride: words as isize,
        inner: words,
        inner_stride: 1,
    };
    // SAFETY: as the caller promises; any bits may be moved as floats.
    unsafe { (f32::kernel(Level::current()).pack)(&runs, to.cast(), LANES) }
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
