//! Products of matrices that are not weights, one or many.

use std::mem::MaybeUninit;

use super::gemm::{self, Matrix, MatrixMut, Options, Real, Right};
use super::number::Class;
use super::rows::for_each_run;
use crate::{DType, Element, Result, Shape, Tensor, pool, team};

/// Fewer multiplications than this are done on the calling thread: waking another costs more.
const PARALLEL_FROM: usize = 1 << 20;

/// See [`crate::Backend::matmul`].
pub(super) fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let dtype = a.dtype();
    match Class::of(dtype) {
        Class::Single => real::<f32>(&a.to_dtype(DType::F32)?, &b.to_dtype(DType::F32)?)?.to_dtype(dtype),
        Class::Double => real::<f64>(a, b),
        Class::Int => whole::<i64>(a, b)?.to_dtype(dtype),
        Class::Unsigned => whole::<u64>(a, b)?.to_dtype(dtype),
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

fn real<T: Real>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (rows, inner, columns, shape) = sizes(a, b);
    let (a, b) = (a.detach(), b.detach());
    Tensor::build(&shape, |out: &mut [MaybeUninit<T>]| {
        if out.is_empty() {
            return Ok(());
        }
        let batches = out.len() / (rows * columns);
        // Many products are shared among the threads, few of them share the threads.
        let many = batches >= pool::num_threads();
        let options = Options { parallel: !many, ..Options::default() };
        let one = |index: usize, out: &mut [MaybeUninit<T>]| {
            let out = MatrixMut::new(out, [rows, columns], columns)?;
            gemm::gemm(out, Matrix::of(&a, index)?, Right::Plain(Matrix::of(&b, index)?), &options)
        };
        if many && out.len().saturating_mul(inner) >= PARALLEL_FROM {
            return team::try_for_each_chunk(out, rows * columns, one);
        }
        out.chunks_mut(rows * columns).enumerate().try_for_each(|(index, out)| one(index, out))
    })
}

/// Products of integers, in the order in which both operands are read forwards.
fn whole<C: Element + Default + Accumulate>(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (rows, inner, columns, shape) = sizes(a, b);
    let wide = |x: &Tensor| x.to_dtype(C::DTYPE)?.contiguous();
    let (a, b) = (wide(a)?, wide(b)?);
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

/// `self + a b`, wrapping.
trait Accumulate: Copy {
    fn plus_product(self, a: Self, b: Self) -> Self;
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
