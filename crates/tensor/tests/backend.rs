//! What every device must be able to do: each method of [`Backend`] against a plain reference, on every device that is present.
//!
//! The operations in front of a backend have checked shapes and dtypes, so it is given only what they let through: here, too.

// A failed step fails the test, also in its helpers.
#![allow(clippy::unwrap_used)]

#[path = "backend/attention.rs"]
mod attention;
#[path = "backend/drawing.rs"]
mod drawing;
#[path = "backend/heads.rs"]
mod heads;
#[path = "backend/order.rs"]
mod order;
#[path = "backend/whole.rs"]
mod whole;

use std::sync::OnceLock;

use cudarc::driver::result::{ctx, device, primary_ctx};
use trustformers_tensor::ops::{
    Activation, Angles, Attention, BinaryOp, Change, CompareOp, Distribution, Ids, Kept, LinearStep, Mask,
    Norm, Places, Ragged, ReduceOp, StoreForm, Then, UnaryOp, Update, store_rows,
};
use trustformers_tensor::{
    Backend, BlockFormat, DType, Device, Matrix, Quantized, Scalar, Tensor, Weight, cuda,
};

const REAL: [DType; 13] = [
    DType::Bool,
    DType::U8,
    DType::U16,
    DType::U32,
    DType::U64,
    DType::I8,
    DType::I16,
    DType::I32,
    DType::I64,
    DType::F16,
    DType::BF16,
    DType::F32,
    DType::F64,
];
/// Those of them that are no floats.
const WHOLE: &[DType] = REAL.split_at(9).0;
const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
/// Without elements, one, few, one more than a vector, and more than one chunk of a kernel and than one thread's share.
const SIZES: [usize; 6] = [0, 1, 7, 65, 1500, 70_001];

/// The devices of this machine; of several that are alike the first.
fn devices() -> Vec<Device> {
    let gpu = cuda::is_available().then_some(Device::Cuda(0));
    [Some(Device::Cpu), gpu].into_iter().flatten().collect()
}

/// `x` on `device`.
fn on(device: Device, x: &Tensor) -> Tensor {
    x.to_device(device).unwrap()
}

/// Runs `test` with the backend of each device and a way to bring tensors there.
fn each(test: impl Fn(&dyn Backend, &dyn Fn(&Tensor) -> Tensor)) {
    for device in devices() {
        let any = on(device, &Tensor::zeros(&[1]).unwrap());
        test(any.storage().backend(), &|x| on(device, x));
    }
}

/// Small numbers that every dtype can hold, signed where it can.
fn numbers(count: usize, dtype: DType, seed: usize) -> Tensor {
    let signed = dtype.is_float() || matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let value = |i: usize| {
        ((i * 7 + seed * 3) % 11) as f64 * if dtype.is_float() { 0.375 } else { 1.0 }
            - if signed { 2.0 } else { 0.0 }
    };
    let values: Vec<f64> = (0..count).map(value).collect();
    Tensor::from_slice(&values, &[count]).unwrap().to_dtype(dtype).unwrap()
}

/// The same numbers, two apart in memory.
fn spread(x: &Tensor) -> Tensor {
    let mut shape = x.shape().to_vec();
    shape.push(2);
    let wide = Tensor::zeros_on(&shape, x.dtype(), x.device()).unwrap();
    let view = wide.select(x.ndim(), 1).unwrap();
    view.copy_(x).unwrap();
    view
}

fn read(x: &Tensor) -> Vec<f64> {
    let x = x.to_host().unwrap().to_dtype(DType::F64).unwrap().contiguous().unwrap();
    x.as_slice::<f64>().unwrap().to_vec()
}

/// How far a result may be off, relative to its size.
fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::BF16 => 8e-3,
        DType::F16 => 1e-3,
        DType::F32 => 4e-6,
        _ => 1e-12,
    }
}

#[track_caller]
fn close(what: &str, got: &Tensor, want: &[f64], tolerance: f64) {
    let got = read(got);
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let same = got == want
            || got.is_nan() && want.is_nan()
            || (got - want).abs() <= tolerance * (1.0 + want.abs());
        assert!(same, "{what}: element {i} is {got}, not {want}");
    }
}

#[test]
fn zero_fill_and_assign() {
    each(|backend, on| {
        for from in REAL {
            for to in REAL {
                for size in [0, 1, 65, 1500] {
                    let x = on(&numbers(size, from, 1));
                    // What is negative becomes something else in unsigned integers; which, is Rust's `as` to say for integers.
                    if matches!(to, DType::U8 | DType::U16 | DType::U32 | DType::U64)
                        && read(&x).iter().any(|&x| x < 0.0)
                    {
                        continue;
                    }
                    let want: Vec<f64> = read(&x)
                        .iter()
                        .map(|&x| match to {
                            DType::Bool => f64::from(x != 0.0),
                            to if to.is_float() => x,
                            _ => x.trunc(),
                        })
                        .collect();
                    for source in [x.clone(), spread(&x)] {
                        let out = on(&Tensor::ones(&[size], to).unwrap());
                        let apart = spread(&out);
                        backend.assign(&out, &source).unwrap();
                        backend.assign(&apart, &source).unwrap();
                        close(&format!("assign {from} to {to}"), &out, &want, tolerance(to));
                        close(&format!("assign {from} to strided {to}"), &apart, &want, tolerance(to));
                    }
                }
            }
            let x = on(&Tensor::ones(&[70_001], from).unwrap());
            backend.zero(&x).unwrap();
            close("zero", &x, &vec![0.0; 70_001], 0.0);
            let one = on(&Tensor::ones(&[], from).unwrap());
            for (value, want) in [(Scalar::Int(3), 3.0), (Scalar::Float(2.0), 2.0), (Scalar::Bool(true), 1.0)]
            {
                backend.fill(&one, value).unwrap();
                close("fill", &one, &[if from == DType::Bool { 1.0 } else { want }], 0.0);
            }
        }
        let table = on(&numbers(12, DType::F32, 1).view(&[3, 4]).unwrap());
        let (row, out) = (table.narrow(0, 1, 2).unwrap(), on(&Tensor::zeros(&[3, 4]).unwrap()));
        backend.assign(&out, &row).unwrap();
        close("assign a row to all", &out, &read(&row).repeat(3), 0.0);
    });
}

