//! Sums, products and extremes, over any dimensions.

use super::expect_real;
use crate::autograd::record;
use crate::layout::{Layout, resolve_axis};
use crate::{DType, Error, Result, Shape, Tensor};

/// What many numbers are made one by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Their sum; 0 for none.
    Sum,
    /// The sum of their squares; 0 for none.
    SumSquares,
    /// Their product; 1 for none.
    Prod,
    /// The largest, NaN if one is.
    Max,
    /// The smallest, NaN if one is.
    Min,
}

impl ReduceOp {
    /// Every one of them.
    pub const ALL: &'static [ReduceOp] =
        &[ReduceOp::Sum, ReduceOp::SumSquares, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min];

    /// torch's name, where it has one.
    pub const fn name(self) -> &'static str {
        match self {
            ReduceOp::Sum => "sum",
            ReduceOp::SumSquares => "sum of squares",
            ReduceOp::Prod => "prod",
            ReduceOp::Max => "max",
            ReduceOp::Min => "min",
        }
    }
}

/// The dimensions that go, each once and in order; all of them if none is named.
pub(super) fn resolve_axes(op: &'static str, axes: &[isize], ndim: usize) -> Result<Vec<usize>> {
    if axes.is_empty() || ndim == 0 {
        axes.iter().try_for_each(|&axis| resolve_axis(op, axis, ndim).map(|_| ()))?;
        return Ok((0..ndim).collect());
    }
    let mut resolved: Vec<usize> =
        axes.iter().map(|&axis| resolve_axis(op, axis, ndim)).collect::<Result<_>>()?;
    resolved.sort_unstable();
    if resolved.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Error::argument(op, format!("dimensions {axes:?} name one of them twice")));
    }
    Ok(resolved)
}

/// `shape` with `axes` of size 1.
pub(super) fn kept(shape: &[usize], axes: &[usize]) -> Shape {
    shape.iter().enumerate().map(|(axis, &size)| if axes.contains(&axis) { 1 } else { size }).collect()
}

impl Tensor {
    /// Over `axes`, or over all dimensions if none is named. Sums and products of integers and bools are int64, as torch's.
    ///
    /// # Errors
    /// `Index` or `Argument` for axes that are not there or named twice; `Argument` for the extreme of nothing.
    pub fn reduce(&self, op: ReduceOp, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        expect_real(op.name(), &[self])?;
        let axes = resolve_axes(op.name(), axes, self.ndim())?;
        let extreme = matches!(op, ReduceOp::Max | ReduceOp::Min);
        if extreme && self.numel() == 0 && axes.iter().any(|&axis| self.shape()[axis] == 0) {
            let message = format!("there is no extreme of no elements, got shape {:?}", self.shape());
            return Err(Error::argument(op.name(), message));
        }
        let dtype = if extreme || self.dtype().is_float() { self.dtype() } else { DType::I64 };
        let whole = kept(self.shape(), &axes);
        let gone = |axis: &usize| !keepdim && axes.contains(axis);
        let shape: Shape = (0..self.ndim()).filter(|axis| !gone(axis)).map(|axis| whole[axis]).collect();
        let reduced = self.backend().reduce(op, self, &axes, dtype)?;
        let out = Tensor::over(reduced.storage().clone(), Layout::contiguous(&shape), dtype);
        let value = out.clone();
        let saved: &[&Tensor] = match op {
            ReduceOp::Sum => &[],
            ReduceOp::Prod | ReduceOp::SumSquares => &[self],
            ReduceOp::Max | ReduceOp::Min => &[self, &value],
        };
        let before = Shape::from(self.shape());
        Ok(record(op.name(), out, &[self], saved, move |b| {
            let g = b.grad().reshape(&whole)?;
            let grad = match (op, b.saved) {
                // All ties share, so that the gradient is that of the mean of the ways to choose.
                (_, [x, extreme]) => {
                    let ties = x.eq(&extreme.reshape(&whole)?)?.to_dtype(g.dtype())?;
                    let signed: Vec<isize> = axes.iter().map(|&axis| axis as isize).collect();
                    let count = if axes.is_empty() { ties.clone() } else { ties.sum(&signed, true)? };
                    ties.mul(&g.div(&count)?)?
                }
                (ReduceOp::SumSquares, [x]) => x.mul(&g.mul(2.0)?)?,
                (_, [x]) => prod_gradient(&g, x, &axes)?,
                _ => g.expand(&before)?,
            };
            Ok(vec![Some(grad)])
        }))
    }

