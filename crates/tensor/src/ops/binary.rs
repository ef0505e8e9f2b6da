//! Arithmetic of two numbers.

use super::{expect_real, same_place};
use crate::autograd::{Backward, Grads, record};
use crate::layout::broadcast_shapes;
use crate::scalar::result_type;
use crate::{DType, Error, Operand, Result, Tensor};

macro_rules! binary {
    ($($variant:ident, $method:ident, $in_place:ident, $doc:literal;)*) => {
        /// A function of two numbers, applied to every pair of elements.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum BinaryOp { $(#[doc = $doc] $variant),* }

        impl BinaryOp {
            /// Every one of them.
            pub const ALL: &'static [BinaryOp] = &[$(BinaryOp::$variant),*];

            /// torch's name.
            pub const fn name(self) -> &'static str {
                match self { $(BinaryOp::$variant => stringify!($method)),* }
            }
        }

        impl Tensor {
            $(
                #[doc = concat!($doc, ", with broadcasting. Fails as [`Tensor::binary`] does.")]
                pub fn $method<'a>(&self, other: impl Into<Operand<'a>>) -> Result<Tensor> {
                    self.binary(BinaryOp::$variant, other)
                }

                #[doc = concat!($doc, ", written over `self`. Fails as [`Tensor::binary_`] does.")]
                pub fn $in_place<'a>(&self, other: impl Into<Operand<'a>>) -> Result<()> {
                    self.binary_(BinaryOp::$variant, other)
                }
            )*
        }
    };
}

binary! {
    Add, add, add_, "x + y";
    Sub, sub, sub_, "x - y";
    Mul, mul, mul_, "x y";
    Div, div, div_, "x / y, of integers too a fraction";
    FloorDivide, floor_divide, floor_divide_, "The largest integer that is at most x / y";
    Remainder, remainder, remainder_, "x - y ⌊x / y⌋, which has the sign of y";
    Pow, pow, pow_, "xʸ";
    Maximum, maximum, maximum_, "The larger of x and y, NaN if one is";
    Minimum, minimum, minimum_, "The smaller of x and y, NaN if one is";
    Atan2, atan2, atan2_, "The angle of the point (y, x)";
    BitAnd, bitwise_and, bitwise_and_, "The bits set in both; of bools, whether both are true";
    BitOr, bitwise_or, bitwise_or_, "The bits set in either; of bools, whether one is true";
    BitXor, bitwise_xor, bitwise_xor_, "The bits set in one of the two; of bools, whether they differ";
    ShiftLeft, bitwise_left_shift, bitwise_left_shift_, "x 2ʸ by shifting bits";
    ShiftRight, bitwise_right_shift, bitwise_right_shift_, "⌊x / 2ʸ⌋ by shifting bits";
}

impl BinaryOp {
    fn is_bitwise(self) -> bool {
        use BinaryOp::*;
        matches!(self, BitAnd | BitOr | BitXor | ShiftLeft | ShiftRight)
    }

    /// The dtype of the result for operands whose common dtype is `dtype`.
    fn dtype(self, dtype: DType) -> Result<DType> {
        let misfit = match self {
            _ if dtype.is_complex() => Some("arithmetic is for real numbers"),
            BinaryOp::Sub if dtype == DType::Bool => {
                Some("bools cannot be subtracted: use bitwise_xor or logical_not")
            }
            _ if self.is_bitwise() && dtype.is_float() => Some("bits are for integers and bools"),
            _ => None,
        };
        match (misfit, self) {
            (Some(rule), _) => Err(Error::DType { op: self.name(), rule, dtype }),
            (_, BinaryOp::Div | BinaryOp::Atan2) if !dtype.is_float() => Ok(DType::F32),
            (_, BinaryOp::Pow | BinaryOp::FloorDivide | BinaryOp::Remainder) if dtype == DType::Bool => {
                Ok(DType::I64)
            }
            _ => Ok(dtype),
        }
    }

