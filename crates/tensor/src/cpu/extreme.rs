//! Where the largest or smallest element is.

use std::mem::MaybeUninit;

use super::combine::{Combine, Max, Min, Reduction, Rows};
use super::elementwise::{CHUNK, PARALLEL_FROM, Reader};
use super::number::{Number, by_class};
use super::reduce::{Plan, columns_of};
use super::simd::vectorized;
use crate::{Result, Tensor};

/// See [`crate::Backend::arg_extreme`].
pub(super) fn arg_extreme(x: &Tensor, largest: bool) -> Result<Tensor> {
    by_class!(x.dtype(), C => if largest { find::<C, Max>(x) } else { find::<C, Min>(x) })
}

/// The best number so far and its position among those of its result.
#[derive(Clone, Copy)]
struct Found<C> {
    value: C,
    at: usize,
}

/// Whether `x` is more extreme than `best`: NaN is more so than all numbers, and the first of equal ones stays.
#[inline(always)]
#[allow(clippy::eq_op)]
fn beats<C: Number, K: Combine<C>>(x: C, best: C) -> bool {
    (K::step(best, x) != best) & (best == best)
}

fn find<C: Number, K: Combine<C>>(x: &Tensor) -> Result<Tensor> {
    let (&size, outer) = x.shape().split_last().unwrap_or((&1, &[]));
    let last = x.ndim().saturating_sub(1);
    let axes: Vec<usize> = (0..x.ndim()).collect();
    let (kept, reduced) = axes.split_at(last);
    let columns = columns_of(x.layout(), kept, reduced);
    let plan = Plan::new(x.numel() / size.max(1), size, columns.unwrap_or(1), x.numel() >= PARALLEL_FROM);
    let view = if columns.is_some() {
        let order: Vec<usize> = reduced.iter().chain(kept).copied().collect();
        x.view_with(x.layout().permute(&order))
    } else {
        x.clone()
    };
    let found = plan.run(&view, columns, None::<Found<C>>, |reader, range, first, found| {
        if columns.is_some() {
            down::<C, K>(reader, &plan, range, first, found);
        } else {
            for (i, found) in found.iter_mut().enumerate() {
                *found = across::<C, K>(reader, (first + i) * size, range);
            }
        }
    })?;
    Tensor::build::<i64>(outer, |out: &mut [MaybeUninit<i64>]| {
        for (i, out) in out.iter_mut().enumerate() {
            // Parts come in order, so the earlier of equal ones wins.
            let best = (0..plan.parts)
                .filter_map(|part| found[part * plan.kept + i])
                .reduce(|best, next| if beats::<C, K>(next.value, best.value) { next } else { best });
            out.write(best.map_or(0, |best| best.at as i64));
        }
        Ok(())
    })
}

/// The first extreme among the elements `from..to` after `start`, run by run: which run has it is found out first.
fn across<C: Number, K: Combine<C>>(
    reader: &mut Reader<C>,
    start: usize,
    (from, to): (usize, usize),
) -> Option<Found<C>> {
    let mut best: Option<Found<C>> = None;
    let len = |at: usize| CHUNK.min(to - at);
    for at in (from..to).step_by(CHUNK) {
        let value = K::narrow(K::fold(reader.read_before(start + at + CHUNK, start + at, len(at))));
        if best.is_none_or(|best| beats::<C, K>(value, best.value)) {
            best = Some(Found { value, at });
        }
    }
    let best = best?;
    let run = reader.read(start + best.at, len(best.at));
    #[allow(clippy::eq_op)]
    let within = run.iter().position(|&x| x == best.value || x != x).unwrap_or(0);
    Some(Found { value: best.value, at: best.at + within })
}

/// The first extremes of columns that lie side by side, all at once.
fn down<C: Number, K: Combine<C>>(
    reader: &mut Reader<C>,
    plan: &Plan,
    (from, to): (usize, usize),
    first: usize,
    found: &mut [Option<Found<C>>],
) {
    let width = found.len();
    let (mut values, mut places) = ([C::default(); CHUNK], [from; CHUNK]);
    let rows = Rows { first: from * plan.kept + first, apart: plan.kept, count: to - from };
    let mut row = from;
    rows.each(reader, width, |x| {
        if row == from {
            values[..width].copy_from_slice(x);
        }
        vectorized(
            #[inline(always)]
            || {
                // A copy: `row` itself would be read anew for each element, as a store to a place might have changed it.
                let at = row;
                for ((value, place), &x) in values.iter_mut().zip(&mut places).zip(x) {
                    let beats = beats::<C, K>(x, *value);
                    *value = if beats { x } else { *value };
                    *place = if beats { at } else { *place };
                }
            },
        );
        row += 1;
    });
    for (i, found) in found.iter_mut().enumerate() {
        *found = (from < to).then_some(Found { value: values[i], at: places[i] });
    }
}
