//! Matrices in blocks, optimizers, lookups and stores.

use trustformers_tensor::ops::{Ids, StoreForm, Update, rope, store_rows, stored_rows};
use trustformers_tensor::{Activation, BlockFormat, DType, Device, Generator, Quantized, Tensor, ops};

use crate::arguments::{ACTIVATIONS, Angles, Part, code, place_in, rule};
use crate::device::{Argument, Memory, Module};
use crate::geometry::{self, Geometry, STREAMED, elements, rows, sharing, stream, stream_turned};
use crate::{FLOATS, close, cpu, draw, launch, name, numbers, single, tolerance};

/// Random blocks: any bytes are valid codes, but scales must be numbers.
fn blocks(format: BlockFormat, shape: [usize; 2]) -> Quantized {
    let row_bytes = format.row_bytes(shape[1]).unwrap();
    let x = draw(&[shape[0], shape[1]], (-1.0, 1.0), DType::F32, 1);
    if let Ok(quantized) = Quantized::quantize(&x, format) {
        return quantized;
    }
    let random = Generator::new(5).integers(0, 256, &[shape[0] * row_bytes]).unwrap();
    let mut bytes: Vec<u8> = numbers(&random).into_iter().map(|x| x as u8).collect();
    let scales: &[usize] = match format {
        BlockFormat::Q2K => &[80, 82],
        BlockFormat::Q3K => &[108],
        BlockFormat::Q4K | BlockFormat::Q5K => &[0, 2],
        _ => &[208],
    };
    for block in bytes.chunks_exact_mut(format.block_bytes()) {
        for &at in scales {
            // Between 2⁻⁷ and 2⁻³, of either sign.
            block[at + 1] = (block[at + 1] & 0x80) | (0x20 + block[at + 1] % 16);
        }
    }
    let bytes = Tensor::from_slice(&bytes, &[bytes.len()]).unwrap();
    Quantized::new(format, bytes, shape).unwrap()
}

#[test]
fn matrices_in_blocks() {
    for &format in BlockFormat::ALL {
        let macro_of = format!("FORMAT={}", format.name());
        // One block or little more, and so much that a warp goes on, and shares a row with others.
        let wide = [2 * format.block_elements().max(64), 2304];
        let wide = if format == BlockFormat::Int8 { [83, 1104] } else { wide };
        for ((dtype, vectors), columns) in [(DType::F32, 1), (DType::BF16, 5)]
            .into_iter()
            .flat_map(|case| wide.map(move |wide| (case, wide)))
        {
            let (count, row_bytes) = (9, format.row_bytes(columns).unwrap() as i64);
            let matrix = blocks(format, [count, columns]);
            let bytes = Memory::of(&matrix.blocks().unwrap());
            let group = format!("VECTORS={}", sharing(vectors));
            let module = Module::new("quant", &[&format!("T={}", name(dtype)), &macro_of, &group]);
            let ids = [3i64, 0, 8, 3];
            let out = Memory::new(4 * columns * dtype.size());
            let at = elements(4 * columns, 32);
            let (ids_at, wide) = (Memory::of_slice(&ids), columns as i32);
            launch!(module, "dequantize", at, [&out, &bytes, &ids_at, 4i64, wide, row_bytes]);
            let want = matrix.rows(&ids).unwrap();
            close(&format!("{format} rows"), &out.tensor(&[4, columns], dtype), &want, tolerance(dtype));
            let out = Memory::new(count * columns * dtype.size());
            launch!(module, "dequantize", at, [&out, &bytes, None, count as i64, wide, row_bytes]);
            let all = matrix.dequantize().unwrap();
            close(&format!("{format}"), &out.tensor(&[count, columns], dtype), &all, tolerance(dtype));

            let x = draw(&[vectors, columns], (-1.0, 1.0), dtype, 2);
            let (bias, add) =
                (draw(&[count], (-1.0, 1.0), dtype, 3), draw(&[vectors, count], (-1.0, 1.0), dtype, 4));
            let behind =
                Tensor::full(&[vectors, columns.next_multiple_of(32) - columns], 0.0, dtype).unwrap();
            let x_at = Memory::of(&Tensor::cat(&[&x, &behind], 1).unwrap());
            let product = single(&x).matmul(&all.mt().unwrap()).unwrap();
            for (processors, is_more) in [(0, false), (132, true)] {
                // Results lie apart.
                let more = 3;
                let apart = Tensor::full(&[vectors, more], 0.5, dtype).unwrap();
                let out = Memory::of(&Tensor::cat(&[&add, &apart], 1).unwrap());
                let bias_at = Memory::of(&bias);
                let activation = if is_more { Activation::GeluTanh } else { Activation::Identity };
                launch!(
                    module,
                    "gemv",
                    geometry::blocks(count, vectors, columns, processors),
                    [
                        &out,
                        (count + more) as i64,
                        &x_at,
                        &bytes,
                        is_more.then_some(&bias_at),
                        is_more.then_some(&out),
                        place_in(&ACTIVATIONS, activation),
                        count as i64,
                        wide,
                        row_bytes,
                        vectors as i32
                    ]
                );
                let mut want = product.clone();
                if is_more {
                    want = want.add(&single(&bias)).unwrap().add(&single(&add)).unwrap();
                }
                let want = activation.apply(&want).unwrap();
                let got = out.tensor(&[vectors, count + more], dtype);
                let what = format!("{format} {dtype} gemv of {columns}");
                close(&what, &got.narrow(1, 0, count).unwrap(), &want, 4.0 * tolerance(dtype));
                close(&what, &got.narrow(1, count, count + more).unwrap(), &apart, 0.0);
            }
        }
    }
}

