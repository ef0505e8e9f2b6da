//! Rotary position embeddings (Su et al. 2021).

use std::sync::Arc;

use super::{activation_dtype, activations, same_place};
use crate::autograd::record;
use crate::{DType, Error, Layout, Result, Tensor};

/// The angles of rows, as cosines and sines (rows, pairs). A pair of elements is two neighbours if `interleaved` (GPT-J's way), else element `i` and
/// `i + pairs` (GPT-NeoX's way, and Llama's).
#[derive(Clone, Copy)]
pub struct Angles<'a> {
    /// Constants, as the sines are.
    pub cos: &'a Tensor,
    /// See `cos`.
    pub sin: &'a Tensor,
    /// Whether pairs are neighbours.
    pub interleaved: bool,
}

/// Turns pairs of elements of `x` (rows, heads, head_dim) by the angles of their row. Elements beyond the pairs stay as they are. In the dtype of `x`.
///
/// # Errors
/// `Shapes` when the angles are not those of so many rows, or of too many pairs; `DType` for other than floats.
pub fn rope(x: &Tensor, angles: Angles) -> Result<Tensor> {
    check(x, angles)?;
    let Angles { cos, sin, interleaved } = angles;
    let [dtype, of_angles] =
        if x.dtype() == DType::F64 { [DType::F64; 2] } else { [activation_dtype(x), DType::F32] };
    let turning = x.detach().to_dtype(dtype)?;
    let turning = if heads_are_runs(&turning) { turning } else { turning.contiguous()? };
    let (cosines, sines) = (activations(cos, of_angles)?, activations(sin, of_angles)?);
    let out = Tensor::uninit(x.shape(), dtype, x.device())?;
    x.backend().rope(&out, &turning, Angles { cos: &cosines, sin: &sines, interleaved })?;
    let out = out.to_dtype(x.dtype())?;
    // Turned back by the same angles.
    Ok(record("rope", out, &[x], &[cos, sin], move |b| {
        let back = Angles { cos: &b.saved[0], sin: &b.saved[1].neg()?, interleaved };
        Ok(vec![Some(rope(b.grad(), back)?)])
    }))
}

/// [`rope`] in place.
///
/// # Errors
/// As for [`rope`], and those of every change in place.
pub fn rope_(x: &Tensor, angles: Angles) -> Result<()> {
    if !turns_in_place(x, angles)? {
        return x.become_(&rope(x, angles)?);
    }
    x.storage().bump_version();
    x.backend().rope(x, x, angles)
}

/// [`rope_`] of queries and keys, of those that lie side by side as one.
///
/// # Errors
/// As for [`rope_`].
pub fn rope_both_(query: &Tensor, key: &Tensor, angles: Angles) -> Result<()> {
    match side_by_side(query, key) {
        Some(both) => rope_(&both, angles),
        None => rope_(query, angles).and_then(|()| rope_(key, angles)),
    }
}

/// Whether a kernel turns `x` where it is. What cannot be changed in place is an error.
pub(super) fn turns_in_place(x: &Tensor, angles: Angles) -> Result<bool> {
    check(x, angles)?;
    let recorded = x.check_in_place("rope_", &[])?;
    let is_plain = |table: &Tensor| table.dtype() == DType::F32 && table.is_contiguous();
    let are_plain = is_plain(angles.cos) && is_plain(angles.sin);
    Ok(!recorded && are_plain && x.backend().takes(x.dtype()) && heads_are_runs(x))
}

fn check(x: &Tensor, Angles { cos, sin, .. }: Angles) -> Result<()> {
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

/// Heads as those of one tensor, where the second's lie behind the first's in every row and neither has a history.
fn side_by_side(x: &Tensor, y: &Tensor) -> Option<Tensor> {
    let (&[rows, first, dim], &[_, second, _]) = (x.shape(), y.shape()) else { return None };
    let (before, behind) = (x.layout(), y.layout());
    let distance = before.strides()[1].checked_mul(first as isize)?;
    let follows = Arc::ptr_eq(x.storage(), y.storage())
        && (x.dtype(), before.strides()) == (y.dtype(), behind.strides())
        && y.shape() == [rows, second, dim]
        && before.offset().checked_add_signed(distance) == Some(behind.offset())
        && !x.requires_grad()
        && !y.requires_grad();
    let layout = || Layout::strided(&[rows, first + second, dim], before.strides(), before.offset());
    follows.then(|| Tensor::over(x.storage().clone(), layout(), x.dtype()))
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
            let angles = Angles { cos: &cos, sin: &sin, interleaved };
            check_gradient("rope", &[shape], (-1.0, 1.0), 1, |x| rope(&x[0], angles));
            for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F16, 5e-3)] {
                // Whole, and the heads of one part of a fused product.
                for (heads, from) in [(2, 0), (5, 1)] {
                    let x = draw(&[4, heads, head_dim], (-1.0, 1.0), 2).to_dtype(dtype).unwrap();
                    let [cos, sin] = [&cos, &sin].map(|table| table.to_dtype(dtype).unwrap());
                    let angles = Angles { cos: &cos, sin: &sin, interleaved };
                    same_gradients(
                        "rope",
                        std::slice::from_ref(&x),
                        tolerance,
                        |x| rope(&x[0].narrow(1, from, from + 2)?, angles),
                        |x| composed(&x[0].narrow(1, from, from + 2)?, &cos, &sin, interleaved),
                    );
                    let part = x.narrow(1, from, from + 2).unwrap();
                    let want = rope(&part, angles).unwrap();
                    rope_(&part, angles).unwrap();
                    assert_eq!(part.to_bytes().unwrap(), want.to_bytes().unwrap());
                }
            }
        }
    }

    #[test]
    fn queries_and_keys_are_turned_as_one_where_they_lie_so() {
        let angles = [1, 2].map(|seed| draw(&[3, 2], (-1.0, 1.0), seed));
        let angles = Angles { cos: &angles[0], sin: &angles[1], interleaved: false };
        let all = draw(&[3, 6, 4], (-1.0, 1.0), 3);
        let part = |from, to| all.narrow(1, from, to).unwrap();
        let both = side_by_side(&part(0, 3), &part(3, 5)).unwrap();
        assert_eq!((both.shape(), both.as_ptr()), (&[3, 5, 4][..], all.as_ptr()));
        for (x, y) in
            [(part(3, 5), part(0, 3)), (part(0, 3), part(4, 6)), (part(0, 3), part(3, 5).copy().unwrap())]
        {
            assert!(side_by_side(&x, &y).is_none());
            let want = [&x, &y].map(|x| rope(x, angles).unwrap().to_bytes().unwrap());
            rope_both_(&x, &y, angles).unwrap();
            assert_eq!([x, y].map(|x| x.to_bytes().unwrap()), want);
        }
        let want = rope(&both, angles).unwrap().to_bytes().unwrap();
        rope_both_(&part(0, 3), &part(3, 5), angles).unwrap();
        assert_eq!(both.to_bytes().unwrap(), want);
    }
}
