//! Decoding: so few rows that reading keys and values is the work. A task reads a stretch of the keys of one sequence, all heads of a key
//! as they lie in memory; what the stretches of a sequence have summed is put together afterwards.

use std::cell::Cell;
use std::ops::Range;

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp, SimdUnaryOp};
use rten_vecmath::Tanh;

use super::{Outputs, Plan};
use crate::cpu::math::ExpOfNegative;
use crate::cpu::scratch::{self, Scratch};
use crate::cpu::simd::{self, dispatch_at};
use crate::ops::Sequence;

/// Keys whose scores are held at a time.
const TILE: usize = 64;
/// Keys that are read side by side: sums that do not wait for one another, and no more streams than processors fetch ahead.
const TOGETHER: usize = 4;

/// How many keys ahead they are fetched.
const AHEAD: usize = 8;

/// The most stretches of a sequence. How many there are must not depend on the threads, or results would.
const MAX_STRETCHES: usize = 32;

/// Some keys of one sequence.
struct Stretch {
    sequence: usize,
    keys: Range<usize>,
    /// Where its partial result is: for every row the greatest score, the sum of `exp(score - greatest)`, and the values weighed with
    /// these, (rows, 2 + value_dim).
    partial: usize,
}

/// The keys of some sequences in stretches, with room for what each sums up.
pub(super) struct Stretches<'a> {
    plan: &'a Plan<'a>,
    all: &'a [Stretch],
    partials: *mut f32,
}

// SAFETY: each task writes to the part of its stretch alone, before all are put together.
unsafe impl Sync for Stretches<'_> {}

/// Cuts the keys of some sequences into stretches and lets `work` use them. They lie in memory of this thread, which is kept for the next.
pub(super) fn with<R>(
    plan: &Plan,
    sequences: impl Iterator<Item = usize>,
    work: impl FnOnce(&Stretches) -> R,
) -> R {
    thread_local! {
        static OWN: Cell<Vec<Stretch>> = const { Cell::new(Vec::new()) };
    }
    let mut all = OWN.take();
    all.clear();
    let mut partial = 0;
    for sequence in sequences {
        let s = &plan.sequences()[sequence];
        let mask = &plan.attention.mask;
        let seen = match s.rows {
            0 => continue,
            rows => mask.visible(s, 0).start..mask.visible(s, rows - 1).end,
        };
        let length = seen.len().div_ceil(MAX_STRETCHES).max(1).next_multiple_of(TILE);
        // A sequence that sees nothing has results, too: zeros.
        for start in (seen.start..seen.end.max(seen.start + 1)).step_by(length) {
            all.push(Stretch { sequence, keys: start..(start + length).min(seen.end), partial });
            partial += s.rows * plan.heads * plan.partial_width();
        }
    }
    let result = scratch::with(|scratch| {
        let [partials] = scratch.parts([partial]);
        work(&Stretches { plan, all: &all, partials })
    });
    OWN.set(all);
    result
}

impl Plan<'_> {
    fn partial_width(&self) -> usize {
        2 + self.value_dim
    }
}

