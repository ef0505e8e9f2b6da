//! Attention, a block of rows of one sequence at a time; scores live in a scratch that stays in the cache.

use std::mem::MaybeUninit;

use rayon::prelude::*;
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmUninitOptions};
use rten_simd::SimdOp;
use rten_tensor::Matrix;
use rten_vecmath::Softmax;

use super::linear::strided;
use crate::ops::{Attended, Attention, Sequence};
use crate::{Error, Result, Tensor, pool};

/// At most so many rows are done at once: their scores against 512 keys then fill 128 KiB, a part of any second-level cache.
const BLOCK_ROWS: usize = 64;

/// Query, key or value: a head is a matrix within `data`, rows `row_stride` apart.
struct Heads<'a> {
    data: &'a [f32],
    row_stride: usize,
    head_stride: usize,
    head_dim: usize,
}

impl<'a> Heads<'a> {
    fn of(tensor: &'a Tensor) -> Result<Heads<'a>> {
        let strides = tensor.layout().strides();
        Ok(Heads {
            data: tensor.span()?,
            row_stride: strides[0] as usize,
            head_stride: strides[1] as usize,
            head_dim: tensor.shape()[2],
        })
    }

    /// `rows` rows of one head from `first` on.
    fn matrix(&self, head: usize, first: usize, rows: usize) -> Result<Matrix<'a, f32>> {
        let start = first * self.row_stride + head * self.head_stride;
        strided(self.data.get(start..).unwrap_or(&[]), [rows, self.head_dim], [self.row_stride, 1])
    }
}

/// One task: some rows of a sequence, and where their results go.
struct Block<'a> {
    index: usize,
    first: usize,
    rows: usize,
    context: &'a mut [MaybeUninit<f32>],
}

