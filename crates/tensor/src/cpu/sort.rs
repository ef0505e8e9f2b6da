//! Positions in the order of what is there.

use std::cmp::Ordering;
use std::mem::MaybeUninit;

use super::elementwise::{CHUNK, Scratch};
use super::number::{Number, by_class};
use super::reader::Reader;
use super::rows::for_each_run;
use crate::{Result, Tensor};

/// See [`crate::Backend::order`].
pub(super) fn order(x: &Tensor, count: usize, descending: bool) -> Result<Tensor> {
    by_class!(x.dtype(), C => rows::<C>(x, count, descending))
}

fn rows<C: Number>(x: &Tensor, count: usize, descending: bool) -> Result<Tensor> {
    let mut shape = x.shape().to_vec();
    let size = shape.last().copied().unwrap_or(1);
    if let Some(last) = shape.last_mut() {
        *last = count;
    }
    Reader::<C>::new(x, &mut Scratch::new())?;
    Tensor::build(&shape, |out: &mut [MaybeUninit<i64>]| {
        for_each_run(out, count, |first, run| {
            // Made above without error, for the same tensor.
            let mut scratch = Scratch::new();
            let Ok(mut reader) = Reader::<C>::new(x, &mut scratch) else { return };
            let mut row: Vec<(C, i64)> = Vec::with_capacity(size);
            for (i, out) in run.chunks_exact_mut(count).enumerate() {
                row.clear();
                for from in (0..size).step_by(CHUNK) {
                    let x = reader.read((first + i) * size + from, CHUNK.min(size - from));
                    row.extend(x.iter().zip(from as i64..).map(|(&x, at)| (x, at)));
                }
                sort(&mut row, count, descending);
                for (to, &(_, at)) in out.iter_mut().zip(&row) {
                    to.write(at);
                }
            }
        })
    })
}

/// Brings the first `count` in order to the front. Positions break ties, so an unstable sort gives a stable order.
fn sort<C: Number>(row: &mut [(C, i64)], count: usize, descending: bool) {
    let compare = |a: &(C, i64), b: &(C, i64)| {
        let values = if descending { nan_last(b.0, a.0) } else { nan_last(a.0, b.0) };
        values.then(a.1.cmp(&b.1))
    };
    if count < row.len() {
        row.select_nth_unstable_by(count, compare);
    }
    row[..count].sort_unstable_by(compare);
}

#[allow(clippy::eq_op)]
fn nan_last<C: Number>(a: C, b: C) -> Ordering {
    // What cannot be compared has a NaN in it, the one value that differs from itself.
    a.partial_cmp(&b).unwrap_or_else(|| (a != a).cmp(&(b != b)))
}