    fn gradients(self, b: &Backward) -> Result<Grads> {
        let g = b.grad();
        let pair = |left: Option<Tensor>, right: Option<Tensor>| Ok(vec![left, right]);
        let [x, y] = b.saved else {
            return pair(
                Some(g.clone()),
                b.when(1, || if self == BinaryOp::Sub { g.neg() } else { Ok(g.clone()) })?,
            );
        };
        match self {
            BinaryOp::Mul => pair(b.when(0, || g.mul(y))?, b.when(1, || g.mul(x))?),
            BinaryOp::Div => pair(b.when(0, || g.div(y))?, b.when(1, || g.mul(x)?.div(&y.square()?)?.neg())?),
            BinaryOp::Remainder => pair(Some(g.clone()), b.when(1, || g.mul(&x.floor_divide(y)?)?.neg())?),
            BinaryOp::Pow => pair(
                // d/dx = y xʸ⁻¹, which is 0 for y = 0 whatever x is.
                b.when(0, || {
                    let slope = y.mul(&x.pow(&y.sub(1.0)?)?)?;
                    g.mul(&Tensor::select_where(&y.eq(0.0)?, 0.0, &slope)?)
                })?,
                // d/dy = xʸ ln x, which is 0 for x = 0 and y ≥ 0.
                b.when(1, || {
                    let flat = x.eq(0.0)?.logical_and(&y.ge(0.0)?)?;
                    let slope = x.pow(y)?.mul(&x.log()?)?;
                    g.mul(&Tensor::select_where(&flat, 0.0, &slope)?)
                })?,
            ),
            BinaryOp::Maximum => pair(
                b.when(0, || winner(g, &x.gt(y)?, &x.eq(y)?))?,
                b.when(1, || winner(g, &y.gt(x)?, &x.eq(y)?))?,
            ),
            BinaryOp::Minimum => pair(
                b.when(0, || winner(g, &x.lt(y)?, &x.eq(y)?))?,
                b.when(1, || winner(g, &y.lt(x)?, &x.eq(y)?))?,
            ),
            BinaryOp::Atan2 => {
                let scaled = g.div(&x.square()?.add(&y.square()?)?)?;
                pair(b.when(0, || scaled.mul(y))?, b.when(1, || scaled.mul(x)?.neg())?)
            }
            // Steps: flat wherever they have a derivative.
            _ => pair(b.when(0, || g.zeros_like())?, b.when(1, || g.zeros_like())?),
        }
    }
}

/// `g` where one side wins, half of it where neither does.
fn winner(g: &Tensor, wins: &Tensor, ties: &Tensor) -> Result<Tensor> {
    g.mul(&wins.to_dtype(g.dtype())?.add(&ties.to_dtype(g.dtype())?.mul(0.5)?)?)
}

