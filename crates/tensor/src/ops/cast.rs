//! Conversion between dtypes.

use crate::{DType, Error, Result, Tensor};

impl Tensor {
    /// The same numbers as `dtype`: the tensor itself where it has it already. Floats become integers by truncation, out-of-range ones
    /// saturate; anything but zero becomes `true`.
    ///
    /// # Errors
    /// `DType` for complex numbers.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        if let Some(&dtype) = [self.dtype(), dtype].iter().find(|dtype| dtype.is_complex()) {
            return Err(Error::DType { op: "to", rule: "only real numbers can be converted", dtype });
        }
        self.backend().cast(self, dtype)
    }

    /// The same numbers in C order without gaps: the tensor itself where they lie so already.
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.backend().cast(self, self.dtype()) }
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn numbers_survive_a_wider_dtype() {
        let x = Tensor::from_slice(&[1.5f32, -2.0, 300.0], &[3]).unwrap();
        for dtype in [DType::F16, DType::BF16, DType::F64] {
            let back = x.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap();
            assert_eq!(back.as_slice::<f32>().unwrap(), [1.5, -2.0, 300.0]);
        }
        assert_eq!(x.to_dtype(DType::I64).unwrap().as_slice::<i64>().unwrap(), [1, -2, 300]);
        assert_eq!(x.to_dtype(DType::U8).unwrap().as_slice::<u8>().unwrap(), [1, 0, 255]);
        assert_eq!(x.to_dtype(DType::BF16).unwrap().as_slice::<bf16>().unwrap()[0], bf16::from_f32(1.5));
        assert_eq!(x.to_dtype(DType::F16).unwrap().as_slice::<f16>().unwrap()[1], f16::from_f32(-2.0));
        assert!(x.to_dtype(DType::C64).is_err());
    }

    #[test]
    fn a_strided_view_becomes_contiguous() {
        let x = Tensor::from_slice(&[0i32, 1, 2, 3, 4, 5], &[2, 3]).unwrap();
        let column = x.select(1, 1).unwrap();
        assert_eq!(column.contiguous().unwrap().as_slice::<i32>().unwrap(), [1, 4]);
        assert_eq!(column.to_dtype(DType::F32).unwrap().as_slice::<f32>().unwrap(), [1.0, 4.0]);
    }
}
