//! Encoded rows, padded together. Padding is not stored: it is written where rows leave the batch.

use tokenizers::{Encoding, PaddingDirection, PaddingParams, PaddingStrategy};

use crate::{EncodeOptions, Error, Result, check_memory};

/// What an [`Encoding`] stores for a token of padding, besides its text (with what the allocator needs for that).
const PADDING_BYTES: usize = 96;

/// One number per token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// The ids.
    InputIds,
    /// Which of two sequences a token belongs to.
    TokenTypeIds,
    /// 1 for tokens, 0 for padding.
    AttentionMask,
    /// 1 for special tokens and padding.
    SpecialTokensMask,
}

/// The rows that a call made of its inputs: one for each, followed by its overflowing parts where they were asked for.
#[derive(Debug, Clone)]
pub struct Batch {
    encodings: Vec<Encoding>,
    rows: Vec<Row>,
    padding: Option<PaddingParams>,
    return_overflowing: bool,
    longest: usize,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    sample: usize,
    /// Which of the overflowing parts; none of them for the first row of a sample.
    part: Option<usize>,
}

impl Batch {
    /// A batch without rows for calls with these options.
    pub fn new(options: &EncodeOptions) -> Self {
        Self {
            encodings: Vec::new(),
            rows: Vec::new(),
            padding: options.padding.clone(),
            return_overflowing: options.return_overflowing,
            longest: 0,
        }
    }

