//! Decoding: so few rows that reading keys and values is the work. A task reads a stretch of the keys of one sequence, all heads of a key
//! as they lie in memory; what the stretches of a sequence have summed is put together afterwards.

use std::cell::Cell;
use std::ops::Range;

use rten_simd::ops::BitOps;
use rten_simd::{Isa, SimdOp, SimdUnaryOp};

use super::read::Read;
use super::{Outputs, Plan};
use crate::cpu::math::ExpOfNegative;
use crate::cpu::scratch::{self, Scratch};
use crate::cpu::simd::dispatch_at;

/// Keys whose scores are held at a time.
pub(super) const TILE: usize = 64;
/// Fewer keys than this are not cut: each stretch begins with queries to be laid out and memory to be waited for.
const LEAST: usize = 2 * TILE;
/// The most stretches of a sequence. How many there are must not depend on the threads, or results would.
const MAX_STRETCHES: usize = 32;

/// Some keys of one sequence.
pub(super) struct Stretch {
    pub(super) sequence: usize,
    pub(super) keys: Range<usize>,
    /// Where its partial result is: for every row the greatest score, the sum of `exp(score - greatest)`, and the values weighed with
    /// these, (rows, 2 + value_dim).
    partial: usize,
}

impl Stretch {
    /// The keys from `start` on whose scores are held at a time.
    #[inline(always)]
    pub(super) fn tile(&self, start: usize) -> Range<usize> {
        start..(start + TILE).min(self.keys.end)
    }
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
        let length = seen.len().div_ceil(MAX_STRETCHES).max(LEAST).next_multiple_of(TILE);
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
    pub(super) fn partial_width(&self) -> usize {
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
        struct Merge<'a>(&'a Stretches<'a>, &'a Outputs);
        impl SimdOp for Merge<'_> {
            type Output = ();
            #[inline(always)]
            fn eval<I: Isa>(self, isa: I) {
                for of_one in self.0.all.chunk_by(|one, other| one.sequence == other.sequence) {
                    // SAFETY: as the caller promises.
                    unsafe { self.0.merge_one(isa, of_one, self.1) }
                }
            }
        }
        dispatch_at(self.plan.level, Merge(self, outputs));
    }

    /// [`Self::merge`] for the stretches of one sequence.
    #[inline(always)]
    unsafe fn merge_one<I: Isa>(&self, isa: I, stretches: &[Stretch], outputs: &Outputs) {
        let (plan, width, ops) = (self.plan, self.plan.partial_width(), isa.f32());
        let s = &plan.sequences()[stretches[0].sequence];
        for row in 0..s.rows * plan.heads {
            // SAFETY: so long is each part.
            let part = |stretch: &Stretch| unsafe {
                std::slice::from_raw_parts(self.partials.add(stretch.partial + row * width), width)
            };
            let max = stretches.iter().map(|stretch| part(stretch)[0]).fold(f32::MIN, f32::max);
            let mut weights = [f32::MIN; MAX_STRETCHES];
            for (weight, stretch) in weights.iter_mut().zip(stretches) {
                *weight = part(stretch)[0] - max;
            }
            for some in weights.chunks_exact_mut(ops.len()) {
                // SAFETY: there are as many as in a vector.
                unsafe {
                    let weight = ExpOfNegative::apply(isa, ops.load_ptr(some.as_ptr()));
                    ops.store_ptr(weight, some.as_mut_ptr());
                }
            }
            let totals = stretches.iter().zip(&weights).map(|(stretch, weight)| part(stretch)[1] * weight);
            let total: f32 = totals.sum();
            let share = if total == 0.0 { 0.0 } else { 1.0 / total };
            let first = (s.start * plan.heads + row) * plan.value_dim;
            // SAFETY: as the caller promises; any bits are a float.
            let to = unsafe {
                outputs.context.add(first).write_bytes(0, plan.value_dim);
                std::slice::from_raw_parts_mut(outputs.context.add(first), plan.value_dim)
            };
            for (weight, stretch) in weights.iter().zip(stretches) {
                let weight = share * weight;
                for (to, sum) in to.iter_mut().zip(&part(stretch)[2..]) {
                    *to += weight * sum;
                }
            }
        }
    }
}
