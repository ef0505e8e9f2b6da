//! What is recorded of one operation.

use std::any::Any;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use smallvec::SmallVec;

use super::history::{Edge, Leaf, lock};
use super::{is_grad_enabled, walk, with_grad};
use crate::profile::{self, Module};
use crate::{DType, Error, Result, Shape, Tensor};

/// One optional gradient for each source of an operation; `None` is zero.
pub type Grads = Vec<Option<Tensor>>;

/// What a rule is given.
pub struct Backward<'a> {
    /// The gradients of the operation's results.
    pub grads: &'a [Tensor],
    /// What the operation saved.
    pub saved: &'a [Tensor],
    pub(super) needed: &'a [bool],
}

impl Backward<'_> {
    /// The gradient of the operation's first, usually only, result.
    pub fn grad(&self) -> &Tensor {
        &self.grads[0]
    }

    /// The same with only the first `count` of the saved tensors: the sources, where more was saved.
    pub(crate) fn of_sources(&self, count: usize) -> Backward<'_> {
        Backward { grads: self.grads, saved: &self.saved[..count], needed: self.needed }
    }

    /// Whether anybody wants the gradient of the source numbered `index`; where not, a rule can spare the work.
    pub fn needs(&self, index: usize) -> bool {
        self.needed[index]
    }

    /// Whether the operation has a source numbered `index`: not all have all their operands.
    pub fn has(&self, index: usize) -> bool {
        index < self.needed.len()
    }

    /// The gradient of the source numbered `index`, computed if anybody wants it.
    pub fn when(&self, index: usize, grad: impl FnOnce() -> Result<Tensor>) -> Result<Option<Tensor>> {
        self.needs(index).then(grad).transpose()
    }
}

type Gradients = dyn Fn(&Backward) -> Result<Grads> + Send + Sync;
type Again = dyn Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync;

/// How gradients come to the sources of a node.
pub(super) enum Rule {
    /// From those of the results.
    Gradients(Box<Gradients>),
    /// Along what is recorded when the results are made again of so many of the saved tensors, see [`super::checkpoint`].
    Again(usize, Box<Again>),
}

/// A source of an operation: where its gradient goes, and the form that it must have there.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) edge: Edge,
    pub(super) shape: Shape,
    pub(super) dtype: DType,
}

/// A tensor that a rule needs, as it was.
#[derive(Clone)]
pub(super) struct Saved {
    /// Without history: a result that knew its own node would keep it, and so itself, alive for ever.
    tensor: Tensor,
    version: u64,
    edge: Origin,
}

#[derive(Clone)]
enum Origin {
    None,
    Edge(Edge),
    Output(usize),
}

/// What is given back once a graph has been walked.
struct Tape {
    saved: Vec<Saved>,
    rule: Rule,
}

/// What an [`external`] operation is recognised by.
pub type Mark = Arc<dyn Any + Send + Sync>;

/// A recorded operation.
pub(crate) struct Node {
    op: &'static str,
    /// Grows from node to node, so every source is older than what was made of it.
    pub(super) sequence: u64,
    pub(super) sources: Vec<Option<Source>>,
    pub(super) outputs: SmallVec<[(Shape, DType); 1]>,
    mark: Option<Mark>,
    /// For whom it was recorded, if that was measured.
    module: Option<Module>,
    tape: Mutex<Option<Arc<Tape>>>,
    retained: Mutex<Vec<(usize, Arc<Leaf>)>>,
}