    pub(crate) fn extend(&mut self, encodings: Vec<Encoding>) {
        for encoding in encodings {
            let sample = self.encodings.len();
            let parts = if self.return_overflowing { encoding.get_overflowing().len() } else { 0 };
            self.rows.push(Row { sample, part: None });
            self.rows.extend((0..parts).map(|part| Row { sample, part: Some(part) }));
            self.longest = self.longest.max(encoding.len());
            self.encodings.push(encoding);
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// For each row the index of the input that it came from.
    pub fn samples(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().map(|row| row.sample)
    }

    /// The length of each row, with its padding.
    pub fn lengths(&self) -> impl Iterator<Item = usize> {
        let width = self.width();
        (0..self.len()).map(move |row| self.unpadded(row).len().max(width))
    }

    /// A row with its padding.
    ///
    /// # Errors
    /// [`Error::Row`] if there is no row with this index, [`Error::OutOfMemory`] if there is no memory for its padding.
    pub fn encoding(&self, row: usize) -> Result<Encoding> {
        if row >= self.len() {
            return Err(Error::Row { row, rows: self.len() });
        }
        let mut encoding = self.unpadded(row).clone();
        if let Some(padding) = &self.padding {
            let padded = encoding.get_overflowing().iter().chain([&encoding]);
            let missing = padded.map(|part| self.width().saturating_sub(part.len())).sum();
            check_memory(missing, PADDING_BYTES + padding.pad_token.len())?;
            encoding.pad(
                self.width(),
                padding.pad_id,
                padding.pad_type_id,
                &padding.pad_token,
                padding.direction,
            );
        }
        Ok(encoding)
    }

    /// The numbers of a row, with its padding. A row beyond the last is empty.
    pub fn row(&self, column: Column, row: usize) -> impl Iterator<Item = u32> {
        let values = if row < self.len() { column.of(self.unpadded(row)) } else { &[] };
        let missing = if row < self.len() { self.width().saturating_sub(values.len()) } else { 0 };
        let (left, right) = self.split(missing);
        let fill = self.fill(column);
        std::iter::repeat_n(fill, left).chain(values.iter().copied()).chain(std::iter::repeat_n(fill, right))
    }

    /// Where the tokens of a row stand in their sequences, in characters, with (0, 0) for special tokens and padding. A row beyond the
    /// last is empty.
    pub fn offsets(&self, row: usize) -> impl Iterator<Item = (usize, usize)> {
        let values = if row < self.len() { self.unpadded(row).get_offsets() } else { &[] };
        let missing = if row < self.len() { self.width().saturating_sub(values.len()) } else { 0 };
        let (left, right) = self.split(missing);
        let none = std::iter::repeat_n((0, 0), left);
        none.chain(values.iter().copied()).chain(std::iter::repeat_n((0, 0), right))
    }

    /// The number of rows and their common length.
    ///
    /// # Errors
    /// [`Error::Ragged`] if the rows have different lengths.
    pub fn shape(&self) -> Result<(usize, usize)> {
        let shortest = self.lengths().min().unwrap_or(0);
        let longest = self.lengths().max().unwrap_or(0);
        if shortest != longest {
            return Err(Error::Ragged { shortest, longest });
        }
        Ok((self.len(), longest))
    }

    /// Writes all rows into an array of [`shape`](Self::shape) that holds zeros, row by row. Padding that is zero is not written, so
    /// that memory fresh from the system is not touched where nothing stands.
    ///
    /// # Errors
    /// [`Error::Ragged`] if the rows have different lengths.
    pub fn write(&self, column: Column, out: &mut [i64]) -> Result<()> {
        let (_, length) = self.shape()?;
        let fill = i64::from(self.fill(column));
        for (row, out) in out.chunks_exact_mut(length.max(1)).enumerate().take(self.len()) {
            let values = column.of(self.unpadded(row));
            let (left, right) = self.split(out.len().saturating_sub(values.len()));
            let (padding, rest) = out.split_at_mut(left);
            let (tokens, more_padding) = rest.split_at_mut(rest.len() - right);
            for (out, &value) in tokens.iter_mut().zip(values) {
                *out = i64::from(value);
            }
            if fill != 0 {
                padding.fill(fill);
                more_padding.fill(fill);
            }
        }
        Ok(())
    }

    /// All rows as one array of [`shape`](Self::shape).
    ///
    /// # Errors
    /// [`Error::Ragged`] if the rows have different lengths, [`Error::OutOfMemory`] if there is no memory for them.
    pub fn ids(&self, column: Column) -> Result<Vec<i64>> {
        let (rows, length) = self.shape()?;
        check_memory(rows * length, size_of::<i64>())?;
        let mut ids = vec![0; rows * length];
        self.write(column, &mut ids)?;
        Ok(ids)
    }

    fn unpadded(&self, row: usize) -> &Encoding {
        let Row { sample, part } = self.rows[row];
        let encoding = &self.encodings[sample];
        part.map_or(encoding, |part| &encoding.get_overflowing()[part])
    }

    /// The length that shorter rows are filled up to.
    fn width(&self) -> usize {
        let Some(padding) = &self.padding else { return 0 };
        let width = match padding.strategy {
            PaddingStrategy::Fixed(length) => length,
            PaddingStrategy::BatchLongest => self.longest,
        };
        match padding.pad_to_multiple_of {
            Some(multiple) if multiple > 0 => width.next_multiple_of(multiple),
            _ => width,
        }
    }

    /// How much of the padding goes to the left and to the right.
    fn split(&self, missing: usize) -> (usize, usize) {
        match self.padding.as_ref().map(|padding| padding.direction) {
            Some(PaddingDirection::Left) => (missing, 0),
            _ => (0, missing),
        }
    }

    fn fill(&self, column: Column) -> u32 {
        let Some(padding) = &self.padding else { return 0 };
        match column {
            Column::InputIds => padding.pad_id,
            Column::TokenTypeIds => padding.pad_type_id,
            Column::AttentionMask => 0,
            Column::SpecialTokensMask => 1,
        }
    }
}

impl Column {
    fn of(self, encoding: &Encoding) -> &[u32] {
        match self {
            Self::InputIds => encoding.get_ids(),
            Self::TokenTypeIds => encoding.get_type_ids(),
            Self::AttentionMask => encoding.get_attention_mask(),
            Self::SpecialTokensMask => encoding.get_special_tokens_mask(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{BertOptions, EncodeOptions, PaddingDirection, PaddingParams, Tokenizer};

    use super::*;

    fn batch(padding: Option<PaddingParams>) -> Batch {
        let vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a"];
        let tokenizer = Tokenizer::from_bert_vocab(vocab, &BertOptions::default()).unwrap();
        let options = EncodeOptions { padding, ..Default::default() };
        tokenizer.encode_batch(&["a a".into(), "a".into()], &options).unwrap()
    }

    #[test]
    fn rows_of_different_lengths_are_no_array() {
        let batch = batch(None);
        assert!(matches!(batch.shape(), Err(Error::Ragged { shortest: 3, longest: 4 })));
        assert!(batch.ids(Column::InputIds).is_err());
        assert_eq!(batch.row(Column::InputIds, 1).collect::<Vec<_>>(), [2, 5, 3]);
    }

    #[test]
    fn padding_goes_to_its_side() {
        let right = batch(Some(PaddingParams { pad_id: 9, ..Default::default() }));
        assert_eq!(right.ids(Column::InputIds).unwrap(), [2, 5, 5, 3, 2, 5, 3, 9]);
        assert_eq!(right.ids(Column::SpecialTokensMask).unwrap(), [1, 0, 0, 1, 1, 0, 1, 1]);
        let left = batch(Some(PaddingParams { direction: PaddingDirection::Left, ..Default::default() }));
        assert_eq!(left.ids(Column::AttentionMask).unwrap(), [1, 1, 1, 1, 0, 1, 1, 1]);
        assert_eq!(left.offsets(1).collect::<Vec<_>>(), [(0, 0), (0, 0), (0, 1), (0, 0)]);
    }

    #[test]
    fn a_row_beyond_the_last_is_empty() {
        let batch = batch(Some(PaddingParams::default()));
        assert!(matches!(batch.encoding(2), Err(Error::Row { row: 2, rows: 2 })));
        assert_eq!(batch.row(Column::InputIds, 2).count() + batch.offsets(2).count(), 0);
    }

    #[test]
    fn no_rows_have_a_shape() {
        let empty = Batch::new(&EncodeOptions::default());
        assert!(empty.is_empty());
        assert_eq!(empty.shape().unwrap(), (0, 0));
        assert!(empty.ids(Column::InputIds).unwrap().is_empty());
    }
}
