//! Products with few rows, as in decoding: reading the weights is the work. They are read once for all rows: floats where they lie and as
//! they are stored, blocks in the form of their kernel where the processor has one.

mod activations;
mod blocks;
mod columns;
mod interleaved;
mod lines;
mod rows;
mod split;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod unpack;
#[cfg(target_arch = "x86_64")]
mod vnni;
mod words;

use std::mem::MaybeUninit;
use std::ops::Range;

use half::{bf16, f16};
use smallvec::SmallVec;

use activations::Activations;
use blocks::Blocks;
use columns::Columns;
use interleaved::Product;
pub(crate) use interleaved::{Interleaved, LANES, fill, words_of_panel};
use lines::Lines;
use rows::Rows;
use split::InColumns;

use super::gated::multiply;
use super::gemm::{Map, share};
use super::level::Level;
use crate::{DType, Matrix, Result, pool, team};

/// The most rows that are few: with more, reading the weights is not the work any longer.
pub(super) const MAX_ROWS: usize = 16;
/// So few rows are multiplied with one output after another: weights that are read in one stream come half again as fast as in several.
const ONE_BY_ONE: usize = 4;
/// The most rows that blocks in the form of their kernel are multiplied with at once.
const MAX_ROWS_OF_BLOCKS: usize = 64;
/// Results of a task, all rows together: its room on the stack.
const TASK_RESULTS: usize = 2048;
/// Bytes of weights that a task reads: a few microseconds' worth. What the last task takes, the other threads wait for.
const TASK_BYTES: usize = 96 << 10;
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

/// What is done to sums once they are complete.
#[derive(Clone, Copy, Default)]
pub(super) struct Finish<'a> {
    /// One number for each output, added first.
    pub(super) bias: Option<&'a [f32]>,
    /// Applied to all, or to the gates.
    pub(super) map: Option<Map<f32>>,
    /// Whether the first half of the outputs are gates, which the second half is multiplied with: half as many results.
    pub(super) gates: bool,
    /// As large as the result, added last.
    pub(super) add: Option<&'a [f32]>,
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

/// `out = finish(left @ weightᵀ)` (rows, outputs), for stacked `parts` (outputs, columns), which may be in the form of their kernel, too;
/// nothing is done, and `false` returned, where a part cannot be read as it is, or there are so many rows that it would not pay.
///
/// # Errors
/// `Threads` when there are none to be had.
pub(super) fn product(
    left: Left,
    parts: &[Matrix],
    interleaved: &[Option<Interleaved>],
    finish: Finish,
    out: &mut [MaybeUninit<f32>],
) -> Result<bool> {
    let parts = Parts { parts, interleaved, level: Level::current() };
    let rows = match parts.are_interleaved() {
        false if left.rows > MAX_ROWS => return Ok(false),
        false => MAX_ROWS,
        true => MAX_ROWS_OF_BLOCKS,
    };
    let outputs = parts.outputs().sum::<usize>() / if finish.gates { 2 } else { 1 };
    let mut start = 0;
    while start < left.rows {
        let rows = rows.min(left.rows - start);
        let some = Left { values: &left.values[start * left.columns..], rows, ..left };
        let finish = Finish { add: finish.add.map(|add| &add[start * outputs..]), ..finish };
        if !parts.product(some, finish, &mut out[start * outputs..][..rows * outputs])? {
            return Ok(false);
        }
        start += rows;
    }
    Ok(true)
}

/// Matrices that are stacked, and the kernels that read them.
#[derive(Clone, Copy)]
struct Parts<'a> {
    parts: &'a [Matrix],
    /// The same in the form of their kernel: of each that has one, or of none.
    interleaved: &'a [Option<Interleaved>],
    level: Level,
}

impl<'a> Parts<'a> {
    fn outputs(&self) -> impl Iterator<Item = usize> + use<'a> {
        self.parts.iter().map(|part| part.shape()[0])
    }

    fn are_interleaved(&self) -> bool {
        !self.interleaved.is_empty() && self.interleaved.iter().all(Option::is_some)
    }

    /// [`product`] of as many rows as are multiplied at once.
    fn product(&self, left: Left, finish: Finish, out: &mut [MaybeUninit<f32>]) -> Result<bool> {
        if !self.parts.iter().any(|part| part.quantized().is_some()) {
            return read(self, left, None, finish, out);
        }
        let in_tiles = !self.interleaved.is_empty();
        Activations::with(left, in_tiles, |rounded| read(self, left, Some(rounded), finish, out))
    }
}