/// A norm as kernels take it: its kind, and in which dtype its parameters are.
fn norm_of(kind: i32, weight: &Memory, bias: Option<&Memory>, dtype: DType) -> Argument {
    let mut bytes = weight.address().to_le_bytes().to_vec();
    bytes.extend(bias.map_or(0, Memory::address).to_le_bytes());
    bytes.extend(kind.to_le_bytes());
    bytes.extend(i32::from(dtype == DType::F32).to_le_bytes());
    bytes.extend(1e-3f32.to_le_bytes());
    bytes.resize(32, 0);
    Argument::of_bytes(bytes)
}

/// Rows that lie apart, and what follows their ends is not a number.
fn apart(x: &Tensor, gap: usize) -> Tensor {
    let between = Tensor::full(&[x.shape()[0], gap], f64::NAN, x.dtype()).unwrap();
    Tensor::cat(&[x, &between], 1).unwrap()
}

#[test]
fn matrices_of_floats() {
    let pairs = [
        (DType::F32, DType::F32),
        (DType::F16, DType::F16),
        (DType::F16, DType::F32),
        (DType::BF16, DType::BF16),
        (DType::BF16, DType::F32),
    ];
    // One piece, less than what a warp reads at once, a little more, and so much that a row is shared; on a GPU that has enough of these rows, and on
    // one that has not.
    let shapes = [(8, 8), (24, 504), (16, 2056), (8, 4608)];
    let every = pairs.into_iter().flat_map(|pair| (1..=STREAMED).map(move |n| (pair, n)));
    for (draw_of, ((dtype, made), vectors)) in every.enumerate() {
        let of = [format!("T={}", name(dtype)), format!("OUT={}", name(made)), format!("VECTORS={vectors}")];
        let module = Module::new("gemv", &of.each_ref().map(String::as_str));
        let cases = shapes.into_iter().flat_map(|shape| [false, true].map(|is_turned| (shape, is_turned)));
        for (case, ((whole, depth), is_turned)) in cases.enumerate() {
            let case = case + draw_of;
            // Rows, unlike columns, need not be whole pieces; halves of them are gates.
            let is_gated = !is_turned && case % 4 == 0;
            let count = if is_turned { whole } else { whole - [1, 2][usize::from(is_gated)] };
            let (gap, more) = (16 / dtype.size(), 3);
            let x = draw(&[vectors, depth], (-1.0, 2.0), dtype, 1);
            let matrix = draw(&[count, depth], (-1.0, 1.0), dtype, 2);
            let results = if is_gated { count / 2 } else { count };
            let bias = draw(&[count], (-1.0, 1.0), made, 3);
            let add = draw(&[vectors, results], (-1.0, 1.0), made, 4);
            let (is_biased, is_added) = ((case + vectors) % 2 == 0, !is_gated && (case + vectors) % 3 > 0);
            let activation = ACTIVATIONS[case % ACTIVATIONS.len()];
            // Weights of a norm are of either dtype.
            let (kind, of_norm) = ((case % 3) as i32, [DType::F32, dtype][case / 2 % 2]);
            let scale = draw(&[depth], (0.5, 1.5), of_norm, 5);
            let shift = (kind == 1 && case % 5 > 0).then(|| draw(&[depth], (-1.0, 1.0), of_norm, 6));

            let normed = match kind {
                0 => single(&x),
                1 => {
                    let shift = shift.as_ref().map(single);
                    ops::layer_norm(&single(&x), None, &single(&scale), shift.as_ref(), 1e-3).unwrap()
                }
                _ => ops::rms_norm(&single(&x), &single(&scale), 1e-3).unwrap(),
            };
            // What a norm leaves is rounded, as by a launch of its own.
            let normed = single(&normed.to_dtype(dtype).unwrap());
            let mut want = normed.matmul(&single(&matrix).mt().unwrap()).unwrap();
            if is_biased {
                want = want.add(&single(&bias)).unwrap();
            }
            if is_added {
                want = want.add(&single(&add)).unwrap();
            }
            want = if is_gated {
                let half = |from| want.narrow(1, from, from + results).unwrap();
                activation.apply(&half(0)).unwrap().mul(&half(results)).unwrap()
            } else {
                activation.apply(&want).unwrap()
            };

            let stored = if is_turned { matrix.mt().unwrap().contiguous().unwrap() } else { matrix };
            let (x_at, stored_at) = (Memory::of(&apart(&x, gap)), Memory::of(&apart(&stored, gap)));
            let (scale_at, shift_at) = (Memory::of(&scale), shift.as_ref().map(Memory::of));
            let bias_at = Memory::of(&bias);
            for processors in [0, 132] {
                // The result takes the place of what is added.
                let out = Memory::of(&apart(&add, more));
                let sizes = (vectors, depth, dtype.size());
                let (at, split) = if is_turned {
                    stream_turned(count, sizes, processors)
                } else {
                    stream(count, sizes, processors)
                };
                let mut arguments = vec![
                    Argument::from(&out),
                    ((results + more) as i64).into(),
                    (&x_at).into(),
                    ((depth + gap) as i64).into(),
                    norm_of(kind, &scale_at, shift_at.as_ref(), of_norm),
                    (&stored_at).into(),
                    ((stored.shape()[1] + gap) as i64).into(),
                    is_biased.then_some(&bias_at).into(),
                    is_added.then_some(&out).into(),
                    place_in(&ACTIVATIONS, activation).into(),
                ];
                arguments.extend([(count as i64).into(), (depth as i32).into(), (split as i32).into()]);
                if !is_turned {
                    arguments.push(i32::from(is_gated).into());
                }
                module.launch(if is_turned { "gemv_turned" } else { "gemv" }, at, &arguments);
                let got = out.tensor(&[vectors, results + more], made).narrow(1, 0, results).unwrap();
                let what = format!(
                    "{dtype} {made} {vectors} {count} {depth} {processors} {is_turned} {is_gated} {kind} {activation:?}"
                );
                // A gate multiplies what is missing of the sums with one another.
                let near = if is_gated { 32.0 } else { 4.0 };
                close(&what, &got, &want, near * tolerance(if kind > 0 { dtype } else { made }));
            }
        }
    }
}

