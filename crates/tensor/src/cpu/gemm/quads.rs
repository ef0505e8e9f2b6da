//! Products with codes of 8 bits: four neighbours of the inner dimension are multiplied at once, and added to one int32. Such a quad takes the
//! room of an int32, so that products of quads are products of matrices a quarter as deep.
//!
//! Rows of the left matrix are rounded to 8 bits as they come, `x = scale · (code − zero)`. So `Σ x w = scale · scale_w · (Σ code · code_w − zero ·
//! Σ code_w)`: all but the scales are integers, and exact. This is the dynamic quantization of ONNX Runtime, with a scale for each row in
//! the place of one for all of them.
//!
//! Weights are not kept in another layout: a panel of them is put in quads when it is needed, which takes as long as five rows of the
//! product, and meets all rows then.

#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;
use std::ptr;

use smallvec::SmallVec;

use super::codes::{Codes, Panel, QUAD};
use super::kernel::{Kernel, Runs, Tile, portable};
use super::stacked::within;
use super::{Aside, Grid, PARALLEL_FROM, pointer, scratch};
use crate::cpu::gemv::Finish;
use crate::cpu::level::Level;
use crate::cpu::simd::vectorized;
use crate::{BlockFormat, Buffer, Quantized, Result, interrupt, pool, team};

/// Words of the left matrix that meet each panel of the right one: a part of the last cache.
const BLOCK_WORDS: usize = 512 << 10;
/// The deepest products whose sums fit: so many times 255 · 128.
const MAX_INNER: usize = 64 << 10;
/// The widest tile of any kernel.
const MAX_WIDTH: usize = 32;

/// Matrices (out, in) of codes with a scale for each row, stacked, as one (in, out) right matrix.
pub(crate) struct Quads<'a> {
    parts: SmallVec<[&'a Quantized; 4]>,
    inner: usize,
    outputs: usize,
}

impl<'a> Quads<'a> {
    /// The matrices, if all are such.
    pub(crate) fn of(parts: &'a [crate::Matrix]) -> Option<Quads<'a>> {
        let fits = |part: &&Quantized| part.format() == BlockFormat::Int8 && part.shape()[1] <= MAX_INNER;
        let parts: SmallVec<[_; 4]> =
            parts.iter().map(|part| part.quantized().filter(fits)).collect::<Option<_>>()?;
        let inner = parts.first()?.shape()[1];
        let outputs = parts.iter().map(|part| part.shape()[0]).sum();
        Some(Quads { parts, inner, outputs })
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
        let (kernel, depth) = (kernel(level), self.inner.div_ceil(QUAD));
        let left = Codes::round(left, [rows, self.inner], kernel)?;
        let cost = depth.saturating_mul(self.outputs).saturating_mul(rows);
        let threads = if cost >= PARALLEL_FROM { pool::num_threads() } else { 1 };
        // By columns, a few tasks for each thread, by rows as many as the cache asks for, or as there are too few columns for.
        let (panels, wanted) = (self.outputs.div_ceil(kernel.columns), 4 * threads);
        let row_blocks = (rows * depth).div_ceil(BLOCK_WORDS).max(wanted.div_ceil(panels)).min(left.tiles);
        let grid = Grid { rows: left.tiles, panels, row_blocks, panel_blocks: wanted.min(panels) };
        let out = out.as_mut_ptr().cast();
        let product = Product { kernel, left, depth, right: self, finish, out };
        let task = |task: usize| product.block(grid.rows(task), grid.panels(task));
        match threads {
            1 => (0..grid.tasks()).try_for_each(task),
            _ => team::try_for_each(grid.tasks(), task),
        }
    }

    /// Writes some columns as a panel of the kernel's, and their scales. What is beyond the last column is zero.
    ///
    /// # Safety
    /// `to` must have room for the whole depth of the kernel's width, of which columns there must be no more.
    unsafe fn fill(
        &self,
        kernel: &Kernel<i32>,
        columns: (usize, usize),
        out: *mut i32,
        scales: &mut [f32; MAX_WIDTH],
    ) -> Result<()> {
        // SAFETY: as the caller promises.
        unsafe { kernel.clear(columns.1 - columns.0, self.inner.div_ceil(QUAD), out) }
        for (part, rows, place) in within(self.parts.iter().map(|part| (part, part.shape()[0])), columns) {
            let mut copy = None;
            for (row, scale) in rows_of(part, rows)?.zip(&mut scales[place..]) {
                *scale = row.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes));
            }
            let runs = words(part, rows, &mut copy)?;
            // SAFETY: the runs are the words of the rows, and lie side by side within the panel.
            unsafe { (kernel.pack)(&runs, out.add(place), kernel.columns) }
        }
        Ok(())
    }
}