/// See [`crate::Backend::attention`].
pub(super) fn attention(attention: &Attention) -> Result<Attended> {
    let (total, heads, value_dim) =
        (attention.query.shape()[0], attention.query.shape()[1], attention.value.shape()[2]);
    let group = heads / attention.key.shape()[1];
    let unit = |tensor: &Tensor| match tensor.layout().strides() {
        [rows, heads, 1] if *rows >= 0 && *heads >= 0 => Ok(tensor.clone()),
        _ => tensor.contiguous(),
    };
    let (query, key, value) = (unit(attention.query)?, unit(attention.key)?, unit(attention.value)?);
    let (query, key, value) = (Heads::of(&query)?, Heads::of(&key)?, Heads::of(&value)?);
    let gemm = GemmExecutor::<f32>::new();
    let sequences = attention.ragged.sequences();
    let biases = attention.bias.map(|biases| whole(biases, sequences, heads)).transpose()?;

    // The probabilities of one head for a block of rows (from 0), written to `scores`.
    let probabilities =
        |head: usize, index: usize, first: usize, scores: &mut [MaybeUninit<f32>]| -> Result<()> {
            let s = &sequences[index];
            let rows = scores.len() / s.keys;
            let options = GemmUninitOptions { alpha: attention.scale, ..Default::default() };
            let q = query.matrix(head, s.start + first, rows)?;
            let k = key.matrix(head / group, s.key_start, s.keys)?;
            let scores = gemm
                .gemm_uninit(scores, GemmInputA::Unpacked(q), GemmInputB::Unpacked(k.transposed()), options)
                .map_err(|error| Error::argument("attention", error.to_string()))?;
            for (row, scores) in (first..).zip(scores.chunks_exact_mut(s.keys)) {
                if let Some(cap) = attention.softcap {
                    scores.iter_mut().for_each(|score| *score = cap * (*score / cap).tanh());
                }
                if let Some(biases) = &biases {
                    let bias: &[f32] = biases[index].as_slice()?;
                    let bias = &bias[(head * s.rows + row) * s.keys..][..s.keys];
                    scores.iter_mut().zip(bias).for_each(|(score, bias)| *score += bias);
                }
                let visible = attention.mask.visible(s, row);
                scores[..visible.start].fill(0.0);
                scores[visible.end..].fill(0.0);
                let scores = &mut scores[visible];
                if scores.iter().all(|&score| score == f32::NEG_INFINITY) {
                    scores.fill(0.0);
                } else {
                    Softmax::new_mut(scores).dispatch();
                }
            }
            Ok(())
        };

    // The context of all heads for one block.
    let attend = |block: Block| -> Result<()> {
        let s = &sequences[block.index];
        if s.keys == 0 {
            block.context.fill(MaybeUninit::new(0.0));
            return Ok(());
        }
        let mut scores = Vec::with_capacity(block.rows * s.keys);
        let mut weighed = Vec::with_capacity(block.rows * value_dim);
        for head in 0..heads {
            let scores = &mut scores.spare_capacity_mut()[..block.rows * s.keys];
            probabilities(head, block.index, block.first, scores)?;
            // SAFETY: `probabilities` has written every element.
            let scores: &[f32] = unsafe { scores.assume_init_ref() };
            let scores = strided(scores, [block.rows, s.keys], [s.keys, 1])?;
            let values = GemmInputB::Unpacked(value.matrix(head / group, s.key_start, s.keys)?);
            let weighed = &mut weighed.spare_capacity_mut()[..block.rows * value_dim];
            let weighed = gemm
                .gemm_uninit(weighed, GemmInputA::Unpacked(scores), values, GemmUninitOptions::default())
                .map_err(|error| Error::argument("attention", error.to_string()))?;
            for (to, from) in
                block.context.chunks_exact_mut(heads * value_dim).zip(weighed.chunks_exact(value_dim))
            {
                to[head * value_dim..][..value_dim].write_copy_of_slice(from);
            }
        }
        Ok(())
    };

    let context = Tensor::build(&[total, heads * value_dim], |out| {
        pool::install(|| blocks(sequences, out, heads * value_dim).into_par_iter().try_for_each(attend))?
    })?;
    let probabilities = attention.probabilities.then(|| {
        let one = |(index, s): (usize, &Sequence)| {
            Tensor::build(&[heads, s.rows, s.keys], |out| {
                if out.is_empty() {
                    return Ok(());
                }
                let each_head = out.chunks_exact_mut(s.rows * s.keys).enumerate();
                pool::install(|| {
                    each_head.into_iter().try_for_each(|(head, out)| probabilities(head, index, 0, out))
                })?
            })
        };
        sequences.iter().enumerate().map(one).collect::<Result<Vec<_>>>()
    });
    Ok(Attended { context, probabilities: probabilities.transpose()? })
}

/// The biases as contiguous (heads, rows, keys).
fn whole(biases: &[Tensor], sequences: &[Sequence], heads: usize) -> Result<Vec<Tensor>> {
    let one = |(bias, s): (&Tensor, &Sequence)| bias.expand(&[heads, s.rows, s.keys])?.contiguous();
    biases.iter().zip(sequences).map(one).collect()
}

/// Cuts the sequences into blocks: enough of them to keep every thread busy, none larger than [`BLOCK_ROWS`].
fn blocks<'a>(
    sequences: &[Sequence],
    mut context: &'a mut [MaybeUninit<f32>],
    width: usize,
) -> Vec<Block<'a>> {
    let total = context.len() / width;
    let at_once = total.div_ceil(2 * rayon::current_num_threads()).clamp(8, BLOCK_ROWS);
    let mut blocks = Vec::new();
    for (index, sequence) in sequences.iter().enumerate() {
        for first in (0..sequence.rows).step_by(at_once) {
            let rows = at_once.min(sequence.rows - first);
            let (head, tail) = context.split_at_mut(rows * width);
            context = tail;
            blocks.push(Block { index, first, rows, context: head });
        }
    }
    blocks
}
