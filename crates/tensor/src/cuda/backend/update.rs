//! Steps of optimizers: all parameters that are changed alike in one launch.

use super::{Gpu, host};
use crate::cuda::arguments::{code, rule};
use crate::cuda::geometry::elements;
use crate::cuda::launch::{Argument, launch};
use crate::ops::{Change, Kept, Update};
use crate::{DType, Result, Tensor};

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

/// What must be equal for changes to be done in one launch.
type Kind = (Update, DType, DType, Option<DType>);

/// The tensors of a change, if all its states are whole.
fn kind(change: &Change) -> Option<(Kind, Vec<u64>)> {
    let states: Option<Vec<&Tensor>> = change
        .states
        .iter()
        .map(|state| if let Kept::Whole(tensor) = state { Some(*tensor) } else { None })
        .collect();
    let states = states?;
    let dtype = states.first().map(|state| state.dtype());
    if states.iter().any(|state| Some(state.dtype()) != dtype) {
        return None;
    }
    let address = |tensor: &Tensor| tensor.as_ptr() as u64;
    let state = |index: usize| states.get(index).map_or(0, |state| address(state));
    let row = vec![
        address(change.parameter),
        address(change.grad),
        state(0),
        state(1),
        change.parameter.numel() as u64,
    ];
    Some(((change.update, change.parameter.dtype(), change.grad.dtype(), dtype), row))
}

pub(super) fn update(gpu: &Gpu, changes: &[Change]) -> Result<()> {
    let mut alike: Vec<(Kind, Vec<Vec<u64>>)> = Vec::new();
    for change in changes {
        let Some((kind, row)) = kind(change) else {
            host::update(change)?;
            continue;
        };
        match alike.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, rows)) => rows.push(row),
            None => alike.push((kind, vec![row])),
        }
    }
    alike.iter().try_for_each(|(kind, rows)| launch(gpu, kind, rows))
}

fn launch(gpu: &Gpu, (update, value, grad, state): &Kind, rows: &[Vec<u64>]) -> Result<()> {
    let table: Vec<i64> = rows.iter().flatten().map(|&word| word as i64).collect();
    let pieces: Vec<i64> = rows
        .iter()
        .enumerate()
        .flat_map(|(index, row)| {
            (0..row[4]).step_by(PIECE).flat_map(move |start| [index as i64, start as i64])
        })
        .collect();
    let (table, count) = (gpu.table(&table)?, pieces.len() / 2);
    let pieces = gpu.table(&pieces)?;
    let is_double = *value == DType::F64;
    let macros = if is_double { "C=f64" } else { "C=f32" };
    let [value, grad, state] = [*value, *grad, state.unwrap_or(*value)].map(code);
    let at = elements(count * 256, 1);
    let rule = rule_argument(rule(update), is_double);
    launch!(
        gpu,
        "update",
        macros,
        "update",
        at,
        [&table, &pieces, count as i64, rule, value, grad, state, None::<&Tensor>]
    )
}
