//! A matrix of parameters, however its numbers are stored.

use crate::{DType, Quantized, Result, Tensor, ops};

/// A matrix (rows, columns) as a file has it: numbers, or blocks of few bits that stand for them.
#[derive(Clone, Debug)]
pub enum Matrix {
    /// Numbers, of any float dtype and strides.
    Dense(Tensor),
    /// Blocks.
    Quantized(Quantized),
}

impl Matrix {
    /// Rows and columns; of a tensor that is no matrix what dimensions it has.
    pub fn shape(&self) -> &[usize] {
        match self {
            Matrix::Dense(tensor) => tensor.shape(),
            Matrix::Quantized(quantized) => quantized.shape(),
        }
    }

    /// The tensor, unless it is quantized.
    pub fn dense(&self) -> Option<&Tensor> {
        match self {
            Matrix::Dense(tensor) => Some(tensor),
            Matrix::Quantized(_) => None,
        }
    }

    /// The blocks, if it is quantized.
    pub fn quantized(&self) -> Option<&Quantized> {
        match self {
            Matrix::Dense(_) => None,
            Matrix::Quantized(quantized) => Some(quantized),
        }
    }

    /// The memory that holds the numbers or the blocks.
    pub fn memory(&self) -> &Tensor {
        match self {
            Matrix::Dense(tensor) => tensor,
            Matrix::Quantized(quantized) => quantized.memory(),
        }
    }

    /// The numbers as a tensor of `dtype`.
    ///
    /// # Errors
    /// `DType` for complex ones, `OutOfMemory`.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        match self {
            Matrix::Dense(tensor) => tensor.to_dtype(dtype),
            Matrix::Quantized(quantized) => quantized.dequantize()?.to_dtype(dtype),
        }
    }

    /// The rows that `ids` name: (ids, columns), float32. What an embedding looks up.
    ///
    /// # Errors
    /// `Index` for a row that is not there.
    pub fn rows(&self, ids: &[i64]) -> Result<Tensor> {
        match self {
            Matrix::Dense(tensor) => ops::embedding(&[ops::Lookup::new(tensor, ids)], DType::F32),
            Matrix::Quantized(quantized) => quantized.rows(ids),
        }
    }
}

impl From<Tensor> for Matrix {
    fn from(tensor: Tensor) -> Matrix {
        Matrix::Dense(tensor)
    }
}

impl From<Quantized> for Matrix {
    fn from(quantized: Quantized) -> Matrix {
        Matrix::Quantized(quantized)
    }
}
