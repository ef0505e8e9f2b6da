//! Products with codes of 8 bits: four neighbours of the inner dimension are multiplied at once, and added to one int32.
//!
//! Rows of the left matrix are rounded to 8 bits as they come, `x = scale · (code − zero)`. So `Σ x w = scale · scale_w · (Σ code · code_w − zero ·
//! Σ code_w)`: all but the scales are integers, and exact. This is the dynamic quantization of ONNX Runtime, with a scale for each row in
//! the place of one for all of them.
//!
//! Weights are read in the form that few rows read, too ([`Interleaved`]): sixteen outputs side by side, a quad of each after another. Two of
//! its panels make a tile. Where the processor's few rows read another form, panels are put in this one as they are needed.

mod kernel;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::array;
use std::mem::MaybeUninit;

use smallvec::SmallVec;

use super::codes::{Codes, QUAD, Rows};
use super::{Grid, PARALLEL_FROM, pointer, scratch, share};
use crate::cpu::gemv::{Finish, Interleaved, LANES, fill, words_of_panel};
use crate::cpu::level::Level;
use crate::cpu::simd::vectorized;
use crate::{BlockFormat, Buffer, Quantized, Result, interrupt, pool, team};
use kernel::{Kernel, MAX_ROWS, Tile};

/// Words of the left matrix that meet each panel of the right one: a part of the second-level cache.
const BLOCK_WORDS: usize = 128 << 10;
/// The deepest products whose sums fit: so many times 255 · 128.
const MAX_INNER: usize = 64 << 10;
/// Outputs of a tile: those of two panels.
const WIDTH: usize = 2 * LANES;

/// Matrices (out, in) of codes with a scale for each row, stacked, as one (in, out) right matrix.
pub(crate) struct Quads<'a> {
    parts: SmallVec<[Part<'a>; 4]>,
    inner: usize,
    outputs: usize,
}

struct Part<'a> {
    matrix: &'a Quantized,
    interleaved: Option<&'a Interleaved>,
    /// Of all outputs, the first that is its.
    first: usize,
}

impl<'a> Quads<'a> {
    /// The matrices, if all are such, with their form of the kernel, as far as there is one.
    pub(crate) fn of(
        parts: &'a [crate::Matrix],
        interleaved: &'a [Option<Interleaved>],
    ) -> Option<Quads<'a>> {
        let inner = parts.first()?.shape()[1];
        let mut quads = Quads { parts: SmallVec::new(), inner, outputs: 0 };
        for (index, part) in parts.iter().enumerate() {
            let matrix = part.quantized().filter(|part| part.format() == BlockFormat::Int8)?;
            let interleaved = interleaved.get(index).and_then(Option::as_ref);
            quads.parts.push(Part { matrix, interleaved, first: quads.outputs });
            quads.outputs += matrix.shape()[0];
        }
        (inner <= MAX_INNER).then_some(quads)
    }

    /// `out = finish(left @ self)` (rows, outputs), where there are no gates. A row that has an element which is not finite gives nan.
    ///
    /// # Errors
    /// `OutOfMemory` when there is none for codes, `Threads` when there are none to be had.
    pub(crate) fn product(&self, left: &[f32], finish: Finish, out: &mut [MaybeUninit<f32>]) -> Result<()> {
        self.product_at(Level::current(), left, finish, out)
    }

    /// [`Quads::product`] with the kernel of a level.
    fn product_at(
        &self,
        level: Level,
        left: &[f32],
        finish: Finish,
        out: &mut [MaybeUninit<f32>],
    ) -> Result<()> {
        let rows = out.len() / self.outputs.max(1);
        if rows == 0 {
            return Ok(());
        }
        let (kernel, depth) = (Kernel::of(level), self.inner.div_ceil(QUAD));
        let left = Codes::round(left, [rows, self.inner])?;
        let cost = depth.saturating_mul(self.outputs).saturating_mul(rows);
        let threads = if cost >= PARALLEL_FROM { pool::num_threads() } else { 1 };
        // By columns, a few tasks for each thread, by rows as many as the cache asks for, or as there are too few columns for.
        let (tiles, wanted) = (rows.div_ceil(kernel.rows), 4 * threads);
        let panels = self.parts.iter().map(|part| part.matrix.shape()[0].div_ceil(WIDTH)).sum();
        let row_blocks = (rows * depth).div_ceil(BLOCK_WORDS).max(wanted.div_ceil(panels)).min(tiles);
        let grid = Grid { rows: tiles, panels, row_blocks, panel_blocks: wanted.min(panels) };
        let out = out.as_mut_ptr().cast();
        let product = Product { kernel, left: left.rows(), rows, tiles, depth, right: self, finish, out };
        let task = |task: usize| product.block(grid.rows(task), grid.panels(task));
        match threads {
            1 => (0..grid.tasks()).try_for_each(task),
            _ => team::try_for_each(grid.tasks(), task),
        }
    }

    /// Which part has pair `index` of panels, counted through all parts, and which of its pairs it is there.
    fn pair(&self, mut index: usize) -> Option<(&Part<'a>, usize)> {
        self.parts.iter().find_map(|part| {
            let pairs = part.matrix.shape()[0].div_ceil(WIDTH);
            let found = (index < pairs).then_some((part, index));
            index = index.wrapping_sub(pairs);
            found
        })
    }
}

