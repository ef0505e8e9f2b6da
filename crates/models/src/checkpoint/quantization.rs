//! Linear layers in few bits, made as a checkpoint is opened.

use std::str::FromStr;

use trustformers_tensor::autograd::no_grad;
use trustformers_tensor::{BlockFormat, Quantized, Tensor};

use crate::{Error, Order, Parameter, Result};

/// What the matrices of a model's layers become. Its embeddings, norms, biases and heads stay as they are, which is what transformers'
/// quantizers leave alone too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantization {
    /// 8 bits, with a scale for each row.
    Int8,
    /// 4 bits, with a scale and a minimum for each 32.
    Q4,
}

impl Quantization {
    fn format(self) -> BlockFormat {
        match self {
            Quantization::Int8 => BlockFormat::Int8,
            Quantization::Q4 => BlockFormat::Q4_1,
        }
    }

    /// The matrix in blocks, transposed for it if it is one of transformers' `Conv1D`; as it is, if its rows are no whole blocks.
    pub(super) fn apply(self, matrix: Tensor, transposed: bool) -> Result<Parameter> {
        let rows = if transposed { matrix.mt()? } else { matrix.clone() };
        if !rows.shape().last().is_some_and(|columns| columns.is_multiple_of(self.format().block_elements()))
        {
            return Ok(matrix.into());
        }
        let blocks = no_grad(|| Quantized::quantize(&rows, self.format()))?;
        Ok(Parameter::Quantized(blocks, if transposed { Order::Transposed } else { Order::Same }))
    }
}

impl FromStr for Quantization {
    type Err = Error;

    /// Reads `int8` or `q4`.
    fn from_str(text: &str) -> Result<Quantization> {
        match text {
            "int8" => Ok(Quantization::Int8),
            "q4" => Ok(Quantization::Q4),
            _ => Err(Error::Input(format!("quantization={text:?} is none of \"int8\" and \"q4\""))),
        }
    }
}