    /// Without `axes`, all of size 1.
    pub(super) fn squeeze_axes(&self, axes: &[usize]) -> Result<Tensor> {
        if axes.is_empty() {
            return Ok(self.clone());
        }
        let shape: Shape = self
            .shape()
            .iter()
            .enumerate()
            .filter(|(axis, _)| !axes.contains(axis))
            .map(|(_, &size)| size)
            .collect();
        self.view(&shape)
    }

    /// The sum over `axes`. Fails as [`Tensor::reduce`] does.
    pub fn sum(&self, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Sum, axes, keepdim)
    }

    /// The sum of all elements. Fails as [`Tensor::reduce`] does.
    pub fn sum_all(&self) -> Result<Tensor> {
        self.sum(&[], false)
    }

    /// The product over `axes`. Fails as [`Tensor::reduce`] does.
    pub fn prod(&self, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Prod, axes, keepdim)
    }

    /// The largest elements over `axes`: torch's `amax`; equal ones share the gradient. Fails as [`Tensor::reduce`] does.
    pub fn amax(&self, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Max, axes, keepdim)
    }

    /// The smallest elements over `axes`: torch's `amin`; equal ones share the gradient. Fails as [`Tensor::reduce`] does.
    pub fn amin(&self, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.reduce(ReduceOp::Min, axes, keepdim)
    }

    /// The sum over whatever broadcasting from `shape` to this shape has repeated.
    ///
    /// # Errors
    /// `Shapes` when `shape` does not broadcast to this one.
    pub fn sum_to(&self, shape: &[usize]) -> Result<Tensor> {
        if self.shape() == shape {
            return Ok(self.clone());
        }
        let misfit = |lead: Option<usize>| {
            lead.filter(|lead| {
                self.shape()[*lead..].iter().zip(shape).all(|(&own, &size)| own == size || size == 1)
            })
            .ok_or_else(|| {
                let rule = "the result must have a shape that broadcasts to that of its gradient";
                Error::Shapes { op: "sum_to", rule, left: shape.into(), right: self.shape().into() }
            })
        };
        let lead = misfit(self.ndim().checked_sub(shape.len()))?;
        let goes = |&axis: &usize| axis < lead || shape[axis - lead] != self.shape()[axis];
        let axes: Vec<isize> = (0..self.ndim()).filter(goes).map(|axis| axis as isize).collect();
        if axes.is_empty() { Ok(self.clone()) } else { self.sum(&axes, true)?.view(shape) }
    }

    /// Whether any element over `axes` is not zero: bools.
    ///
    /// # Errors
    /// As for [`Tensor::reduce`].
    pub fn any_over(&self, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.truth()?.sum(axes, keepdim)?.ne(0i64)
    }

    /// Whether all elements over `axes` are not zero: bools.
    ///
    /// # Errors
    /// As for [`Tensor::reduce`].
    pub fn all_over(&self, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.truth()?.logical_not()?.sum(axes, keepdim)?.eq(0i64)
    }

    /// Whether any element is not zero.
    ///
    /// # Errors
    /// As for [`Tensor::reduce`].
    pub fn any(&self) -> Result<bool> {
        Ok(self.truth()?.sum_all()?.item()?.to_i64() != 0)
    }

    /// Whether no element is zero.
    ///
    /// # Errors
    /// As for [`Tensor::reduce`].
    pub fn all(&self) -> Result<bool> {
        Ok(self.truth()?.sum_all()?.item()?.to_i64() == self.numel() as i64)
    }

    /// Refuses all but floats.
    pub(crate) fn expect_float(&self, op: &'static str) -> Result<()> {
        if self.dtype().is_float() {
            return Ok(());
        }
        let rule = "the elements must be floating-point numbers: convert them first";
        Err(Error::DType { op, rule, dtype: self.dtype() })
    }

    /// Runs `work` on this tensor, on float32 where it is of halves, whose result then becomes halves again.
    pub(crate) fn in_single(&self, work: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
        match self.dtype() {
            DType::F16 | DType::BF16 => work(&self.to_dtype(DType::F32)?)?.to_dtype(self.dtype()),
            _ => work(self),
        }
    }
}

