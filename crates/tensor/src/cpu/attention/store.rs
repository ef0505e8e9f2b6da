//! Keys and values kept for later rows.

use crate::{DType, Error, Result, Tensor};

/// See [`crate::Backend::store_rows`].
pub(in crate::cpu) fn store_rows(store: &Tensor, x: &Tensor, places: &[[usize; 2]]) -> Result<()> {
    match store.dtype() {
        DType::F32 => write::<f32>(store, x, places, |from, to| to.copy_from_slice(from)),
        dtype => {
            return Err(Error::DType { op: "store_rows", rule: "keys and values are kept as floats", dtype });
        }
    }
    Ok(())
}

/// Writes the heads of some rows, each by `write_head`.
fn write<T>(store: &Tensor, x: &Tensor, places: &[[usize; 2]], write_head: impl Fn(&[f32], &mut [T])) {
    let &[_, heads, width] = store.shape() else { return };
    let (strides, head_dim) = (x.layout().strides(), x.shape()[2]);
    for &[from, to] in places {
        for head in 0..heads {
            let from = from as isize * strides[0] + head as isize * strides[1];
            // SAFETY: both rows are there, as the operation has checked, with neighbouring elements; nobody else writes to the store.
            unsafe {
                let from = x.as_ptr().cast::<f32>().offset(from);
                let to = store.as_ptr().cast_mut().cast::<T>().add((to * heads + head) * width);
                write_head(
                    std::slice::from_raw_parts(from, head_dim),
                    std::slice::from_raw_parts_mut(to, width),
                );
            }
        }
    }
}