fn unary(op: UnaryOp, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sign => {
            if x == 0.0 {
                0.0
            } else {
                x.signum()
            }
        }
        UnaryOp::Square => x * x,
        UnaryOp::BitNot => -x - 1.0,
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Round => x.round_ties_even(),
        UnaryOp::Trunc => x.trunc(),
        UnaryOp::Reciprocal => 1.0 / x,
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Rsqrt => 1.0 / x.sqrt(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Exp2 => x.exp2(),
        UnaryOp::Expm1 => x.exp_m1(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Log2 => x.log2(),
        UnaryOp::Log10 => x.log10(),
        UnaryOp::Log1p => x.ln_1p(),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Tan => x.tan(),
        UnaryOp::Asin => x.asin(),
        UnaryOp::Acos => x.acos(),
        UnaryOp::Atan => x.atan(),
        UnaryOp::Sinh => x.sinh(),
        UnaryOp::Cosh => x.cosh(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Erf => libm::erf(x),
        UnaryOp::Sigmoid => sigmoid(x),
        UnaryOp::Relu => x.max(0.0),
        UnaryOp::ReluSquared => x.max(0.0).powi(2),
        UnaryOp::Gelu => 0.5 * x * (1.0 + libm::erf(x / 2f64.sqrt())),
        UnaryOp::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        UnaryOp::QuickGelu => x * sigmoid(1.702 * x),
        UnaryOp::Silu => x * sigmoid(x),
    }
}

#[test]
fn functions_of_one_number() {
    let on_integers = [
        UnaryOp::Neg,
        UnaryOp::Abs,
        UnaryOp::Sign,
        UnaryOp::Square,
        UnaryOp::BitNot,
        UnaryOp::Relu,
        UnaryOp::Floor,
    ];
    each(|backend, on| {
        for &op in UnaryOp::ALL {
            let dtypes: &[DType] = if op == UnaryOp::BitNot { &[] } else { &FLOATS };
            for &dtype in dtypes.iter().chain(on_integers.contains(&op).then_some(&DType::I16)) {
                for size in SIZES {
                    let x = on(&numbers(size, dtype, 2));
                    let want: Vec<f64> = read(&x).into_iter().map(|x| unary(op, x)).collect();
                    for x in [x.clone(), spread(&x)] {
                        let got = backend.unary(op, &x, dtype).unwrap();
                        assert!(got.is_contiguous() && got.dtype() == dtype);
                        close(op.name(), &got, &want, tolerance(dtype));
                    }
                }
            }
        }
        let flags = on(&numbers(9, DType::Bool, 1));
        let want: Vec<f64> = read(&flags).iter().map(|x| 1.0 - x).collect();
        close("not", &backend.unary(UnaryOp::BitNot, &flags, DType::Bool).unwrap(), &want, 0.0);
    });
}

fn binary(op: BinaryOp, x: f64, y: f64) -> f64 {
    let bits = |f: fn(i64, i64) -> i64| f(x as i64, y as i64) as f64;
    match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::FloorDivide => (x / y).floor(),
        BinaryOp::Remainder => x - y * (x / y).floor(),
        BinaryOp::Pow => x.powf(y),
        BinaryOp::Maximum => x.max(y),
        BinaryOp::Minimum => x.min(y),
        BinaryOp::Atan2 => x.atan2(y),
        BinaryOp::BitAnd => bits(|x, y| x & y),
        BinaryOp::BitOr => bits(|x, y| x | y),
        BinaryOp::BitXor => bits(|x, y| x ^ y),
        BinaryOp::ShiftLeft => bits(|x, y| x << y),
        BinaryOp::ShiftRight => bits(|x, y| x >> y),
    }
}

#[test]
fn functions_of_two_numbers() {
    each(|backend, on| {
        for &op in BinaryOp::ALL {
            let bitwise = matches!(
                op,
                BinaryOp::BitAnd
                    | BinaryOp::BitOr
                    | BinaryOp::BitXor
                    | BinaryOp::ShiftLeft
                    | BinaryOp::ShiftRight
            );
            let fractional = matches!(op, BinaryOp::Div | BinaryOp::Atan2);
            let dtypes = [DType::F16, DType::F32, DType::F64, DType::I32, DType::I64, DType::U64];
            // Unsigned numbers have no negative differences.
            let misfits = |dtype: &DType| *dtype == DType::U64 && op == BinaryOp::Sub;
            for dtype in dtypes
                .into_iter()
                .filter(|dtype| !misfits(dtype))
                .filter(|dtype| !(bitwise && dtype.is_float() || fractional && !dtype.is_float()))
            {
                for size in SIZES {
                    let positive =
                        |seed| numbers(size, DType::U8, seed).add(1i64).unwrap().to_dtype(dtype).unwrap();
                    let (x, y) =
                        (on(&positive(1)), on(&positive(5).remainder(5i64).unwrap().add(1i64).unwrap()));
                    let want: Vec<f64> =
                        read(&x).iter().zip(read(&y)).map(|(&x, y)| binary(op, x, y)).collect();
                    for (x, y) in [(x.clone(), y.clone()), (spread(&x), y.clone()), (x.clone(), spread(&y))] {
                        let out = on(&Tensor::zeros_of(&[size], dtype).unwrap());
                        backend.binary(op, &out, &x, &y).unwrap();
                        close(op.name(), &out, &want, tolerance(dtype) * 4.0);
                    }
                    backend.binary(op, &x, &x, &y).unwrap();
                    close(op.name(), &x, &want, tolerance(dtype) * 4.0);
                }
            }
        }
        let (column, row) =
            (on(&numbers(3, DType::F32, 1).view(&[3, 1]).unwrap()), on(&numbers(5, DType::I8, 2)));
        let out = on(&Tensor::zeros(&[3, 5]).unwrap());
        backend.binary(BinaryOp::Mul, &out, &column, &row).unwrap();
        let want: Vec<f64> =
            read(&column).iter().flat_map(|x| read(&row).into_iter().map(move |y| x * y)).collect();
        close("broadcast", &out, &want, 1e-6);
    });
}

#[test]
fn comparisons_and_choices() {
    each(|backend, on| {
        for dtype in [DType::F32, DType::BF16, DType::I64, DType::U8, DType::F64] {
            for size in SIZES {
                let (x, y) = (on(&numbers(size, dtype, 1)), on(&numbers(size, dtype, 4)));
                let pairs: Vec<(f64, f64)> = read(&x).into_iter().zip(read(&y)).collect();
                for &op in CompareOp::ALL {
                    let holds = |&(x, y): &(f64, f64)| match op {
                        CompareOp::Eq => x == y,
                        CompareOp::Ne => x != y,
                        CompareOp::Lt => x < y,
                        CompareOp::Le => x <= y,
                        CompareOp::Gt => x > y,
                        CompareOp::Ge => x >= y,
                    };
                    let got = backend.compare(op, &x, &spread(&y), dtype, &[size]).unwrap();
                    assert_eq!(got.dtype(), DType::Bool);
                    close(
                        op.name(),
                        &got,
                        &pairs.iter().map(|pair| f64::from(holds(pair))).collect::<Vec<_>>(),
                        0.0,
                    );
                    let chosen = backend.select(&got, &spread(&x), &y, dtype, &[size]).unwrap();
                    close(
                        "where",
                        &chosen,
                        &pairs
                            .iter()
                            .map(|pair| if holds(pair) { pair.0 } else { pair.1 })
                            .collect::<Vec<_>>(),
                        0.0,
                    );
                }
            }
        }
    });
}

#[test]
fn reductions_scans_and_order() {
    each(|backend, on| {
        for dtype in [DType::F32, DType::F64, DType::I64, DType::BF16] {
            for (rows, columns) in [(1, 1), (3, 7), (40, 33), (300, 257), (2, 40_000)] {
                let x = on(&numbers(rows * columns, dtype, 1).view(&[rows, columns]).unwrap());
                for x in [x.clone(), spread(&x), x.mt().unwrap().copy().unwrap().mt().unwrap()] {
                    let values = read(&x);
                    let row = |i: usize| values[i * columns..(i + 1) * columns].to_vec();
                    let column = |j: usize| (0..rows).map(|i| values[i * columns + j]).collect::<Vec<_>>();
                    for op in [ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min] {
                        let fold = |values: Vec<f64>| match op {
                            ReduceOp::Max => values.into_iter().fold(f64::NEG_INFINITY, f64::max),
                            ReduceOp::Min => values.into_iter().fold(f64::INFINITY, f64::min),
                            _ => values.into_iter().sum(),
                        };
                        let each: [(&[usize], Vec<f64>); 3] = [
                            (&[1], (0..rows).map(|i| fold(row(i))).collect()),
                            (&[0], (0..columns).map(|j| fold(column(j))).collect()),
                            (&[0, 1], vec![fold(values.clone())]),
                        ];
                        for (axes, want) in each {
                            close(
                                op.name(),
                                &backend.reduce(op, &x, axes, dtype).unwrap(),
                                &want,
                                tolerance(dtype),
                            );
                        }
                    }
                    let first = |values: Vec<f64>, wins: fn(f64, f64) -> bool| {
                        values
                            .iter()
                            .enumerate()
                            .fold(0, |best, (i, &x)| if wins(x, values[best]) { i } else { best })
                            as f64
                    };
                    for (largest, wins) in
                        [(true, (|x, y| x > y) as fn(f64, f64) -> bool), (false, |x, y| x < y)]
                    {
                        let each: [(&[usize], Vec<f64>); 3] = [
                            (&[1], (0..rows).map(|i| first(row(i), wins)).collect()),
                            (&[0], (0..columns).map(|j| first(column(j), wins)).collect()),
                            (&[0, 1], vec![first(values.clone(), wins)]),
                        ];
                        for (axes, want) in each {
                            close("argmax", &backend.arg_extreme(&x, axes, largest).unwrap(), &want, 0.0);
                        }
                    }
                    let running = |i: usize| {
                        row(i)
                            .into_iter()
                            .scan(0.0, |sum, x| {
                                *sum += x;
                                Some(*sum)
                            })
                            .collect::<Vec<_>>()
                    };
                    close(
                        "cumsum",
                        &backend.scan(ReduceOp::Sum, &x, dtype).unwrap(),
                        &(0..rows).flat_map(running).collect::<Vec<_>>(),
                        tolerance(dtype) * 2.0,
                    );
                    for (count, descending) in [(columns, false), (columns.min(5), true)] {
                        let order = |i: usize| {
                            let row = row(i);
                            let mut order: Vec<usize> = (0..columns).collect();
                            order.sort_by(|&a, &b| {
                                if descending { row[b].total_cmp(&row[a]) } else { row[a].total_cmp(&row[b]) }
                            });
                            order.into_iter().take(count).map(|i| i as f64).collect::<Vec<_>>()
                        };
                        close(
                            "order",
                            &backend.order(&x, count, descending).unwrap(),
                            &(0..rows).flat_map(order).collect::<Vec<_>>(),
                            0.0,
                        );
                    }
                }
            }
        }
        // More rows than are dealt out evenly.
        let tall = on(&Tensor::ones(&[40_000, 32], DType::F32).unwrap());
        close("sum", &backend.reduce(ReduceOp::Sum, &tall, &[0], DType::F32).unwrap(), &[40_000.0; 32], 0.0);
        let small = on(&Tensor::from_slice(&[2i32, 3, 4], &[3]).unwrap());
        close("prod", &backend.reduce(ReduceOp::Prod, &small, &[0], DType::I64).unwrap(), &[24.0], 0.0);
        close("cumprod", &backend.scan(ReduceOp::Prod, &small, DType::I64).unwrap(), &[2.0, 6.0, 24.0], 0.0);
        let none = on(&Tensor::zeros(&[0, 3]).unwrap());
        close(
            "sum of nothing",
            &backend.reduce(ReduceOp::Sum, &none, &[0], DType::F32).unwrap(),
            &[0.0; 3],
            0.0,
        );
    });
}

#[test]
fn taking_putting_and_finding() {
    each(|backend, on| {
        for dtype in REAL {
            let x = on(&numbers(24, dtype, 1));
            let offsets = on(&Tensor::from_slice(&[20i64, 0, 20, 8], &[2, 2]).unwrap());
            let values = read(&x);
            let blocks: Vec<f64> =
                [20, 0, 20, 8].iter().flat_map(|&at: &usize| values[at..at + 4].to_vec()).collect();
            let taken = backend.take(&x, &offsets, 4, &[2, 2, 4]).unwrap();
            close("take", &taken, &blocks, 0.0);
            let out = on(&Tensor::zeros_of(&[24], dtype).unwrap());
            backend.put(&out, &offsets, 4, &taken, false).unwrap();
            let mut want = vec![0.0; 24];
            for at in [20, 0, 8] {
                want[at..at + 4].copy_from_slice(&values[at..at + 4]);
            }
            close("put", &out, &want, 0.0);
            if dtype != DType::Bool {
                backend.put(&out, &offsets, 4, &on(&Tensor::ones(&[2, 2, 4], dtype).unwrap()), true).unwrap();
                for (at, times) in [(20, 2.0), (0, 1.0), (8, 1.0)] {
                    want[at..at + 4].iter_mut().for_each(|x| *x += times);
                }
                close("put and add", &out, &want, tolerance(dtype));
            }
        }
        let flags = on(&Tensor::from_slice(&[0u8, 1, 1, 0, 0, 1], &[2, 3]).unwrap().ne(0i64).unwrap());
        close("nonzero", &backend.nonzero(&flags).unwrap(), &[0.0, 1.0, 0.0, 2.0, 1.0, 2.0], 0.0);
        assert_eq!(
            backend.nonzero(&on(&Tensor::zeros_of(&[0], DType::Bool).unwrap())).unwrap().shape(),
            [0, 1]
        );
    });
}

#[test]
fn random_numbers_are_a_function_of_seed_and_position() {
    each(|backend, _| {
        for (distribution, dtype) in [
            (Distribution::Uniform, DType::F32),
            (Distribution::Normal, DType::F64),
            (Distribution::Below(10), DType::I64),
        ] {
            let whole = read(&backend.random(distribution, (5, 100), &[70_001], dtype).unwrap());
            // Two numbers to a block.
            let later = read(&backend.random(distribution, (5, 103), &[11], dtype).unwrap());
            assert_eq!(whole[6..17], later);
            let other = read(&backend.random(distribution, (6, 100), &[11], dtype).unwrap());
            assert_ne!(whole[..11], other);
            let mean = whole.iter().sum::<f64>() / whole.len() as f64;
            let want = match distribution {
                Distribution::Uniform => 0.5,
                Distribution::Normal => 0.0,
                Distribution::Below(limit) => (limit - 1) as f64 / 2.0,
            };
            assert!((mean - want).abs() < 0.05, "{distribution:?}: {mean}");
            let inside = whole.iter().all(|&x| match distribution {
                Distribution::Uniform => (0.0..1.0).contains(&x),
                Distribution::Normal => x.abs() < 7.0,
                Distribution::Below(limit) => (0.0..limit as f64).contains(&x) && x.fract() == 0.0,
            });
            assert!(inside, "{distribution:?}");
        }
    });
}

#[test]
fn products() {
    each(|backend, on| {
        for (m, k, n) in [(1, 1, 1), (3, 5, 4), (17, 33, 9), (0, 3, 2), (2, 0, 3), (64, 70, 65)] {
            for dtype in [DType::F32, DType::F64, DType::BF16, DType::I32] {
                let a = on(&numbers(2 * m * k, dtype, 1).view(&[2, m, k]).unwrap());
                let b = on(&numbers(k * n, dtype, 3).view(&[k, n]).unwrap());
                let (x, y) = (read(&a), read(&b));
                let dot = |at: usize, j: usize| (0..k).map(|i| x[at * k + i] * y[i * n + j]).sum::<f64>();
                let want: Vec<f64> = (0..2 * m)
                    .flat_map(|at| (0..n).map(move |j| (at, j)))
                    .map(|(at, j)| dot(at, j))
                    .collect();
                let b = b.expand(&[2, k, n]).unwrap();
                for (a, b) in
                    [(a.clone(), b.clone()), (spread(&a), b.mt().unwrap().copy().unwrap().mt().unwrap())]
                {
                    close("matmul", &backend.matmul(&a, &b).unwrap(), &want, tolerance(dtype) * 4.0);
                }
            }
            // On no boundary but that of an element.
            for dtype in [DType::F16, DType::BF16, DType::F32] {
                let odd = |rows: usize, columns: usize, seed| {
                    let all = on(&numbers(1 + rows * columns, dtype, seed));
                    all.narrow(0, 1, 1 + rows * columns).unwrap().view(&[rows, columns]).unwrap()
                };
                let (a, b) = (odd(m, k, 1), odd(k, n, 3));
                let (x, y) = (read(&a), read(&b));
                let dot = |i: usize, j: usize| (0..k).map(|l| x[i * k + l] * y[l * n + j]).sum::<f64>();
                let want: Vec<f64> =
                    (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| dot(i, j)).collect();
                close("matmul", &backend.matmul(&a, &b).unwrap(), &want, tolerance(dtype) * 4.0);
            }
            let x = on(&numbers(m * k, DType::F32, 1).view(&[m, k]).unwrap());
            let parts = [
                numbers(n * k, DType::BF16, 3).view(&[n, k]).unwrap(),
                numbers(k, DType::F32, 5).view(&[1, k]).unwrap(),
            ];
            let w: Vec<f64> = parts.iter().flat_map(read).collect();
            let weight = Weight::new(parts.iter().map(on)).unwrap();
            let bias = on(&numbers(n + 1, DType::F32, 6));
            let (xs, b) = (read(&x), read(&bias));
            for activation in [Activation::Identity, Activation::Gelu, Activation::Silu] {
                let one = |i: usize, j: usize| {
                    let y = (0..k).map(|l| xs[i * k + l] * w[j * k + l]).sum::<f64>() + b[j];
                    activation.function().map_or(y, |op| unary(op, y))
                };
                let want: Vec<f64> =
                    (0..m).flat_map(|i| (0..=n).map(move |j| (i, j))).map(|(i, j)| one(i, j)).collect();
                let out = on(&Tensor::zeros(&[m, n + 1]).unwrap());
                let then = Then::Activate(activation);
                let step =
                    LinearStep { x: &x, norm: None, weight: &weight, bias: Some(&bias), then, dtype: None };
                backend.linear(&out, &step).unwrap();
                close("linear", &out, &want, 2e-5);
            }
        }
    });
}

#[test]
fn rows_in_one_pass() {
    each(|backend, on| {
        let sizes = [(0, 3), (1, 1), (5, 17), (130, 768)];
        let taken = [DType::F32, DType::F16, DType::BF16].into_iter().filter(|&dtype| backend.takes(dtype));
        for (dtype, (rows, width)) in taken.flat_map(|dtype| sizes.map(|size| (dtype, size))) {
            // Sums are not rounded, results are.
            let close = |what: &str, got: &Tensor, want: &[f64], near: f64| {
                close(
                    &format!("{what} {dtype}"),
                    got,
                    want,
                    near.max(match got.dtype() {
                        DType::F16 | DType::BF16 => tolerance(dtype),
                        _ => 0.0,
                    }),
                );
            };
            let x = on(&numbers(rows * width, dtype, 1).view(&[rows, width]).unwrap());
            // Parameters may be as wide as activations, or wider.
            let of_parameters = if rows == 5 { DType::F32 } else { dtype };
            let (scale, shift) = (on(&numbers(width, of_parameters, 2)), on(&numbers(width, DType::F32, 3)));
            let (values, w, b) = (read(&x), read(&scale), read(&shift));
            let each_row =
                |f: &dyn Fn(&[f64]) -> Vec<f64>| values.chunks(width).flat_map(f).collect::<Vec<f64>>();
            let softmax = |row: &[f64]| {
                let sum: f64 = row.iter().map(|x| x.exp()).sum();
                row.iter().map(|x| x.exp() / sum).collect::<Vec<_>>()
            };
            close("softmax", &backend.softmax(&x, false).unwrap(), &each_row(&softmax), 1e-6);
            let log = each_row(&|row| softmax(row).into_iter().map(f64::ln).collect());
            close("log_softmax", &backend.softmax(&x, true).unwrap(), &log, 1e-5);
            close(
                "log_softmax",
                &backend.softmax(&x.to_dtype(DType::F64).unwrap(), true).unwrap(),
                &log,
                1e-12,
            );
            let norm = |twice: f64| {
                each_row(&|row| {
                    let h: Vec<f64> = row.iter().map(|x| x * twice).collect();
                    let mean = h.iter().sum::<f64>() / width as f64;
                    let var = h.iter().map(|h| (h - mean).powi(2)).sum::<f64>() / width as f64;
                    (0..width).map(|i| (h[i] - mean) / (var + 1e-5).sqrt() * w[i] + b[i]).collect()
                })
            };
            close(
                "layer_norm",
                &backend.layer_norm(&x, None, &scale, Some(&shift), 1e-5).unwrap(),
                &norm(1.0),
                2e-5,
            );
            close(
                "layer_norm",
                &backend.layer_norm(&x, Some(&x), &scale, Some(&shift), 1e-5).unwrap(),
                &norm(2.0),
                2e-5,
            );
            let grad = on(&numbers(rows * width, dtype, 4).view(&[rows, width]).unwrap());
            let g = read(&grad);
            let alone = backend.layer_norm_gradient(&grad, &x, &scale, 1e-5, false).unwrap();
            let all = backend.layer_norm_gradient(&grad, &x, &scale, 1e-5, true).unwrap();
            assert_eq!(alone.each_ref().map(Option::is_some), [true, false, false]);
            let [into_h, into_weight, into_bias] = all.map(Option::unwrap);
            let (mut dh, mut dw, mut db) = (vec![], vec![0.0; width], vec![0.0; width]);
            for (h, g) in values.chunks(width).zip(g.chunks(width)) {
                let mean = h.iter().sum::<f64>() / width as f64;
                let deviation =
                    (h.iter().map(|h| (h - mean).powi(2)).sum::<f64>() / width as f64 + 1e-5).sqrt();
                let n: Vec<f64> = h.iter().map(|h| (h - mean) / deviation).collect();
                let v: Vec<f64> = g.iter().zip(&w).map(|(g, w)| g * w).collect();
                let mean_v = v.iter().sum::<f64>() / width as f64;
                let mean_vn = v.iter().zip(&n).map(|(v, n)| v * n).sum::<f64>() / width as f64;
                for i in 0..width {
                    dh.push((v[i] - mean_v - n[i] * mean_vn) / deviation);
                    dw[i] += g[i] * n[i];
                    db[i] += g[i];
                }
            }
            for into_h in [&into_h, alone[0].as_ref().unwrap()] {
                close("layer_norm's gradient", into_h, &dh, 3e-5);
            }
            close("layer_norm's gradient for the weight", &into_weight, &dw, 3e-5);
            close("layer_norm's gradient for the bias", &into_bias, &db, 3e-5);
            let slope = |x: f64| {
                0.5 * (1.0 + libm::erf(x / 2f64.sqrt()))
                    + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
            };
            let want: Vec<f64> = values.iter().zip(&g).map(|(&x, g)| g * slope(x)).collect();
            close("gelu's gradient", &backend.gelu_gradient(&grad, &x).unwrap(), &want, 2e-6);
            let halves = on(&numbers(2 * rows * width, dtype, 5).view(&[rows, 2 * width]).unwrap());
            let pairs = read(&halves);
            let pair = |i: usize| {
                let start = i / width * 2 * width + i % width;
                (pairs[start], pairs[start + width])
            };
            let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
            let want: Vec<f64> =
                (0..rows * width).map(|i| pair(i).0 * sigmoid(pair(i).0) * pair(i).1).collect();
            close("gated", &backend.gated(Activation::Silu, &halves).unwrap(), &want, 2e-6);
            let mut want = vec![0.0; 2 * rows * width];
            for (i, g) in g.iter().enumerate() {
                let ((gate, up), start) = (pair(i), i / width * 2 * width + i % width);
                let s = sigmoid(gate);
                want[start] = g * up * (s + gate * s * (1.0 - s));
                want[start + width] = g * gate * s;
            }
            close(
                "gated's gradient",
                &backend.gated_gradient(Activation::Silu, &grad, &halves).unwrap(),
                &want,
                2e-6,
            );
            let rms = each_row(&|row| {
                let square = row.iter().map(|x| x * x).sum::<f64>() / width as f64;
                (0..width).map(|i| row[i] / (square + 1e-5).sqrt() * w[i]).collect()
            });
            close("rms_norm", &backend.rms_norm(&x, &scale, 1e-5).unwrap(), &rms, 1e-5);
            let positions: Vec<usize> = (0..rows).map(|i| 2 * i).collect();
            let mut want = vec![0.0; 2 * rows * width];
            for (i, row) in values.chunks(width).enumerate() {
                want[2 * i * width..][..width].copy_from_slice(row);
            }
            close("scatter_rows", &backend.scatter_rows(&x, &positions, 2 * rows).unwrap(), &want, 0.0);
            if rows > 0 {
                let ids: Vec<i64> = (0..9).map(|i| (i * 5 % rows) as i64).collect();
                let half = x.to_dtype(DType::BF16).unwrap();
                let row = |values: &[f64], id: i64| values[id as usize * width..][..width].to_vec();
                let want: Vec<f64> = ids
                    .iter()
                    .flat_map(|&id| {
                        row(&values, id).into_iter().zip(row(&read(&half), id)).map(|(a, b)| a + b)
                    })
                    .collect();
                let there = on(&Tensor::from_slice(&ids, &[9]).unwrap());
                for first in [Ids::Here(&ids), Ids::There(&there)] {
                    let both = backend.embedding(&[(&x, first), (&half, Ids::Here(&ids))], dtype).unwrap();
                    close("embedding", &both, &want, 1e-6);
                }
                if x.device() != Device::Cpu {
                    let outside = on(&Tensor::from_slice(&[-1i64, rows as i64, i64::MAX], &[3]).unwrap());
                    let none = backend.embedding(&[(&x, Ids::There(&outside))], dtype).unwrap();
                    close("rows that are not there", &none, &vec![0.0; 3 * width], 0.0);
                }
            }
        }
    });
}

#[test]
fn rotations_steps_and_attention() {
    each(|backend, on| {
        let turning = numbers(3 * 2 * 5, DType::F32, 1).view(&[3, 2, 5]).unwrap();
        let (cos, sin) = (
            on(&numbers(6, DType::F32, 2).view(&[3, 2]).unwrap()),
            on(&numbers(6, DType::F32, 3).view(&[3, 2]).unwrap()),
        );
        let kinds = [DType::F32, DType::F16, DType::BF16].into_iter().filter(|&dtype| backend.takes(dtype));
        for (dtype, interleaved) in kinds.flat_map(|dtype| [(dtype, false), (dtype, true)]) {
            let x = on(&turning.to_dtype(dtype).unwrap());
            let (c, s) = (read(&cos), read(&sin));
            let turned: Vec<f64> = read(&x)
                .chunks(5)
                .enumerate()
                .flat_map(|(i, x)| {
                    let mut y = x.to_vec();
                    for pair in 0..2 {
                        let (a, b) = if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, pair + 2) };
                        let (c, s) = (c[i / 2 * 2 + pair], s[i / 2 * 2 + pair]);
                        (y[a], y[b]) = (x[a] * c - x[b] * s, x[b] * c + x[a] * s);
                    }
                    y
                })
                .collect();
            let out = on(&Tensor::zeros_of(x.shape(), dtype).unwrap());
            let angles = Angles { cos: &cos, sin: &sin, interleaved };
            backend.rope(&out, &x, angles).unwrap();
            close("rope", &out, &turned, tolerance(dtype));
            out.copy_(&x).unwrap();
            backend.rope(&out, &out, angles).unwrap();
            close("rope in place", &out, &turned, tolerance(dtype));
        }

        let (betas, eps, weight_decay) = ((0.5, 0.75), 1e-3, 0.5);
        let adam = Update::Adam { lr: 0.1, betas, eps, weight_decay, decoupled: true, step: 2 };
        for dtype in [DType::F32, DType::F64] {
            let [p, g, m] = [1, 2, 3].map(|seed| on(&numbers(1500, dtype, seed)));
            let v = on(&numbers(1500, dtype, 4).square().unwrap());
            let [p0, g0, m0, v0] = [&p, &g, &m, &v].map(read);
            let states = vec![Kept::Whole(&m), Kept::Whole(&v)];
            backend.update(&[Change { update: adam, parameter: &p, grad: &g, states }]).unwrap();
            let mean: Vec<f64> = m0.iter().zip(&g0).map(|(m, g)| 0.5 * m + 0.5 * g).collect();
            let square: Vec<f64> = v0.iter().zip(&g0).map(|(v, g)| 0.75 * v + 0.25 * g * g).collect();
            let want: Vec<f64> = (0..1500)
                .map(|i| {
                    let (m, v) = (mean[i] / (1.0 - 0.25), square[i] / (1.0 - 0.75f64.powi(2)));
                    p0[i] * (1.0 - 0.1 * 0.5) - 0.1 * m / (v.sqrt() + 1e-3)
                })
                .collect();
            close("adamw", &p, &want, tolerance(dtype) * 10.0);
            close("adamw's mean", &m, &mean, tolerance(dtype));
            close("adamw's square", &v, &square, tolerance(dtype));
        }

        let (heads, d) = (2, 5);
        let mut ragged = Ragged::default();
        [(70, 70), (3, 2), (2, 0)].into_iter().for_each(|(rows, keys)| ragged.push(rows, keys));
        let qkv = on(&numbers(75 * 3 * heads * d, DType::F32, 1).view(&[75, 3, heads, d]).unwrap());
        let [query, key, value] = [0, 1, 2].map(|i| qkv.select(1, i).unwrap());
        let attention =
            Attention { scale: 0.5, probabilities: true, ..Attention::new(&query, &key, &value, &ragged) };
        let context = on(&Tensor::zeros(&[75, heads * d]).unwrap());
        let probabilities = backend.attention(&context, &attention).unwrap();
        let values = read(&qkv);
        let at =
            |row: usize, which: usize, head: usize| &values[((row * 3 + which) * heads + head) * d..][..d];
        let mut want = vec![0.0; 75 * heads * d];
        for s in ragged.sequences() {
            for (row, head) in
                (s.start..s.start + s.rows).flat_map(|row| (0..heads).map(move |head| (row, head)))
            {
                let dot = |key: usize| {
                    at(row, 0, head).iter().zip(at(key, 1, head)).map(|(q, k)| q * k).sum::<f64>() * 0.5
                };
                let weights: Vec<f64> = (s.start..s.start + s.keys).map(|key| dot(key).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for (key, weight) in weights.iter().enumerate() {
                    for i in 0..d {
                        want[(row * heads + head) * d + i] += weight / sum * at(s.start + key, 2, head)[i];
                    }
                }
            }
        }
        close("attention", &context, &want, 1e-5);
        let shapes: Vec<Vec<usize>> = probabilities.unwrap().iter().map(|p| p.shape().to_vec()).collect();
        assert_eq!(shapes, [[2, 70, 70], [2, 3, 2], [2, 2, 0]]);
    });
}

