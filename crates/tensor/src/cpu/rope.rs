//! Rotary position embeddings, row by row.

use std::mem::MaybeUninit;
use std::ops::{Add, Mul, Sub};

use super::rows::for_each_run;
use crate::{DType, Element, Result, Tensor};

/// See [`crate::Backend::rope`].
pub(super) fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Tensor> {
    match x.dtype() {
        DType::F64 => turn::<f64>(x, cos, sin, interleaved),
        _ => turn::<f32>(x, cos, sin, interleaved),
    }
}

fn turn<C: Element + Mul<Output = C> + Add<Output = C> + Sub<Output = C>>(
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    interleaved: bool,
) -> Result<Tensor> {
    let (heads, head_dim, pairs) = (x.shape()[1], x.shape()[2], cos.shape()[1]);
    let (source, cos, sin): (&[C], &[C], &[C]) = (x.as_slice()?, cos.as_slice()?, sin.as_slice()?);
    Tensor::build(x.shape(), |out: &mut [MaybeUninit<C>]| {
        for_each_run(out, head_dim, |first, run| {
            for (i, out) in run.chunks_exact_mut(head_dim).enumerate() {
                let x = &source[(first + i) * head_dim..][..head_dim];
                let row = (first + i) / heads * pairs;
                let (cos, sin) = (&cos[row..row + pairs], &sin[row..row + pairs]);
                out[2 * pairs..].write_copy_of_slice(&x[2 * pairs..]);
                for (pair, (&cos, &sin)) in cos.iter().zip(sin).enumerate() {
                    let (a, b) = if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + pairs) };
                    out[a].write(x[a] * cos - x[b] * sin);
                    out[b].write(x[b] * cos + x[a] * sin);
                }
            }
        })
    })
}
