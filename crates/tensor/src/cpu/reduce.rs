//! The one engine for reductions: which results are made side by side, and how the work is cut for the threads.

use std::slice::ChunksExact;

use smallvec::SmallVec;

use super::columns::Rows;
use super::combine::{Max, Min, Prod, Reduction, Sum, SumSquares};
use super::elementwise::{CHUNK, PARALLEL_FROM, Scratch};
use super::number::{Number, by_class};
use super::reader::{RUN, Reader};
use super::spread::Spread;
use crate::layout::{Layout, coalesce};
use crate::ops::ReduceOp;
use crate::{DType, Element, Result, Shape, Tensor, pool, team};

/// Into so many tasks a large reduction is cut, by its results or else by parts of them.
const TASKS: usize = 64;
/// So many rows are added up in the elements' own precision before they go into the wider total.
const FLUSH: usize = 64;
/// Fewer rows than this are not cut into parts: putting those together again would take longer.
const ROWS: usize = 32;

/// See [`crate::Backend::reduce`].
pub(super) fn reduce(op: ReduceOp, x: &Tensor, axes: &[usize], dtype: DType) -> Result<Tensor> {
    by_class!(dtype, C => match op {
        ReduceOp::Sum => by::<C, Sum>(x, axes, dtype),
        ReduceOp::SumSquares => by::<C, SumSquares>(x, axes, dtype),
        ReduceOp::Prod => by::<C, Prod>(x, axes, dtype),
        ReduceOp::Max => by::<C, Max>(x, axes, dtype),
        ReduceOp::Min => by::<C, Min>(x, axes, dtype),
    })
}

/// See [`crate::Backend::spread`].
pub(super) fn spread(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    match x.dtype() {
        DType::F64 => by::<f64, Spread>(x, axes, DType::F64),
        dtype => by::<f32, Spread>(x, axes, dtype),
    }
}

/// How a tensor is reduced: in which order it is read, and how the work is cut.
pub(super) struct Plan {
    /// The elements in the order in which they are read.
    view: Tensor,
    /// The shape of the results.
    pub(super) shape: Shape,
    /// How many results.
    pub(super) kept: usize,
    /// Of how many elements each.
    pub(super) reduced: usize,
    /// How many results are made side by side, if that is how they are made.
    pub(super) columns: Option<usize>,
    /// Into how many parts each is cut, so that all threads have work: as many for any number of threads, so that sums have the same bits.
    pub(super) parts: usize,
    /// Whether the threads share the work.
    parallel: bool,
}

impl Plan {
    /// For `x` reduced over `axes` (ascending), which go away.
    pub(super) fn new(x: &Tensor, axes: &[usize]) -> Plan {
        let kept_axes: Shape = (0..x.ndim()).filter(|axis| !axes.contains(axis)).collect();
        let sizes = |axes: &[usize]| axes.iter().map(|&axis| x.shape()[axis]).collect::<Shape>();
        let shape = sizes(&kept_axes);
        let kept: usize = shape.iter().product();
        let reduced: usize = sizes(axes).iter().product();
        let columns = columns_of(x.layout(), &kept_axes, axes);
        let order: Shape = match columns {
            Some(_) => axes.iter().chain(&kept_axes).copied().collect(),
            None => kept_axes.iter().chain(axes).copied().collect(),
        };
        let view = if order.is_sorted() { x.clone() } else { x.view_with(x.layout().permute(&order)) };
        let parallel = x.numel() >= PARALLEL_FROM;
        let tasks = kept.div_ceil(columns.unwrap_or(1)).max(1);
        let least = if columns.is_some() { ROWS } else { CHUNK };
        let parts = if parallel { TASKS.div_ceil(tasks).min(reduced.div_ceil(least)).max(1) } else { 1 };
        Plan { view, shape, kept, reduced, columns, parts, parallel }
    }

    /// The elements of part `part`.
    fn part(&self, part: usize) -> (usize, usize) {
        let size = self.reduced.div_ceil(self.parts);
        ((part * size).min(self.reduced), ((part + 1) * size).min(self.reduced))
    }

    /// Has `work` make runs of results of one part each: it is given a reader, the elements of the part, the number of the first
    /// result, and the results, all `nothing`. They come back part by part.
    pub(super) fn run<C: Number, R: Copy + Send + Sync>(
        &self,
        nothing: R,
        work: impl Fn(&mut Reader<C>, (usize, usize), usize, &mut [R]) + Sync,
    ) -> Result<SmallVec<[R; 4]>> {
        let mut results = SmallVec::from_elem(nothing, self.parts * self.kept);
        if self.kept == 0 || self.reduced == 0 {
            return Ok(results);
        }
        // Rows come one by one, but several to a task, and several tasks to a thread.
        let run = self.columns.unwrap_or_else(|| {
            (PARALLEL_FROM / 2 / self.reduced).max(self.kept / (8 * pool::num_threads())).clamp(1, self.kept)
        });
        let task = |(part, first, results): &mut (usize, usize, &mut [R])| -> Result<()> {
            let mut scratch = Scratch::new();
            work(&mut Reader::new(&self.view, &mut scratch)?, self.part(*part), *first, results);
            Ok(())
        };
        let tasks = results.chunks_mut(self.kept).enumerate().flat_map(|(part, results)| {
            results.chunks_mut(run).enumerate().map(move |(i, results)| (part, i * run, results))
        });
        if self.parallel {
            let mut tasks: Vec<_> = tasks.collect();
            team::try_for_each_chunk(&mut tasks, 1, |_, tasks| tasks.iter_mut().try_for_each(task))?;
        } else {
            tasks.into_iter().try_for_each(|mut one| task(&mut one))?;
        }
        Ok(results)
    }
}

