//! A right matrix in the layout of a kernel.

use super::{Kernel, Matrix, Panels, Real, pointer};
use crate::cpu::level::Level;
use crate::quant::RUN;
use crate::{Buffer, Result, team};

/// Fewer elements than this are packed on the calling thread: waking another costs more.
const PARALLEL_FROM: usize = 64 << 10;

/// A right matrix in panels: the rows of the matrix cut to the width of a tile, one after another.
pub(crate) struct Packed<T: 'static> {
    data: Buffer,
    pub(super) inner: usize,
    pub(super) columns: usize,
    pub(super) kernel: &'static Kernel<T>,
}

impl<T: Real> Packed<T> {
    pub(super) fn pack(b: Matrix<T>, kernel: &'static Kernel<T>, parallel: bool) -> Result<Packed<T>> {
        let inner = b.rows;
        Packed::fill(kernel, [inner, b.columns], Buffer::uninit, parallel, |columns, to| {
            let runs = b.columns_as_runs(columns, (0, inner));
            // SAFETY: a panel holds so many elements.
            unsafe { (kernel.pack)(&runs, to, kernel.columns) }
        })
    }

    /// Packs a matrix that gives its panels, for many products.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn made(b: &dyn Panels<T>) -> Result<Packed<T>> {
        let (kernel, [inner, columns]) = (b.kernel(Level::current()), b.shape());
        Packed::fill(kernel, [inner, columns], Buffer::lasting, true, |columns, to| {
            for start in (0..inner).step_by(RUN) {
                // SAFETY: the panel has room for all of the inner dimension.
                unsafe {
                    b.fill(kernel, columns, (start, inner.min(start + RUN)), to.add(start * kernel.columns))
                }
            }
        })
    }

    /// `fill` writes the columns of every panel, in `memory` of so many bytes: it is given which, and where to.
    fn fill(
        kernel: &'static Kernel<T>,
        [inner, columns]: [usize; 2],
        memory: fn(usize) -> Result<Buffer>,
        parallel: bool,
        fill: impl Fn((usize, usize), *mut T) + Sync,
    ) -> Result<Packed<T>> {
        let width = kernel.columns;
        let panels = columns.div_ceil(width);
        let elements = panels.saturating_mul(width).saturating_mul(inner);
        let data = memory(elements.saturating_mul(size_of::<T>()))?;
        let packed = Packed { data, inner, columns, kernel };
        let one = |panel: usize| {
            let (from, to) = (panel * width, columns.min((panel + 1) * width));
            // SAFETY: a panel holds so many elements.
            unsafe { kernel.clear(to - from, inner, packed.panel(panel)) }
            fill((from, to), packed.panel(panel));
        };
        if parallel && inner * columns >= PARALLEL_FROM {
            team::for_each(panels, one)?;
        } else {
            (0..panels).for_each(one);
        }
        Ok(packed)
    }

    /// Where a panel starts.
    pub(super) fn panel(&self, panel: usize) -> *mut T {
        pointer::<T>(&self.data).wrapping_add(panel * self.kernel.columns * self.inner)
    }
}