#[test]
fn gradients_and_losses_in_one_pass() {
    each(|backend, on| {
        for (rows, width) in [(0, 5), (1, 1), (3, 7), (5, 65), (70, 1500)] {
            let shape = [rows, width];
            let draw = |seed| on(&numbers(rows * width, DType::F64, seed).view(&shape).unwrap());
            let (x, g) = (draw(1), draw(2));
            let (x_rows, g_rows) = (read(&x), read(&g));
            let row = |of: &[f64], r: usize| of[r * width..(r + 1) * width].to_vec();
            let log_sum = |r: usize| row(&x_rows, r).iter().map(|x| x.exp()).sum::<f64>().ln();
            let by_row = |f: &dyn Fn(usize) -> Vec<f64>| (0..rows).flat_map(f).collect::<Vec<f64>>();

            let y = by_row(&|r| row(&x_rows, r).iter().map(|x| (x - log_sum(r)).exp()).collect());
            for dtype in [DType::F32, DType::F64] {
                let as_dtype = |values: &[f64]| {
                    on(&Tensor::from_slice(values, &shape).unwrap().to_dtype(dtype).unwrap())
                };
                let want = by_row(&|r| {
                    let (g, y) = (row(&g_rows, r), row(&y, r));
                    let sum: f64 = g.iter().zip(&y).map(|(g, y)| g * y).sum();
                    g.iter().zip(&y).map(|(g, y)| y * (g - sum)).collect()
                });
                let got = backend.softmax_gradient(&as_dtype(&g_rows), &as_dtype(&y), false).unwrap();
                close("softmax_gradient", &got, &want, tolerance(dtype));
                let logs: Vec<f64> = y.iter().map(|y| y.ln()).collect();
                let want = by_row(&|r| {
                    let (g, y) = (row(&g_rows, r), row(&y, r));
                    let sum: f64 = g.iter().sum();
                    g.iter().zip(&y).map(|(g, y)| g - y * sum).collect()
                });
                let got = backend.softmax_gradient(&as_dtype(&g_rows), &as_dtype(&logs), true).unwrap();
                close("log_softmax_gradient", &got, &want, 10.0 * tolerance(dtype));
            }

            let single = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
            // The first row has no class.
            let class = |r: usize| if r == 0 { -1 } else { (r * 3 % width) as i64 };
            let classes =
                on(&Tensor::from_slice(&(0..rows).map(class).collect::<Vec<_>>(), &[rows]).unwrap());
            let each_row = on(&numbers(rows, DType::F32, 3));
            for smoothing in [0.0f32, 0.25] {
                let e = f64::from(smoothing);
                let wanted = |r: usize, c: usize| {
                    (1.0 - e) * f64::from(u8::from(class(r) == c as i64)) + e / width as f64
                };
                let loss = |r: usize| {
                    if class(r) < 0 {
                        return 0.0;
                    }
                    let x = row(&x_rows, r);
                    (0..width).map(|c| wanted(r, c) * (log_sum(r) - x[c])).sum()
                };
                let [got, sums] = backend.cross_entropy(&single(&x), &classes, smoothing).unwrap();
                close("cross_entropy", &got, &(0..rows).map(loss).collect::<Vec<_>>(), 1e-5);
                close("its log_sum", &sums, &(0..rows).map(log_sum).collect::<Vec<_>>(), 1e-5);
                let got = backend
                    .cross_entropy_gradient(&each_row, &single(&x), &classes, &sums, smoothing)
                    .unwrap();
                let g = read(&each_row);
                let want = by_row(&|r| {
                    let slope = |(c, y): (usize, f64)| {
                        if class(r) < 0 { 0.0 } else { g[r] * (y - wanted(r, c)) }
                    };
                    row(&y, r).into_iter().enumerate().map(slope).collect()
                });
                close("cross_entropy_gradient", &got, &want, 1e-5);
            }

            let weight = on(&numbers(width, DType::F32, 4));
            let (w, eps) = (read(&weight), 1e-5);
            let scale = |r: usize| {
                1.0 / (row(&x_rows, r).iter().map(|x| x * x).sum::<f64>() / width as f64 + eps).sqrt()
            };
            let gradient = |parameters| {
                backend.rms_norm_gradient(&single(&g), &single(&x), &weight, eps as f32, parameters).unwrap()
            };
            let [alone, none] = gradient(false);
            assert!(none.is_none());
            let [into_x, into_weight] = gradient(true).map(Option::unwrap);
            let want = by_row(&|r| {
                let (g, x, s) = (row(&g_rows, r), row(&x_rows, r), scale(r));
                let vn = (0..width).map(|c| g[c] * w[c] * x[c] * s).sum::<f64>() / width as f64;
                (0..width).map(|c| s * (g[c] * w[c] - x[c] * s * vn)).collect()
            });
            for into_x in [into_x, alone.unwrap()] {
                close("rms_norm_gradient", &into_x, &want, 1e-4);
            }
            let want: Vec<f64> = (0..width)
                .map(|c| (0..rows).map(|r| g_rows[r * width + c] * x_rows[r * width + c] * scale(r)).sum())
                .collect();
            close("its weight's", &into_weight, &want, 1e-4);

            for axes in [&[0usize][..], &[1], &[0, 1]] {
                for dtype in [DType::F32, DType::F64] {
                    let x = x.to_dtype(dtype).unwrap();
                    for x in [x.clone(), spread(&x)] {
                        let signed: Vec<isize> = axes.iter().map(|&axis| axis as isize).collect();
                        let wide = x.to_dtype(DType::F64).unwrap();
                        let far = wide.sub(&wide.mean(&signed, true).unwrap()).unwrap();
                        let want = far.square().unwrap().sum(&signed, false).unwrap();
                        let got = backend.spread(&x, axes).unwrap();
                        close("spread", &got, &read(&want), 10.0 * tolerance(dtype));
                    }
                }
            }
        }
    });
}