impl Part<'_> {
    /// Two neighbouring panels; `space` is for those that are made now. One that is not there is the other one again.
    fn panels(&self, pair: usize, space: &mut Option<Buffer>) -> Result<[*const i32; 2]> {
        let there = self.matrix.shape()[0].div_ceil(LANES);
        let both = [2 * pair, (2 * pair + 1).min(there - 1)];
        if let Some(interleaved) = self.interleaved {
            return Ok(both.map(|panel| interleaved.panel(panel)));
        }
        let words = words_of_panel(self.matrix);
        let space = match space {
            Some(space) if space.len() >= 2 * words * size_of::<i32>() => space,
            space => space.insert(scratch::<i32>(2 * words)?),
        };
        let places = [0, words].map(|at| pointer::<i32>(space).wrapping_add(at));
        for (panel, to) in both.into_iter().zip(places) {
            // SAFETY: there is room for two.
            unsafe { fill(self.matrix, panel, to) }
        }
        Ok(places.map(<*mut i32>::cast_const))
    }
}

struct Product<'a, 'b> {
    kernel: &'static Kernel,
    left: Rows<'a>,
    rows: usize,
    tiles: usize,
    depth: usize,
    right: &'a Quads<'b>,
    finish: Finish<'a>,
    /// (rows, outputs), which tasks write different parts of.
    out: *mut f32,
}

// SAFETY: as said there.
unsafe impl Sync for Product<'_, '_> {}

/// Those of a tile. Vectors of them are whole cache lines, so that they are read as fast as they were written.
#[repr(align(64))]
struct Sums([[i32; WIDTH]; MAX_ROWS]);

/// What the sums of a tile's columns become.
#[repr(align(64))]
struct Columns {
    first: usize,
    /// As many of the tile's are there.
    count: usize,
    scales: [f32; WIDTH],
    /// Of the codes.
    sums: [i32; WIDTH],
    bias: [f32; WIDTH],
}

impl Product<'_, '_> {
    /// One task: the rows of some `tiles` in some pairs of panels.
    fn block(&self, tiles: (usize, usize), pairs: (usize, usize)) -> Result<()> {
        let ones = vec![0x0101_0101; self.depth];
        let (mut space, mut sums) = (None, Sums([[0; WIDTH]; MAX_ROWS]));
        for index in pairs.0..pairs.1 {
            // A task may take long.
            if index % 16 == 0 {
                interrupt::check()?;
            }
            let Some((part, pair)) = self.right.pair(index) else { break };
            let panels = part.panels(pair, &mut space)?;
            // SAFETY: a panel begins with a scale for each output; the kernel's level is the processor's, and so many quads, rows and sums
            // are there, and the result for this task to write.
            unsafe {
                let scales = panels.map(|panel| panel.cast::<[f32; LANES]>().read());
                let mut tile = Tile {
                    depth: self.depth,
                    rows: ones.as_ptr(),
                    stride: 0,
                    panels: panels.map(|panel| panel.add(LANES)),
                    sums: sums.0.as_mut_ptr(),
                    out: self.out,
                    out_stride: self.right.outputs,
                };
                (self.kernel.tile)(1, &tile);
                let columns =
                    self.columns(part, pair, array::from_fn(|i| scales[i / LANES][i % LANES]), sums.0[0]);
                tile.stride = self.left.stride;
                for index in tiles.0..tiles.1 {
                    let (start, end) = share(self.rows, self.tiles, index);
                    tile.rows = self.left.quads(start).as_ptr();
                    tile.out = self.out.add(start * self.right.outputs + columns.first);
                    tile.sums = sums.0.as_mut_ptr();
                    (self.kernel.tile)(end - start, &tile);
                    self.finish(start, &columns, &sums.0[..end - start]);
                }
            }
        }
        Ok(())
    }

