//! Steps of optimizers: all parameters that are changed alike in one launch.

use super::Gpu;
use crate::cuda::arguments::{code, rule};
use crate::cuda::geometry::elements;
use crate::cuda::launch::{Argument, launch};
use crate::ops::{Change, Kept, Update};
use crate::{DType, Result, Tensor, cpu};

/// Elements that a block changes at a time.
const PIECE: usize = 4096;

/// The rule as the kernel has it: in float32, or for doubles in float64.
fn rule_argument((method, numbers): (i64, [f64; 7]), is_double: bool) -> Argument {
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Rule<C> {
        method: i64,
        numbers: [C; 7],
    }
    if is_double {
        Argument::of(Rule { method, numbers })
    } else {
        Argument::of(Rule { method, numbers: numbers.map(|number| number as f32) })
    }
}

/// What states are kept as: the number of a dtype, or behind those of all dtypes one of two lists of fractions.
fn kept_as(state: &Kept) -> i32 {
    match *state {
        Kept::Whole(tensor) => code(tensor.dtype()),
        Kept::Coded { signed, .. } => code(DType::F64) + if signed { 1 } else { 2 },
    }
}

/// What must be equal for changes to be done in one launch.
type Kind = (Update, DType, DType, [i32; 2]);

/// The tensors of a change.
type Row = [u64; 7];

fn row(change: &Change) -> (Kind, Row) {
    let address = |tensor: &Tensor| tensor.as_ptr() as u64;
    let state = |index: usize| match change.states.get(index) {
        None => [0, 0],
        Some(Kept::Whole(tensor)) => [address(tensor), 0],
        Some(Kept::Coded { codes, scales, .. }) => [address(codes), address(scales)],
    };
    let [[first, first_scales], [second, second_scales]] = [0, 1].map(state);
    let [value, grad] = [change.parameter, change.grad].map(address);
    let count = change.parameter.numel() as u64;
    let kinds = [0, 1].map(|index| change.states.get(index).map_or(0, kept_as));
    let kind = (change.update, change.parameter.dtype(), change.grad.dtype(), kinds);
    (kind, [value, grad, first, first_scales, second, second_scales, count])
}

pub(super) fn update(gpu: &Gpu, changes: &[Change]) -> Result<()> {
    let mut alike: Vec<(Kind, Vec<Row>)> = Vec::new();
    for (kind, row) in changes.iter().map(row) {
        match alike.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, rows)) => rows.push(row),
            None => alike.push((kind, vec![row])),
        }
    }
    let has_codes = |change: &Change| change.states.iter().any(|state| matches!(state, Kept::Coded { .. }));
    let fractions = match changes.iter().any(has_codes) {
        true => {
            let all = cpu::fractions().concat();
            Some(Tensor::from_slice(&all, &[all.len()])?.to_device(gpu.device())?)
        }
        false => None,
    };
    alike.iter().try_for_each(|(kind, rows)| launch(gpu, kind, rows, fractions.as_ref()))
}

fn launch(
    gpu: &Gpu,
    (update, value, grad, [first, second]): &Kind,
    rows: &[Row],
    fractions: Option<&Tensor>,
) -> Result<()> {
    let table: Vec<i64> = rows.iter().flatten().map(|&word| word as i64).collect();
    let pieces: Vec<i64> = rows
        .iter()
        .enumerate()
        .flat_map(|(index, row)| {
            (0..row[6]).step_by(PIECE).flat_map(move |start| [index as i64, start as i64])
        })
        .collect();
    let (table, count) = (gpu.table(&table)?, pieces.len() / 2);
    let pieces = gpu.table(&pieces)?;
    let is_double = *value == DType::F64;
    let macros = if is_double { "C=f64" } else { "C=f32" };
    let [value, grad] = [*value, *grad].map(code);
    let at = elements(count * 256, 1);
    let rule = rule_argument(rule(update), is_double);
    launch!(
        gpu,
        "update",
        macros,
        "update",
        at,
        [&table, &pieces, count as i64, rule, value, grad, *first, *second, fractions]
    )
}
