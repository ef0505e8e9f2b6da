//! Where extremes are, and the elements there.

use super::expect_real;
use super::reduce::kept;
use crate::layout::resolve_axis;
use crate::{Error, Result, Shape, Tensor};

impl Tensor {
    /// Where along `axis` the largest element is, the first of equal ones; NaN counts as the largest. Over all elements in C order
    /// without an axis. int64.
    ///
    /// # Errors
    /// `Index` when the axis is not there; `Argument` when there are no elements.
    pub fn argmax(&self, axis: Option<isize>, keepdim: bool) -> Result<Tensor> {
        self.arg_extreme("argmax", true, axis, keepdim)
    }

    /// Where along `axis` the smallest element is; otherwise as [`Tensor::argmax`].
    ///
    /// # Errors
    /// As for [`Tensor::argmax`].
    pub fn argmin(&self, axis: Option<isize>, keepdim: bool) -> Result<Tensor> {
        self.arg_extreme("argmin", false, axis, keepdim)
    }

    fn arg_extreme(
        &self,
        op: &'static str,
        largest: bool,
        axis: Option<isize>,
        keepdim: bool,
    ) -> Result<Tensor> {
        expect_real(op, &[self])?;
        let axis = axis.map(|axis| resolve_axis(op, axis, self.ndim())).transpose()?;
        let goes = |at: usize| axis.is_none_or(|axis| axis == at);
        let axes: Shape = (0..self.ndim()).filter(|&at| goes(at)).collect();
        if axes.iter().any(|&axis| self.shape()[axis] == 0) {
            let message = format!("there is no extreme of no elements, got shape {:?}", self.shape());
            return Err(Error::argument(op, message));
        }
        let found = self.backend().arg_extreme(self, &axes, largest)?;
        if keepdim { found.view(&kept(self.shape(), &axes)) } else { Ok(found) }
    }

    /// The largest elements along `axis`, and where they are: torch's `max(dim)`. The gradient goes to those elements.
    ///
    /// # Errors
    /// As for [`Tensor::argmax`].
    pub fn max_along(&self, axis: isize, keepdim: bool) -> Result<(Tensor, Tensor)> {
        self.extreme_along(self.argmax(Some(axis), true)?, axis, keepdim)
    }

    /// The smallest elements along `axis`, and where they are: torch's `min(dim)`.
    ///
    /// # Errors
    /// As for [`Tensor::argmin`].
    pub fn min_along(&self, axis: isize, keepdim: bool) -> Result<(Tensor, Tensor)> {
        self.extreme_along(self.argmin(Some(axis), true)?, axis, keepdim)
    }

