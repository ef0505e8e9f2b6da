//! Indexing as NumPy and torch write it: numbers, slices, new dimensions, and tensors of indices or bools.
//!
//! Numbers, slices and new dimensions make a view. Tensors read or write what they point at.

use super::place::{Places, Pointers};
use super::same_place;
use crate::layout::broadcast_shapes;
use crate::{DType, Error, Operand, Result, Tensor};

/// One item between the brackets.
#[derive(Clone, Debug)]
pub enum Index {
    /// One position, counted from the end if negative; the dimension goes away.
    At(i64),
    /// Every `step`-th position from `start` to before `stop`, as Python's slices; a negative step walks backwards.
    Slice {
        /// The first position; for a negative step the end if left out.
        start: Option<i64>,
        /// Where to stop; for a negative step before the beginning if left out.
        stop: Option<i64>,
        /// The distance, not zero.
        step: i64,
    },
    /// A new dimension of size 1.
    NewAxis,
    /// As many full slices as are missing.
    Ellipsis,
    /// Integers that point at positions, or bools that choose among the positions of as many dimensions as they have.
    Tensor(Tensor),
}

impl Index {
    /// All of a dimension.
    pub const ALL: Index = Index::Slice { start: None, stop: None, step: 1 };
}

impl Tensor {
    /// The elements at `index`: a view if that has no tensors in it, a new tensor otherwise.
    ///
    /// # Errors
    /// `Index` when a position is outside or there are too many items; `Argument` for a slice without step or a mask that does not fit;
    /// `DType` for an index of floats; `Shapes` when several do not broadcast together.
    pub fn index(&self, index: &[Index]) -> Result<Tensor> {
        let (view, pointers) = self.basic(index)?;
        if pointers.is_empty() { Ok(view) } else { view.point(&pointers) }
    }

