//! From results back to leaves.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use super::history::Edge;
use super::node::{Node, Source, next_sequence};
use super::with_grad;
use crate::{DType, Device, Error, Result, Shape, Tensor, profile};

/// Adds to the `grad` of every leaf that `outputs` were made from the gradient of the sum of their products with `gradients`. The
/// gradient of a single number may be left out, and is one.
///
/// What the operations had saved is freed unless `retain_graph`; with `create_graph` the walk is itself recorded, so that gradients can be
/// differentiated again.
///
/// # Errors
/// `Argument` when an output requires no gradient or lacks its gradient; `Shapes` when that has another shape; `Graph` when the graph
/// was freed; `Modified` when a tensor that is needed was changed in place.
pub fn backward(
    outputs: &[&Tensor],
    gradients: &[Option<Tensor>],
    retain_graph: bool,
    create_graph: bool,
) -> Result<()> {
    let _measured = profile::span("backward");
    let roots = roots(outputs, gradients)?;
    walk(roots, None, retain_graph, create_graph, |edge, grad| match edge {
        Edge::Leaf(leaf) => leaf.accumulate(grad),
        Edge::Node(..) => Ok(()),
    })
}

/// The gradients of `inputs`, as [`backward`] would compute them, without touching any leaf. `None` for an input that the outputs do not
/// depend on.
///
/// # Errors
/// As for [`backward`], and `Argument` when an input requires no gradient.
pub fn grad(
    outputs: &[&Tensor],
    gradients: &[Option<Tensor>],
    inputs: &[&Tensor],
    retain_graph: bool,
    create_graph: bool,
) -> Result<Vec<Option<Tensor>>> {
    let keys: Vec<Key> = inputs
        .iter()
        .map(|input| {
            let edge = input
                .edge()
                .ok_or_else(|| Error::argument("grad", "one of the inputs does not require a gradient"))?;
            Ok(key(&edge))
        })
        .collect::<Result<_>>()?;
    let targets: HashSet<Key> = keys.iter().copied().collect();
    let mut found = HashMap::new();
    walk(roots(outputs, gradients)?, Some(&targets), retain_graph, create_graph, |edge, grad| {
        accumulate(found.entry(key(edge)).or_default(), grad)
    })?;
    Ok(keys.iter().map(|key| found.get(key).cloned().flatten()).collect())
}

impl Tensor {
    /// [`backward`] from this tensor alone.
    ///
    /// # Errors
    /// As for [`backward`].
    pub fn backward(&self, gradient: Option<&Tensor>) -> Result<()> {
        backward(&[self], &[gradient.cloned()], false, false)
    }
}

/// Which place a gradient goes to: a leaf, or a result of a node.
type Key = (usize, usize);

pub(super) fn key(edge: &Edge) -> Key {
    match edge {
        Edge::Leaf(leaf) => (Arc::as_ptr(leaf) as usize, 0),
        Edge::Node(node, index) => (Arc::as_ptr(node) as usize, *index),
    }
}

/// Newest first.
struct Newest(Arc<Node>);

