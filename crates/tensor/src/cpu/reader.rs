//! Reading one tensor run by run, for kernels that are not elementwise.

use std::mem::MaybeUninit;

use super::elementwise::{CHUNK, Operand, Scratch, Walk};
use super::number::{Load, Number};
use crate::{Result, Tensor};

/// Elements that a reader gives at once of a tensor that lies in one piece as the kernel wants it.
pub(super) const RUN: usize = 4 * CHUNK;

/// A tensor that is read alone.
struct Alone<'x, C> {
    x: &'x Tensor,
    walk: Walk<1>,
    load: Load<C>,
}

impl<C: Number> Alone<'_, C> {
    #[inline]
    fn operand(&self) -> Operand<'_, C> {
        let ([path], dtype) = (self.walk.paths([self.x]), self.x.dtype());
        Operand { path, size: dtype.size(), load: self.load, borrow: C::is_native(dtype) }
    }
}

/// Reads one tensor in C order, run by run.
pub(super) struct Reader<'s, C> {
    from: Alone<'s, C>,
    /// Lent by the caller: a struct that holds it would be copied, all of it, to where the caller keeps that.
    scratch: &'s mut Scratch<C>,
    reach: usize,
}

impl<'s, C: Number> Reader<'s, C> {
    /// A reader of the elements of `x` in C order.
    pub(super) fn new(x: &'s Tensor, scratch: &'s mut Scratch<C>) -> Result<Reader<'s, C>> {
        let reach = if C::is_native(x.dtype()) && x.is_contiguous() { RUN } else { CHUNK };
        let from = Alone { x, walk: Walk::new(x.shape(), [x]), load: C::load(x.dtype())? };
        Ok(Reader { from, scratch, reach })
    }

    /// How many elements [`Reader::read`] gives at most: [`CHUNK`], or [`RUN`].
    pub(super) fn reach(&self) -> usize {
        self.reach
    }

    /// The elements `start..start + len`.
    pub(super) fn read(&mut self, start: usize, len: usize) -> &[C] {
        self.from.operand().chunk(start, len, self.scratch)
    }

    /// The elements `start..start + len` where they lie, if they lie as the kernel wants them.
    #[inline]
    pub(super) fn lend(&self, start: usize, len: usize) -> Option<&[C]> {
        self.from.operand().lend(start, len)
    }

    /// A copy of the elements from `start` on, all that there is room for.
    pub(super) fn gather<'t>(&self, start: usize, to: &'t mut [MaybeUninit<C>]) -> &'t mut [C] {
        self.from.operand().gather(start, to);
        // SAFETY: `gather` writes all elements.
        unsafe { to.assume_init_mut() }
    }
}
