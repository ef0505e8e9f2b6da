//! Arithmetic and functions of elements: tables, from which methods, in-place methods and operators follow.

// PyO3 expands operators within our macros to unsafe functions without inner blocks.
#![expect(unsafe_op_in_unsafe_fn)]

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use trustformers::tensor::ops::{BinaryOp, UnaryOp};
use trustformers::tensor::{Error, Operand, Result, Tensor, result_type};

use super::PyTensor;
use super::args::{Other, apply, compute};

fn binary(py: Python<'_>, x: &Tensor, op: BinaryOp, y: &Other) -> PyResult<PyTensor> {
    compute(py, x.numel().max(y.numel()), || x.binary(op, y.operand())).map(PyTensor)
}

/// `y op x`, where `y` came first but is no tensor.
fn reflected(py: Python<'_>, x: &Tensor, op: BinaryOp, y: Other) -> PyResult<PyTensor> {
    let y = match y {
        // A number takes the tensor's dtype, unless that cannot hold its kind.
        Other::Scalar(scalar) => {
            let dtype = result_type(&[x.into(), scalar.into()]);
            compute(py, 1, || Tensor::scalar(scalar, dtype))?
        }
        Other::Tensor(tensor) => tensor,
    };
    compute(py, x.numel().max(y.numel()), || y.binary(op, x)).map(PyTensor)
}

fn in_place(py: Python<'_>, x: &Tensor, op: BinaryOp, y: &Other) -> PyResult<()> {
    compute(py, x.numel(), || x.binary_(op, y.operand()))
}

/// Writes `values` over `x`, as an in-place function does with its result.
fn overwrite(x: &Tensor, op: &'static str, values: &Tensor) -> Result<()> {
    if values.dtype().is_float() && !x.dtype().is_float() {
        let rule = "an in-place function with fractional values needs a floating-point tensor";
        return Err(Error::DType { op, rule, dtype: x.dtype() });
    }
    x.become_(values)
}

macro_rules! unary_methods {
    ($($op:ident $name:ident $name_:ident $doc:literal;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = $doc]
                fn $name(&self, py: Python<'_>) -> PyResult<PyTensor> {
                    apply(py, &self.0, |x| x.unary(UnaryOp::$op))
                }

                #[doc = concat!("In place: ", $doc)]
                fn $name_<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
                    let x = &slf.get().0;
                    compute(slf.py(), x.numel(), || overwrite(x, stringify!($name_), &x.unary(UnaryOp::$op)?))?;
                    Ok(slf)
                }
            )*
        }
    };
}

unary_methods! {
    Neg neg neg_ "``-x``.";
    Abs abs abs_ "``|x|``.";
    Sign sign sign_ "-1, 0 or 1, as ``x`` is.";
    Square square square_ "``x ** 2``.";
    BitNot bitwise_not bitwise_not_ "Every bit turned; of bools, the opposite.";
    Floor floor floor_ "The next integer below.";
    Ceil ceil ceil_ "The next integer above.";
    Round round round_ "The nearest integer, the even one of two.";
    Trunc trunc trunc_ "The integer part.";
    Reciprocal reciprocal reciprocal_ "``1 / x``.";
    Sqrt sqrt sqrt_ "The square root.";
    Rsqrt rsqrt rsqrt_ "``1 / sqrt(x)``.";
    Exp exp exp_ "``e ** x``.";
    Exp2 exp2 exp2_ "``2 ** x``.";
    Expm1 expm1 expm1_ "``e ** x - 1``, exact also near 0.";
    Log log log_ "The natural logarithm.";
    Log2 log2 log2_ "The logarithm to base 2.";
    Log10 log10 log10_ "The logarithm to base 10.";
    Log1p log1p log1p_ "``log(1 + x)``, exact also near 0.";
    Sin sin sin_ "The sine.";
    Cos cos cos_ "The cosine.";
    Tan tan tan_ "The tangent.";
    Asin asin asin_ "The arc sine.";
    Acos acos acos_ "The arc cosine.";
    Atan atan atan_ "The arc tangent.";
    Sinh sinh sinh_ "The hyperbolic sine.";
    Cosh cosh cosh_ "The hyperbolic cosine.";
    Tanh tanh tanh_ "The hyperbolic tangent.";
    Erf erf erf_ "The error function.";
    Sigmoid sigmoid sigmoid_ "``1 / (1 + exp(-x))``.";
    Relu relu relu_ "``max(x, 0)``.";
    Silu silu silu_ "``x * sigmoid(x)``.";
}