impl Tensor {
    /// `op` of every pair of elements, with broadcasting and torch's type promotion.
    ///
    /// # Errors
    /// `Shapes` when the shapes do not broadcast; `DType` for elements that have no such function; `Argument` when integers are divided by
    /// zero or raised to a negative power.
    pub fn binary<'a>(&self, op: BinaryOp, other: impl Into<Operand<'a>>) -> Result<Tensor> {
        let (other, dtype) = self.second(op, other.into())?;
        let shape = broadcast_shapes(op.name(), self.shape(), other.shape())?;
        let out = Tensor::uninit(&shape, dtype, self.device())?;
        self.backend().binary(op, &out, self, &other)?;
        Ok(self.binary_result(op, out, &other))
    }

    /// [`Tensor::binary`], written over `self`, which keeps its shape and dtype.
    ///
    /// # Errors
    /// As for [`Tensor::binary`]; `Argument` when the memory is read-only; `DType` when the result is of a higher kind than `self`; `Graph`
    /// for a leaf that requires a gradient.
    pub fn binary_<'a>(&self, op: BinaryOp, other: impl Into<Operand<'a>>) -> Result<()> {
        let (other, dtype) = self.second(op, other.into())?;
        self.expect_holds(op.name(), dtype)?;
        if broadcast_shapes(op.name(), self.shape(), other.shape())?.as_slice() != self.shape() {
            let rule = "the result of an in-place operation must have the shape of its first operand";
            let (left, right) = (self.shape().into(), other.shape().into());
            return Err(Error::Shapes { op: op.name(), rule, left, right });
        }
        if self.check_in_place(op.name(), &[&other])? {
            return self.become_(&self.binary(op, &other)?);
        }
        // What lies in the memory that is being written must be read before, unless it is the very same elements.
        let same = other.layout() == self.layout() && other.as_ptr() == self.as_ptr();
        let other = if other.shares_storage(self) && !same { other.copy()? } else { other };
        if dtype == self.dtype() {
            self.storage().bump_version();
            return self.backend().binary(op, self, self, &other);
        }
        let wide = Tensor::uninit(self.shape(), dtype, self.device())?;
        self.backend().binary(op, &wide, self, &other)?;
        self.become_(&wide)
    }

    /// The second operand as a tensor, and the dtype of the result.
    fn second(&self, op: BinaryOp, other: Operand) -> Result<(Tensor, DType)> {
        let common = match other {
            Operand::Tensor(other) if other.dtype() == self.dtype() => self.dtype(),
            _ => result_type(&[self.into(), other]),
        };
        let other = other.tensor(common, self)?;
        same_place(op.name(), [self, &other])?;
        expect_real(op.name(), &[self, &other])?;
        let dtype = op.dtype(common)?;
        if !dtype.is_float() {
            let refused = match op {
                BinaryOp::FloorDivide | BinaryOp::Remainder => {
                    other.eq(0i64)?.any()?.then_some("integers cannot be divided by zero")
                }
                BinaryOp::Pow => {
                    other.lt(0i64)?.any()?.then_some("integers cannot be raised to a negative power")
                }
                _ => None,
            };
            if let Some(message) = refused {
                return Err(Error::argument(op.name(), message));
            }
        }
        Ok((other, dtype))
    }

    /// Refuses to write elements of `dtype` into this tensor if its kind is lower: floats into integers, numbers into bools.
    pub(crate) fn expect_holds(&self, op: &'static str, dtype: DType) -> Result<()> {
        let kind = |dtype: DType| {
            if dtype.is_complex() {
                3
            } else if dtype.is_float() {
                2
            } else {
                dtype.is_int() as u8
            }
        };
        if kind(dtype) > kind(self.dtype()) {
            let rule = "the result of an in-place operation must be of a kind that its first operand holds";
            return Err(Error::DTypes { op, rule, left: self.dtype(), right: dtype });
        }
        Ok(())
    }

    fn binary_result(&self, op: BinaryOp, out: Tensor, other: &Tensor) -> Tensor {
        // What only the other side's gradient needs is not saved where nobody asks for that: it may be changed in place.
        let x = if other.requires_grad() { self } else { other };
        let y = if self.requires_grad() { other } else { self };
        let saved: &[&Tensor] = match op {
            BinaryOp::Add | BinaryOp::Sub => &[],
            BinaryOp::Mul => &[x, y],
            BinaryOp::Div | BinaryOp::Remainder => &[x, other],
            _ => &[self, other],
        };
        record(op.name(), out, &[self, other], saved, move |b| op.gradients(b))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::check_gradient;

    proptest! {
        #[test]
        fn every_derivative_is_that_of_its_function(
            (m, n) in (0usize..4, 0usize..4), case in 0usize..6, index in 0..BinaryOp::ALL.len(), seed in 0u64..1000
        ) {
            let op = BinaryOp::ALL[index];
            if op.is_bitwise() {
                return Ok(());
            }
            let shapes: [(&[usize], &[usize]); 6] =
                [(&[m, n], &[m, n]), (&[m, n], &[n]), (&[m, 1], &[n]), (&[], &[m, n]), (&[m, 1, n], &[n, 1]), (&[], &[])];
            let (left, right) = shapes[case];
            check_gradient(op.name(), &[left, right], (0.6, 2.4), seed, |x| x[0].binary(op, &x[1]));
        }
    }

    #[test]
    fn one_tensor_used_twice_gets_both_gradients() {
        let x = Tensor::from_slice(&[1f64, -2.0, 3.0], &[3]).unwrap();
        x.set_requires_grad(true).unwrap();
        x.mul(&x).unwrap().add(&x).unwrap().sum_all().unwrap().backward(None).unwrap();
        assert_eq!(x.grad().unwrap().as_slice::<f64>().unwrap(), [3.0, -3.0, 7.0]);
    }

    #[test]
    fn ties_share_and_powers_of_zero_are_flat() {
        let at = |values: &[f64]| {
            let x = Tensor::from_slice(values, &[values.len()]).unwrap();
            x.set_requires_grad(true).unwrap();
            x
        };
        let (x, y) = (at(&[1.0, 2.0]), at(&[1.0, 0.0]));
        x.maximum(&y).unwrap().sum_all().unwrap().backward(None).unwrap();
        assert_eq!(x.grad().unwrap().as_slice::<f64>().unwrap(), [0.5, 1.0]);
        assert_eq!(y.grad().unwrap().as_slice::<f64>().unwrap(), [0.5, 0.0]);
        let (x, y) = (at(&[0.0, 0.0, 2.0]), at(&[0.0, 2.0, 0.0]));
        x.pow(&y).unwrap().sum_all().unwrap().backward(None).unwrap();
        assert_eq!(x.grad().unwrap().as_slice::<f64>().unwrap(), [0.0, 0.0, 0.0]);
        assert_eq!(y.grad().unwrap().as_slice::<f64>().unwrap(), [0.0, 0.0, 2f64.ln()]);
    }

    #[test]
    fn dtypes_follow_torch() {
        let tensor = |dtype, shape: &[usize]| Tensor::ones(shape, dtype).unwrap();
        let dtype = |x: &Tensor, y: Operand| x.add(y).unwrap().dtype();
        let (bytes, singles, flags) =
            (tensor(DType::I8, &[2]), tensor(DType::F32, &[2]), tensor(DType::Bool, &[2]));
        assert_eq!(dtype(&bytes, 1i64.into()), DType::I8);
        assert_eq!(dtype(&bytes, 1.5.into()), DType::F32);
        assert_eq!(dtype(&singles, (&tensor(DType::F64, &[])).into()), DType::F32);
        assert_eq!(dtype(&singles, (&tensor(DType::F64, &[1])).into()), DType::F64);
        assert_eq!(dtype(&flags, 1i64.into()), DType::I64);
        assert_eq!(dtype(&flags, (&flags).into()), DType::Bool);
        assert_eq!(bytes.div(2i64).unwrap().dtype(), DType::F32);
    }

    #[test]
    fn integers_wrap_floor_and_refuse() {
        let x = Tensor::from_slice(&[127i8, -128, -7], &[3]).unwrap();
        assert_eq!(x.add(1i64).unwrap().as_slice::<i8>().unwrap(), [-128, -127, -6]);
        assert_eq!(x.floor_divide(2i64).unwrap().as_slice::<i8>().unwrap(), [63, -64, -4]);
        assert_eq!(x.remainder(5i64).unwrap().as_slice::<i8>().unwrap(), [2, 2, 3]);
        assert!(x.floor_divide(0i64).is_err() && x.pow(-1i64).is_err());
        let low = Tensor::from_slice(&[i64::MIN], &[1]).unwrap();
        assert_eq!(low.floor_divide(-1i64).unwrap().as_slice::<i64>().unwrap(), [i64::MIN]);
    }

    #[test]
    fn in_place_forms_write_into_the_memory() {
        let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0], &[4]).unwrap();
        x.narrow(0, 1, 4).unwrap().add_(&x.narrow(0, 0, 3).unwrap()).unwrap();
        assert_eq!(x.as_slice::<f32>().unwrap(), [1.0, 3.0, 5.0, 7.0]);
        x.mul_(&x).unwrap();
        assert_eq!(x.as_slice::<f32>().unwrap(), [1.0, 9.0, 25.0, 49.0]);
        let int = Tensor::from_slice(&[1i32], &[1]).unwrap();
        assert!(int.add_(0.5).is_err() && int.add_(&x).is_err());
    }
}
