//! How columns that lie side by side are reduced all at once: row by row, in the order of memory.

use std::mem::MaybeUninit;

use super::number::Number;
use super::reader::{RUN, Reader};

/// Columns whose numbers are in registers at a time.
pub(super) const BLOCK: usize = 16;
/// Rows that are read side by side.
const ABREAST: usize = 8;
/// Bytes of a row that leave its columns' numbers room in the first-level cache.
const NARROW: usize = 12 << 10;

/// What is made of columns: it takes their rows, one or several at a time, in order.
pub(super) trait Columns<C> {
    fn take<const N: usize>(&mut self, rows: [&[C]; N]);
}

/// Rows of a walk: where the first starts, how far apart they are, how many they are.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub(super) first: usize,
    pub(super) apart: usize,
    pub(super) count: usize,
}

impl Rows {
    /// Gives `columns` all rows, `width` elements of each, at most [`RUN`].
    ///
    /// Narrow rows are read one after another: no processor fetches memory faster than in its order. Of wide ones, and of pieces of
    /// rows, several are read side by side, so that the numbers of the columns come from the cache and go there only once for all.
    #[inline(always)]
    pub(super) fn each<C: Number>(self, reader: &Reader<C>, width: usize, columns: &mut impl Columns<C>) {
        let mut row = 0;
        if width < self.apart || width * size_of::<C>() > NARROW {
            while row + ABREAST <= self.count
                && let Some(rows) = self.lent(reader, row, width)
            {
                columns.take::<ABREAST>(rows);
                row += ABREAST;
            }
        }
        let mut room = PerColumn::new();
        for row in row..self.count {
            let start = self.first + row * self.apart;
            columns.take([reader.lend(start, width).unwrap_or_else(|| room.copy(reader, start, width))]);
        }
    }

    /// The next rows where they lie, if they lie as the kernel wants them.
    fn lent<'r, C: Number>(
        self,
        reader: &'r Reader<C>,
        row: usize,
        width: usize,
    ) -> Option<[&'r [C]; ABREAST]> {
        let mut rows = [[].as_slice(); ABREAST];
        for (i, lent) in rows.iter_mut().enumerate() {
            *lent = reader.lend(self.first + (row + i) * self.apart, width)?;
        }
        Some(rows)
    }
}

/// Rows cut into what is in registers at a time, and what remains at their ends.
#[inline(always)]
pub(super) fn blocks<C, const N: usize>(rows: [&[C]; N]) -> ([&[[C; BLOCK]]; N], [&[C]; N]) {
    (rows.map(|row| row.as_chunks().0), rows.map(|row| row.as_chunks::<BLOCK>().1))
}

/// Room for a number of each column, on a cache line: stores across two would take twice as long.
#[repr(align(64))]
pub(super) struct PerColumn<C>([MaybeUninit<C>; RUN]);

impl<C: Copy> PerColumn<C> {
    pub(super) const fn new() -> PerColumn<C> {
        PerColumn([const { MaybeUninit::uninit() }; RUN])
    }

    /// The numbers of `width` columns, all `value`.
    pub(super) fn fill(&mut self, width: usize, value: C) -> &mut [C] {
        let room = &mut self.0[..width];
        room.fill(MaybeUninit::new(value));
        // SAFETY: initialised by the line above.
        unsafe { room.assume_init_mut() }
    }

    /// The numbers of `width` columns, those from `start` on.
    pub(super) fn copy(&mut self, reader: &Reader<C>, start: usize, width: usize) -> &mut [C]
    where
        C: Number,
    {
        reader.gather(start, &mut self.0[..width])
    }
}
