//! Matrix products: packed operands, tiles held in registers, blocks held in caches.
//!
//! The right matrix is packed in panels as wide as a tile, so that its rows are read one after another; the left one in panels as high
//! as a tile. A task multiplies some rows by some columns: it packs its rows, a block of the inner dimension at a time, and runs along the
//! panels of the right matrix, each of which meets all of the packed rows while it is in the first-level cache.

mod kernel;
mod matrix;
mod packed;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::mem::MaybeUninit;
use std::ptr;

use rayon::prelude::*;

use crate::cpu::level::Level;
use crate::{Buffer, Error, Result, pool};

pub(crate) use kernel::Real;
use kernel::{Kernel, Runs, Tile};
pub(crate) use matrix::{Matrix, MatrixMut};
pub(crate) use packed::Packed;

/// Rows that one task packs at once: with a block of the inner dimension they fill a part of the second-level cache.
const BLOCK_ROWS: usize = 168;
/// The longest block of the inner dimension: a panel of the right matrix then fills the first-level cache, and the sums are written
/// rarely enough.
const BLOCK_INNER: usize = 384;
/// Products with fewer multiplications are done on the calling thread: waking another costs more.
const PARALLEL_FROM: usize = 1 << 20;

/// The right matrix of a product.
pub(crate) enum Right<'a, T: 'static> {
    Plain(Matrix<'a, T>),
    Packed(&'a Packed<T>),
}

/// Maps a run of elements to one of the same length.
pub(crate) type Map<T> = fn(&[T], &mut [MaybeUninit<T>]);

/// What else a product does.
pub(crate) struct Options<'a, T> {
    /// A factor of the product.
    pub(crate) alpha: T,
    /// A row that is added to every row of the product.
    pub(crate) add: Option<&'a [T]>,
    /// Maps the finished elements, some at a time.
    pub(crate) map: Option<Map<T>>,
    /// Whether other threads may help.
    pub(crate) parallel: bool,
}

impl<T: Real> Default for Options<'_, T> {
    fn default() -> Self {
        Options { alpha: T::ONE, add: None, map: None, parallel: true }
    }
}

/// `out = map(alpha · a b + add)`
///
/// # Errors
/// `Shapes` when the operands do not fit one another, `OutOfMemory` when there is none to pack them in.
pub(crate) fn gemm<T: Real>(
    out: MatrixMut<T>,
    a: Matrix<T>,
    b: Right<T>,
    options: &Options<T>,
) -> Result<()> {
    gemm_at(Level::current(), out, a, b, options)
}

/// [`gemm`] with the kernel of a level; packed matrices stay with the one they were packed for.
fn gemm_at<T: Real>(
    level: Level,
    out: MatrixMut<T>,
    a: Matrix<T>,
    b: Right<T>,
    options: &Options<T>,
) -> Result<()> {
    let (inner, columns, kernel) = match &b {
        Right::Plain(b) => (b.rows, b.columns, T::kernel(level)),
        Right::Packed(b) => (b.inner, b.columns, b.kernel),
    };
    let misfit = |rule, left: [usize; 2], right: [usize; 2]| {
        Err(Error::Shapes { op: "matmul", rule, left: left.into(), right: right.into() })
    };
    if a.columns != inner {
        return misfit(
            "the columns of the left must be the rows of the right",
            [a.rows, a.columns],
            [inner, columns],
        );
    }
    if (out.rows, out.columns) != (a.rows, columns) {
        return misfit(
            "the result must have the left's rows and the right's columns",
            [out.rows, out.columns],
            [a.rows, columns],
        );
    }
    if let Some(row) = options.add
        && row.len() != columns
    {
        return misfit("the row to add must be as long as the result's", [1, row.len()], [a.rows, columns]);
    }
    if a.rows == 0 || columns == 0 {
        return Ok(());
    }
    let work = a.rows.saturating_mul(columns).saturating_mul(inner);
    let threads = if options.parallel && work >= PARALLEL_FROM { pool::num_threads() } else { 1 };
    let grid = Grid::new(a.rows, columns, kernel, threads);
    // Packed once for all tasks, unless there is but one that meets each panel.
    let packed;
    let b = match b {
        Right::Plain(b) if grid.row_blocks > 1 => {
            packed = Packed::pack(b, kernel, options.parallel)?;
            Right::Packed(&packed)
        }
        b => b,
    };
    let product = Product { kernel, out, a, b, options };
    let task = |task: usize| product.block(grid.rows(task), grid.panels(task));
    match threads {
        1 => (0..grid.tasks()).try_for_each(task),
        _ => pool::install(|| (0..grid.tasks()).into_par_iter().with_max_len(1).try_for_each(task))?,
    }
}

