//! Matrix products: packed operands, tiles held in registers, blocks held in caches.
//!
//! The right matrix is packed in panels as wide as a tile, so that its rows are read one after another; the left one in panels as high
//! as a tile. A task multiplies some rows by some columns: it packs its rows, a block of the inner dimension at a time, and runs along the
//! panels of the right matrix, each of which meets all of the packed rows while it is in the first-level cache.

mod codes;
mod kernel;
mod matrix;
mod packed;
mod pairs;
mod quads;
mod stacked;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::mem::MaybeUninit;
use std::ptr;

use crate::cpu::level::Level;
use crate::cpu::stream::LINE;
use crate::{Buffer, Error, Result, interrupt, pool, team};

use kernel::{Kernel, Tile};
pub(crate) use kernel::{Real, Runs};
pub(crate) use matrix::{Matrix, MatrixMut};
pub(crate) use packed::Packed;
pub(crate) use pairs::Pairs;
pub(crate) use quads::Quads;
pub(crate) use stacked::{Panels, Stacked};

/// Elements of the left matrix that one task packs at once: a part of the second-level cache.
const BLOCK_ELEMENTS: usize = 128 << 10;
/// No more rows than these, so that their part of the result is still in the cache when it is added to.
const BLOCK_ROWS: usize = 168;
/// The same where the panels of the right matrix are made as the product goes along, which takes a while.
const MADE_ELEMENTS: usize = 512 << 10;
const MADE_ROWS: usize = 512;
/// The longest block of the inner dimension: a panel of the right matrix then stays in the first-level cache, with a panel of the left.
const BLOCK_INNER: usize = crate::quant::RUN;
/// Cheaper products are done on the calling thread: waking another costs more. In multiplications.
const PARALLEL_FROM: usize = 4 << 20;
/// As many multiplications take as long as reading one element of the right matrix.
const READ: usize = 16;

