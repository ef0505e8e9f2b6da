//! Order, running joins and where flags hold: rows from one element to more than a block, and than a GPU takes at once.

use trustformers_tensor::ops::ReduceOp;
use trustformers_tensor::{DType, Generator, Tensor};

use crate::{FLOATS, REAL, close, each, read, spread, tolerance};

/// Whole numbers, of which many are equal and some the greatest and least of their type; for floats NaN, both zeros and infinities among them.
fn drawn(shape: &[usize], dtype: DType, seed: u64) -> Tensor {
    let x = Generator::new(seed).integers(-60, 60, shape).unwrap();
    if !dtype.is_float() {
        let far = x.eq(7i64).unwrap();
        // Wraps to the greatest of what has no sign.
        let x = Tensor::select_where(&far, &Tensor::full(&[1], i64::MIN, DType::I64).unwrap(), &x).unwrap();
        return x.to_dtype(dtype).unwrap();
    }
    let special = [f64::NAN, -f64::NAN, -0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY, 0.1];
    let value = |&x: &i64| usize::try_from(x).ok().and_then(|x| special.get(x).copied()).unwrap_or(x as f64);
    let values: Vec<f64> = x.as_slice::<i64>().unwrap().iter().map(value).collect();
    Tensor::from_slice(&values, shape).unwrap().to_dtype(dtype).unwrap()
}

/// Numbers that are ordered as the elements of `x` are, NaN behind all.
fn ranks(x: &Tensor) -> Vec<i128> {
    let x = x.to_host().unwrap().contiguous().unwrap();
    if x.dtype().is_float() {
        // Whole numbers and tenths.
        let rank = |x: f64| if x.is_nan() { i128::MAX } else { (x.clamp(-1e9, 1e9) * 1e3) as i128 };
        return read(&x).into_iter().map(rank).collect();
    }
    let is_unsigned = x.dtype() == DType::U64;
    let whole = x.to_dtype(DType::I64).unwrap();
    let rank = |&x: &i64| if is_unsigned { i128::from(x as u64) } else { i128::from(x) };
    whole.as_slice::<i64>().unwrap().iter().map(rank).collect()
}

#[test]
fn order_is_stable_and_knows_every_number() {
    // One element, part of a block, a whole one, one more, the first few of more than a block sorts, and several tiles, one not whole.
    let sizes =
        [(1, 1, 1), (3, 7, 7), (5, 33, 4), (70, 100, 100), (2, 2048, 2048), (2, 2049, 2049), (3, 2500, 10)];
    let longer = [(2, 9000, 9000), (2, 9000, 2048), (1, 9000, 2049)];
    each(|backend, on| {
        for dtype in REAL {
            let is_narrow = !matches!(dtype, DType::F32 | DType::F64 | DType::I64);
            for (rows, size, count) in sizes.into_iter().chain(longer) {
                if size > 4096 && is_narrow {
                    continue;
                }
                let x = on(&drawn(&[rows, size], dtype, (rows + size) as u64));
                let ranks = ranks(&x);
                for descending in [false, true] {
                    let order = |row: usize| {
                        let row = &ranks[row * size..][..size];
                        let mut order: Vec<usize> = (0..size).collect();
                        order.sort_by(
                            |&a, &b| if descending { row[b].cmp(&row[a]) } else { row[a].cmp(&row[b]) },
                        );
                        order.into_iter().take(count).map(|at| at as f64).collect::<Vec<_>>()
                    };
                    let want: Vec<f64> = (0..rows).flat_map(order).collect();
                    let what = format!("order of {rows} x {size} {dtype}, {count}, {descending}");
                    close(&what, &backend.order(&x, count, descending).unwrap(), &want, 0.0);
                    let turned = x.mt().unwrap().copy().unwrap().mt().unwrap();
                    close(&what, &backend.order(&turned, count, descending).unwrap(), &want, 0.0);
                }
            }
        }
        // So long that the first few are taken from a whole sort, and a row of many tiles.
        for (size, count) in [((1 << 18) + 5, 3), (100_000, 100_000)] {
            let x = on(&Generator::new(3).uniform(&[size], DType::F32).unwrap());
            let values = read(&x);
            let mut want: Vec<usize> = (0..size).collect();
            want.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
            let want: Vec<f64> = want.into_iter().take(count).map(|at| at as f64).collect();
            close("a long row", &backend.order(&x, count, true).unwrap(), &want, 0.0);
        }
        let none = on(&Tensor::zeros(&[0, 3]).unwrap());
        assert_eq!(backend.order(&none, 2, false).unwrap().shape(), [0, 2]);
        assert_eq!(backend.order(&on(&Tensor::zeros(&[2, 0]).unwrap()), 0, false).unwrap().shape(), [2, 0]);
    });
}

