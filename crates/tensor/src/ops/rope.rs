//! Rotary position embeddings (Su et al. 2021).

use super::{activation_dtype, activations, same_place};
use crate::autograd::record;
use crate::{DType, Error, Result, Tensor};

/// Turns pairs of elements of `x` (rows, heads, head_dim) by the angles of their row, whose cosines and sines are `cos` and `sin`
/// (rows, pairs). A pair is two neighbours if `interleaved` (GPT-J's way), else element `i` and `i + pairs` (GPT-NeoX's way, and Llama's).
/// Elements beyond the pairs stay as they are. In the dtype of `x`; `cos` and `sin` are constants.
///
/// # Errors
/// `Shapes` when `cos` and `sin` are not as above; `DType` for other than floats.
pub fn rope(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Tensor> {
    check(x, cos, sin)?;
    let [dtype, angles] =
        if x.dtype() == DType::F64 { [DType::F64; 2] } else { [activation_dtype(x), DType::F32] };
    let turning = x.detach().to_dtype(dtype)?;
    let turning = if heads_are_runs(&turning) { turning } else { turning.contiguous()? };
    let [cosines, sines] = [cos, sin].map(|table| activations(table, angles));
    let (cosines, sines) = (cosines?, sines?);
    let out = Tensor::uninit(x.shape(), dtype, x.device())?;
    x.backend().rope(&out, &turning, &cosines, &sines, interleaved)?;
    let out = out.to_dtype(x.dtype())?;
    // Turned back by the same angles.
    Ok(record("rope", out, &[x], &[cos, sin], move |b| {
        Ok(vec![Some(rope(b.grad(), &b.saved[0], &b.saved[1].neg()?, interleaved)?)])
    }))
}

/// [`rope`] in place.
///
/// # Errors
/// As for [`rope`], and those of every change in place.
pub fn rope_(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<()> {
    check(x, cos, sin)?;
    let recorded = x.check_in_place("rope_", &[])?;
    let is_plain = x.backend().takes(x.dtype()) && [cos, sin].iter().all(|table| table.dtype() == DType::F32);
    if recorded || !is_plain || !heads_are_runs(x) || !cos.is_contiguous() || !sin.is_contiguous() {
        return x.become_(&rope(x, cos, sin, interleaved)?);
    }
    x.storage().bump_version();
    x.backend().rope(x, x, cos, sin, interleaved)
}

fn check(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<()> {
    for tensor in [x, cos, sin] {
        tensor.expect_float("rope")?;
    }
    same_place("rope", [x, cos, sin])?;
    let fits = x.ndim() == 3
        && cos.ndim() == 2
        && cos.shape()[0] == x.shape()[0]
        && 2 * cos.shape()[1] <= x.shape()[2];
    if !fits || sin.shape() != cos.shape() {
        let rule =
            "x must be (rows, heads, head_dim), cos and sin (rows, pairs) with at most half as many pairs";
        return Err(Error::Shapes { op: "rope", rule, left: x.shape().into(), right: cos.shape().into() });
    }
    Ok(())
}

/// Whether the elements of each head are neighbours.
fn heads_are_runs(x: &Tensor) -> bool {
    x.layout().strides()[2] == 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradient, draw, same_gradients};

    /// The definition: (a, b) becomes (a cos - b sin, b cos + a sin).
    fn composed(x: &Tensor, cos: &Tensor, sin: &Tensor, interleaved: bool) -> Result<Tensor> {
        let (rows, heads, pairs) = (x.shape()[0], x.shape()[1], cos.shape()[1]);
        let turning = x.narrow(2, 0, 2 * pairs)?;
        let (split, axis) =
            if interleaved { ([rows, heads, pairs, 2], 3) } else { ([rows, heads, 2, pairs], 2) };
        let split = turning.reshape(&split)?;
        let (a, b) = (split.select(axis, 0)?, split.select(axis, 1)?);
        let (cos, sin) = (cos.unsqueeze(1)?, sin.unsqueeze(1)?);
        let turned = [a.mul(&cos)?.sub(&b.mul(&sin)?)?, b.mul(&cos)?.add(&a.mul(&sin)?)?];
        let turned =
            Tensor::stack(&[&turned[0], &turned[1]], axis as isize)?.reshape(&[rows, heads, 2 * pairs])?;
        Tensor::cat(&[&turned, &x.narrow(2, 2 * pairs, x.shape()[2])?], 2)
    }

    #[test]
    fn equals_its_definition() {
        for (interleaved, head_dim, pairs) in
            [(false, 6, 3), (true, 6, 3), (false, 7, 2), (true, 5, 1), (true, 3, 0)]
        {
            let (cos, sin) = (draw(&[4, pairs], (-1.0, 1.0), 5), draw(&[4, pairs], (-1.0, 1.0), 6));
            let shape: &[usize] = &[4, 2, head_dim];
            check_gradient("rope", &[shape], (-1.0, 1.0), 1, |x| rope(&x[0], &cos, &sin, interleaved));
            for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 5e-3)] {
                // Whole, and the heads of one part of a fused product.
                for (heads, from) in [(2, 0), (5, 1)] {
                    let x = draw(&[4, heads, head_dim], (-1.0, 1.0), 2).to_dtype(dtype).unwrap();
                    let cast = |t: &Tensor| t.to_dtype(dtype).unwrap();
                    same_gradients(
                        "rope",
                        std::slice::from_ref(&x),
                        tolerance,
                        |x| rope(&x[0].narrow(1, from, from + 2)?, &cast(&cos), &cast(&sin), interleaved),
                        |x| composed(&x[0].narrow(1, from, from + 2)?, &cast(&cos), &cast(&sin), interleaved),
                    );
                    let part = x.narrow(1, from, from + 2).unwrap();
                    let want = rope(&part, &cast(&cos), &cast(&sin), interleaved).unwrap();
                    rope_(&part, &cast(&cos), &cast(&sin), interleaved).unwrap();
                    assert_eq!(part.to_bytes().unwrap(), want.to_bytes().unwrap());
                }
            }
        }
    }
}
