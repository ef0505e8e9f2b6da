//! Softmax, norms, losses: whatever works row by row.

use trustformers_tensor::{DType, Tensor};

use crate::device::{Memory, Module};
use crate::geometry::{columns, rows};
use crate::{FLOATS, close, cpu, draw, launch, name, single, tolerance};

/// No rows, one element, rows narrower than a warp, as wide, of one block and of more elements than threads.
const SHAPES: [(usize, usize); 9] =
    [(0, 4), (1, 1), (3, 7), (9, 32), (20, 65), (3, 776), (3, 777), (2, 5003), (2, 17_000)];

#[test]
fn softmax_and_its_gradient() {
    for dtype in [DType::F32, DType::F16, DType::BF16, DType::F64] {
        let module = Module::new("softmax", &[&format!("T={}", name(dtype))]);
        let wide = if dtype == DType::F64 { dtype } else { DType::F32 };
        for (count, width) in SHAPES {
            let shape = [count, width];
            let (x, g) = (draw(&shape, (-9.0, 9.0), dtype, 1), draw(&shape, (-1.0, 1.0), dtype, 2));
            if width > 7 && count > 2 {
                // Hidden elements, as masks have them.
                x.narrow(1, 2, 6)
                    .unwrap()
                    .copy_(&Tensor::full(&[1], f64::NEG_INFINITY, dtype).unwrap())
                    .unwrap();
            }
            for log in [false, true] {
                let out = Memory::new(x.numel() * dtype.size());
                let (rows_, width_) = (count as i64, width as i32);
                launch!(
                    module,
                    "softmax",
                    rows(count, width),
                    [&out, &Memory::of(&x), rows_, width_, i32::from(log)]
                );
                let want = cpu().softmax(&x.to_dtype(wide).unwrap(), log).unwrap();
                let y = out.tensor(&shape, dtype);
                close(&format!("softmax {dtype} {shape:?} {log}"), &y, &want, tolerance(dtype));

                let y = draw(&shape, (-3.0, -0.5), dtype, 3);
                let y = if log { y } else { y.exp().unwrap() };
                let out = Memory::new(x.numel() * dtype.size());
                launch!(
                    module,
                    "softmax_gradient",
                    rows(count, width),
                    [&out, &Memory::of(&g), &Memory::of(&y), rows_, width_, i32::from(log)]
                );
                let [g, y] = [&g, &y].map(|x| x.to_dtype(wide).unwrap());
                let want = cpu().softmax_gradient(&g, &y, log).unwrap();
                let what = format!("softmax_gradient {dtype} {shape:?} {log}");
                close(&what, &out.tensor(&shape, dtype), &want, 20.0 * tolerance(dtype));
            }
        }
    }
}

#[test]
fn norms_and_their_gradients() {
    for dtype in FLOATS {
        for parameters in [dtype, DType::F32] {
            let module =
                Module::new("norm", &[&format!("T={}", name(dtype)), &format!("P={}", name(parameters))]);
            for (count, width) in SHAPES {
                norm(&module, dtype, parameters, count, width);
            }
            if parameters == DType::F32 && dtype == DType::F32 {
                break;
            }
        }
    }
}