#[test]
fn what_is_dropped_is_a_function_of_seed_and_position() {
    each(|backend, on| {
        for dtype in FLOATS {
            for size in SIZES {
                let x = numbers(size, dtype, 1);
                let dropped = read(&backend.dropout(&on(&x), 0.25, (5, 100)).unwrap());
                let scaled = read(&x.to_dtype(DType::F64).unwrap().mul(1.0 / 0.75).unwrap());
                for (i, (got, kept)) in dropped.iter().zip(&scaled).enumerate() {
                    let is_near = (got - kept).abs() <= tolerance(dtype) * (1.0 + kept.abs());
                    assert!(*got == 0.0 || is_near, "{dtype}, element {i} of {size}: {got}, not {kept}");
                }
                // From the third group on, with the blocks that it takes.
                if size > 128 {
                    let later = on(&x.narrow(0, 128, size).unwrap().copy().unwrap());
                    assert_eq!(read(&backend.dropout(&later, 0.25, (5, 132)).unwrap()), dropped[128..]);
                }
            }
        }
    });
}

/// What a device has and the processor, whose results other tests compare with plain references, does in other ways.
#[test]
fn steps_are_those_of_the_processor() {
    let near = |what: &str, got: &Tensor, want: &Tensor, tolerance| close(what, got, &read(want), tolerance);
    for device in devices().into_iter().filter(|device| *device != Device::Cpu) {
        let on = |x: &Tensor| on(device, x);
        let gpu = on(&Tensor::zeros(&[1]).unwrap());
        let gpu = gpu.storage().backend();
        // Of activations and results: all are of one dtype, or results are wider.
        let kinds = [
            [DType::F32, DType::F32],
            [DType::F16, DType::F16],
            [DType::BF16, DType::BF16],
            [DType::BF16, DType::F32],
        ];
        for (rows, [own, made]) in [1, 3, 20].into_iter().flat_map(|rows| kinds.map(|kind| (rows, kind))) {
            let (inputs, outputs) = (64, 12);
            let make = |shape: &[usize], seed| {
                let count = shape.iter().product();
                numbers(count, DType::F32, seed).view(shape).unwrap().mul(0.25).unwrap()
            };
            let x = make(&[rows, inputs], 1).to_dtype(own).unwrap().to_dtype(DType::F32).unwrap();
            let matrix = make(&[outputs, inputs], 2);
            let turned = make(&[inputs, outputs], 3).mt().unwrap();
            let blocks = |format| Quantized::quantize(&matrix, format).unwrap();
            let weights: Vec<Vec<Matrix>> = vec![
                vec![matrix.clone().into()],
                vec![turned.into(), matrix.to_dtype(DType::F16).unwrap().into()],
                vec![
                    matrix.to_dtype(DType::BF16).unwrap().into(),
                    matrix.to_dtype(DType::F64).unwrap().into(),
                ],
                vec![blocks(BlockFormat::Q4_0).into()],
                vec![blocks(BlockFormat::Q8_0).into(), blocks(BlockFormat::Int8).into()],
            ];
            for parts in weights {
                let all = outputs * parts.len();
                let rounded = own != DType::F32
                    || parts.iter().any(|part| part.shape() != [outputs, inputs] || !is_single(part));
                let there = parts.iter().map(|part| match part {
                    Matrix::Dense(tensor) => Matrix::Dense(on_strided(tensor, device)),
                    Matrix::Quantized(blocks) => Matrix::Quantized(blocks.to_device(device).unwrap()),
                });
                let there = Weight::new(there.collect::<Vec<_>>()).unwrap();
                let here = Weight::new(parts.clone()).unwrap();
                let (bias, scale, residual) = (make(&[all], 4), make(&[inputs], 5), make(&[rows, all], 6));
                let as_made = |x: &Tensor| on(&x.to_dtype(made).unwrap());
                let (scale_there, residual_there) = (on(&scale), as_made(&residual));
                let bias_there = if rows == 3 { on(&bias) } else { as_made(&bias) };
                let x_there = on(&x.to_dtype(own).unwrap());
                let thens = [
                    (Then::Activate(Activation::Relu), Then::Activate(Activation::Relu), all),
                    (Then::Activate(Activation::GeluTanh), Then::Activate(Activation::GeluTanh), all),
                    (Then::Gate(Activation::Silu), Then::Gate(Activation::Silu), all / 2),
                    (Then::Add(&residual), Then::Add(&residual_there), all),
                ];
                for (then, then_there, width) in thens {
                    let norm = Some(Norm::Rms { weight: &scale, eps: 1e-5 });
                    let norm_there = Some(Norm::Rms { weight: &scale_there, eps: 1e-5 });
                    let want = Tensor::zeros(&[rows, width]).unwrap();
                    let step =
                        LinearStep { x: &x, norm, weight: &here, bias: Some(&bias), then, dtype: None };
                    cpu().linear(&want, &step).unwrap();
                    let got = as_made(&Tensor::zeros(&[rows, width]).unwrap());
                    let step = LinearStep {
                        x: &x_there,
                        norm: norm_there,
                        weight: &there,
                        bias: Some(&bias_there),
                        then: then_there,
                        dtype: None,
                    };
                    gpu.linear(&got, &step).unwrap();
                    near("a step", &got, &want, if rounded { 2e-2 } else { 2e-5 });
                }
            }
        }
    }
}

