//! Whole numbers, multiplied and added where they are, and those that optimizers keep in 8 bits.

use trustformers_tensor::ops::{Change, Kept, Update};
use trustformers_tensor::{DType, Device, Generator, Tensor};

use crate::{REAL, WHOLE, cpu, devices, each, on, read};

/// Any bits, as `dtype`.
fn bits(shape: &[usize], dtype: DType, seed: u64) -> Tensor {
    Generator::new(seed).integers(i64::MIN, i64::MAX, shape).unwrap().to_dtype(dtype).unwrap()
}

fn bytes(x: &Tensor) -> Vec<u8> {
    x.to_host().unwrap().contiguous().unwrap().to_bytes().unwrap().to_vec()
}

#[test]
fn products_wrap() {
    each(|backend, on| {
        for &dtype in WHOLE {
            for (batch, m, k, n) in
                [(1, 1, 1, 1), (2, 3, 17, 33), (3, 16, 16, 16), (2, 0, 3, 2), (1, 2, 0, 3)]
            {
                let (a, b) = (bits(&[batch, m, k], dtype, 1), bits(&[k, n], dtype, 2));
                let whole = |x: &Tensor| x.to_dtype(DType::I64).unwrap().as_slice::<i64>().unwrap().to_vec();
                let (x, y) = (whole(&a), whole(&b));
                let one = |at: usize, j: usize| {
                    (0..k).fold(0i64, |sum, i| sum.wrapping_add(x[at * k + i].wrapping_mul(y[i * n + j])))
                };
                let want: Vec<i64> = (0..batch * m)
                    .flat_map(|at| (0..n).map(move |j| (at, j)))
                    .map(|(at, j)| one(at, j))
                    .collect();
                let want = Tensor::from_slice(&want, &[batch, m, n]).unwrap().to_dtype(dtype).unwrap();
                let b = on(&b).expand(&[batch, k, n]).unwrap();
                let turned = on(&a).mt().unwrap().copy().unwrap().mt().unwrap();
                for (a, b) in [(on(&a), b.clone()), (turned, b.copy().unwrap())] {
                    let got = backend.matmul(&a, &b).unwrap();
                    assert_eq!(bytes(&got), bytes(&want), "{dtype} {batch} x {m} x {k} x {n}");
                }
            }
        }
    });
}

#[test]
fn blocks_are_added_to_any_place() {
    each(|backend, on| {
        for dtype in REAL {
            // Small enough for sums of every type to be exact in any order; whole numbers wrap.
            let make = |count: usize, seed: u64| match dtype.is_float() {
                true => Generator::new(seed).integers(-4, 5, &[count]).unwrap().to_dtype(dtype).unwrap(),
                false => bits(&[count], dtype, seed),
            };
            for (block, offsets) in [(1usize, vec![3i64, 0, 3, 8, 3, 7]), (3, vec![1, 5, 1, 6])] {
                let (x, values) = (make(9, 1), make(block * offsets.len(), 2));
                let places = Tensor::from_slice(&offsets, &[offsets.len()]).unwrap();
                let want = x.copy().unwrap();
                let all = x.to_dtype(DType::I64).unwrap().copy().unwrap();
                for (value, at) in offsets.iter().enumerate() {
                    for k in 0..block {
                        let place = *at as usize + k;
                        let own = all.narrow(0, place, place + 1).unwrap();
                        let added = values.narrow(0, value * block + k, value * block + k + 1).unwrap();
                        own.copy_(&own.add(&added.to_dtype(DType::I64).unwrap()).unwrap()).unwrap();
                    }
                }
                want.copy_(&all).unwrap();
                let out = on(&x);
                backend.put(&out, &on(&places), block, &on(&values), true).unwrap();
                assert_eq!(bytes(&out), bytes(&want), "{dtype} {block}");
            }
        }
    });
}

/// A state in 8 bits, with something in it.
struct Coded {
    codes: Tensor,
    scales: Tensor,
    signed: bool,
}

