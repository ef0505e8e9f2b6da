//! Sums, products, extremes and what follows from them, over any dimensions.

use super::expect_real;
use crate::autograd::record;
use crate::layout::{Layout, resolve_axis};
use crate::{DType, Error, Result, Shape, Tensor};

/// What many numbers are made one by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Their sum; 0 for none.
    Sum,
    /// Their product; 1 for none.
    Prod,
    /// The largest, NaN if one is.
    Max,
    /// The smallest, NaN if one is.
    Min,
}

impl ReduceOp {
    /// Every one of them.
    pub const ALL: &'static [ReduceOp] = &[ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min];

    /// torch's name.
    pub const fn name(self) -> &'static str {
        match self {
            ReduceOp::Sum => "sum",
            ReduceOp::Prod => "prod",
            ReduceOp::Max => "max",
            ReduceOp::Min => "min",
        }
    }
}

/// The dimensions that go, each once and in order; all of them if none is named.
fn resolve_axes(op: &'static str, axes: &[isize], ndim: usize) -> Result<Vec<usize>> {
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
fn kept(shape: &[usize], axes: &[usize]) -> Shape {
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
            ReduceOp::Prod => &[self],
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
                (_, [x]) => prod_gradient(&g, x, &axes)?,
                _ => g.expand(&before)?,
            };
            Ok(vec![Some(grad)])
        }))
    }

    /// Without `axes`, all of size 1.
    fn squeeze_axes(&self, axes: &[usize]) -> Result<Tensor> {
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

    /// The mean over `axes`, for floats. Halves are summed up in float32.
    ///
    /// # Errors
    /// `DType` for integers and bools; otherwise as for [`Tensor::reduce`].
    pub fn mean(&self, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.expect_float("mean")?;
        self.in_single(|x| {
            let axes = resolve_axes("mean", axes, x.ndim())?;
            let count: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
            let axes: Vec<isize> = axes.into_iter().map(|axis| axis as isize).collect();
            x.sum(&axes, keepdim)?.div(count as f64)
        })
    }

    /// The variance over `axes`, for floats: squared distances from the mean, divided by the count less `correction` (1 by default in
    /// torch, 0 in NumPy).
    ///
    /// # Errors
    /// As for [`Tensor::mean`].
    pub fn var(&self, axes: &[isize], correction: f64, keepdim: bool) -> Result<Tensor> {
        self.expect_float("var")?;
        self.in_single(|x| {
            let axes = resolve_axes("var", axes, x.ndim())?;
            let count: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
            let divisor = (count as f64 - correction).max(0.0);
            let whole = kept(x.shape(), &axes);
            let spread = x.backend().spread(x, &axes)?.div(divisor)?;
            let shape = if keepdim { whole.as_slice() } else { spread.shape() };
            let out = Tensor::over(spread.storage().clone(), Layout::contiguous(shape), x.dtype());
            Ok(record("var", out, &[x], &[x], move |b| {
                // The mean's own part vanishes: distances from it add up to nothing.
                let (g, x) = (b.grad().reshape(&whole)?, &b.saved[0]);
                let signed: Vec<isize> = axes.iter().map(|&axis| axis as isize).collect();
                Ok(vec![Some(x.sub(&x.mean(&signed, true)?)?.mul(&g.mul(2.0 / divisor)?)?)])
            }))
        })
    }

    /// The standard deviation: the root of [`Tensor::var`].
    ///
    /// # Errors
    /// As for [`Tensor::mean`].
    pub fn std(&self, axes: &[isize], correction: f64, keepdim: bool) -> Result<Tensor> {
        self.var(axes, correction, keepdim)?.sqrt()
    }

    /// The `p`-norm over `axes`, for floats: `(Σ |x|ᵖ)^(1/p)`, the largest |x| for infinity, how many are not zero for 0.
    ///
    /// # Errors
    /// As for [`Tensor::mean`].
    pub fn norm(&self, p: f64, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.expect_float("norm")?;
        self.in_single(|x| match p {
            f64::INFINITY => x.abs()?.amax(axes, keepdim),
            f64::NEG_INFINITY => x.abs()?.amin(axes, keepdim),
            0.0 => x.ne(0.0)?.to_dtype(x.dtype())?.sum(axes, keepdim),
            1.0 => x.abs()?.sum(axes, keepdim),
            2.0 => x.square()?.sum(axes, keepdim)?.root(),
            _ => x.abs()?.pow(p)?.sum(axes, keepdim)?.pow(1.0 / p),
        })
    }

    /// The square root, with a gradient of zero, as torch's norms have it, at zero.
    fn root(&self) -> Result<Tensor> {
        let zero = self.eq(0.0)?;
        Tensor::select_where(&zero, 0.0, &Tensor::select_where(&zero, 1.0, self)?.sqrt()?)?
            .to_dtype(self.dtype())
    }

    /// `ln Σ eˣ` over `axes`, without overflow.
    ///
    /// # Errors
    /// As for [`Tensor::mean`].
    pub fn logsumexp(&self, axes: &[isize], keepdim: bool) -> Result<Tensor> {
        self.expect_float("logsumexp")?;
        self.in_single(|x| {
            let axes = resolve_axes("logsumexp", axes, x.ndim())?;
            let signed: Vec<isize> = axes.iter().map(|&axis| axis as isize).collect();
            let max = if x.numel() == 0 {
                x.detach().sum(&signed, true)?
            } else {
                x.detach().amax(&signed, true)?
            };
            let max = Tensor::select_where(&max.isfinite()?, &max, 0.0)?;
            let sum = x.sub(&max)?.exp()?.sum(&signed, true)?.log()?.add(&max)?;
            if keepdim { Ok(sum) } else { sum.squeeze_axes(&axes) }
        })
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
        let Some(axis) = axis else {
            let found = self.detach().reshape(&[self.numel()])?.arg_extreme(op, largest, Some(0), false)?;
            return if keepdim { found.view(&vec![1; self.ndim()]) } else { Ok(found) };
        };
        let axis = resolve_axis(op, axis, self.ndim())?;
        if self.ndim() == 0 {
            return Tensor::zeros_of(&[], DType::I64);
        }
        if self.shape()[axis] == 0 {
            let message = format!("there is no extreme of no elements, got shape {:?}", self.shape());
            return Err(Error::argument(op, message));
        }
        let last = self.detach().movedim(axis as isize, -1)?;
        let found = self.backend().arg_extreme(&last, largest)?;
        if keepdim { found.unsqueeze(axis as isize) } else { Ok(found) }
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

    proptest! {
        #[test]
        fn variances_and_places_equal_their_definitions(
            (a, b, c) in (1usize..60, 1usize..40, 1usize..70), axis in 0usize..3, order in 0usize..3, seed in 0u64..1000
        ) {
            let turns: [&[isize]; 3] = [&[0, 1, 2], &[2, 0, 1], &[1, 2, 0]];
            let backs: [&[isize]; 3] = [&[0, 1, 2], &[1, 2, 0], &[2, 0, 1]];
            for (dtype, close) in [(DType::F64, 1e-12), (DType::F32, 1e-5)] {
                // Far from zero, where the mean of the squares less the square of the mean has no digit left; in steps, so that there
                // are ties.
                let steps = crate::testing::draw(&[a, b, c], (0.0, 20.0), seed).floor().unwrap();
                let x = steps.add(1000.0).unwrap().to_dtype(dtype).unwrap();
                let x = x.permute(turns[order]).unwrap().copy().unwrap().permute(backs[order]).unwrap();
                let wide = x.to_dtype(DType::F64).unwrap();
                let axis = axis as isize;
                let distance = wide.sub(&wide.mean(&[axis], true).unwrap()).unwrap();
                let want = distance.square().unwrap().mean(&[axis], false).unwrap();
                let got = x.var(&[axis], 0.0, false).unwrap().to_dtype(DType::F64).unwrap();
                for (got, want) in got.as_slice::<f64>().unwrap().iter().zip(want.as_slice::<f64>().unwrap()) {
                    prop_assert!((got - want).abs() <= close * (1.0 + want), "{got} {want}");
                }
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
