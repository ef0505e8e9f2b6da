//! A parameter as it is kept.

use trustformers_tensor::{DType, Device, Matrix, Quantized, Tensor};

use crate::Result;

/// A parameter: numbers, or a matrix in blocks of few bits, as a file has it.
#[derive(Clone, Debug)]
pub enum Parameter {
    /// Numbers, which can be changed and trained.
    Dense(Tensor),
    /// Blocks, which stay as they are, and what about them differs from transformers' matrix.
    Quantized(Quantized, Order),
}

/// How a matrix in blocks lies compared to transformers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// In the same way.
    Same,
    /// As (out, in), where transformers' `Conv1D` has (in, out).
    Transposed,
    /// With the rows of each head, of so many, shuffled: those of its halves alternate. Rotary embeddings then turn neighbours.
    Interleaved(usize),
}

impl Parameter {
    /// The shape that transformers gives it.
    pub fn shape(&self) -> Vec<usize> {
        match self {
            Parameter::Dense(tensor) => tensor.shape().to_vec(),
            Parameter::Quantized(matrix, Order::Transposed) => matrix.shape().iter().rev().copied().collect(),
            Parameter::Quantized(matrix, _) => matrix.shape().to_vec(),
        }
    }

    /// How many numbers it has.
    pub fn numel(&self) -> usize {
        self.shape().iter().product()
    }

    /// The bytes that it takes.
    pub fn nbytes(&self) -> usize {
        match self {
            Parameter::Dense(tensor) => tensor.numel() * tensor.dtype().size(),
            Parameter::Quantized(matrix, _) => matrix.nbytes(),
        }
    }

    /// The dtype of the numbers that [`Parameter::tensor`] gives.
    pub fn dtype(&self) -> DType {
        match self {
            Parameter::Dense(tensor) => tensor.dtype(),
            Parameter::Quantized(..) => DType::F32,
        }
    }

    /// The tensor, unless it is quantized.
    pub fn dense(&self) -> Option<&Tensor> {
        match self {
            Parameter::Dense(tensor) => Some(tensor),
            Parameter::Quantized(..) => None,
        }
    }

    /// The memory that it lies in: its numbers, or its blocks.
    pub fn memory(&self) -> &Tensor {
        match self {
            Parameter::Dense(tensor) => tensor,
            Parameter::Quantized(matrix, _) => matrix.memory(),
        }
    }

    /// Whether both are the very same parameter.
    pub fn is(&self, other: &Parameter) -> bool {
        self.memory().is(other.memory())
    }

    /// The tensor as transformers has it. Of blocks it is made now, in float32, and is nobody's parameter.
    ///
    /// # Errors
    /// `Tensor` when there is no memory for it.
    pub fn tensor(&self) -> Result<Tensor> {
        Ok(match self {
            Parameter::Dense(tensor) => tensor.clone(),
            Parameter::Quantized(matrix, Order::Same) => matrix.dequantize()?,
            Parameter::Quantized(matrix, Order::Transposed) => matrix.dequantize()?.mt()?,
            Parameter::Quantized(matrix, Order::Interleaved(heads)) => {
                separated(&matrix.dequantize()?, *heads)?
            }
        })
    }

    /// The same parameter with the rows of its heads in transformers' order; blocks are copied for it.
    pub fn in_order(&self) -> Result<Parameter> {
        let Parameter::Quantized(matrix, Order::Interleaved(heads)) = self else { return Ok(self.clone()) };
        let rows = matrix.shape()[0];
        let numbers = Tensor::arange(0i64.into(), (rows as i64).into(), 1i64.into(), DType::I64)?;
        let numbers = separated(&numbers, *heads)?;
        Parameter::Quantized(matrix.clone(), Order::Same).select_rows(numbers.as_slice()?)
    }

    /// The rows that `ids` name, copied; those of blocks stay blocks in their order.
    pub fn select_rows(&self, ids: &[i64]) -> Result<Parameter> {
        Ok(match self {
            Parameter::Dense(tensor) => {
                tensor.index_select(0, &Tensor::from_slice(ids, &[ids.len()])?)?.into()
            }
            Parameter::Quantized(matrix, order) => Parameter::Quantized(matrix.select_rows(ids)?, *order),
        })
    }

    /// The rows that `ids` name of a table: (ids, columns), float32.
    pub fn rows(&self, ids: &[i64]) -> Result<Tensor> {
        Ok(match self {
            Parameter::Dense(table) => Matrix::Dense(table.clone()).rows(ids)?,
            Parameter::Quantized(table, _) => table.rows(ids)?,
        })
    }

    /// The same numbers on a device; blocks stay blocks.
    pub fn to_device(&self, device: Device) -> Result<Parameter> {
        Ok(match self {
            Parameter::Dense(tensor) => Parameter::Dense(tensor.to_device(device)?),
            Parameter::Quantized(matrix, order) => Parameter::Quantized(matrix.to_device(device)?, *order),
        })
    }

    /// The same numbers in memory of their own.
    pub fn copy(&self) -> Result<Parameter> {
        Ok(match self {
            Parameter::Dense(tensor) => Parameter::Dense(tensor.copy()?),
            Parameter::Quantized(matrix, order) => Parameter::Quantized(matrix.copy()?, *order),
        })
    }
}

impl From<Tensor> for Parameter {
    fn from(tensor: Tensor) -> Parameter {
        Parameter::Dense(tensor)
    }
}

/// A tensor whose rows alternate between the halves of each of `heads` heads, with one half behind the other: what undoes `permute` of
/// llama.cpp's `convert_hf_to_gguf.py`.
pub(crate) fn separated(tensor: &Tensor, heads: usize) -> Result<Tensor> {
    let shape = tensor.shape();
    let half = shape[0] / (2 * heads.max(1));
    let apart = [&[heads, half, 2], &shape[1..]].concat();
    Ok(tensor.contiguous()?.view(&apart)?.transpose(1, 2)?.contiguous()?.view(shape)?)
}

#[cfg(test)]
mod tests {
    use trustformers_tensor::BlockFormat;

    use super::*;

    #[test]
    fn rows_of_heads_come_in_order() {
        let numbers: Vec<f32> = (0..12 * 32).map(|i| (i / 32) as f32).collect();
        let matrix = Tensor::from_slice(&numbers, &[12, 32]).unwrap();
        let blocks = Quantized::quantize(&matrix, BlockFormat::Q8_0).unwrap();
        let parameter = Parameter::Quantized(blocks, Order::Interleaved(2));
        let first = |tensor: &Tensor| -> Vec<f32> {
            let rows = tensor.to_dtype(DType::F32).unwrap().contiguous().unwrap();
            rows.as_slice::<f32>().unwrap().iter().step_by(32).map(|value| value.round()).collect()
        };
        let expected = [0.0, 2.0, 4.0, 1.0, 3.0, 5.0, 6.0, 8.0, 10.0, 7.0, 9.0, 11.0];
        assert_eq!(first(&parameter.tensor().unwrap()), expected);
        assert_eq!(first(&parameter.in_order().unwrap().tensor().unwrap()), expected);
        assert_eq!(parameter.nbytes(), 12 * 34);
    }
}
