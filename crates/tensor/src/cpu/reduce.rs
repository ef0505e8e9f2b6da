//! The one engine for reductions, and running ones.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::elementwise::{CHUNK, Reader};
use super::number::{Number, by_class};
use super::simd::vectorized;
use crate::layout::{Layout, coalesce};
use crate::ops::ReduceOp;
use crate::{DType, Result, Shape, Tensor, pool};

/// Lanes of a row's partial results: four of the widest vectors of f32.
const LANES: usize = 64;
/// So many rows are added up in the elements' own precision before they go into the wider total.
const FLUSH: usize = 64;
/// Fewer elements than this are done on the calling thread.
const PARALLEL_FROM: usize = 32 << 10;

/// How numbers of type C are combined: step by step in their own type, and the partial results in a wider one.
trait Combine<C>: Sync {
    type Wide: Copy + Send + Sync;
    const START: C;
    const WIDE_START: Self::Wide;
    fn step(a: C, b: C) -> C;
    fn wide_step(a: Self::Wide, b: Self::Wide) -> Self::Wide;
    fn widen(x: C) -> Self::Wide;
    fn narrow(x: Self::Wide) -> C;
}

struct Sum;
struct Prod;
struct Max;
struct Min;

macro_rules! combine {
    ($($type:ty, $wide:ty, $max:expr, $min:expr, $nan:expr, $add:expr, $mul:expr;)*) => {$(
        combine!(@one Sum, $type, $wide, 0 as $type, 0 as $wide, $add);
        combine!(@one Prod, $type, $wide, 1 as $type, 1 as $wide, $mul);
        combine!(@same Max, $type, $min, |a: $type, b: $type| if b > a || $nan(b) { b } else { a });
        combine!(@same Min, $type, $max, |a: $type, b: $type| if b < a || $nan(b) { b } else { a });
    )*};
    (@one $name:ident, $type:ty, $wide:ty, $start:expr, $wide_start:expr, $step:expr) => {
        impl Combine<$type> for $name {
            type Wide = $wide;
            const START: $type = $start;
            const WIDE_START: $wide = $wide_start;
            #[inline(always)]
            fn step(a: $type, b: $type) -> $type { ($step)(a, b) as $type }
            #[inline(always)]
            fn wide_step(a: $wide, b: $wide) -> $wide { ($step)(a, b) as $wide }
            #[inline(always)]
            fn widen(x: $type) -> $wide { x as $wide }
            #[inline(always)]
            fn narrow(x: $wide) -> $type { x as $type }
        }
    };
    (@same $name:ident, $type:ty, $start:expr, $step:expr) => {
        impl Combine<$type> for $name {
            type Wide = $type;
            const START: $type = $start;
            const WIDE_START: $type = $start;
            #[inline(always)]
            fn step(a: $type, b: $type) -> $type { ($step)(a, b) }
            #[inline(always)]
            fn wide_step(a: $type, b: $type) -> $type { ($step)(a, b) }
            #[inline(always)]
            fn widen(x: $type) -> $type { x }
            #[inline(always)]
            fn narrow(x: $type) -> $type { x }
        }
    };
}
/// Generic over f32 and f64, which closures in the macro could not be.
#[inline(always)]
fn add<T: std::ops::Add<Output = T>>(a: T, b: T) -> T {
    a + b
}
#[inline(always)]
fn mul<T: std::ops::Mul<Output = T>>(a: T, b: T) -> T {
    a * b
}
combine! {
    f32, f64, f32::INFINITY, f32::NEG_INFINITY, f32::is_nan, add, mul;
    f64, f64, f64::INFINITY, f64::NEG_INFINITY, f64::is_nan, add, mul;
    i64, i64, i64::MAX, i64::MIN, |_| false, i64::wrapping_add, i64::wrapping_mul;
    u64, u64, u64::MAX, u64::MIN, |_| false, u64::wrapping_add, u64::wrapping_mul;
}

/// See [`crate::Backend::reduce`].
pub(super) fn reduce(op: ReduceOp, x: &Tensor, axes: &[usize], dtype: DType) -> Result<Tensor> {
    by_class!(dtype, C => match op {
        ReduceOp::Sum => by::<C, Sum>(x, axes, dtype),
        ReduceOp::Prod => by::<C, Prod>(x, axes, dtype),
        ReduceOp::Max => by::<C, Max>(x, axes, dtype),
        ReduceOp::Min => by::<C, Min>(x, axes, dtype),
    })
}