impl Node {
    pub(super) fn op(&self) -> &'static str {
        self.op
    }

    pub(super) fn retain(&self, index: usize) {
        let mut retained = lock(&self.retained);
        if !retained.iter().any(|(i, _)| *i == index) {
            retained.push((index, Arc::default()));
        }
    }

    pub(super) fn retained(&self, index: usize) -> Option<Arc<Leaf>> {
        lock(&self.retained).iter().find(|(i, _)| *i == index).map(|(_, leaf)| leaf.clone())
    }

    /// What the rule needs, which is given back unless it is to be retained.
    fn tape(&self, retain: bool) -> Result<Arc<Tape>> {
        let tape = if retain { lock(&self.tape).clone() } else { lock(&self.tape).take() };
        tape.ok_or(Error::Graph {
            op: self.op,
            rule: "the graph was walked before and what it had saved is freed: pass retain_graph=True the first time",
        })
    }

    /// The results made again, recorded, if that is how gradients come to the sources.
    pub(super) fn again(self: &Arc<Node>, retain: bool) -> Result<Option<Vec<Tensor>>> {
        let is_rule = |tape: &Arc<Tape>| matches!(tape.rule, Rule::Again(..));
        if !lock(&self.tape).as_ref().is_some_and(is_rule) {
            return Ok(None);
        }
        let tape = self.tape(retain)?;
        let Rule::Again(count, work) = &tape.rule else { return Ok(None) };
        let saved = tape.saved.iter().map(|saved| self.unpack(saved, true)).collect::<Result<Vec<_>>>()?;
        with_grad(true, || work(&saved[..*count])).map(Some)
    }

    /// What its rule needs of tensors that leaves' gradients go to.
    pub(super) fn saved_leaves(&self) -> Vec<Saved> {
        let tape = lock(&self.tape).clone();
        let saved = tape.iter().flat_map(|tape| &tape.saved);
        saved.filter(|saved| matches!(saved.edge, Origin::Edge(Edge::Leaf(_)))).cloned().collect()
    }

    /// The gradients of the sources, given those of the results.
    pub(super) fn run(
        self: &Arc<Node>,
        grads: &[Tensor],
        needed: &[bool],
        retain: bool,
        create: bool,
    ) -> Result<Grads> {
        let _measured = profile::backward(self.op, &self.module);
        let tape = self.tape(retain)?;
        let Rule::Gradients(rule) = &tape.rule else {
            return Err(Error::argument(self.op, "what is made again has no gradients of its own"));
        };
        let saved: Vec<Tensor> =
            tape.saved.iter().map(|saved| self.unpack(saved, create)).collect::<Result<_>>()?;
        let grads = rule(&Backward { grads, saved: &saved, needed })?;
        if grads.len() != self.sources.len() {
            let message =
                format!("{} gradients were returned for {} sources", grads.len(), self.sources.len());
            return Err(Error::argument(self.op, message));
        }
        Ok(grads)
    }

    fn unpack(self: &Arc<Node>, saved: &Saved, create: bool) -> Result<Tensor> {
        let version = saved.tensor.storage().version();
        if version != saved.version {
            return Err(Error::Modified {
                op: self.op,
                shape: saved.tensor.shape().into(),
                dtype: saved.tensor.dtype(),
                version,
                expected: saved.version,
            });
        }
        Ok(match &saved.edge {
            Origin::Edge(edge) if create => saved.tensor.with_edge(edge.clone()),
            Origin::Output(index) if create => saved.tensor.with_edge(Edge::Node(self.clone(), *index)),
            _ => saved.tensor.clone(),
        })
    }

    /// Every node that this one keeps alive.
    fn take_sources(&mut self) -> Vec<Arc<Node>> {
        let mut edges: Vec<Edge> =
            mem::take(&mut self.sources).into_iter().flatten().map(|s| s.edge).collect();
        if let Some(tape) = lock(&self.tape).take().and_then(Arc::into_inner) {
            edges.extend(tape.saved.into_iter().filter_map(|saved| match saved.edge {
                Origin::Edge(edge) => Some(edge),
                _ => None,
            }));
        }
        let nodes = edges.into_iter().filter_map(|edge| match edge {
            Edge::Node(node, _) => Some(node),
            Edge::Leaf(_) => None,
        });
        nodes.collect()
    }
}

