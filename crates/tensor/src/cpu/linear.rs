//! Products with weights, which the kernel's layout is kept for.

use super::gemm::{self, MatrixMut, Options, Right, Stacked, gemm};
use super::{activation, gemv};
use crate::{Activation, DType, Matrix, Result, Shape, Tensor, Weight};

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
    let map = activation::kernel(activation);
    let values = x.as_slice()?;
    Tensor::build(&shape, |out| {
        if gemv::product(gemv::Left { values, rows, columns }, weight.parts(), add, map, out)? {
            return Ok(());
        }
        let left = gemm::Matrix::new(values, [rows, columns], [columns, 1])?;
        let out = MatrixMut::new(out, [rows, outputs], outputs)?;
        let (packed, stacked);
        let right = match weight.parts() {
            _ if weight.is_lasting() => {
                packed = weight.packed()?;
                Right::Packed(&packed)
            }
            [Matrix::Dense(only)] if only.dtype() == DType::F32 => {
                Right::Plain(gemm::Matrix::of(only, 0)?.transposed())
            }
            parts => {
                stacked = Stacked(parts);
                Right::Made(&stacked)
            }
        };
        gemm(out, left, right, &Options { add, map, ..Options::default() })
    })
}
