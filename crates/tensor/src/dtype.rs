//! What one element of a tensor is.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};

use crate::Error;

macro_rules! dtypes {
    ($($variant:ident, $name:literal, $safetensors:literal, $size:literal;)*) => {
        /// The type of a tensor's elements. All can be held, viewed and converted; arithmetic is for the real ones.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum DType { $($variant),* }

        impl DType {
            /// Every dtype, narrow to wide within a kind.
            pub const ALL: &'static [DType] = &[$(DType::$variant),*];

            /// NumPy's and torch's name, such as `float32`.
            pub const fn name(self) -> &'static str {
                match self { $(DType::$variant => $name),* }
            }

            /// Bytes of one element.
            pub const fn size(self) -> usize {
                match self { $(DType::$variant => $size),* }
            }

            /// The dtype that a safetensors header calls `code`.
            pub fn from_safetensors(code: &str) -> Option<DType> {
                match code { $($safetensors => Some(DType::$variant),)* _ => None }
            }

            /// What a safetensors header calls this dtype.
            pub const fn safetensors(self) -> &'static str {
                match self { $(DType::$variant => $safetensors),* }
            }
        }
    };
}

dtypes! {
    Bool, "bool", "BOOL", 1;
    U8, "uint8", "U8", 1;
    U16, "uint16", "U16", 2;
    U32, "uint32", "U32", 4;
    U64, "uint64", "U64", 8;
    I8, "int8", "I8", 1;
    I16, "int16", "I16", 2;
    I32, "int32", "I32", 4;
    I64, "int64", "I64", 8;
    F16, "float16", "F16", 2;
    BF16, "bfloat16", "BF16", 2;
    F32, "float32", "F32", 4;
    F64, "float64", "F64", 8;
    C64, "complex64", "C64", 8;
    C128, "complex128", "C128", 16;
}

impl DType {
    /// Whether values are real floating-point numbers.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// Whether values are signed or unsigned integers; `bool` is not.
    pub const fn is_int(self) -> bool {
        matches!(
            self,
            DType::U8
                | DType::U16
                | DType::U32
                | DType::U64
                | DType::I8
                | DType::I16
                | DType::I32
                | DType::I64
        )
    }

    /// Whether values are pairs of floats.
    pub const fn is_complex(self) -> bool {
        matches!(self, DType::C64 | DType::C128)
    }

    /// The dtype of a result of elements of both: that which holds all values of both, as torch and NumPy have it. Of two halves it is
    /// float32, of a float and an integer the float, of uint64 and a signed integer float64.
    pub fn promote(self, other: DType) -> DType {
        use DType::*;
        let kind = |dtype: DType| match dtype {
            Bool => 0,
            _ if dtype.is_int() => 1,
            _ if dtype.is_float() => 2,
            _ => 3,
        };
        let signed = |dtype: DType| matches!(dtype, I8 | I16 | I32 | I64);
        let (low, high) = if (kind(self), self.size()) <= (kind(other), other.size()) {
            (self, other)
        } else {
            (other, self)
        };
        match (low, high) {
            (F64, C64) => C128,
            _ if low == high || kind(low) < kind(high) => high,
            (F16, BF16) | (BF16, F16) => F32,
            _ if kind(low) != 1 || signed(low) == signed(high) => high,
            // A signed integer holds an unsigned one only if it is wider.
            _ if signed(high) && high.size() > low.size() => high,
            _ => match high.size() {
                1 => I16,
                2 => I32,
                4 => I64,
                _ => F64,
            },
        }
    }

    /// The boundary in bytes that an element must lie on: that of the scalar, half the size for complex numbers.
    pub const fn align(self) -> usize {
        if self.is_complex() { self.size() / 2 } else { self.size() }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = Error;

    /// Reads `float32`, `torch.float32` and torch's short names (`half`, `float`, `double`, `long`, `int`).
    fn from_str(text: &str) -> Result<DType, Error> {
        let name = match text.strip_prefix("torch.").unwrap_or(text) {
            "half" => "float16",
            "float" => "float32",
            "double" => "float64",
            "int" => "int32",
            "long" => "int64",
            other => other,
        };
        DType::ALL.iter().copied().find(|d| d.name() == name).ok_or_else(|| Error::UnknownDType(text.into()))
    }
}

/// A Rust type that is one element of a tensor.
///
/// # Safety
/// `DTYPE` must describe the type's size, alignment and meaning, and every bit pattern that a kernel writes must be valid for it.
pub unsafe trait Element: Copy + Send + Sync + 'static {
    /// The dtype whose elements these are.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($type:ty => $variant:ident),* $(,)?) => {
        // SAFETY: plain numbers of the stated size, for which every bit pattern is valid.
        $(unsafe impl Element for $type { const DTYPE: DType = DType::$variant; })*
    };
}

elements! {
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    f16 => F16, bf16 => BF16, f32 => F32, f64 => F64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotion() {
        use DType::*;
        for (a, b, both) in [
            (Bool, U8, U8),
            (U8, I8, I16),
            (I32, I64, I64),
            (U32, I32, I64),
            (U64, I8, F64),
            (U8, I32, I32),
            (I64, F16, F16),
            (F16, BF16, F32),
            (BF16, F32, F32),
            (F32, F64, F64),
            (F64, C64, C128),
            (U16, I64, I64),
        ] {
            assert_eq!((a.promote(b), b.promote(a)), (both, both), "{a} and {b}");
        }
    }

    #[test]
    fn names_round_trip() {
        for &dtype in DType::ALL {
            assert_eq!(dtype.name().parse::<DType>().unwrap(), dtype);
            assert_eq!(DType::from_safetensors(dtype.safetensors()), Some(dtype));
        }
        assert_eq!("torch.bfloat16".parse::<DType>().unwrap(), DType::BF16);
        assert!("float8".parse::<DType>().is_err());
    }
}