#[test]
fn what_is_joined_up_to_each_element() {
    let shapes = [[1usize, 1], [3, 7], [2, 2048], [2, 2049], [300, 100], [2, 20_001], [1, 70_001]];
    each(|backend, on| {
        for dtype in FLOATS.into_iter().chain([DType::I64, DType::U64, DType::I16, DType::Bool]) {
            for [rows, size] in shapes {
                // Sums of 16 bits are soon beyond what they hold.
                if size > 3000 && !matches!(dtype, DType::F32 | DType::F64 | DType::I64) {
                    continue;
                }
                let least = if matches!(dtype, DType::U64 | DType::Bool) { 0 } else { -2 };
                let small = Generator::new(size as u64).integers(least, 3, &[rows, size]).unwrap();
                let (x, to) = match dtype.is_float() {
                    true => (
                        small.to_dtype(DType::F64).unwrap().mul(0.25).unwrap().to_dtype(dtype).unwrap(),
                        dtype,
                    ),
                    false => (small.to_dtype(dtype).unwrap(), DType::I64),
                };
                let x = on(&x);
                let values = read(&x);
                for op in [ReduceOp::Sum, ReduceOp::SumSquares, ReduceOp::Max, ReduceOp::Min] {
                    let join = |a: f64, x: f64| match op {
                        ReduceOp::Max => a.max(x),
                        ReduceOp::Min => a.min(x),
                        ReduceOp::SumSquares => a + x * x,
                        _ => a + x,
                    };
                    let start = match op {
                        ReduceOp::Max => f64::NEG_INFINITY,
                        ReduceOp::Min => f64::INFINITY,
                        _ => 0.0,
                    };
                    let running = |row: &[f64]| {
                        let mut all = start;
                        row.iter()
                            .map(|&x| {
                                all = join(all, x);
                                all
                            })
                            .collect::<Vec<_>>()
                    };
                    let want: Vec<f64> = values.chunks(size).flat_map(running).collect();
                    for x in [x.clone(), spread(&x)] {
                        let got = backend.scan(op, &x, to).unwrap();
                        let what = format!("running {} of {rows} x {size} {dtype}", op.name());
                        close(&what, &got, &want, tolerance(to) * 2.0);
                    }
                }
            }
        }
        let x = on(&Tensor::from_slice(&[1f32, f32::NAN, 3.0, 0.5], &[4]).unwrap());
        let nan = f64::NAN;
        close(
            "running max",
            &backend.scan(ReduceOp::Max, &x, DType::F32).unwrap(),
            &[1.0, nan, nan, nan],
            0.0,
        );
        close(
            "running min",
            &backend.scan(ReduceOp::Min, &x, DType::F32).unwrap(),
            &[1.0, nan, nan, nan],
            0.0,
        );
        // Products wrap.
        let threes = on(&Tensor::full(&[9000], 3i64, DType::I64).unwrap());
        let mut product = 1i64;
        let want: Vec<i64> = (0..9000)
            .map(|_| {
                product = product.wrapping_mul(3);
                product
            })
            .collect();
        let got = backend.scan(ReduceOp::Prod, &threes, DType::I64).unwrap().to_host().unwrap();
        assert_eq!(got.as_slice::<i64>().unwrap(), want);
        assert_eq!(
            backend.scan(ReduceOp::Sum, &on(&Tensor::zeros(&[2, 0]).unwrap()), DType::F32).unwrap().shape(),
            [2, 0]
        );
    });
}

#[test]
fn where_flags_hold() {
    each(|backend, on| {
        for shape in [&[][..], &[1], &[65], &[70_001], &[3, 1, 50], &[40, 300, 2], &[2, 0, 3]] {
            for below in [0, 1, 5, 10] {
                let flags = Generator::new(7).integers(0, 10, shape).unwrap().lt(below as i64).unwrap();
                let flags = on(&flags);
                let turned = match shape.len() {
                    0 => flags.clone(),
                    _ => flags.movedim(0, -1).unwrap().copy().unwrap().movedim(-1, 0).unwrap(),
                };
                let place = |mut index: usize| {
                    let mut place = vec![0.0; shape.len()];
                    for (to, size) in place.iter_mut().zip(shape).rev() {
                        *to = (index % size) as f64;
                        index /= size;
                    }
                    place
                };
                let held = read(&flags);
                let found: Vec<usize> = (0..held.len()).filter(|&at| held[at] != 0.0).collect();
                let want: Vec<f64> = found.iter().flat_map(|&index| place(index)).collect();
                for flags in [&flags, &turned] {
                    let got = backend.nonzero(flags).unwrap();
                    assert_eq!(got.shape(), [found.len(), shape.len()]);
                    close("nonzero", &got, &want, 0.0);
                }
            }
        }
    });
}