    /// Writes `values`, broadcast and converted, to the elements at `index`; adds them if `accumulate`.
    ///
    /// # Errors
    /// As for [`Tensor::index`] and [`Tensor::copy_`].
    pub fn index_put_<'a>(
        &self,
        index: &[Index],
        values: impl Into<Operand<'a>>,
        accumulate: bool,
    ) -> Result<()> {
        let (view, pointers) = self.basic(index)?;
        let values = values.into();
        if let Operand::Tensor(tensor) = values
            && tensor.dtype().is_complex()
            && !self.dtype().is_complex()
        {
            let rule = "complex numbers do not fit into real ones: take their .real";
            return Err(Error::DType { op: "index_put", rule, dtype: tensor.dtype() });
        }
        if pointers.is_empty() {
            return if accumulate { view.add_(values) } else { view.copy_(values) };
        }
        let values = values.tensor(self.dtype(), self)?;
        same_place("index_put", [self, &values])?;
        let places = view.places("index", &pointers)?;
        let values = values.to_dtype(self.dtype())?.expand_for("index_put", &places.shape)?;
        if view.check_in_place("index_put", &[&values])? {
            let view_now = view.contiguous()?;
            let places = view_now.places("index", &pointers)?;
            return view.become_(&view_now.put_at(&places.offsets, places.block, &values, accumulate)?);
        }
        let values = if values.shares_storage(self) { values.copy()? } else { values.contiguous()? };
        self.storage().bump_version();
        self.backend().put(&view, &places.offsets, places.block, &values, accumulate)
    }

    /// `values` broadcast to `shape`, where leading dimensions of size 1 may be left over.
    fn expand_for(&self, op: &'static str, shape: &[usize]) -> Result<Tensor> {
        let extra = self.ndim().saturating_sub(shape.len());
        let values = if self.shape()[..extra].iter().all(|&size| size == 1) {
            self.reshape(&self.shape()[extra..])?
        } else {
            self.clone()
        };
        values.expand(shape).map_err(|_| Error::Shapes {
            op,
            rule: "the values must broadcast to the shape that they are written to",
            left: shape.into(),
            right: self.shape().into(),
        })
    }

    /// The view that all items but tensors make, and the tensors with the view's dimensions that they point into.
    fn basic(&self, index: &[Index]) -> Result<(Tensor, Pointers)> {
        let covers = |item: &Index| match item {
            Index::At(_) | Index::Slice { .. } => 1,
            Index::Tensor(tensor) if tensor.dtype() == DType::Bool => tensor.ndim(),
            Index::Tensor(_) => 1,
            Index::NewAxis | Index::Ellipsis => 0,
        };
        let covered: usize = index.iter().map(covers).sum();
        let ellipses = index.iter().filter(|item| matches!(item, Index::Ellipsis)).count();
        if covered > self.ndim() {
            let op = "index";
            return Err(Error::Index {
                op,
                what: "the list of dimensions",
                index: covered as i64 - 1,
                size: self.ndim(),
            });
        }
        if ellipses > 1 {
            return Err(Error::argument("index", "an index can have only one ellipsis"));
        }
        let (mut view, mut axis, mut pointers) = (self.clone(), 0, Pointers::new());
        for item in index {
            match item {
                Index::At(position) => view = view.select(axis, wrap(*position, view.shape()[axis])?)?,
                Index::Slice { start, stop, step } => {
                    if (start, stop, step) != (&None, &None, &1) {
                        let (first, len) = slice(*start, *stop, *step, view.shape()[axis])?;
                        view = view.stepped(axis, first, len, *step as isize)?;
                    }
                    axis += 1;
                }
                Index::NewAxis => {
                    view = view.unsqueeze(axis as isize)?;
                    axis += 1;
                }
                Index::Ellipsis => axis += self.ndim() - covered,
                Index::Tensor(tensor) if tensor.dtype() == DType::Bool => {
                    let region = &view.shape()[axis..axis + tensor.ndim()];
                    if region != tensor.shape() {
                        let rule = "a mask must have the shape of the dimensions that it chooses from";
                        let (left, right) = (region.into(), tensor.shape().into());
                        return Err(Error::Shapes { op: "index", rule, left, right });
                    }
                    if tensor.ndim() == 0 {
                        // One truth value chooses all or nothing, in a new dimension.
                        view = view.unsqueeze(axis as isize)?;
                        let chosen = Tensor::zeros_of(&[tensor.item()?.to_i64() as usize], DType::I64)?;
                        pointers.push((axis, chosen));
                        axis += 1;
                        continue;
                    }
                    let chosen = tensor.nonzero()?;
                    for d in 0..tensor.ndim() {
                        pointers.push((axis + d, chosen.select(1, d)?));
                    }
                    axis += tensor.ndim();
                }
                Index::Tensor(tensor) => {
                    if !tensor.dtype().is_int() {
                        let rule = "an index must be of integers or bools";
                        return Err(Error::DType { op: "index", rule, dtype: tensor.dtype() });
                    }
                    pointers.push((axis, tensor.clone()));
                    axis += 1;
                }
            }
        }
        Ok((view, pointers))
    }

    /// What `pointers` point at.
    fn point(&self, pointers: &Pointers) -> Result<Tensor> {
        // Places in a contiguous tensor are the same in its gradient.
        let x = if self.requires_grad() { self.contiguous()? } else { self.clone() };
        let Places { offsets, block, shape } = x.places("index", pointers)?;
        x.take_at(&offsets, block, &shape)
    }

    /// The positions of the elements that are not zero, in C order: (count, dimensions), int64.
    ///
    /// # Errors
    /// `DType` for complex numbers.
    pub fn nonzero(&self) -> Result<Tensor> {
        self.backend().nonzero(&self.detach().truth()?)
    }

    /// The elements where `mask`, of the shape of the leading dimensions, holds.
    ///
    /// # Errors
    /// As for [`Tensor::index`].
    pub fn masked_select(&self, mask: &Tensor) -> Result<Tensor> {
        let shape = broadcast_shapes("masked_select", self.shape(), mask.shape())?;
        self.expand(&shape)?.index(&[Index::Tensor(mask.expand(&shape)?)])
    }
}

/// `position` counted from the beginning.
fn wrap(position: i64, size: usize) -> Result<usize> {
    let from_start = if position < 0 { position.saturating_add(size as i64) } else { position };
    usize::try_from(from_start).ok().filter(|&position| position < size).ok_or(Error::Index {
        op: "index",
        what: "the dimension",
        index: position,
        size,
    })
}