/// Reads the parts, each task some outputs of one of them.
fn read(
    parts: &Parts,
    left: Left,
    rounded: Option<&Activations>,
    finish: Finish,
    out: &mut [MaybeUninit<f32>],
) -> Result<bool> {
    let mut readers: SmallVec<[Reader; 4]> = SmallVec::new();
    for (index, part) in parts.parts.iter().enumerate() {
        let interleaved = parts.interleaved.get(index).and_then(Option::as_ref);
        let reader = match (interleaved, rounded) {
            (Some(interleaved), Some(rounded)) => Some(Reader::Interleaved(Product(interleaved, rounded))),
            _ => reader(parts.level, left, rounded, part),
        };
        let Some(reader) = reader else { return Ok(false) };
        readers.push(reader);
    }
    let total: usize = parts.outputs().sum();
    if left.rows == 0 || total == 0 {
        return Ok(true);
    }
    if left.rows <= ONE_BY_ONE
        && let [reader] = readers.as_slice()
        && let Some(matrix) = reader.part().in_columns()
    {
        split::product(matrix, left, total, finish, out)?;
        return Ok(true);
    }
    let Some(spans) = spans(&readers, parts.outputs(), finish.gates) else { return Ok(false) };
    let results = if finish.gates { total / 2 } else { total };
    let work = left.rows.saturating_mul(left.columns).saturating_mul(total);
    let threads = if work < PARALLEL_FROM { 1 } else { pool::num_threads() };
    // Short enough tasks for all threads to end at about the same time.
    let room = TASK_RESULTS / left.rows / OUTPUTS * OUTPUTS;
    let bytes: usize =
        parts.parts.iter().map(|part| part.memory().numel() * part.memory().dtype().size()).sum();
    let per_task = (TASK_BYTES * results / bytes.max(1)).min(results.div_ceil(4 * threads));
    let per_task = per_task.next_multiple_of(OUTPUTS).clamp(OUTPUTS, room);
    // Panels of all spans are shared evenly, and every thread gets as many tasks: they end together.
    let panels: usize = spans.iter().map(Span::panels).sum();
    let tasks = panels.div_ceil(per_task / OUTPUTS).next_multiple_of(threads).min(panels);
    let out = Out { data: out.as_mut_ptr().cast(), width: results, finish };
    let task = |task: usize| {
        let (mut start, mut end) = share(panels, tasks, task);
        for span in &spans {
            let range = (OUTPUTS * start).min(span.outputs)..(OUTPUTS * end).min(span.outputs);
            (start, end) = (start.saturating_sub(span.panels()), end.saturating_sub(span.panels()));
            if range.is_empty() {
                continue;
            }
            let mut room = [[MaybeUninit::uninit(); TASK_RESULTS]; 2];
            let [sums, gated] = room.each_mut().map(|room| &mut room[..left.rows * range.len()]);
            let sums = span.reader.sums(range.clone(), sums);
            let mut gated = span.gated.map(|(reader, first)| {
                reader.sums(first + range.start..first + range.end, gated).chunks_exact_mut(range.len())
            });
            for (row, sums) in sums.chunks_exact_mut(range.len()).enumerate() {
                let gated = gated.as_mut().and_then(Iterator::next);
                // SAFETY: tasks have different outputs.
                unsafe { out.finish(row, span.first + range.start, sums, gated) }
            }
        }
    };
    match threads {
        1 => team::alone(tasks, task)?,
        _ => team::for_each(tasks, task)?,
    }
    Ok(true)
}

/// Results whose sums are neighbours.
struct Span<'a> {
    /// The first result.
    first: usize,
    outputs: usize,
    reader: &'a Reader<'a>,
    /// Where the sums are that these ones gate: of whom, and from which output on.
    gated: Option<(&'a Reader<'a>, usize)>,
}

impl Span<'_> {
    /// How many times [`OUTPUTS`] it is, begun ones too.
    fn panels(&self) -> usize {
        self.outputs.div_ceil(OUTPUTS)
    }
}

/// The spans of parts with so many outputs; none where gates and what they gate do not lie in neighbouring halves.
fn spans<'a>(
    readers: &'a [Reader<'a>],
    outputs: impl Iterator<Item = usize>,
    gates: bool,
) -> Option<SmallVec<[Span<'a>; 4]>> {
    let mut first = 0;
    let mut spans: SmallVec<[Span; 4]> = SmallVec::new();
    for (reader, outputs) in readers.iter().zip(outputs) {
        spans.push(Span { first, outputs, reader, gated: None });
        first += outputs;
    }
    if gates {
        let others = spans.drain(1..).next();
        let span = spans.first_mut()?;
        let half = first / 2;
        span.gated = match others {
            None => Some((span.reader, half)),
            Some(others) if readers.len() == 2 && others.outputs == half => Some((others.reader, 0)),
            Some(_) => return None,
        };
        span.outputs = half;
    }
    Some(spans)
}