/// Another library may have chosen a device for a thread, and knows of no other way to find it again.
#[test]
fn a_thread_keeps_its_device() {
    if !cuda::is_available() {
        return;
    }
    let current = || ctx::get_current().unwrap().map_or(0, |context| context as usize);
    let work = |index| {
        let x = Tensor::ones(&[2, 3], DType::F32).unwrap().to_device(Device::Cuda(index)).unwrap();
        let product = x.matmul(&x.mt().unwrap()).unwrap().add(&x.narrow(1, 0, 2).unwrap()).unwrap();
        assert_eq!(read(&product), [4.0; 4]);
    };
    // SAFETY: it is not released.
    let of = |index: usize| unsafe { primary_ctx::retain(device::get(index as i32).unwrap()).unwrap() };
    assert_eq!(current(), 0);
    for index in (0..cuda::count().unwrap()).rev() {
        work(index);
        // The first is that of every thread that has chosen none.
        assert_eq!(current(), if index == 0 { of(0) as usize } else { 0 });
    }
    for index in 0..cuda::count().unwrap() {
        let chosen = of(index) as usize;
        // SAFETY: a primary context, as above.
        unsafe { ctx::set_current(of(index)).unwrap() };
        for other in 0..cuda::count().unwrap() {
            work(other);
            assert_eq!(current(), chosen);
        }
    }
}

