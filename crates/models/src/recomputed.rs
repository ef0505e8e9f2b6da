//! Gradient checkpointing (Chen et al. 2016): what a layer computes is not kept, but computed again when its gradients are.

use std::sync::Arc;

use trustformers_tensor::{Tensor, Workspace, autograd};

use crate::block::{Layer, Step};
use crate::dropout::Dropout;
use crate::{Error, Result};

/// [`Layer::forward`] of a layer that keeps its input alone, with dropout that follows from `seed`. Not for a pass with a cache, which no
/// layer may change twice.
pub fn forward(
    layer: &Arc<Layer>,
    hidden: Tensor,
    index: usize,
    seed: Option<u64>,
    step: &mut Step,
) -> Result<Tensor> {
    let (own, shared, source) = (layer.clone(), step.shared.clone(), step.source.clone());
    let readers = step.readers.take();
    let asked = [&step.attentions, &step.cross_attentions, &step.routed].map(Option::is_some);
    let run = move |inputs: &[Tensor]| -> Result<Vec<Tensor>> {
        let [attentions, cross_attentions, routed] = asked.map(|asked| asked.then(Vec::new));
        let mut step = Step {
            shared: &shared,
            cache: None,
            source: source.clone(),
            attentions,
            cross_attentions,
            routed,
            readers: readers.clone(),
            dropout: Dropout::new(seed),
            workspace: Workspace::default(),
        };
        let hidden = own.forward(inputs[0].clone(), index, &mut step)?;
        let Step { attentions, cross_attentions, routed, .. } = step;
        let others = [attentions, cross_attentions, routed].into_iter().flatten().flatten();
        Ok([hidden].into_iter().chain(others).collect())
    };
    let mut results = autograd::checkpoint(&[&hidden], run)?.into_iter();
    let lost = || Error::Runtime("a layer gave nothing".into());
    let hidden = results.next().ok_or_else(lost)?;
    let crosses = layer.crosses() && step.source.is_some();
    let lists = [
        (&mut step.attentions, true),
        (&mut step.cross_attentions, crosses),
        (&mut step.routed, layer.routes()),
    ];
    for (list, _) in lists.into_iter().filter(|(_, gives)| *gives) {
        if let Some(list) = list {
            list.push(results.next().ok_or_else(lost)?);
        }
    }
    Ok(hidden)
}
