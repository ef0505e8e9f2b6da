//! Keys and values on their way to a kernel: fetched in the order in which they lie, and read as they are stored or widened.

use std::ops::Range;

use half::f16;
use rten_simd::Isa;

use super::Plan;
use super::read::Read;
use super::store::Kept;
use super::stretch::Stretch;
use crate::cpu::simd;
use crate::cpu::stored::Stored;

/// The heads of some neighbouring rows.
pub(super) struct Heads<T> {
    data: *const T,
    /// In bytes.
    stride: isize,
    pub(super) count: usize,
}

impl<T> Heads<T> {
    /// That of a row.
    #[inline(always)]
    pub(super) fn at(&self, row: usize) -> *const T {
        self.data.wrapping_byte_offset(row as isize * self.stride)
    }
}

/// Keys or values of some form.
pub(super) trait Near {
    /// What the elements are when they are multiplied.
    type Stored: Stored;

    /// A head of some keys of the sequence, at most [`super::read::AT_ONCE`].
    ///
    /// # Safety
    /// The keys must be there, in this form.
    unsafe fn heads<I: Isa>(
        read: &Read<I>,
        kept: &Kept,
        keys: &Range<usize>,
        head: usize,
    ) -> Heads<Self::Stored>;
}

/// Those that are multiplied as they lie.
macro_rules! as_they_lie {
    ($($float:ty),*) => {$(
        impl Near for $float {
            type Stored = $float;

            #[inline(always)]
            unsafe fn heads<I: Isa>(read: &Read<I>, kept: &Kept, keys: &Range<usize>, head: usize) -> Heads<$float> {
                let data = kept.at(read.sequence.key_start + keys.start, head).cast();
                Heads { data, stride: kept.row_stride(), count: keys.len() }
            }
        }
    )*};
}
as_they_lie!(f32, f16);

/// Those that are widened to float32 first.
pub(super) struct Widened;

impl Near for Widened {
    type Stored = f32;

    #[inline(always)]
    unsafe fn heads<I: Isa>(read: &Read<I>, kept: &Kept, keys: &Range<usize>, head: usize) -> Heads<f32> {
        let width = read.head_width.max(read.value_width);
        for (i, key) in keys.clone().enumerate() {
            // SAFETY: as the caller promises; the part has room for so many heads.
            unsafe { kept.widen(read.sequence.key_start + key, head, read.widened.add(i * width)) }
        }
        Heads { data: read.widened, stride: (width * size_of::<f32>()) as isize, count: keys.len() }
    }
}

/// How many bytes ahead keys and values are fetched.
const AHEAD: usize = 4 << 10;

/// What is fetched before it is read: the keys of a tile, its values, the keys of the next one. Processors fetch by themselves what follows
/// in memory, but neither the other tensor nor the next page.
pub(super) struct Ahead<'a> {
    plan: &'a Plan<'a>,
    stretch: &'a Stretch,
    /// The keys of the tile.
    tile: Range<usize>,
    /// Whether it is their values that are fetched.
    values: bool,
    /// The first key of them that has not been begun.
    key: usize,
    /// What lies in one piece and has not been fetched.
    piece: *const u8,
    left: usize,
}

impl<'a> Ahead<'a> {
    /// Fetches the beginning of a stretch.
    #[inline(always)]
    pub(super) fn new<I: Isa>(isa: I, plan: &'a Plan, stretch: &'a Stretch) -> Ahead<'a> {
        let tile = stretch.tile(stretch.keys.start);
        let (key, piece) = (tile.start, std::ptr::null());
        let mut ahead = Ahead { plan, stretch, tile, values: false, key, piece, left: 0 };
        ahead.fetch(isa, AHEAD);
        ahead
    }

    /// Fetches about so many more bytes.
    #[inline(always)]
    pub(super) fn fetch<I: Isa>(&mut self, isa: I, mut bytes: usize) {
        while bytes > 0 && (self.left > 0 || self.next()) {
            let some = bytes.min(self.left);
            simd::fetch(isa, self.piece, some);
            self.piece = self.piece.wrapping_add(some);
            (bytes, self.left) = (bytes - some, self.left - some);
        }
    }

    /// Goes on to what is read next, if there is anything.
    fn next(&mut self) -> bool {
        if self.key == self.tile.end {
            if self.values {
                self.tile = self.stretch.tile(self.tile.end);
            }
            self.values = !self.values;
            self.key = self.tile.start;
        }
        if self.tile.is_empty() {
            return false;
        }
        let kept = if self.values { &self.plan.value } else { &self.plan.key };
        let row = kept.row_bytes(self.plan.kv_heads);
        // Rows without gaps are one piece.
        let rows = if kept.row_stride() == row as isize { self.tile.end - self.key } else { 1 };
        let sequence = &self.plan.sequences()[self.stretch.sequence];
        self.piece = kept.at(sequence.key_start + self.key, 0);
        self.left = row * rows;
        self.key += rows;
        true
    }
}
