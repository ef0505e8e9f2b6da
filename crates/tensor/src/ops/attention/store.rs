//! Keys and values kept for later rows: what a cache holds.

use crate::{DType, Error, Result, Tensor};

/// Writes rows of `x` (rows, heads, dim) to rows of `store` (rows, heads, dim): for each of `places`, the row of the first number to that of
/// the second.
///
/// # Errors
/// `Shapes` when the heads differ, `Index` for a row that is not there, `DType` for other than floats, and those of every change in place.
pub fn store_rows(store: &Tensor, x: &Tensor, places: &[[usize; 2]]) -> Result<()> {
    let (x, op) = (x.detach(), "store_rows");
    x.expect_float(op)?;
    store.expect_float(op)?;
    store.check_in_place(op, &[])?;
    if x.ndim() != 3 || store.ndim() != 3 || x.shape()[1..] != store.shape()[1..] || !store.is_contiguous() {
        let rule = "rows and a contiguous store must have the same heads";
        return Err(Error::Shapes { op, rule, left: x.shape().into(), right: store.shape().into() });
    }
    for (which, what, size) in [(0, "the rows", x.shape()[0]), (1, "the store", store.shape()[0])] {
        if let Some(place) = places.iter().find(|place| place[which] >= size) {
            return Err(Error::Index { op, what, index: place[which] as i64, size });
        }
    }
    let x = x.to_dtype(DType::F32)?;
    let x = if x.layout().strides()[2] == 1 { x } else { x.contiguous()? };
    store.storage().bump_version();
    store.backend().store_rows(store, &x, places)
}
