//! Right matrices that are widened or unpacked as a product goes along them: only a part of a panel is ever held as floats.

use std::mem::MaybeUninit;

use half::{bf16, f16};

use super::{Kernel, Real, Runs};
use crate::cpu::dequantize::dequantize_run;
use crate::cpu::level::Level;
use crate::cpu::simd::vectorized;
use crate::cpu::stored::Widen;
use crate::quant::RUN;
use crate::{DType, Matrix, Quantized, Tensor};

/// A right matrix that gives its panels when they are needed.
pub(crate) trait Panels<T: 'static>: Sync {
    /// Rows and columns.
    fn shape(&self) -> [usize; 2];

    /// The kernel that the panels are for, of a level.
    fn kernel(&self, level: Level) -> &'static Kernel<T>;

    /// Writes `columns` of the rows `inner`, at most [`RUN`] of them from a multiple of it on, as a panel of the kernel's, and nothing
    /// beyond the last column.
    ///
    /// # Safety
    /// `to` must have room for as many rows of the kernel's width, of which columns there must be no more.
    unsafe fn fill(&self, kernel: &Kernel<T>, columns: (usize, usize), inner: (usize, usize), to: *mut T);
}

/// Where columns `from` to `to` are of matrices (out, in) that are stacked, given with how many outputs each has: in which of them, as which
/// of its rows, and how far behind `from`.
pub(super) fn within<P>(
    parts: impl Iterator<Item = (P, usize)>,
    (from, to): (usize, usize),
) -> impl Iterator<Item = (P, (usize, usize), usize)> {
    let placed = parts.scan(0, |end, (part, outputs)| {
        let start = *end;
        *end += outputs;
        Some((part, start, *end))
    });
    placed.filter_map(move |(part, start, end)| {
        let (first, last) = (from.max(start), to.min(end));
        (first < last).then(|| (part, (first - start, last - start), first - from))
    })
}

/// Matrices (out, in) of floats or blocks, stacked, as one (in, out) right matrix.
pub(crate) struct Stacked<'a>(pub(crate) &'a [Matrix]);

/// Room for the widest panel's part of a run, of any kernel.
type Rows = [MaybeUninit<f32>; 32 * RUN];

impl Panels<f32> for Stacked<'_> {
    fn shape(&self) -> [usize; 2] {
        let inner = self.0.first().map_or(0, |part| part.shape()[1]);
        [inner, self.0.iter().map(|part| part.shape()[0]).sum()]
    }

    fn kernel(&self, level: Level) -> &'static Kernel<f32> {
        f32::kernel(level)
    }

    unsafe fn fill(
        &self,
        kernel: &Kernel<f32>,
        columns: (usize, usize),
        inner: (usize, usize),
        out: *mut f32,
    ) {
        for (part, rows, place) in within(self.0.iter().map(|part| (part, part.shape()[0])), columns) {
            let mut space: Rows = [const { MaybeUninit::uninit() }; 32 * RUN];
            let runs = match part {
                Matrix::Dense(tensor) => dense(tensor, rows, inner, &mut space),
                Matrix::Quantized(blocks) => unpacked(blocks, rows, inner, &mut space),
            };
            // SAFETY: the runs lie side by side within the panel.
            unsafe { (kernel.pack)(&runs, out.add(place), kernel.columns) }
        }
    }
}

/// Some rows of blocks, each a run over `inner`.
fn unpacked(blocks: &Quantized, rows: (usize, usize), inner: (usize, usize), space: &mut Rows) -> Runs<f32> {
    let mut stored = Vec::new();
    for (row, space) in (rows.0..rows.1).zip(space.chunks_mut(RUN)) {
        let row = blocks.row(row, &mut stored);
        dequantize_run(blocks.format(), row, inner.0, &mut space[..inner.1 - inner.0]);
    }
    Runs {
        data: space.as_ptr().cast(),
        lanes: rows.1 - rows.0,
        lane_stride: RUN as isize,
        inner: inner.1 - inner.0,
        inner_stride: 1,
    }
}

/// Some rows of floats, each a run over `inner`: where they lie, or widened.
fn dense(tensor: &Tensor, rows: (usize, usize), inner: (usize, usize), space: &mut Rows) -> Runs<f32> {
    let strides = tensor.layout().strides();
    let (lane_stride, inner_stride) = (strides[0], strides[1]);
    let offset = rows.0 as isize * lane_stride + inner.0 as isize * inner_stride;
    let first = tensor.as_ptr().wrapping_offset(offset * tensor.dtype().size() as isize);
    let (lanes, len) = (rows.1 - rows.0, inner.1 - inner.0);
    let runs = Runs { data: first.cast(), lanes, lane_stride, inner: len, inner_stride };
    match tensor.dtype() {
        DType::F32 => runs,
        DType::BF16 => widened::<bf16>(&runs, space),
        DType::F16 => widened::<f16>(&runs, space),
        _ => widened::<f64>(&runs, space),
    }
}

/// Runs of elements of another type, widened into `space`: the neighbours of either dimension stay neighbours.
fn widened<T: Widen>(runs: &Runs<f32>, space: &mut Rows) -> Runs<f32> {
    let (lanes, inner) = (runs.lanes, runs.inner);
    let is_turned = runs.lane_stride == 1 && runs.inner_stride != 1;
    let (outer, length, strides) = match is_turned {
        true => (inner, lanes, (runs.inner_stride, runs.lane_stride)),
        false => (lanes, inner, (runs.lane_stride, runs.inner_stride)),
    };
    let step = if is_turned { space.len() / RUN } else { RUN };
    let first = runs.data.cast::<T>();
    vectorized(
        #[inline(always)]
        || {
            for (i, to) in space.chunks_mut(step).enumerate().take(outer) {
                let from = first.wrapping_offset(i as isize * strides.0);
                let to = &mut to[..length];
                if strides.1 == 1 {
                    // SAFETY: elements of the tensor that the runs are part of, one after another.
                    let from = unsafe { std::slice::from_raw_parts(from, length) };
                    to.iter_mut().zip(from).for_each(
                        #[inline(always)]
                        |(to, from)| _ = to.write(from.widen()),
                    );
                } else {
                    for (j, to) in to.iter_mut().enumerate() {
                        // SAFETY: as above, each by itself.
                        to.write(unsafe { from.wrapping_offset(j as isize * strides.1).read() }.widen());
                    }
                }
            }
        },
    );
    let (lane_stride, inner_stride) = if is_turned { (1, step as isize) } else { (step as isize, 1) };
    Runs { data: space.as_ptr().cast(), lanes, lane_stride, inner, inner_stride }
}