impl Coded {
    fn new(count: usize, signed: bool, seed: u64) -> Coded {
        let codes = Generator::new(seed).integers(0, 256, &[count]).unwrap().to_dtype(DType::U8).unwrap();
        let scales = Generator::new(seed + 1).uniform(&[count.div_ceil(Kept::BLOCK)], DType::F32).unwrap();
        Coded { codes, scales, signed }
    }

    fn on(&self, device: Device) -> Coded {
        Coded { codes: on(device, &self.codes), scales: on(device, &self.scales), signed: self.signed }
    }

    fn kept(&self) -> Kept<'_> {
        Kept::Coded { codes: &self.codes, scales: &self.scales, signed: self.signed }
    }
}

#[test]
fn states_in_8_bits_are_those_of_the_processor() {
    let adam =
        Update::Adam { lr: 0.01, betas: (0.9, 0.99), eps: 1e-6, weight_decay: 0.1, decoupled: true, step: 3 };
    let lion = Update::Lion { lr: 0.01, betas: (0.9, 0.99), weight_decay: 0.1 };
    for device in devices().into_iter().filter(|device| *device != Device::Cpu) {
        let gpu = on(device, &Tensor::zeros(&[1]).unwrap());
        let gpu = gpu.storage().backend();
        for (dtype, update) in
            [(DType::F32, adam), (DType::BF16, adam), (DType::F64, adam), (DType::F32, lion)]
        {
            // Part of a block, whole ones, more than a piece; and one whose second state is whole, in the same step.
            let made = [(5usize, false), (512, false), (700, true), (9000, false), (0, false)].map(
                |(count, second_is_whole)| {
                    let draw = |seed| {
                        Generator::new(seed).normal(&[count], DType::F32).unwrap().to_dtype(dtype).unwrap()
                    };
                    let whole = draw(3).abs().unwrap().to_dtype(DType::F32).unwrap();
                    let (first, second) = (Coded::new(count, true, 5), Coded::new(count, false, 7));
                    (draw(1), draw(2), first, second, second_is_whole.then_some(whole))
                },
            );
            let there = made.each_ref().map(|(p, g, first, second, whole)| {
                let whole = whole.as_ref().map(|whole| on(device, whole));
                (on(device, p), on(device, g), first.on(device), second.on(device), whole)
            });
            let change = |backend: &dyn trustformers_tensor::Backend,
                          all: &[(Tensor, Tensor, Coded, Coded, Option<Tensor>)]| {
                let changes: Vec<Change> = all
                    .iter()
                    .map(|(parameter, grad, first, second, whole)| {
                        let second = whole.as_ref().map_or(second.kept(), Kept::Whole);
                        let states = [first.kept(), second].into_iter().take(update.states()).collect();
                        Change { update, parameter, grad, states }
                    })
                    .collect();
                backend.update(&changes).unwrap();
            };
            change(cpu(), &made);
            change(gpu, &there);
            for (got, want) in there.iter().zip(&made) {
                let near = |got: &Tensor, want: &Tensor, off: f64| {
                    for (got, want) in read(got).into_iter().zip(read(want)) {
                        assert!(
                            (got - want).abs() <= off * (1.0 + want.abs()),
                            "{update:?} {dtype}: {got}, not {want}"
                        );
                    }
                };
                near(&got.0, &want.0, if dtype == DType::BF16 { 8e-3 } else { 1e-5 });
                for (got, want) in [(&got.2, &want.2), (&got.3, &want.3)] {
                    near(&got.scales, &want.scales, 1e-5);
                    // Where a number lies between two fractions its last bit decides.
                    let pairs = read(&got.codes).into_iter().zip(read(&want.codes));
                    let apart: Vec<f64> = pairs.map(|(got, want)| (got - want).abs()).collect();
                    assert!(apart.iter().all(|&apart| apart <= 1.0), "{update:?} {dtype}");
                    assert!(apart.iter().sum::<f64>() <= apart.len() as f64 / 100.0, "{update:?} {dtype}");
                }
                if let (Some(got), Some(want)) = (&got.4, &want.4) {
                    near(got, want, 1e-5);
                }
            }
        }
    }
}
