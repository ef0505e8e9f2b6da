//! How kernels walk tensors of any strides.

use crate::cuda::arguments::{MAX_DIMS, Walk};
use crate::cuda::launch::Argument;
use crate::layout::{Layout, coalesce};
use crate::{Error, Result};

impl<const N: usize> Walk<N> {
    /// All elements of `shape`, in C order, in each of `layouts`, which broadcast to it. Dimensions that can be walked as one are merged.
    pub(super) fn new(shape: &[usize], layouts: [&Layout; N]) -> Result<Walk<N>> {
        let (sizes, strides) = coalesce(shape, layouts);
        expect_few(&sizes, shape)?;
        Ok(Walk::of(&sizes, strides.each_ref().map(|strides| &strides[..])))
    }

    /// The same of layouts of this very shape, for whom its dimensions mean something.
    pub(super) fn as_it_is(shape: &[usize], layouts: [&Layout; N]) -> Result<Walk<N>> {
        expect_few(shape, shape)?;
        Ok(Walk::of(shape, layouts.map(Layout::strides)))
    }

    /// How many elements.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }
}

fn expect_few(sizes: &[usize], shape: &[usize]) -> Result<()> {
    if sizes.len() <= MAX_DIMS {
        return Ok(());
    }
    let message = format!("a GPU takes at most {MAX_DIMS} dimensions that lie apart, got shape {shape:?}");
    Err(Error::argument("cuda", message))
}

impl<const N: usize> From<Walk<N>> for Argument {
    fn from(walk: Walk<N>) -> Argument {
        Argument::of(walk)
    }
}