/// The first position of a slice and the number of them, by Python's rules.
fn slice(start: Option<i64>, stop: Option<i64>, step: i64, size: usize) -> Result<(usize, usize)> {
    if step == 0 {
        return Err(Error::argument("index", "the step of a slice must not be zero"));
    }
    let size = size as i64;
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let clip =
        |position: i64| if position < 0 { position.saturating_add(size) } else { position }.clamp(low, high);
    let start = start.map_or(if step > 0 { low } else { high }, clip);
    let stop = stop.map_or(if step > 0 { high } else { low }, clip);
    let distance = if step > 0 { stop - start } else { start - stop };
    let len = if distance <= 0 { 0 } else { (distance - 1) / step.saturating_abs() + 1 };
    Ok((start.max(0) as usize, len as usize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::check_gradient;

    fn grid() -> Tensor {
        Tensor::arange(0i64.into(), 24i64.into(), 1i64.into(), DType::I64).unwrap().view(&[2, 3, 4]).unwrap()
    }

    fn ints(values: &[i64]) -> Index {
        Index::Tensor(Tensor::from_slice(values, &[values.len()]).unwrap())
    }

    fn numbers(x: Tensor) -> Vec<i64> {
        x.contiguous().unwrap().as_slice::<i64>().unwrap().to_vec()
    }

    #[test]
    fn views() {
        let x = grid();
        let every = |step| Index::Slice { start: None, stop: None, step };
        assert_eq!(numbers(x.index(&[Index::At(-1), Index::At(0)]).unwrap()), [12, 13, 14, 15]);
        assert_eq!(
            numbers(x.index(&[Index::At(0), Index::Ellipsis, every(-3)]).unwrap()),
            [3, 0, 7, 4, 11, 8]
        );
        assert_eq!(x.index(&[Index::Ellipsis, Index::NewAxis, Index::At(1)]).unwrap().shape(), [2, 3, 1]);
        assert!(x.index(&[Index::At(2)]).is_err() && x.index(&[Index::At(i64::MIN)]).is_err());
        assert!(x.index(&[every(0)]).is_err() && x.index(&vec![Index::At(0); 4]).is_err());
        x.index(&[Index::ALL, Index::At(0), Index::At(0)]).unwrap().fill_(7i64).unwrap();
        assert_eq!(numbers(x.index(&[Index::At(1), Index::At(0)]).unwrap()), [7, 13, 14, 15]);
    }

    proptest! {
        #[test]
        fn slices_are_pythons(size in 0usize..7, start in prop::option::of(-9i64..9), stop in prop::option::of(-9i64..9), step in -4i64..5) {
            prop_assume!(step != 0);
            let x = Tensor::count(size).unwrap();
            let got = numbers(x.index(&[Index::Slice { start, stop, step }]).unwrap());
            // Python's definition: the positions that the range visits, ends clipped.
            let n = size as i64;
            let at = |p: i64| if p < 0 { p + n } else { p };
            let mut i = start.map_or(if step > 0 { 0 } else { n - 1 }, |p| at(p).clamp(if step > 0 { 0 } else { -1 }, if step > 0 { n } else { n - 1 }));
            let end = stop.map_or(if step > 0 { n } else { -1 }, |p| at(p).clamp(if step > 0 { 0 } else { -1 }, if step > 0 { n } else { n - 1 }));
            let mut want = vec![];
            while if step > 0 { i < end } else { i > end } {
                want.push(i);
                i += step;
            }
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn pointers() {
        let x = grid();
        let got = x.index(&[Index::ALL, ints(&[2, -3])]).unwrap();
        assert_eq!(
            (got.shape(), numbers(got.clone())),
            (&[2, 2, 4][..], vec![8, 9, 10, 11, 0, 1, 2, 3, 20, 21, 22, 23, 12, 13, 14, 15])
        );
        let got = x.index(&[ints(&[1, 0]), ints(&[0, 2])]).unwrap();
        assert_eq!((got.shape(), numbers(got.clone())), (&[2, 4][..], vec![12, 13, 14, 15, 8, 9, 10, 11]));
        // Apart from one another, they come first.
        let got = x.index(&[ints(&[0, 1]), Index::ALL, ints(&[3, 0])]).unwrap();
        assert_eq!((got.shape(), numbers(got.clone())), (&[2, 3][..], vec![3, 7, 11, 12, 16, 20]));
        let turned = x.permute(&[2, 1, 0]).unwrap();
        assert_eq!(numbers(turned.index(&[ints(&[3]), Index::At(1)]).unwrap()), [7, 19]);
        let one = Index::Tensor(Tensor::scalar(1i64, DType::I64).unwrap());
        assert_eq!(x.index(&[Index::ALL, one, Index::ALL]).unwrap().shape(), [2, 4]);
        assert!(x.index(&[ints(&[2])]).is_err() && x.index(&[ints(&[0, 1]), ints(&[0, 1, 2])]).is_err());
        let float = Index::Tensor(Tensor::zeros(&[1]).unwrap());
        assert!(x.index(&[float]).is_err());
    }

    #[test]
    fn masks() {
        let x = grid();
        let mask = x.remainder(5i64).unwrap().eq(0i64).unwrap();
        assert_eq!(numbers(x.index(&[Index::Tensor(mask.clone())]).unwrap()), [0, 5, 10, 15, 20]);
        let rows = Tensor::from_slice(&[1u8, 0, 1], &[3]).unwrap().truth().unwrap();
        assert_eq!(x.index(&[Index::ALL, Index::Tensor(rows.clone())]).unwrap().shape(), [2, 2, 4]);
        assert!(x.index(&[Index::Tensor(rows)]).is_err());
        assert_eq!(mask.nonzero().unwrap().shape(), [5, 3]);
        x.index_put_(&[Index::Tensor(mask)], -1i64, false).unwrap();
        assert_eq!(numbers(x.index(&[Index::At(0), Index::At(1)]).unwrap()), [4, -1, 6, 7]);
        assert_eq!(Tensor::zeros(&[0, 3]).unwrap().nonzero().unwrap().shape(), [0, 2]);
    }

    #[test]
    fn assignment() {
        let x = grid();
        x.index_put_(&[Index::At(1), ints(&[0, 0, 2])], 1i64, true).unwrap();
        assert_eq!(numbers(x.index(&[Index::At(1), Index::ALL, Index::At(0)]).unwrap()), [14, 16, 21]);
        let column = Tensor::from_slice(&[1i64, 2], &[2, 1]).unwrap();
        x.index_put_(&[Index::At(0), ints(&[0, 1])], &column, false).unwrap();
        assert_eq!(numbers(x.index(&[Index::At(0)]).unwrap()), [1, 1, 1, 1, 2, 2, 2, 2, 8, 9, 10, 11]);
        assert!(x.index_put_(&[ints(&[0])], &Tensor::zeros(&[5]).unwrap(), false).is_err());
    }

    #[test]
    fn indexing_passes_its_gradient() {
        let mask = Tensor::from_slice(&[1u8, 0, 1], &[3]).unwrap().truth().unwrap();
        let cases: [(&str, Vec<Index>); 6] = [
            ("numbers and slices", vec![Index::At(1), Index::Slice { start: None, stop: None, step: -2 }]),
            ("pointers with repeats", vec![Index::ALL, ints(&[2, 0, 2])]),
            ("two pointers", vec![ints(&[0, 1, 1]), ints(&[0, 2, 2])]),
            ("pointers apart", vec![ints(&[0, 1]), Index::ALL, ints(&[3, 3])]),
            ("a mask", vec![Index::ALL, Index::Tensor(mask)]),
            ("a new dimension", vec![Index::Ellipsis, Index::NewAxis, ints(&[1, 1])]),
        ];
        for (name, index) in &cases {
            check_gradient(name, &[&[2, 3, 4]], (-1.0, 1.0), 1, |x| x[0].index(index)?.square());
            let shape = Tensor::zeros(&[2, 3, 4]).unwrap().index(index).unwrap().shape().to_vec();
            check_gradient(name, &[&[2, 3, 4], &shape[shape.len() - 1..]], (-1.0, 1.0), 2, |x| {
                let y = x[0].mul(2.0)?;
                // Where places repeat, which value stays is not defined: only adding is.
                y.index_put_(index, &x[1], true)?;
                y.square()
            });
        }
        check_gradient("assignment", &[&[3, 2], &[2]], (-1.0, 1.0), 3, |x| {
            let y = x[0].mul(2.0)?;
            y.index_put_(&[ints(&[2, 0])], &x[1], false)?;
            y.square()
        });
    }
}