/// How a product is cut into tasks: blocks of rows by blocks of panels.
struct Grid {
    rows: usize,
    panels: usize,
    row_blocks: usize,
    panel_blocks: usize,
}

impl Grid {
    fn new<T>(rows: usize, columns: usize, kernel: &Kernel<T>, threads: usize) -> Grid {
        let panels = columns.div_ceil(kernel.columns);
        let mut row_blocks = rows.div_ceil(BLOCK_ROWS);
        let mut panel_blocks = 1;
        if threads > 1 {
            // A few tasks per thread, so that one that is late does not leave the others idle. Each packs its rows, so columns are cut
            // only as far as rows are too few.
            let wanted = 4 * threads;
            if rows >= 2 * threads * 2 * kernel.rows {
                row_blocks = row_blocks.max(2 * threads);
            }
            panel_blocks = wanted.div_ceil(row_blocks).min(panels);
        }
        Grid { rows, panels, row_blocks, panel_blocks }
    }

    fn tasks(&self) -> usize {
        self.row_blocks * self.panel_blocks
    }

    fn rows(&self, task: usize) -> (usize, usize) {
        share(self.rows, self.row_blocks, task / self.panel_blocks)
    }

    fn panels(&self, task: usize) -> (usize, usize) {
        share(self.panels, self.panel_blocks, task % self.panel_blocks)
    }
}

/// Part `index` of `total` cut into even `parts`: from where to where.
fn share(total: usize, parts: usize, index: usize) -> (usize, usize) {
    let (each, more) = (total / parts, total % parts);
    let start = index * each + index.min(more);
    (start, start + each + usize::from(index < more))
}

struct Product<'a, T: 'static> {
    kernel: &'static Kernel<T>,
    out: MatrixMut<'a, T>,
    a: Matrix<'a, T>,
    b: Right<'a, T>,
    options: &'a Options<'a, T>,
}

