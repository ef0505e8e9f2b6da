//! Many rows of one sequence and one head of keys, from the queries to the weighed values.
//!
//! The scores of a tile of keys lie turned: a row of the scratch is a key, its columns are query rows, as many as some vectors have lanes.
//! So keys and values are read where they lie, one number at a time for all of these query rows, nothing needs to be packed but the
//! queries, and maxima and sums are kept per lane. The heads of a group stand side by side as if they were rows.

use std::ops::Range;

use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp, SimdUnaryOp};
use rten_vecmath::Tanh;
use smallvec::SmallVec;

use super::product::{Left, MAX_HELD, MAX_VECTORS, multiply};
use super::scratch::{LINE, Scratch};
use super::{Outputs, Plan, TASKS_PER_THREAD};
use crate::cpu::gemm::{Real, Runs};
use crate::cpu::level::Level;
use crate::cpu::math::ExpOfNegative;
use crate::cpu::simd::dispatch_at;
use crate::ops::Sequence;

/// Keys whose scores are held at a time: with queries and sums they stay in the first-level cache.
const TILE: usize = 64;
/// The most strips of a block: while a tile's keys and values are near, all of them meet it.
const MAX_STRIPS: usize = 4;

/// Some rows of one sequence and one head of keys. A row here is one head of the group at one query row: row `r` is head `r % group` of
/// query row `r / group`.
pub(super) struct Block {
    sequence: usize,
    kv_head: usize,
    strips: SmallVec<[Strip; MAX_STRIPS]>,
}

/// Rows that are computed side by side.
#[derive(Clone)]
struct Strip {
    rows: Range<usize>,
    /// How many vectors the rows fill.
    vectors: usize,
}

/// Cuts some sequences into enough blocks for all threads. Those of one head follow one another: they read the same keys.
pub(super) fn blocks(plan: &Plan, sequences: &[usize], lanes: usize, threads: usize) -> Vec<Block> {
    let vectors = |s: &Sequence| (s.rows * plan.group()).div_ceil(lanes);
    let all: usize = sequences.iter().map(|&index| vectors(&plan.sequences()[index])).sum();
    let per_task = all * plan.kv_heads / (threads * TASKS_PER_THREAD);
    let at_once = (per_task / MAX_VECTORS).clamp(1, MAX_STRIPS);
    let mut blocks = Vec::new();
    for &sequence in sequences {
        let s = &plan.sequences()[sequence];
        let rows = s.rows * plan.group();
        let count = vectors(s).div_ceil(MAX_VECTORS);
        // As equal as possible: 7 vectors are 3 + 2 + 2.
        let first = |strip: usize| (vectors(s) * strip).div_ceil(count) * lanes;
        let strip = |strip| {
            let (first, last) = (first(strip), first(strip + 1));
            Strip { rows: first..last.min(rows), vectors: (last - first) / lanes }
        };
        let strips: Vec<Strip> = (0..count).map(strip).collect();
        for kv_head in 0..plan.kv_heads {
            let block = |strips: &[Strip]| Block { sequence, kv_head, strips: strips.into() };
            blocks.extend(strips.chunks(at_once).map(block));
        }
    }
    blocks
}

/// The lanes of a level's vectors.
pub(super) fn lanes(level: Level) -> usize {
    struct Lanes;
    impl SimdOp for Lanes {
        type Output = usize;
        #[inline(always)]
        fn eval<I: Isa>(self, isa: I) -> usize {
            isa.f32().len()
        }
    }
    dispatch_at(level, Lanes)
}

impl Block {
    /// Computes the block's part of the results.
    ///
    /// # Safety
    /// The tensors of the plan must hold what its sequences name; nobody else may touch this block's part of the outputs.
    pub(super) unsafe fn run(&self, plan: &Plan, outputs: &Outputs, scratch: &mut Scratch) {
        struct Run<'a>(&'a Block, &'a Plan<'a>, &'a Outputs, &'a mut Scratch);
        impl SimdOp for Run<'_> {
            type Output = ();
            #[inline(always)]
            fn eval<I: Isa>(self, isa: I) {
                // SAFETY: as the caller promises.
                unsafe { walk(isa, self.0, self.1, self.2, self.3) }
            }
        }
        dispatch_at(plan.level, Run(self, plan, outputs, scratch));
    }
}

