//! Products with weights, which the kernel's layout is kept for.

use std::sync::Arc;

use super::activation;
use super::gemm::{Matrix, MatrixMut, Options, Packed, Right, gemm};
use crate::{Activation, DType, Result, Shape, Tensor, Weight};

/// See [`crate::Backend::linear`].
pub(super) fn linear(
    x: &Tensor,
    weight: &Weight,
    bias: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let (columns, outputs) = (weight.in_features(), weight.out_features());
    let rows = x.shape()[..x.ndim() - 1].iter().product();
    let mut shape = Shape::from(x.shape());
    shape[x.ndim() - 1] = outputs;
    let bias = bias.map(|bias| bias.contiguous()).transpose()?;
    let add = bias.as_ref().map(|bias| bias.as_slice()).transpose()?;
    let options = Options { add, map: activation::kernel(activation), ..Options::default() };
    let x = Matrix::new(x.as_slice()?, [rows, columns], [columns, 1])?;
    Tensor::build(&shape, |out| {
        let out = MatrixMut::new(out, [rows, outputs], outputs)?;
        let packed;
        let right = match weight.parts() {
            _ if weight.is_lasting() => {
                packed = weight.packed()?;
                Right::Packed(&packed)
            }
            [crate::Matrix::Dense(only)] if only.dtype() == DType::F32 => {
                Right::Plain(Matrix::of(only, 0)?.transposed())
            }
            parts => {
                packed = Arc::new(Packed::pack_transposed(parts)?);
                Right::Packed(&packed)
            }
        };
        gemm(out, x, right, &options)
    })
}
