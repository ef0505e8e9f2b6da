//! A stretch of keys being read, by the few rows that look at it: each key and value that was read is used for several of them.

use std::ops::Range;

use half::f16;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdUnaryOp};
use rten_vecmath::Tanh;

use super::near::{Ahead, Heads, Near, Widened};
use super::store::Form;
use super::stretch::{Stretch, TILE};
use super::{Plan, scale};
use crate::cpu::math::ExpOfNegative;
use crate::cpu::scratch::Scratch;
use crate::cpu::simd;
use crate::cpu::stored::Stored;
use crate::ops::Sequence;

/// Keys that are multiplied side by side: sums that do not wait for one another.
const TOGETHER: usize = 4;
/// Values that are added up before sums go back to memory.
pub(super) const AT_ONCE: usize = 16;
/// Rows that a key that was read is used for at once.
const MAX_ROWS: usize = 4;

/// A stretch being read. A row here is a head at a query row; those that look at one head of keys follow one another: row `r` is of that
/// of number `r / together`, where it is head `r % group` of the group at query row `r % together / group`.
pub(super) struct Read<'a, I> {
    isa: I,
    stretch: &'a Stretch,
    plan: &'a Plan<'a>,
    pub(super) sequence: &'a Sequence,
    /// How many rows look at one head of keys.
    together: usize,
    /// The elements of queries and sums in the scratch, filled up with zeros to whole vectors.
    pub(super) head_width: usize,
    pub(super) value_width: usize,
    /// (rows, head_width), scaled.
    query: *mut f32,
    /// (rows, TILE)
    scores: *mut f32,
    /// (rows, value_width)
    sums: *mut f32,
    max: *mut f32,
    /// In lanes, which are added up in the end: (rows, lanes of a vector).
    total: *mut f32,
    /// (AT_ONCE, the greater of both widths)
    pub(super) widened: *mut f32,
}

