//! Comparisons, logic, and choosing by their outcome.

use super::{expect_real, same_place};
use crate::autograd::record;
use crate::layout::broadcast_shapes;
use crate::scalar::result_type;
use crate::{DType, Error, Operand, Result, Scalar, Tensor};

macro_rules! compare {
    ($($variant:ident, $method:ident, $doc:literal;)*) => {
        /// A comparison of two numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CompareOp { $(#[doc = $doc] $variant),* }

        impl CompareOp {
            /// Every one of them.
            pub const ALL: &'static [CompareOp] = &[$(CompareOp::$variant),*];

            /// torch's name.
            pub const fn name(self) -> &'static str {
                match self { $(CompareOp::$variant => stringify!($method)),* }
            }
        }

        impl Tensor {
            $(
                #[doc = concat!("Whether ", $doc, ", for every pair, with broadcasting: bools. Fails with `Shapes` where those do not fit.")]
                pub fn $method<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
                    self.compare(CompareOp::$variant, other)
                }
            )*
        }
    };
}

compare! {
    Eq, eq, "x = y";
    Ne, ne, "x ≠ y";
    Lt, lt, "x < y";
    Le, le, "x ≤ y";
    Gt, gt, "x > y";
    Ge, ge, "x ≥ y";
}

impl Tensor {
    /// `op` of every pair of elements, with broadcasting: bools.
    ///
    /// # Errors
    /// `Shapes` when the shapes do not broadcast; `DType` for an order of complex numbers.
    pub fn compare<'a>(&self, op: CompareOp, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        let other = other.into();
        let common = result_type(&[self.into(), other]);
        let other = other.tensor(common, self)?;
        if common.is_complex() && matches!(op, CompareOp::Eq | CompareOp::Ne) {
            let equal = self.to_dtype(common)?.equal_parts(&other.to_dtype(common)?)?;
            return if op == CompareOp::Eq { Ok(equal) } else { equal.logical_not() };
        }
        expect_real(op.name(), &[self, &other])?;
        same_place(op.name(), [self, &other])?;
        let shape = broadcast_shapes(op.name(), self.shape(), other.shape())?;
        self.backend().compare(op, self, &other, common, &shape)
    }

    /// Whether each element is not zero.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn truth(&self) -> Result<Tensor> {
        match self.dtype() {
            DType::Bool => Ok(self.clone()),
            dtype if dtype.is_complex() => self.to_dtype(DType::Bool),
            _ => self.ne(0i64),
        }
    }

    /// Whether both are not zero, with broadcasting.
    ///
    /// # Errors
    /// `Shapes` when the shapes do not broadcast.
    pub fn logical_and(&self, other: &Tensor) -> Result<Tensor> {
        self.truth()?.bitwise_and(&other.truth()?)
    }

    /// Whether one is not zero, with broadcasting.
    ///
    /// # Errors
    /// `Shapes` when the shapes do not broadcast.
    pub fn logical_or(&self, other: &Tensor) -> Result<Tensor> {
        self.truth()?.bitwise_or(&other.truth()?)
    }

    /// Whether exactly one is not zero, with broadcasting.
    ///
    /// # Errors
    /// `Shapes` when the shapes do not broadcast.
    pub fn logical_xor(&self, other: &Tensor) -> Result<Tensor> {
        self.truth()?.bitwise_xor(&other.truth()?)
    }

    /// Whether each element is zero.
    ///
    /// # Errors
    /// `DType` for complex numbers.
    pub fn logical_not(&self) -> Result<Tensor> {
        self.truth()?.bitwise_not()
    }

    /// Whether each element is NaN.
    ///
    /// # Errors
    /// `DType` for complex numbers.
    pub fn isnan(&self) -> Result<Tensor> {
        self.ne(self)
    }

    /// Whether each element is infinite.
    ///
    /// # Errors
    /// `DType` for complex numbers.
    pub fn isinf(&self) -> Result<Tensor> {
        self.magnitude()?.eq(f64::INFINITY)
    }

    /// Whether each element is neither NaN nor infinite.
    ///
    /// # Errors
    /// `DType` for complex numbers.
    pub fn isfinite(&self) -> Result<Tensor> {
        self.magnitude()?.lt(f64::INFINITY)
    }

    fn magnitude(&self) -> Result<Tensor> {
        let x = self.detach();
        if x.dtype().is_float() { x.abs() } else { x.to_dtype(DType::F32)?.abs() }
    }

    /// `x` where `condition` holds, `y` elsewhere, all broadcast together: torch's `where`.
    ///
    /// # Errors
    /// `DType` when the condition is not of bools; `Shapes` when the shapes do not broadcast.
    pub fn select_where<'a, 'b>(
        condition: &Tensor,
        x: impl Into<Operand<'a>>,
        y: impl Into<Operand<'b>>,
    ) -> Result<Tensor> {
        let (x, y) = (x.into(), y.into());
        if condition.dtype() != DType::Bool {
            let rule = "the condition must be of bools";
            return Err(Error::DType { op: "where", rule, dtype: condition.dtype() });
        }
        let dtype = result_type(&[x, y]);
        let (x, y) = (x.tensor(dtype, condition)?, y.tensor(dtype, condition)?);
        expect_real("where", &[&x, &y])?;
        same_place("where", [condition, &x, &y])?;
        let shape = broadcast_shapes("where", x.shape(), y.shape())?;
        let shape = broadcast_shapes("where", condition.shape(), &shape)?;
        let out = condition.backend().select(condition, &x, &y, dtype, &shape)?;
        Ok(record("where", out, &[&x, &y], &[condition], |b| {
            let (g, condition) = (b.grad(), &b.saved[0]);
            Ok(vec![
                b.when(0, || Tensor::select_where(condition, g, 0.0))?,
                b.when(1, || Tensor::select_where(condition, 0.0, g))?,
            ])
        }))
    }

    /// `value` where `mask` holds, the element elsewhere.
    ///
    /// # Errors
    /// As for [`Tensor::select_where`].
    pub fn masked_fill<'a>(&self, mask: &Tensor, value: impl Into<Operand<'a>>) -> Result<Tensor> {
        let value = value.into().tensor(self.dtype(), self)?.to_dtype(self.dtype())?;
        Tensor::select_where(mask, &value, self)
    }

    /// Each element, but at least `min` and at most `max`. At the bounds the gradient passes.
    ///
    /// # Errors
    /// `Argument` without any bound; otherwise as for [`Tensor::binary`].
    pub fn clamp(&self, min: Option<Operand>, max: Option<Operand>) -> Result<Tensor> {
        let limit = |x: &Tensor| match (min, max) {
            (None, None) => Err(Error::argument("clamp", "there must be a minimum or a maximum")),
            (Some(min), None) => x.maximum(min),
            (None, Some(max)) => x.minimum(max),
            (Some(min), Some(max)) => x.maximum(min)?.minimum(max),
        };
        if let (None | Some(Operand::Scalar(_)), None | Some(Operand::Scalar(_))) = (min, max) {
            let number = |bound: Option<Operand>| match bound {
                Some(Operand::Scalar(scalar)) => Some(scalar),
                _ => None,
            };
            let (min, max) = (number(min), number(max));
            let out = limit(&self.detach())?;
            return Ok(record("clamp", out, &[self], &[self], move |b| {
                clamp_gradient(b.grad(), &b.saved[0], min, max)
            }));
        }
        limit(self)
    }
}

