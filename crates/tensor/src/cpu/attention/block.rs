//! Many rows of one sequence and one head of keys: strips of them meet a tile of keys and values while it is near.

use std::ops::Range;

use rten_simd::ops::BitOps;
use rten_simd::{Isa, SimdOp};
use smallvec::SmallVec;

use super::product::{MAX_HELD, MAX_VECTORS};
use super::walker::Walker;
use super::{Outputs, Plan, TASKS_PER_THREAD};
use crate::cpu::level::Level;
use crate::cpu::scratch::Scratch;
use crate::cpu::simd::{self, dispatch_at};
use crate::ops::Sequence;

/// Keys whose scores are held at a time: with queries and sums they stay in the first-level cache.
const TILE: usize = 64;
/// The most strips of a block: while a tile's keys and values are near, all of them meet it.
const MAX_STRIPS: usize = 4;

/// Some rows of one sequence and one head of keys. A row here is one head of the group at one query row: row `r` is head `r % group` of
/// query row `r / group`.
pub(super) struct Block {
    pub(super) sequence: usize,
    pub(super) kv_head: usize,
    strips: SmallVec<[Strip; MAX_STRIPS]>,
}

/// Rows that are computed side by side.
#[derive(Clone)]
pub(super) struct Strip {
    pub(super) rows: Range<usize>,
    /// How many vectors the rows fill.
    pub(super) vectors: usize,
}

/// Cuts some sequences into enough blocks for all threads. Those of one head follow one another: they read the same keys.
pub(super) fn blocks(
    plan: &Plan,
    sequences: impl Iterator<Item = usize> + Clone,
    lanes: usize,
    threads: usize,
) -> Vec<Block> {
    let vectors = |s: &Sequence| (s.rows * plan.group()).div_ceil(lanes);
    let all: usize = sequences.clone().map(|index| vectors(&plan.sequences()[index])).sum();
    let per_task = all * plan.kv_heads / (threads * TASKS_PER_THREAD);
    let at_once = (per_task / MAX_VECTORS).clamp(1, MAX_STRIPS);
    let mut blocks = Vec::new();
    for sequence in sequences {
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
    let [a, b, c, d, e, f, g] = sizes.map(|rows| rows * width);
    let [scores, bias, rows, correction, from, to, mut own_parts, kept] =
        scratch.parts([a, b, c, d, e, f, g, TILE * head_dim.max(value_dim)]);
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
            kept,
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
    let first = plan.sequences()[block.sequence].key_start;
    for kept in [&plan.key, &plan.value] {
        for key in tile.clone() {
            simd::fetch(isa, kept.at(first + key, block.kv_head), kept.head_bytes());
        }
    }
}