#[test]
fn streams_keep_memory_busy() {
    let shape = |outputs, vectors, depth| {
        let (at, shares) = stream(outputs, (vectors, depth, 2), 132);
        (at.grid[0], shares)
    };
    // More rows than are read at once, in equal turns; too few of them; too few with nothing to share; and very few long ones.
    assert_eq!(shape(128_256, 1, 2048), (259, 1));
    assert_eq!(shape(2048, 1, 8192), (256, 2));
    assert_eq!(shape(2304, 1, 768), (144, 1));
    assert_eq!(shape(64, 2, 16_384), (32, 8));
    let shape = |rows, vectors, columns| {
        let at = geometry::blocks(rows, vectors, columns, 132);
        (at.grid, at.block)
    };
    assert_eq!(shape(14_336, 1, 4096), ([896, 1, 1], [32, 1, 4]));
    assert_eq!(shape(4096, 1, 14_336), ([512, 1, 1], [32, 2, 2]));
    assert_eq!(shape(1024, 5, 4096), ([512, 2, 1], [32, 4, 1]));
    let turned = |outputs, depth| {
        let (at, across) = stream_turned(outputs, (1, depth, 2), 132);
        (at.grid[0], across)
    };
    assert_eq!([turned(768, 3072), turned(2304, 768), turned(8192, 2048)], [(48, 2), (144, 2), (256, 4)]);
}

