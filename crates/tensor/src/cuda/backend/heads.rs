//! Heads of queries, keys and values: turned, and kept.

use super::{Gpu, host, of};
use crate::cuda::arguments::{self, Part, code};
use crate::cuda::geometry::{Geometry, WARP, elements};
use crate::cuda::launch::{Argument, launch};
use crate::ops::{Angles, Places, stored_dim};
use crate::{DType, Result, Tensor};

/// What kernels call Heads: from one row to the next, and from one head to the next.
fn strides(x: &Tensor) -> [i64; 2] {
    [0, 1].map(|axis| x.layout().strides()[axis] as i64)
}

fn told(angles: Angles) -> arguments::Angles {
    let Angles { cos, sin, interleaved } = angles;
    let [at_cos, at_sin] = [cos, sin].map(|table| table.as_ptr() as u64);
    let pairs = cos.shape()[1] as i32;
    arguments::Angles { cos: at_cos, sin: at_sin, pairs, interleaved: i32::from(interleaved) }
}

pub(super) fn rope(gpu: &Gpu, out: &Tensor, x: &Tensor, angles: Angles) -> Result<()> {
    if x.dtype() == DType::F64 {
        return host::rope(out, x, angles);
    }
    let (rows, heads, dim, pairs) = (x.shape()[0], x.shape()[1], x.shape()[2], angles.cos.shape()[1]);
    let turns = pairs + (dim - 2 * pairs).div_ceil(2);
    let at = elements(rows * heads * turns, 1);
    let [to, from] = [out, x].map(|x| Argument::of(strides(x)));
    let (angles, rows, heads, dim) = (Argument::of(told(angles)), rows as i64, heads as i32, dim as i32);
    launch!(gpu, "heads", &of(x.dtype()), "rope", at, [out, x, angles, rows, heads, dim, to, from])
}

/// Keys and values in their stores; before, if there are queries beside them, these and the keys turned.
pub(super) fn store_rows(
    gpu: &Gpu,
    stores: [[&Tensor; 2]; 2],
    turned: Option<(&Tensor, Angles)>,
    places: &Places,
) -> Result<()> {
    let part = |store: Option<&Tensor>, x: &Tensor| Part {
        store: store.map_or(0, |store| store.as_ptr() as u64),
        x: x.as_ptr() as u64,
        strides: strides(x),
        heads: x.shape()[1] as i32,
        dim: store.and_then(stored_dim).unwrap_or(x.shape()[2]) as i32,
    };
    let [[store, key], _] = stores;
    let [keys, values] = stores.map(|[store, x]| part(Some(store), x));
    let (queries, angles) = match turned {
        Some((query, angles)) => (part(None, query), told(angles)),
        None => Default::default(),
    };
    let (count, heads) = (places.pairs().len(), keys.heads.max(queries.heads) as usize);
    let blocks = (count * heads).div_ceil(8).clamp(1, 4096) as u32;
    let parts = if turned.is_some() { 3 } else { 2 };
    let at = Geometry { grid: [blocks, parts, 1], block: [WARP as u32, 8, 1], shared: 0 };
    let [keys, values, queries] = [keys, values, queries].map(Argument::of);
    let (angles, form, places) = (Argument::of(angles), code(store.dtype()), places.on(gpu.device())?);
    launch!(
        gpu,
        "heads",
        &of(key.dtype()),
        "store_rows",
        at,
        [keys, values, queries, angles, form, &places, count as i64]
    )
}
