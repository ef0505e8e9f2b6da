//! Functions of elements, and reductions: any strides, any dtypes.

use std::ops::Range;

use trustformers_tensor::{Activation, BinaryOp, CompareOp, DType, ReduceOp, Tensor, UnaryOp};

use crate::arguments::{ACTIVATIONS, Walk, class, code, place_in};
use crate::device::{Argument, Memory, Module};
use crate::geometry::{EACH, columns, elements, rows};
use crate::{FLOATS, close, cpu, draw, launch, name, single, tolerance};

const REAL: Range<usize> = 0..13;

impl<const N: usize> From<Walk<N>> for Argument {
    fn from(walk: Walk<N>) -> Argument {
        Argument::of(walk)
    }
}

/// The memory that a view reaches into, on the device, and where there its first element is.
fn place(x: &Tensor) -> (Memory, u64) {
    let (mut low, mut high) = (0, 1);
    for (&size, &stride) in x.shape().iter().zip(x.layout().strides()) {
        let reach = (size as isize - 1) * stride;
        (low, high) = (low + reach.min(0), high + reach.max(0));
    }
    let size = x.dtype().size() as isize;
    // SAFETY: all elements of a tensor lie within its storage, these from the first to the last.
    let bytes =
        unsafe { std::slice::from_raw_parts(x.as_ptr().offset(low * size), ((high - low) * size) as usize) };
    let memory = Memory::of_bytes(bytes);
    let first = memory.address().wrapping_add_signed((-low * size) as i64);
    (memory, first)
}

fn module(file: &str, dtype: DType) -> Module {
    Module::new(file, &[&format!("C={}", name(class(dtype)))])
}

/// Views of drawn numbers: all in order, turned, apart, backwards, and one row for all.
fn views(dtype: DType, (low, high): (f64, f64), seed: u64) -> Vec<Tensor> {
    let is_signed = dtype.is_float() || matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let low = if is_signed { low } else { 0.0 };
    let make = |shape: &[usize]| draw(shape, (low, high), DType::F64, seed).to_dtype(dtype).unwrap();
    vec![
        make(&[7, 5, 9]),
        make(&[9, 5, 7]).transpose(0, 2).unwrap(),
        make(&[7, 5, 9, 2]).select(3, 1).unwrap(),
        make(&[7, 5, 9]).flip(&[1]).unwrap(),
        make(&[5, 1]).expand(&[7, 5, 9]).unwrap(),
    ]
}

const SHAPE: [usize; 3] = [7, 5, 9];

#[test]
fn every_dtype_becomes_every_other() {
    for from in &DType::ALL[REAL] {
        let kernels = module("elementwise", *from);
        for to in &DType::ALL[REAL] {
            for x in views(*from, (-300.0, 70_000.0), 3) {
                let out = Memory::new(315 * to.size());
                let (_held, at) = place(&x);
                let contiguous = [45, 9, 1];
                let at_walk = Walk::of(&SHAPE, [&contiguous, x.layout().strides()]);
                launch!(kernels, "assign", elements(315, 1), [&out, code(*to), at, code(*from), at_walk]);
                close(&format!("{from} to {to}"), &out.tensor(&SHAPE, *to), &x.to_dtype(*to).unwrap(), 0.0);
            }
        }
    }
    let extremes =
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, 65519.0, 2049.0, 1.0 + 2f64.powi(-9)];
    for from in [DType::F64, DType::F32, DType::F16, DType::BF16] {
        let x = Tensor::from_slice(&extremes, &[8]).unwrap().to_dtype(from).unwrap();
        for to in &DType::ALL[REAL] {
            let out = Memory::new(8 * to.size());
            let at_walk = Walk::of(&[8], [&[1], &[1]]);
            let kernels = module("elementwise", from);
            launch!(
                kernels,
                "assign",
                elements(8, 1),
                [&out, code(*to), &Memory::of(&x), code(from), at_walk]
            );
            close(&format!("{from} to {to}"), &out.tensor(&[8], *to), &x.to_dtype(*to).unwrap(), 0.0);
        }
    }
}