#[test]
fn optimizers() {
    let sgd = |momentum, nesterov, first| Update::Sgd {
        lr: 0.1,
        momentum,
        dampening: 0.25,
        nesterov,
        weight_decay: 0.01,
        first,
    };
    let adam = |decoupled| Update::Adam {
        lr: 0.01,
        betas: (0.9, 0.99),
        eps: 1e-6,
        weight_decay: 0.1,
        decoupled,
        step: 3,
    };
    let all = [
        adam(true),
        adam(false),
        sgd(0.0, false, false),
        sgd(0.9, false, true),
        sgd(0.9, true, false),
        Update::Lion { lr: 0.01, betas: (0.9, 0.99), weight_decay: 0.1 },
        Update::Adagrad { lr: 0.1, eps: 1e-6, weight_decay: 0.01 },
        Update::RmsProp { lr: 0.01, alpha: 0.9, eps: 1e-6, weight_decay: 0.01 },
    ];
    for (dtype, states_in) in [(DType::F32, DType::F32), (DType::BF16, DType::F32), (DType::F64, DType::F64)]
    {
        let wide = if dtype == DType::F64 { "f64" } else { "f32" };
        let module = Module::new("update", &[&format!("C={wide}")]);
        for update in &all {
            // Several parameters, one without elements and one of more pieces than one, in one launch.
            let sizes = [5usize, 0, 9000, 4096];
            let (mut table, mut pieces, mut held) = (Vec::new(), Vec::new(), Vec::new());
            for (index, &size) in (0i64..).zip(&sizes) {
                let p = draw(&[size], (-1.0, 1.0), dtype, 1);
                let g = draw(&[size], (-1.0, 1.0), dtype, 2);
                let states: Vec<Tensor> = (0..update.states())
                    .map(|i| draw(&[size], (0.0, 0.5), states_in, 3 + i as u64))
                    .collect();
                let (p_at, g_at) = (Memory::of(&p), Memory::of(&g));
                let states_at: Vec<Memory> = states.iter().map(Memory::of).collect();
                let state = |i: usize| states_at.get(i).map_or(0, Memory::address);
                table.extend([p_at.address(), g_at.address(), state(0), 0, state(1), 0, size as u64]);
                pieces.extend((0..size).step_by(4096).flat_map(|start| [index, start as i64]));
                let kept = states.iter().map(ops::Kept::Whole).collect();
                let change = ops::Change { update: *update, parameter: &p, grad: &g, states: kept };
                ops::update(&[change]).unwrap();
                held.push((p, p_at, g_at, states, states_at));
            }
            let (method, numbers) = rule(update);
            // The method, then the numbers, and what fills the struct to whole words.
            let mut bytes = method.to_le_bytes().to_vec();
            for number in numbers {
                match wide {
                    "f64" => bytes.extend(number.to_le_bytes()),
                    _ => bytes.extend((number as f32).to_le_bytes()),
                }
            }
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            let (table, count) = (Memory::of_slice(&table), pieces.len() as i64 / 2);
            let at = Geometry { grid: [2, 1, 1], block: [256, 1, 1], shared: 0 };
            launch!(
                module,
                "update",
                at,
                [
                    &table,
                    &Memory::of_slice(&pieces),
                    count,
                    Argument::of_bytes(bytes),
                    code(dtype),
                    code(dtype),
                    code(states_in),
                    code(states_in),
                    None
                ]
            );
            for (p, p_at, _, states, states_at) in &held {
                let near = tolerance(dtype) * 4.0;
                close(&format!("{update:?} {dtype}"), &p_at.tensor(p.shape(), dtype), p, near);
                for (state, at) in states.iter().zip(states_at) {
                    close(&format!("{update:?} state"), &at.tensor(p.shape(), states_in), state, 1e-5);
                }
            }
        }
    }
}

