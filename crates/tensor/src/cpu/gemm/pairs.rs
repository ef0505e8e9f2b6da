//! Products of bfloat16: processors that have them multiply two numbers at once, neighbours of the inner dimension, and add both products to
//! one float32. Such a pair takes the room of a float32, so that products of pairs are products of matrices half as deep.

use std::mem::MaybeUninit;

use half::bf16;
use smallvec::SmallVec;

use super::kernel::PairKernel;
use super::stacked::within;
use super::{Kernel, Panels, Runs};
use crate::cpu::level::Level;
use crate::cpu::rows::for_each_run;
use crate::{DType, Matrix, Result, Tensor};

/// Matrices (out, in) of bfloat16, stacked, as one right matrix (in / 2, out) of pairs.
pub(crate) struct Pairs<'a> {
    kernel: &'static PairKernel,
    parts: SmallVec<[&'a Tensor; 4]>,
}

impl<'a> Pairs<'a> {
    /// The matrices as pairs, if the processor has products of them and all lie so that they can be found.
    pub(crate) fn of(parts: &'a [Matrix]) -> Option<Pairs<'a>> {
        let kernel = PairKernel::of(Level::current())?;
        let fits = |part: &&Tensor| {
            part.dtype() == DType::BF16 && (lies_in_pairs(part) || part.layout().strides()[0] == 1)
        };
        let parts = parts.iter().map(|part| part.dense().filter(fits)).collect::<Option<_>>()?;
        Some(Pairs { kernel, parts })
    }

    /// Rows (.., in) of the left matrix as (.., in / 2) of pairs, written to `out`, which is as long.
    ///
    /// # Errors
    /// `Threads` when there are none to be had.
    pub(crate) fn rounded<'r>(&self, values: &[f32], out: &'r mut [MaybeUninit<f32>]) -> Result<&'r [f32]> {
        let (columns, pairs) = (self.parts[0].shape()[1], self.shape()[0]);
        for_each_run(out, pairs, |first, run| {
            let rows = values[first * columns..].chunks_exact(columns);
            for (row, to) in rows.zip(run.chunks_exact_mut(pairs)) {
                // SAFETY: the processor has the kernel's level.
                unsafe { (self.kernel.round)(row, to) }
            }
        })?;
        // SAFETY: all whole rows have been written, and there are no others.
        Ok(unsafe { out.assume_init_ref() })
    }
}

/// Whether neighbours of the inner dimension are neighbours in memory, from even ones on.
fn lies_in_pairs(part: &Tensor) -> bool {
    let strides = part.layout().strides();
    part.shape()[1].is_multiple_of(2) && strides[1] == 1 && strides[0] % 2 == 0
}

impl Panels<f32> for Pairs<'_> {
    fn shape(&self) -> [usize; 2] {
        [self.parts[0].shape()[1].div_ceil(2), self.parts.iter().map(|part| part.shape()[0]).sum()]
    }

    fn kernel(&self, _: Level) -> &'static Kernel<f32> {
        self.kernel.kernel
    }

    unsafe fn fill(
        &self,
        kernel: &Kernel<f32>,
        columns: (usize, usize),
        inner: (usize, usize),
        out: *mut f32,
    ) {
        let (width, depth) = (kernel.columns, inner.1 - inner.0);
        for (part, rows, place) in within(self.parts.iter().map(|part| (part, part.shape()[0])), columns) {
            let (strides, lanes) = (part.layout().strides(), rows.1 - rows.0);
            let offset = rows.0 as isize * strides[0] + 2 * inner.0 as isize * strides[1];
            let data = part.as_ptr().cast::<bf16>().wrapping_offset(offset);
            // SAFETY: the runs are parts of the tensor's rows, and lie side by side within the panel.
            unsafe {
                let out = out.add(place);
                if lies_in_pairs(part) {
                    let lane_stride = strides[0] / 2;
                    let runs = Runs { data: data.cast(), lanes, lane_stride, inner: depth, inner_stride: 1 };
                    (kernel.pack)(&runs, out, width);
                } else {
                    let inner = (2 * depth).min(part.shape()[1] - 2 * inner.0);
                    let runs = Runs { data, lanes, lane_stride: 1, inner, inner_stride: strides[1] };
                    (self.kernel.interleave)(&runs, out, width);
                }
            }
        }
    }
}
