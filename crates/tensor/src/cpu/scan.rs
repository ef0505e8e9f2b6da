//! Running sums and products.

use super::combine::{Combine, Max, Min, Prod, Sum, SumSquares};
use super::elementwise::{CHUNK, Scratch};
use super::number::{Number, by_class};
use super::reader::Reader;
use super::rows::for_each_run;
use crate::ops::ReduceOp;
use crate::{DType, Result, Tensor};

/// See [`crate::Backend::scan`].
pub(super) fn scan(op: ReduceOp, x: &Tensor, dtype: DType) -> Result<Tensor> {
    by_class!(dtype, C => match op {
        ReduceOp::Sum => running::<C, Sum>(x, dtype),
        ReduceOp::SumSquares => running::<C, SumSquares>(x, dtype),
        ReduceOp::Prod => running::<C, Prod>(x, dtype),
        ReduceOp::Max => running::<C, Max>(x, dtype),
        ReduceOp::Min => running::<C, Min>(x, dtype),
    })
}

fn running<C: Number, K: Combine<C>>(x: &Tensor, dtype: DType) -> Result<Tensor> {
    let size = x.shape().last().copied().unwrap_or(1);
    let out = Tensor::build_as::<C>(x.shape(), C::DTYPE, |out| {
        for_each_run(out, size, |first, rows| {
            let mut scratch = Scratch::new();
            let Ok(mut reader) = Reader::<C>::new(x, &mut scratch) else { return };
            for (i, row) in rows.chunks_exact_mut(size).enumerate() {
                let mut total = K::WIDE_START;
                for (from, out) in (0..size).step_by(CHUNK).zip(row.chunks_mut(CHUNK)) {
                    let x = reader.read((first + i) * size + from, out.len());
                    for (out, &x) in out.iter_mut().zip(x) {
                        total = K::wide_step(total, K::widen(K::step(K::START, x)));
                        out.write(K::narrow(total));
                    }
                }
            }
        })
    })?;
    out.to_dtype(dtype)
}