#[test]
fn lookups_stores_and_turns() {
    for dtype in FLOATS {
        let code = DType::ALL.iter().position(|&other| other == dtype).unwrap() as i32;
        let module = Module::new("rows", &[&format!("T={}", name(dtype))]);
        let (words, places) = (draw(&[11, 37], (-1.0, 1.0), dtype, 1), draw(&[5, 37], (-1.0, 1.0), dtype, 2));
        let (ids, positions) = ([3i64, 10, 0, 3, 7], [0i64, 1, 2, 3, 4]);
        let tables = [Memory::of(&words), Memory::of(&places)];
        let lists = [Memory::of_slice(&ids), Memory::of_slice(&positions)];
        let mut lookups = [0u64; 13];
        for (i, rows) in [11, 5].into_iter().enumerate() {
            lookups[3 * i..][..3].copy_from_slice(&[tables[i].address(), lists[i].address(), rows]);
        }
        lookups[12] = 2;
        let out = Memory::new(5 * 37 * dtype.size());
        launch!(module, "embedding", elements(5 * 37, 1), [&out, Argument::of(lookups), code, 5i64, 37i32]);
        let (wide_words, wide_places) = (single(&words), single(&places));
        let both = [(&wide_words, Ids::Here(&ids)), (&wide_places, Ids::Here(&positions))];
        let want = cpu().embedding(&both, DType::F32).unwrap();
        close("embedding", &out.tensor(&[5, 37], dtype), &want, tolerance(dtype));

        let module = Module::new("heads", &[&format!("T={}", name(dtype))]);
        for (form, number) in [(StoreForm::F32, 11), (StoreForm::F16, 9), (StoreForm::Int8, 1)] {
            let (heads, dim) = (3, 21);
            let x = draw(&[6, heads, dim], (-100.0, 100.0), dtype, 3);
            x.narrow(0, 2, 3).unwrap().fill_(0.0).unwrap();
            let pairs = [[5usize, 1], [0, 4], [2, 0]];
            let store = form.zeros(7, heads, dim, Device::Cpu).unwrap();
            store_rows([&store, &x], [&store, &x], &pairs.iter().copied().collect()).unwrap();
            let flat: Vec<i64> = pairs.iter().flatten().map(|&row| row as i64).collect();
            let kept = Memory::of(&form.zeros(7, heads, dim, Device::Cpu).unwrap());
            let strides = [(heads * dim) as i64, dim as i64];
            // Keys and values: the same numbers in two places.
            let other = Memory::of(&form.zeros(7, heads, dim, Device::Cpu).unwrap());
            let from = Memory::of(&x);
            let [keys, values] = [&kept, &other].map(|to| {
                let (store, x, heads, dim) = (to.address(), from.address(), heads as i32, dim as i32);
                Argument::of(Part { store, x, strides, heads, dim })
            });
            let at = Geometry { grid: [2, 2, 1], ..rows(3 * heads, dim) };
            let (queries, angles) = (Argument::of(Part::default()), Argument::of(Angles::default()));
            let places = Memory::of_slice(&flat);
            launch!(module, "store_rows", at, [keys, values, queries, angles, number, &places, 3i64]);
            let every: Vec<usize> = (0..7).collect();
            let want = stored_rows(&store, &every).unwrap();
            for kept in [&kept, &other] {
                let got = stored_rows(&kept.tensor(store.shape(), store.dtype()), &every).unwrap();
                close("store_rows", &got, &want, 0.0);
            }
        }

        let kinds =
            [(4, false, 9), (4, true, 9), (3, false, 9), (0, true, 9), (4, false, 12), (8, false, 16)];
        for (pairs, interleaved, dim) in kinds {
            let (count, heads) = (5, 3);
            // Heads that lie among others, turned where they are.
            let packed = draw(&[count, 2, heads, dim], (-1.0, 1.0), dtype, 4);
            let x = packed.select(1, 1).unwrap();
            let angles = draw(&[count, pairs], (0.0, 6.0), DType::F32, 5);
            let (cos, sin) = (angles.cos().unwrap(), angles.sin().unwrap());
            let [of_cos, of_sin] = [&cos, &sin].map(Memory::of);
            let told = Angles {
                cos: of_cos.address(),
                sin: of_sin.address(),
                pairs: pairs as i32,
                interleaved: i32::from(interleaved),
            };
            let memory = Memory::of(&packed);
            let at = memory.address() + (heads * dim * dtype.size()) as u64;
            let strides = [(2 * heads * dim) as i64, dim as i64];
            launch!(
                module,
                "rope",
                elements(count * heads * dim, 2),
                [
                    at,
                    at,
                    Argument::of(told),
                    count as i64,
                    heads as i32,
                    dim as i32,
                    Argument::of(strides),
                    Argument::of(strides)
                ]
            );
            let want = rope(&single(&x), ops::Angles { cos: &cos, sin: &sin, interleaved }).unwrap();
            let got = memory.tensor(packed.shape(), dtype);
            close("rope", &got.select(1, 1).unwrap(), &want, tolerance(dtype));
            close("beside rope", &got.select(1, 0).unwrap(), &packed.select(1, 0).unwrap(), 0.0);
        }
    }
}

