//! What the tests of operations share.

use crate::autograd::{self, no_grad};
use crate::ops::Generator;
use crate::{DType, Device, Result, Tensor};

/// Where gradients are checked: on the processor, or on what `TRUSTFORMERS_TEST_DEVICE` names.
fn device() -> Device {
    std::env::var("TRUSTFORMERS_TEST_DEVICE").map_or(Device::Cpu, |name| name.parse().unwrap())
}

/// Numbers between `low` and `high`, the same for the same seed.
pub(crate) fn draw(shape: &[usize], (low, high): (f64, f64), seed: u64) -> Tensor {
    let unit = Generator::new(seed).uniform(shape, DType::F64).unwrap();
    unit.mul(high - low).unwrap().add(low).unwrap()
}

/// Numbers between `low` and `high` of which no two are so close that a step of a finite difference could change their order.
fn draw_apart(shape: &[usize], (low, high): (f64, f64), seed: u64) -> Tensor {
    let count = shape.iter().product::<usize>();
    let place = Generator::new(seed).permutation(count).unwrap().to_dtype(DType::F64).unwrap();
    let jitter = draw(&[count], (0.25, 0.75), seed ^ 1);
    let unit = place.add(&jitter).unwrap().div(count as f64).unwrap();
    unit.mul(high - low).unwrap().add(low).unwrap().view(shape).unwrap()
}

/// Compares the gradients of `f`, weighed at random, with differences of its values, in f64; once on contiguous inputs and once on
/// inputs that are every other element of something larger.
#[track_caller]
pub(crate) fn check_gradient(
    name: &str,
    shapes: &[&[usize]],
    range: (f64, f64),
    seed: u64,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let inputs: Vec<Tensor> = shapes
        .iter()
        .zip(1..)
        .map(|(shape, i)| draw_apart(shape, range, seed.wrapping_mul(31).wrapping_add(i)))
        .map(|x| x.to_device(device()).unwrap())
        .collect();
    let out = no_grad(|| f(&inputs)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let weights = draw(out.shape(), (-1.0, 1.0), seed ^ 0x5eed).to_device(out.device()).unwrap();
    let loss = |inputs: &[Tensor]| f(inputs).unwrap().mul(&weights).unwrap().sum_all().unwrap();

    let spread: Vec<Tensor> = inputs
        .iter()
        .map(|x| {
            let mut wide = x.shape().to_vec();
            wide.push(2);
            let leaf = Tensor::zeros_on(&wide, DType::F64, x.device()).unwrap();
            leaf.select(x.ndim(), 1).unwrap().copy_(x).unwrap();
            leaf
        })
        .collect();
    for leaf in inputs.iter().chain(&spread) {
        leaf.set_requires_grad(true).unwrap();
    }
    let strided: Vec<Tensor> = spread.iter().map(|leaf| leaf.select(leaf.ndim() - 1, 1).unwrap()).collect();
    loss(&inputs).backward(None).unwrap_or_else(|error| panic!("{name}: {error}"));
    loss(&strided).backward(None).unwrap_or_else(|error| panic!("{name} on strided inputs: {error}"));

    let eps = 1e-5;
    for (which, x) in inputs.iter().enumerate() {
        let gradient = |leaf: &Tensor| {
            let grad = leaf.grad().unwrap_or_else(|| panic!("{name} lost the gradient of input {which}"));
            grad.to_host().unwrap()
        };
        let got = gradient(x);
        assert_eq!(got.shape(), x.shape(), "{name}: shape of gradient {which}");
        let spread = gradient(&spread[which]).select(x.ndim(), 1).unwrap().contiguous().unwrap();
        let values = x.detach().to_host().unwrap();
        let values = values.as_slice::<f64>().unwrap();
        for i in 0..values.len() {
            let at = |delta: f64| {
                let mut moved = values.to_vec();
                moved[i] += delta;
                let mut inputs: Vec<Tensor> = inputs.iter().map(Tensor::detach).collect();
                inputs[which] = Tensor::from_slice(&moved, x.shape()).unwrap().to_device(x.device()).unwrap();
                no_grad(|| loss(&inputs)).item().unwrap().to_f64()
            };
            let want = (at(eps) - at(-eps)) / (2.0 * eps);
            for (got, kind) in [(&got, "contiguous"), (&spread, "strided")] {
                let got = got.as_slice::<f64>().unwrap()[i];
                assert!(
                    (got - want).abs() <= 2e-5 * (1.0 + want.abs()),
                    "{name}: gradient {which} at {i} on {kind} inputs is {got}, differences say {want}"
                );
            }
        }
    }
}

/// Compares the gradients of two ways to compute the same.
#[track_caller]
pub(crate) fn same_gradients(
    name: &str,
    inputs: &[Tensor],
    tolerance: f64,
    one: impl Fn(&[Tensor]) -> Result<Tensor>,
    other: impl Fn(&[Tensor]) -> Result<Tensor>,
) {
    let run = |f: &dyn Fn(&[Tensor]) -> Result<Tensor>| {
        let leaves: Vec<Tensor> =
            inputs.iter().map(|x| x.copy().unwrap().to_device(device()).unwrap()).collect();
        leaves.iter().for_each(|leaf| leaf.set_requires_grad(true).unwrap());
        let out = f(&leaves).unwrap();
        let weights = draw(out.shape(), (-1.0, 1.0), 7).to_dtype(out.dtype()).unwrap();
        let weights = weights.to_device(out.device()).unwrap();
        let refs: Vec<&Tensor> = leaves.iter().collect();
        let grads = autograd::grad(&[&out], &[Some(weights)], &refs, false, false).unwrap();
        (out, grads)
    };
    let ((a, a_grads), (b, b_grads)) = (run(&one), run(&other));
    let numbers = |t: &Tensor| {
        t.detach()
            .to_host()
            .unwrap()
            .to_dtype(DType::F64)
            .unwrap()
            .contiguous()
            .unwrap()
            .as_slice::<f64>()
            .unwrap()
            .to_vec()
    };
    let compare = |what: String, a: &Tensor, b: &Tensor| {
        assert_eq!(a.shape(), b.shape(), "{name}: {what}");
        for (a, b) in numbers(a).iter().zip(numbers(b)) {
            assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{name}: {what}: {a} and {b}");
        }
    };
    compare("values".into(), &a, &b);
    for (i, (a, b)) in a_grads.iter().zip(&b_grads).enumerate() {
        let (Some(a), Some(b)) = (a, b) else { panic!("{name}: gradient {i} is lost: {a:?} and {b:?}") };
        compare(format!("gradient {i}"), a, b);
    }
}
