//! Plain numbers as operands, and what dtype a result has.

use crate::{DType, Result, Tensor};

/// A plain number beside tensors: it takes their dtype where that can hold its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A real number.
    Float(f64),
}

impl Scalar {
    /// The dtype that the number has when no tensor decides: torch's defaults.
    pub const fn dtype(self) -> DType {
        match self {
            Scalar::Bool(_) => DType::Bool,
            Scalar::Int(_) => DType::I64,
            Scalar::Float(_) => DType::F32,
        }
    }

    /// The number as a float.
    pub const fn to_f64(self) -> f64 {
        match self {
            Scalar::Bool(x) => x as u8 as f64,
            Scalar::Int(x) => x as f64,
            Scalar::Float(x) => x,
        }
    }

    /// The number as an integer, truncated.
    pub const fn to_i64(self) -> i64 {
        match self {
            Scalar::Bool(x) => x as i64,
            Scalar::Int(x) => x,
            Scalar::Float(x) => x as i64,
        }
    }
}

macro_rules! scalars {
    ($($type:ty => $variant:ident);* $(;)?) => {$(
        impl From<$type> for Scalar {
            fn from(x: $type) -> Scalar { Scalar::$variant(x.into()) }
        }
        impl From<$type> for Operand<'_> {
            fn from(x: $type) -> Self { Operand::Scalar(x.into()) }
        }
    )*};
}
scalars! { bool => Bool; i32 => Int; i64 => Int; f32 => Float; f64 => Float }

/// The second operand of an operation: a tensor or a plain number.
#[derive(Clone, Copy)]
pub enum Operand<'a> {
    /// A tensor.
    Tensor(&'a Tensor),
    /// A number.
    Scalar(Scalar),
}

impl<'a> From<&'a Tensor> for Operand<'a> {
    fn from(tensor: &'a Tensor) -> Operand<'a> {
        Operand::Tensor(tensor)
    }
}

impl From<Scalar> for Operand<'_> {
    fn from(scalar: Scalar) -> Self {
        Operand::Scalar(scalar)
    }
}

impl Operand<'_> {
    /// The operand as a tensor beside `other`; a number as one without dimensions, of `dtype`. A tensor without dimensions is a number, too,
    /// and goes wherever it is needed.
    pub(crate) fn tensor(self, dtype: DType, other: &Tensor) -> Result<Tensor> {
        match self {
            Operand::Tensor(tensor) if tensor.ndim() == 0 => tensor.to_device(other.device()),
            Operand::Tensor(tensor) => Ok(tensor.clone()),
            Operand::Scalar(scalar) => Tensor::scalar_on(scalar, dtype, other.device()),
        }
    }
}

/// The dtype of a result of `operands`, as torch decides it: tensors with dimensions first, then tensors without, then plain numbers;
/// later ones count only if their kind (bool, integer, float) is higher.
pub fn result_type(operands: &[Operand]) -> DType {
    let rank = |operand: &Operand| match operand {
        Operand::Tensor(tensor) if tensor.ndim() > 0 => (0, tensor.dtype()),
        Operand::Tensor(tensor) => (1, tensor.dtype()),
        Operand::Scalar(scalar) => (2, scalar.dtype()),
    };
    let mut of_rank = [None; 3];
    for (rank, dtype) in operands.iter().map(rank) {
        of_rank[rank] = Some(of_rank[rank].map_or(dtype, |other: DType| other.promote(dtype)));
    }
    let combine = |high: Option<DType>, low: Option<DType>| match (high, low) {
        (Some(high), Some(low)) => {
            let higher = low.is_complex() && !high.is_complex()
                || low.is_float() && !high.is_float() && !high.is_complex()
                || high == DType::Bool;
            Some(if higher { high.promote(low) } else { high })
        }
        (high, low) => high.or(low),
    };
    combine(of_rank[0], combine(of_rank[1], of_rank[2])).unwrap_or(DType::F32)
}
