//! Decoding: so few rows that reading keys and values is the work. A task reads a stretch of the keys of one sequence, all heads of a key
//! as they lie in memory; what the stretches of a sequence have summed is put together afterwards.

use std::cell::Cell;
use std::ops::Range;

use half::f16;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp, SimdUnaryOp};
use rten_vecmath::Tanh;

use super::store::{Form, Kept};
use super::{Outputs, Plan};
use crate::cpu::math::ExpOfNegative;
use crate::cpu::scratch::{self, Scratch};
use crate::cpu::simd::{self, dispatch_at};
use crate::cpu::stored::Stored;
use crate::ops::Sequence;

/// Keys whose scores are held at a time.
const TILE: usize = 64;
/// Keys that are read side by side: sums that do not wait for one another, and no more streams than processors fetch ahead.
const TOGETHER: usize = 4;

/// Rows that a key that was read is used for at once.
const MAX_ROWS: usize = 4;

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
                let max = stretches.iter().map(|stretch| part(stretch)[0]).fold(f32::MIN, f32::max);
                let mut weights = [0.0; MAX_STRETCHES];
                let mut total = 0.0;
                for (weight, stretch) in weights.iter_mut().zip(stretches) {
                    *weight = (part(stretch)[0] - max).exp();
                    total += part(stretch)[1] * *weight;
                }
                let share = if total == 0.0 { 0.0 } else { 1.0 / total };
                let first = (s.start * plan.heads + row) * plan.value_dim;
                // SAFETY: as the caller promises; any bits are a float.
                let to = unsafe {
                    outputs.context.add(first).write_bytes(0, plan.value_dim);
                    std::slice::from_raw_parts_mut(outputs.context.add(first), plan.value_dim)
                };
                simd::vectorized(
                    #[inline(always)]
                    || {
                        for (weight, stretch) in weights.iter().zip(stretches) {
                            let weight = share * weight;
                            for (to, sum) in to.iter_mut().zip(&part(stretch)[2..]) {
                                *to += weight * sum;
                            }
                        }
                    },
                );
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
    /// (TOGETHER, the greater of both widths)
    widened: *mut f32,
}