#[test]
fn functions_of_one_and_two_numbers() {
    let has = |op: UnaryOp, dtype: DType| {
        use UnaryOp::*;
        match dtype {
            _ if dtype.is_float() => op != BitNot,
            DType::Bool => op == BitNot,
            _ => matches!(
                op,
                Neg | Abs | Sign | Square | BitNot | Floor | Ceil | Round | Trunc | Relu | ReluSquared
            ),
        }
    };
    for dtype in [DType::F32, DType::F16, DType::F64, DType::I32, DType::I64, DType::U64, DType::Bool] {
        let kernels = module("elementwise", dtype);
        for &op in UnaryOp::ALL.iter().filter(|&&op| has(op, dtype)) {
            for x in views(dtype, (-1.5, 2.5), 5) {
                let out = Memory::new(315 * dtype.size());
                let (_held, at) = place(&x);
                let at_walk = Walk::of(&SHAPE, [&[45, 9, 1], x.layout().strides()]);
                let number = place_in(UnaryOp::ALL, op);
                launch!(
                    kernels,
                    "unary",
                    elements(315, 1),
                    [&out, code(dtype), at, code(dtype), number, at_walk]
                );
                let want = cpu().unary(op, &x, dtype).unwrap();
                let what = format!("{} {dtype}", op.name());
                close(&what, &out.tensor(&SHAPE, dtype), &want, tolerance(dtype));
            }
        }
        for &op in BinaryOp::ALL {
            let x = views(dtype, (-20.0, 90.0), 6);
            let y: Vec<Tensor> = views(dtype, (-5.0, 70.0), 7).into_iter().rev().collect();
            for (x, y) in x.iter().zip(&y) {
                let want = Tensor::zeros_of(&SHAPE, dtype).unwrap();
                if dtype == DType::Bool || cpu().binary(op, &want, x, y).is_err() {
                    continue;
                }
                let out = Memory::new(315 * dtype.size());
                let ((_x, x_at), (_y, y_at)) = (place(x), place(y));
                let at_walk = Walk::of(&SHAPE, [&[45, 9, 1], x.layout().strides(), y.layout().strides()]);
                let (kind, number) = (code(dtype), place_in(BinaryOp::ALL, op));
                launch!(
                    kernels,
                    "binary",
                    elements(315, 1),
                    [&out, kind, x_at, kind, y_at, kind, number, at_walk]
                );
                close(
                    &format!("{} {dtype}", op.name()),
                    &out.tensor(&SHAPE, dtype),
                    &want,
                    tolerance(dtype) * 4.0,
                );
            }
        }
    }
}

#[test]
fn comparisons_and_choices() {
    for dtype in [DType::F32, DType::BF16, DType::I64, DType::U8, DType::F64, DType::U64] {
        let (kernels, kind) = (module("elementwise", dtype), code(dtype));
        for (x, y) in views(dtype, (-3.0, 4.0), 1).iter().zip(views(dtype, (-3.0, 4.0), 2).iter().rev()) {
            let ((_x, x_at), (_y, y_at)) = (place(x), place(y));
            let strides = [x.layout().strides(), y.layout().strides()];
            for &op in CompareOp::ALL {
                let out = Memory::new(315);
                let at_walk = Walk::of(&SHAPE, [&[45, 9, 1], strides[0], strides[1]]);
                let number = place_in(CompareOp::ALL, op);
                launch!(
                    kernels,
                    "compare",
                    elements(315, 1),
                    [&out, x_at, kind, y_at, kind, number, at_walk]
                );
                let want = cpu().compare(op, x, y, dtype, &SHAPE).unwrap();
                close(op.name(), &out.tensor(&SHAPE, DType::Bool), &want, 0.0);

                let chosen = Memory::new(315 * dtype.size());
                let at_walk = Walk::of(&SHAPE, [&[45, 9, 1], &[45, 9, 1], strides[0], strides[1]]);
                launch!(
                    kernels,
                    "choose",
                    elements(315, 1),
                    [&chosen, kind, &out, x_at, kind, y_at, kind, at_walk]
                );
                let want = cpu().select(&want, x, y, dtype, &SHAPE).unwrap();
                close("choose", &chosen.tensor(&SHAPE, dtype), &want, 0.0);
            }
        }
    }
}

