//! The left side of a product with blocks: integers of 16 bits with a scale for some of them, so that products are of integers.
//!
//! ggml's `Q8_1` has 8 bits. With 1 of 127 steps that is an error that can be seen: of ten texts that SmolLM2 writes in 64 tokens, one was
//! not what it writes with its blocks as floats.

use std::cell::Cell;

use super::Left;
use crate::cpu::math::ROUNDS;
use crate::cpu::scratch::Aligned;
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
const PARALLEL_FROM: usize = 32 << 10;

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

/// Runs of as many rows as a tile is high, side by side: what is multiplied with the same weights lies together.
#[repr(C, align(64))]
pub(super) struct Tile<const HEIGHT: usize> {
    /// The codes' high bytes, `code = 256 * high + low`, and their low bytes, both signed, four neighbours each.
    pub(super) bytes: [[[i32; HEIGHT]; RUN / 4]; 2],
    /// See [`Rounded::sums`]; those of each two groups follow.
    pub(super) sums: [[f32; HEIGHT]; RUN / GROUP],
    pub(super) sums_of_two: [[f32; HEIGHT]; RUN / GROUP / 2],
    pub(super) scales: [[f32; HEIGHT]; RUN / SHARED],
}

impl<const HEIGHT: usize> Tile<HEIGHT> {
    /// Puts a run of row `lane` in its place.
    #[inline(always)]
    fn put(&mut self, lane: usize, run: &Rounded) {
        let (mut high, mut low) = ([0; RUN], [0; RUN]);
        for i in 0..RUN {
            high[i] = ((run.codes[i] + 128) >> 8) as u8;
            low[i] = run.codes[i] as u8;
        }
        for (to, bytes) in self.bytes.iter_mut().zip([high, low]) {
            for (to, quad) in to.iter_mut().zip(bytes.as_chunks().0) {
                to[lane] = i32::from_le_bytes(*quad);
            }
        }
        for (to, sum) in self.sums.iter_mut().zip(&run.sums) {
            to[lane] = *sum;
        }
        for (to, [one, other]) in self.sums_of_two.iter_mut().zip(run.sums.as_chunks().0) {
            to[lane] = one + other;
        }
        for (to, scale) in self.scales.iter_mut().zip(&run.scales) {
            to[lane] = *scale;
        }
    }
}

/// The heights of tiles.
const HEIGHTS: [usize; 4] = [1, 2, 4, 8];

/// Rows that are multiplied at once.
#[derive(Clone, Copy)]
pub(super) struct Strip {
    pub(super) first: usize,
    pub(super) rows: usize,
    /// That of its tiles: what there is beyond the last row is zero.
    pub(super) height: usize,
    /// Where its tiles are, one for each run.
    at: usize,
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
    tiles: Aligned<f32>,
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
    pub(super) fn tiles<const HEIGHT: usize>(&self, strip: &Strip) -> &[Tile<HEIGHT>] {
        let tiles = &self.tiles[strip.at..][..self.runs * floats(HEIGHT)];
        assert!(strip.height == HEIGHT && size_of_val(tiles) == self.runs * size_of::<Tile<HEIGHT>>());
        // SAFETY: so many are there, from the beginning of a cache line on; any bits are numbers.
        unsafe { std::slice::from_raw_parts(tiles.as_ptr().cast(), self.runs) }
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
        let (mut first, mut at) = (0, 0);
        while first < left.rows {
            let [.., most] = HEIGHTS;
            let rows = most.min(left.rows - first);
            // Five rows are four and one, six or seven are eight with zeros.
            let is_nearly = |height: &usize| rows <= *height || rows == height + 1 && *height > 2;
            let height = HEIGHTS.into_iter().find(is_nearly).unwrap_or(most);
            let rows = rows.min(height);
            self.strips.push(Strip { first, rows, height, at });
            at += self.runs * floats(height);
            first += rows;
        }
        self.tiles.zero(at);
        let mut rest: &mut [f32] = &mut self.tiles;
        let mut parts = Vec::with_capacity(self.strips.len());
        for strip in &self.strips {
            let (part, behind) = rest.split_at_mut(self.runs * floats(strip.height));
            parts.push((*strip, part));
            rest = behind;
        }
        let fill = |_: usize, parts: &mut [(Strip, &mut [f32])]| {
            for (strip, part) in parts {
                match strip.height {
                    1 => fill::<1>(left, strip, part),
                    2 => fill::<2>(left, strip, part),
                    4 => fill::<4>(left, strip, part),
                    _ => fill::<8>(left, strip, part),
                }
            }
        };
        if left.rows * left.columns < PARALLEL_FROM {
            fill(0, &mut parts);
            return Ok(());
        }
        team::for_each_chunk(&mut parts, 1, fill)
    }
}

/// Floats that a tile takes the room of.
fn floats(height: usize) -> usize {
    let bytes = match height {
        1 => size_of::<Tile<1>>(),
        2 => size_of::<Tile<2>>(),
        4 => size_of::<Tile<4>>(),
        _ => size_of::<Tile<8>>(),
    };
    bytes / size_of::<f32>()
}

/// Rounds the rows of a strip to its tiles, which are zero.
fn fill<const HEIGHT: usize>(left: Left, strip: &Strip, tiles: &mut [f32]) {
    // SAFETY: parts of the memory begin with a cache line and hold whole tiles, of which any bits are numbers.
    let (_, tiles, _) = unsafe { tiles.align_to_mut::<Tile<HEIGHT>>() };
    vectorized(
        #[inline(always)]
        || {
            for lane in 0..strip.rows {
                for (tile, x) in tiles.iter_mut().zip(left.row(strip.first + lane).chunks(RUN)) {
                    tile.put(lane, &Rounded::of(x));
                }
            }
        },
    );
}