/// Walks along all keys of a block.
///
/// # Safety
/// As for [`Block::run`].
#[inline(always)]
unsafe fn walk<I: Isa>(isa: I, block: &Block, plan: &Plan, outputs: &Outputs, scratch: &mut Scratch) {
    let (head_dim, value_dim) = (plan.head_dim, plan.value_dim);
    let longest = head_dim.max(value_dim).max(TILE);
    let width = MAX_VECTORS * isa.f32().len();
    let own = head_dim + value_dim + MAX_HELD + 2;
    let sizes = [TILE + MAX_HELD, TILE, longest, 1, 1, 1, own * block.strips.len()];
    let [scores, bias, rows, correction, from, to, mut own_parts] =
        scratch.parts(sizes.map(|rows| rows * width));
    let mut walkers = SmallVec::<[Walker<I>; MAX_STRIPS]>::new();
    for strip in &block.strips {
        let width = strip.vectors * isa.f32().len();
        let mut part = |rows: usize| {
            let part = own_parts;
            own_parts = own_parts.wrapping_add(rows * width);
            part
        };
        let (query, sums, max, total) = (part(head_dim), part(value_dim + MAX_HELD), part(1), part(1));
        walkers.push(Walker {
            isa,
            plan,
            block,
            strip,
            width,
            query,
            scores,
            sums,
            bias,
            rows,
            max,
            total,
            correction,
            from,
            to,
            sequence: &plan.sequences()[block.sequence],
        });
    }
    let seen = walkers.iter().map(Walker::seen);
    let seen = seen.reduce(|a, b| a.start.min(b.start)..a.end.max(b.end)).unwrap_or(0..0);
    let fetch = |start: usize| fetch(isa, plan, block, start..(start + TILE).min(seen.end));
    fetch(seen.start);
    // SAFETY: the parts of the scratch have room for all that walkers do; for the rest the caller answers.
    unsafe {
        walkers.iter().for_each(|walker| walker.start());
        for start in seen.clone().step_by(TILE) {
            fetch(start + TILE);
            for walker in &walkers {
                let seen = walker.seen();
                let tile = start.max(seen.start)..(start + TILE).min(seen.end);
                if !tile.is_empty() {
                    walker.step(&tile);
                }
            }
        }
        walkers.iter().for_each(|walker| walker.store_context(outputs));
        let Some(&probabilities) = outputs.probabilities.get(block.sequence) else { return };
        for walker in &walkers {
            let seen = walker.seen();
            for start in seen.clone().step_by(TILE) {
                walker.store_probabilities(&(start..(start + TILE).min(seen.end)), probabilities);
            }
        }
    }
}

/// Asks for a tile of keys and values before it is needed: their rows lie too far apart for processors to do so by themselves.
#[inline(always)]
fn fetch<I: Isa>(isa: I, plan: &Plan, block: &Block, tile: Range<usize>) {
    let ops = isa.f32();
    let first = plan.sequences()[block.sequence].key_start;
    for (view, len) in [(&plan.key, plan.head_dim), (&plan.value, plan.value_dim)] {
        for key in tile.clone() {
            let row = view.at(first + key, block.kv_head);
            (0..len).step_by(LINE).for_each(
                #[inline(always)]
                |i| ops.prefetch(row.wrapping_add(i)),
            );
        }
    }
}

/// A strip on its way along the keys. All of its memory has rows of `width` columns, one for each row of the strip.
struct Walker<'a, I> {
    isa: I,
    plan: &'a Plan<'a>,
    block: &'a Block,
    strip: &'a Strip,
    sequence: &'a Sequence,
    width: usize,
    /// (head_dim, width)
    query: *mut f32,
    /// The weighed values so far, not yet divided by the totals: (value_dim, width).
    sums: *mut f32,
    /// The greatest score so far.
    max: *mut f32,
    /// The sum of `exp(score - max)` so far.
    total: *mut f32,
    // What follows is used by one walker at a time.
    /// (keys of a tile, width)
    scores: *mut f32,
    /// (keys of a tile, width)
    bias: *mut f32,
    /// Rows of queries, biases or results as they lie outside: (width, head_dim, value_dim or keys of a tile).
    rows: *mut f32,
    /// What sums so far are multiplied with for a greater `max`.
    correction: *mut f32,
    /// The first key that is seen, and the first one that is not seen any more, counted from the tile's first.
    from: *mut f32,
    to: *mut f32,
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
    fn seen(&self) -> Range<usize> {
        self.visible(0).start..self.visible(self.count() - 1).end
    }

    /// Loads the queries, scaled and turned; columns without a row are zero.
    #[inline(always)]
    unsafe fn start(&self) {
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
    unsafe fn step(&self, tile: &Range<usize>) {
        let plan = self.plan;
        // SAFETY: the sequence has these keys.
        unsafe {
            self.score(tile);
            self.exponentials(tile.len());
            let values = Left {
                data: plan.value.at(self.sequence.key_start + tile.start, self.block.kv_head),
                rows: plan.value_dim,
                row_stride: plan.value.strides[2],
                step: plan.value.strides[0],
            };
            let (vectors, correction) = (self.strip.vectors, Some(self.correction.cast_const()));
            multiply(self.isa, vectors, values, self.scores, tile.len(), self.sums, correction);
        }
    }

    /// The scores of a tile of keys, all that is done to them included.
    #[inline(always)]
    unsafe fn score(&self, tile: &Range<usize>) {
        let (plan, ops) = (self.plan, self.isa.f32());
        let keys = Left {
            data: plan.key.at(self.sequence.key_start + tile.start, self.block.kv_head),
            rows: tile.len(),
            row_stride: plan.key.strides[0],
            step: plan.key.strides[2],
        };
        // SAFETY: the sequence has these keys; the parts have this room.
        unsafe {
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
    unsafe fn store_context(&self, outputs: &Outputs) {
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
    unsafe fn store_probabilities(&self, tile: &Range<usize>, probabilities: *mut f32) {
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

/// `to = factor · from`
///
/// # Safety
/// `from` must be readable for `count` numbers `stride` apart, `to` writable for as many.
#[inline(always)]
unsafe fn scale(from: *const f32, stride: isize, count: usize, factor: f32, to: *mut f32) {
    // SAFETY: as the caller promises.
    unsafe {
        if stride == 1 {
            for i in 0..count {
                *to.add(i) = factor * *from.add(i);
            }
        } else {
            for i in 0..count {
                *to.add(i) = factor * *from.offset(i as isize * stride);
            }
        }
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
