//! Dropout, its mask drawn as it is applied.

use std::mem::MaybeUninit;
use std::ops::Mul;

use super::number::Class;
use super::random::blocks;
use super::rows::for_each_run_of;
use super::simd::vectorized;
use crate::ops::{DROPOUT_BLOCKS as BLOCKS, DROPOUT_GROUP as GROUP, dropout_limit};
use crate::{DType, Element, Result, Tensor};

/// See [`crate::Backend::dropout`].
pub(super) fn dropout(x: &Tensor, p: f64, stream: (u64, u64)) -> Result<Tensor> {
    let Some(limit) = dropout_limit(p) else { return Tensor::zeros_of(x.shape(), x.dtype()) };
    let scale = 1.0 / (1.0 - p);
    match Class::of(x.dtype()) {
        Class::Double => dropped(x, limit, scale, stream),
        _ => dropped(&x.to_dtype(DType::F32)?, limit, scale as f32, stream)?.to_dtype(x.dtype()),
    }
}

/// Keeps the elements whose 32 random bits are not below `limit`.
fn dropped<T: Element + Default + Mul<Output = T>>(
    x: &Tensor,
    limit: u32,
    scale: T,
    (seed, from): (u64, u64),
) -> Result<Tensor> {
    let source = x.as_slice::<T>()?;
    Tensor::build(x.shape(), |out: &mut [MaybeUninit<T>]| {
        // A group is a row, and the last one may be short.
        for_each_run_of(out, GROUP, GROUP, |first, run| {
            let groups = run.chunks_mut(GROUP).zip(source[first * GROUP..].chunks(GROUP));
            for (index, (out, source)) in (first as u64..).zip(groups) {
                let group = from.wrapping_add(index * BLOCKS as u64);
                vectorized(
                    #[inline(always)]
                    || {
                        let bits = blocks::<BLOCKS>(seed, group);
                        let each = out.iter_mut().zip(source).zip(bits.as_flattened());
                        each.for_each(|((out, &x), &bits)| {
                            out.write(if bits >= limit { x * scale } else { T::default() });
                        });
                    },
                );
            }
        })
    })
}
