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
const SHARED: usize = 32;
/// The greatest code: its high byte is 127, its low byte 0.
const MOST: f32 = 127.0 * 256.0;
/// What is smaller is zero: its inverse would not be finite.
const LEAST: f32 = 1e-30;

/// Elements that are put in another order at once, see [`Row::bytes`].
pub(super) const TURN: usize = 128;

/// Fewer elements than this are rounded on the calling thread: sharing them costs as much.
const PARALLEL_FROM: usize = 32 << 10;

/// Rows of the left side as integers.
#[derive(Default)]
pub(super) struct Activations {
    pub(super) rows: Vec<Row>,
    /// The same side by side, if asked for: all runs of the first rows, all of the next, and so on.
    pub(super) panels: Vec<Panel>,
}

/// Rows of a [`Panel`].
pub(super) const PANEL: usize = 8;

/// A run of some rows, or of fewer, side by side: what is multiplied with the same weights lies together.
#[derive(Clone)]
#[repr(align(64))]
pub(super) struct Panel {
    /// Four neighbours of [`Row::bytes`] each: high bytes, then low ones.
    pub(super) bytes: [[[[i8; 4]; PANEL]; RUN / 4]; 2],
    pub(super) scales: [[f32; PANEL]; RUN / GROUP],
    pub(super) sums: [[f32; PANEL]; RUN / GROUP],
    pub(super) sums_of_two: [[f32; PANEL]; RUN / GROUP / 2],
}

impl Panel {
    const EMPTY: Panel = Panel {
        bytes: [[[[0; 4]; PANEL]; RUN / 4]; 2],
        scales: [[0.0; PANEL]; RUN / GROUP],
        sums: [[0.0; PANEL]; RUN / GROUP],
        sums_of_two: [[0.0; PANEL]; RUN / GROUP / 2],
    };

    /// A run of `rows`.
    fn fill(&mut self, rows: &[Row], run: usize) {
        for (place, row) in rows.iter().enumerate() {
            let (high, low) = row.bytes.split_at(row.codes.len());
            for (to, from) in self.bytes.iter_mut().zip([high, low]) {
                let from = from[run * RUN..][..RUN].as_chunks().0;
                to.iter_mut().zip(from).for_each(|(to, from)| to[place] = *from);
            }
            let spread = |to: &mut [[f32; PANEL]], from: &[f32]| {
                let from = &from[run * to.len()..];
                to.iter_mut().zip(from).for_each(|(to, from)| to[place] = *from);
            };
            spread(&mut self.scales, &row.scales);
            spread(&mut self.sums, &row.sums);
            spread(&mut self.sums_of_two, &row.sums_of_two);
        }
    }
}

/// A row, filled up with zeros to whole runs of [`RUN`]: element `i` is `scales[i / GROUP] * codes[i]`.
#[derive(Default)]
pub(super) struct Row {
    pub(super) codes: Aligned<i16>,
    /// The codes' high bytes, `code = 256 * high + low`, and behind them their low bytes, both signed. Of each [`TURN`] elements the
    /// groups 0, 2, 4 and 6 come first and then the groups 1, 3, 5 and 7.
    pub(super) bytes: Aligned<i8>,
    pub(super) scales: Aligned<f32>,
    /// The sum of each group, scaled.
    pub(super) sums: Aligned<f32>,
    /// The sum of each two groups.
    pub(super) sums_of_two: Aligned<f32>,
}

impl Row {
    /// Rounds `x`, filled up with zeros to `width`.
    fn fill(&mut self, x: &[f32], width: usize) {
        self.codes.zero(width);
        self.bytes.zero(2 * width);
        self.scales.zero(width / GROUP);
        self.sums.zero(width / GROUP);
        self.sums_of_two.zero(width / GROUP / 2);
        vectorized(
            #[inline(always)]
            || {
                let (whole, rest) = x.as_chunks::<SHARED>();
                for (share, x) in whole.iter().enumerate() {
                    self.round(share, x);
                }
                if !rest.is_empty() {
                    let mut last = [0.0; SHARED];
                    last[..rest.len()].copy_from_slice(rest);
                    self.round(whole.len(), &last);
                }
                self.split();
            },
        );
    }

