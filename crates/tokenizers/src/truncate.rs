//! Truncation of one sequence or two, before special tokens are put around them.

use std::cmp::{max, min};
use std::ops::Range;

use ahash::AHashMap;
use tokenizers::{Encoding, TruncationDirection, TruncationParams, TruncationStrategy};

use crate::{Error, Result};

/// Two sequences may overflow into no more parts than these.
const MAX_PARTS: usize = 100_000;

/// What a call wants of truncation.
pub(crate) struct Truncation<'a> {
    pub params: &'a TruncationParams,
    /// How many of `max_length` tokens the special tokens take.
    pub special: usize,
    /// Whether what is cut off is kept, in parts, as [`Encoding::get_overflowing`]. For two long sequences these are as many as the
    /// product of both numbers of parts.
    pub keep_overflow: bool,
}

impl Truncation<'_> {
    /// Cuts the sequences so that they fit. The lengths are those that the `tokenizers` crate computes.
    pub fn apply(&self, first: &mut Encoding, second: Option<&mut Encoding>) -> Result<()> {
        let max_length = self.params.max_length;
        let room = max_length
            .checked_sub(self.special)
            .ok_or(Error::NoRoom { max_length, special: self.special })?;
        let (a, b) = (first.len(), second.as_ref().map_or(0, |second| second.len()));
        if a + b <= room && room > 0 {
            return Ok(());
        }
        let excess = (a + b).saturating_sub(room);
        match (self.params.strategy, second) {
            (TruncationStrategy::LongestFirst, second) => {
                let (a, b) = share(a, b, room);
                self.cut(first, a)?;
                let Some(second) = second else { return Ok(()) };
                self.cut(second, b)?;
                let (first, second) = (first.get_overflowing().len() + 1, second.get_overflowing().len() + 1);
                if first * second > MAX_PARTS { Err(Error::TooManyParts { first, second }) } else { Ok(()) }
            }
            (_, second) if room == 0 => {
                self.cut(first, 0)?;
                second.map_or(Ok(()), |second| self.cut(second, 0))
            }
            (TruncationStrategy::OnlyFirst, _) => self.cut_by(first, excess),
            (TruncationStrategy::OnlySecond, Some(second)) => self.cut_by(second, excess),
            (TruncationStrategy::OnlySecond, None) => Err(Error::NoSecondSequence),
        }
    }

    fn cut_by(&self, encoding: &mut Encoding, excess: usize) -> Result<()> {
        let length = encoding.len();
        if length <= excess {
            return Err(Error::TooShort { max_length: self.params.max_length, length, excess });
        }
        self.cut(encoding, length - excess)
    }

    fn cut(&self, encoding: &mut Encoding, length: usize) -> Result<()> {
        let (all, stride) = (encoding.len(), self.params.stride);
        if length >= all {
            return Ok(());
        }
        if length > 0 && stride >= length {
            return Err(Error::Stride { stride, room: length, max_length: self.params.max_length });
        }
        if self.keep_overflow {
            encoding.truncate(length, stride, self.params.direction);
        } else {
            *encoding = match self.params.direction {
                TruncationDirection::Right => slice(encoding, 0..length),
                TruncationDirection::Left => slice(encoding, all - length..all),
            };
        }
        Ok(())
    }
}

/// The lengths that two sequences keep where the longer one is cut first.
fn share(a: usize, b: usize, room: usize) -> (usize, usize) {
    let shorter = min(a, b);
    let longer = if shorter > room { shorter } else { max(shorter, room - shorter) };
    let (shorter, longer) =
        if shorter + longer > room { (room / 2, room / 2 + room % 2) } else { (shorter, longer) };
    if a > b { (longer, shorter) } else { (shorter, longer) }
}

fn slice(encoding: &Encoding, part: Range<usize>) -> Encoding {
    Encoding::new(
        encoding.get_ids()[part.clone()].to_vec(),
        encoding.get_type_ids()[part.clone()].to_vec(),
        encoding.get_tokens()[part.clone()].to_vec(),
        encoding.get_word_ids()[part.clone()].to_vec(),
        encoding.get_offsets()[part.clone()].to_vec(),
        encoding.get_special_tokens_mask()[part.clone()].to_vec(),
        encoding.get_attention_mask()[part].to_vec(),
        Vec::new(),
        AHashMap::new(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::truncate_encodings;

    use super::*;

    fn encoding(length: usize) -> Encoding {
        let ids = 0..u32::try_from(length).unwrap();
        ids.map(|id| (id, format!("t{id}"), (id as usize, id as usize + 1), Some(id), 0)).collect()
    }

    fn params(max_length: usize, stride: usize, strategy: u8, left: bool) -> TruncationParams {
        TruncationParams {
            max_length,
            stride,
            strategy: match strategy {
                0 => TruncationStrategy::LongestFirst,
                1 => TruncationStrategy::OnlyFirst,
                _ => TruncationStrategy::OnlySecond,
            },
            direction: if left { TruncationDirection::Left } else { TruncationDirection::Right },
        }
    }

    #[test]
    fn two_long_sequences_do_not_overflow_into_millions() {
        let params = params(2, 0, 0, false);
        let truncation = Truncation { params: &params, special: 0, keep_overflow: true };
        let cut = truncation.apply(&mut encoding(1000), Some(&mut encoding(1000)));
        assert!(matches!(cut, Err(Error::TooManyParts { first: 1000, second: 1000 })));
    }

    proptest! {
        /// The crate's own truncation is the reference wherever it does not panic.
        #[test]
        fn cuts_as_the_crate_does(
            a in 0..12_usize, b in proptest::option::of(0..12_usize), max_length in 0..16_usize,
            strategy in 0..3_u8, left: bool,
        ) {
            let params = params(max_length, 0, strategy, left);
            let (mut first, mut second) = (encoding(a), b.map(encoding));
            let expected = truncate_encodings(first.clone(), second.clone(), &params);
            for keep_overflow in [false, true] {
                let truncation = Truncation { params: &params, special: 0, keep_overflow };
                let cut = truncation.apply(&mut first, second.as_mut());
                match &expected {
                    Err(_) => prop_assert!(cut.is_err()),
                    Ok((expected_first, expected_second)) => {
                        prop_assert!(cut.is_ok());
                        prop_assert_eq!(first.get_ids(), expected_first.get_ids());
                        prop_assert_eq!(first.get_offsets(), expected_first.get_offsets());
                        prop_assert_eq!(first.get_word_ids(), expected_first.get_word_ids());
                        prop_assert_eq!(
                            second.as_ref().map(|second| second.get_ids().to_vec()),
                            expected_second.as_ref().map(|second| second.get_ids().to_vec())
                        );
                        if keep_overflow {
                            prop_assert_eq!(&first, expected_first);
                            prop_assert_eq!(&second, expected_second);
                        }
                    }
                }
                (first, second) = (encoding(a), b.map(encoding));
            }
        }

        /// Where the crate would panic, the stride is named.
        #[test]
        fn any_stride_is_an_answer(
            a in 0..12_usize, b in proptest::option::of(0..12_usize), max_length in 0..16_usize,
            stride in 0..8_usize, special in 0..4_usize, strategy in 0..3_u8, left: bool,
        ) {
            let params = params(max_length, stride, strategy, left);
            let (mut first, mut second) = (encoding(a), b.map(encoding));
            let truncation = Truncation { params: &params, special, keep_overflow: true };
            if truncation.apply(&mut first, second.as_mut()).is_ok() {
                let length = first.len() + second.as_ref().map_or(0, Encoding::len);
                prop_assert!(length + special <= max_length);
            }
        }
    }
}
