//! Results that are computed again instead of kept (Chen et al. 2016).

use std::collections::HashSet;
use std::fmt::Display;

use super::history::Edge;
use super::is_grad_enabled;
use super::node::{Rule, Saved, link, next_sequence};
use super::walk::{key, reachable};
use crate::{Error, Tensor, autocast, with_autocast};

/// What `work` makes of the `inputs`. Where gradients are recorded, what it computes on the way is not kept: [`super::backward`] has it
/// work once more and goes on through what that records, so that the gradients, down to their bits and the order in which they are added up,
/// are those without a checkpoint. `work` must give the same again, random numbers included.
///
/// Whatever else of tensors it reads gets its gradient too. Those that ask for one must not change before the gradients are computed;
/// if they have, that is an error, as for what any operation saves.
///
/// # Errors
/// Those of `work`; as text in an `Argument` where it fails the second time only.
pub fn checkpoint<E: From<Error> + Display>(
    inputs: &[&Tensor],
    work: impl Fn(&[Tensor]) -> Result<Vec<Tensor>, E> + Send + Sync + 'static,
) -> Result<Vec<Tensor>, E> {
    let given: Vec<Tensor> = inputs.iter().map(|input| (*input).clone()).collect();
    if !is_grad_enabled() {
        return work(&given);
    }
    let since = next_sequence();
    // Recorded, though the record is dropped at once: it says where gradients will go, and what is computed is what will be again.
    let made = work(&given)?;
    let edges = || made.iter().filter_map(Tensor::edge);
    let inner = reachable(edges(), since);
    let mut known = HashSet::new();
    let mut is_outside = |edge: &Edge| {
        let is_older = !matches!(edge, Edge::Node(node, _) if node.sequence >= since);
        is_older && known.insert(key(edge))
    };
    let outside = inner.iter().flat_map(|node| &node.sources).flatten();
    let sources: Vec<_> =
        outside.filter(|source| is_outside(&source.edge)).map(|source| Some(source.clone())).collect();
    if sources.is_empty() {
        return Ok(made);
    }
    let mut saved: Vec<Saved> = inputs.iter().map(|input| Saved::of(input, &[])).collect();
    saved.extend(inner.iter().flat_map(|node| node.saved_leaves()));
    let scope = autocast();
    let again = move |saved: &[Tensor]| {
        with_autocast(scope, || work(saved)).map_err(|error| Error::argument("checkpoint", error.to_string()))
    };
    let outputs: Vec<Tensor> = made.iter().map(Tensor::detach).collect();
    link("checkpoint", &outputs, sources, saved, None, Rule::Again(inputs.len(), Box::new(again)));
    Ok(outputs)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::{backward, grad, no_grad};
    use super::*;
    use crate::ops::Generator;
    use crate::testing::draw;
    use crate::{DType, Result};

    fn leaf(shape: &[usize], seed: u64) -> Tensor {
        let x = draw(shape, (-1.0, 1.0), seed).to_dtype(DType::F32).unwrap();
        x.set_requires_grad(true).unwrap();
        x
    }

    fn bits(x: &Tensor) -> Vec<u32> {
        x.contiguous().unwrap().as_slice::<f32>().unwrap().iter().map(|x| x.to_bits()).collect()
    }

    /// Three layers of one matrix and a bias that all share, with dropout.
    fn network(x: &Tensor, shared: [&Tensor; 2], checkpointed: bool) -> Result<Tensor> {
        let mut x = x.exp()?;
        for seed in 0..3 {
            let [weight, bias] = shared.map(Tensor::clone);
            let layer = move |x: &[Tensor]| -> Result<Vec<Tensor>> {
                let y = x[0].matmul(&weight)?.tanh()?.dropout(0.3, &Generator::new(seed))?;
                Ok(vec![y.add(&bias)?.add(&x[0])?, y])
            };
            let made = if checkpointed { checkpoint(&[&x], layer)? } else { layer(&[x])? };
            x = made[0].clone();
        }
        x.square()?.sum_all()
    }

    #[test]
    fn gradients_are_the_same_bits() {
        let run = |checkpointed| {
            let (x, weight, bias) = (leaf(&[5, 4], 1), leaf(&[4, 4], 2), leaf(&[4], 3));
            let made = bias.exp().unwrap();
            let loss = network(&x, [&weight, &made], checkpointed).unwrap();
            assert!(!checkpointed || bits(&loss) == bits(&network(&x, [&weight, &made], false).unwrap()));
            backward(&[&loss], &[None], false, false).unwrap();
            [x, weight, bias].map(|leaf| bits(&leaf.grad().unwrap()))
        };
        assert_eq!(run(true), run(false));
    }

    #[test]
    fn chosen_gradients_and_gradients_of_gradients() {
        let (x, weight, bias) = (leaf(&[5, 4], 1), leaf(&[4, 4], 2), leaf(&[4], 3));
        let run = |checkpointed, inputs: &[&Tensor]| {
            let loss = network(&x, [&weight, &bias], checkpointed).unwrap();
            let first = grad(&[&loss], &[None], inputs, true, true).unwrap();
            let sum = first[0].as_ref().unwrap().square().unwrap().sum_all().unwrap();
            let second = grad(&[&sum], &[None], &[&weight], false, false).unwrap().remove(0).unwrap();
            (first.into_iter().map(|grad| bits(&grad.unwrap().detach())).collect::<Vec<_>>(), second)
        };
        for inputs in [&[&x][..], &[&weight, &x], &[&bias]] {
            let ((first, second), (plain_first, plain_second)) = (run(true, inputs), run(false, inputs));
            assert_eq!(first, plain_first);
            // What is recorded anew is newer than the rest, so the second derivatives are added up in another order.
            let apart = second.sub(&plain_second).unwrap().abs().unwrap().amax(&[], false).unwrap();
            let largest = plain_second.abs().unwrap().amax(&[], false).unwrap();
            assert!(apart.item().unwrap().to_f64() < 1e-5 * largest.item().unwrap().to_f64());
        }
        assert!(x.grad().is_none());
    }

    #[test]
    fn nothing_is_kept_and_nothing_done_twice_where_nothing_asks() {
        let count = Arc::new(AtomicUsize::new(0));
        let square = |x: &Tensor| {
            let count = count.clone();
            checkpoint(&[x], move |x| -> Result<Vec<Tensor>> {
                count.fetch_add(1, Ordering::Relaxed);
                Ok(vec![x[0].exp()?.square()?])
            })
            .unwrap()
            .remove(0)
        };
        let x = Tensor::ones(&[2], DType::F32).unwrap();
        assert!(!square(&x).requires_grad());
        x.set_requires_grad(true).unwrap();
        assert!(!no_grad(|| square(&x)).requires_grad());
        let y = square(&x);
        assert_eq!((y.grad_fn(), count.load(Ordering::Relaxed)), (Some("checkpoint"), 3));
        y.sum_all().unwrap().backward(None).unwrap();
        assert_eq!(count.load(Ordering::Relaxed), 4);
        assert!(y.sum_all().unwrap().backward(None).is_err());
    }

    #[test]
    fn what_has_changed_since_is_refused() {
        let (x, weight) = (leaf(&[2, 2], 1), leaf(&[2, 2], 2));
        let run = || {
            let weight = weight.clone();
            let work = move |x: &[Tensor]| -> Result<Vec<Tensor>> { Ok(vec![x[0].matmul(&weight)?]) };
            checkpoint(&[&x], work).unwrap().remove(0).sum_all().unwrap()
        };
        for changed in [&x, &weight] {
            let loss = run();
            no_grad(|| changed.mul_(2.0)).unwrap();
            assert!(matches!(loss.backward(None), Err(Error::Modified { .. })));
        }
    }
}
