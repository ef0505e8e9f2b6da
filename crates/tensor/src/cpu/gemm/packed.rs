//! A right matrix in the layout of a kernel.

use std::ptr;

use rayon::prelude::*;

use super::{Kernel, Matrix, Real, Runs, pointer, scratch};
use crate::cpu::level::Level;
use crate::{Buffer, Result, pool};

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
        Packed::fill(kernel, b.rows, b.columns, parallel, |columns, write| {
            write(0, &b.columns_as_runs(columns, (0, b.rows)));
            Ok(())
        })
    }

    /// Packs (out, in) matrices, stacked, of any real dtype or of blocks, as one (in, out) right matrix.
    ///
    /// # Errors
    /// `OutOfMemory`, also when a part cannot be converted.
    pub(crate) fn pack_transposed(parts: &[crate::Matrix]) -> Result<Packed<T>> {
        let inner = parts.first().map_or(0, |part| part.shape()[1]);
        let columns = parts.iter().map(|part| part.shape()[0]).sum();
        Packed::fill(T::kernel(Level::current()), inner, columns, true, |(from, to), write| {
            let mut start = 0;
            for part in parts {
                let end = start + part.shape()[0];
                let (first, last) = (from.max(start), to.min(end));
                if first < last {
                    // Only the rows of a panel are converted at once, so that they stay in the cache.
                    let rows = match part {
                        crate::Matrix::Dense(part) => part.detach().narrow(0, first - start, last - start)?,
                        crate::Matrix::Quantized(part) => {
                            let ids: Vec<i64> = (first - start..last - start).map(|row| row as i64).collect();
                            part.rows(&ids)?
                        }
                    };
                    let rows = rows.to_dtype(T::DTYPE)?;
                    write(
                        first - from,
                        &Matrix::<T>::of(&rows, 0)?.rows_as_runs((0, last - first), (0, inner)),
                    );
                }
                start = end;
            }
            Ok(())
        })
    }

    /// `fill` is asked for every panel's columns and writes runs of them, each at its place in the panel.
    fn fill(
        kernel: &'static Kernel<T>,
        inner: usize,
        columns: usize,
        parallel: bool,
        fill: impl Fn((usize, usize), &dyn Fn(usize, &Runs<T>)) -> Result<()> + Send + Sync,
    ) -> Result<Packed<T>> {
        let width = kernel.columns;
        let panels = columns.div_ceil(width);
        let data = scratch::<T>(panels.saturating_mul(width).saturating_mul(inner))?;
        let packed = Packed { data, inner, columns, kernel };
        let one = |panel: usize| {
            let end = columns.min((panel + 1) * width);
            let to = packed.panel(panel);
            if end - panel * width < width {
                // SAFETY: a panel holds so many elements. Tiles are computed whole, so what is beyond the last column must be a number.
                unsafe { ptr::write_bytes(to, 0, inner * width) }
            }
            fill((panel * width, end), &|place, runs: &Runs<T>| {
                debug_assert!(place + runs.lanes <= width && runs.inner == inner);
                // SAFETY: the runs lie side by side within the panel.
                unsafe { (kernel.pack)(runs, to.add(place), width) }
            })
        };
        if parallel && inner * columns >= PARALLEL_FROM {
            pool::install(|| (0..panels).into_par_iter().try_for_each(one))??;
        } else {
            (0..panels).try_for_each(one)?;
        }
        Ok(packed)
    }

    /// Where a panel starts.
    pub(super) fn panel(&self, panel: usize) -> *mut T {
        pointer::<T>(&self.data).wrapping_add(panel * self.kernel.columns * self.inner)
    }
}
