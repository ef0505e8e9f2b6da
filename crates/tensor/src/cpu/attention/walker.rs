//! Some rows side by side, from the queries to the weighed values.
//!
//! The scores of a tile of keys lie turned: a row of the scratch is a key, its columns are query rows, as many as some vectors have lanes.
//! So keys and values are read where they lie, one number at a time for all of these query rows, nothing needs to be packed but the
//! queries, and maxima and sums are kept per lane. The heads of a group stand side by side as if they were rows.

use std::ops::Range;

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdUnaryOp};
use rten_vecmath::Tanh;

use super::block::{Block, Strip};
use super::product::{Left, multiply};
use super::store::{Form, Kept};
use super::{Outputs, Plan, scale};
use crate::cpu::gemm::{Real, Runs};
use crate::cpu::math::ExpOfNegative;
use crate::ops::Sequence;

/// A strip on its way along the keys. All of its memory has rows of `width` columns, one for each row of the strip.
pub(super) struct Walker<'a, I> {
    pub(super) isa: I,
    pub(super) plan: &'a Plan<'a>,
    pub(super) block: &'a Block,
    pub(super) strip: &'a Strip,
    pub(super) sequence: &'a Sequence,
    pub(super) width: usize,
    /// (head_dim, width)
    pub(super) query: *mut f32,
    /// The weighed values so far, not yet divided by the totals: (value_dim, width).
    pub(super) sums: *mut f32,
    /// The greatest score so far.
    pub(super) max: *mut f32,
    /// The sum of `exp(score - max)` so far.
    pub(super) total: *mut f32,
    // What follows is used by one walker at a time.
    /// (keys of a tile, width)
    pub(super) scores: *mut f32,
    /// (keys of a tile, width)
    pub(super) bias: *mut f32,
    /// Rows of queries, biases or results as they lie outside: (width, head_dim, value_dim or keys of a tile).
    pub(super) rows: *mut f32,
    /// Keys or values of a tile as float32, where they are kept otherwise: (keys of a tile, head_dim or value_dim).
    pub(super) kept: *mut f32,
    /// What sums so far are multiplied with for a greater `max`.
    pub(super) correction: *mut f32,
    /// The first key that is seen, and the first one that is not seen any more, counted from the tile's first.
    pub(super) from: *mut f32,
    pub(super) to: *mut f32,
}

