//! The left side of a product with blocks: integers of 16 bits with a scale for some of them, so that products are of integers.
//!
//! ggml's `Q8_1` has 8 bits. With 1 of 127 steps that is an error that can be seen: of ten texts that SmolLM2 writes in 64 tokens, one was
//! not what it writes with its blocks as floats.

use std::cell::Cell;

use super::Left;
use crate::cpu::math::ROUNDS;
use crate::cpu::simd::vectorized;
use crate::quant::{GROUP, RUN};
use crate::{Result, team};

/// Elements that share a scale.
pub(super) const SHARED: usize = 32;
/// The greatest code: its high byte is 127, its low byte 0.
const MOST: f32 = 127.0 * 256.0;
/// What is smaller is zero: its inverse would not be finite.
const LEAST: f32 = 1e-30;

/// Fewer elements than this are rounded on the calling thread: sharing them costs as much.
const PARALLEL_FROM: usize = 4 << 10;
/// Runs that a task rounds.
const AT_ONCE: usize = 8;

/// A run of a row, filled up with zeros: element `i` is `scales[i / SHARED] * codes[i]`.
pub(super) struct Rounded {
    pub(super) codes: [i16; RUN],
    pub(super) scales: [f32; RUN / SHARED],
    /// The sum of each group, scaled.
    pub(super) sums: [f32; RUN / GROUP],
}

impl Rounded {
    const ZERO: Rounded = Rounded { codes: [0; RUN], scales: [0.0; RUN / SHARED], sums: [0.0; RUN / GROUP] };

    /// Up to [`RUN`] elements, rounded. For work that is [`vectorized`].
    #[inline(always)]
    fn of(x: &[f32]) -> Rounded {
        match x.first_chunk() {
            Some(x) => Rounded::whole(x),
            None => {
                let mut all = [0.0; RUN];
                all[..x.len()].copy_from_slice(x);
                Rounded::whole(&all)
            }
        }
    }

    #[inline(always)]
    fn whole(x: &[f32; RUN]) -> Rounded {
        let mut rounded = Rounded::ZERO;
        for (share, x) in x.as_chunks::<SHARED>().0.iter().enumerate() {
            // As whole numbers, which magnitudes are ordered like: nan is the greatest.
            let mut most = 0;
            for x in x {
                most = most.max(x.to_bits() & !(1 << 31));
            }
            let most = f32::from_bits(most);
            let (scale, inverse) = if most < LEAST { (0.0, 0.0) } else { (most / MOST, MOST / most) };
            // Here and not in place, so that the compiler sees that nothing else is written.
            let mut codes = [0; SHARED];
            for i in 0..SHARED {
                codes[i] = (x[i] * inverse + ROUNDS).to_bits() as i16;
            }
            rounded.codes.as_chunks_mut().0[share] = codes;
            rounded.scales[share] = scale;
            for (group, codes) in codes.as_chunks::<GROUP>().0.iter().enumerate() {
                let mut total = 0;
                for code in codes {
                    total += i32::from(*code);
                }
                rounded.sums[SHARED / GROUP * share + group] = scale * total as f32;
            }
        }
        rounded
    }
}

/// The same in the form of the kernel of blocks.
#[repr(C, align(64))]
pub(super) struct Split {
    /// The codes' high bytes, `code = 256 * high + low`, and their low bytes, both signed.
    pub(super) bytes: [[u8; RUN]; 2],
    /// See [`Rounded::sums`]; those of each two groups follow.
    pub(super) sums: [f32; RUN / GROUP],
    pub(super) sums_of_two: [f32; RUN / GROUP / 2],
    pub(super) scales: [f32; RUN / SHARED],
}

impl Split {
    const ZERO: Split = Split {
        bytes: [[0; RUN]; 2],
        sums: [0.0; RUN / GROUP],
        sums_of_two: [0.0; RUN / GROUP / 2],
        scales: [0.0; RUN / SHARED],
    };

    /// For work that is [`vectorized`].
    #[inline(always)]
    fn put(&mut self, run: &Rounded) {
        let [high, low] = &mut self.bytes;
        for i in 0..RUN {
            high[i] = ((run.codes[i] + 128) >> 8) as u8;
            low[i] = run.codes[i] as u8;
        }
        self.sums = run.sums;
        for (to, [one, other]) in self.sums_of_two.iter_mut().zip(run.sums.as_chunks().0) {
            *to = one + other;
        }
        self.scales = run.scales;
    }
}