/// Some rows as they are stored.
fn rows_of(part: &Quantized, (first, last): (usize, usize)) -> Result<impl Iterator<Item = &[u8]>> {
    let row_bytes = part.blocks().shape()[1];
    let bytes = &part.blocks().as_slice::<u8>()?[first * row_bytes..last * row_bytes];
    Ok(bytes.chunks_exact(row_bytes))
}

/// The codes of some rows as words: where they lie if they are whole words there, else in `copy`, filled up with zeros.
fn words(part: &Quantized, rows: (usize, usize), copy: &mut Option<Buffer>) -> Result<Runs<i32>> {
    let [row_bytes, columns] = [part.blocks().shape()[1], part.shape()[1]];
    let (lanes, depth, header) = (rows.1 - rows.0, columns.div_ceil(QUAD), BlockFormat::Int8.row_header());
    let runs = |data, stride: usize| Runs {
        data,
        lanes,
        lane_stride: stride as isize,
        inner: depth,
        inner_stride: 1,
    };
    let mut codes = rows_of(part, rows)?.map(|row| &row[header..]).peekable();
    let first = codes.peek().map_or(ptr::null(), |codes| codes.as_ptr()).cast::<i32>();
    if first.is_aligned() && row_bytes.is_multiple_of(QUAD) {
        return Ok(runs(first, row_bytes / QUAD));
    }
    let space = copy.insert(scratch::<i32>(lanes * depth)?);
    let to = pointer::<u8>(space);
    for (lane, codes) in codes.enumerate() {
        // SAFETY: the space has room for the words of every lane.
        unsafe {
            let to = to.add(lane * depth * QUAD);
            to.copy_from_nonoverlapping(codes.as_ptr(), columns);
            to.add(columns).write_bytes(0, depth * QUAD - columns);
        }
    }
    Ok(runs(to.cast_const().cast(), depth))
}

/// The kernel of a level that the processor has: quads of unsigned bytes on the left, of signed ones on the right.
fn kernel(level: Level) -> &'static Kernel<i32> {
    static PORTABLE: Kernel<i32> = Kernel { rows: 4, columns: 8, tile, pack: portable::pack };
    match level {
        #[cfg(target_arch = "x86_64")]
        level if level >= Level::Vnni => &super::x86::quads_vnni::KERNEL,
        #[cfg(target_arch = "x86_64")]
        level if level >= Level::Avx2 => &super::x86::quads_avx2::KERNEL,
        _ => &PORTABLE,
    }
}

/// See [`Kernel::tile`]: what the products are.
unsafe fn tile(rows: usize, tile: &Tile<i32>) {
    for row in 0..rows {
        let mut sums = [0_i32; 8];
        for k in 0..tile.inner {
            // SAFETY: the caller answers for the operands.
            let (a, b) = unsafe {
                (*tile.a.add(k * rows + row), &*tile.b.add(k * tile.b_stride).cast::<[[i8; QUAD]; 8]>())
            };
            let a = a.to_ne_bytes();
            for (sum, b) in sums.iter_mut().zip(b) {
                for i in 0..QUAD {
                    *sum += i32::from(a[i]) * i32::from(b[i]);
                }
            }
        }
        for (column, sum) in sums.into_iter().enumerate() {
            // SAFETY: the caller answers for the addend and the result.
            unsafe {
                let add = match tile.add.is_null() {
                    true => 0,
                    false => *tile.add.add(row * tile.add_stride + column),
                };
                tile.c.add(row * tile.c_stride + column).write(tile.alpha * sum + add);
            }
        }
    }
}

struct Product<'a, 'b> {
    kernel: &'static Kernel<i32>,
    left: Codes,
    depth: usize,
    right: &'a Quads<'b>,
    finish: Finish<'a>,
    /// (rows, outputs), which tasks write different parts of.
    out: *mut f32,
}

// SAFETY: as said there.
unsafe impl Sync for Product<'_, '_> {}

/// What the sums of a panel's columns become.
struct Columns {
    from: usize,
    to: usize,
    scales: [f32; MAX_WIDTH],
    /// Of the codes.
    sums: [i32; MAX_WIDTH],
    bias: [f32; MAX_WIDTH],
}

