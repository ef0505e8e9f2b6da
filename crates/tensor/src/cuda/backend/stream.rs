//! Few rows meet a matrix of floats that is read once. Then all that counts is how fast it is read, and what the library has for more rows leaves memory
//! waiting: a kernel of our own does the whole linear layer, from the norm before it to what becomes of its sums.

use super::matmul::activation;
use super::{Gpu, name};
use crate::cuda::arguments::{ACTIVATIONS, place_in};
use crate::cuda::blas::{Matrices, Product};
use crate::cuda::geometry::{STREAMED, stream, stream_turned};
use crate::cuda::launch::{Argument, Kernel};
use crate::ops::Norm;
use crate::{Activation, DType, Result, Tensor};

/// Bytes that a thread reads at once.
const PIECE: usize = 16;

/// Bytes of vectors that have room in shared memory, beside what the kernels declare there.
const MOST_BYTES: usize = 36 << 10;

/// A product, and what stands around it in the same launch.
pub(super) struct Stream<'a> {
    product: Product,
    /// What the rows go through first.
    norm: Option<&'a Norm<'a>>,
    activation: Activation,
    /// Whether the first half of the sums are gates of the second. The product's result then has half as many columns as its matrix.
    is_gated: bool,
}

/// What kernels call a Norm.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Parameters {
    weight: u64,
    bias: u64,
    kind: i32,
    is_wide: i32,
    eps: f32,
}

/// Whether all of these bytes are whole pieces.
fn are_whole<const N: usize>(bytes: [usize; N]) -> bool {
    bytes.into_iter().all(|bytes| bytes.is_multiple_of(PIECE))
}

/// Whether a right matrix lies so that each output has a row of its memory, else a column.
fn has_outputs_in_rows(right: &Matrices) -> bool {
    right.strides[0] == 1
}

/// Whether the elements of each row are neighbours.
fn has_rows(m: &Matrices) -> bool {
    m.strides[1] == 1 || m.shape[1] == 1
}

impl<'a> Stream<'a> {
    /// The product alone, if there is a kernel for it.
    pub(super) fn of(product: &Product) -> Option<Stream<'a>> {
        let Product { out, left, right, count, .. } = *product;
        let size = left.dtype.size();
        // Kept together by rows or by columns, one of which are whole pieces.
        let (apart, run) = if has_outputs_in_rows(&right) {
            (right.strides[1], right.shape[0])
        } else {
            (right.strides[0], right.shape[1])
        };
        let is_taken = |dtype: DType| matches!(dtype, DType::F32 | DType::F16 | DType::BF16);
        let is_streamed = count == 1
            && out.shape[0] <= STREAMED
            && left.dtype == right.dtype
            && is_taken(left.dtype)
            && is_taken(out.dtype)
            && right.strides.contains(&1)
            && has_rows(&left)
            && has_rows(&out)
            && left.shape[0] * left.shape[1] * size <= MOST_BYTES
            && are_whole([left.address as usize, right.address as usize])
            && are_whole([left.strides[0], left.shape[1], apart, run].map(|elements| elements * size));
        let activation = activation(product.function);
        is_streamed.then_some(Stream { product: *product, norm: None, activation, is_gated: false })
    }

    /// With `norm` before it.
    pub(super) fn behind(self, norm: Option<&'a Norm<'a>>) -> Option<Stream<'a>> {
        let is_read = |x: &Tensor| {
            [DType::F32, self.product.left.dtype].contains(&x.dtype()) && are_whole([x.as_ptr() as usize])
        };
        let is_taken = match norm {
            None => true,
            Some(Norm::Layer { weight, bias, .. }) => {
                is_read(weight) && bias.is_none_or(|bias| is_read(bias) && bias.dtype() == weight.dtype())
            }
            Some(Norm::Rms { weight, .. }) => is_read(weight),
        };
        is_taken.then_some(Stream { norm, ..self })
    }

    /// With what becomes of its sums.
    pub(super) fn before(self, activation: Activation, is_gated: bool) -> Option<Stream<'a>> {
        let is_taken = !is_gated || has_outputs_in_rows(&self.product.right);
        is_taken.then_some(Stream { activation, is_gated, ..self })
    }

    pub(super) fn run(&self, gpu: &Gpu) -> Result<()> {
        let Product { out, left, right, bias, add, .. } = self.product;
        let ([depth, outputs], vectors, size) = (right.shape, out.shape[0], left.dtype.size());
        let macros = format!("T={} OUT={} VECTORS={vectors}", name(left.dtype), name(out.dtype));
        let processors = gpu.processors().count;
        let [out_apart, x_apart] = [out, left].map(|m| m.strides[0] as i64);
        let (bias, add) = (bias.unwrap_or(0), add.unwrap_or(0));
        let (function, norm) = (place_in(&ACTIVATIONS, self.activation), Argument::of(self.parameters()));
        let sizes = (vectors, depth, size);
        let is_in_rows = has_outputs_in_rows(&right);
        let (name, (at, split), apart) = match is_in_rows {
            true => ("gemv", stream(outputs, sizes, processors), right.strides[1]),
            false => ("gemv_turned", stream_turned(outputs, sizes, processors), right.strides[0]),
        };
        let arguments = [
            out.address.into(),
            out_apart.into(),
            left.address.into(),
            x_apart.into(),
            norm,
            right.address.into(),
            (apart as i64).into(),
            bias.into(),
            add.into(),
            function.into(),
            (outputs as i64).into(),
            (depth as i32).into(),
            (split as i32).into(),
            i32::from(self.is_gated).into(),
        ];
        // Gates are rows.
        let taken = if is_in_rows { &arguments[..] } else { &arguments[..arguments.len() - 1] };
        gpu.launch(Kernel { file: "gemv", macros: &macros, name }, at, taken)
    }

    fn parameters(&self) -> Parameters {
        let Some(norm) = self.norm else { return Parameters::default() };
        let (kind, weight, bias, eps) = match *norm {
            Norm::Layer { weight, bias, eps } => (1, weight, bias, eps),
            Norm::Rms { weight, eps } => (2, weight, None, eps),
        };
        let at = |x: &Tensor| x.as_ptr() as u64;
        let is_wide = i32::from(weight.dtype() == DType::F32);
        Parameters { weight: at(weight), bias: bias.map_or(0, at), kind, is_wide, eps }
    }
}