/// The sizes of a reduction.
struct Plan {
    /// How many results.
    kept: usize,
    /// Of how many elements each.
    reduced: usize,
    /// Into how many parts each is cut, so that all threads have work.
    parts: usize,
}

impl Plan {
    /// The elements of part `part`.
    fn part(&self, part: usize) -> (usize, usize) {
        let size = self.reduced.div_ceil(self.parts);
        ((part * size).min(self.reduced), ((part + 1) * size).min(self.reduced))
    }
}

fn by<C: Number, K: Combine<C>>(x: &Tensor, axes: &[usize], dtype: DType) -> Result<Tensor> {
    let kept_axes: Vec<usize> = (0..x.ndim()).filter(|axis| !axes.contains(axis)).collect();
    let kept_shape: Shape = kept_axes.iter().map(|&axis| x.shape()[axis]).collect();
    let kept: usize = kept_shape.iter().product();
    let reduced: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    let large = x.numel() >= PARALLEL_FROM;
    let order = |first: &[usize], then: &[usize]| {
        let order: Vec<usize> = first.iter().chain(then).copied().collect();
        x.view_with(x.layout().permute(&order))
    };
    let columns = columns_of(x.layout(), &kept_axes, axes);
    let per_task = columns.unwrap_or(1);
    let tasks = kept.div_ceil(per_task).max(1);
    let parts =
        if large { (4 * pool::num_threads()).div_ceil(tasks).min(reduced.div_ceil(CHUNK)).max(1) } else { 1 };
    let plan = Plan { kept, reduced, parts };
    let mut totals = vec![K::WIDE_START; parts * kept];
    let view = if columns.is_some() { order(axes, &kept_axes) } else { order(&kept_axes, axes) };
    if kept > 0 && reduced > 0 {
        // One task is a run of results of one part. Rows come one by one, but several to a task.
        let run = columns.unwrap_or_else(|| (PARALLEL_FROM / 2 / reduced.max(1)).clamp(1, kept));
        let work = |(part, first, totals): (usize, usize, &mut [K::Wide])| -> Result<()> {
            let mut reader = Reader::<C>::new(&view)?;
            let range = plan.part(part);
            if columns.is_some() {
                down::<C, K>(&mut reader, &plan, range, first, totals);
            } else {
                across::<C, K>(&mut reader, &plan, range, first, totals);
            }
            Ok(())
        };
        let tasks = totals.chunks_mut(kept).enumerate().flat_map(|(part, totals)| {
            totals.chunks_mut(run).enumerate().map(move |(i, totals)| (part, i * run, totals))
        });
        if large {
            let tasks: Vec<_> = tasks.collect();
            pool::install(|| tasks.into_par_iter().try_for_each(work))??;
        } else {
            tasks.into_iter().try_for_each(work)?;
        }
    }
    let out = Tensor::build_as::<C>(&kept_shape, C::DTYPE, |out| {
        for (i, out) in out.iter_mut().enumerate() {
            let total =
                (1..parts).fold(totals[i], |total, part| K::wide_step(total, totals[part * kept + i]));
            out.write(K::narrow(total));
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
    if nearest(kept)? >= nearest(reduced)? {
        return None;
    }
    let (shape, _) = coalesce(layout.permute(kept).shape(), [&layout.permute(kept)]);
    let inner = shape.last().copied().unwrap_or(1);
    match inner {
        0..32 => None,
        _ => Some(inner.div_ceil(inner.div_ceil(CHUNK).max(pool::num_threads().min(inner / 256).max(1)))),
    }
}

/// Results whose elements follow one another in the walk, one after another.
fn across<C: Number, K: Combine<C>>(
    reader: &mut Reader<C>,
    plan: &Plan,
    (from, to): (usize, usize),
    first: usize,
    totals: &mut [K::Wide],
) {
    for (i, total) in totals.iter_mut().enumerate() {
        let row = (first + i) * plan.reduced;
        for start in (from..to).step_by(CHUNK) {
            let x = reader.read(row + start, CHUNK.min(to - start));
            *total = K::wide_step(*total, fold::<C, K>(x));
        }
    }
}

/// All of `x` combined, in lanes.
fn fold<C: Number, K: Combine<C>>(x: &[C]) -> K::Wide {
    vectorized(
        #[inline(always)]
        || {
            let mut lanes = [K::START; LANES];
            let (blocks, rest) = x.as_chunks::<LANES>();
            for block in blocks {
                for (lane, &x) in lanes.iter_mut().zip(block) {
                    *lane = K::step(*lane, x);
                }
            }
            for (lane, &x) in lanes.iter_mut().zip(rest) {
                *lane = K::step(*lane, x);
            }
            let used = if blocks.is_empty() { &lanes[..rest.len()] } else { &lanes[..] };
            used.iter().fold(K::WIDE_START, |total, &lane| K::wide_step(total, K::widen(lane)))
        },
    )
}

/// Results that lie side by side in the walk, all at once.
fn down<C: Number, K: Combine<C>>(
    reader: &mut Reader<C>,
    plan: &Plan,
    (from, to): (usize, usize),
    first: usize,
    totals: &mut [K::Wide],
) {
    let width = totals.len();
    let mut lanes = [K::START; CHUNK];
    let lanes = &mut lanes[..width];
    for start in (from..to).step_by(FLUSH) {
        for row in start..(start + FLUSH).min(to) {
            let x = reader.read(row * plan.kept + first, width);
            vectorized(
                #[inline(always)]
                || {
                    for (lane, &x) in lanes.iter_mut().zip(x) {
                        *lane = K::step(*lane, x);
                    }
                },
            );
        }
        for (total, lane) in totals.iter_mut().zip(lanes.iter_mut()) {
            *total = K::wide_step(*total, K::widen(*lane));
            *lane = K::START;
        }
    }
}

/// See [`crate::Backend::arg_extreme`].
pub(super) fn arg_extreme(x: &Tensor, largest: bool) -> Result<Tensor> {
    let (&size, outer) = x.shape().split_last().unwrap_or((&1, &[]));
    by_class!(x.dtype(), C => Tensor::build::<i64>(outer, |out| {
        let rows = |(first, out): (usize, &mut [MaybeUninit<i64>])| -> Result<()> {
            let mut reader = Reader::<C>::new(x)?;
            for (i, out) in out.iter_mut().enumerate() {
                out.write(best(&mut reader, (first + i) * size, size, largest) as i64);
            }
            Ok(())
        };
        if x.numel() < PARALLEL_FROM {
            return rows((0, out));
        }
        let run = (PARALLEL_FROM / size.max(1)).max(1);
        let runs = out.par_chunks_mut(run).enumerate().map(|(i, out)| (i * run, out));
        pool::install(|| runs.try_for_each(rows))?
    }))
}

/// The position of the first extreme among the elements `start..start + size`; NaN is more extreme than all numbers.
#[allow(clippy::eq_op)]
fn best<C: Number>(reader: &mut Reader<C>, start: usize, size: usize, largest: bool) -> usize {
    let mut found: Option<(usize, C)> = None;
    for from in (0..size).step_by(CHUNK) {
        for (i, &x) in reader.read(start + from, CHUNK.min(size - from)).iter().enumerate() {
            let wins = match found {
                None => true,
                Some((_, best)) => best == best && (x != x || if largest { x > best } else { x < best }),
            };
            if wins {
                found = Some((from + i, x));
            }
        }
    }
    found.map_or(0, |(at, _)| at)
}

/// See [`crate::Backend::scan`].
pub(super) fn scan(op: ReduceOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
    by_class!(dtype, C => match op {
        ReduceOp::Sum => running::<C, Sum>(x, dtype),
        ReduceOp::Prod => running::<C, Prod>(x, dtype),
        ReduceOp::Max => running::<C, Max>(x, dtype),
        ReduceOp::Min => running::<C, Min>(x, dtype),
    })
}

fn running<C: Number, K: Combine<C>>(x: &Tensor, dtype: DType) -> Result<Tensor> {
    let size = x.shape().last().copied().unwrap_or(1);
    let out = Tensor::build_as::<C>(x.shape(), C::DTYPE, |out| {
        super::rows::for_each_run(out, size, |first, rows| {
            let Ok(mut reader) = Reader::<C>::new(x) else { return };
            for (i, row) in rows.chunks_exact_mut(size).enumerate() {
                let mut total = K::WIDE_START;
                for (from, out) in (0..size).step_by(CHUNK).zip(row.chunks_mut(CHUNK)) {
                    let x = reader.read((first + i) * size + from, out.len());
                    for (out, &x) in out.iter_mut().zip(x) {
                        total = K::wide_step(total, K::widen(x));
                        out.write(K::narrow(total));
                    }
                }
            }
        })
    })?;
    out.to_dtype(dtype)
}