impl<'a, I: Isa> Read<'a, I> {
    #[inline(always)]
    pub(super) fn new(isa: I, stretch: &'a Stretch, plan: &'a Plan, scratch: &mut Scratch) -> Read<'a, I> {
        let step = 2 * isa.f32().len();
        let sequence = &plan.sequences()[stretch.sequence];
        let together = sequence.rows * plan.group();
        let rows = sequence.rows * plan.heads;
        let (head_width, value_width) =
            (plan.head_dim.next_multiple_of(step), plan.value_dim.next_multiple_of(step));
        let near = AT_ONCE * head_width.max(value_width);
        let [query, scores, sums, max, total, widened] = scratch.parts([
            rows * head_width,
            rows * TILE,
            rows * value_width,
            rows,
            rows * isa.f32().len(),
            near,
        ]);
        Read {
            isa,
            stretch,
            plan,
            sequence,
            together,
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

    fn rows(&self) -> usize {
        self.together * self.plan.kv_heads
    }

    /// The query row within the sequence, and the head, of a row.
    #[inline(always)]
    fn place(&self, row: usize) -> (usize, usize) {
        let (group, kv_head, row) = (self.plan.group(), row / self.together, row % self.together);
        (row / group, kv_head * group + row % group)
    }

    /// Sums the stretch up and writes the partial result.
    ///
    /// # Safety
    /// As for [`super::stretch::Stretches::run`]; `partial` must have room for it.
    #[inline(always)]
    pub(super) unsafe fn run(&self, partial: *mut f32) {
        let (plan, ops) = (self.plan, self.isa.f32());
        let lanes = ops.len();
        let mut ahead = Ahead::new(self.isa, plan, self.stretch);
        // SAFETY: the parts of the scratch have room for all rows.
        unsafe {
            for row in 0..self.rows() {
                let (query_row, head) = self.place(row);
                let query = plan.query.at(self.sequence.start + query_row, head);
                let to = self.query.add(row * self.head_width);
                scale(query, plan.query.strides[2], plan.head_dim, plan.attention.scale, to);
                to.add(plan.head_dim).write_bytes(0, self.head_width - plan.head_dim);
                self.sums.add(row * self.value_width).write_bytes(0, self.value_width);
                *self.max.add(row) = f32::MIN;
                self.total.add(row * lanes).write_bytes(0, lanes);
            }
            let keys = &self.stretch.keys;
            for start in keys.clone().step_by(TILE) {
                let tile = self.stretch.tile(start);
                self.score(&tile, &mut ahead);
                for row in 0..self.rows() {
                    self.adjust(&tile, row);
                    self.exponentials(row);
                }
                self.weigh(&tile, &mut ahead);
            }
            for row in 0..self.rows() {
                let (query_row, head) = self.place(row);
                let to = partial.add((query_row * plan.heads + head) * plan.partial_width());
                to.write(*self.max.add(row));
                to.add(1).write(ops.sum(ops.load_ptr(self.total.add(row * lanes))));
                let sums = self.sums.add(row * self.value_width);
                sums.copy_to_nonoverlapping(to.add(2), plan.value_dim);
            }
        }
    }

    /// The products of queries and keys.
    #[inline(always)]
    unsafe fn score(&self, tile: &Range<usize>, ahead: &mut Ahead) {
        // SAFETY: as for the form's own.
        unsafe {
            match self.plan.key.form {
                Form::F32 => self.score_as::<f32>(tile, ahead),
                Form::F16 => self.score_as::<f16>(tile, ahead),
                Form::Int8 => self.score_as::<Widened>(tile, ahead),
            }
        }
    }

    #[inline(always)]
    unsafe fn score_as<T: Near>(&self, tile: &Range<usize>, ahead: &mut Ahead) {
        for first in tile.clone().step_by(TOGETHER) {
            let some = first..(first + TOGETHER).min(tile.end);
            for kv_head in 0..self.plan.kv_heads {
                ahead.fetch(self.isa, TOGETHER * self.plan.key.head_bytes());
                // SAFETY: the keys are there; the parts have room for the rows.
                unsafe {
                    let keys = T::heads(self, &self.plan.key, &some, kv_head);
                    let to = self.scores.wrapping_add(first - tile.start);
                    let end = (kv_head + 1) * self.together;
                    for row in (end - self.together..end).step_by(MAX_ROWS) {
                        match end - row {
                            1 => self.dots::<T::Stored, 1>(&keys, row, to),
                            2 => self.dots::<T::Stored, 2>(&keys, row, to),
                            3 => self.dots::<T::Stored, 3>(&keys, row, to),
                            _ => self.dots::<T::Stored, 4>(&keys, row, to),
                        }
                    }
                }
            }
        }
    }

    /// Writes the products of some keys with the `R` rows from `row` on to `to` and further on, (rows, TILE): each key is read once for all
    /// of these rows. Beyond the last key that one again.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // Iterators over arrays of vectors are not always compiled away.
    unsafe fn dots<T: Stored, const R: usize>(&self, keys: &Heads<T>, row: usize, to: *mut f32) {
        let (isa, ops, len) = (self.isa, self.isa.f32(), self.plan.head_dim);
        let step = 2 * ops.len();
        let whole = len / step * step;
        let from: [*const T; TOGETHER] = std::array::from_fn(
            #[inline(always)]
            |j| keys.at(j.min(keys.count - 1)),
        );
        let mut sums = [[ops.zero(); TOGETHER]; R];
        // SAFETY: as the caller promises; queries are filled up with zeros.
        unsafe {
            for at in (0..len).step_by(step) {
                let mut k = [[ops.zero(); 2]; TOGETHER];
                for j in 0..TOGETHER {
                    k[j] = if at < whole {
                        T::load(isa, from[j].add(at))
                    } else {
                        T::load_some(isa, from[j].add(at), len - at)
                    };
                }
                for r in 0..R {
                    let query = self.query.add((row + r) * self.head_width + at);
                    let q = [ops.load_ptr(query), ops.load_ptr(query.add(ops.len()))];
                    for j in 0..TOGETHER {
                        sums[r][j] = ops.mul_add(q[0], k[j][0], sums[r][j]);
                        sums[r][j] = ops.mul_add(q[1], k[j][1], sums[r][j]);
                    }
                }
            }
            for r in 0..R {
                let to = to.add((row + r) * TILE).cast::<[f32; TOGETHER]>();
                to.write_unaligned(simd::sums(isa, sums[r]));
            }
        }
    }

    /// What is done to scores beside scaling them. The scores of keys that the row does not see become -∞.
    #[inline(always)]
    unsafe fn adjust(&self, tile: &Range<usize>, row: usize) {
        let (plan, ops) = (self.plan, self.isa.f32());
        let (query_row, head) = self.place(row);
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
                let from = bias.at(head, query_row);
                let from = from.offset(tile.start as isize * bias.strides[2]);
                (0..tile.len()).for_each(|i| *scores.add(i) += *from.offset(i as isize * bias.strides[2]));
            }
            let visible = plan.attention.mask.visible(self.sequence, query_row);
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
            let old = *self.max.add(row);
            let mut max = ops.splat(old);
            for at in (0..TILE).step_by(ops.len()) {
                max = ops.max(max, ops.load_ptr(scores.add(at)));
            }
            let greatest = simd::greatest(isa, max);
            let max = ops.splat(greatest);
            let total = self.total.add(row * ops.len());
            let mut sum = ops.load_ptr(total);
            if greatest > old {
                let correction = ExpOfNegative::apply(isa, ops.sub(ops.splat(old), max));
                sum = ops.mul(sum, correction);
                let sums = self.sums.add(row * self.value_width);
                for at in (0..self.value_width).step_by(ops.len()) {
                    ops.store_ptr(ops.mul(ops.load_ptr(sums.add(at)), correction), sums.add(at));
                }
                *self.max.add(row) = greatest;
            }
            for at in (0..TILE).step_by(ops.len()) {
                let p = ExpOfNegative::apply(isa, ops.sub(ops.load_ptr(scores.add(at)), max));
                sum = ops.add(sum, p);
                ops.store_ptr(p, scores.add(at));
            }
            ops.store_ptr(sum, total);
        }
    }

    /// Adds the weighed values up.
    #[inline(always)]
    unsafe fn weigh(&self, tile: &Range<usize>, ahead: &mut Ahead) {
        // SAFETY: as for the form's own.
        unsafe {
            match self.plan.value.form {
                Form::F32 => self.weigh_as::<f32>(tile, ahead),
                Form::F16 => self.weigh_as::<f16>(tile, ahead),
                Form::Int8 => self.weigh_as::<Widened>(tile, ahead),
            }
        }
    }

    #[inline(always)]
    unsafe fn weigh_as<T: Near>(&self, tile: &Range<usize>, ahead: &mut Ahead) {
        for first in tile.clone().step_by(AT_ONCE) {
            let some = first..(first + AT_ONCE).min(tile.end);
            for kv_head in 0..self.plan.kv_heads {
                ahead.fetch(self.isa, AT_ONCE * self.plan.value.head_bytes());
                // SAFETY: the values are there; the parts have room for the rows.
                unsafe {
                    let values = T::heads(self, &self.plan.value, &some, kv_head);
                    let weights = self.scores.wrapping_add(first - tile.start);
                    let end = (kv_head + 1) * self.together;
                    for row in (end - self.together..end).step_by(MAX_ROWS) {
                        match end - row {
                            1 => self.add::<T::Stored, 1>(&values, row, weights),
                            2 => self.add::<T::Stored, 2>(&values, row, weights),
                            3 => self.add::<T::Stored, 3>(&values, row, weights),
                            _ => self.add::<T::Stored, 4>(&values, row, weights),
                        }
                    }
                }
            }
        }
    }

    /// Adds some values, weighed for each of the `R` rows from `row` on with `weights` and what is further on, (rows, TILE), to the sums.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)] // As above.
    unsafe fn add<T: Stored, const R: usize>(&self, values: &Heads<T>, row: usize, weights: *const f32) {
        let (isa, ops, len) = (self.isa, self.isa.f32(), self.plan.value_dim);
        let step = 2 * ops.len();
        // SAFETY: as the caller promises; sums have room for whole steps.
        unsafe {
            let weights = weights.add(row * TILE);
            for at in (0..len).step_by(step) {
                let to = self.sums.add(row * self.value_width + at);
                let mut sums = [[ops.zero(); 2]; R];
                for r in 0..R {
                    for half in 0..2 {
                        sums[r][half] = ops.load_ptr(to.add(r * self.value_width + half * ops.len()));
                    }
                }
                for j in 0..values.count {
                    let from = values.at(j).add(at);
                    let v =
                        if at + step <= len { T::load(isa, from) } else { T::load_some(isa, from, len - at) };
                    for r in 0..R {
                        let p = ops.splat(*weights.add(r * TILE + j));
                        for half in 0..2 {
                            sums[r][half] = ops.mul_add(p, v[half], sums[r][half]);
                        }
                    }
                }
                for r in 0..R {
                    for half in 0..2 {
                        ops.store_ptr(sums[r][half], to.add(r * self.value_width + half * ops.len()));
                    }
                }
            }
        }
    }
}
