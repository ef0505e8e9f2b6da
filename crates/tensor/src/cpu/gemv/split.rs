//! Products with very few rows and a matrix that lies in columns. Each task reads some columns of all outputs, which are one stretch of memory,
//! and its sums are added to the others' afterwards. How many tasks there are depends on the matrix alone, so that the number of threads
//! changes no result.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::{Left, OUTPUTS, Out, PARALLEL_FROM};
use crate::cpu::gemm::Map;
use crate::{Result, Tensor, pool, team};

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
/// `OutOfMemory`; `Threads` when there are none to be had.
pub(super) fn product(
    matrix: &dyn InColumns,
    left: Left,
    outputs: usize,
    add: Option<&[f32]>,
    map: Option<Map<f32>>,
    out: &mut [MaybeUninit<f32>],
) -> Result<()> {
    let tasks = (left.columns * outputs / TASK).clamp(1, MAX_TASKS);
    let columns = left.columns.div_ceil(tasks).next_multiple_of(4);
    let results = left.rows * outputs;
    let sums = Tensor::build(&[tasks, results], |sums: &mut [MaybeUninit<f32>]| {
        team::for_each_chunk(sums, results, |task, sums| {
            sums.fill(MaybeUninit::new(0.0));
            // SAFETY: just written.
            let sums = unsafe { sums.assume_init_mut() };
            matrix.add(left.columns.min(task * columns)..left.columns.min((task + 1) * columns), sums);
        })
    })?;
    let sums: &[f32] = sums.as_slice()?;
    let out = Out { data: out.as_mut_ptr().cast(), width: outputs };
    let finish = |part: usize| {
        let range = part * AT_ONCE..outputs.min((part + 1) * AT_ONCE);
        let mut total = [0.0; AT_ONCE];
        for row in 0..left.rows {
            let total = &mut total[..range.len()];
            total.fill(0.0);
            for sums in sums.chunks_exact(results) {
                let sums = &sums[row * outputs..][range.clone()];
                total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            }
            // SAFETY: parts have different outputs.
            unsafe { out.finish(row, range.start, total, add, map) }
        }
    };
    let parts = outputs.div_ceil(AT_ONCE);
    if tasks * results < PARALLEL_FROM || pool::num_threads() == 1 {
        (0..parts).for_each(finish);
        return Ok(());
    }
    team::for_each(parts, finish)
}
