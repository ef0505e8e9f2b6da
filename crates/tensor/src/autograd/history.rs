//! Where a tensor's gradient goes: to a leaf that keeps it, or to the operation that made the tensor.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::node::Node;
use crate::{Error, Result, Storage, Tensor};

/// A tensor for which a gradient was asked, or rather the place where that gradient is kept.
#[derive(Default)]
pub struct Leaf {
    grad: Mutex<Option<Tensor>>,
}

impl Leaf {
    pub(super) fn grad(&self) -> Option<Tensor> {
        lock(&self.grad).clone()
    }

    pub(super) fn set(&self, grad: Option<Tensor>) {
        *lock(&self.grad) = grad;
    }

    /// Adds `grad` to what is there, in place where nobody else holds it.
    pub(super) fn accumulate(&self, grad: Tensor) -> Result<()> {
        let mut slot = lock(&self.grad);
        *slot = Some(match slot.take() {
            None => grad.owned()?,
            Some(sum) => super::walk::add(sum, grad)?,
        });
        Ok(())
    }
}

/// Where a gradient goes.
#[derive(Clone)]
pub(crate) enum Edge {
    /// To a tensor that the user made and asked a gradient for.
    Leaf(Arc<Leaf>),
    /// To the operation, and which of its results the tensor is.
    Node(Arc<Node>, usize),
}

/// What a tensor knows of how it came about. Nothing, for most.
#[derive(Default)]
pub(crate) struct History {
    /// Whether there is an edge: read before the lock is taken, so that tensors without one cost nothing.
    tracked: AtomicBool,
    /// The storage's version at which the edge, or its absence, held: a view compares it with that of its base.
    stamp: AtomicU64,
    edge: Mutex<Option<Edge>>,
    /// What is wanted of the gradient of a leaf for which none is recorded: a [`Wish`].
    wish: AtomicU8,
}

/// What is wanted of a gradient that is not recorded.
#[repr(u8)]
enum Wish {
    /// Nothing was said.
    Unsaid,
    /// It is that of a parameter, and will be recorded where training begins.
    Expected,
    /// Somebody said that none is wanted.
    Frozen,
}

impl History {
    /// The history of a new view of `storage`.
    pub(crate) fn of_view(storage: &Storage) -> History {
        History { stamp: AtomicU64::new(storage.version()), ..History::default() }
    }

    pub(super) fn set(&self, edge: Option<Edge>, stamp: u64) {
        self.tracked.store(edge.is_some(), Ordering::Release);
        self.stamp.store(stamp, Ordering::Release);
        *lock(&self.edge) = edge;
    }