/// Few rows may meet a matrix as it is read in pieces of 16 bytes, and must not where it does not lie so.
#[test]
fn few_rows_meet_what_lies_anywhere() {
    for device in devices().into_iter().filter(|device| *device != Device::Cpu) {
        for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F16, 4e-3), (DType::BF16, 3e-2)] {
            let [x, weight] = [(5, 1), (9, 2)]
                .map(|(rows, seed)| numbers(rows * 96, dtype, seed).view(&[rows, 96]).unwrap());
            let [on_x, on_weight] = [&x, &weight].map(|x| on(device, x));
            for (rows, from, to) in [(1, 0, 96), (3, 16, 80), (4, 1, 65), (1, 16, 81), (2, 2, 34), (5, 0, 96)]
            {
                let product = |x: &Tensor, weight: &Tensor| {
                    let part = weight.narrow(1, from, to).unwrap();
                    x.narrow(0, 0, rows)
                        .unwrap()
                        .narrow(1, from, to)
                        .unwrap()
                        .matmul(&part.mt().unwrap())
                        .unwrap()
                };
                let want = product(&x, &weight);
                close(
                    &format!("{dtype} {rows} {from}"),
                    &product(&on_x, &on_weight),
                    &read(&want),
                    tolerance,
                );
            }
        }
    }
}

