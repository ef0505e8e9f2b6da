//! Products with few rows, as in decoding: reading the weights is the work. They are read once for all rows, where they lie and as they
//! are stored.

mod activations;
mod blocks;
mod columns;
mod lines;
mod rows;
mod split;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod tile;
#[cfg(target_arch = "x86_64")]
mod unpack;
#[cfg(target_arch = "x86_64")]
mod vnni;

use std::mem::MaybeUninit;
use std::ops::Range;

use half::{bf16, f16};
use smallvec::SmallVec;

use activations::Activations;
use blocks::Blocks;
use columns::Columns;
use lines::Lines;
use rows::Rows;
use split::InColumns;

use super::gemm::Map;
use super::level::Level;
use crate::{DType, Matrix, Result, Weight, pool, team};

/// The most rows that are few: with more, reading the weights is not the work any longer.
const MAX_ROWS: usize = Weight::FEW_ROWS;
/// So few rows are multiplied with one output after another: weights that are read in one stream come half again as fast as in several,
/// and turning blocks would not pay.
const ONE_BY_ONE: usize = 4;
/// The most rows that blocks are multiplied with at once, where that takes less time than to unpack them to floats.
const MAX_ROWS_OF_BLOCKS: usize = 64;
/// Results of a task, all rows together: its room on the stack.
const TASK_RESULTS: usize = 2048;
/// The outputs of a task are a multiple of this.
const OUTPUTS: usize = 16;
/// How many bytes ahead weights are fetched that are read in one stream.
const AHEAD: usize = 4 << 10;
/// Fewer multiplications than this are done on the calling thread: sharing them costs as much.
const PARALLEL_FROM: usize = 64 << 10;

/// The left matrix: contiguous rows.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl<'a> Left<'a> {
    fn row(&self, row: usize) -> &'a [f32] {
        &self.values[row * self.columns..][..self.columns]
    }
}

/// A matrix that can be multiplied as it lies.
trait Part: Sync {
    /// Writes the products of all rows with some outputs: (rows, outputs), which are 0 before.
    fn run(&self, outputs: Range<usize>, to: &mut [f32]);

    /// The same matrix, if some of its columns can be read as one stretch of memory.
    fn in_columns(&self) -> Option<&dyn InColumns> {
        None
    }
}

/// `out = map(left @ weightᵀ + add)` (rows, outputs), for stacked `parts` (outputs, columns); nothing is done, and `false` returned, where a
/// part cannot be read as it lies, or there are so many rows that it would not pay.
///
/// # Errors
/// `Threads` when there are none to be had.
pub(super) fn product(
    left: Left,
    parts: &[Matrix],
    add: Option<&[f32]>,
    map: Option<Map<f32>>,
    out: &mut [MaybeUninit<f32>],
) -> Result<bool> {
    let level = Level::current();
    let is_of_blocks = level == Level::Vnni && parts.iter().all(|part| part.quantized().is_some());
    let rows = match is_of_blocks {
        false if left.rows > MAX_ROWS => return Ok(false),
        false => MAX_ROWS,
        true => MAX_ROWS_OF_BLOCKS,
    };
    let outputs: usize = parts.iter().map(|part| part.shape()[0]).sum();
    let mut start = 0;
    while start < left.rows {
        let rows = rows.min(left.rows - start);
        let some = Left { values: &left.values[start * left.columns..], rows, ..left };
        if !product_at(level, some, parts, add, map, &mut out[start * outputs..][..rows * outputs])? {
            return Ok(false);
        }
        start += rows;
    }
    Ok(true)
}

