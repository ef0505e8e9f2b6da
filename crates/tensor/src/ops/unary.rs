//! Functions of one number.

use super::expect_real;
use crate::autograd::{Backward, Grads, fused, record};
use crate::{DType, Error, Result, Tensor};

macro_rules! unary {
    ($($variant:ident, $method:ident, $doc:literal;)*) => {
        /// A function of one number, applied to every element.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum UnaryOp { $(#[doc = $doc] $variant),* }

        impl UnaryOp {
            /// Every one of them.
            pub const ALL: &'static [UnaryOp] = &[$(UnaryOp::$variant),*];

            /// torch's name.
            pub const fn name(self) -> &'static str {
                match self { $(UnaryOp::$variant => stringify!($method)),* }
            }
        }

        impl Tensor {
            $(
                #[doc = concat!($doc, ", of every element. Fails with `DType` for elements that have no such function.")]
                pub fn $method(&self) -> Result<Tensor> {
                    self.unary(UnaryOp::$variant)
                }
            )*
        }
    };
}

unary! {
    Neg, neg, "-x";
    Abs, abs, "|x|";
    Sign, sign, "-1, 0 or 1, as x is";
    Square, square, "x²";
    BitNot, bitwise_not, "every bit turned; of a bool, its opposite";
    Floor, floor, "The next integer below";
    Ceil, ceil, "The next integer above";
    Round, round, "The nearest integer, the even one of two";
    Trunc, trunc, "The integer part";
    Reciprocal, reciprocal, "1 / x";
    Sqrt, sqrt, "√x";
    Rsqrt, rsqrt, "1 / √x";
    Exp, exp, "eˣ";
    Exp2, exp2, "2ˣ";
    Expm1, expm1, "eˣ - 1, exact also near 0";
    Log, log, "The natural logarithm";
    Log2, log2, "The logarithm to base 2";
    Log10, log10, "The logarithm to base 10";
    Log1p, log1p, "ln(1 + x), exact also near 0";
    Sin, sin, "The sine";
    Cos, cos, "The cosine";
    Tan, tan, "The tangent";
    Asin, asin, "The arc sine";
    Acos, acos, "The arc cosine";
    Atan, atan, "The arc tangent";
    Sinh, sinh, "The hyperbolic sine";
    Cosh, cosh, "The hyperbolic cosine";
    Tanh, tanh, "The hyperbolic tangent";
    Erf, erf, "The error function, 2/√π ∫₀ˣ e⁻ᵗ² dt";
    Sigmoid, sigmoid, "σ(x) = 1 / (1 + e⁻ˣ)";
    Relu, relu, "max(x, 0)";
    ReluSquared, relu_squared, "max(x, 0)²";
    Gelu, gelu, "x Φ(x), Φ the normal distribution function (Hendrycks & Gimpel 2016)";
    GeluTanh, gelu_tanh, "GELU by its tanh approximation";
    QuickGelu, quick_gelu, "x σ(1.702 x)";
    Silu, silu, "x σ(x)";
}

/// What a derivative is computed from.
#[derive(PartialEq, Eq)]
enum Keep {
    Neither,
    Input,
    Output,
}

impl UnaryOp {
    /// Whether integers have this function too, and it gives an integer.
    fn keeps_integers(self) -> bool {
        use UnaryOp::*;
        matches!(self, Neg | Abs | Sign | Square | BitNot | Floor | Ceil | Round | Trunc | Relu | ReluSquared)
    }

    fn keep(self) -> Keep {
        use UnaryOp::*;
        match self {
            Neg | Sign | BitNot | Floor | Ceil | Round | Trunc => Keep::Neither,
            Reciprocal | Sqrt | Rsqrt | Exp | Exp2 | Expm1 | Tan | Tanh | Sigmoid | Relu => Keep::Output,
            _ => Keep::Input,
        }
    }