fn clamp_gradient(
    g: &Tensor,
    x: &Tensor,
    min: Option<Scalar>,
    max: Option<Scalar>,
) -> Result<Vec<Option<Tensor>>> {
    let mut grad = g.clone();
    if let Some(min) = min {
        grad = Tensor::select_where(&x.ge(min)?, &grad, 0.0)?;
    }
    if let Some(max) = max {
        grad = Tensor::select_where(&x.le(max)?, &grad, 0.0)?;
    }
    Ok(vec![Some(grad)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_gradient;

    #[test]
    fn comparisons_broadcast_and_know_nan() {
        let x = Tensor::from_slice(&[1f32, f32::NAN, f32::INFINITY], &[3]).unwrap();
        let bools = |t: Tensor| t.to_dtype(DType::U8).unwrap().as_slice::<u8>().unwrap().to_vec();
        assert_eq!(bools(x.eq(&x).unwrap()), [1, 0, 1]);
        assert_eq!(bools(x.ne(1.0).unwrap()), [0, 1, 1]);
        assert_eq!(bools(x.isnan().unwrap()), [0, 1, 0]);
        assert_eq!(bools(x.isinf().unwrap()), [0, 0, 1]);
        assert_eq!(bools(x.isfinite().unwrap()), [1, 0, 0]);
        assert_eq!(x.ge(&Tensor::zeros(&[2, 1]).unwrap()).unwrap().shape(), [2, 3]);
        assert_eq!(bools(x.logical_not().unwrap()), [0, 0, 0]);
    }

    #[test]
    fn choices_pass_their_gradient() {
        let mask = Tensor::from_slice(&[1i64, 0, 1], &[3]).unwrap().truth().unwrap();
        check_gradient("where", &[&[2, 3], &[3]], (-1.0, 1.0), 1, |x| {
            Tensor::select_where(&mask.to_device(x[0].device())?, &x[0], &x[1])
        });
        check_gradient("masked_fill", &[&[2, 3], &[]], (-1.0, 1.0), 2, |x| {
            x[0].masked_fill(&mask.to_device(x[0].device())?, &x[1])
        });
        check_gradient("clamp", &[&[5, 3]], (-1.0, 1.0), 3, |x| {
            x[0].clamp(Some((-0.5).into()), Some(0.25.into()))
        });
        check_gradient("clamp", &[&[5, 3], &[3]], (-1.0, 1.0), 4, |x| x[0].clamp(Some((&x[1]).into()), None));
        let x = Tensor::from_slice(&[0f64, 1.0, 2.0], &[3]).unwrap();
        x.set_requires_grad(true).unwrap();
        x.clamp(Some(0.0.into()), Some(1.0.into())).unwrap().sum_all().unwrap().backward(None).unwrap();
        assert_eq!(x.grad().unwrap().as_slice::<f64>().unwrap(), [1.0, 1.0, 0.0]);
    }
}
