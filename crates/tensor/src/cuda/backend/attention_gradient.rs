//! The gradients of attention.

use super::attention::{Given, LONGEST_HEAD, is_dropped, is_read, of_rows};
use super::{Gpu, of};
use crate::cuda::geometry::{Geometry, TAKEN, gradient, rows};
use crate::cuda::launch::{Argument, Kernel, launch};
use crate::ops::{Attention, Sequence};
use crate::{Backend, DType, Result, Tensor};

/// What kernels call Given: tensors of one type, logarithms of sums and deltas, and sequences, biases and where their gradients go.
#[repr(C)]
#[derive(Clone, Copy)]
struct Places {
    heads: [u64; 4],
    of_rows: [u64; 2],
    tables: [u64; 3],
}

pub(super) fn attention_gradient(
    gpu: &Gpu,
    attention: &Attention,
    grad: &Tensor,
    of_biases: bool,
) -> Result<Option<Vec<Tensor>>> {
    let Attention { query, key, value, ragged, .. } = *attention;
    let (heads, dim, value_dim) = (query.shape()[1], query.shape()[2], value.shape()[2]);
    let dtype = query.dtype();
    let sequences = ragged.sequences();
    // Keys of two sequences would have two writers.
    let mut ends: Vec<[usize; 2]> =
        sequences.iter().filter(|s| s.keys > 0).map(|s| [s.key_start, s.key_start + s.keys]).collect();
    ends.sort_unstable();
    let is_apart = ends.windows(2).all(|pair| pair[0][1] <= pair[1][0]);
    let is_one = matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
        && [key, value, grad].into_iter().all(|x| x.dtype() == dtype);
    let is_taken = is_one && is_apart && is_read([query, key, value]) && is_dropped(attention);
    let most = |each: fn(&Sequence) -> usize| sequences.iter().map(each).max().unwrap_or(0);
    let (most_rows, most_keys) = (most(|s| s.rows), most(|s| s.keys));
    let at = |longest, heads| gradient(sequences.len(), longest, heads, (dim, value_dim, dtype.size()));
    let (Geometry { shared, .. }, warps, _) = at(1, 1);
    let has_room = dim.max(value_dim) <= LONGEST_HEAD && shared as usize + TAKEN <= gpu.processors().shared;
    if !is_taken || !has_room || most_rows == 0 || most_keys == 0 {
        return Ok(None);
    }

    let given = Given::new(gpu, attention)?;
    // What came out is not kept for this: it is computed again with the sums.
    let count = query.shape()[0] * heads;
    let (context, log_sums) = (gpu.fresh(grad.shape(), dtype)?, gpu.fresh(&[count], DType::F32)?);
    of_rows(gpu, &context, Some(&log_sums), attention, &given)?;
    let deltas = gpu.fresh(&[count], DType::F32)?;
    let macros = format!("{} HEAD_DIM={dim} VALUE_DIM={value_dim} WARPS={warps}", of(dtype));
    let each = rows(count, value_dim.min(256));
    launch!(gpu, "attention_gradient", &macros, "products", each, [&deltas, grad, &context, count as i64])?;
    let slope = |s: &Sequence| Tensor::zeros_on(&[heads, s.rows, s.keys], DType::F32, gpu.device());
    let slopes = sequences.iter().filter(|_| of_biases).map(slope).collect::<Result<Vec<_>>>()?;
    let addresses: Vec<i64> = slopes.iter().map(|slope| slope.as_ptr() as i64).collect();
    let places_of_slopes = of_biases.then(|| gpu.table(&addresses)).transpose()?;
    let address = |x: Option<&Tensor>| x.map_or(0, |x| x.as_ptr() as u64);
    let places = Places {
        heads: [grad, query, key, value].map(|x| address(Some(x))),
        of_rows: [&log_sums, &deltas].map(|x| address(Some(x))),
        tables: [Some(&given.table), given.biases(), places_of_slopes.as_ref()].map(address),
    };
    let found = [(query, "of_query", most_rows), (key, "of_key", most_keys), (value, "of_value", most_keys)];
    let found = found.map(|(x, name, longest)| {
        let out = gpu.fresh(x.shape(), dtype)?;
        // Keys that nobody looks at have no block.
        let covered: usize = ends.iter().map(|[from, to]| to - from).sum();
        if !x.is(query) && covered < x.shape()[0] {
            gpu.zero(&out)?;
        }
        let (at, _, tiles) = at(longest, x.shape()[1]);
        let kernel = Kernel { file: "attention_gradient", macros: &macros, name };
        let (shared, dropped) = (Argument::of(given.shared), Argument::of(given.dropped));
        gpu.launch(
            kernel,
            at,
            &[(&out).into(), Argument::of(places), shared, dropped, (tiles as i32).into()],
        )?;
        Ok(out)
    });
    let all: Result<Vec<Tensor>> = found.into_iter().chain(slopes.into_iter().map(Ok)).collect();
    all.map(Some)
}