    /// The gradient: `g`, that of the result, times the derivative, from `x`, the input or the output as `keep` says.
    fn gradient(self, g: &Tensor, x: Option<&Tensor>) -> Result<Tensor> {
        use std::f64::consts::{FRAC_2_SQRT_PI, LN_2, LN_10};
        let x = x.unwrap_or(g);
        // a + b x²
        let quadratic = |a: f64, b: f64| x.square()?.mul(b)?.add(a);
        match self {
            UnaryOp::Neg => g.neg(),
            UnaryOp::Abs => g.mul(&x.sign()?),
            UnaryOp::Sign | UnaryOp::BitNot => g.zeros_like(),
            UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => g.zeros_like(),
            UnaryOp::Square => g.mul(x)?.mul(2.0),
            UnaryOp::Reciprocal => g.mul(&x.square()?)?.neg(),
            UnaryOp::Sqrt => g.div(&x.mul(2.0)?),
            UnaryOp::Rsqrt => g.mul(&x.square()?.mul(x)?)?.mul(-0.5),
            UnaryOp::Exp => g.mul(x),
            UnaryOp::Exp2 => g.mul(x)?.mul(LN_2),
            UnaryOp::Expm1 => g.mul(&x.add(1.0)?),
            UnaryOp::Log => g.div(x),
            UnaryOp::Log2 => g.div(&x.mul(LN_2)?),
            UnaryOp::Log10 => g.div(&x.mul(LN_10)?),
            UnaryOp::Log1p => g.div(&x.add(1.0)?),
            UnaryOp::Sin => g.mul(&x.cos()?),
            UnaryOp::Cos => g.mul(&x.sin()?.neg()?),
            UnaryOp::Tan => g.mul(&quadratic(1.0, 1.0)?),
            UnaryOp::Asin => g.mul(&quadratic(1.0, -1.0)?.rsqrt()?),
            UnaryOp::Acos => g.mul(&quadratic(1.0, -1.0)?.rsqrt()?.neg()?),
            UnaryOp::Atan => g.div(&quadratic(1.0, 1.0)?),
            UnaryOp::Sinh => g.mul(&x.cosh()?),
            UnaryOp::Cosh => g.mul(&x.sinh()?),
            UnaryOp::Tanh => g.mul(&quadratic(1.0, -1.0)?),
            UnaryOp::Erf => g.mul(&x.square()?.neg()?.exp()?.mul(FRAC_2_SQRT_PI)?),
            UnaryOp::Sigmoid => g.mul(&x.sub(&x.square()?)?),
            UnaryOp::Relu => Tensor::select_where(&x.gt(0.0)?, g, 0.0),
            UnaryOp::ReluSquared => g.mul(&x.relu()?)?.mul(2.0),
            UnaryOp::Gelu => gelu_gradient(g, x),
            UnaryOp::GeluTanh => gelu_tanh_gradient(g, x),
            UnaryOp::QuickGelu => swish_gradient(g, x, 1.702),
            UnaryOp::Silu => swish_gradient(g, x, 1.0),
        }
    }
}

/// g (Φ(x) + x φ(x)), φ = Φ' the normal density.
fn gelu_gradient(g: &Tensor, x: &Tensor) -> Result<Tensor> {
    if x.backend().takes(x.dtype()) && g.dtype() == x.dtype() && g.shape() == x.shape() {
        let out = x.backend().gelu_gradient(&g.detach().contiguous()?, &x.detach().contiguous()?)?;
        return Ok(fused("gelu_gradient", out, &[g, x], |inputs| {
            composed_gelu_gradient(&inputs[0], &inputs[1])
        }));
    }
    composed_gelu_gradient(g, x)
}

fn composed_gelu_gradient(g: &Tensor, x: &Tensor) -> Result<Tensor> {
    let distribution = x.mul(std::f64::consts::FRAC_1_SQRT_2)?.erf()?.add(1.0)?.mul(0.5)?;
    let density = x.square()?.mul(-0.5)?.exp()?.mul(1.0 / (2.0 * std::f64::consts::PI).sqrt())?;
    g.mul(&distribution.add(&x.mul(&density)?)?)
}

/// With t = tanh(u), u = √(2/π) (x + 0.044715 x³): g (1 + t + x (1 - t²) u') / 2.
fn gelu_tanh_gradient(g: &Tensor, x: &Tensor) -> Result<Tensor> {
    let root = (2.0 / std::f64::consts::PI).sqrt();
    let square = x.square()?;
    let t = square.mul(0.044715)?.add(1.0)?.mul(x)?.mul(root)?.tanh()?;
    let slope = square.mul(3.0 * 0.044715)?.add(1.0)?.mul(root)?;
    let inner = t.square()?.neg()?.add(1.0)?.mul(x)?.mul(&slope)?;
    g.mul(&t.add(1.0)?.add(&inner)?.mul(0.5)?)
}

/// With s = σ(a x): g (s + a x s (1 - s)).
fn swish_gradient(g: &Tensor, x: &Tensor, a: f64) -> Result<Tensor> {
    let s = x.mul(a)?.sigmoid()?;
    let rest = s.sub(&s.square()?)?.mul(x)?.mul(a)?;
    g.mul(&s.add(&rest)?)
}