#[test]
fn blocks_are_taken_put_and_added() {
    let offsets = [8i64, 0, 20, 8, 28];
    let at = Memory::of_slice(&offsets);
    let each = Tensor::from_slice(&offsets, &[5]).unwrap();
    for (dtype, element) in [(DType::U8, "u8"), (DType::F16, "u16"), (DType::F32, "u32"), (DType::I64, "u64")]
    {
        let module = Module::new("index", &[&format!("E={element}")]);
        let x = draw(&[32], (0.0, 100.0), DType::F64, 1).to_dtype(dtype).unwrap();
        let out = Memory::new(20 * dtype.size());
        launch!(module, "take", elements(20, 1), [&out, &Memory::of(&x), &at, 5i64, 4i64]);
        let want = cpu().take(&x, &each, 4, &[5, 4]).unwrap();
        close("take", &out.tensor(&[5, 4], dtype), &want, 0.0);
        let distinct = [4i64, 16, 0];
        let values = draw(&[3, 4], (0.0, 100.0), DType::F64, 2).to_dtype(dtype).unwrap();
        let out = Memory::of(&x);
        launch!(
            module,
            "put",
            elements(12, 1),
            [&out, &Memory::of(&values), &Memory::of_slice(&distinct), 3i64, 4i64]
        );
        let want = x.copy().unwrap();
        let places = Tensor::from_slice(&distinct, &[3]).unwrap();
        cpu().put(&want, &places, 4, &values, false).unwrap();
        close("put", &out.tensor(&[32], dtype), &want, 0.0);
    }
    for (dtype, element) in [
        (DType::F32, "f32"),
        (DType::F16, "f16"),
        (DType::BF16, "bf16"),
        (DType::F64, "f64"),
        (DType::I32, "i32"),
        (DType::I64, "i64"),
    ] {
        let module = Module::new("accumulate", &[&format!("T={element}")]);
        let x = draw(&[32], (-9.0, 9.0), DType::F64, 1).to_dtype(dtype).unwrap();
        let values = draw(&[5, 4], (-9.0, 9.0), DType::F64, 2).to_dtype(dtype).unwrap();
        let out = Memory::of(&x);
        launch!(module, "put_add", elements(20, 1), [&out, &Memory::of(&values), &at, 5i64, 4i64]);
        let want = x.copy().unwrap();
        cpu().put(&want, &each, 4, &values, true).unwrap();
        close("put_add", &out.tensor(&[32], dtype), &want, 2.0 * tolerance(dtype));
    }
}