impl Stretches<'_> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Sums up a stretch.
    ///
    /// # Safety
    /// The tensors of the plan must hold what its sequences name, key and value with neighbouring elements; nobody else may run this one.
    pub(super) unsafe fn run(&self, index: usize, scratch: &mut Scratch) {
        struct Run<'a>(&'a Stretches<'a>, usize, &'a mut Scratch);
        impl SimdOp for Run<'_> {
            type Output = ();
            #[inline(always)]
            fn eval<I: Isa>(self, isa: I) {
                let Run(stretches, index, scratch) = self;
                let stretch = &stretches.all[index];
                // SAFETY: as the caller promises.
                unsafe {
                    let partial = stretches.partials.add(stretch.partial);
                    Read::new(isa, stretch, stretches.plan, scratch).run(partial)
                }
            }
        }
        dispatch_at(self.plan.level, Run(self, index, scratch));
    }

    /// Puts the partial results together, sequence by sequence.
    ///
    /// # Safety
    /// All must have run; nobody else may touch their sequences' part of the outputs.
    pub(super) unsafe fn merge(&self, outputs: &Outputs) {
        let (plan, width) = (self.plan, self.plan.partial_width());
        for stretches in self.all.chunk_by(|one, other| one.sequence == other.sequence) {
            let s = &plan.sequences()[stretches[0].sequence];
            for row in 0..s.rows * plan.heads {
                // SAFETY: so long is each part.
                let part = |stretch: &Stretch| unsafe {
                    std::slice::from_raw_parts(self.partials.add(stretch.partial + row * width), width)
                };
                let parts = || stretches.iter().map(part);
                let max = parts().map(|part| part[0]).fold(f32::MIN, f32::max);
                let total: f32 = parts().map(|part| part[1] * (part[0] - max).exp()).sum();
                let share = if total == 0.0 { 0.0 } else { 1.0 / total };
                let first = (s.start * plan.heads + row) * plan.value_dim;
                // SAFETY: as the caller promises; any bits are a float.
                let to = unsafe {
                    outputs.context.add(first).write_bytes(0, plan.value_dim);
                    std::slice::from_raw_parts_mut(outputs.context.add(first), plan.value_dim)
                };
                for part in parts() {
                    let weight = share * (part[0] - max).exp();
                    to.iter_mut().zip(&part[2..]).for_each(|(to, sum)| *to += weight * sum);
                }
            }
        }
    }
}

/// A stretch being read. A row here is a head at a query row: row `r` is head `r % heads` of query row `r / heads`.
struct Read<'a, I> {
    isa: I,
    stretch: &'a Stretch,
    plan: &'a Plan<'a>,
    sequence: &'a Sequence,
    rows: usize,
    /// The elements of queries and sums in the scratch, filled up with zeros to whole vectors.
    head_width: usize,
    value_width: usize,
    /// (rows, head_width), scaled.
    query: *mut f32,
    /// (rows, TILE)
    scores: *mut f32,
    /// (rows, value_width)
    sums: *mut f32,
    max: *mut f32,
    total: *mut f32,
}

