//! Products with very few rows and a matrix that lies in columns. Each task reads some columns of all outputs, which are one stretch of memory,
//! and its sums are added to the others' afterwards. How many tasks there are depends on the matrix alone, so that the number of threads
//! changes no result.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::{Finish, Left, OUTPUTS, Out, PARALLEL_FROM};
use crate::cpu::scratch;
use crate::{Result, pool, team};

/// Multiplications that are worth a task.
const TASK: usize = 128 << 10;
/// More tasks than this have more sums than they save time.
const MAX_TASKS: usize = 16;
/// Outputs whose sums are added up at once.
const AT_ONCE: usize = 64 * OUTPUTS;

/// A matrix some of whose columns can be read at once.
pub(super) trait InColumns: Sync {
    /// Adds the products with some columns to all results: (rows, outputs).
    fn add(&self, columns: Range<usize>, to: &mut [f32]);
}

/// See [`super::product`].
///
/// # Errors
/// `Threads` when there are none to be had.
pub(super) fn product(
    matrix: &dyn InColumns,
    left: Left,
    outputs: usize,
    finish: Finish,
    out: &mut [MaybeUninit<f32>],
) -> Result<()> {
    let tasks = (left.columns * outputs / TASK).clamp(1, MAX_TASKS);
    let columns = left.columns.div_ceil(tasks).next_multiple_of(4);
    let results = left.rows * outputs;
    scratch::with(|scratch| {
        let [sums] = scratch.parts([tasks * results]);
        // SAFETY: so long is the part, and nobody else has it.
        let sums = unsafe { std::slice::from_raw_parts_mut(sums, tasks * results) };
        team::for_each_chunk(sums, results, |task, sums| {
            sums.fill(0.0);
            matrix.add(left.columns.min(task * columns)..left.columns.min((task + 1) * columns), sums);
        })?;
        let width = if finish.gates { outputs / 2 } else { outputs };
        let out = Out { data: out.as_mut_ptr().cast(), width, finish };
        let total = |row: usize, range: Range<usize>, total: &mut [f32]| {
            total.fill(0.0);
            for sums in sums.chunks_exact(results) {
                let sums = &sums[row * outputs..][range.clone()];
                total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            }
        };
        let finish_part = |part: usize| {
            let range = part * AT_ONCE..width.min((part + 1) * AT_ONCE);
            let mut totals = [[0.0; AT_ONCE]; 2];
            let [totals, gated] = totals.each_mut().map(|totals| &mut totals[..range.len()]);
            for row in 0..left.rows {
                total(row, range.clone(), totals);
                let gated = finish.gates.then(|| {
                    total(row, width + range.start..width + range.end, gated);
                    &mut *gated
                });
                // SAFETY: parts have different outputs.
                unsafe { out.finish(row, range.start, totals, gated) }
            }
        };
        let parts = width.div_ceil(AT_ONCE);
        if tasks * results < PARALLEL_FROM || pool::num_threads() == 1 {
            (0..parts).for_each(finish_part);
            return Ok(());
        }
        team::for_each(parts, finish_part)
    })
}