#[test]
fn reductions() {
    for dtype in [DType::F32, DType::BF16, DType::F64, DType::I64, DType::U64, DType::I8] {
        let kernels = module("reduce", dtype);
        // All views where halves, floats and integers differ; two for the rest.
        let count = if matches!(dtype, DType::BF16 | DType::I64) { 5 } else { 2 };
        let big = draw(&[2, 3, 1300], (0.0, 3.0), DType::F64, 9).to_dtype(dtype).unwrap();
        for x in views(dtype, (-2.0, 3.0), 8).into_iter().take(count).chain([big]) {
            for axes in [&[0usize][..], &[1], &[2], &[0, 2], &[1, 2], &[0, 1, 2]] {
                reduction(&kernels, &x, axes);
            }
        }
        let x = draw(&[700, 33], (-1.0, 2.0), DType::F64, 4).to_dtype(dtype).unwrap();
        let (at, share) = columns(700, 33);
        let out = Memory::new(at.grid[1] as usize * 33 * class(dtype).size());
        let one = Argument::of_number(class(dtype), 1.0);
        kernels.launch(
            "reduce_columns",
            at,
            &[
                (&out).into(),
                code(class(dtype)).into(),
                (&Memory::of(&x)).into(),
                code(dtype).into(),
                0.into(),
                one,
                (share as i64).into(),
                700i64.into(),
                33i64.into(),
            ],
        );
        let parts = out.tensor(&[at.grid[1] as usize, 33], class(dtype));
        let want = cpu().reduce(ReduceOp::Sum, &x, &[0], class(dtype)).unwrap();
        close("columns", &parts.sum(&[0], false).unwrap(), &want, 1e-5);
    }
}

fn reduction(kernels: &Module, x: &Tensor, axes: &[usize]) {
    let (dtype, strides) = (x.dtype(), x.layout().strides());
    let pick = |goes: bool| {
        let chosen: Vec<usize> = (0..x.ndim()).filter(|axis| axes.contains(axis) == goes).collect();
        let shape: Vec<usize> = chosen.iter().map(|&axis| x.shape()[axis]).collect();
        let strides: Vec<isize> = chosen.iter().map(|&axis| strides[axis]).collect();
        // A scalar is walked as one element of one dimension.
        if shape.is_empty() { (vec![1], vec![0]) } else { (shape, strides) }
    };
    let ((kept, kept_strides), (gone, gone_strides)) = (pick(false), pick(true));
    let (many, each) = (kept.iter().product::<usize>(), gone.iter().product::<usize>());
    let (kept_walk, gone_walk) = (Walk::of(&kept, [&kept_strides]), Walk::of(&gone, [&gone_strides]));
    let (_held, at) = place(x);
    let shape: Vec<usize> =
        (0..x.ndim()).filter(|axis| !axes.contains(axis)).map(|axis| x.shape()[axis]).collect();
    for &op in ReduceOp::ALL {
        if op == ReduceOp::Prod && each > 400 {
            continue;
        }
        let parts = if op == ReduceOp::Max { 3 } else { 1 };
        let wide = class(dtype);
        let out = Memory::new(many * parts * wide.size());
        let mut geometry = rows(many, each);
        geometry.grid[1] = parts as u32;
        let one = || Argument::of_number(wide, 1.0);
        let arguments = |out: &Memory, x: u64, kind: DType, share: usize, kept: Walk<1>, gone: Walk<1>| {
            let op =
                if parts > 1 { place_in(ReduceOp::ALL, ReduceOp::Max) } else { place_in(ReduceOp::ALL, op) };
            [
                out.into(),
                code(wide).into(),
                x.into(),
                code(kind).into(),
                op.into(),
                one(),
                (share as i64).into(),
                kept.into(),
                gone.into(),
            ]
        };
        kernels.launch(
            "reduce",
            geometry,
            &arguments(&out, at, dtype, each.div_ceil(parts), kept_walk, gone_walk),
        );
        let (kept, gone) = (Walk::of(&[many], [&[parts as isize]]), Walk::of(&[parts], [&[1]]));
        let last = Memory::new(many * wide.size());
        let got = if parts > 1 {
            kernels.launch(
                "reduce",
                rows(many, parts),
                &arguments(&last, out.address(), wide, parts, kept, gone),
            );
            &last
        } else {
            &out
        };
        let want = cpu().reduce(op, x, axes, wide).unwrap();
        close(
            &format!("{} {dtype} {axes:?}", op.name()),
            &got.tensor(&shape, wide),
            &want,
            2.0 * tolerance(wide),
        );
    }
    for largest in [true, false] {
        let share = each.div_ceil(3).max(1);
        let parts = each.div_ceil(share).max(1);
        let (places, out) = (Memory::new(many * parts * 8), Memory::new(many * 8));
        let mut geometry = rows(many, share);
        geometry.grid[1] = parts as u32;
        let (kind, largest_of) = (code(dtype), i32::from(largest));
        let (share, count) = (share as i64, each as i64);
        launch!(
            kernels,
            "arg_extreme",
            geometry,
            [&places, at, kind, largest_of, share, 0u64, count, kept_walk, gone_walk]
        );
        let count = parts as i64;
        launch!(
            kernels,
            "arg_extreme",
            rows(many, parts),
            [&out, at, kind, largest_of, count, &places, count, kept_walk, gone_walk]
        );
        let want = cpu().arg_extreme(x, axes, largest).unwrap();
        close("arg_extreme", &out.tensor(&shape, DType::I64), &want, 0.0);
    }
}

