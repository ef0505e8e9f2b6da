//! Rows looked up and added.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use std::mem::MaybeUninit;

use super::rows::for_each_run;
use crate::ops::Ids;
use crate::{DType, Result, Tensor};

/// See [`crate::Backend::embedding`].
pub(super) fn embedding(lookups: &[(&Tensor, Ids)]) -> Result<Tensor> {
    let lookups: Vec<_> =
        lookups.iter().map(|&(table, ids)| (table, ids.here().unwrap_or_default())).collect();
    let (positions, width) = (lookups[0].1.len(), lookups[0].0.shape()[1]);
    Tensor::build(&[positions, width], |out| {
        for_each_run(out, width, |first, rows| {
            rows.fill(MaybeUninit::new(0.0f32));
            // SAFETY: initialised by the line above.
            let rows = unsafe { rows.assume_init_mut() };
            let mut wide = vec![0.0; width];
            for (i, row) in rows.chunks_exact_mut(width).enumerate() {
                for (table, ids) in &lookups {
                    add_row(row, table, ids[first + i] as usize * width, &mut wide);
                }
            }
        })
    })
}

/// Adds the elements of `table` from `start` on to `row`; `wide` is room for a row that must be widened first.
fn add_row(row: &mut [f32], table: &Tensor, start: usize, wide: &mut [f32]) {
    let end = start + row.len();
    match table.dtype() {
        DType::F32 => return add(row, &table.elements()[start..end]),
        DType::F16 => table.elements::<f16>()[start..end].convert_to_f32_slice(wide),
        DType::BF16 => table.elements::<bf16>()[start..end].convert_to_f32_slice(wide),
        _ => {
            for (to, &from) in wide.iter_mut().zip(&table.elements::<f64>()[start..end]) {
                *to = from as f32;
            }
        }
    }
    add(row, wide);
}

fn add(row: &mut [f32], other: &[f32]) {
    for (to, from) in row.iter_mut().zip(other) {
        *to += from;
    }
}
