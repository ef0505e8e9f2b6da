//! Matrix products with prepacked weights, by `rten-gemm`.

use rten_gemm::{BiasVector, GemmExecutor, GemmInputA, GemmInputB, GemmUninitOptions, PackedBMatrix};
use rten_tensor::{Matrix, NdTensorView};

use super::activation;
use crate::{Activation, DType, Error, Result, Shape, Tensor, Weight, pool};

/// A weight in the layout of the GEMM kernel, float32.
pub(crate) struct PackedMatrix(PackedBMatrix<f32>);

impl PackedMatrix {
    /// Packs (out, in) matrices, stacked, as one (in, out) right-hand side.
    pub(crate) fn pack(parts: &[Tensor]) -> Result<PackedMatrix> {
        let stacked = stack(parts)?;
        pool::install(|| Ok(PackedMatrix(GemmExecutor::<f32>::new().prepack_b(transposed(&stacked)?))))?
    }
}

/// (out, in) matrices one below the other, contiguous float32.
fn stack(parts: &[Tensor]) -> Result<Tensor> {
    let parts: Vec<Tensor> =
        parts.iter().map(|part| part.detach().to_dtype(DType::F32)).collect::<Result<_>>()?;
    match parts.as_slice() {
        [only] => only.contiguous(),
        several => Tensor::cat(&several.iter().collect::<Vec<_>>(), 0),
    }
}

/// An (out, in) matrix as the (in, out) right-hand side of a product.
fn transposed(stacked: &Tensor) -> Result<Matrix<'_, f32>> {
    let (rows, columns) = (stacked.shape()[0], stacked.shape()[1]);
    strided(stacked.as_slice()?, [columns, rows], [1, columns])
}

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
    let bias = bias.as_ref().map(|bias| bias.as_slice()).transpose()?;
    if columns == 0 {
        // An empty sum: the kernel's packing has no form for it.
        return Tensor::build(&shape, |out| {
            for (i, out) in out.iter_mut().enumerate() {
                out.write(bias.map_or(0.0, |bias| bias[i % outputs]));
            }
            // SAFETY: every element was just written.
            activation::apply(activation, unsafe { out.assume_init_mut() })
        });
    }
    let x = strided(x.as_slice()?, [rows, columns], [columns, 1])?;
    let (packed, stacked);
    let weight = if weight.requires_grad() {
        stacked = stack(weight.parts())?;
        GemmInputB::Unpacked(transposed(&stacked)?)
    } else {
        packed = weight.packed()?;
        GemmInputB::Packed(&packed.0)
    };
    Tensor::build(&shape, |out| {
        pool::install(|| {
            let bias = bias.map(BiasVector::Row);
            let options = GemmUninitOptions { bias, ..Default::default() };
            let gemm = GemmExecutor::<f32>::new();
            let out = gemm
                .gemm_uninit(out, GemmInputA::Unpacked(x), weight, options)
                .map_err(|error| Error::argument("linear", error.to_string()))?;
            activation::apply(activation, out)
        })?
    })
}

/// A matrix view with strides over `data`.
pub(super) fn strided(data: &[f32], shape: [usize; 2], strides: [usize; 2]) -> Result<Matrix<'_, f32>> {
    let needed =
        if shape.contains(&0) { 0 } else { (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1] + 1 };
    let data = data.get(..needed).unwrap_or(&[]);
    NdTensorView::from_data_with_strides(shape, data, strides)
        .map_err(|error| Error::argument("matmul", format!("{shape:?} with strides {strides:?}: {error}")))
}