impl<'a, I: Isa> Read<'a, I> {
    #[inline(always)]
    fn new(isa: I, stretch: &'a Stretch, plan: &'a Plan, scratch: &mut Scratch) -> Read<'a, I> {
        let lanes = isa.f32().len();
        let sequence = &plan.sequences()[stretch.sequence];
        let rows = sequence.rows * plan.heads;
        let (head_width, value_width) =
            (plan.head_dim.next_multiple_of(lanes), plan.value_dim.next_multiple_of(lanes));
        let [query, scores, sums, max, total] =
            scratch.parts([rows * head_width, rows * TILE, rows * value_width, rows, rows]);
        Read { isa, stretch, plan, sequence, rows, head_width, value_width, query, scores, sums, max, total }
    }

    /// Sums the stretch up and writes the partial result.
    #[inline(always)]
    unsafe fn run(&self, partial: *mut f32) {
        let plan = self.plan;
        // SAFETY: the parts of the scratch have room for all rows.
        unsafe {
            for row in 0..self.rows {
                let query = plan.query.at(self.sequence.start + row / plan.heads, row % plan.heads);
                let to = self.query.add(row * self.head_width);
                for i in 0..self.head_width {
                    *to.add(i) = match i < plan.head_dim {
                        true => *query.offset(i as isize * plan.query.strides[2]) * plan.attention.scale,
                        false => 0.0,
                    };
                }
                (0..self.value_width).for_each(|i| *self.sums.add(row * self.value_width + i) = 0.0);
                *self.max.add(row) = f32::MIN;
                *self.total.add(row) = 0.0;
            }
            let keys = &self.stretch.keys;
            for start in keys.clone().step_by(TILE) {
                let tile = start..(start + TILE).min(keys.end);
                self.score(&tile);
                for row in 0..self.rows {
                    self.adjust(&tile, row);
                    self.exponentials(row);
                }
                self.weigh(&tile);
            }
            for row in 0..self.rows {
                let to = partial.add(row * plan.partial_width());
                to.write(*self.max.add(row));
                to.add(1).write(*self.total.add(row));
                let sums = self.sums.add(row * self.value_width);
                sums.copy_to_nonoverlapping(to.add(2), plan.value_dim);
            }
        }
    }

    /// The rows that look at a head of keys.
    #[inline(always)]
    fn rows_of(&self, kv_head: usize) -> impl Iterator<Item = usize> {
        let (group, heads) = (self.plan.group(), self.plan.heads);
        (0..self.sequence.rows)
            .flat_map(move |row| (0..group).map(move |head| row * heads + kv_head * group + head))
    }

    /// The products of queries and keys. Beyond the tile's last key that one again.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
    unsafe fn score(&self, tile: &Range<usize>) {
        let (plan, ops) = (self.plan, self.isa.f32());
        let lanes = ops.len();
        let whole = plan.head_dim / lanes * lanes;
        let rest = ops.first_n_mask(plan.head_dim - whole);
        for first in tile.clone().step_by(TOGETHER) {
            for kv_head in 0..plan.kv_heads {
                let mut keys = [plan.key.data; TOGETHER];
                for j in 0..TOGETHER {
                    let key = (first + j).min(tile.end - 1);
                    keys[j] = plan.key.at(self.sequence.key_start + key, kv_head);
                    let soon = plan.key.at(self.sequence.key_start + key + AHEAD, kv_head);
                    simd::fetch(self.isa, soon, plan.head_dim * size_of::<f32>());
                }
                for row in self.rows_of(kv_head) {
                    // SAFETY: the keys are there; the parts have room for the row.
                    unsafe {
                        let query = self.query.add(row * self.head_width);
                        let mut sums = [ops.zero(); TOGETHER];
                        for at in (0..whole).step_by(lanes) {
                            let q = ops.load_ptr(query.add(at));
                            for j in 0..TOGETHER {
                                sums[j] = ops.mul_add(q, ops.load_ptr(keys[j].add(at)), sums[j]);
                            }
                        }
                        if whole < plan.head_dim {
                            let q = ops.load_ptr(query.add(whole));
                            for j in 0..TOGETHER {
                                sums[j] =
                                    ops.mul_add(q, ops.load_ptr_mask(keys[j].add(whole), rest), sums[j]);
                            }
                        }
                        let to = self.scores.add(row * TILE + (first - tile.start));
                        to.cast::<[f32; TOGETHER]>().write_unaligned(simd::sums(self.isa, sums));
                    }
                }
            }
        }
    }

    /// What is done to scores beside scaling them. The scores of keys that the row does not see become -∞.
    #[inline(always)]
    unsafe fn adjust(&self, tile: &Range<usize>, row: usize) {
        let (plan, ops) = (self.plan, self.isa.f32());
        // SAFETY: within the parts; the bias has the row and the keys.
        unsafe {
            let scores = self.scores.add(row * TILE);
            if let Some(cap) = plan.attention.softcap {
                let (cap, inverse) = (ops.splat(cap), ops.splat(1.0 / cap));
                for at in (0..tile.len()).step_by(ops.len()) {
                    let capped = Tanh::apply(self.isa, ops.mul(ops.load_ptr(scores.add(at)), inverse));
                    ops.store_ptr(ops.mul(capped, cap), scores.add(at));
                }
            }
            if let Some(bias) = plan.biases.get(self.stretch.sequence) {
                let from = bias.at(row % plan.heads, row / plan.heads);
                let from = from.offset(tile.start as isize * bias.strides[2]);
                (0..tile.len()).for_each(|i| *scores.add(i) += *from.offset(i as isize * bias.strides[2]));
            }
            let visible = plan.attention.mask.visible(self.sequence, row / plan.heads);
            let from = visible.start.clamp(tile.start, tile.end) - tile.start;
            let to = visible.end.clamp(tile.start, tile.end) - tile.start;
            (0..from).chain(to..TILE).for_each(|i| *scores.add(i) = f32::NEG_INFINITY);
        }
    }

    /// Raises the row's `max` to the greatest score, replaces the scores by `exp(score - max)`, adds these up in `total`, and corrects what
    /// was summed so far.
    #[inline(always)]
    unsafe fn exponentials(&self, row: usize) {
        let (isa, ops) = (self.isa, self.isa.f32());
        // SAFETY: within the parts.
        unsafe {
            let scores = self.scores.add(row * TILE);
            let old = ops.splat(*self.max.add(row));
            let mut max = old;
            for at in (0..TILE).step_by(ops.len()) {
                max = ops.max(max, ops.load_ptr(scores.add(at)));
            }
            max = ops.fold_splat(max, f32::MIN, f32::max);
            let mut sum = ops.zero();
            for at in (0..TILE).step_by(ops.len()) {
                let p = ExpOfNegative::apply(isa, ops.sub(ops.load_ptr(scores.add(at)), max));
                sum = ops.add(sum, p);
                ops.store_ptr(p, scores.add(at));
            }
            let correction = ExpOfNegative::apply(isa, ops.sub(old, max));
            let sums = self.sums.add(row * self.value_width);
            for at in (0..self.value_width).step_by(ops.len()) {
                ops.store_ptr(ops.mul(ops.load_ptr(sums.add(at)), correction), sums.add(at));
            }
            let total = ops.mul(ops.splat(*self.total.add(row)), correction);
            let (mut first, mut maxima) = ([0.0; 64], [0.0; 64]);
            ops.store_ptr(total, first.as_mut_ptr());
            ops.store_ptr(max, maxima.as_mut_ptr());
            *self.total.add(row) = first[0] + ops.sum(sum);
            *self.max.add(row) = maxima[0];
        }
    }

    /// Adds the weighed values up.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // As above.
    unsafe fn weigh(&self, tile: &Range<usize>) {
        let (plan, ops) = (self.plan, self.isa.f32());
        let lanes = ops.len();
        let whole = plan.value_dim / lanes * lanes;
        let rest = ops.first_n_mask(plan.value_dim - whole);
        for first in tile.clone().step_by(TOGETHER) {
            for kv_head in 0..plan.kv_heads {
                let mut values = [plan.value.data; TOGETHER];
                for j in 0..TOGETHER {
                    // The weight of what is beyond the last is 0, as long as it is a number.
                    let key = (first + j).min(tile.end - 1);
                    values[j] = plan.value.at(self.sequence.key_start + key, kv_head);
                    let soon = plan.value.at(self.sequence.key_start + key + AHEAD, kv_head);
                    simd::fetch(self.isa, soon, plan.value_dim * size_of::<f32>());
                }
                for row in self.rows_of(kv_head) {
                    // SAFETY: the values are there; the parts have room for the row.
                    unsafe {
                        let sums = self.sums.add(row * self.value_width);
                        let weights = self.scores.add(row * TILE + (first - tile.start));
                        let mut p = [ops.zero(); TOGETHER];
                        for j in 0..TOGETHER {
                            p[j] = ops.splat(*weights.add(j));
                        }
                        for at in (0..whole).step_by(lanes) {
                            let mut sum = ops.load_ptr(sums.add(at));
                            for j in 0..TOGETHER {
                                sum = ops.mul_add(p[j], ops.load_ptr(values[j].add(at)), sum);
                            }
                            ops.store_ptr(sum, sums.add(at));
                        }
                        if whole < plan.value_dim {
                            let mut sum = ops.load_ptr(sums.add(whole));
                            for j in 0..TOGETHER {
                                sum = ops.mul_add(p[j], ops.load_ptr_mask(values[j].add(whole), rest), sum);
                            }
                            ops.store_ptr(sum, sums.add(whole));
                        }
                    }
                }
            }
        }
    }
}
