//! Rows of blocks as words of 32 bits, so that rows can lie side by side word by word.
//!
//! A word is four bytes as they are stored. Where two bytes stand in front of a block, and so all others would lie across words, those of
//! two blocks make a word; where a block is not whole words, zeros fill it up. Rows are filled up with zeros to whole units.

use crate::quant::BlockFormat;

/// What a row is made of: one block of 256 elements, or as many smaller ones as have 64.
#[derive(Clone, Copy)]
pub(super) struct Unit {
    pub(super) elements: usize,
    pub(super) words: usize,
    /// Bytes as they are stored.
    bytes: usize,
    /// Words in front of a row's units.
    header: usize,
    /// The bytes of each of two blocks whose first two bytes make a word.
    paired: Option<usize>,
}

/// A row's words that hold a unit are at most this many.
const MAX_WORDS: usize = 64;
const WORD: usize = size_of::<i32>();

impl Unit {
    pub(super) fn of(format: BlockFormat) -> Unit {
        let elements = format.block_elements().max(64);
        let block = format.block_bytes();
        let bytes = elements / format.block_elements() * block;
        let paired = (format.block_elements() == 32 && !block.is_multiple_of(WORD)).then_some(block);
        Unit { elements, words: bytes.div_ceil(WORD), bytes, header: format.row_header() / WORD, paired }
    }

    /// The words of a row of so many elements.
    pub(super) fn of_row(self, columns: usize) -> usize {
        self.header + columns.div_ceil(self.elements) * self.words
    }

    /// Writes all words of a row.
    pub(super) fn write(self, row: &[u8], words: &mut [i32]) {
        let (header, units) = row.split_at(self.header * WORD);
        let (first, rest) = words.split_at_mut(self.header);
        put(header, first);
        let mut units = units.chunks(self.bytes);
        for words in rest.chunks_exact_mut(self.words) {
            let unit = units.next().unwrap_or_default();
            match self.paired {
                None => put(unit, words),
                Some(block) => {
                    let mut bytes = [0; MAX_WORDS * WORD];
                    for (i, from) in unit.chunks(block).enumerate() {
                        let (head, body) = from.split_at(2);
                        bytes[2 * i..][..2].copy_from_slice(head);
                        bytes[4 + i * (block - 2)..][..block - 2].copy_from_slice(body);
                    }
                    put(&bytes[..self.bytes], words);
                }
            }
        }
    }

    /// Writes a row from its words: what [`Unit::write`] made them from.
    pub(super) fn read(self, mut words: impl Iterator<Item = i32>, row: &mut [u8]) {
        let (header, units) = row.split_at_mut(self.header * WORD);
        let mut next = |count: usize| {
            let mut bytes = [0; MAX_WORDS * WORD];
            for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip(words.by_ref().take(count)) {
                *to = word.to_le_bytes();
            }
            bytes
        };
        header.copy_from_slice(&next(self.header)[..self.header * WORD]);
        for unit in units.chunks_mut(self.bytes) {
            let bytes = next(self.words);
            match self.paired {
                None => unit.copy_from_slice(&bytes[..unit.len()]),
                Some(block) => {
                    for (i, to) in unit.chunks_mut(block).enumerate() {
                        let (head, body) = to.split_at_mut(2);
                        head.copy_from_slice(&bytes[2 * i..][..2]);
                        body.copy_from_slice(&bytes[4 + i * (block - 2)..][..block - 2]);
                    }
                }
            }
        }
    }
}

/// The words of some bytes, and zeros behind them.
fn put(bytes: &[u8], words: &mut [i32]) {
    let (whole, rest) = bytes.as_chunks::<WORD>();
    let mut last = [0; WORD];
    last[..rest.len()].copy_from_slice(rest);
    let all = whole.iter().chain([&last]).map(|bytes| i32::from_le_bytes(*bytes)).chain(std::iter::repeat(0));
    words.iter_mut().zip(all).for_each(|(to, word)| *to = word);
}