/// Blocks are read in pieces, too, and rows of vectors in whole ones.
#[test]
fn few_rows_meet_blocks_that_lie_anywhere() {
    for device in devices().into_iter().filter(|device| *device != Device::Cpu) {
        for (format, columns) in [
            (BlockFormat::Q4_1, 64),
            (BlockFormat::Q8_0, 96),
            (BlockFormat::Int8, 96),
            (BlockFormat::Int8, 83),
            (BlockFormat::Q4_0, 0),
        ] {
            let [x, weight] = [(3, 1), (9, 2)].map(|(rows, seed)| {
                numbers(rows * columns, DType::F32, seed).view(&[rows, columns]).unwrap()
            });
            let here = Quantized::quantize(&weight, format).unwrap();
            let bytes = here.blocks().unwrap().view(&[here.nbytes()]).unwrap();
            let before = Tensor::zeros(&[3]).unwrap().to_dtype(DType::U8).unwrap();
            let shifted = on(device, &Tensor::cat(&[&before, &bytes], 0).unwrap());
            let shifted = shifted.narrow(0, 3, 3 + here.nbytes()).unwrap();
            let there = Quantized::new(format, shifted, *here.shape()).unwrap();
            close("rows", &there.dequantize().unwrap(), &read(&here.dequantize().unwrap()), 1e-6);
            let product = |x: &Tensor, weight: Quantized| {
                let out = Tensor::full(&[3, 9], 7.0, DType::F32).unwrap().to_device(x.device()).unwrap();
                let weight = Weight::new([weight]).unwrap();
                let then = Then::Activate(Activation::Identity);
                let step = LinearStep { x, norm: None, weight: &weight, bias: None, then, dtype: None };
                out.storage().backend().linear(&out, &step).unwrap();
                out
            };
            let on_x = on(device, &x);
            close(&format!("{format} {columns}"), &product(&on_x, there), &read(&product(&x, here)), 2e-2);
        }
    }
}

