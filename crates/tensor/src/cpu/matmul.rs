//! Products of matrices that are not weights: nothing is prepacked.

use std::mem::MaybeUninit;

use rayon::prelude::*;
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmUninitOptions};

use super::linear::strided;
use super::number::by_class;
use super::rows::for_each_run;
use crate::{DType, Element, Error, Result, Shape, Tensor, pool};

/// See [`crate::Backend::matmul`].
pub(super) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match a.dtype() {
        DType::F32 => single(a, b),
        DType::F16 | DType::BF16 => {
            single(&a.to_dtype(DType::F32)?, &b.to_dtype(DType::F32)?)?.to_dtype(a.dtype())
        }
        dtype => by_class!(dtype, C => {
            let wide = |x: &Tensor| x.to_dtype(C::DTYPE)?.contiguous();
            plain::<C>(&wide(a)?, &wide(b)?)?.to_dtype(dtype)
        }),
    }
}

/// Rows, inner size and columns of a product, and its shape.
fn sizes(a: &Tensor, b: &Tensor) -> (usize, usize, usize, Shape) {
    let ndim = a.ndim();
    let (rows, inner, columns) = (a.shape()[ndim - 2], a.shape()[ndim - 1], b.shape()[ndim - 1]);
    let mut shape = Shape::from(a.shape());
    shape[ndim - 1] = columns;
    (rows, inner, columns, shape)
}

fn single(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (rows, inner, columns, shape) = sizes(a, b);
    if inner == 0 {
        return Tensor::zeros(&shape);
    }
    // The kernel takes any strides that walk forwards.
    let forwards = |x: &Tensor| {
        let mut dims = x.shape().iter().zip(x.layout().strides());
        let backwards = dims.any(|(&size, &stride)| size > 1 && stride < 0);
        if backwards
            || x.shape()[x.ndim() - 2..]
                .iter()
                .zip(&x.layout().strides()[x.ndim() - 2..])
                .any(|(&size, &stride)| size > 1 && stride == 0)
        {
            x.copy()
        } else {
            Ok(x.clone())
        }
    };
    let (a, b) = (forwards(&a.detach())?, forwards(&b.detach())?);
    let (a_data, b_data) = (a.span::<f32>()?, b.span::<f32>()?);
    let gemm = GemmExecutor::<f32>::new();
    let one = |(index, out): (usize, &mut [MaybeUninit<f32>])| -> Result<()> {
        let a = matrix(&a, a_data, index, [rows, inner])?;
        let b = matrix(&b, b_data, index, [inner, columns])?;
        gemm.gemm_uninit(out, GemmInputA::Unpacked(a), GemmInputB::Unpacked(b), GemmUninitOptions::default())
            .map_err(|error| Error::argument("matmul", error.to_string()))?;
        Ok(())
    };
    Tensor::build(&shape, |out| {
        if out.is_empty() {
            return Ok(());
        }
        let batches = out.par_chunks_mut(rows * columns).enumerate();
        if out_is_small(rows, inner, columns, shape.iter().product()) {
            return out.chunks_mut(rows * columns).enumerate().try_for_each(one);
        }
        pool::install(|| batches.try_for_each(one))?
    })
}

/// Whether waking the pool would cost more than the products.
fn out_is_small(rows: usize, inner: usize, columns: usize, total: usize) -> bool {
    total / (rows * columns).max(1) * rows * inner * columns < 64 << 10
}

/// Matrix number `index` of a batch.
fn matrix<'a>(
    x: &Tensor,
    data: &'a [f32],
    mut index: usize,
    shape: [usize; 2],
) -> Result<rten_tensor::Matrix<'a, f32>> {
    let (strides, ndim) = (x.layout().strides(), x.ndim());
    let mut start = 0;
    for axis in (0..ndim - 2).rev() {
        start += index % x.shape()[axis] * strides[axis] as usize;
        index /= x.shape()[axis];
    }
    // The stride of a dimension with one position can be anything.
    let stride = |axis: usize| if x.shape()[axis] > 1 { strides[axis] as usize } else { 1 };
    strided(data.get(start..).unwrap_or(&[]), shape, [stride(ndim - 2), stride(ndim - 1)])
}

/// What the library has no kernel for, in the order in which both operands are read forwards.
fn plain<C: Element + Default + Accumulate>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (rows, inner, columns, shape) = sizes(a, b);
    let (a, b): (&[C], &[C]) = (a.as_slice()?, b.as_slice()?);
    Tensor::build_as(&shape, C::DTYPE, |out: &mut [MaybeUninit<C>]| {
        for_each_run(out, columns, |first, run| {
            for (i, out) in run.chunks_exact_mut(columns).enumerate() {
                out.fill(MaybeUninit::new(C::default()));
                // SAFETY: initialised by the line above.
                let out = unsafe { out.assume_init_mut() };
                let (batch, row) = ((first + i) / rows, first + i);
                let b = &b[batch * inner * columns..][..inner * columns];
                for (&a, b) in a[row * inner..][..inner].iter().zip(b.chunks_exact(columns)) {
                    super::simd::vectorized(
                        #[inline(always)]
                        || out.iter_mut().zip(b).for_each(|(out, &b)| *out = out.plus_product(a, b)),
                    );
                }
            }
        })
    })
}

/// `self + a b`, wrapping for integers.
trait Accumulate: Copy {
    fn plus_product(self, a: Self, b: Self) -> Self;
}
impl Accumulate for f32 {
    fn plus_product(self, a: f32, b: f32) -> f32 {
        self + a * b
    }
}
impl Accumulate for f64 {
    fn plus_product(self, a: f64, b: f64) -> f64 {
        self + a * b
    }
}
impl Accumulate for i64 {
    fn plus_product(self, a: i64, b: i64) -> i64 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}
impl Accumulate for u64 {
    fn plus_product(self, a: u64, b: u64) -> u64 {
        self.wrapping_add(a.wrapping_mul(b))
    }
}