fn norm(module: &Module, dtype: DType, parameters: DType, count: usize, width: usize) {
    let (shape, eps) = ([count, width], 1e-5f32);
    // Far from zero, where a variance from squares would have no digits left.
    let x = draw(&shape, (20.0, 24.0), dtype, 1);
    let (r, g) = (draw(&shape, (-1.0, 1.0), dtype, 2), draw(&shape, (-1.0, 1.0), dtype, 3));
    let weight = draw(&[width], (0.5, 1.5), parameters, 4);
    let bias = draw(&[width], (-1.0, 1.0), parameters, 5);
    let (many, wide, of) = (count as i64, width as i32, |x: &Tensor| Memory::of(x));
    let fresh = || Memory::new(count * width * dtype.size());
    let (w, b) = (of(&weight), of(&bias));
    let what = |op: &str| format!("{op} {dtype} {parameters} {shape:?}");
    // The wider the row, the more its sums are off.
    let near = tolerance(dtype) * 4.0;
    let sum = single(&x).add(&single(&r)).unwrap().to_dtype(dtype).unwrap();

    for with in [false, true] {
        let residual = with.then(|| of(&r));
        let h = if with { single(&sum) } else { single(&x) };
        let (out, kept) = (fresh(), fresh());
        let at = rows(count, width);
        launch!(
            module,
            "layer_norm",
            at,
            [&out, &kept, &of(&x), residual.as_ref(), &w, with.then_some(&b), many, wide, eps]
        );
        let wide_bias = single(&bias);
        let want = cpu().layer_norm(&h, None, &single(&weight), with.then_some(&wide_bias), eps).unwrap();
        close(&what("layer_norm"), &out.tensor(&shape, dtype), &want, near);
        if with {
            close(&what("sum"), &kept.tensor(&shape, dtype), &sum, 0.0);
        }
        let out = fresh();
        launch!(module, "rms_norm", at, [&out, &kept, &of(&x), residual.as_ref(), &w, many, wide, eps]);
        let want = cpu().rms_norm(&h, &single(&weight), eps).unwrap();
        close(&what("rms_norm"), &out.tensor(&shape, dtype), &want, near);
    }

    for (op, centred) in [("layer_norm_gradient", true), ("rms_norm_gradient", false)] {
        let (out, scales) = (fresh(), Memory::new(count * 8));
        let (g_at, h_at) = (of(&g), of(&x));
        launch!(module, op, rows(count, width), [&out, &scales, &g_at, &h_at, &w, many, wide, eps]);
        let (g, h, weight) = (single(&g), single(&x), single(&weight));
        let [into_h, into_weight, into_bias] = if centred {
            cpu().layer_norm_gradient(&g, &h, &weight, eps, true).unwrap()
        } else {
            let [x, weight] = cpu().rms_norm_gradient(&g, &h, &weight, eps, true).unwrap();
            [x, weight, None]
        };
        close(&what(op), &out.tensor(&shape, dtype), &into_h.unwrap(), near * 4.0);

        let (at, share) = columns(count, width);
        let shares = at.grid[1] as usize;
        let [weights, biases] = [(); 2].map(|()| Memory::new(shares * width * 4));
        launch!(
            module,
            "norm_parameter_gradients",
            at,
            [&weights, centred.then_some(&biases), &scales, &g_at, &h_at, many, wide, share as i64]
        );
        let total = |sums: &Memory| sums.tensor(&[shares, width], DType::F32).sum(&[0], false).unwrap();
        close(&what("its weight's"), &total(&weights), &into_weight.unwrap(), 2e-4);
        if let Some(into_bias) = into_bias {
            close(&what("its bias's"), &total(&biases), &into_bias, 1e-5);
        }
    }
}

#[test]
fn cross_entropy_and_its_gradient() {
    for dtype in FLOATS {
        let module = Module::new("loss", &[&format!("T={}", name(dtype))]);
        for (count, width) in SHAPES {
            let shape = [count, width];
            let x = draw(&shape, (-9.0, 9.0), dtype, 1);
            if width > 7 {
                x.narrow(1, 2, 6).unwrap().fill_(f64::NEG_INFINITY).unwrap();
            }
            // The first row has no class, the others one that is not hidden.
            let class = |row: usize| if row == 0 { -1 } else { (width - 1 - row % width.min(2)) as i64 };
            let classes: Vec<i64> = (0..count).map(class).collect();
            let classes = Tensor::from_slice(&classes, &[count]).unwrap();
            let g = draw(&[count], (-1.0, 1.0), DType::F32, 2);
            for smoothing in [0.0f32, 0.25] {
                // The mean of hidden logits is no number.
                if smoothing > 0.0 && width > 7 {
                    continue;
                }
                let (loss, sums) = (Memory::new(count * 4), Memory::new(count * 4));
                let (x_at, classes_at) = (Memory::of(&x), Memory::of(&classes));
                let (at, many, wide) = (rows(count, width), count as i64, width as i32);
                launch!(
                    module,
                    "cross_entropy",
                    at,
                    [&loss, &sums, &x_at, &classes_at, many, wide, smoothing]
                );
                let [want, want_sums] = cpu().cross_entropy(&single(&x), &classes, smoothing).unwrap();
                close("cross_entropy", &loss.tensor(&[count], DType::F32), &want, 1e-5);
                close("log_sum", &sums.tensor(&[count], DType::F32), &want_sums, 1e-5);

                let out = Memory::new(x.numel() * dtype.size());
                launch!(
                    module,
                    "cross_entropy_gradient",
                    at,
                    [&out, &Memory::of(&g), &x_at, &classes_at, &sums, many, wide, smoothing]
                );
                let want =
                    cpu().cross_entropy_gradient(&g, &single(&x), &classes, &want_sums, smoothing).unwrap();
                close("its gradient", &out.tensor(&shape, dtype), &want, tolerance(dtype));
            }
        }
    }
}