    fn get(&self) -> Option<Edge> {
        if self.tracked.load(Ordering::Acquire) { lock(&self.edge).clone() } else { None }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is kept is replaced as a whole, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Tensor {
    /// Whether operations on this tensor are recorded, because a gradient is asked for it or for something it was made from.
    pub fn requires_grad(&self) -> bool {
        self.history().tracked.load(Ordering::Acquire) || self.outdated_base().is_some()
    }

    /// Asks for this tensor's gradient, or no longer.
    ///
    /// # Errors
    /// `DType` when the elements are not floating-point numbers; `Argument` to stop it for the result of a recorded operation.
    pub fn set_requires_grad(&self, requires_grad: bool) -> Result<()> {
        let edge = self.edge();
        if !matches!(edge, Some(Edge::Node(..))) {
            self.wish(if requires_grad { Wish::Unsaid } else { Wish::Frozen });
        }
        match (edge, requires_grad) {
            (Some(Edge::Node(..)), false) => {
                let message = "only for leaves can requires_grad be turned off: use detach() for a tensor without history";
                Err(Error::argument("requires_grad", message))
            }
            (Some(_), true) | (None, false) => Ok(()),
            (Some(Edge::Leaf(_)), false) => {
                self.history().set(None, 0);
                Ok(())
            }
            (None, true) if !self.dtype().is_float() => Err(Error::DType {
                op: "requires_grad",
                rule: "only floating-point tensors can require gradients",
                dtype: self.dtype(),
            }),
            (None, true) => {
                self.history().set(Some(Edge::Leaf(Arc::default())), 0);
                Ok(())
            }
        }
    }

    /// Says of this leaf's gradient what was said of that of `other`, which may be nothing.
    ///
    /// # Errors
    /// As for [`Tensor::set_requires_grad`].
    pub fn set_requires_grad_as(&self, other: &Tensor) -> Result<()> {
        if other.requires_grad() || other.is_frozen() {
            return self.set_requires_grad(other.requires_grad());
        }
        Ok(())
    }

    /// Whether it was said last that no gradient of this leaf is wanted. Of a new tensor nothing was said: who trains may ask for its.
    pub fn is_frozen(&self) -> bool {
        self.wishes(Wish::Frozen)
    }

    /// Says that a gradient of this leaf will be asked for where training begins, unless it was said that none is wanted.
    ///
    /// Nothing is recorded yet, so that a model that was only opened computes as fast as can be.
    pub fn expect_grad(&self) {
        if self.dtype().is_float() && !self.requires_grad() && self.wishes(Wish::Unsaid) {
            self.wish(Wish::Expected);
        }
    }

    /// Whether [`Tensor::expect_grad`] was the last that was said.
    pub fn expects_grad(&self) -> bool {
        self.wishes(Wish::Expected)
    }

    fn wish(&self, wish: Wish) {
        self.history().wish.store(wish as u8, Ordering::Release);
    }

    fn wishes(&self, wish: Wish) -> bool {
        self.history().wish.load(Ordering::Acquire) == wish as u8
    }

    /// Whether this tensor was not made by a recorded operation.
    pub fn is_leaf(&self) -> bool {
        !matches!(self.edge(), Some(Edge::Node(..)))
    }

    /// The name of the recorded operation that made this tensor.
    pub fn grad_fn(&self) -> Option<&'static str> {
        match self.edge()? {
            Edge::Node(node, _) => Some(node.op()),
            Edge::Leaf(_) => None,
        }
    }

    /// The gradient that `backward` has left here.
    pub fn grad(&self) -> Option<Tensor> {
        match self.edge()? {
            Edge::Leaf(leaf) => leaf.grad(),
            Edge::Node(node, index) => node.retained(index)?.grad(),
        }
    }

    /// Replaces the gradient; `None` forgets it.
    ///
    /// # Errors
    /// `Argument` when this tensor keeps no gradient; `Shapes` when the gradient has another shape.
    pub fn set_grad(&self, grad: Option<Tensor>) -> Result<()> {
        if let Some(grad) = &grad
            && grad.shape() != self.shape()
        {
            let rule = "a gradient must have the shape of its tensor";
            let (left, right) = (self.shape().into(), grad.shape().into());
            return Err(Error::Shapes { op: "grad", rule, left, right });
        }
        let leaf = match self.edge() {
            Some(Edge::Leaf(leaf)) => Some(leaf),
            Some(Edge::Node(node, index)) => node.retained(index),
            None => None,
        };
        match leaf {
            Some(leaf) => leaf.set(grad),
            None if grad.is_none() => {}
            None => return Err(Error::argument("grad", "this tensor does not require a gradient")),
        }
        Ok(())
    }

    /// Has `backward` keep the gradient of this result of an operation, too. A leaf keeps its own anyway.
    ///
    /// # Errors
    /// `Argument` when the tensor requires no gradient.
    pub fn retain_grad(&self) -> Result<()> {
        match self.edge() {
            Some(Edge::Leaf(_)) => Ok(()),
            Some(Edge::Node(node, index)) => {
                node.retain(index);
                Ok(())
            }
            None => Err(Error::argument("retain_grad", "this tensor does not require a gradient")),
        }
    }

    /// The same elements without history: what is done with them is not recorded.
    pub fn detach(&self) -> Tensor {
        Tensor::over(self.storage().clone(), self.layout().clone(), self.dtype())
    }

    /// [`Tensor::detach`], or the tensor itself if it has no history anyway.
    pub(super) fn without_history(&self) -> Tensor {
        if self.requires_grad() || self.base().is_some() { self.detach() } else { self.clone() }
    }

    /// The same elements with a history.
    pub(super) fn with_edge(&self, edge: Edge) -> Tensor {
        let tensor = self.detach();
        tensor.history().set(Some(edge), self.storage().version());
        tensor
    }

    /// Where this tensor's gradient goes. A view whose base was changed in place since gets a new history from its base.
    pub(crate) fn edge(&self) -> Option<Edge> {
        match self.outdated_base() {
            Some(base) => self.edge_from(base),
            None => self.history().get(),
        }
    }

    /// The tensor that this is a view of, if that has got a new history since this view was taken or looked at.
    fn outdated_base(&self) -> Option<&Tensor> {
        let base = self.base()?;
        let stamp = |tensor: &Tensor| tensor.history().stamp.load(Ordering::Acquire);
        let outdated = base.history().tracked.load(Ordering::Acquire) && stamp(self) < stamp(base);
        outdated.then_some(base)
    }
}