/// For every element `g` times the product of all others, without dividing: zeros have a gradient, too.
fn prod_gradient(g: &Tensor, x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    let others: Vec<isize> =
        (0..x.ndim()).filter(|axis| !axes.contains(axis)).map(|axis| axis as isize).collect();
    let order: Vec<isize> = others.iter().copied().chain(axes.iter().map(|&axis| axis as isize)).collect();
    let turned = x.permute(&order)?;
    let count: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    let mut rows: Vec<usize> = others.iter().map(|&axis| x.shape()[axis as usize]).collect();
    rows.push(count);
    let flat = turned.reshape(&rows)?;
    let before = flat.products_before()?;
    let after = flat.flip(&[-1])?.products_before()?.flip(&[-1])?;
    let mut back = vec![0isize; x.ndim()];
    for (new, &old) in order.iter().enumerate() {
        back[old as usize] = new as isize;
    }
    g.mul(&before.mul(&after)?.reshape(turned.shape())?.permute(&back)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::check_gradient;

    /// The reduction of `x`, of shape (a, b, c), over the marked dimensions, one element at a time.
    fn reference(
        x: &[f64],
        shape: [usize; 3],
        over: [bool; 3],
        start: f64,
        step: impl Fn(f64, f64) -> f64,
    ) -> Vec<f64> {
        let kept: Vec<usize> = (0..3).map(|i| if over[i] { 1 } else { shape[i] }).collect();
        let mut out = vec![start; kept.iter().product()];
        for (i, &x) in x.iter().enumerate() {
            let at = [i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]];
            let to = (0..3).fold(0, |to, d| to * kept[d] + if over[d] { 0 } else { at[d] });
            out[to] = step(out[to], x);
        }
        out
    }

    proptest! {
        #[test]
        fn every_reduction_equals_its_definition(
            shape in (1usize..60, 1usize..40, 1usize..70), over: [bool; 3], order in 0usize..3, seed in 0u64..1000
        ) {
            let shape = [shape.0, shape.1, shape.2];
            let x: Vec<f64> = (0..shape.iter().product()).map(|i: usize| ((i as f64 + seed as f64) * 0.7391).sin()).collect();
            let axes: Vec<isize> = (0..3).filter(|&i| over[i]).map(|i| i as isize).collect();
            // None named means all.
            let over = if axes.is_empty() { [true; 3] } else { over };
            // The same numbers, laid out in another order in memory.
            let turns: [&[isize]; 3] = [&[0, 1, 2], &[2, 0, 1], &[1, 2, 0]];
            let backs: [&[isize]; 3] = [&[0, 1, 2], &[1, 2, 0], &[2, 0, 1]];
            for dtype in [DType::F64, DType::F32] {
                let x_tensor = Tensor::from_slice(&x, &shape).unwrap().to_dtype(dtype).unwrap();
                let x_tensor = x_tensor.permute(turns[order]).unwrap().copy().unwrap().permute(backs[order]).unwrap();
                for (op, start, step) in [
                    (ReduceOp::Sum, 0.0, (|a, b| a + b) as fn(f64, f64) -> f64),
                    (ReduceOp::SumSquares, 0.0, |total, x| total + x * x),
                    (ReduceOp::Max, f64::NEG_INFINITY, f64::max),
                    (ReduceOp::Min, f64::INFINITY, f64::min),
                    (ReduceOp::Prod, 1.0, |a, b| a * b),
                ] {
                    let want = reference(&x, shape, over, start, step);
                    let got = x_tensor.reduce(op, &axes, true).unwrap().to_dtype(DType::F64).unwrap();
                    for (got, want) in got.as_slice::<f64>().unwrap().iter().zip(want) {
                        let close = if dtype == DType::F64 { 1e-9 } else { 3e-5 };
                        prop_assert!((got - want).abs() <= close * (1.0 + want.abs()), "{} {} {}", op.name(), got, want);
                    }
                }
            }
        }

        #[test]
        fn reductions_pass_their_gradient((a, b, c) in (0usize..4, 1usize..4, 1usize..4), over: [bool; 3], keepdim: bool, seed in 0u64..1000) {
            let axes: Vec<isize> = (0..3).filter(|&i| over[i]).map(|i| i as isize).collect();
            let check = |name: &str, f: &dyn Fn(&Tensor) -> Result<Tensor>| {
                check_gradient(name, &[&[a, b, c]], (0.3, 2.0), seed, |x| f(&x[0]));
            };
            check("sum", &|x| x.sum(&axes, keepdim));
            check("sum of squares", &|x| x.reduce(ReduceOp::SumSquares, &axes, keepdim));
            check("prod", &|x| x.sub(0.9)?.prod(&axes, keepdim));
            if a > 0 {
                check("mean", &|x| x.mean(&axes, keepdim));
                check("amax", &|x| x.amax(&axes, keepdim));
                check("amin", &|x| x.amin(&axes, keepdim));
                check("var", &|x| x.var(&axes, 0.0, keepdim));
                check("norm", &|x| x.norm(2.0, &axes, keepdim));
                check("norm", &|x| x.norm(3.0, &axes, keepdim));
                check("logsumexp", &|x| x.logsumexp(&axes, keepdim));
                check("max", &|x| Ok(x.max_along(-1, keepdim)?.0));
                check("min", &|x| Ok(x.min_along(0, keepdim)?.0));
            }
        }
    }

    #[test]
    fn one_element_alone_is_its_own_sum_and_extreme() {
        for dtype in [DType::F32, DType::F64, DType::BF16, DType::I64, DType::U8] {
            for (shape, axis) in [([1, 64], 0), ([64, 1], 1), ([1, 50_000], 0), ([50_000, 1], 1), ([3, 1], 1)]
            {
                let x = Tensor::count(shape[0] * shape[1]).unwrap().remainder(97.0).unwrap();
                let x = x.view(&shape).unwrap().to_dtype(dtype).unwrap();
                for x in [x.clone(), x.flip(&[0, 1]).unwrap()] {
                    let want = x.select(axis, 0).unwrap();
                    for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min] {
                        let got = x.reduce(op, &[axis as isize], false).unwrap();
                        assert!(got.eq(&want).unwrap().all().unwrap(), "{} of {dtype} {shape:?}", op.name());
                    }
                    let squares = x.reduce(ReduceOp::SumSquares, &[axis as isize], false).unwrap();
                    let wide = want.to_dtype(squares.dtype()).unwrap();
                    assert!(squares.eq(&wide.square().unwrap()).unwrap().all().unwrap());
                    let place = x.argmax(Some(axis as isize), false).unwrap();
                    assert!(place.eq(0i64).unwrap().all().unwrap());
                    if dtype.is_float() {
                        let var = x.var(&[axis as isize], 0.0, false).unwrap();
                        assert!(var.eq(0.0).unwrap().all().unwrap());
                    }
                }
            }
        }
    }

    #[test]
    fn wide_columns_are_reduced_wherever_they_lie() {
        let (rows, width) = (70, 5003);
        let count =
            Tensor::count(rows * width).unwrap().view(&[rows, width]).unwrap().remainder(97.0).unwrap();
        for dtype in [DType::F32, DType::F64, DType::F16, DType::I16] {
            let x = count.to_dtype(dtype).unwrap();
            let wide = Tensor::cat(&[&x, &x], 1).unwrap();
            // In one piece; a part of longer rows; every second element; and one element for a whole row.
            let stepped = x
                .unsqueeze(-1)
                .unwrap()
                .expand(&[rows, width, 2])
                .unwrap()
                .copy()
                .unwrap()
                .select(2, 1)
                .unwrap();
            let single = x.narrow(1, 3, 4).unwrap();
            for (x, same) in [
                (x.clone(), x.clone()),
                (wide.narrow(1, width, 2 * width).unwrap(), x.clone()),
                (stepped, x.clone()),
                (
                    single.expand(&[rows, width]).unwrap(),
                    single.expand(&[rows, width]).unwrap().copy().unwrap(),
                ),
            ] {
                // Columns of the transpose are rows, which another path reduces.
                let turned = same.transpose(0, 1).unwrap().copy().unwrap();
                assert_eq!(
                    x.sum(&[0], false).unwrap().to_dtype(DType::F64).unwrap().as_slice::<f64>().unwrap(),
                    turned.sum(&[1], false).unwrap().to_dtype(DType::F64).unwrap().as_slice::<f64>().unwrap()
                );
                assert!(
                    x.argmax(Some(0), false)
                        .unwrap()
                        .eq(&turned.argmax(Some(1), false).unwrap())
                        .unwrap()
                        .all()
                        .unwrap()
                );
                assert!(
                    x.amin(&[0], false)
                        .unwrap()
                        .eq(&turned.amin(&[1], false).unwrap())
                        .unwrap()
                        .all()
                        .unwrap()
                );
                if dtype == DType::F64 {
                    let apart =
                        x.var(&[0], 0.0, false).unwrap().sub(&turned.var(&[1], 0.0, false).unwrap()).unwrap();
                    assert!(apart.abs().unwrap().lt(1e-10).unwrap().all().unwrap());
                }
            }
        }
    }

    #[test]
    fn products_with_zeros_have_gradients() {
        let x = Tensor::from_slice(&[2f64, 0.0, 3.0, 0.0, 0.0, 5.0], &[2, 3]).unwrap();
        x.set_requires_grad(true).unwrap();
        x.prod(&[1], false).unwrap().sum_all().unwrap().backward(None).unwrap();
        assert_eq!(x.grad().unwrap().as_slice::<f64>().unwrap(), [0.0, 6.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn equal_extremes_share() {
        let x = Tensor::from_slice(&[1f64, 3.0, 3.0], &[3]).unwrap();
        x.set_requires_grad(true).unwrap();
        x.amax(&[], false).unwrap().backward(None).unwrap();
        assert_eq!(x.grad().unwrap().as_slice::<f64>().unwrap(), [0.0, 0.5, 0.5]);
    }

    #[test]
    fn dtypes_and_empty_reductions_follow_torch() {
        let x = Tensor::from_slice(&[200u8, 100], &[2]).unwrap();
        assert_eq!(x.sum_all().unwrap().item().unwrap(), 300i64.into());
        assert_eq!(x.amax(&[], false).unwrap().dtype(), DType::U8);
        assert!(x.mean(&[], false).is_err());
        let none = Tensor::zeros(&[0, 3]).unwrap();
        assert_eq!(none.sum(&[0], false).unwrap().as_slice::<f32>().unwrap(), [0.0; 3]);
        assert_eq!(none.prod(&[], false).unwrap().item().unwrap(), 1.0.into());
        assert!(none.amax(&[0], false).is_err() && none.argmax(None, false).is_err());
        assert_eq!(none.amax(&[1], false).unwrap().shape(), [0]);
        assert!(!none.any().unwrap() && none.all().unwrap());
        assert!(none.sum(&[0, 0], false).is_err() && none.sum(&[2], false).is_err());
        let nan = Tensor::from_slice(&[1f32, f32::NAN, 2.0], &[3]).unwrap();
        assert_eq!(nan.argmax(None, false).unwrap().item().unwrap(), 1i64.into());
        assert!(nan.amax(&[], false).unwrap().isnan().unwrap().all().unwrap());
    }
}