    fn extreme_along(&self, at: Tensor, axis: isize, keepdim: bool) -> Result<(Tensor, Tensor)> {
        let values = self.gather(axis, &at)?;
        if keepdim || self.ndim() == 0 {
            Ok((values, at))
        } else {
            Ok((values.squeeze(&[axis])?, at.squeeze(&[axis])?))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::DType;
    use crate::testing::draw;

    proptest! {
        #[test]
        fn places_are_those_of_the_first_extremes(
            (a, b, c) in (1usize..60, 1usize..40, 1usize..70), axis in 0usize..3, order in 0usize..3, seed in 0u64..1000
        ) {
            let turns: [&[isize]; 3] = [&[0, 1, 2], &[2, 0, 1], &[1, 2, 0]];
            let backs: [&[isize]; 3] = [&[0, 1, 2], &[1, 2, 0], &[2, 0, 1]];
            for dtype in [DType::F64, DType::F32] {
                // In steps, so that there are ties.
                let steps = draw(&[a, b, c], (0.0, 20.0), seed).floor().unwrap();
                let x = steps.add(1000.0).unwrap().to_dtype(dtype).unwrap();
                let x = x.permute(turns[order]).unwrap().copy().unwrap().permute(backs[order]).unwrap();
                let axis = axis as isize;
                for (place, best) in [
                    (x.argmax(Some(axis), true).unwrap(), x.amax(&[axis], true).unwrap()),
                    (x.argmin(Some(axis), true).unwrap(), x.amin(&[axis], true).unwrap()),
                ] {
                    // The first of those that equal the extreme: none before it does.
                    let count = Tensor::count(x.shape()[axis as usize]).unwrap().view(&[x.shape()[axis as usize], 1, 1]).unwrap();
                    let index = count.movedim(0, axis).unwrap();
                    let equal = x.eq(&best).unwrap();
                    let first = Tensor::select_where(&equal, &index, i64::MAX).unwrap().amin(&[axis], true).unwrap();
                    prop_assert!(first.eq(&place).unwrap().all().unwrap());
                }
            }
        }
    }

    #[test]
    fn every_dtype_has_them_whatever_the_size() {
        for &dtype in DType::ALL.iter().filter(|dtype| !dtype.is_complex()) {
            for (rows, size) in
                [(1, 1), (1, 64), (3, 63), (2, 65), (40, 130), (1, 4096), (2, 4097), (9, 5003)]
            {
                let steps = draw(&[rows, size], (0.0, 99.0), size as u64).floor().unwrap();
                let x = if dtype == DType::Bool {
                    steps.lt(50.0).unwrap()
                } else {
                    steps.to_dtype(dtype).unwrap()
                };
                // In one piece, and every other column backwards.
                let twice = Tensor::stack(&[&x, &x], 2).unwrap().flatten(1, 2).unwrap();
                for x in [x.clone(), twice.stepped(1, 2 * size - 1, size, -2).unwrap()] {
                    let values = x.to_dtype(DType::F64).unwrap().copy().unwrap();
                    let values: &[f64] = values.as_slice().unwrap();
                    let first = |values: &[f64], beats: fn(f64, f64) -> bool| {
                        (0..values.len())
                            .reduce(|best, at| if beats(values[at], values[best]) { at } else { best })
                    };
                    let beats: [fn(f64, f64) -> bool; 2] = [|x, best| x > best, |x, best| x < best];
                    for (find, beats) in [Tensor::argmax, Tensor::argmin].into_iter().zip(beats) {
                        let all = find(&x, None, false).unwrap();
                        assert_eq!(
                            all.item().unwrap().to_i64() as usize,
                            first(values, beats).unwrap(),
                            "{dtype}"
                        );
                        let each: Vec<i64> =
                            values.chunks(size).map(|row| first(row, beats).unwrap() as i64).collect();
                        assert_eq!(
                            find(&x, Some(1), false).unwrap().as_slice::<i64>().unwrap(),
                            each,
                            "{dtype}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn shapes_are_those_of_reductions() {
        let x = Tensor::count(24).unwrap().view(&[2, 3, 4]).unwrap();
        assert_eq!(x.argmax(None, true).unwrap().shape(), [1, 1, 1]);
        assert_eq!(x.argmax(Some(1), true).unwrap().shape(), [2, 1, 4]);
        assert_eq!(x.argmax(Some(-1), false).unwrap().shape(), [2, 3]);
        let number = x.sum_all().unwrap();
        assert!(number.argmax(Some(0), false).unwrap().shape().is_empty());
        assert_eq!(number.argmax(None, true).unwrap().item().unwrap(), 0i64.into());
        let none = x.narrow(1, 0, 0).unwrap();
        assert!(none.argmax(None, false).is_err() && none.argmax(Some(1), false).is_err());
        assert_eq!(none.argmax(Some(0), false).unwrap().shape(), [0, 4]);
    }

    #[test]
    fn the_first_nan_is_the_extreme_wherever_it_lies() {
        for (size, axis) in [(5, 0), (5000, 0), (100_000, 0), (3000, 1)] {
            for places in [vec![0], vec![size / 2, size - 1], vec![size - 1]] {
                let mut x = vec![1.0f32; size * if axis == 1 { 64 } else { 1 }];
                for &at in &places {
                    x[if axis == 1 { at * 64 + 3 } else { at }] = f32::NAN;
                }
                let x = if axis == 1 {
                    Tensor::from_slice(&x, &[size, 64]).unwrap().select(1, 3).unwrap()
                } else {
                    Tensor::from_slice(&x, &[size]).unwrap()
                };
                for found in [x.argmax(Some(0), false), x.argmin(Some(0), false)] {
                    assert_eq!(found.unwrap().item().unwrap(), (places[0] as i64).into());
                }
            }
        }
        let mut x = vec![1.0f32; 1000 * 64];
        (x[70], x[64 * 900 + 6]) = (f32::NAN, f32::NAN);
        let places = Tensor::from_slice(&x, &[1000, 64]).unwrap().argmax(Some(0), false).unwrap();
        assert_eq!(places.as_slice::<i64>().unwrap()[5..8], [0, 1, 0]);
    }
}
