//! The tape itself: what is kept, what is freed, what is refused.

use std::sync::{Arc, Mutex};

use super::*;
use crate::{DType, Error, Tensor};

fn leaf(values: &[f64]) -> Tensor {
    let x = Tensor::from_slice(values, &[values.len()]).unwrap();
    x.set_requires_grad(true).unwrap();
    x
}

fn numbers(x: &Tensor) -> Vec<f64> {
    x.detach().contiguous().unwrap().as_slice::<f64>().unwrap().to_vec()
}

fn gradient(x: &Tensor) -> Vec<f64> {
    numbers(&x.grad().unwrap())
}

#[test]
fn nothing_is_recorded_where_nothing_asks() {
    let x = Tensor::ones(&[2], DType::F64).unwrap();
    assert!(!x.exp().unwrap().requires_grad());
    x.set_requires_grad(true).unwrap();
    assert!(!no_grad(|| x.exp().unwrap()).requires_grad());
    assert!(!x.detach().requires_grad() && !x.gt(0.0).unwrap().requires_grad());
    let y = x.exp().unwrap();
    assert!(y.requires_grad() && !y.is_leaf() && y.grad_fn() == Some("exp"));
    assert!(y.set_requires_grad(false).is_err());
    x.set_requires_grad(false).unwrap();
    assert!(!x.exp().unwrap().requires_grad());
    assert!(Tensor::ones(&[1], DType::I64).unwrap().set_requires_grad(true).is_err());
}

#[test]
fn gradients_accumulate_until_they_are_forgotten() {
    let x = leaf(&[1.0, 2.0]);
    for _ in 0..3 {
        x.square().unwrap().sum_all().unwrap().backward(None).unwrap();
    }
    assert_eq!(gradient(&x), [6.0, 12.0]);
    x.set_grad(None).unwrap();
    assert!(x.grad().is_none());
    x.square().unwrap().backward(Some(&Tensor::from_slice(&[1.0, 10.0], &[2]).unwrap())).unwrap();
    assert_eq!(gradient(&x), [2.0, 40.0]);
    assert!(x.square().unwrap().backward(None).is_err());
    assert!(x.set_grad(Some(Tensor::zeros(&[3]).unwrap())).is_err());
}

#[test]
fn two_leaves_never_share_their_gradients_memory() {
    let (x, y) = (leaf(&[1.0]), leaf(&[2.0]));
    x.add(&y).unwrap().backward(None).unwrap();
    x.grad().unwrap().fill_(5.0).unwrap();
    assert_eq!(gradient(&y), [1.0]);
}

#[test]
fn a_graph_is_walked_once_unless_it_is_retained() {
    let x = leaf(&[3.0]);
    let y = x.square().unwrap();
    backward(&[&y], &[None], true, false).unwrap();
    y.backward(None).unwrap();
    assert_eq!(gradient(&x), [12.0]);
    let error = y.backward(None).unwrap_err();
    assert!(matches!(error, Error::Graph { .. }) && error.to_string().contains("retain_graph"), "{error}");
}

#[test]
fn a_saved_tensor_that_changed_is_noticed() {
    let x = leaf(&[1.0, 2.0]);
    let y = x.mul(2.0).unwrap();
    let z = y.square().unwrap();
    y.add_(1.0).unwrap();
    let error = z.sum_all().unwrap().backward(None).unwrap_err();
    assert!(matches!(error, Error::Modified { .. }) && error.to_string().contains("in-place"), "{error}");
    // What is not needed may change, and what is changed has the gradient of the change.
    let y = x.mul(2.0).unwrap();
    let z = y.add(1.0).unwrap();
    y.mul_(5.0).unwrap();
    z.add(&y).unwrap().sum_all().unwrap().backward(None).unwrap();
    assert_eq!(gradient(&x), [12.0, 12.0]);
}

#[test]
fn leaves_are_not_changed_in_place() {
    let x = leaf(&[1.0, 2.0]);
    let view = x.narrow(0, 0, 1).unwrap();
    assert!(x.add_(1.0).is_err() && view.fill_(0.0).is_err());
    no_grad(|| x.add_(1.0)).unwrap();
    assert_eq!(numbers(&x), [2.0, 3.0]);
}

#[test]
fn what_is_written_through_a_view_reaches_its_base() {
    let x = leaf(&[1.0, 2.0]);
    let base = Tensor::zeros_of(&[2, 2], DType::F64).unwrap();
    let other = base.select(1, 0).unwrap();
    base.select(0, 1).unwrap().copy_(&x).unwrap();
    assert!(base.requires_grad() && other.requires_grad());
    base.sum_all().unwrap().add(&other.square().unwrap().sum_all().unwrap()).unwrap().backward(None).unwrap();
    assert_eq!(gradient(&x), [3.0, 1.0]);
}