/// A tensor whose reduced elements lie one after another as the kernel wants them, and so few that a plan would take longer than the
/// work.
pub(super) struct Few<'x, C> {
    /// The shape of the results.
    shape: &'x [usize],
    /// The elements of each.
    rows: ChunksExact<'x, C>,
}

impl<'x, C: Number> Few<'x, C> {
    /// `x`, reduced over `axes`, if it is such a tensor.
    pub(super) fn of(x: &'x Tensor, axes: &[usize]) -> Option<Few<'x, C>> {
        let (shape, reduced) = x.shape().split_at(x.ndim() - axes.len());
        let size = reduced.iter().product::<usize>();
        let fits = x.numel() < PARALLEL_FROM
            && (1..=RUN).contains(&size)
            && axes.iter().zip(shape.len()..).all(|(&axis, last)| axis == last)
            && C::is_native(x.dtype())
            && x.is_contiguous();
        fits.then(|| Few { shape, rows: x.elements().chunks_exact(size) })
    }

    /// What `work` makes of each.
    pub(super) fn map<O: Element>(self, work: impl Fn(&[C]) -> O) -> Result<Tensor> {
        Tensor::build(self.shape, |out| {
            for (out, row) in out.iter_mut().zip(self.rows) {
                out.write(work(row));
            }
            Ok(())
        })
    }
}

fn by<C: Number, K: Reduction<C>>(x: &Tensor, axes: &[usize], dtype: DType) -> Result<Tensor> {
    if C::DTYPE == dtype
        && let Some(few) = Few::<C>::of(x, axes)
    {
        return few.map(|row| K::finish(K::fold(K::NOTHING, row)));
    }
    let plan = Plan::new(x, axes);
    let states = plan.run(K::NOTHING, |reader, range, first, states| {
        if plan.columns.is_some() {
            down::<C, K>(reader, &plan, range, first, states);
        } else {
            across::<C, K>(reader, &plan, range, first, states);
        }
    })?;
    let out = Tensor::build_as::<C>(&plan.shape, C::DTYPE, |out| {
        for (i, out) in out.iter_mut().enumerate() {
            let later = (1..plan.parts).map(|part| states[part * plan.kept + i]);
            out.write(K::finish(later.fold(states[i], K::merge)));
        }
        Ok(())
    })?;
    out.to_dtype(dtype)
}

/// How many results are made side by side, if that is how memory is best walked: when neighbours in memory belong to different results.
fn columns_of(layout: &Layout, kept: &[usize], reduced: &[usize]) -> Option<usize> {
    let nearest = |axes: &[usize]| {
        let strides = axes
            .iter()
            .filter(|&&axis| layout.shape()[axis] > 1)
            .map(|&axis| layout.strides()[axis].unsigned_abs());
        strides.min()
    };
    // Results of one element each are nothing but neighbours.
    if nearest(kept)? >= nearest(reduced).unwrap_or(usize::MAX) {
        return None;
    }
    let (shape, _) = coalesce(layout.permute(kept).shape(), [&layout.permute(kept)]);
    let inner = shape.last().copied().unwrap_or(1);
    match inner {
        0..32 => None,
        _ => Some(inner.div_ceil(inner.div_ceil(RUN))),
    }
}

/// Results whose elements follow one another in the walk, one after another.
fn across<C: Number, K: Reduction<C>>(
    reader: &mut Reader<C>,
    plan: &Plan,
    (from, to): (usize, usize),
    first: usize,
    states: &mut [K::State],
) {
    for (i, state) in states.iter_mut().enumerate() {
        let row = (first + i) * plan.reduced;
        let reach = reader.reach();
        for start in (from..to).step_by(reach) {
            let x = reader.read(row + start, reach.min(to - start));
            *state = K::fold(*state, x);
        }
    }
}

/// Results that lie side by side in the walk, all at once.
fn down<C: Number, K: Reduction<C>>(
    reader: &Reader<C>,
    plan: &Plan,
    (from, to): (usize, usize),
    first: usize,
    states: &mut [K::State],
) {
    for start in (from..to).step_by(FLUSH) {
        let count = FLUSH.min(to - start);
        K::rows(reader, Rows { first: start * plan.kept + first, apart: plan.kept, count }, states);
    }
}
