//! Rotary position embeddings, head by head.

use std::mem::MaybeUninit;
use std::ops::{Add, Mul, Sub};

use super::rows::for_each_run;
use super::simd::vectorized;
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
    let (row_stride, head_stride) = (x.layout().strides()[0] as usize, x.layout().strides()[1] as usize);
    let (source, cos, sin): (&[C], &[C], &[C]) = (x.span()?, cos.as_slice()?, sin.as_slice()?);
    Tensor::build(x.shape(), |out: &mut [MaybeUninit<C>]| {
        for_each_run(out, head_dim, |first, run| {
            vectorized(
                #[inline(always)]
                || {
                    for (i, out) in (first..).zip(run.chunks_exact_mut(head_dim)) {
                        let (row, head) = (i / heads, i % heads);
                        let x = &source[row * row_stride + head * head_stride..][..head_dim];
                        let angles = || cos[row * pairs..][..pairs].iter().zip(&sin[row * pairs..][..pairs]);
                        let (x, beyond) = x.split_at(2 * pairs);
                        let (out, beyond_out) = out.split_at_mut(2 * pairs);
                        beyond_out.write_copy_of_slice(beyond);
                        if interleaved {
                            for ((out, x), (&cos, &sin)) in
                                out.chunks_exact_mut(2).zip(x.chunks_exact(2)).zip(angles())
                            {
                                out[0].write(x[0] * cos - x[1] * sin);
                                out[1].write(x[1] * cos + x[0] * sin);
                            }
                        } else {
                            let ((a, b), (out_a, out_b)) = (x.split_at(pairs), out.split_at_mut(pairs));
                            let outs = out_a.iter_mut().zip(out_b);
                            for (((out_a, out_b), (&a, &b)), (&cos, &sin)) in
                                outs.zip(a.iter().zip(b)).zip(angles())
                            {
                                out_a.write(a * cos - b * sin);
                                out_b.write(b * cos + a * sin);
                            }
                        }
                    }
                },
            );
        })
    })
}