impl PartialEq for Newest {
    fn eq(&self, other: &Newest) -> bool {
        self.0.sequence == other.0.sequence
    }
}
impl Eq for Newest {}
impl PartialOrd for Newest {
    fn partial_cmp(&self, other: &Newest) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Newest {
    fn cmp(&self, other: &Newest) -> Ordering {
        self.0.sequence.cmp(&other.0.sequence)
    }
}

/// The outputs' edges with their gradients.
fn roots(outputs: &[&Tensor], gradients: &[Option<Tensor>]) -> Result<Vec<(Edge, Tensor)>> {
    if outputs.len() != gradients.len() {
        let message = format!("{} gradients were given for {} tensors", gradients.len(), outputs.len());
        return Err(Error::argument("backward", message));
    }
    let root = |(output, gradient): (&&Tensor, &Option<Tensor>)| {
        let edge = output.edge().ok_or_else(|| {
            Error::argument(
                "backward",
                "the tensor does not require a gradient and was not made from one that does",
            )
        })?;
        let gradient = match gradient {
            Some(gradient) if gradient.shape() != output.shape() => {
                let rule = "a gradient must have the shape of its tensor";
                let (left, right) = (output.shape().into(), gradient.shape().into());
                return Err(Error::Shapes { op: "backward", rule, left, right });
            }
            Some(gradient) => gradient.to_dtype(output.dtype())?,
            None if output.numel() == 1 => {
                Tensor::full_on(output.shape(), 1i64, output.dtype(), output.device())?
            }
            None => {
                let message = format!(
                    "only the gradient of a single number can be left out, got a tensor of shape {:?}",
                    output.shape()
                );
                return Err(Error::argument("backward", message));
            }
        };
        Ok((edge, gradient))
    };
    outputs.iter().zip(gradients).map(root).collect()
}

/// One walk from results to leaves. Nodes run newest first, so each runs when all its results' gradients have arrived.
struct Walk<'a> {
    /// The gradients asked for, and the nodes on a path to one of them; `None` when every leaf's is.
    targets: Option<(&'a HashSet<Key>, HashSet<*const Node>)>,
    queue: BinaryHeap<Newest>,
    /// The gradients that have arrived so far for the results of each node in the queue.
    pending: HashMap<*const Node, Vec<Option<Tensor>>>,
    /// Is given what comes to a leaf or a target.
    arrive: &'a mut dyn FnMut(&Edge, Tensor) -> Result<()>,
}

impl<'a> Walk<'a> {
    fn new(
        roots: &[(Edge, Tensor)],
        targets: Option<&'a HashSet<Key>>,
        arrive: &'a mut dyn FnMut(&Edge, Tensor) -> Result<()>,
    ) -> Walk<'a> {
        let targets = targets.map(|targets| (targets, on_a_path(roots, targets)));
        Walk { targets, queue: BinaryHeap::new(), pending: HashMap::new(), arrive }
    }

    fn is_target(&self, edge: &Edge) -> bool {
        self.targets.as_ref().is_some_and(|(targets, _)| targets.contains(&key(edge)))
    }

    /// Whether `node` must run.
    fn runs(&self, node: &Arc<Node>) -> bool {
        self.targets.as_ref().is_none_or(|(_, path)| path.contains(&Arc::as_ptr(node)))
    }

    fn wants(&self, edge: &Edge) -> bool {
        match edge {
            Edge::Leaf(_) => self.targets.is_none() || self.is_target(edge),
            Edge::Node(node, _) => self.runs(node) || self.is_target(edge),
        }
    }

    fn deliver(&mut self, edge: &Edge, grad: Tensor) -> Result<()> {
        match edge {
            _ if !self.wants(edge) => Ok(()),
            Edge::Leaf(_) => (self.arrive)(edge, grad),
            Edge::Node(node, index) => {
                let queue = &mut self.queue;
                let grads = self.pending.entry(Arc::as_ptr(node)).or_insert_with(|| {
                    queue.push(Newest(node.clone()));
                    vec![None; node.outputs.len()]
                });
                accumulate(&mut grads[*index], grad)
            }
        }
    }

    /// Brings gradients to results that were made `since`: their nodes are the newest, and so run before all others.
    fn go_on(&mut self, roots: Vec<(Edge, Tensor)>, since: u64) -> Result<()> {
        if let Some((targets, path)) = &mut self.targets {
            extend(path, &reachable(roots.iter().map(|(edge, _)| edge.clone()), since), targets);
        }
        roots.into_iter().try_for_each(|(edge, grad)| self.deliver(&edge, grad))
    }