    fn columns(&self, part: &Part, pair: usize, scales: [f32; WIDTH], sums: [i32; WIDTH]) -> Columns {
        let (first, count) = (part.first + pair * WIDTH, WIDTH.min(part.matrix.shape()[0] - pair * WIDTH));
        let mut bias = [0.0; WIDTH];
        if let Some(all) = self.finish.bias {
            bias[..count].copy_from_slice(&all[first..][..count]);
        }
        Columns { first, count, scales, sums, bias }
    }

    /// Scales the sums of the rows from `start` on, maps them and puts them where they belong.
    ///
    /// # Safety
    /// Nobody else may touch their part of the result.
    unsafe fn finish(&self, start: usize, columns: &Columns, sums: &[[i32; WIDTH]]) {
        let each = || (start..).zip(sums);
        let Some(map) = self.finish.map else {
            return vectorized(
                #[inline(always)]
                || {
                    for (row, sums) in each() {
                        // SAFETY: as the caller promises.
                        let (add, out) = unsafe { self.place(row, columns) };
                        write(&self.scaled(row, columns, sums), add, out);
                    }
                },
            );
        };
        let mut scaled = [[0.0; WIDTH]; MAX_ROWS];
        let mut mapped = [[const { MaybeUninit::uninit() }; WIDTH]; MAX_ROWS];
        vectorized(
            #[inline(always)]
            || {
                for ((row, sums), scaled) in each().zip(&mut scaled) {
                    *scaled = self.scaled(row, columns, sums);
                }
            },
        );
        let (scaled, mapped) = (&scaled[..sums.len()], &mut mapped[..sums.len()]);
        map(scaled.as_flattened(), mapped.as_flattened_mut());
        // SAFETY: maps write an element for each that they read.
        let mapped = unsafe { mapped.as_flattened().assume_init_ref() }.as_chunks().0;
        vectorized(
            #[inline(always)]
            || {
                for (row, mapped) in (start..).zip(mapped) {
                    // SAFETY: as the caller promises.
                    let (add, out) = unsafe { self.place(row, columns) };
                    write(mapped, add, out);
                }
            },
        );
    }

    /// What is added to some columns of a row, and where they go.
    ///
    /// # Safety
    /// Nobody else may touch that part of the result meanwhile.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)] // As said.
    unsafe fn place(&self, row: usize, columns: &Columns) -> (Option<&[f32]>, &mut [MaybeUninit<f32>]) {
        let place = row * self.right.outputs + columns.first;
        let add = self.finish.add.map(|add| &add[place..][..columns.count]);
        // SAFETY: within the result, and otherwise as the caller promises.
        (add, unsafe { std::slice::from_raw_parts_mut(self.out.add(place).cast(), columns.count) })
    }

    #[inline(always)]
    fn scaled(&self, row: usize, columns: &Columns, sums: &[i32; WIDTH]) -> [f32; WIDTH] {
        let (scale, zero) = self.left.header(row);
        let mut scaled = [0.0; WIDTH];
        for i in 0..WIDTH {
            let sum = sums[i] - zero * columns.sums[i];
            scaled[i] = sum as f32 * (scale * columns.scales[i]) + columns.bias[i];
        }
        scaled
    }
}

/// `out = x + add` of as many as there are in `out`.
#[inline(always)]
fn write(x: &[f32; WIDTH], add: Option<&[f32]>, out: &mut [MaybeUninit<f32>]) {
    /// Apart, or the compiler makes one copy of any length of both cases, which is a call.
    #[cold]
    #[inline(never)]
    fn some(x: &[f32], add: Option<&[f32]>, out: &mut [MaybeUninit<f32>]) {
        for (i, (out, x)) in out.iter_mut().zip(x).enumerate() {
            out.write(add.map_or(*x, |add| x + add[i]));
        }
    }
    let Some(whole) = out.first_chunk_mut::<WIDTH>() else { return some(x, add, out) };
    match add.and_then(<[f32]>::first_chunk::<WIDTH>) {
        Some(add) => {
            for i in 0..WIDTH {
                whole[i].write(x[i] + add[i]);
            }
        }
        None => {
            for i in 0..WIDTH {
                whole[i].write(x[i]);
            }
        }
    }
}