macro_rules! binary_methods {
    ($($op:ident $name:ident $name_:ident $doc:literal;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                #[doc = concat!($doc, " Shapes broadcast, dtypes promote as torch's do.")]
                fn $name(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
                    binary(py, &self.0, BinaryOp::$op, &other)
                }

                #[doc = concat!("In place: ", $doc)]
                fn $name_<'py>(slf: Bound<'py, Self>, other: Other) -> PyResult<Bound<'py, Self>> {
                    in_place(slf.py(), &slf.get().0, BinaryOp::$op, &other)?;
                    Ok(slf)
                }
            )*
        }
    };
}

binary_methods! {
    Mul mul mul_ "``x * other``.";
    Div div div_ "``x / other``, of integers too a fraction.";
    FloorDivide floor_divide floor_divide_ "``x // other``.";
    Remainder remainder remainder_ "``x % other``, which has the sign of ``other``.";
    Pow pow pow_ "``x ** other``.";
    Atan2 atan2 atan2_ "The angle of the point ``(other, x)``.";
    BitAnd bitwise_and bitwise_and_ "``x & other``.";
    BitOr bitwise_or bitwise_or_ "``x | other``.";
    BitXor bitwise_xor bitwise_xor_ "``x ^ other``.";
    ShiftLeft bitwise_left_shift bitwise_left_shift_ "``x << other``.";
    ShiftRight bitwise_right_shift bitwise_right_shift_ "``x >> other``.";
}

macro_rules! operators {
    ($($op:ident $dunder:ident $reflected:ident $in_place:ident;)*) => {
        #[pymethods]
        impl PyTensor {
            $(
                fn $dunder(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
                    binary(py, &self.0, BinaryOp::$op, &other)
                }

                fn $reflected(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
                    reflected(py, &self.0, BinaryOp::$op, other)
                }

                fn $in_place(&self, py: Python<'_>, other: Other) -> PyResult<()> {
                    in_place(py, &self.0, BinaryOp::$op, &other)
                }
            )*
        }
    };
}

operators! {
    Add __add__ __radd__ __iadd__;
    Sub __sub__ __rsub__ __isub__;
    Mul __mul__ __rmul__ __imul__;
    Div __truediv__ __rtruediv__ __itruediv__;
    FloorDivide __floordiv__ __rfloordiv__ __ifloordiv__;
    Remainder __mod__ __rmod__ __imod__;
    BitAnd __and__ __rand__ __iand__;
    BitOr __or__ __ror__ __ior__;
    BitXor __xor__ __rxor__ __ixor__;
    ShiftLeft __lshift__ __rlshift__ __ilshift__;
    ShiftRight __rshift__ __rrshift__ __irshift__;
}

/// `other * alpha`, for torch's `add` and `sub`.
fn scaled(py: Python<'_>, other: Other, alpha: Option<Other>) -> PyResult<Other> {
    match alpha {
        None => Ok(other),
        Some(alpha) => {
            let other = other.tensor()?;
            compute(py, other.numel(), || other.mul(alpha.operand())).map(Other::Tensor)
        }
    }
}

#[pymethods]
impl PyTensor {
    /// ``x + alpha * other``. Shapes broadcast, dtypes promote as torch's do.
    #[pyo3(signature = (other, *, alpha=None))]
    fn add(&self, py: Python<'_>, other: Other, alpha: Option<Other>) -> PyResult<PyTensor> {
        binary(py, &self.0, BinaryOp::Add, &scaled(py, other, alpha)?)
    }