impl Drop for Node {
    /// One after another: a chain of a million operations dropped recursively would overflow the stack.
    fn drop(&mut self) {
        let mut last = self.take_sources();
        while let Some(node) = last.pop() {
            if let Some(mut node) = Arc::into_inner(node) {
                last.extend(node.take_sources());
            }
        }
    }
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// The number of the node that is made next.
pub(super) fn next_sequence() -> u64 {
    NEXT.load(Ordering::Relaxed)
}

/// Has the `outputs` remember how their gradients go to the `sources`.
fn attach(
    op: &'static str,
    outputs: &[Tensor],
    sources: &[&Tensor],
    saved: &[&Tensor],
    mark: Option<Mark>,
    rule: Rule,
) {
    let save = |tensor: &&Tensor| Saved::of(tensor, outputs);
    let source = |tensor: &&Tensor| {
        let edge = tensor.dtype().is_float().then(|| tensor.edge()).flatten()?;
        Some(Source { edge, shape: tensor.shape().into(), dtype: tensor.dtype() })
    };
    let (sources, saved) = (sources.iter().map(source).collect(), saved.iter().map(save).collect());
    link(op, outputs, sources, saved, mark, rule);
}

/// [`attach`] where it is known already what of the sources and of the saved tensors is kept.
pub(super) fn link(
    op: &'static str,
    outputs: &[Tensor],
    sources: Vec<Option<Source>>,
    saved: Vec<Saved>,
    mark: Option<Mark>,
    rule: Rule,
) {
    let node = Arc::new(Node {
        op,
        sequence: NEXT.fetch_add(1, Ordering::Relaxed),
        sources,
        outputs: outputs.iter().map(|output| (output.shape().into(), output.dtype())).collect(),
        mark,
        module: profile::here(),
        tape: Mutex::new(Some(Arc::new(Tape { saved, rule }))),
        retained: Mutex::default(),
    });
    for (index, output) in outputs.iter().enumerate().filter(|(_, output)| output.dtype().is_float()) {
        let edge = Edge::Node(node.clone(), index);
        output.history().set(Some(edge), output.storage().version());
    }
}

impl Saved {
    /// The `tensor`, which may be one of the `outputs`.
    pub(super) fn of(tensor: &Tensor, outputs: &[Tensor]) -> Saved {
        let output = outputs.iter().position(|output| output.is(tensor));
        let edge = match output {
            Some(index) => Origin::Output(index),
            None => tensor.edge().map_or(Origin::None, Origin::Edge),
        };
        let version = tensor.storage().version();
        let tensor = if output.is_some() { tensor.detach() } else { tensor.without_history() };
        Saved { tensor, version, edge }
    }
}

/// Whether an operation on `sources` is to be recorded.
fn asked(sources: &[&Tensor]) -> bool {
    is_grad_enabled() && sources.iter().any(|source| source.requires_grad())
}

/// Gives `output`, which nobody else holds yet, with the memory of how its gradient goes to `sources`; it is only written where one of
/// them asks for it. What the rule needs goes into `saved`, not into the closure: then it is checked for changes and given back.
pub(crate) fn record(
    op: &'static str,
    output: Tensor,
    sources: &[&Tensor],
    saved: &[&Tensor],
    rule: impl Fn(&Backward) -> Result<Grads> + Send + Sync + 'static,
) -> Tensor {
    if asked(sources) {
        attach(op, std::slice::from_ref(&output), sources, saved, None, Rule::Gradients(Box::new(rule)));
    }
    output
}

/// A step that a kernel does at once, whose gradient is that of its `composed` form: the same result made of smaller operations. A fast
/// kernel can so never lose a gradient.
pub(crate) fn fused(
    op: &'static str,
    output: Tensor,
    sources: &[&Tensor],
    composed: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Tensor {
    record(op, output, sources, sources, move |b| differentiate(b, &composed))
}

/// The gradients of what an operation saved, all of its sources, by its composed form.
pub(crate) fn differentiate(b: &Backward, composed: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<Grads> {
    // Where the rule is recorded itself, the saved tensors have their history, and so has what is made of them.
    let recorded = is_grad_enabled();
    let inputs: Vec<Tensor> =
        if recorded { b.saved.to_vec() } else { b.saved.iter().map(Tensor::detach).collect() };
    for (index, input) in inputs.iter().enumerate() {
        if b.needs(index) && !input.requires_grad() {
            input.set_requires_grad(true)?;
        }
    }
    let output = with_grad(true, || composed(&inputs))?;
    let wanted: Vec<&Tensor> = inputs.iter().filter(|input| input.requires_grad()).collect();
    let mut found =
        walk::grad(&[&output], &[Some(b.grad().clone())], &wanted, recorded, recorded)?.into_iter();
    Ok(inputs.iter().map(|input| input.requires_grad().then(|| found.next().flatten()).flatten()).collect())
}

/// Results whose gradients are computed elsewhere, such as in PyTorch: `rule` is given the gradients of all `outputs` and returns one
/// for each of the `sources`. Recorded wherever recording is on, also when no source asks for a gradient: the rule may pass it on to
/// others. The tensors returned are new, over the same memory. [`marks`] finds `mark` again.
pub fn external(
    op: &'static str,
    outputs: &[Tensor],
    sources: &[&Tensor],
    mark: Mark,
    rule: impl Fn(&[Tensor]) -> Result<Grads> + Send + Sync + 'static,
) -> Vec<Tensor> {
    let outputs: Vec<Tensor> = outputs.iter().map(Tensor::detach).collect();
    if is_grad_enabled() {
        let rule = Rule::Gradients(Box::new(move |b| rule(b.grads)));
        attach(op, &outputs, sources, &[], Some(mark), rule);
    }
    outputs
}

/// The marks of all [`external`] operations that `outputs` were made from, oldest first.
pub fn marks(outputs: &[&Tensor]) -> Vec<Mark> {
    let nodes = walk::reachable(outputs.iter().filter_map(|output| output.edge()), 0);
    nodes.iter().filter_map(|node| node.mark.clone()).collect()
}
