//! Where the elements of a tensor lie within its storage.

use smallvec::SmallVec;

use crate::{Error, Result};

/// The sizes of a tensor's dimensions, outermost first.
pub type Shape = SmallVec<[usize; 6]>;
/// The distance in elements between neighbours along each dimension; negative where a view walks backwards.
pub type Strides = SmallVec<[isize; 6]>;

/// Shape, strides and the position of the first element, all counted in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Shape,
    strides: Strides,
    offset: usize,
}

impl Layout {
    /// Rows one after another (C order), starting at the storage's first element.
    pub fn contiguous(shape: &[usize]) -> Layout {
        let mut strides: Strides = SmallVec::from_elem(1, shape.len());
        for axis in (0..shape.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1].saturating_mul(shape[axis + 1].max(1) as isize);
        }
        Layout { shape: shape.into(), strides, offset: 0 }
    }

    /// A layout as given. Whoever builds a tensor from it answers for its staying within the storage.
    pub fn strided(shape: &[usize], strides: &[isize], offset: usize) -> Layout {
        Layout { shape: shape.into(), strides: strides.into(), offset }
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The strides in elements.
    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    /// The position of the first element.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// The number of elements.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the elements lie in C order without gaps.
    pub fn is_contiguous(&self) -> bool {
        if self.shape.contains(&0) {
            return true;
        }
        let mut expected = 1isize;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size != 1 {
                if stride != expected {
                    return false;
                }
                expected *= size as isize;
            }
        }
        true
    }

    /// The same elements in another shape, if that needs no copy: contiguous layouts only.
    pub fn reshape(&self, shape: &[usize]) -> Option<Layout> {
        self.is_contiguous().then(|| Layout { offset: self.offset, ..Layout::contiguous(shape) })
    }

    /// The elements `start..end` along `axis`.
    pub fn narrow(&self, axis: usize, start: usize, end: usize) -> Result<Layout> {
        let size = *self.shape.get(axis).ok_or_else(|| {
            Error::argument("narrow", format!("there is no axis {axis} in {:?}", self.shape))
        })?;
        if start > end || end > size {
            return Err(Error::argument(
                "narrow",
                format!("{start}..{end} does not fit axis {axis} of size {size}"),
            ));
        }
        let mut view = self.clone();
        view.shape[axis] = end - start;
        if start < size {
            view.offset = (view.offset as isize + start as isize * view.strides[axis]) as usize;
        }
        Ok(view)
    }
}

/// The number of elements of `shape`, or an error if no memory could hold them.
pub(crate) fn checked_numel(op: &'static str, shape: &[usize], element: usize) -> Result<usize> {
    shape
        .iter()
        .try_fold(element, |bytes, &size| bytes.checked_mul(size))
        .filter(|&bytes| bytes <= isize::MAX as usize)
        .map(|bytes| bytes / element.max(1))
        .ok_or_else(|| Error::argument(op, format!("shape {shape:?} has more elements than memory can hold")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contiguity() {
        let layout = Layout::contiguous(&[2, 3, 4]);
        assert_eq!(layout.strides(), [12, 4, 1]);
        assert!(layout.is_contiguous());
        assert!(layout.narrow(0, 1, 2).unwrap().is_contiguous());
        assert!(!layout.narrow(2, 0, 2).unwrap().is_contiguous());
        assert!(layout.narrow(1, 2, 4).is_err());
        assert!(Layout::strided(&[0, 3], &[7, 7], 0).is_contiguous());
        assert!(Layout::contiguous(&[]).is_contiguous());
        assert_eq!(Layout::contiguous(&[]).numel(), 1);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(checked_numel("zeros", &[1 << 40, 1 << 40], 4).is_err());
        assert_eq!(checked_numel("zeros", &[3, 0, 5], 4).unwrap(), 0);
    }
}