#[test]
fn activations_and_gates() {
    for dtype in FLOATS {
        let kernels = Module::new("activation", &[&format!("T={}", name(dtype))]);
        for (number, function) in (0i32..).zip(ACTIVATIONS) {
            for (count, width) in [(0, 3), (1, 1), (5, 7), (3, 700), (2, 1401)] {
                let (shape, halves) = ([count, width], [count, 2 * width]);
                let x = draw(&halves, (-6.0, 6.0), dtype, 1);
                let g = draw(&shape, (-1.0, 1.0), dtype, 2);
                let (wide_x, wide_g) = (single(&x), single(&g));
                let (n, bytes) = (count * width, count * width * dtype.size());
                let (at, by_packs, near) = (elements(n, 1), elements(n, EACH), tolerance(dtype) * 2.0);
                let (x_at, g_at) = (Memory::of(&x), Memory::of(&g));

                let out = Memory::new(bytes);
                launch!(kernels, "gated", by_packs, [&out, &x_at, n as i64, width as i32, number]);
                close("gated", &out.tensor(&shape, dtype), &cpu().gated(function, &wide_x).unwrap(), near);
                let out = Memory::new(2 * bytes);
                launch!(kernels, "gated_gradient", at, [&out, &g_at, &x_at, n as i64, width as i32, number]);
                let want = cpu().gated_gradient(function, &wide_g, &wide_x).unwrap();
                close(&format!("gated_gradient {function:?}"), &out.tensor(&halves, dtype), &want, near);

                let part = Memory::of(&x.narrow(1, 0, width).unwrap());
                let out = Memory::new(bytes);
                launch!(kernels, "activation", by_packs, [&out, &part, n as i64, number]);
                let want = function.apply(&wide_x.narrow(1, 0, width).unwrap()).unwrap();
                close(&format!("{function:?}"), &out.tensor(&shape, dtype), &want, near);
                if function == Activation::Gelu {
                    launch!(kernels, "activation_gradient", at, [&out, &g_at, &part, n as i64, number]);
                    let x = wide_x.narrow(1, 0, width).unwrap();
                    let want = cpu().gelu_gradient(&wide_g, &x).unwrap();
                    close("gelu_gradient", &out.tensor(&shape, dtype), &want, near);
                }
            }
        }
    }
}
