//! Padding never reaches a kernel: a padded batch is packed on the way in and unpacked on the way out.

use trustformers_tensor::ops::Sequence;
use trustformers_tensor::{self as tensor, DType, Ragged, Tensor};

use crate::Result;

/// How a (batch, length) rectangle with hidden positions becomes rows one after another, and back.
///
/// Within a sequence the visible positions come first, in order. Some hidden positions are needed nevertheless: position 0 by a head that
/// reads it (left padding), and those whose logits are asked for, as by labels. They follow the visible ones as rows that ask but are not
/// seen, as transformers computes them.
pub struct Packing {
    batch: usize,
    length: usize,
    /// For every packed row, where it comes from: `sequence * length + position`.
    rows: Vec<usize>,
    ragged: Ragged,
}

impl Packing {
    /// Packs what `mask` shows: (batch, length) flags, all shown where there is none. `asked` says which hidden places, numbered
    /// `sequence * length + position`, are needed nevertheless.
    ///
    /// # Errors
    /// `OutOfMemory` for a rectangle that memory cannot hold.
    pub fn new(
        batch: usize,
        length: usize,
        mask: Option<&[bool]>,
        asked: impl Fn(usize) -> bool,
    ) -> Result<Packing> {
        let rows = room(&[batch, length])?;
        let mut packing = Packing { batch, length, rows, ragged: Ragged::default() };
        for start in (0..batch).map(|sequence| sequence * length) {
            let before = packing.rows.len();
            let shown = |row: usize| mask.is_none_or(|mask| mask[row]);
            packing.rows.extend((start..start + length).filter(|&row| shown(row)));
            let keys = packing.rows.len() - before;
            packing.rows.extend((start..start + length).filter(|&row| !shown(row) && asked(row)));
            packing.ragged.push(packing.rows.len() - before, keys);
        }
        Ok(packing)
    }

    /// The sequences as the attention sees them.
    pub fn ragged(&self) -> &Ragged {
        &self.ragged
    }

    /// The (batch, length) that was packed.
    pub fn shape(&self) -> [usize; 2] {
        [self.batch, self.length]
    }

    /// The number of packed rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn is_dense(&self) -> bool {
        self.rows.len() == self.batch * self.length
            && self.ragged.sequences().iter().all(|s| s.keys == s.rows)
    }

    /// The values of a (batch, length) table at the packed rows; a table of one row serves every sequence.
    pub fn pack_ids(&self, ids: &[i64]) -> Vec<i64> {
        self.rows.iter().map(|&row| ids[row % ids.len()]).collect()
    }

    /// The position within its sequence of every packed row.
    pub fn positions(&self) -> Vec<i64> {
        self.rows.iter().map(|&row| (row % self.length) as i64).collect()
    }

    /// (batch, length, width) to (rows, width).
    pub fn pack(&self, x: &Tensor) -> Result<Tensor> {
        let width = x.shape()[2];
        let flat = x.contiguous()?.view(&[self.batch * self.length, width])?;
        Ok(if self.is_dense() { flat } else { flat.gather_rows(&self.rows)? })
    }

    /// (rows, width) to (batch, length, width), zero where the mask hides.
    pub fn unpack(&self, x: &Tensor) -> Result<Tensor> {
        if self.ragged.sequences().iter().all(|s| s.keys == s.rows) {
            return self.unpack_all(x);
        }
        let visible = self.visible_rows();
        let places: Vec<usize> = visible.iter().map(|&row| self.rows[row]).collect();
        self.spread(&x.gather_rows(&visible)?, &places)
    }

    /// The same with what hidden positions have that are needed nevertheless; zero at all others.
    pub fn unpack_all(&self, x: &Tensor) -> Result<Tensor> {
        if self.is_dense() {
            return Ok(x.view(&[self.batch, self.length, x.shape()[1]])?);
        }
        self.spread(x, &self.rows)
    }

    fn spread(&self, x: &Tensor, places: &[usize]) -> Result<Tensor> {
        let all = x.scatter_rows(places, self.batch * self.length)?;
        Ok(all.view(&[self.batch, self.length, x.shape()[1]])?)
    }

    /// Hidden states (rows, width) as callers get them: [`Packing::unpack`], as float32.
    pub fn outward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.unpack(x)?.to_dtype(DType::F32)?)
    }

    /// The mean of so many first rows of each sequence: (batch, width).
    pub fn mean(&self, x: &Tensor, rows: impl Fn(&Sequence) -> usize) -> Result<Tensor> {
        let means = self
            .ragged
            .sequences()
            .iter()
            .map(|s| x.narrow(0, s.start, s.start + rows(s))?.mean(&[0], false));
        let means = means.collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::stack(&means.iter().collect::<Vec<_>>(), 0)?)
    }

    /// The packed row of one position of each sequence; the first where it was dropped.
    pub fn rows_at(&self, position: usize) -> Vec<usize> {
        self.rows_of((0..self.batch).map(|sequence| sequence * self.length + position))
    }

    /// The packed rows of some places, numbered `sequence * length + position`; the sequence's first where one was dropped.
    pub fn rows_of(&self, places: impl Iterator<Item = usize>) -> Vec<usize> {
        let row = |place: usize| {
            let all = self.ragged.sequences()[place / self.length];
            let (shown, asking) = self.rows[all.start..all.start + all.rows].split_at(all.keys);
            let asking = || asking.binary_search(&place).map(|at| all.keys + at);
            all.start + shown.binary_search(&place).or_else(|_| asking()).unwrap_or(0)
        };
        places.map(row).collect()
    }

    /// For every packed row, where it comes from: `sequence * length + position`.
    pub fn places(&self) -> &[usize] {
        &self.rows
    }

    /// The packed rows that the mask shows.
    pub fn visible_rows(&self) -> Vec<usize> {
        self.ragged.sequences().iter().flat_map(|s| s.start..s.start + s.keys).collect()
    }

    /// The values of a (batch, length) table where the mask shows it.
    pub fn visible_ids(&self, ids: &[i64]) -> Vec<i64> {
        self.visible_rows().iter().map(|&row| ids[self.rows[row]]).collect()
    }

    /// Which positions of a sequence are visible.
    pub(crate) fn shown(&self, sequence: usize) -> Vec<bool> {
        let mut shown = vec![false; self.length];
        if let Some(s) = self.ragged.sequences().get(sequence) {
            for row in &self.rows[s.start..s.start + s.keys] {
                shown[row % self.length] = true;
            }
        }
        shown
    }

    /// One (heads, rows, keys) tensor for each sequence of `ragged` to (batch, heads, length, columns), zero where the mask hides a row or a
    /// key. What sequence `i` of the batch can look at are the columns that `shown(i)` flags; of several texts in it, each looks at its own.
    pub fn unpack_attentions(
        &self,
        ragged: &Ragged,
        probabilities: &[Tensor],
        heads: usize,
        columns: usize,
        shown: impl Fn(usize) -> Vec<bool>,
    ) -> Result<Tensor> {
        let shape = [self.batch, heads, self.length, columns];
        let mut all = room(&shape)?;
        all.resize(shape.iter().product(), 0.0f32);
        for (s, probabilities) in ragged.sequences().iter().zip(probabilities).filter(|(s, _)| s.rows > 0) {
            let probabilities = probabilities.to_host()?.to_dtype(DType::F32)?;
            let probabilities = probabilities.as_slice::<f32>()?;
            let index = self.rows[s.start] / self.length;
            let (own, shown) = (self.ragged.sequences()[index], shown(index));
            let before = s.start - own.start;
            let keys: Vec<usize> =
                (0..columns).filter(|&column| shown[column]).skip(before).take(s.keys).collect();
            let visible = s.start..(s.start + s.rows).min(own.start + own.keys);
            for head in 0..heads {
                for (row, packed) in visible.clone().enumerate() {
                    let from = &probabilities[(head * s.rows + row) * keys.len()..][..keys.len()];
                    let to_row = self.rows[packed] % self.length;
                    let to = &mut all[((index * heads + head) * self.length + to_row) * columns..][..columns];
                    for (&key, &probability) in keys.iter().zip(from) {
                        to[key] = probability;
                    }
                }
            }
        }
        Ok(Tensor::from_slice(&all, &shape)?)
    }
}