/// [`product`] of as many rows as are multiplied at once, with the kernels of a level.
fn product_at(
    level: Level,
    left: Left,
    parts: &[Matrix],
    add: Option<&[f32]>,
    map: Option<Map<f32>>,
    out: &mut [MaybeUninit<f32>],
) -> Result<bool> {
    let needs_codes = parts.iter().any(|part| part.quantized().is_some());
    let in_panels = level == Level::Vnni && left.rows > ONE_BY_ONE;
    let activations = needs_codes.then(|| Activations::of(left, in_panels)).transpose()?;
    let mut readers: SmallVec<[(Box<dyn Part + '_>, usize); 4]> = SmallVec::new();
    for part in parts {
        let Some(reader) = reader(level, left, activations.as_ref(), part) else { return Ok(false) };
        readers.push((reader, part.shape()[0]));
    }
    let total: usize = readers.iter().map(|(_, outputs)| outputs).sum();
    if left.rows == 0 || total == 0 {
        return Ok(true);
    }
    if left.rows <= ONE_BY_ONE
        && let [(reader, _)] = readers.as_slice()
        && let Some(matrix) = reader.in_columns()
    {
        split::product(matrix, left, total, add, map, out)?;
        return Ok(true);
    }
    let work = left.rows.saturating_mul(left.columns).saturating_mul(total);
    let threads = if work < PARALLEL_FROM { 1 } else { pool::num_threads() };
    // Enough tasks for all threads to end at about the same time.
    let room = TASK_RESULTS / left.rows / OUTPUTS * OUTPUTS;
    let per_task = total.div_ceil(4 * threads).next_multiple_of(OUTPUTS).min(room);
    let counts: SmallVec<[usize; 4]> =
        readers.iter().map(|(_, outputs)| outputs.div_ceil(per_task)).collect();
    let out = Out { data: out.as_mut_ptr().cast(), width: total };
    let task = |mut task: usize| {
        let mut start = 0;
        for ((reader, outputs), &count) in readers.iter().zip(&counts) {
            if task < count {
                let range = task * per_task..(*outputs).min((task + 1) * per_task);
                let mut results = [MaybeUninit::uninit(); TASK_RESULTS];
                let results = &mut results[..left.rows * range.len()];
                results.fill(MaybeUninit::new(0.0));
                // SAFETY: just written.
                let results = unsafe { results.assume_init_mut() };
                reader.run(range.clone(), results);
                for (row, results) in results.chunks_exact_mut(range.len()).enumerate() {
                    // SAFETY: tasks have different outputs.
                    unsafe { out.finish(row, start + range.start, results, add, map) }
                }
                return;
            }
            task -= count;
            start += outputs;
        }
    };
    let tasks = counts.iter().sum();
    match threads {
        1 => (0..tasks).for_each(task),
        _ => team::for_each(tasks, task)?,
    }
    Ok(true)
}

/// What multiplies a matrix where it lies.
fn reader<'a>(
    level: Level,
    left: Left<'a>,
    activations: Option<&'a Activations>,
    part: &'a Matrix,
) -> Option<Box<dyn Part + 'a>> {
    let tensor = match part {
        Matrix::Quantized(blocks) => return Some(Box::new(Blocks::new(level, activations?, blocks)?)),
        Matrix::Dense(tensor) => tensor,
    };
    let &[outputs, columns] = tensor.shape() else { return None };
    let &[output_stride, column_stride] = tensor.layout().strides() else { return None };
    // The stride of a dimension with one position can be anything.
    let (along_columns, along_outputs) =
        (column_stride == 1 || columns == 1, output_stride == 1 || outputs == 1);
    macro_rules! of {
        ($type:ty) => {
            match (usize::try_from(output_stride), usize::try_from(column_stride)) {
                (Ok(stride), _) if along_columns => {
                    Box::new(Rows(Lines::<$type>::new(level, left, tensor, stride)))
                }
                (_, Ok(stride)) if along_outputs => {
                    Box::new(Columns(Lines::<$type>::new(level, left, tensor, stride)))
                }
                _ => return None,
            }
        };
    }
    Some(match tensor.dtype() {
        DType::F32 => of!(f32),
        DType::BF16 => of!(bf16),
        DType::F16 => of!(f16),
        _ => return None,
    })
}

/// The result, which tasks write different columns of.
struct Out {
    data: *mut f32,
    width: usize,
}

// SAFETY: as said there.
unsafe impl Sync for Out {}

impl Out {
    /// Adds and maps some sums of a row and writes them from `column` on.
    ///
    /// # Safety
    /// They must be within the result, and nobody else may touch that part of it.
    unsafe fn finish(
        &self,
        row: usize,
        column: usize,
        sums: &mut [f32],
        add: Option<&[f32]>,
        map: Option<Map<f32>>,
    ) {
        if let Some(add) = add {
            sums.iter_mut().zip(&add[column..]).for_each(|(sum, add)| *sum += add);
        }
        // SAFETY: as the caller promises.
        let to = unsafe {
            let first = self.data.add(row * self.width + column).cast::<MaybeUninit<f32>>();
            std::slice::from_raw_parts_mut(first, sums.len())
        };
        match map {
            Some(map) => map(sums, to),
            None => _ = to.write_copy_of_slice(sums),
        }
    }
}
