//! Attention without ever holding all scores (Dao et al. 2022): rows walk along their keys tile by tile, and correct what they have summed
//! when a greater score turns up.
//!
//! Many rows go in [`block::Block`]s, which are made of multiplications; where there are but a few, as when decoding, reading the keys is the
//! work, and they go in [`stretch::Stretch`]es.

mod block;
mod near;
mod product;
mod read;
mod store;
mod stretch;
#[cfg(test)]
mod tests;
mod walker;

use store::Kept;
pub(super) use store::store_rows;

use crate::cpu::level::Level;
use crate::cpu::scratch;
use crate::ops::{Attention, Sequence};
use crate::{Result, Tensor, pool, team};

/// Fewer multiplications than this are done on the calling thread: waking another costs more.
const PARALLEL_FROM: usize = 1 << 15;
/// So many tasks per thread are enough for all threads to end at about the same time.
const TASKS_PER_THREAD: usize = 4;

/// See [`crate::Backend::attention`].
pub(super) fn attention(out: &Tensor, attention: &Attention) -> Result<Option<Vec<Tensor>>> {
    attention_at(Level::current(), out, attention)
}

/// [`attention`] with the vectors of a level.
fn attention_at(level: Level, out: &Tensor, attention: &Attention) -> Result<Option<Vec<Tensor>>> {
    let sequences = attention.ragged.sequences();
    let (query, key, value) = (attention.query, attention.key, attention.value);
    let heads = query.shape()[1];
    let whole = |(bias, s): (&Tensor, &Sequence)| bias.expand(&[heads, s.rows, s.keys]);
    let biases: Vec<Tensor> =
        attention.bias.unwrap_or(&[]).iter().zip(sequences).map(whole).collect::<Result<_>>()?;
    let plan = Plan {
        level,
        attention,
        query: View::of(query),
        key: Kept::of(key),
        value: Kept::of(value),
        biases: biases.iter().map(View::of).collect(),
        heads,
        kv_heads: key.shape()[1],
        head_dim: query.shape()[2],
        value_dim: Kept::of(value).dim,
    };
    let empty = |s: &Sequence| Tensor::zeros(&[heads, s.rows, s.keys]);
    let probabilities: Option<Vec<Tensor>> =
        attention.probabilities.then(|| sequences.iter().map(empty).collect()).transpose()?;
    let places = probabilities.iter().flatten().map(|p| p.as_ptr().cast_mut().cast()).collect();
    let outputs = Outputs { context: out.as_ptr().cast_mut().cast(), probabilities: places };
    let is_small = plan.multiplications() < PARALLEL_FROM;
    plan.run(&outputs, if is_small { 1 } else { pool::num_threads() })?;
    Ok(probabilities)
}

/// A tensor of float32 as a kernel sees it.
#[derive(Clone, Copy)]
struct View {
    data: *const f32,
    strides: [isize; 3],
}

// SAFETY: only read, while the tensor lives.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    fn of(tensor: &Tensor) -> View {
        let mut strides = [0; 3];
        strides.copy_from_slice(tensor.layout().strides());
        View { data: tensor.as_ptr().cast(), strides }
    }

    /// The element at `[i, j, 0]`, which must be there to be read.
    fn at(&self, i: usize, j: usize) -> *const f32 {
        self.data.wrapping_offset(i as isize * self.strides[0] + j as isize * self.strides[1])
    }
}

/// Where results go.
struct Outputs {
    /// (rows, heads, value_dim)
    context: *mut f32,
    /// One (heads, rows, keys) per sequence, zeroed, or none at all.
    probabilities: Vec<*mut f32>,
}

// SAFETY: tasks write to different places.
unsafe impl Send for Outputs {}
// SAFETY: as above.
unsafe impl Sync for Outputs {}

/// What all tasks of one attention share.
struct Plan<'a> {
    level: Level,
    attention: &'a Attention<'a>,
    query: View,
    key: Kept,
    value: Kept,
    /// (heads, rows, keys) for every sequence, or none at all.
    biases: Vec<View>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    value_dim: usize,
}

impl Plan<'_> {
    fn sequences(&self) -> &[Sequence] {
        self.attention.ragged.sequences()
    }

    /// How many heads share a head of key and value.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn multiplications(&self) -> usize {
        let pairs =
            self.sequences().iter().map(|s| s.rows.saturating_mul(s.keys)).fold(0, usize::saturating_add);
        pairs.saturating_mul(self.heads * (self.head_dim + self.value_dim))
    }

    /// Does all of the work on so many threads.
    fn run(&self, outputs: &Outputs, threads: usize) -> Result<()> {
        let lanes = block::lanes(self.level);
        let is_decoding = |s: &Sequence| {
            let few = s.rows * self.group() <= lanes / 4;
            few && outputs.probabilities.is_empty() && self.key.is_near() && self.value.is_near()
        };
        let some = |decoding: bool| {
            let sequences = self.sequences().iter().enumerate();
            sequences.filter(move |(_, s)| is_decoding(s) == decoding).map(|(index, _)| index)
        };
        let blocks = block::blocks(self, some(false), lanes, threads);
        stretch::with(self, some(true), |stretches| {
            let work = |index: usize| {
                scratch::with(|scratch| {
                    // SAFETY: the operation has checked that the tensors hold what the sequences name; no two tasks write to one place.
                    unsafe {
                        match blocks.get(index) {
                            Some(block) => block.run(self, outputs, scratch),
                            None => stretches.run(index - blocks.len(), scratch),
                        }
                    }
                });
            };
            let tasks = blocks.len() + stretches.len();
            match threads {
                1 => team::alone(tasks, work)?,
                _ => team::for_each(tasks, work)?,
            }
            // SAFETY: the work is done.
            unsafe { stretches.merge(outputs) }
            Ok(())
        })
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
