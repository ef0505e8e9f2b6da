//! Products of matrices, batch by batch.

use super::{Gpu, name};
use crate::cuda::arguments::{ACTIVATIONS, Walk, code, place_in};
use crate::cuda::blas::{BIAS_ALIGNMENT, Function, MOST_MATRICES, Matrices, Product};
use crate::cuda::geometry::{STREAMED, elements, stream};
use crate::cuda::is_tf32_allowed;
use crate::cuda::launch::{Argument, Kernel, launch};
use crate::layout::coalesce;
use crate::{Activation, Backend, DType, Layout, Result, Shape, Tensor};

/// Bytes that a thread reads at once.
const PIECE: usize = 16;

pub(super) fn matmul(gpu: &Gpu, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut shape = Shape::from(a.shape());
    let last = shape.len() - 1;
    shape[last] = b.shape()[last];
    let out = gpu.fresh(&shape, a.dtype())?;
    if out.numel() == 0 {
        return Ok(out);
    }
    if a.shape()[last] == 0 {
        gpu.zero(&out)?;
        return Ok(out);
    }
    if !a.dtype().is_float() {
        return whole(gpu, out, a, b);
    }
    // What no strides of the library express is copied first.
    let [a, b] = [a, b].map(|x| if matrices(x).is_some() { Ok(x.detach()) } else { x.detach().copy() });
    let (a, b) = (a?, b?);
    let (left, right) =
        (matrices(&a).unwrap_or_else(|| plain(&a)), matrices(&b).unwrap_or_else(|| plain(&b)));
    let count = shape[..last - 1].iter().product();
    let product =
        Product { out: plain(&out), left, right, count, bias: None, add: None, function: Function::Identity };
    gpu.multiply(&product)?;
    Ok(out)
}

impl Gpu {
    /// Puts a product of matrices of floats on the stream.
    pub(super) fn multiply(&self, product: &Product) -> Result<()> {
        if is_streamed(product) {
            return by_stream(self, product);
        }
        let aligned = match product.bias {
            Some(bias) if bias % BIAS_ALIGNMENT != 0 => {
                let (columns, dtype) = (product.out.shape[1], product.out.dtype);
                let aligned = self.fresh(&[columns], dtype)?;
                self.copy(aligned.as_ptr() as u64, bias, columns * dtype.size())?;
                Some(aligned)
            }
            _ => None,
        };
        let bias = aligned.as_ref().map(|bias| bias.as_ptr() as u64).or(product.bias);
        let tf32 = product.left.dtype == DType::F32 && is_tf32_allowed();
        (0..product.count).step_by(MOST_MATRICES).try_for_each(|from| {
            let part = Product { bias, ..product.part(from) };
            if self.blas()?.run(self, &part, tf32)? { Ok(()) } else { by_kernel(self, &part) }
        })
    }
}

/// Whether a product is one of few vectors with a matrix that is read once, in whole pieces. Then all that counts is how fast it is read, and what the
/// library has for more rows leaves memory waiting.
fn is_streamed(product: &Product) -> bool {
    let Product { out, left, right, count, .. } = *product;
    let is_whole = |m: Matrices, apart: usize| {
        [m.address as usize, apart * m.dtype.size()].into_iter().all(|bytes| bytes % PIECE == 0)
    };
    let [depth, columns] = right.shape;
    count == 1
        && out.shape[0] <= STREAMED
        && left.dtype == right.dtype
        && [left.dtype, out.dtype].iter().all(|dtype| matches!(dtype, DType::F32 | DType::F16 | DType::BF16))
        && (left.strides[1], right.strides[0]) == (1, 1)
        && (out.strides[1] == 1 || columns == 1)
        && (depth * left.dtype.size()).is_multiple_of(PIECE)
        && i32::try_from(depth).is_ok()
        && is_whole(left, left.strides[0])
        && is_whole(right, right.strides[1])
}

fn by_stream(gpu: &Gpu, product: &Product) -> Result<()> {
    let Product { out, left, right, bias, add, function, .. } = *product;
    let [depth, rows] = right.shape;
    let vectors = out.shape[0];
    let macros = format!("T={} OUT={} VECTORS={vectors}", name(left.dtype), name(out.dtype));
    let at = stream(rows, vectors, depth * left.dtype.size() / PIECE, gpu.processors().count);
    let [out_apart, x_apart, apart] = [out.strides[0], left.strides[0], right.strides[1]].map(|x| x as i64);
    let (bias, add, function) = (bias.unwrap_or(0), add.unwrap_or(0), activation(function));
    let (rows, depth) = (rows as i64, depth as i32);
    launch!(
        gpu,
        "gemv",
        &macros,
        "gemv",
        at,
        [
            out.address,
            out_apart,
            left.address,
            x_apart,
            right.address,
            apart,
            bias,
            add,
            function,
            rows,
            depth
        ]
    )
}