impl Product<'_, '_> {
    /// One task: the rows of some `tiles` in some `panels`.
    fn block(&self, tiles: (usize, usize), panels: (usize, usize)) -> Result<()> {
        let (width, depth) = (self.kernel.columns, self.depth);
        let (right, ones) = (scratch::<i32>(width * depth)?, scratch::<i32>(depth)?);
        let (b, ones) = (pointer::<i32>(&right), pointer::<i32>(&ones));
        // SAFETY: so many words are there.
        unsafe { ones.write_bytes(1, depth) }
        let operands = |a: *const i32, c: *mut i32| Tile {
            next: None,
            inner: depth,
            a,
            b: b.cast_const(),
            b_stride: width,
            c,
            c_stride: width,
            alpha: 1,
            add: ptr::null(),
            add_stride: 0,
        };
        for panel in panels.0..panels.1 {
            // A task may take long.
            if panel % 16 == 0 {
                interrupt::check()?;
            }
            let (from, to) = (panel * width, self.right.outputs.min((panel + 1) * width));
            let mut columns =
                Columns { from, to, scales: [0.0; MAX_WIDTH], sums: [0; MAX_WIDTH], bias: [0.0; MAX_WIDTH] };
            if let Some(bias) = self.finish.bias {
                columns.bias[..to - from].copy_from_slice(&bias[from..to]);
            }
            // SAFETY: the scratch has room for a panel, and no kernel has greater tiles than there is room for; the result is there for
            // this task to write.
            unsafe {
                self.right.fill(self.kernel, (from, to), b, &mut columns.scales)?;
                (self.kernel.tile)(1, &operands(ones, columns.sums.as_mut_ptr()));
                for tile in tiles.0..tiles.1 {
                    let rows = self.left.panel(tile);
                    let mut sums = Aside::<i32>::UNINIT;
                    (self.kernel.tile)(rows.scales.len(), &operands(rows.quads, sums.0.as_mut_ptr().cast()));
                    self.finish(&rows, &columns, &sums);
                }
            }
        }
        Ok(())
    }

    /// Scales the sums of a tile, maps them and puts them where they belong.
    ///
    /// # Safety
    /// The tile must have been computed, and nobody else may touch its part of the result.
    unsafe fn finish(&self, rows: &Panel, columns: &Columns, sums: &Aside<i32>) {
        let width = self.kernel.columns;
        let (mut scaled, mut mapped) = (Aside::<f32>::UNINIT, Aside::<f32>::UNINIT);
        let size = width * rows.scales.len();
        let (sums, scaled) = (&sums.0[..size], &mut scaled.0[..size]);
        let each_row = || rows.scales.iter().zip(rows.zeros);
        vectorized(
            #[inline(always)]
            || {
                let tile = sums.chunks_exact(width).zip(scaled.chunks_exact_mut(width));
                for ((&scale, &zero), (sums, scaled)) in each_row().zip(tile) {
                    for (i, (sum, scaled)) in sums.iter().zip(scaled).enumerate() {
                        // SAFETY: as the caller promises.
                        let sum = unsafe { sum.assume_init() } - zero * columns.sums[i];
                        scaled.write(sum as f32 * (scale * columns.scales[i]) + columns.bias[i]);
                    }
                }
            },
        );
        // SAFETY: just written; maps write an element for each that they read.
        let mut done: &[f32] = unsafe { scaled.assume_init_ref() };
        if let Some(map) = self.finish.map {
            let mapped = &mut mapped.0[..size];
            map(done, mapped);
            // SAFETY: as above.
            done = unsafe { mapped.assume_init_ref() };
        }
        let count = columns.to - columns.from;
        vectorized(
            #[inline(always)]
            || {
                for (row, done) in (rows.start..).zip(done.chunks_exact(width)) {
                    let place = row * self.right.outputs + columns.from;
                    // SAFETY: within the result; tasks have different rows or panels.
                    let out = unsafe { std::slice::from_raw_parts_mut(self.out.add(place).cast(), count) };
                    write(&done[..count], self.finish.add.map(|add| &add[place..]), out);
                }
            },
        );
    }
}

/// `out = x + add`
#[inline(always)]
fn write(x: &[f32], add: Option<&[f32]>, out: &mut [MaybeUninit<f32>]) {
    match add {
        Some(add) => {
            for ((out, x), add) in out.iter_mut().zip(x).zip(add) {
                out.write(x + add);
            }
        }
        None => {
            // By vectors: so few floats are not worth the call that copying a slice is.
            let ((out, out_rest), (x, x_rest)) = (out.as_chunks_mut::<8>(), x.as_chunks::<8>());
            for (out, x) in out.iter_mut().zip(x) {
                *out = x.map(MaybeUninit::new);
            }
            out_rest.write_copy_of_slice(x_rest);
        }
    }
}
