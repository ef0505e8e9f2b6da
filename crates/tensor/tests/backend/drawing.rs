//! Tokens drawn from logits.

use trustformers_tensor::ops::{Distribution, Sampling};
use trustformers_tensor::{Device, Generator, Tensor};

use crate::{cpu, devices, each, on, read};

#[test]
fn every_device_draws_the_same_tokens() {
    let all = Sampling::default();
    let settings = [
        all,
        Sampling { temperature: 0.7, ..all },
        Sampling { top_k: 5, ..all },
        Sampling { top_p: 0.8, ..all },
        Sampling { min_p: 0.1, ..all },
        Sampling { temperature: 1.5, top_k: 40, top_p: 0.9, min_p: 0.01 },
        Sampling { temperature: 0.2, top_k: 1, ..all },
    ];
    for device in devices().into_iter().filter(|device| *device != Device::Cpu) {
        for (rows, width) in [(0, 3), (1, 1), (200, 7), (100, 33), (60, 3000)] {
            let logits = Generator::new(5).normal(&[rows, width], trustformers_tensor::DType::F32).unwrap();
            let logits = logits.mul(4.0).unwrap();
            let there = on(device, &logits);
            for sampling in &settings {
                // Beyond 32 bits of the stream.
                let stream = (7, (1 << 32) - 30);
                let want = read(&cpu().sample(&logits, sampling, stream).unwrap());
                let got = read(&there.storage().backend().sample(&there, sampling, stream).unwrap());
                // A GPU's exponentials differ in their last bits, and so one draw in millions.
                let differ = got.iter().zip(&want).filter(|(got, want)| got != want).count();
                assert!(differ <= rows / 100, "{sampling:?}, {rows} x {width}: {differ} differ");
            }
        }
    }
}

#[test]
fn tokens_come_as_often_as_they_should() {
    each(|backend, on| {
        let row = Tensor::from_slice(&[0f32, f32::NEG_INFINITY, 2f32.ln(), 0.0], &[1, 4]).unwrap();
        let x = on(&row.expand(&[2000, 4]).unwrap().copy().unwrap());
        let tokens = read(&backend.sample(&x, &Sampling::default(), (3, 0)).unwrap());
        let often = |token: f64| tokens.iter().filter(|&&other| other == token).count();
        assert_eq!(often(1.0), 0);
        assert!((900..1100).contains(&often(2.0)), "{}", often(2.0));
        let broken =
            [[f32::NAN, 0.0], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2], [f32::NEG_INFINITY, 3.0]];
        let x = on(&Tensor::from_slice(broken.as_flattened(), &[4, 2]).unwrap());
        assert_eq!(read(&backend.sample(&x, &Sampling::default(), (3, 0)).unwrap()), [-1.0, -1.0, -1.0, 1.0]);
    });
}

#[test]
fn whole_numbers_are_the_same_on_every_device() {
    each(|backend, _| {
        for limit in [1, 10, 1 << 40, u64::MAX] {
            let numbers = |backend: &dyn trustformers_tensor::Backend| {
                let dtype = trustformers_tensor::DType::I64;
                let x = backend.random(Distribution::Below(limit), (5, 1 << 33), &[1001], dtype).unwrap();
                x.to_host().unwrap().as_slice::<i64>().unwrap().to_vec()
            };
            assert_eq!(numbers(backend), numbers(cpu()), "{limit}");
        }
    });
}
