//! Products with weights, which the kernel's layout is kept for.

use std::mem::MaybeUninit;

use super::gemm::{self, MatrixMut, Options, Packed, Panels, Quads, Right, Stacked, gemm};
use super::gemv::{self, Finish};
use super::rows::for_each_run;
use super::{activation, gated, layer_norm, scratch};
use crate::ops::{LinearStep, Norm, Then};
use crate::weight::Form;
use crate::{Activation, DType, Matrix, Result, Tensor, Weight};

/// See [`crate::Backend::linear`].
pub(super) fn linear(out: &Tensor, step: &LinearStep) -> Result<()> {
    // SAFETY: the result is contiguous float32, in memory of its own that is there to be written.
    let out = unsafe { std::slice::from_raw_parts_mut(out.as_ptr().cast_mut().cast(), out.numel()) };
    let (values, columns) = (step.x.as_slice()?, step.weight.in_features());
    let Some(norm) = &step.norm else { return product(values, step, out) };
    // Few rows stay in the nearest cache.
    if values.len() <= gemv::MAX_ROWS * columns {
        return scratch::with(|scratch| {
            let [room] = scratch.parts([values.len()]);
            // SAFETY: so long is the part, and nobody else has it.
            let room = unsafe { std::slice::from_raw_parts_mut(room.cast(), values.len()) };
            product(normed(norm, values, room)?, step, out)
        });
    }
    let all = Tensor::build(step.x.shape(), |out| {
        for_each_run(out, columns, |first, rows| {
            // Its vectors are contiguous float32, as all operands are.
            _ = normed(norm, &values[first * columns..][..rows.len()], rows);
        })
    })?;
    product(all.as_slice()?, step, out)
}

/// Rows after their norm.
fn normed<'a>(norm: &Norm, x: &[f32], out: &'a mut [MaybeUninit<f32>]) -> Result<&'a [f32]> {
    layer_norm::normalize(norm, x, out)?;
    // SAFETY: norms write every element of all whole rows, and there are no others.
    Ok(unsafe { out.assume_init_ref() })
}

/// What follows the norm.
fn product(values: &[f32], step: &LinearStep, out: &mut [MaybeUninit<f32>]) -> Result<()> {
    let LinearStep { weight, bias, then, .. } = *step;
    let (columns, outputs) = (weight.in_features(), weight.out_features());
    let rows = step.x.shape()[..step.x.ndim() - 1].iter().product();
    let bias = bias.map(Tensor::as_slice).transpose()?;
    let left = gemv::Left { values, rows, columns };
    let add = if let Then::Add(residual) = then { Some(residual.as_slice()?) } else { None };
    let activation = match then {
        Then::Activate(activation) | Then::Gate(activation) => activation,
        Then::Add(_) => Activation::Identity,
    };
    let (map, gates) = (activation::kernel(activation), matches!(then, Then::Gate(_)));
    let finish = Finish { bias, map, gates, add };
    let form = weight.form()?;
    let (packed, interleaved) = match form.as_deref() {
        Some(Form::Floats(packed)) => (Some(packed), &[][..]),
        Some(Form::Blocks(interleaved)) => (None, interleaved.as_slice()),
        None => (None, &[][..]),
    };
    let quads = if rows > gemv::MAX_ROWS { Quads::of(weight.parts(), interleaved) } else { None };
    let is_read = quads.is_none() && packed.is_none();
    if is_read && gemv::product(left, weight.parts(), interleaved, finish, out)? {
        return Ok(());
    }
    if gates {
        let both = Tensor::build(&[rows, outputs], |both| match &quads {
            Some(quads) => quads.product(values, Finish { bias, ..Finish::default() }, both),
            None => by_tiles(left, weight, packed, bias, None, both),
        })?;
        return gated::write(activation, both.as_slice()?, outputs / 2, out);
    }
    if let Some(quads) = quads {
        return quads.product(values, finish, out);
    }
    by_tiles(left, weight, packed, bias, map, out)?;
    let Some(add) = add else { return Ok(()) };
    // SAFETY: the product has written all of it.
    let out = unsafe { out.assume_init_mut() };
    for_each_run(out, 1, |first, run| {
        run.iter_mut().zip(&add[first..]).for_each(|(out, add)| *out += add);
    })
}

/// `map(left @ weightᵀ + bias)` by tiles: of a weight in the kernel's form, or one that more than a few rows meet.
fn by_tiles(
    left: gemv::Left,
    weight: &Weight,
    packed: Option<&Packed<f32>>,
    bias: Option<&[f32]>,
    map: Option<gemm::Map<f32>>,
    out: &mut [MaybeUninit<f32>],
) -> Result<()> {
    let gemv::Left { values, rows, columns } = left;
    let outputs = weight.out_features();
    let out = MatrixMut::new(out, [rows, outputs], outputs)?;
    let options = Options { add: bias, map, ..Options::default() };
    if let Some(pairs) = weight.pairs() {
        let right = packed.map_or(Right::Made(&pairs), Right::Packed);
        return scratch::with(|scratch| {
            let depth = pairs.shape()[0];
            let [room] = scratch.parts([rows * depth]);
            // SAFETY: so long is the part, and nobody else has it.
            let room = unsafe { std::slice::from_raw_parts_mut(room.cast(), rows * depth) };
            let left = pairs.rounded(values, room)?;
            gemm(out, gemm::Matrix::new(left, [rows, depth], [depth, 1])?, right, &options)
        });
    }
    let left = gemm::Matrix::new(values, [rows, columns], [columns, 1])?;
    let stacked = Stacked(weight.parts());
    let right = match (packed, weight.parts()) {
        (Some(packed), _) => Right::Packed(packed),
        (None, [Matrix::Dense(only)]) if only.dtype() == DType::F32 => {
            Right::Plain(gemm::Matrix::of(only, 0)?.transposed())
        }
        _ => Right::Made(&stacked),
    };
    gemm(out, left, right, &options)
}