    fn run(mut self, roots: Vec<(Edge, Tensor)>, retain: bool, create: bool) -> Result<()> {
        for (edge, grad) in roots {
            self.deliver(&edge, grad)?;
        }
        while let Some(Newest(node)) = self.queue.pop() {
            let grads = self.pending.remove(&Arc::as_ptr(&node)).unwrap_or_default();
            for (index, grad) in grads.iter().enumerate() {
                let Some(grad) = grad else { continue };
                if let Some(leaf) = node.retained(index) {
                    leaf.accumulate(grad.clone())?;
                }
                let edge = Edge::Node(node.clone(), index);
                if self.is_target(&edge) {
                    (self.arrive)(&edge, grad.clone())?;
                }
            }
            if !self.runs(&node) {
                continue;
            }
            let since = next_sequence();
            if let Some(again) = node.again(retain || create)? {
                let again =
                    again.iter().zip(grads).filter_map(|(output, grad)| Some((output.edge()?, grad?)));
                self.go_on(again.collect(), since)?;
                continue;
            }
            let device = grads.iter().flatten().next().map_or(Device::Cpu, Tensor::device);
            let or_zeros = |(grad, (shape, dtype)): (Option<Tensor>, &(Shape, DType))| match grad {
                Some(grad) => Ok(grad),
                None => Tensor::zeros_on(shape, *dtype, device),
            };
            let grads: Vec<Tensor> =
                grads.into_iter().zip(&node.outputs).map(or_zeros).collect::<Result<_>>()?;
            let wanted =
                |source: &Option<Source>| source.as_ref().is_some_and(|source| self.wants(&source.edge));
            let needed: Vec<bool> = node.sources.iter().map(wanted).collect();
            let results = node.run(&grads, &needed, retain || create, create)?;
            drop(grads);
            for (source, grad) in node.sources.iter().zip(results) {
                if let (Some(source), Some(grad)) = (source, grad) {
                    self.deliver(&source.edge, fit(grad, source)?)?;
                }
            }
        }
        Ok(())
    }
}

fn walk(
    roots: Vec<(Edge, Tensor)>,
    targets: Option<&HashSet<Key>>,
    retain: bool,
    create: bool,
    mut arrive: impl FnMut(&Edge, Tensor) -> Result<()>,
) -> Result<()> {
    with_grad(create, || Walk::new(&roots, targets, &mut arrive).run(roots, retain, create))
}

/// All nodes made `since` that `roots` were made by, oldest first.
pub(super) fn reachable(roots: impl Iterator<Item = Edge>, since: u64) -> Vec<Arc<Node>> {
    let mut stack: Vec<Edge> = roots.collect();
    let mut nodes: HashMap<*const Node, Arc<Node>> = HashMap::new();
    while let Some(edge) = stack.pop() {
        if let Edge::Node(node, _) = edge
            && node.sequence >= since
            && nodes.insert(Arc::as_ptr(&node), node.clone()).is_none()
        {
            stack.extend(node.sources.iter().flatten().map(|source| source.edge.clone()));
        }
    }
    let mut nodes: Vec<Arc<Node>> = nodes.into_values().collect();
    nodes.sort_by_key(|node| node.sequence);
    nodes
}

/// The nodes, among those that `roots` were made by, from which a target can be reached.
fn on_a_path(roots: &[(Edge, Tensor)], targets: &HashSet<Key>) -> HashSet<*const Node> {
    let mut path = HashSet::new();
    extend(&mut path, &reachable(roots.iter().map(|(edge, _)| edge.clone()), 0), targets);
    path
}

/// Brings those of the `nodes`, oldest first, to the `path` from which a target can be reached, and no others: one that is gone may have
/// had their address.
fn extend(path: &mut HashSet<*const Node>, nodes: &[Arc<Node>], targets: &HashSet<Key>) {
    // Whether its sources lead to a target is then known of each.
    for node in nodes {
        let leads = |edge: &Edge| {
            targets.contains(&key(edge))
                || matches!(edge, Edge::Node(source, _) if path.contains(&Arc::as_ptr(source)))
        };
        match node.sources.iter().flatten().any(|source| leads(&source.edge)) {
            true => path.insert(Arc::as_ptr(node)),
            false => path.remove(&Arc::as_ptr(node)),
        };
    }
}

/// `grad` in the form of the source that it belongs to: summed over what was broadcast, and in its dtype.
fn fit(grad: Tensor, source: &Source) -> Result<Tensor> {
    grad.sum_to(&source.shape)?.to_dtype(source.dtype)
}

fn accumulate(slot: &mut Option<Tensor>, grad: Tensor) -> Result<()> {
    *slot = Some(match slot.take() {
        None => grad,
        Some(sum) => add(sum, grad)?,
    });
    Ok(())
}

/// `sum + grad`, in the memory of `sum` if nobody else can see that.
pub(super) fn add(sum: Tensor, grad: Tensor) -> Result<Tensor> {
    if sum.is_sole() && !sum.requires_grad() && !grad.requires_grad() {
        sum.add_(&grad)?;
        return Ok(sum);
    }
    sum.add(&grad)
}
