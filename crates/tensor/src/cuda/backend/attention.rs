//! Attention, and the positions of what attends.

use super::{Gpu, host, name, of};
use crate::cuda::arguments::{Shared, reach};
use crate::cuda::geometry::{Form, Geometry, HIGHEST, WARP, decode, decode_group, elements, prefill};
use crate::cuda::launch::{Argument, launch};
use crate::ops::{Attention, stored_dim};
use crate::{Backend, DType, Result, Tensor};

/// The longest head of the kernels: more would not fit into the memory that all generations have.
const LONGEST_HEAD: usize = 256;
/// What kernels call the form of a store.
fn form(store: &Tensor) -> Option<&'static str> {
    match store.dtype() {
        DType::U8 => Some("int8"),
        DType::F16 | DType::BF16 | DType::F32 => Some(name(store.dtype())),
        _ => None,
    }
}

pub(super) fn attention(gpu: &Gpu, out: &Tensor, attention: &Attention) -> Result<Option<Vec<Tensor>>> {
    let Attention { query, key, value, ragged, mask, bias, softcap, .. } = *attention;
    let (heads, kv_heads, dim) = (query.shape()[1], key.shape()[1], query.shape()[2]);
    let value_dim = stored_dim(value).unwrap_or_default();
    let is_run = |x: &Tensor| x.shape()[2] <= 1 || x.layout().strides()[2] == 1;
    let kept = form(key).filter(|&kept| form(value) == Some(kept));
    let is_plain = [query, key, value].into_iter().all(is_run) && dim.max(value_dim) <= LONGEST_HEAD;
    let (Some(kept), true, false) = (kept, is_plain, attention.probabilities) else {
        // Who wants to see the probabilities has them computed one operation after another.
        let attended = attention.composed()?;
        gpu.assign(out, &attended.context)?;
        return Ok(attended.probabilities);
    };
    let sequences = ragged.sequences();
    if out.numel() == 0 {
        return Ok(None);
    }
    let table = ragged.on(gpu.device())?;
    let biases = match bias {
        None => None,
        Some(biases) => {
            let singles =
                biases.iter().map(|bias| bias.detach().to_dtype(DType::F32)).collect::<Result<Vec<_>>>()?;
            let mut places = Vec::with_capacity(4 * singles.len());
            for (bias, s) in singles.iter().zip(sequences) {
                let layout = bias.layout().expand(&[heads, s.rows, s.keys]);
                places.push(bias.as_ptr() as i64);
                places.extend(layout.strides().iter().map(|&stride| stride as i64));
            }
            // The biases stay until the launch is on its way.
            Some((gpu.table(&places)?, singles))
        }
    };
    let biases = biases.as_ref().map(|(places, _)| places);
    let strides = |x: &Tensor| [0, 1].map(|axis| x.layout().strides()[axis] as i64);
    let [[a, b], [c, d], [e, f]] = [query, key, value].map(strides);
    let (back, ahead) = reach(mask);
    let (group, softcap) = (heads / kv_heads, softcap.unwrap_or(0.0));
    let shared = Shared {
        strides: [a, b, c, d, e, f],
        group: group as i64,
        back,
        ahead,
        scale: attention.scale,
        softcap,
    };
    let of_heads = format!("KEPT={kept} HEAD_DIM={dim} VALUE_DIM={value_dim}");
    let longest = sequences.iter().map(|s| s.rows).max().unwrap_or(0).next_power_of_two();
    // What has a place of its own in a grid for each sequence takes no more of them.
    if sequences.len() <= HIGHEST && sequences.iter().all(|s| s.rows == 1) {
        let together = decode_group(group, dim);
        let (chunks, rows) = (group.div_ceil(together), sequences.len());
        // A number of parts that stays while a text grows, so that a graph of the launch does.
        let most = sequences.iter().map(|s| s.keys).max().unwrap_or(0).next_power_of_two();
        let (at, parts) = decode(rows, kv_heads, chunks, most);
        let left = if parts == 1 { 0 } else { rows * heads * parts * (value_dim + 2) };
        let left = gpu.fresh(&[left], DType::F32)?;
        let macros = format!("{} {of_heads} GROUP={together}", of(query.dtype()));
        launch!(
            gpu,
            "decode",
            &macros,
            "decode",
            at,
            [out, &left, query, key, value, &table, biases, Argument::of(shared), chunks as i32]
        )?;
        if parts == 1 {
            return Ok(None);
        }
        let at = Geometry { grid: [heads as u32, rows as u32, 1], block: [4 * WARP as u32, 1, 1], shared: 0 };
        launch!(gpu, "decode", &macros, "combine", at, [out, &left, &table, parts as i32])?;
        return Ok(None);
    }
    let sizes = (dim, value_dim, query.dtype().size());
    let (at, Form { warps, tall, keys }, tiles) =
        prefill(sequences.len(), longest, heads, sizes, gpu.processors());
    let macros = format!("{} {of_heads} WARPS={warps} TALL={tall} KEYS={keys}", of(query.dtype()));
    launch!(
        gpu,
        "prefill",
        &macros,
        "prefill",
        at,
        [out, None::<&Tensor>, query, key, value, &table, biases, Argument::of(shared), tiles as i32]
    )?;
    Ok(None)
}

pub(super) fn rope(
    gpu: &Gpu,
    out: &Tensor,
    x: &Tensor,
    cos: &Tensor,
    sin: &Tensor,
    interleaved: bool,
) -> Result<()> {
    if x.dtype() == DType::F64 {
        return host::rope(out, x, cos, sin, interleaved);
    }
    let (rows, heads, dim, pairs) = (x.shape()[0], x.shape()[1], x.shape()[2], cos.shape()[1]);
    let turns = pairs + (dim - 2 * pairs).div_ceil(2);
    let at = elements(rows * heads * turns, 1);
    // What kernels call Heads: from one row to the next, and from one head to the next.
    let [to, from] = [out, x].map(|x| Argument::of([0, 1].map(|axis| x.layout().strides()[axis] as i64)));
    let (rows, heads, dim, pairs) = (rows as i64, heads as i32, dim as i32, pairs as i32);
    let interleaved = i32::from(interleaved);
    launch!(
        gpu,
        "rope",
        &format!("{} A=f32", of(x.dtype())),
        "rope",
        at,
        [out, x, cos, sin, rows, heads, dim, pairs, interleaved, to, from]
    )
}