/// The right matrix of a product.
pub(crate) enum Right<'a, T: 'static> {
    Plain(Matrix<'a, T>),
    Packed(&'a Packed<T>),
    /// Made panel by panel, for every block of rows anew.
    Made(&'a dyn Panels<T>),
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
        Right::Made(b) => (b.shape()[0], b.shape()[1], b.kernel(level)),
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
    let cost = inner.saturating_mul(columns).saturating_mul(a.rows.max(READ));
    let threads = if options.parallel && cost >= PARALLEL_FROM { pool::num_threads() } else { 1 };
    let grid = Grid::new([a.rows, inner, columns], kernel, threads, matches!(b, Right::Made(_)));
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
        _ => team::try_for_each(grid.tasks(), task),
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
    fn new<T>([rows, inner, columns]: [usize; 3], kernel: &Kernel<T>, threads: usize, is_made: bool) -> Grid {
        let panels = columns.div_ceil(kernel.columns);
        if is_made {
            // A panel is made anew for every block of rows: these are few, and the threads share the columns.
            let at_once = (MADE_ELEMENTS / inner.max(1)).clamp(kernel.rows, MADE_ROWS);
            let row_blocks = rows.div_ceil(at_once);
            let panel_blocks = if threads > 1 { (2 * threads).min(panels) } else { 1 };
            return Grid { rows, panels, row_blocks, panel_blocks };
        }
        let at_once = (BLOCK_ELEMENTS / inner.max(1)).clamp(kernel.rows, BLOCK_ROWS);
        let mut row_blocks = rows.div_ceil(at_once);
        let mut panel_blocks = 1;
        if threads > 1 {
            // Two tasks for each thread, so that one that is late leaves less to wait for. They are cut by rows as long as these are
            // enough for a panel of the right matrix to be worth its reading, then by columns as long as these are enough for the rows
            // to be worth their packing again. Each thread gets as many.
            let wanted = 2 * threads;
            row_blocks = row_blocks.max(wanted.min(rows / (4 * kernel.rows)));
            if row_blocks > threads {
                row_blocks = row_blocks.next_multiple_of(threads);
            }
            panel_blocks = (wanted / row_blocks).min(panels / 12).max(1);
            if !row_blocks.is_multiple_of(threads) {
                panel_blocks = panel_blocks.next_multiple_of(threads).min(panels);
            }
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
pub(super) fn share(total: usize, parts: usize, index: usize) -> (usize, usize) {
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
    /// One task: `rows` of the result in `panels`.
    fn block(&self, rows: (usize, usize), panels: (usize, usize)) -> Result<()> {
        let (height, depth) = (rows.1 - rows.0, self.a.columns);
        let tiles = height.div_ceil(self.kernel.rows);
        // The same blocks for every right matrix: packed, made or as it is, it gives the same bits.
        let blocks = depth.div_ceil(BLOCK_INNER).max(1);
        let inner_of = |block: usize| (block * BLOCK_INNER, depth.min((block + 1) * BLOCK_INNER));
        let a = scratch::<T>(height * depth)?;
        let b = match self.b {
            Right::Plain(_) | Right::Made(_) => Some(scratch::<T>(self.kernel.columns * BLOCK_INNER)?),
            Right::Packed(_) => None,
        };
        // Block after block, and within one a panel for each tile.
        let packed = |inner: (usize, usize), start: usize| {
            pointer::<T>(&a).wrapping_add(inner.0 * height + start * (inner.1 - inner.0))
        };
        for block in 0..blocks {
            let inner = inner_of(block);
            for tile in 0..tiles {
                let (start, end) = share(height, tiles, tile);
                let runs = self.a.rows_as_runs((rows.0 + start, rows.0 + end), inner);
                // SAFETY: the scratch holds `depth` columns of `height` rows, each panel its part of them.
                unsafe { (self.kernel.pack)(&runs, packed(inner, start), end - start) }
            }
        }
        for panel in panels.0..panels.1 {
            // A task may take long.
            if panel % 16 == 0 {
                interrupt::check()?;
            }
            for block in 0..blocks {
                let inner = inner_of(block);
                let (b, b_stride) = self.panel(panel, inner, b.as_ref(), tiles == 1);
                for tile in 0..tiles {
                    let (start, end) = share(height, tiles, tile);
                    let operands = Tile {
                        inner: inner.1 - inner.0,
                        a: packed(inner, start),
                        b,
                        b_stride,
                        next: self.next(tile, tiles, inner.1 - inner.0),
                        c: ptr::null_mut(),
                        c_stride: 0,
                        alpha: self.options.alpha,
                        add: ptr::null(),
                        add_stride: 0,
                    };
                    let rows = (rows.0 + start, rows.0 + end);
                    self.tile(rows, panel, operands, (block == 0, block + 1 == blocks));
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
        let columns = (panel * width, self.out.columns.min((panel + 1) * width));
        let to = space.map_or(ptr::null_mut(), pointer::<T>);
        let clear = || {
            // SAFETY: the scratch has room for a panel of the longest block.
            unsafe { self.kernel.clear(columns.1 - columns.0, inner.1 - inner.0, to) }
        };
        match &self.b {
            // SAFETY: the panel holds all of the inner dimension.
            Right::Packed(b) => (unsafe { b.panel(panel).add(inner.0 * width) }, width),
            Right::Made(b) => {
                clear();
                // SAFETY: as above.
                unsafe { b.fill(self.kernel, columns, inner, to) }
                (to, width)
            }
            Right::Plain(b) => {
                let runs = b.columns_as_runs(columns, inner);
                if once
                    && runs.lanes == width
                    && let (1, Ok(stride)) = (runs.lane_stride, usize::try_from(runs.inner_stride))
                {
                    return (runs.data, stride);
                }
                clear();
                // SAFETY: as above.
                unsafe { (self.kernel.pack)(&runs, to, width) }
                (to, width)
            }
        }
    }

    /// See [`Tile::next`]: the tiles share the lines of a row of the next block, which lies behind this one.
    fn next(&self, tile: usize, tiles: usize, inner: usize) -> Option<usize> {
        let line = LINE / size_of::<T>();
        let is_shared = tiles > 1 && matches!(self.b, Right::Packed(_));
        is_shared.then(|| inner * self.kernel.columns + tile * line % self.kernel.columns)
    }

    /// One tile of the result; `first` and `last` say whether its block of the inner dimension is.
    fn tile(&self, rows: (usize, usize), panel: usize, operands: Tile<T>, (first, last): (bool, bool)) {
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
        let map = self.options.map.filter(|_| last);
        if valid == width && map.is_none() {
            let tile = Tile { c: out, c_stride: self.out.row_stride, add, add_stride, ..operands };
            // SAFETY: the operands are packed, and the whole tile is within the result.
            return unsafe { (self.kernel.tile)(height, &tile) };
        }
        // What is mapped or hangs over the edge is computed aside.
        let mut aside = Aside::<T>::UNINIT;
        let mut mapped = Aside::<T>::UNINIT;
        let c = aside.0.as_mut_ptr().cast::<T>();
        let tile = Tile { c, c_stride: width, ..operands };
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
