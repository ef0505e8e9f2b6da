//! Copies and conversions, for any strides.

use std::mem::MaybeUninit;

use super::elementwise::{self, map1};
use super::number::{Number, by_class};
use super::rows::for_each_run;
use crate::{DType, Error, Result, Scalar, Tensor};

/// See [`crate::Backend::zero`].
pub(super) fn zero(out: &Tensor) -> Result<()> {
    let bytes = out.numel() * out.dtype().size();
    if bytes == 0 {
        return Ok(());
    }
    // SAFETY: a contiguous tensor covers this many bytes, which are ours to write; zero is valid for every dtype.
    let bytes =
        unsafe { std::slice::from_raw_parts_mut(out.as_ptr().cast_mut().cast::<MaybeUninit<u8>>(), bytes) };
    for_each_run(bytes, 1, |_, run| run.fill(MaybeUninit::new(0)))
}

/// See [`crate::Backend::fill`].
pub(super) fn fill(out: &Tensor, value: Scalar) -> Result<()> {
    let to = out.as_ptr().cast_mut();
    match value {
        Scalar::Float(x) => {
            let store = f64::store(out.dtype())?;
            // SAFETY: the one element of a tensor of our own.
            unsafe { store(&[x], to, 0) }
        }
        Scalar::Int(_) | Scalar::Bool(_) => {
            let store = i64::store(out.dtype())?;
            // SAFETY: as above.
            unsafe { store(&[value.to_i64()], to, 0) }
        }
    }
    Ok(())
}

/// See [`crate::Backend::assign`].
pub(super) fn assign(out: &Tensor, x: &Tensor) -> Result<()> {
    if out.dtype() != x.dtype() {
        if let Some(dtype) = [out.dtype(), x.dtype()].into_iter().find(|dtype| dtype.is_complex()) {
            return Err(Error::DType { op: "copy", rule: "only real numbers can be converted", dtype });
        }
        let class = if out.dtype() == DType::Bool { x.dtype() } else { widest(x.dtype(), out.dtype()) };
        return by_class!(class, C => map1(out, x, copy_run::<C>));
    }
    match x.dtype().size() {
        1 => elementwise::copy::<u8>(out, x),
        2 => elementwise::copy::<u16>(out, x),
        4 => elementwise::copy::<u32>(out, x),
        8 => elementwise::copy::<[u32; 2]>(out, x),
        _ => elementwise::copy::<[u64; 2]>(out, x),
    }
}

/// The dtype to convert through: f64 for what f32 would round, that of `from` otherwise.
fn widest(from: DType, to: DType) -> DType {
    if from.is_float() && to.is_float() || from.is_int() { from } else { from.promote(to) }
}

fn copy_run<C: Copy>(x: &[C], out: &mut [MaybeUninit<C>]) {
    out.write_copy_of_slice(x);
}