fn is_single(part: &Matrix) -> bool {
    part.dense().is_some_and(|part| part.dtype() == DType::F32)
}

/// `x` on `device` with its strides, if it is a turned matrix.
fn on_strided(x: &Tensor, device: Device) -> Tensor {
    if x.is_contiguous() {
        x.to_device(device).unwrap()
    } else {
        x.mt().unwrap().to_device(device).unwrap().mt().unwrap()
    }
}

fn cpu() -> &'static dyn Backend {
    static ANY: OnceLock<Tensor> = OnceLock::new();
    ANY.get_or_init(|| Tensor::zeros(&[1]).unwrap()).storage().backend()
}

#[test]
fn attention_is_that_of_the_processor() {
    for device in devices().into_iter().filter(|device| *device != Device::Cpu) {
        let (heads, kv_heads, d) = (4, 2, 16);
        let single: &[(usize, usize)] = &[(1, 40), (1, 1), (1, 300)];
        for lengths in [&[(70, 70), (3, 20), (2, 0), (20, 5)][..], single] {
            let mut ragged = Ragged::default();
            let mut keys = 0;
            for &(rows, count) in lengths {
                ragged.push_at(rows, keys, count);
                keys += count + 3;
            }
            let rows = ragged.total();
            let query = numbers(rows * heads * d, DType::F32, 1).view(&[rows, heads, d]).unwrap();
            let x = numbers(keys * kv_heads * d, DType::F32, 2).view(&[keys, kv_heads, d]).unwrap();
            let places: Places = (0..keys).map(|row| [row, row]).collect();
            let forms = [StoreForm::F32, StoreForm::F16, StoreForm::Int8];
            let kinds = [DType::F32, DType::F16, DType::BF16];
            for (form, own) in forms.into_iter().flat_map(|form| kinds.map(|own| (form, own))) {
                let query = query.to_dtype(own).unwrap();
                let stores = [Device::Cpu, device].map(|device| {
                    let store = form.zeros(keys, kv_heads, d, device).unwrap();
                    let x = on(device, &x);
                    store_rows([&store, &x], [&store, &x], &places).unwrap();
                    store
                });
                close("a store", &stores[1], &read(&stores[0]), 0.0);
                for mask in [
                    Mask::default(),
                    Mask { causal: true, window: None },
                    Mask { causal: true, window: Some(7) },
                    Mask { causal: false, window: Some(3) },
                ] {
                    let [want, got] =
                        [(Device::Cpu, &stores[0]), (device, &stores[1])].map(|(device, store)| {
                            let taken = if device == Device::Cpu { DType::F32 } else { own };
                            let query = on(device, &query.to_dtype(taken).unwrap());
                            let attention =
                                Attention { mask, ..Attention::new(&query, store, store, &ragged) };
                            attention.run().unwrap().context
                        });
                    // Products of 16 bits have keys, weights and values rounded to them.
                    let near = if own == DType::F32 { 2e-5 } else { 2.0 * tolerance(own) };
                    assert_eq!(got.dtype(), own);
                    close(&format!("{form:?} {own} {mask:?}"), &got, &read(&want), near);
                }
            }
        }
    }
}
