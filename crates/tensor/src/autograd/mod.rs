//! Reverse-mode differentiation: a tape that is written only where a gradient is asked for.
//!
//! An operation on tensors of which one asks for a gradient makes a `Node`: where its sources' gradients go, what it saved, and the
//! rule that turns the gradient of its result into those of its sources. [`backward`] walks the nodes from the result to the leaves.
//! A rule is written beside its operation; everything else (which gradients are needed, un-broadcasting, accumulation, versions, the
//! walk itself) is here, once.

mod checkpoint;
mod history;
mod in_place;
mod node;
mod walk;

#[cfg(test)]
mod tests;

use std::cell::Cell;

pub use checkpoint::checkpoint;
pub(crate) use history::History;
pub use history::Leaf;
pub(crate) use in_place::Before;
pub use node::{Backward, Grads, Mark, external, marks};
pub(crate) use node::{differentiate, fused, record};
pub use walk::{backward, grad};

thread_local! {
    static ENABLED: Cell<bool> = const { Cell::new(true) };
}

/// Whether operations of this thread are recorded for [`backward`].
pub fn is_grad_enabled() -> bool {
    ENABLED.get()
}

/// Sets whether operations of this thread are recorded, and says how it was before.
pub fn set_grad_enabled(enabled: bool) -> bool {
    ENABLED.replace(enabled)
}

/// Runs `work` with recording on or off, and restores what was before, even if `work` panics.
pub fn with_grad<R>(enabled: bool, work: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            ENABLED.set(self.0);
        }
    }
    let _restore = Restore(ENABLED.replace(enabled));
    work()
}

/// Runs `work` without recording: nothing computed in it can be differentiated.
pub fn no_grad<R>(work: impl FnOnce() -> R) -> R {
    with_grad(false, work)
}