#[test]
fn gradients_of_chosen_inputs() {
    let (x, y) = (leaf(&[2.0]), leaf(&[5.0]));
    let product = x.mul(&y).unwrap();
    let z = product.square().unwrap();
    let unused = leaf(&[1.0]);
    let found = grad(&[&z], &[None], &[&product, &x, &unused], false, false).unwrap();
    assert_eq!(numbers(found[0].as_ref().unwrap()), [20.0]);
    assert_eq!(numbers(found[1].as_ref().unwrap()), [100.0]);
    assert!(found[2].is_none() && x.grad().is_none());
    assert!(grad(&[&z], &[None], &[&Tensor::zeros(&[1]).unwrap()], false, false).is_err());
}

#[test]
fn gradients_of_gradients() {
    let x = leaf(&[2.0]);
    // x³ by its saved input, eˣ by its saved output.
    let y = x.mul(&x).unwrap().mul(&x).unwrap().add(&x.exp().unwrap()).unwrap();
    let first = grad(&[&y], &[None], &[&x], true, true).unwrap().remove(0).unwrap();
    assert!((numbers(&first)[0] - (12.0 + 2f64.exp())).abs() < 1e-12);
    let second = grad(&[&first], &[None], &[&x], false, false).unwrap().remove(0).unwrap();
    assert!((numbers(&second)[0] - (12.0 + 2f64.exp())).abs() < 1e-12);
}

#[test]
fn results_keep_their_gradient_when_asked() {
    let x = leaf(&[3.0]);
    let y = x.mul(2.0).unwrap();
    y.retain_grad().unwrap();
    y.square().unwrap().backward(None).unwrap();
    assert_eq!((gradient(&y), gradient(&x)), (vec![12.0], vec![24.0]));
}

#[test]
fn foreign_functions_take_part() {
    let x = leaf(&[1.0, 2.0]);
    let seen = Arc::new(Mutex::new(0));
    let count = seen.clone();
    let doubled = no_grad(|| x.mul(2.0)).unwrap();
    let y = external("double", &[doubled.clone(), doubled], &[&x], Arc::new("there"), move |grads| {
        *count.lock().unwrap() += 1;
        Ok(vec![Some(grads[0].add(&grads[1])?.mul(2.0)?)])
    });
    y[0].sum_all().unwrap().backward(None).unwrap();
    assert_eq!((gradient(&x), *seen.lock().unwrap()), (vec![2.0, 2.0], 1));
    // Also when nothing of ours asks: the rule may pass the gradient on.
    let count = seen.clone();
    let marks_of = |tensor: &Tensor| -> Vec<&str> {
        marks(&[tensor]).iter().map(|mark| *mark.downcast_ref::<&str>().unwrap()).collect()
    };
    assert_eq!(marks_of(&y[1].mul(&y[0]).unwrap().exp().unwrap()), ["there"]);
    assert!(marks_of(&x).is_empty());
    let z = external("elsewhere", &[Tensor::ones(&[1], DType::F64).unwrap()], &[], Arc::new(()), move |_| {
        *count.lock().unwrap() += 1;
        Ok(vec![])
    });
    z[0].backward(None).unwrap();
    assert_eq!(*seen.lock().unwrap(), 2);
}

#[test]
fn a_long_chain_needs_no_stack() {
    let x = leaf(&[1.0]);
    let chain = |length: usize| {
        let mut y = x.add(0.0).unwrap();
        for _ in 0..length {
            y = y.mul(1.0).unwrap();
        }
        y
    };
    chain(50_000).backward(None).unwrap();
    assert_eq!(gradient(&x), [1.0]);
    drop(chain(50_000));
}

#[test]
fn a_result_that_is_saved_does_not_keep_itself_alive() {
    let x = leaf(&[1.0]);
    let y = x.exp().unwrap();
    let memory = Arc::downgrade(y.storage());
    drop(y);
    assert!(memory.upgrade().is_none());
}

#[test]
fn a_leaf_is_frozen_once_that_is_said() {
    let x = Tensor::ones(&[2], DType::F64).unwrap();
    assert!(!x.is_frozen());
    x.set_requires_grad(false).unwrap();
    assert!(x.is_frozen());
    x.set_requires_grad(true).unwrap();
    assert!(!x.is_frozen());
    let y = x.exp().unwrap();
    assert!(y.set_requires_grad(false).is_err());
    assert!(!y.is_frozen());
    x.set_requires_grad(false).unwrap();
    assert!(x.is_frozen() && !x.requires_grad());
}

#[test]
fn a_gradient_that_is_expected_is_not_recorded_yet() {
    let x = Tensor::ones(&[2], DType::F64).unwrap();
    x.expect_grad();
    assert!(x.expects_grad() && !x.requires_grad() && !x.exp().unwrap().requires_grad());
    x.set_requires_grad(false).unwrap();
    x.expect_grad();
    assert!(!x.expects_grad() && x.is_frozen());
    x.set_requires_grad(true).unwrap();
    x.expect_grad();
    assert!(!x.expects_grad() && x.requires_grad());
    let whole = Tensor::ones(&[2], DType::I64).unwrap();
    whole.expect_grad();
    assert!(!whole.expects_grad());
}