/// An empty vector with room for as many elements as `shape` has.
pub(crate) fn room<T>(shape: &[usize]) -> tensor::Result<Vec<T>> {
    let mut values = Vec::new();
    let numel = shape.iter().try_fold(1usize, |numel, &size| numel.checked_mul(size));
    match numel.map(|numel| values.try_reserve_exact(numel)) {
        Some(Ok(())) => Ok(values),
        _ => Err(tensor::Error::OutOfMemory {
            bytes: numel.unwrap_or(usize::MAX).saturating_mul(size_of::<T>()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(rows: usize, width: usize) -> Tensor {
        let values: Vec<f32> = (0..rows * width).map(|i| i as f32 + 1.0).collect();
        Tensor::from_slice(&values, &[rows, width]).unwrap()
    }

    #[test]
    fn what_memory_cannot_hold_is_an_error() {
        assert!(Packing::new(1 << 40, 1 << 20, None, |_| false).is_err());
        assert!(Packing::new(usize::MAX, 3, None, |_| false).is_err());
    }

    #[test]
    fn a_full_batch_is_only_seen_differently() {
        let packing = Packing::new(2, 3, None, |_| true).unwrap();
        let x = numbers(6, 2);
        assert_eq!(packing.unpack(&x).unwrap().as_ptr(), x.as_ptr());
        assert_eq!(packing.rows_at(0), [0, 3]);
    }

    #[test]
    fn what_is_hidden_comes_back_as_zeros() {
        // Right padded, left padded, a hole, all hidden.
        let mask = [1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0].map(|flag| flag == 1);
        let packing = Packing::new(4, 3, Some(&mask), |row| row % 3 == 0).unwrap();
        assert_eq!(packing.positions(), [0, 1, 1, 2, 0, 0, 2, 0]);
        let keys: Vec<_> = packing.ragged().sequences().iter().map(|s| (s.rows, s.keys)).collect();
        assert_eq!(keys, [(2, 2), (3, 2), (2, 2), (1, 0)]);
        assert_eq!(packing.rows_at(0), [0, 4, 5, 7]);
        let x = packing.unpack(&numbers(8, 1)).unwrap();
        assert_eq!(x.as_slice::<f32>().unwrap(), [1., 2., 0., 0., 3., 4., 6., 0., 7., 0., 0., 0.]);
        assert_eq!(packing.pack_ids(&[10, 11, 12]), [10, 11, 11, 12, 10, 10, 12, 10]);
    }

    #[test]
    fn packing_and_unpacking_are_inverse_where_the_mask_shows() {
        let mask = [true, false, true, true, true, false];
        let packing = Packing::new(2, 3, Some(&mask), |_| false).unwrap();
        let x = numbers(6, 2).view(&[2, 3, 2]).unwrap();
        let back = packing.unpack(&packing.pack(&x).unwrap()).unwrap();
        assert_eq!(back.as_slice::<f32>().unwrap(), [1., 2., 0., 0., 5., 6., 7., 8., 9., 10., 0., 0.]);
    }
}