    /// In place: ``x + alpha * other``.
    #[pyo3(signature = (other, *, alpha=None))]
    fn add_<'py>(slf: Bound<'py, Self>, other: Other, alpha: Option<Other>) -> PyResult<Bound<'py, Self>> {
        in_place(slf.py(), &slf.get().0, BinaryOp::Add, &scaled(slf.py(), other, alpha)?)?;
        Ok(slf)
    }

    /// ``x - alpha * other``. Shapes broadcast, dtypes promote as torch's do.
    #[pyo3(signature = (other, *, alpha=None))]
    fn sub(&self, py: Python<'_>, other: Other, alpha: Option<Other>) -> PyResult<PyTensor> {
        binary(py, &self.0, BinaryOp::Sub, &scaled(py, other, alpha)?)
    }

    /// In place: ``x - alpha * other``.
    #[pyo3(signature = (other, *, alpha=None))]
    fn sub_<'py>(slf: Bound<'py, Self>, other: Other, alpha: Option<Other>) -> PyResult<Bound<'py, Self>> {
        in_place(slf.py(), &slf.get().0, BinaryOp::Sub, &scaled(slf.py(), other, alpha)?)?;
        Ok(slf)
    }

    /// The larger of ``x`` and ``other``, NaN if one is.
    fn maximum(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
        binary(py, &self.0, BinaryOp::Maximum, &other)
    }

    /// The smaller of ``x`` and ``other``, NaN if one is.
    fn minimum(&self, py: Python<'_>, other: Other) -> PyResult<PyTensor> {
        binary(py, &self.0, BinaryOp::Minimum, &other)
    }

    /// ``x * Φ(x)``, Φ the normal distribution function; by its tanh approximation with ``approximate="tanh"``.
    #[pyo3(signature = (approximate="none"))]
    fn gelu(&self, py: Python<'_>, approximate: &str) -> PyResult<PyTensor> {
        let op = match approximate {
            "none" => UnaryOp::Gelu,
            "tanh" => UnaryOp::GeluTanh,
            other => {
                let message = format!("approximate must be 'none' or 'tanh', got '{other}'");
                return Err(pyo3::exceptions::PyValueError::new_err(message));
            }
        };
        apply(py, &self.0, |x| x.unary(op))
    }

    /// Each element, but at least ``min`` and at most ``max``.
    #[pyo3(signature = (min=None, max=None))]
    fn clamp(&self, py: Python<'_>, min: Option<Other>, max: Option<Other>) -> PyResult<PyTensor> {
        apply(py, &self.0, |x| x.clamp(min.as_ref().map(Other::operand), max.as_ref().map(Other::operand)))
    }

    /// In place: each element, but at least ``min`` and at most ``max``.
    #[pyo3(signature = (min=None, max=None))]
    fn clamp_<'py>(
        slf: Bound<'py, Self>,
        min: Option<Other>,
        max: Option<Other>,
    ) -> PyResult<Bound<'py, Self>> {
        let x = &slf.get().0;
        let bounds = (min.as_ref().map(Other::operand), max.as_ref().map(Other::operand));
        compute(slf.py(), x.numel(), || overwrite(x, "clamp_", &x.clamp(bounds.0, bounds.1)?))?;
        Ok(slf)
    }

    /// Writes ``other``, broadcast and converted, over this tensor's elements.
    fn copy_<'py>(slf: Bound<'py, Self>, other: Other) -> PyResult<Bound<'py, Self>> {
        let x = &slf.get().0;
        compute(slf.py(), x.numel(), || x.copy_(other.operand()))?;
        Ok(slf)
    }

    /// Writes ``value`` over every element.
    fn fill_<'py>(slf: Bound<'py, Self>, value: Other) -> PyResult<Bound<'py, Self>> {
        PyTensor::copy_(slf, value)
    }

    /// Writes zero over every element.
    fn zero_<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let x = &slf.get().0;
        compute(slf.py(), x.numel(), || x.copy_(Operand::Scalar(0.into())))?;
        Ok(slf)
    }

    fn __pow__(&self, py: Python<'_>, other: Other, modulo: Option<&Bound<'_, PyAny>>) -> PyResult<PyTensor> {
        no_modulo(modulo)?;
        binary(py, &self.0, BinaryOp::Pow, &other)
    }

    fn __rpow__(
        &self,
        py: Python<'_>,
        other: Other,
        modulo: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<PyTensor> {
        no_modulo(modulo)?;
        reflected(py, &self.0, BinaryOp::Pow, other)
    }

    fn __ipow__(&self, py: Python<'_>, other: Other, modulo: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        no_modulo(modulo)?;
        in_place(py, &self.0, BinaryOp::Pow, &other)
    }

    fn __neg__(&self, py: Python<'_>) -> PyResult<PyTensor> {
        self.neg(py)
    }

    fn __pos__(&self) -> PyTensor {
        PyTensor(self.0.clone())
    }

    fn __abs__(&self, py: Python<'_>) -> PyResult<PyTensor> {
        self.abs(py)
    }

    fn __invert__(&self, py: Python<'_>) -> PyResult<PyTensor> {
        self.bitwise_not(py)
    }

    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        // Equality compares elements, so only the object itself can be a key.
        slf.as_ptr() as isize >> 4
    }
}

fn no_modulo(modulo: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    match modulo {
        None => Ok(()),
        Some(_) => Err(PyTypeError::new_err("pow of tensors takes no third argument")),
    }
}