impl Tensor {
    /// `op` of every element. Functions with fractional values turn integers into float32, as torch does.
    ///
    /// # Errors
    /// `DType` for elements that have no such function.
    pub fn unary(&self, op: UnaryOp) -> Result<Tensor> {
        expect_real(op.name(), &[self])?;
        let dtype = self.dtype();
        let misfit = match op {
            UnaryOp::BitNot if dtype.is_float() => Some("bits are for integers and bools"),
            UnaryOp::Neg | UnaryOp::Sign if dtype == DType::Bool => {
                Some("bools have no sign: use logical_not")
            }
            _ => None,
        };
        if let Some(rule) = misfit {
            return Err(Error::DType { op: op.name(), rule, dtype });
        }
        let dtype = if dtype.is_float() || op.keeps_integers() { dtype } else { DType::F32 };
        let out = self.backend().unary(op, self, dtype)?;
        Ok(self.unary_result(op, out))
    }

    fn unary_result(&self, op: UnaryOp, out: Tensor) -> Tensor {
        let keep = op.keep();
        let kept = out.clone();
        let saved: &[&Tensor] = match keep {
            Keep::Neither => &[],
            Keep::Input => &[self],
            Keep::Output => &[&kept],
        };
        record(op.name(), out, &[self], saved, move |b: &Backward| -> Result<Grads> {
            Ok(vec![Some(op.gradient(b.grad(), b.saved.first())?)])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::autograd::grad;
    use crate::testing::{check_gradient, draw, same_gradients};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_derivative_is_that_of_its_function(
            shape in prop::collection::vec(0usize..4, 0..3), index in 0..UnaryOp::ALL.len(), seed in 0u64..1000
        ) {
            let op = UnaryOp::ALL[index];
            let (low, high) = match op {
                UnaryOp::BitNot => return Ok(()),
                UnaryOp::Log | UnaryOp::Log2 | UnaryOp::Log10 | UnaryOp::Sqrt | UnaryOp::Rsqrt => (0.3, 3.0),
                UnaryOp::Asin | UnaryOp::Acos | UnaryOp::Log1p => (-0.8, 0.8),
                UnaryOp::Reciprocal => (0.5, 2.0),
                UnaryOp::Tan => (-1.2, 1.2),
                _ => (-2.4, 2.4),
            };
            // Away from the jumps of functions that have them.
            let jumps = matches!(op, UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc | UnaryOp::Sign | UnaryOp::Abs);
            check_gradient(op.name(), &[&shape], (low, high), seed, |x| {
                let x = if jumps { x[0].mul(0.02)?.add(0.25)? } else { x[0].clone() };
                x.unary(op)
            });
        }
    }

    #[test]
    fn gelus_written_gradient_is_that_of_its_composed_form() {
        let x = draw(&[40, 70], (-6.0, 6.0), 1).to_dtype(DType::F32).unwrap();
        let wide = |x: &[Tensor]| x[0].to_dtype(DType::F64)?.gelu()?.to_dtype(DType::F32);
        same_gradients("gelu", &[x], 1e-6, |x| x[0].gelu(), wide);
        let x = Tensor::from_slice(&[0.5f32, -1.0], &[2]).unwrap();
        x.set_requires_grad(true).unwrap();
        let of = |y: &Tensor, create| {
            grad(&[&y.sum_all().unwrap()], &[None], &[&x], true, create).unwrap().remove(0)
        };
        let second = of(&of(&x.gelu().unwrap(), true).unwrap(), false).unwrap();
        // (2 - x²) φ(x)
        for (x, got) in [0.5f32, -1.0].iter().zip(second.as_slice::<f32>().unwrap()) {
            let want = (2.0 - x * x) * (-0.5 * x * x).exp() / (2.0 * std::f32::consts::PI).sqrt();
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }

    #[test]
    fn integers_stay_integers_where_they_can() {
        let x = Tensor::from_slice(&[-3i32, 0, 5], &[3]).unwrap();
        assert_eq!(x.neg().unwrap().as_slice::<i32>().unwrap(), [3, 0, -5]);
        assert_eq!(x.sign().unwrap().as_slice::<i32>().unwrap(), [-1, 0, 1]);
        assert_eq!(x.bitwise_not().unwrap().as_slice::<i32>().unwrap(), [2, -1, -6]);
        assert_eq!(x.exp().unwrap().dtype(), DType::F32);
        assert!(x.to_dtype(DType::Bool).unwrap().neg().is_err());
        assert!(x.to_dtype(DType::F32).unwrap().bitwise_not().is_err());
    }

    #[test]
    fn the_derivative_of_relu_at_zero_is_zero() {
        let x = Tensor::from_slice(&[-1f32, 0.0, 1.0], &[3]).unwrap();
        x.set_requires_grad(true).unwrap();
        x.relu().unwrap().sum_all().unwrap().backward(None).unwrap();
        assert_eq!(x.grad().unwrap().as_slice::<f32>().unwrap(), [0.0, 0.0, 1.0]);
    }
}