impl<T: Real> Product<'_, T> {
    /// One task: `rows` of the result, at most [`BLOCK_ROWS`], in `panels`.
    fn block(&self, rows: (usize, usize), panels: (usize, usize)) -> Result<()> {
        let height = rows.1 - rows.0;
        let tiles = height.div_ceil(self.kernel.rows);
        // Few rows meet each panel once, so there is nothing to keep in a cache.
        let blocks = if tiles == 1 { 1 } else { self.a.columns.div_ceil(BLOCK_INNER).max(1) };
        let longest = self.a.columns.div_ceil(blocks);
        let a = scratch::<T>(height * longest)?;
        let b = match self.b {
            Right::Plain(_) => Some(scratch::<T>(self.kernel.columns * longest)?),
            Right::Packed(_) => None,
        };
        for block in 0..blocks {
            let inner = share(self.a.columns, blocks, block);
            let length = inner.1 - inner.0;
            for tile in 0..tiles {
                let (start, end) = share(height, tiles, tile);
                let runs = self.a.rows_as_runs((rows.0 + start, rows.0 + end), inner);
                // SAFETY: the scratch holds `length` columns of `height` rows, and the panels before this one fill `start` of them.
                unsafe { (self.kernel.pack)(&runs, pointer::<T>(&a).add(start * length), end - start) }
            }
            for panel in panels.0..panels.1 {
                let (b, b_stride) = self.panel(panel, inner, b.as_ref(), tiles == 1);
                for tile in 0..tiles {
                    let (start, end) = share(height, tiles, tile);
                    // SAFETY: packed above.
                    let a = unsafe { pointer::<T>(&a).add(start * length) };
                    self.tile(
                        (rows.0 + start, rows.0 + end),
                        panel,
                        Operands { a, b, b_stride, length },
                        (block == 0, block + 1 == blocks),
                    );
                }
            }
        }
        Ok(())
    }

    /// Where rows `inner` of a panel of the right matrix are, and how far apart; packed now if they were not, unless they are met only
    /// `once` and can be read where they lie.
    fn panel(
        &self,
        panel: usize,
        inner: (usize, usize),
        space: Option<&Buffer>,
        once: bool,
    ) -> (*const T, usize) {
        let width = self.kernel.columns;
        match (&self.b, space) {
            // SAFETY: the panel holds all of the inner dimension.
            (Right::Packed(b), _) => (unsafe { b.panel(panel).add(inner.0 * width) }, width),
            (Right::Plain(b), space) => {
                let columns = (panel * width, b.columns.min((panel + 1) * width));
                let runs = b.columns_as_runs(columns, inner);
                if once
                    && runs.lanes == width
                    && let (1, Ok(stride)) = (runs.lane_stride, usize::try_from(runs.inner_stride))
                {
                    return (runs.data, stride);
                }
                let to = space.map_or(ptr::null_mut(), pointer::<T>);
                // SAFETY: the scratch has room for a panel of the longest block. What is beyond the last column is zeroed, since
                // tiles are computed whole.
                unsafe {
                    if runs.lanes < width {
                        ptr::write_bytes(to, 0, runs.inner * width);
                    }
                    (self.kernel.pack)(&runs, to, width);
                }
                (to, width)
            }
        }
    }

    /// One tile of the result; `first` and `last` say whether its block of the inner dimension is.
    fn tile(&self, rows: (usize, usize), panel: usize, operands: Operands<T>, (first, last): (bool, bool)) {
        let width = self.kernel.columns;
        let columns = (panel * width, self.out.columns.min((panel + 1) * width));
        let (height, valid) = (rows.1 - rows.0, columns.1 - columns.0);
        // SAFETY: within the result; tasks have different rows or panels.
        let out = unsafe { self.out.data.add(rows.0 * self.out.row_stride + columns.0) };
        let (add, add_stride) = match (self.options.add, first) {
            (None, true) => (ptr::null(), 0),
            // SAFETY: as long as a row of the result, which has been checked.
            (Some(row), true) => (unsafe { row.as_ptr().add(columns.0) }, 0),
            (_, false) => (out.cast_const(), self.out.row_stride),
        };
        let Operands { a, b, b_stride, length: inner } = operands;
        let map = self.options.map.filter(|_| last);
        if valid == width && map.is_none() {
            let tile = Tile {
                inner,
                a,
                b,
                b_stride,
                c: out,
                c_stride: self.out.row_stride,
                alpha: self.options.alpha,
                add,
                add_stride,
            };
            // SAFETY: the operands are packed, and the whole tile is within the result.
            return unsafe { (self.kernel.tile)(height, &tile) };
        }
        // What is mapped or hangs over the edge is computed aside.
        let mut aside = Aside::<T>::UNINIT;
        let mut mapped = Aside::<T>::UNINIT;
        let c = aside.0.as_mut_ptr().cast::<T>();
        let tile = Tile {
            inner,
            a,
            b,
            b_stride,
            c,
            c_stride: width,
            alpha: self.options.alpha,
            add: ptr::null(),
            add_stride: 0,
        };
        // SAFETY: no kernel has greater tiles than there is room for; `out` and `add` are touched only where they are.
        unsafe {
            (self.kernel.tile)(height, &tile);
            if !add.is_null() {
                for row in 0..height {
                    for column in 0..valid {
                        let sum = c.add(row * width + column);
                        *sum = (*sum).plus(*add.add(row * add_stride + column));
                    }
                }
            }
            let mut done = c.cast_const();
            if let Some(map) = map {
                let values = std::slice::from_raw_parts(done, height * width);
                map(values, &mut mapped.0[..height * width]);
                done = mapped.0.as_ptr().cast();
            }
            for row in 0..height {
                ptr::copy_nonoverlapping(done.add(row * width), out.add(row * self.out.row_stride), valid);
            }
        }
    }
}

/// The packed operands of a tile.
struct Operands<T> {
    a: *const T,
    b: *const T,
    b_stride: usize,
    length: usize,
}

/// Room for the greatest tile of any kernel.
#[repr(align(64))]
struct Aside<T>([MaybeUninit<T>; 14 * 32]);

impl<T> Aside<T> {
    const UNINIT: Aside<T> = Aside([const { MaybeUninit::uninit() }; 14 * 32]);
}

/// Memory for `elements` elements, uninitialised.
fn scratch<T>(elements: usize) -> Result<Buffer> {
    let bytes = elements.checked_mul(size_of::<T>()).ok_or(Error::OutOfMemory { bytes: usize::MAX })?;
    Buffer::uninit(bytes)
}

fn pointer<T>(buffer: &Buffer) -> *mut T {
    buffer.as_mut_ptr().cast()
}
