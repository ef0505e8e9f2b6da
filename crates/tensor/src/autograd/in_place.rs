//! Changing a tensor in place when gradients are asked for.
//!
//! A changed tensor is a new one at the old address, so it gets a new history: that of the values written. A change through a view is a
//! change of the view's base, whose new history is "the old base with this part replaced"; views then take their history from the base
//! anew when they are next used.

use super::history::Edge;
use super::{is_grad_enabled, record};
use crate::layout::Layout;
use crate::{Error, Result, Tensor};

/// What becomes of what a tensor was before it was written over.
#[derive(Clone, Copy)]
pub(crate) enum Before {
    /// Nothing is left of it: its gradient is zero.
    Overwritten,
    /// The values written were made from it, and pass the gradient on.
    InValues,
}

impl Tensor {
    /// Refuses what must not be changed in place. Whether the change is to be recorded is returned.
    pub(crate) fn check_in_place(&self, op: &'static str, values: &[&Tensor]) -> Result<bool> {
        if !self.storage().is_writable() {
            return Err(Error::argument(op, "the memory is read-only: clone the tensor first"));
        }
        let repeats = |(&size, &stride): (&usize, &isize)| size > 1 && stride == 0;
        if self.numel() > 0 && self.shape().iter().zip(self.layout().strides()).any(repeats) {
            let message = "several elements of this expanded tensor share one address: clone it first";
            return Err(Error::argument(op, message));
        }
        if !is_grad_enabled() {
            return Ok(false);
        }
        let target = self.base().unwrap_or(self);
        if matches!(target.edge(), Some(Edge::Leaf(_))) {
            let rule = if self.base().is_some() {
                "a view of a leaf that requires a gradient cannot be changed in place: do it within no_grad"
            } else {
                "a leaf that requires a gradient cannot be changed in place: do it within no_grad"
            };
            return Err(Error::Graph { op, rule });
        }
        Ok(self.requires_grad() || target.requires_grad() || values.iter().any(|value| value.requires_grad()))
    }

    /// Gives this tensor, whose memory now holds `values`, their history.
    pub(crate) fn rebase(&self, values: &Tensor, before: Before) -> Result<()> {
        let stamp = self.storage().version();
        let Some(base) = self.base() else {
            let values = values.to_dtype(self.dtype())?.expand(self.shape())?;
            let edge = match (before, self.edge()) {
                (Before::Overwritten, Some(old)) => {
                    let old = self.with_edge(old);
                    let after = record("copy_", self.detach(), &[&old, &values], &[], |b| {
                        Ok(vec![b.when(0, || b.grad().zeros_like())?, Some(b.grad().clone())])
                    });
                    after.edge()
                }
                _ => values.edge(),
            };
            self.history().set(edge, stamp);
            return Ok(());
        };
        let region = self.region(base)?;
        let before = match base.edge() {
            Some(edge) => base.with_edge(edge),
            None => base.detach(),
        };
        let after = record("copy_slices", base.detach(), &[&before, values], &[], move |b| {
            let rest = b.when(0, || {
                let rest = b.grad().copy()?;
                rest.as_view(&region)?.fill_(0.0)?;
                Ok(rest)
            })?;
            let written = b.when(1, || b.grad().contiguous()?.as_view(&region)?.copy())?;
            Ok(vec![rest, written])
        });
        base.history().set(after.edge(), stamp);
        Ok(())
    }

    /// The history of this view of `base`, which has got a new one.
    pub(super) fn edge_from(&self, base: &Tensor) -> Option<Edge> {
        let region = self.region(base).ok()?;
        let shape = crate::Shape::from(base.shape());
        let view = record("as_view", self.detach(), &[base], &[], move |b| {
            let whole = Tensor::zeros_on(&shape, b.grad().dtype(), b.grad().device())?;
            // Elements that the view repeats get the sum of their gradients.
            let once: Vec<usize> = region
                .shape()
                .iter()
                .zip(region.strides())
                .map(|(&n, &stride)| if stride == 0 { 1 } else { n })
                .collect();
            let grad = b.grad().sum_to(&once)?;
            whole.as_view(&Layout::strided(&once, region.strides(), region.offset()))?.copy_(&grad)?;
            Ok(vec![Some(whole)])
        });
        let edge = view.edge();
        self.history().set(edge.clone(), self.storage().version());
        edge
    }

    /// Where this view lies within a contiguous copy of its base.
    fn region(&self, base: &Tensor) -> Result<Layout> {
        if !base.is_contiguous() {
            let message = "a view of a tensor that is not contiguous cannot be changed in place where gradients are asked for: clone it";
            return Err(Error::argument("copy_", message));
        }
        let layout = self.layout();
        let offset = layout.offset().wrapping_sub(base.layout().offset());
        Ok(Layout::strided(layout.shape(), layout.strides(), offset))
    }

    /// The elements of this contiguous tensor at `region`.
    fn as_view(&self, region: &Layout) -> Result<Tensor> {
        let offset = self.layout().offset() + region.offset();
        let layout = Layout::strided(region.shape(), region.strides(), offset);
        Tensor::from_storage(self.storage().clone(), layout.clone(), self.dtype())?;
        Ok(self.view_with(layout))
    }
}
