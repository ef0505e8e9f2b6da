//! How kernels walk tensors of any strides.

use crate::cuda::launch::Argument;
use crate::layout::{Layout, coalesce};
use crate::{Error, Result};

/// The most dimensions that kernels walk, after those that can be walked as one are merged.
const MAX_DIMS: usize = 8;

/// What kernels call a Walk: a shape, and the strides with which tensors cover it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Walk<const N: usize> {
    count: i64,
    dims: i64,
    shape: [i64; MAX_DIMS],
    strides: [[i64; MAX_DIMS]; N],
}

impl<const N: usize> Walk<N> {
    /// All elements of `shape`, in C order, in each of `layouts`, which broadcast to it.
    pub(super) fn new(shape: &[usize], layouts: [&Layout; N]) -> Result<Walk<N>> {
        let (sizes, strides) = coalesce(shape, layouts);
        if sizes.len() > MAX_DIMS {
            let message =
                format!("a GPU takes at most {MAX_DIMS} dimensions that lie apart, got shape {shape:?}");
            return Err(Error::argument("cuda", message));
        }
        let mut walk = Walk {
            count: sizes.iter().product::<usize>() as i64,
            dims: sizes.len() as i64,
            shape: [0; MAX_DIMS],
            strides: [[0; MAX_DIMS]; N],
        };
        walk.shape.iter_mut().zip(&sizes).for_each(|(to, &size)| *to = size as i64);
        for (to, from) in walk.strides.iter_mut().zip(&strides) {
            to.iter_mut().zip(from).for_each(|(to, &stride)| *to = stride as i64);
        }
        Ok(walk)
    }

    /// How many elements.
    pub(super) fn count(&self) -> usize {
        self.count as usize
    }
}

impl<const N: usize> From<Walk<N>> for Argument {
    fn from(walk: Walk<N>) -> Argument {
        Argument::of(walk)
    }
}
