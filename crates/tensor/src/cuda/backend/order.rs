//! Positions in the order of what is there.

use std::mem::swap;

use super::{name, scan};
use crate::cuda::arguments::{Walk, class, code};
use crate::cuda::geometry::{Geometry, HIGHEST, WARP, elements};
use crate::cuda::gpu::Gpu;
use crate::cuda::launch::{Argument, launch};
use crate::ops::ReduceOp;
use crate::{Backend, DType, Result, Tensor};

/// The most positions that a block sorts: MOST of the kernels.
const MOST: usize = 2048;
/// The longest row of which one block finds the first few: reading a longer one so often takes longer than sorting it by a whole GPU.
const LONG: usize = 1 << 18;
/// Elements of a block: TILE of the kernels.
const TILE: usize = 4096;
/// Values of a digit.
const DIGITS: usize = 256;

/// What kernels call an Order: what is added to whole numbers for their least to be zero, and whether it goes down.
fn order_argument(dtype: DType, descending: bool) -> Argument {
    let is_signed = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let added = if is_signed { 1u64 << (8 * dtype.size() - 1) } else { 0 };
    Argument::of([added as i64, i64::from(descending)])
}

pub(super) fn order(gpu: &Gpu, x: &Tensor, count: usize, descending: bool) -> Result<Tensor> {
    let mut shape = x.shape().to_vec();
    let size = shape.last().copied().unwrap_or(1);
    if let Some(last) = shape.last_mut() {
        *last = count;
    }
    let out = gpu.fresh(&shape, DType::I64)?;
    if out.numel() == 0 {
        return Ok(out);
    }
    let order = order_argument(x.dtype(), descending);
    if size <= MOST || count <= MOST && size <= LONG {
        return few(gpu, out, x, [size, count], order);
    }
    let sorted = by_digits(gpu, x, size, order)?;
    if count == size {
        return Ok(sorted);
    }
    gpu.assign(&out, &sorted.narrow(x.ndim() - 1, 0, count)?)?;
    Ok(out)
}

fn few(gpu: &Gpu, out: Tensor, x: &Tensor, [size, count]: [usize; 2], order: Argument) -> Result<Tensor> {
    let (rows, walk) = (out.numel() / count, Walk::new(x.shape(), [x.layout()])?);
    let threads = size.div_ceil(2).next_multiple_of(WARP).min(1024);
    let at = Geometry { grid: [rows.min(HIGHEST) as u32, 1, 1], block: [threads as u32, 1, 1], shared: 0 };
    let macros = format!("C={}", name(class(x.dtype())));
    let (rows, kind) = (rows as i64, code(x.dtype()));
    let (size, count) = (size as i32, count as i32);
    launch!(gpu, "order", &macros, "order_few", at, [&out, x, kind, order, rows, size, count, walk])?;
    Ok(out)
}

/// All positions, sorted by one digit of eight bits after another.
fn by_digits(gpu: &Gpu, x: &Tensor, size: usize, order: Argument) -> Result<Tensor> {
    let (dtype, numel) = (class(x.dtype()), x.numel());
    let (rows, tiles, macros) = (numel / size, size.div_ceil(TILE), format!("C={}", name(dtype)));
    // The digits in which keys of this type differ: halves are widened, and whole numbers are as wide as their type.
    let (key, digits) = match x.dtype() {
        DType::BF16 => (DType::U32, 2..4),
        DType::F16 => (DType::U32, 1..4),
        DType::F32 => (DType::U32, 0..4),
        other => (DType::U64, 0..other.size()),
    };
    let fresh = |dtype| gpu.fresh(x.shape(), dtype);
    let [mut keys, mut next_keys] = [fresh(key)?, fresh(key)?];
    let [mut places, mut next_places] = [fresh(DType::I64)?, fresh(DType::I64)?];
    let (walk, kind) = (Walk::new(x.shape(), [x.layout()])?, code(x.dtype()));
    launch!(gpu, "order", &macros, "make_keys", elements(numel, 1), [&keys, x, kind, order, walk])?;
    let counts = gpu.fresh(&[rows, DIGITS * tiles], DType::U32)?;
    let at = elements(rows * tiles * 256, 1);
    let (many, long) = (rows as i64, size as i64);
    for digit in digits.clone() {
        let shift = 8 * digit as i32;
        launch!(gpu, "order", &macros, "count_digits", at, [&counts, &keys, many, long, shift])?;
        let running = scan::scan(gpu, ReduceOp::Sum, &counts, DType::I64)?;
        // Keys are at their places first, and needed no more behind the last digit.
        let from = (digit > digits.start).then_some(&places);
        let to = (digit + 1 < digits.end).then_some(&next_keys);
        launch!(
            gpu,
            "order",
            &macros,
            "move_by_digit",
            at,
            [to, &next_places, &keys, from, &running, many, long, shift]
        )?;
        swap(&mut keys, &mut next_keys);
        swap(&mut places, &mut next_places);
    }
    Ok(places)
}