/// What kernels call a function.
fn activation(function: Function) -> i32 {
    let activation = match function {
        Function::Identity => Activation::Identity,
        Function::Relu => Activation::Relu,
        Function::GeluTanh => Activation::GeluTanh,
    };
    place_in(&ACTIVATIONS, activation)
}

/// A product that the library has no algorithm for: of bfloat16 before Ampere, or of what lies as none takes it.
fn by_kernel(gpu: &Gpu, product: &Product) -> Result<()> {
    /// What kernels call Matrices.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Placed {
        address: u64,
        dtype: i64,
        strides: [i64; 2],
        apart: i64,
    }
    let placed = |m: Matrices| {
        let strides = m.strides.map(|stride| stride as i64);
        Argument::of(Placed {
            address: m.address,
            dtype: code(m.dtype).into(),
            strides,
            apart: m.apart as i64,
        })
    };
    let Product { out, left, right, count, bias, add, .. } = *product;
    let [rows, columns] = out.shape;
    let function = activation(product.function);
    let at = elements(count * rows.next_multiple_of(16) * columns.next_multiple_of(16), 1);
    let (bias, add) = (bias.unwrap_or(0), add.unwrap_or(0));
    let [rows, depth, columns, count] =
        [rows, left.shape[1], columns, count].map(|size| Argument::from(size as i64));
    let is_double = out.dtype == DType::F64;
    let [out, left, right] = [out, left, right].map(placed);
    let name = if is_double { "multiply_double" } else { "multiply_single" };
    let kernel = Kernel { file: "product", macros: "", name };
    let arguments = [out, left, right, bias.into(), add.into(), function.into(), rows, depth, columns, count];
    gpu.launch(kernel, at, &arguments)
}

/// Products of integers, which matrix units do not have in this way.
fn whole(gpu: &Gpu, out: Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (shape, last) = (out.shape(), out.ndim() - 1);
    let leading = |x: &Tensor| Layout::strided(&x.shape()[..last - 1], &x.layout().strides()[..last - 1], 0);
    let batch = Walk::new(&shape[..last - 1], [&leading(a), &leading(b)])?;
    let strides = |x: &Tensor| Argument::of([last - 1, last].map(|axis| x.layout().strides()[axis] as i64));
    let [rows, depth, columns] = [shape[last - 1], a.shape()[last], shape[last]].map(|size| size as i64);
    let at = elements(out.numel(), 1);
    let kind = code(out.dtype());
    launch!(
        gpu,
        "product",
        "",
        "multiply",
        at,
        [&out, kind, a, strides(a), b, strides(b), rows, depth, columns, batch]
    )?;
    Ok(out)
}

/// The matrices of `x`, if they lie at equal distances and the elements of rows or of columns are neighbours.
pub(super) fn matrices(x: &Tensor) -> Option<Matrices> {
    let (batch, sizes) = x.shape().split_at(x.ndim() - 2);
    let (apart, strides) = x.layout().strides().split_at(x.ndim() - 2);
    let (_, [apart]) = coalesce(batch, [&Layout::strided(batch, apart, 0)]);
    let [apart] = apart[..] else { return None };
    let positive = |stride: isize| usize::try_from(stride).ok();
    let (shape, strides) = ([sizes[0], sizes[1]], [positive(strides[0])?, positive(strides[1])?]);
    let is_run = |along: usize, across: usize| {
        (strides[along] == 1 || shape[along] == 1) && (strides[across] >= shape[along] || shape[across] == 1)
    };
    (is_run(1, 0) || is_run(0, 1)).then(|| Matrices {
        address: x.as_ptr() as u64,
        dtype: x.dtype(),
        shape,
        strides,
        apart: positive(apart).unwrap_or_default(),
    })
}

/// The matrices of a contiguous tensor.
pub(super) fn plain(x: &Tensor) -> Matrices {
    let shape = [x.shape()[x.ndim() - 2], x.shape()[x.ndim() - 1]];
    let (address, dtype, strides) = (x.as_ptr() as u64, x.dtype(), [shape[1], 1]);
    Matrices { address, dtype, shape, strides, apart: shape[0] * shape[1] }
}