impl<I: Isa> Walker<'_, I> {
    /// How many rows there are.
    fn count(&self) -> usize {
        self.strip.rows.len()
    }

    /// The query row within the sequence, and the head, of a column.
    fn row(&self, column: usize) -> (usize, usize) {
        let (row, group) = (self.strip.rows.start + column, self.plan.group());
        (row / group, self.block.kv_head * group + row % group)
    }

    /// The keys that the row of a column sees.
    fn visible(&self, column: usize) -> Range<usize> {
        self.plan.attention.mask.visible(self.sequence, self.row(column).0)
    }

    /// The keys that any of the rows sees.
    pub(super) fn seen(&self) -> Range<usize> {
        self.visible(0).start..self.visible(self.count() - 1).end
    }

    /// Loads the queries, scaled and turned; columns without a row are zero.
    #[inline(always)]
    pub(super) unsafe fn start(&self) {
        let (plan, len) = (self.plan, self.plan.head_dim);
        // SAFETY: the query has these rows; the parts have room for all columns.
        unsafe {
            for column in 0..self.count() {
                let (row, head) = self.row(column);
                let from = plan.query.at(self.sequence.start + row, head);
                scale(from, plan.query.strides[2], len, plan.attention.scale, self.rows.add(column * len));
            }
            fill(self.rows.add(self.count() * len), (self.width - self.count()) * len, 0.0);
            self.turn(self.rows, self.width, len, self.query);
            fill(self.max, self.width, f32::MIN);
            fill(self.total, self.width, 0.0);
            fill(self.sums, plan.value_dim * self.width, 0.0);
        }
    }

    /// Adds a tile of keys to the sums.
    #[inline(always)]
    pub(super) unsafe fn step(&self, tile: &Range<usize>) {
        let plan = self.plan;
        // SAFETY: the sequence has these keys.
        unsafe {
            self.score(tile);
            self.exponentials(tile.len());
            let (data, [step, row_stride]) = self.floats(&plan.value, tile);
            let values = Left { data, rows: plan.value_dim, row_stride, step };
            let (vectors, correction) = (self.strip.vectors, Some(self.correction.cast_const()));
            multiply(self.isa, vectors, values, self.scores, tile.len(), self.sums, correction);
        }
    }

    /// The scores of a tile of keys, all that is done to them included.
    #[inline(always)]
    unsafe fn score(&self, tile: &Range<usize>) {
        let (plan, ops) = (self.plan, self.isa.f32());
        // SAFETY: the sequence has these keys; the parts have this room.
        unsafe {
            let (data, [row_stride, step]) = self.floats(&plan.key, tile);
            let keys = Left { data, rows: tile.len(), row_stride, step };
            multiply(self.isa, self.strip.vectors, keys, self.query, plan.head_dim, self.scores, None);
            if let Some(cap) = plan.attention.softcap {
                let (cap, inverse) = (ops.splat(cap), ops.splat(1.0 / cap));
                for at in (0..tile.len() * self.width).step_by(ops.len()) {
                    let at = self.scores.add(at);
                    let capped = Tanh::apply(self.isa, ops.mul(ops.load_ptr(at), inverse));
                    ops.store_ptr(ops.mul(capped, cap), at);
                }
            }
            self.add_bias(tile);
            self.hide(tile);
        }
    }

    /// A tile of keys or values as float32, and how far apart its rows and their elements lie.
    #[inline(always)]
    unsafe fn floats(&self, kept: &Kept, tile: &Range<usize>) -> (*const f32, [isize; 2]) {
        let (first, head) = (self.sequence.key_start + tile.start, self.block.kv_head);
        if kept.form == Form::F32 {
            return (kept.at(first, head).cast(), kept.float_strides());
        }
        for i in 0..tile.len() {
            // SAFETY: the sequence has these keys; the part has room for all.
            unsafe { kept.widen(first + i, head, self.kept.add(i * kept.dim)) }
        }
        (self.kept, [kept.dim as isize, 1])
    }

    #[inline(always)]
    unsafe fn add_bias(&self, tile: &Range<usize>) {
        let Some(bias) = self.plan.biases.get(self.block.sequence) else { return };
        let (ops, stride, len) = (self.isa.f32(), bias.strides[2], tile.len());
        // SAFETY: the bias has these rows and keys, the parts have room for all columns.
        unsafe {
            for column in 0..self.count() {
                let (row, head) = self.row(column);
                let from = bias.at(head, row).offset(tile.start as isize * stride);
                scale(from, stride, len, 1.0, self.rows.add(column * len));
            }
            fill(self.rows.add(self.count() * len), (self.width - self.count()) * len, 0.0);
            self.turn(self.rows, self.width, len, self.bias);
            for at in (0..len * self.width).step_by(ops.len()) {
                let sum = ops.add(ops.load_ptr(self.scores.add(at)), ops.load_ptr(self.bias.add(at)));
                ops.store_ptr(sum, self.scores.add(at));
            }
        }
    }

    /// Makes the scores -∞ of keys that a row does not see.
    #[inline(always)]
    unsafe fn hide(&self, tile: &Range<usize>) {
        let (ops, last) = (self.isa.f32(), self.count() - 1);
        // What the last row starts to see and the first row ends to see, all rows see.
        if self.visible(last).start <= tile.start && tile.end <= self.visible(0).end {
            return;
        }
        // SAFETY: within the parts.
        unsafe {
            for column in 0..self.width {
                let visible = self.visible(column.min(last));
                *self.from.add(column) = visible.start.saturating_sub(tile.start) as f32;
                *self.to.add(column) = visible.end.saturating_sub(tile.start) as f32;
            }
            let hidden = ops.splat(f32::NEG_INFINITY);
            for at in (0..self.width).step_by(ops.len()) {
                let (from, to) = (ops.load_ptr(self.from.add(at)), ops.load_ptr(self.to.add(at)));
                for i in 0..tile.len() {
                    let (key, score) = (ops.splat(i as f32), self.scores.add(i * self.width + at));
                    let shown = ops.select(ops.load_ptr(score), hidden, ops.le(from, key));
                    ops.store_ptr(ops.select(shown, hidden, ops.lt(key, to)), score);
                }
            }
        }
    }

    /// Raises `max` to the greatest scores, replaces the scores by `exp(score - max)` and adds these up in `total`.
    #[inline(always)]
    unsafe fn exponentials(&self, keys: usize) {
        let (isa, ops) = (self.isa, self.isa.f32());
        for at in (0..self.width).step_by(ops.len()) {
            // SAFETY: within the parts.
            unsafe {
                let scores = self.scores.add(at);
                let old = ops.load_ptr(self.max.add(at));
                let mut max = old;
                for i in 0..keys {
                    max = ops.max(max, ops.load_ptr(scores.add(i * self.width)));
                }
                let correction = ExpOfNegative::apply(isa, ops.sub(old, max));
                let mut total = ops.mul(ops.load_ptr(self.total.add(at)), correction);
                for i in 0..keys {
                    let score = scores.add(i * self.width);
                    let p = ExpOfNegative::apply(isa, ops.sub(ops.load_ptr(score), max));
                    total = ops.add(total, p);
                    ops.store_ptr(p, score);
                }
                ops.store_ptr(max, self.max.add(at));
                ops.store_ptr(correction, self.correction.add(at));
                ops.store_ptr(total, self.total.add(at));
            }
        }
    }

    /// What a row's sums are to be multiplied with; nothing of a row that sees no key.
    #[inline(always)]
    unsafe fn share(&self, column: usize) -> f32 {
        // SAFETY: within the part.
        let total = unsafe { *self.total.add(column) };
        if total == 0.0 { 0.0 } else { 1.0 / total }
    }

    /// Turns the sums back.
    #[inline(always)]
    pub(super) unsafe fn store_context(&self, outputs: &Outputs) {
        let (plan, len) = (self.plan, self.plan.value_dim);
        // SAFETY: nobody else writes these rows of these heads.
        unsafe {
            self.turn(self.sums, len, self.width, self.rows);
            for column in 0..self.count() {
                let (row, head) = self.row(column);
                let to = outputs.context.add(((self.sequence.start + row) * plan.heads + head) * len);
                scale(self.rows.add(column * len), 1, len, self.share(column), to);
            }
        }
    }

    /// Computes the scores of a tile again, and from them and the greatest of all the probabilities.
    #[inline(always)]
    pub(super) unsafe fn store_probabilities(&self, tile: &Range<usize>, probabilities: *mut f32) {
        let (s, ops, len) = (self.sequence, self.isa.f32(), tile.len());
        // SAFETY: nobody else writes these rows of these heads.
        unsafe {
            self.score(tile);
            for at in (0..len * self.width).step_by(ops.len()) {
                let max = ops.load_ptr(self.max.add(at % self.width));
                let p = ExpOfNegative::apply(self.isa, ops.sub(ops.load_ptr(self.scores.add(at)), max));
                ops.store_ptr(p, self.scores.add(at));
            }
            self.turn(self.scores, len, self.width, self.rows);
            for column in 0..self.count() {
                let (row, head) = self.row(column);
                let to = probabilities.add((head * s.rows + row) * s.keys + tile.start);
                scale(self.rows.add(column * len), 1, len, self.share(column), to);
            }
        }
    }

    /// Turns a (rows, columns) matrix around.
    #[inline(always)]
    unsafe fn turn(&self, from: *const f32, rows: usize, columns: usize, to: *mut f32) {
        let runs =
            Runs { data: from, lanes: rows, lane_stride: columns as isize, inner: columns, inner_stride: 1 };
        // SAFETY: the caller answers for both; the level is one that the processor has.
        unsafe { (f32::kernel(self.plan.level).pack)(&runs, to, rows) }
    }
}

/// # Safety
/// `to` must be writable for `count` numbers.
#[inline(always)]
unsafe fn fill(to: *mut f32, count: usize, value: f32) {
    for i in 0..count {
        // SAFETY: as the caller promises.
        unsafe { *to.add(i) = value };
    }
}
