//! Where the largest or smallest element is.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::columns::{BLOCK, Columns, PerColumn, Rows, blocks};
use super::combine::{Combine, Max, Min, Reduction};
use super::number::{Number, by_class};
use super::reader::Reader;
use super::reduce::{Few, Plan};
use super::simd::vectorized;
use crate::{Result, Tensor};

/// See [`crate::Backend::arg_extreme`].
pub(super) fn arg_extreme(x: &Tensor, axes: &[usize], largest: bool) -> Result<Tensor> {
    by_class!(x.dtype(), C => if largest { find::<C, Max>(x, axes) } else { find::<C, Min>(x, axes) })
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

fn find<C: Number, K: Combine<C>>(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    if let Some(few) = Few::<C>::of(x, axes) {
        return few.map(|row| first_of(K::narrow(K::fold(K::NOTHING, row)), row) as i64);
    }
    let plan = Plan::new(x, axes);
    let found = plan.run(None::<Found<C>>, |reader, range, first, found| {
        if plan.columns.is_some() {
            down::<C, K>(reader, &plan, range, first, found);
        } else {
            for (i, found) in found.iter_mut().enumerate() {
                *found = across::<C, K>(reader, (first + i) * plan.reduced, range);
            }
        }
    })?;
    Tensor::build::<i64>(&plan.shape, |out: &mut [MaybeUninit<i64>]| {
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
    let reach = reader.reach();
    let len = |at: usize| reach.min(to - at);
    for at in (from..to).step_by(reach) {
        let value = K::narrow(K::fold(K::NOTHING, reader.read(start + at, len(at))));
        if best.is_none_or(|best| beats::<C, K>(value, best.value)) {
            best = Some(Found { value, at });
        }
    }
    let best = best?;
    let within = first_of(best.value, reader.read(start + best.at, len(best.at)));
    Some(Found { value: best.value, at: best.at + within })
}

/// Whether `x` is the extreme `value`: any NaN is, if one is.
#[inline(always)]
#[allow(clippy::eq_op)]
fn is_extreme<C: Number>(x: C, value: C) -> bool {
    (x == value) | (x != x)
}

/// Where in `run` the extreme `value` is first.
fn first_of<C: Number>(value: C, run: &[C]) -> usize {
    const BLOCK: usize = 64;
    vectorized(
        #[inline(always)]
        || {
            let mut before = 0;
            for block in run.as_chunks::<BLOCK>().0 {
                // Of a whole block whether it has it, not where: so vectors are compared and not numbers.
                let mut has_it = false;
                for &x in block {
                    has_it |= is_extreme(x, value);
                }
                if has_it {
                    break;
                }
                before += BLOCK;
            }
            before + run[before..].iter().position(|&x| is_extreme(x, value)).unwrap_or(0)
        },
    )
}

/// The first extremes of columns that lie side by side, all at once.
fn down<C: Number, K: Combine<C>>(
    reader: &Reader<C>,
    plan: &Plan,
    (from, to): (usize, usize),
    first: usize,
    found: &mut [Option<Found<C>>],
) {
    let width = found.len();
    for start in (from..to).step_by(STRETCH) {
        let rows =
            Rows { first: start * plan.kept + first, apart: plan.kept, count: STRETCH.min(to - start) };
        let (mut values, mut places) = (PerColumn::new(), PerColumn::new());
        let values = values.copy(reader, rows.first, width);
        let mut best = Best { values, places: places.fill(width, 0), row: 0, by: PhantomData::<K> };
        rows.each(reader, width, &mut best);
        for (i, found) in found.iter_mut().enumerate() {
            let (value, at) = (best.values[i], start + best.places[i] as usize);
            if found.is_none_or(|found| beats::<C, K>(value, found.value)) {
                *found = Some(Found { value, at });
            }
        }
    }
}

/// Rows that are numbered anew: in numbers as narrow as the values are, so that vectors hold as many of them.
const STRETCH: usize = 1 << 16;

/// The extremes of columns so far, and in which row they are.
struct Best<'b, C, K> {
    values: &'b mut [C],
    places: &'b mut [u32],
    row: u32,
    by: PhantomData<K>,
}

impl<C: Number, K: Combine<C>> Columns<C> for Best<'_, C, K> {
    fn take<const N: usize>(&mut self, rows: [&[C]; N]) {
        let first = self.row;
        let (values, rest_values) = self.values.as_chunks_mut::<BLOCK>();
        let (places, rest_places) = self.places.as_chunks_mut::<BLOCK>();
        let (blocks, rests) = blocks(rows);
        vectorized(
            #[inline(always)]
            || {
                for (i, (vs, ps)) in values.iter_mut().zip(places).enumerate() {
                    // Copies stay in registers, whatever the rows may share their memory with.
                    let (mut v, mut p) = (*vs, *ps);
                    for (row, at) in blocks.iter().zip(first..) {
                        for ((value, place), &x) in v.iter_mut().zip(&mut p).zip(&row[i]) {
                            improve::<C, K>((value, place), x, at);
                        }
                    }
                    (*vs, *ps) = (v, p);
                }
                for (row, at) in rests.iter().zip(first..) {
                    for ((value, place), &x) in rest_values.iter_mut().zip(&mut *rest_places).zip(*row) {
                        improve::<C, K>((value, place), x, at);
                    }
                }
            },
        );
        self.row += N as u32;
    }
}

/// Puts `x`, of row `at`, in the place of the best so far if it beats that.
#[inline(always)]
fn improve<C: Number, K: Combine<C>>((value, place): (&mut C, &mut u32), x: C, at: u32) {
    let beats = beats::<C, K>(x, *value);
    *value = if beats { x } else { *value };
    *place = if beats { at } else { *place };
}