impl<'a, I: Isa> Read<'a, I> {
    #[inline(always)]
    fn new(isa: I, stretch: &'a Stretch, plan: &'a Plan, scratch: &mut Scratch) -> Read<'a, I> {
        let step = 2 * isa.f32().len();
        let sequence = &plan.sequences()[stretch.sequence];
        let rows = sequence.rows * plan.heads;
        let (head_width, value_width) =
            (plan.head_dim.next_multiple_of(step), plan.value_dim.next_multiple_of(step));
        let near = TOGETHER * head_width.max(value_width);
        let [query, scores, sums, max, total, widened] =
            scratch.parts([rows * head_width, rows * TILE, rows * value_width, rows, rows, near]);
        Read {
            isa,
            stretch,
            plan,
            sequence,
            rows,
            head_width,
            value_width,
            query,
            scores,
            sums,
            max,
            total,
            widened,
        }
    }

    /// The row of a key of the sequence and where its head lies; one further on is fetched meanwhile.
    #[inline(always)]
    fn fetched(&self, kept: &Kept, key: usize, head: usize) -> (usize, *const u8) {
        let row = self.sequence.key_start + key;
        simd::fetch(self.isa, kept.at(row + AHEAD, head), kept.head_bytes());
        (row, kept.at(row, head))
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

    /// The products of queries and keys. Beyond the tile's last key that one again.
    #[inline(always)]
    unsafe fn score(&self, tile: &Range<usize>) {
        // SAFETY: as for the form's own.
        unsafe {
            match self.plan.key.form {
                Form::F32 => self.score_as::<f32>(tile),
                Form::F16 => self.score_as::<f16>(tile),
                Form::Int8 => self.score_as::<Widened>(tile),
            }
        }
    }

    #[inline(always)]
    unsafe fn score_as<T: Near>(&self, tile: &Range<usize>) {
        for first in tile.clone().step_by(TOGETHER) {
            for kv_head in 0..self.plan.kv_heads {
                let to = self.scores.wrapping_add(first - tile.start);
                // SAFETY: the keys are there; the parts have room for the rows.
                unsafe {
                    let keys = T::heads(self, &self.plan.key, first, tile.end, kv_head);
                    self.each_rows(kv_head, |rows| match *rows {
                        [a, b, c, d] => self.dots::<T::Stored, 4>(keys, [a, b, c, d], to),
                        [a, b, c] => self.dots::<T::Stored, 3>(keys, [a, b, c], to),
                        [a, b] => self.dots::<T::Stored, 2>(keys, [a, b], to),
                        [a] => self.dots::<T::Stored, 1>(keys, [a], to),
                        _ => {}
                    });
                }
            }
        }
    }

    /// Writes the products of some keys with some rows to `to` and further on, (rows, TILE): each key is read once for all of these rows.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
    unsafe fn dots<T: Stored, const R: usize>(
        &self,
        keys: [*const T; TOGETHER],
        rows: [usize; R],
        to: *mut f32,
    ) {
        let (isa, ops, len) = (self.isa, self.isa.f32(), self.plan.head_dim);
        let step = 2 * ops.len();
        let whole = len / step * step;
        let mut sums = [[ops.zero(); TOGETHER]; R];
        // SAFETY: as the caller promises; queries are filled up with zeros.
        unsafe {
            for at in (0..len).step_by(step) {
                let mut k = [[ops.zero(); 2]; TOGETHER];
                for j in 0..TOGETHER {
                    k[j] = if at < whole {
                        T::load(isa, keys[j].add(at))
                    } else {
                        T::load_some(isa, keys[j].add(at), len - at)
                    };
                }
                for r in 0..R {
                    let query = self.query.add(rows[r] * self.head_width + at);
                    let q = [ops.load_ptr(query), ops.load_ptr(query.add(ops.len()))];
                    for j in 0..TOGETHER {
                        sums[r][j] = ops.mul_add(q[0], k[j][0], sums[r][j]);
                        sums[r][j] = ops.mul_add(q[1], k[j][1], sums[r][j]);
                    }
                }
            }
            for r in 0..R {
                let to = to.add(rows[r] * TILE).cast::<[f32; TOGETHER]>();
                to.write_unaligned(simd::sums(isa, sums[r]));
            }
        }
    }

    /// Calls `with` for the rows that look at a head of keys, some at a time.
    #[inline(always)]
    fn each_rows(&self, kv_head: usize, mut with: impl FnMut(&[usize])) {
        let (group, heads) = (self.plan.group(), self.plan.heads);
        let count = self.sequence.rows * group;
        let row = |index: usize| index / group * heads + kv_head * group + index % group;
        for first in (0..count).step_by(MAX_ROWS) {
            let rows: [usize; MAX_ROWS] = std::array::from_fn(
                #[inline(always)]
                |i| row(first + i),
            );
            with(&rows[..MAX_ROWS.min(count - first)]);
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
    unsafe fn weigh(&self, tile: &Range<usize>) {
        // SAFETY: as for the form's own.
        unsafe {
            match self.plan.value.form {
                Form::F32 => self.weigh_as::<f32>(tile),
                Form::F16 => self.weigh_as::<f16>(tile),
                Form::Int8 => self.weigh_as::<Widened>(tile),
            }
        }
    }

    #[inline(always)]
    unsafe fn weigh_as<T: Near>(&self, tile: &Range<usize>) {
        for first in tile.clone().step_by(TOGETHER) {
            for kv_head in 0..self.plan.kv_heads {
                let weights = self.scores.wrapping_add(first - tile.start);
                // SAFETY: the values are there; the parts have room for the rows. The weight of what is beyond the last is 0, as long as it
                // is a number.
                unsafe {
                    let values = T::heads(self, &self.plan.value, first, tile.end, kv_head);
                    self.each_rows(kv_head, |rows| match *rows {
                        [a, b, c, d] => self.add::<T::Stored, 4>(values, [a, b, c, d], weights),
                        [a, b, c] => self.add::<T::Stored, 3>(values, [a, b, c], weights),
                        [a, b] => self.add::<T::Stored, 2>(values, [a, b], weights),
                        [a] => self.add::<T::Stored, 1>(values, [a], weights),
                        _ => {}
                    });
                }
            }
        }
    }

    /// Adds some values, weighed for each of some rows with `weights` and what is further on, (rows, TILE), to the sums.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // As above.
    unsafe fn add<T: Stored, const R: usize>(
        &self,
        values: [*const T; TOGETHER],
        rows: [usize; R],
        weights: *const f32,
    ) {
        let (isa, ops, len) = (self.isa, self.isa.f32(), self.plan.value_dim);
        let step = 2 * ops.len();
        let whole = len / step * step;
        // SAFETY: as the caller promises; sums have room for whole steps.
        unsafe {
            let mut p = [[ops.zero(); TOGETHER]; R];
            for r in 0..R {
                for j in 0..TOGETHER {
                    p[r][j] = ops.splat(*weights.add(rows[r] * TILE + j));
                }
            }
            for at in (0..len).step_by(step) {
                let mut v = [[ops.zero(); 2]; TOGETHER];
                for j in 0..TOGETHER {
                    v[j] = if at < whole {
                        T::load(isa, values[j].add(at))
                    } else {
                        T::load_some(isa, values[j].add(at), len - at)
                    };
                }
                for r in 0..R {
                    let to = self.sums.add(rows[r] * self.value_width + at);
                    for half in 0..2 {
                        let to = to.add(half * ops.len());
                        let mut sum = ops.load_ptr(to);
                        for j in 0..TOGETHER {
                            sum = ops.mul_add(p[r][j], v[j][half], sum);
                        }
                        ops.store_ptr(sum, to);
                    }
                }
            }
        }
    }
}

/// Keys or values that are read side by side.
trait Near {
    /// What the elements are when they are multiplied.
    type Stored: Stored;

    /// The heads of rows from `first` on, of which `end` is not one any more: beyond it the last one again.
    unsafe fn heads<I: Isa>(
        read: &Read<I>,
        kept: &Kept,
        first: usize,
        end: usize,
        head: usize,
    ) -> [*const Self::Stored; TOGETHER];
}

/// Those that are read as they lie.
impl<T: Stored> Near for T {
    type Stored = T;

    #[inline(always)]
    unsafe fn heads<I: Isa>(
        read: &Read<I>,
        kept: &Kept,
        first: usize,
        end: usize,
        head: usize,
    ) -> [*const T; TOGETHER] {
        std::array::from_fn(
            #[inline(always)]
            |j| read.fetched(kept, (first + j).min(end - 1), head).1.cast(),
        )
    }
}

/// Those that are widened to float32 first.
struct Widened;

impl Near for Widened {
    type Stored = f32;

    #[inline(always)]
    unsafe fn heads<I: Isa>(
        read: &Read<I>,
        kept: &Kept,
        first: usize,
        end: usize,
        head: usize,
    ) -> [*const f32; TOGETHER] {
        std::array::from_fn(
            #[inline(always)]
            |j| {
                let to = read.widened.wrapping_add(j * read.head_width.max(read.value_width));
                let (row, _) = read.fetched(kept, (first + j).min(end - 1), head);
                // SAFETY: as the caller promises; the part has room for so many heads.
                unsafe { kept.widen(row, head, to) }
                to.cast_const()
            },
        )
    }
}
