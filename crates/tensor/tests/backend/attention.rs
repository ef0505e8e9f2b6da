//! Attention that is learnt through, on devices that have kernels for its gradient.

use trustformers_tensor::autograd::grad;
use trustformers_tensor::ops::{Attention, Dropout, Mask, Ragged};
use trustformers_tensor::{DType, Device, Tensor};

use crate::{close, devices, numbers, on, read, tolerance};

/// Context and gradients of query, key, value and biases, computed on `device` as `dtype`.
fn learnt(
    device: Device,
    dtype: DType,
    tensors: &[Tensor; 3],
    biases: &[Tensor],
    by: &Attention,
) -> Vec<Tensor> {
    let there = |x: &Tensor| on(device, &x.to_dtype(dtype).unwrap());
    let [query, key, value] = tensors.each_ref().map(there);
    let biases: Vec<Tensor> = biases.iter().map(|bias| on(device, &bias.copy().unwrap())).collect();
    let is_biased = by.bias.is_some();
    let sources: Vec<&Tensor> =
        [&query, &key, &value].into_iter().chain(biases.iter().filter(|_| is_biased)).collect();
    sources.iter().for_each(|x| x.set_requires_grad(true).unwrap());
    let attention =
        Attention { query: &query, key: &key, value: &value, bias: is_biased.then_some(&biases[..]), ..*by };
    let context = attention.run().unwrap().context;
    let slope = there(&numbers(context.numel(), DType::F32, 5).view(context.shape()).unwrap());
    let mut found = vec![context.clone()];
    let grads = grad(&[&context], &[Some(slope)], &sources, false, false).unwrap();
    found.extend(grads.into_iter().map(Option::unwrap));
    found
}

#[test]
fn attention_is_learnt_through_as_on_the_processor() {
    let causal = |window| Mask { causal: true, window };
    let around = Mask { causal: false, window: Some(3) };
    // Groups of heads; dims that are no whole tiles, and differ; softcaps, biases, and what is dropped.
    let cases = [
        ((4, 2, 16, 16), Mask::default(), None, false, 0.0),
        ((2, 2, 64, 64), causal(None), None, false, 0.1),
        ((4, 1, 20, 36), causal(Some(7)), Some(2.0), false, 0.0),
        ((2, 1, 80, 80), around, None, true, 0.5),
        ((2, 2, 128, 128), causal(None), Some(5.0), true, 0.25),
    ];
    for device in devices().into_iter().filter(|device| *device != Device::Cpu) {
        for ((heads, kv_heads, dim, value_dim), mask, softcap, is_biased, p) in cases {
            let mut ragged = Ragged::default();
            let mut keys = 0;
            // Some have fewer rows than keys, some more, and between them are keys of nobody.
            for (rows, count) in [(70, 70), (3, 20), (2, 0), (20, 5), (1, 33)] {
                ragged.push_at(rows, keys, count);
                keys += count + 2;
            }
            let rows = ragged.total();
            let make = |shape: [usize; 3], seed| {
                numbers(shape.iter().product(), DType::F32, seed).view(&shape).unwrap()
            };
            let tensors = [
                make([rows, heads, dim], 1),
                make([keys, kv_heads, dim], 2),
                make([keys, kv_heads, value_dim], 3),
            ];
            let biases: Vec<Tensor> = ragged
                .sequences()
                .iter()
                .map(|s| {
                    let bias = make([1, s.rows, s.keys], 4);
                    // A key that is hidden from every row.
                    if s.keys > 1 {
                        bias.narrow(2, 1, 2).unwrap().fill_(f64::NEG_INFINITY).unwrap();
                    }
                    bias
                })
                .collect();
            let [query, key, value] = &tensors;
            let by = Attention {
                // Not so great that all but one key have no weight.
                scale: 0.3 / dim as f32,
                mask,
                softcap,
                bias: is_biased.then_some(&biases[..]),
                dropout: (p > 0.0).then_some(Dropout { p, seed: 7 }),
                ..Attention::new(query, key, value, &ragged)
            };
            for dtype in [DType::F32, DType::F16, DType::BF16] {
                // What 16 bits hold of the tensors, in float32.
                let held =
                    tensors.each_ref().map(|x| x.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap());
                let want = learnt(Device::Cpu, DType::F32, &held, &biases, &by);
                let got = learnt(device, dtype, &tensors, &biases, &by);
                assert_eq!(got.len(), want.len());
                for (what, (got, want)) in (0..).zip(got.iter().zip(&want)) {
                    // Biases are float32.
                    assert!(got.dtype() == dtype || what > 3);
                    let want = read(want);
                    // Sums of many products, each rounded: beside the greatest of them.
                    let most = want.iter().fold(1.0, |most: f64, x| most.max(x.abs()));
                    let near = most * if dtype == DType::F32 { 2e-5 } else { 3.0 * tolerance(dtype) };
                    close(
                        &format!("{what} {dtype} {heads} {dim} {value_dim} {mask:?} {p}"),
                        got,
                        &want,
                        near,
                    );
                }
            }
        }
    }
}