    #[inline(always)]
    fn round(&mut self, share: usize, x: &[f32; SHARED]) {
        // As whole numbers, which magnitudes are ordered like: nan is the greatest.
        let most = f32::from_bits(x.iter().fold(0, |most, x| most.max(x.to_bits() & !(1 << 31))));
        let (scale, inverse) = if most < LEAST { (0.0, 0.0) } else { (most / MOST, MOST / most) };
        // Here and not in place, so that the compiler sees that nothing else is written.
        let mut codes = [0; SHARED];
        for i in 0..SHARED {
            codes[i] = (x[i] * inverse + ROUNDS).to_bits() as i16;
        }
        self.codes.as_chunks_mut().0[share] = codes;
        self.scales.as_chunks_mut::<2>().0[share] = [scale; 2];
        let (first, second) = codes.split_at(GROUP);
        let sums = [first, second].map(
            #[inline(always)]
            |codes| scale * codes.iter().map(|&code| i32::from(code)).sum::<i32>() as f32,
        );
        self.sums.as_chunks_mut().0[share] = sums;
        self.sums_of_two[share] = sums[0] + sums[1];
    }

    #[inline(always)]
    fn split(&mut self) {
        let (high, low) = self.bytes.split_at_mut(self.codes.len());
        let to = high.as_chunks_mut::<TURN>().0.iter_mut().zip(low.as_chunks_mut::<TURN>().0);
        for (codes, (high, low)) in self.codes.as_chunks::<TURN>().0.iter().zip(to) {
            for (group, codes) in codes.as_chunks::<GROUP>().0.iter().enumerate() {
                let place = group % 2 * (TURN / GROUP / 2) + group / 2;
                let to =
                    [&mut high.as_chunks_mut::<GROUP>().0[place], &mut low.as_chunks_mut::<GROUP>().0[place]];
                to.into_iter().zip(split(*codes)).for_each(|(to, bytes)| *to = bytes);
            }
        }
    }
}

/// High and low bytes.
#[inline(always)]
fn split(codes: [i16; GROUP]) -> [[i8; GROUP]; 2] {
    let (mut high, mut low) = ([0; GROUP], [0; GROUP]);
    for i in 0..GROUP {
        high[i] = ((codes[i] + 128) >> 8) as i8;
        low[i] = codes[i] as i8;
    }
    [high, low]
}

impl Activations {
    /// Rounds the rows of `left` and lets `work` use them. They lie in memory of this thread, which is kept for the next ones.
    ///
    /// # Errors
    /// `Threads` when there are none to be had, or what `work` says.
    pub(super) fn with<R>(
        left: Left,
        with_panels: bool,
        work: impl FnOnce(&Activations) -> Result<R>,
    ) -> Result<R> {
        thread_local! {
            static OWN: Cell<Activations> = const { Cell::new(Activations { rows: Vec::new(), panels: Vec::new() }) };
        }
        let mut own = OWN.take();
        let result = own.fill(left, with_panels).and_then(|()| work(&own));
        OWN.set(own);
        result
    }

    fn fill(&mut self, left: Left, with_panels: bool) -> Result<()> {
        let width = left.columns.next_multiple_of(RUN);
        let Activations { rows, panels } = self;
        rows.resize_with(left.rows, Row::default);
        let one = |row: usize, to: &mut [Row]| to.iter_mut().for_each(|to| to.fill(left.row(row), width));
        if left.rows * width < PARALLEL_FROM {
            (0..left.rows).for_each(|row| one(row, &mut rows[row..=row]));
        } else {
            team::for_each_chunk(rows, 1, one)?;
        }
        let runs = width / RUN;
        let count = if with_panels { left.rows.div_ceil(PANEL) * runs } else { 0 };
        panels.clear();
        panels.resize(count, Panel::EMPTY);
        team::for_each_chunk(panels, runs, |index, panels| {
            let rows = &rows[index * PANEL..left.rows.min((index + 1) * PANEL)];
            panels.iter_mut().enumerate().for_each(|(run, panel)| panel.fill(rows, run));
        })
    }
}
