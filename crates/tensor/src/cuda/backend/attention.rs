//! Attention.

use std::mem;

use super::{Gpu, name, of};
use crate::cuda::arguments::{Dropped, Shared, reach};
use crate::cuda::geometry::{Form, Geometry, HIGHEST, WARP, decode, decode_group, prefill};
use crate::cuda::launch::{Argument, launch};
use crate::ops::{Attention, DROPOUT_BLOCKS, DROPOUT_GROUP, Dropout, dropout_limit, stored_dim};
use crate::{Backend, DType, Error, Result, Tensor};

/// The longest head of the kernels: more would not fit into the memory that all generations have.
pub(super) const LONGEST_HEAD: usize = 256;

/// Whether the elements of heads are neighbours.
pub(super) fn is_read(heads: [&Tensor; 3]) -> bool {
    heads.into_iter().all(|x| x.shape()[2] <= 1 || x.layout().strides()[2] == 1)
}

/// What kernels call the form of a store.
fn form(store: &Tensor) -> Option<&'static str> {
    match store.dtype() {
        DType::U8 => Some("int8"),
        DType::F16 | DType::BF16 | DType::F32 => Some(name(store.dtype())),
        _ => None,
    }
}

pub(super) fn attention(gpu: &Gpu, out: &Tensor, attention: &Attention) -> Result<Option<Vec<Tensor>>> {
    let Attention { query, key, value, ragged, .. } = *attention;
    let (heads, kv_heads, dim) = (query.shape()[1], key.shape()[1], query.shape()[2]);
    let group = heads / kv_heads;
    let value_dim = stored_dim(value).unwrap_or_default();
    let kept = form(key).filter(|&kept| form(value) == Some(kept));
    let is_plain =
        is_read([query, key, value]) && dim.max(value_dim) <= LONGEST_HEAD && is_dropped(attention);
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
    let given = Given::new(gpu, attention)?;
    let of_heads = format!("KEPT={kept} HEAD_DIM={dim} VALUE_DIM={value_dim}");
    // What has a place of its own in a grid for each sequence takes no more of them.
    if sequences.len() <= HIGHEST && sequences.iter().all(|s| s.rows == 1) && !given.drops() {
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
            [
                out,
                &left,
                query,
                key,
                value,
                &given.table,
                given.biases(),
                Argument::of(given.shared),
                chunks as i32
            ]
        )?;
        if parts == 1 {
            return Ok(None);
        }
        let at = Geometry { grid: [heads as u32, rows as u32, 1], block: [4 * WARP as u32, 1, 1], shared: 0 };
        launch!(gpu, "decode", &macros, "combine", at, [out, &left, &given.table, parts as i32])?;
        return Ok(None);
    }
    of_rows(gpu, out, None, attention, &given)?;
    Ok(None)
}

/// Attention of any rows, and to `log_sums` (rows, heads) the logarithms of their sums.
pub(super) fn of_rows(
    gpu: &Gpu,
    out: &Tensor,
    log_sums: Option<&Tensor>,
    attention: &Attention,
    given: &Given,
) -> Result<()> {
    let Attention { query, key, value, ragged, .. } = *attention;
    let (heads, dim, value_dim) = (query.shape()[1], query.shape()[2], stored_dim(value).unwrap_or_default());
    let sequences = ragged.sequences();
    let longest = sequences.iter().map(|s| s.rows).max().unwrap_or(0).next_power_of_two();
    let sizes = (dim, value_dim, query.dtype().size());
    let (at, Form { warps, tall, keys }, tiles) =
        prefill(sequences.len(), longest, heads, sizes, gpu.processors());
    let macros = format!(
        "{} KEPT={} HEAD_DIM={dim} VALUE_DIM={value_dim} WARPS={warps} TALL={tall} KEYS={keys} DROPS={}",
        of(query.dtype()),
        form(key).unwrap_or_default(),
        u8::from(given.drops()),
    );
    launch!(
        gpu,
        "prefill",
        &macros,
        "prefill",
        at,
        [
            out,
            log_sums,
            query,
            key,
            value,
            &given.table,
            given.biases(),
            Argument::of(given.shared),
            Argument::of(given.dropped),
            tiles as i32
        ]
    )
}

/// What kernels are told of an attention besides its tensors.
pub(super) struct Given {
    pub(super) table: Tensor,
    /// Where they are. They stay until the launch is on its way.
    biases: Option<(Tensor, Vec<Tensor>)>,
    pub(super) shared: Shared,
    pub(super) dropped: Dropped,
    _blocks: Option<Tensor>,
}

impl Given {
    pub(super) fn new(gpu: &Gpu, attention: &Attention) -> Result<Given> {
        let Attention { query, key, value, ragged, mask, bias, softcap, .. } = *attention;
        let (heads, kv_heads) = (query.shape()[1], key.shape()[1]);
        let sequences = ragged.sequences();
        let placed = |biases: &[Tensor]| {
            let singles =
                biases.iter().map(|bias| bias.detach().to_dtype(DType::F32)).collect::<Result<Vec<_>>>()?;
            let mut places = Vec::with_capacity(4 * singles.len());
            for (bias, s) in singles.iter().zip(sequences) {
                let layout = bias.layout().expand(&[heads, s.rows, s.keys]);
                places.push(bias.as_ptr() as i64);
                places.extend(layout.strides().iter().map(|&stride| stride as i64));
            }
            Ok::<_, Error>((gpu.table(&places)?, singles))
        };
        let strides = |x: &Tensor| [0, 1].map(|axis| x.layout().strides()[axis] as i64);
        let [[a, b], [c, d], [e, f]] = [query, key, value].map(strides);
        let (back, ahead) = reach(mask);
        let shared = Shared {
            strides: [a, b, c, d, e, f],
            group: (heads / kv_heads) as i64,
            back,
            ahead,
            scale: attention.scale,
            softcap: softcap.unwrap_or(0.0),
        };
        let (mut dropped, mut blocks) = (Dropped::default(), None);
        if let Some((Dropout { p, seed }, limit)) = dropout(attention) {
            // Where the operation's own generator would be.
            let counts =
                sequences.iter().map(|s| (heads * s.rows * s.keys).div_ceil(DROPOUT_GROUP) * DROPOUT_BLOCKS);
            let starts = counts.scan(0, |next, count| Some(mem::replace(next, *next + count as i64)));
            let starts = gpu.table(&starts.collect::<Vec<_>>())?;
            dropped = Dropped { from: starts.as_ptr() as u64, seed, limit, scale: (1.0 / (1.0 - p)) as f32 };
            blocks = Some(starts);
        }
        Ok(Given {
            table: ragged.on(gpu.device())?,
            biases: bias.map(placed).transpose()?,
            shared,
            dropped,
            _blocks: blocks,
        })
    }

    pub(super) fn biases(&self) -> Option<&Tensor> {
        self.biases.as_ref().map(|(places, _)| places)
    }

    fn drops(&self) -> bool {
        self.dropped.limit != 0
    }
}

/// What is dropped, if it is anything, and the number that random bits are compared with.
fn dropout(attention: &Attention) -> Option<(Dropout, u32)> {
    let dropout = attention.dropout?;
    dropout_limit(dropout.p).filter(|&limit| limit > 0).map(|limit| (dropout, limit))
}

/// Whether the kernels drop what is to be dropped.
pub(super) fn is_dropped(attention: &Attention) -> bool {
    attention.dropout.is_none_or(|dropout| dropout_limit(dropout.p).is_some())
}