/// What multiplies a matrix where it lies.
enum Reader<'a> {
    Interleaved(Product<'a>),
    Blocks(Blocks<'a>),
    RowsF32(Rows<'a, f32>),
    RowsBF16(Rows<'a, bf16>),
    RowsF16(Rows<'a, f16>),
    ColumnsF32(Columns<'a, f32>),
    ColumnsBF16(Columns<'a, bf16>),
    ColumnsF16(Columns<'a, f16>),
}

impl Reader<'_> {
    fn part(&self) -> &dyn Part {
        match self {
            Reader::Interleaved(part) => part,
            Reader::Blocks(part) => part,
            Reader::RowsF32(part) => part,
            Reader::RowsBF16(part) => part,
            Reader::RowsF16(part) => part,
            Reader::ColumnsF32(part) => part,
            Reader::ColumnsBF16(part) => part,
            Reader::ColumnsF16(part) => part,
        }
    }

    /// The products of all rows with some outputs, in `room` for as many.
    fn sums<'r>(&self, outputs: Range<usize>, room: &'r mut [MaybeUninit<f32>]) -> &'r mut [f32] {
        room.fill(MaybeUninit::new(0.0));
        // SAFETY: just written.
        let sums = unsafe { room.assume_init_mut() };
        self.part().run(outputs, sums);
        sums
    }
}

/// What multiplies `part`, if it can be read as it lies.
fn reader<'a>(
    level: Level,
    left: Left<'a>,
    rounded: Option<&'a Activations>,
    part: &'a Matrix,
) -> Option<Reader<'a>> {
    let tensor = match part {
        Matrix::Quantized(blocks) => return Some(Reader::Blocks(Blocks::new(level, rounded?, blocks))),
        Matrix::Dense(tensor) => tensor,
    };
    let &[outputs, columns] = tensor.shape() else { return None };
    let &[output_stride, column_stride] = tensor.layout().strides() else { return None };
    // The stride of a dimension with one position can be anything.
    let (along_columns, along_outputs) =
        (column_stride == 1 || columns == 1, output_stride == 1 || outputs == 1);
    macro_rules! of {
        ($rows:ident, $columns:ident) => {
            match (usize::try_from(output_stride), usize::try_from(column_stride)) {
                (Ok(stride), _) if along_columns => {
                    Reader::$rows(Rows(Lines::new(level, left, tensor, stride)))
                }
                (_, Ok(stride)) if along_outputs => {
                    Reader::$columns(Columns(Lines::new(level, left, tensor, stride)))
                }
                _ => return None,
            }
        };
    }
    Some(match tensor.dtype() {
        DType::F32 => of!(RowsF32, ColumnsF32),
        DType::BF16 => of!(RowsBF16, ColumnsBF16),
        DType::F16 => of!(RowsF16, ColumnsF16),
        _ => return None,
    })
}

/// The result, which tasks write different columns of.
struct Out<'a> {
    data: *mut f32,
    width: usize,
    finish: Finish<'a>,
}

// SAFETY: as said there.
unsafe impl Sync for Out<'_> {}

impl Out<'_> {
    /// Finishes some sums of a row, and those that they gate, and writes the results from `column` on.
    ///
    /// # Safety
    /// They must be within the result, and nobody else may touch that part of it.
    unsafe fn finish(&self, row: usize, column: usize, sums: &mut [f32], gated: Option<&mut [f32]>) {
        let Finish { bias, map, add, .. } = self.finish;
        let place = row * self.width + column;
        // SAFETY: as the caller promises.
        let to = unsafe {
            std::slice::from_raw_parts_mut(self.data.add(place).cast::<MaybeUninit<f32>>(), sums.len())
        };
        let shift = |sums: &mut [f32], first: usize| {
            if let Some(bias) = bias {
                sums.iter_mut().zip(&bias[first..]).for_each(|(sum, bias)| *sum += bias);
            }
        };
        shift(sums, column);
        let results = match map {
            Some(map) => {
                map(sums, to);
                // SAFETY: maps write an element for each that they read.
                unsafe { to.assume_init_mut() }
            }
            None => to.write_copy_of_slice(sums),
        };
        if let Some(gated) = gated {
            shift(gated, self.width + column);
            multiply(results, gated);
        }
        if let Some(add) = add {
            results.iter_mut().zip(&add[place..]).for_each(|(result, add)| *result += add);
        }
    }
}