/// The heights of tiles.
const HEIGHTS: [usize; 4] = [1, 2, 4, 8];

/// Rows that are multiplied at once.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    pub(super) first: usize,
    pub(super) rows: usize,
    /// With those beyond the last row, which hold anything.
    pub(super) height: usize,
}

/// Rows of the left side as integers.
#[derive(Default)]
pub(super) struct Activations {
    /// How many runs a row has.
    pub(super) runs: usize,
    /// All runs of the first row, all of the next, and so on; empty where there are tiles.
    pub(super) rounded: Vec<Rounded>,
    /// Empty where there are no tiles.
    pub(super) strips: Vec<Strip>,
    /// The first run of all strips' rows, the next one of them, and so on: what is multiplied with the same weights lies together.
    split: Vec<Split>,
}

impl Activations {
    /// Rounds the rows of `left` and lets `work` use them, in tiles or one by one. They lie in memory of this thread, which is kept for
    /// the next ones.
    ///
    /// # Errors
    /// `Threads` when there are none to be had, or what `work` says.
    pub(super) fn with<R>(
        left: Left,
        in_tiles: bool,
        work: impl FnOnce(&Activations) -> Result<R>,
    ) -> Result<R> {
        thread_local! {
            static OWN: Cell<Option<Activations>> = const { Cell::new(None) };
        }
        let mut own = OWN.take().unwrap_or_default();
        own.runs = left.columns.div_ceil(RUN);
        own.rounded.clear();
        own.strips.clear();
        let filled = if in_tiles { own.fill_tiles(left) } else { own.fill_rounded(left) };
        let result = filled.and_then(|()| work(&own));
        OWN.set(Some(own));
        result
    }

    /// The tiles of a strip, one for each run.
    pub(super) fn tiles<const HEIGHT: usize>(&self, strip: &Strip) -> impl Iterator<Item = &[Split; HEIGHT]> {
        let rows = self.height().max(1);
        self.split[..self.runs * rows]
            .chunks_exact(rows)
            .filter_map(move |run| run[strip.first..].first_chunk())
    }

    /// The rows of all strips.
    fn height(&self) -> usize {
        self.strips.last().map_or(0, |last| last.first + last.height)
    }

    fn fill_rounded(&mut self, left: Left) -> Result<()> {
        self.rounded.resize_with(left.rows * self.runs, || Rounded::ZERO);
        let one = |row: usize, to: &mut [Rounded]| {
            vectorized(
                #[inline(always)]
                || {
                    for (to, x) in to.iter_mut().zip(left.row(row).chunks(RUN)) {
                        *to = Rounded::of(x);
                    }
                },
            );
        };
        team::for_each_chunk(&mut self.rounded, self.runs, one)
    }

    fn fill_tiles(&mut self, left: Left) -> Result<()> {
        let mut first = 0;
        while first < left.rows {
            let [.., most] = HEIGHTS;
            let rows = most.min(left.rows - first);
            // Five rows are four and one, six or seven are eight.
            let is_nearly = |height: &usize| rows <= *height || rows == height + 1 && *height > 2;
            let height = HEIGHTS.into_iter().find(is_nearly).unwrap_or(most);
            let rows = rows.min(height);
            self.strips.push(Strip { first, rows, height });
            first += rows;
        }
        let rows = self.height();
        let count = self.runs * rows;
        if self.split.len() < count {
            self.split.resize_with(count, || Split::ZERO);
        }
        let fill = |chunk: usize, to: &mut [Split]| {
            vectorized(
                #[inline(always)]
                || {
                    for (i, to) in to.iter_mut().enumerate() {
                        let (run, row) = ((chunk * AT_ONCE + i) / rows, (chunk * AT_ONCE + i) % rows);
                        if row < left.rows {
                            let x = &left.row(row)[run * RUN..];
                            to.put(&Rounded::of(&x[..x.len().min(RUN)]));
                        }
                    }
                },
            );
        };
        let split = &mut self.split[..count];
        if count * RUN < PARALLEL_FROM {
            split.chunks_mut(AT_ONCE).enumerate().for_each(|(chunk, to)| fill(chunk, to));
            return Ok(());
        }
        team::for_each_chunk(split, AT_ONCE, fill)
    }
}
