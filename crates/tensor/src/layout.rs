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

    /// The same elements in another shape of as many elements, if strides can express that.
    pub fn reshape(&self, shape: &[usize]) -> Option<Layout> {
        if self.is_contiguous() {
            return Some(Layout { offset: self.offset, ..Layout::contiguous(shape) });
        }
        // Runs of old dimensions that follow one another in memory are cut into new dimensions, innermost first.
        let (old, [runs]) = coalesce(&self.shape, [self]);
        let mut strides = Strides::from_elem(0, shape.len());
        let mut runs = old.iter().zip(&runs).rev();
        let (mut left, mut stride) = (1, 1);
        for (axis, &size) in shape.iter().enumerate().rev() {
            if size == 1 {
                strides[axis] = stride;
                continue;
            }
            if left == 1 {
                let (&run, &step) = runs.next()?;
                (left, stride) = (run, step);
            }
            if !left.is_multiple_of(size) {
                return None;
            }
            strides[axis] = stride;
            stride *= size as isize;
            left /= size;
        }
        Some(Layout { shape: shape.into(), strides, offset: self.offset })
    }

    /// The dimensions in another order: new dimension `i` is old dimension `axes[i]`.
    pub fn permute(&self, axes: &[usize]) -> Layout {
        let shape = axes.iter().map(|&axis| self.shape[axis]).collect();
        let strides = axes.iter().map(|&axis| self.strides[axis]).collect();
        Layout { shape, strides, offset: self.offset }
    }

    /// The same elements repeated over `shape`, to which this one's must broadcast.
    pub fn expand(&self, shape: &[usize]) -> Layout {
        Layout { shape: shape.into(), strides: broadcast_strides(self, shape), offset: self.offset }
    }

    /// Every `step`-th element along `axis`, `len` of them, from `start` on; `step` may be negative.
    pub(crate) fn stepped(&self, axis: usize, start: usize, len: usize, step: isize) -> Layout {
        let mut view = self.clone();
        view.shape[axis] = len;
        if len > 0 {
            view.offset = (view.offset as isize + start as isize * view.strides[axis]) as usize;
        }
        view.strides[axis] = view.strides[axis].saturating_mul(step);
        view
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

/// Strides with which `layout` covers `shape`: 0 where it repeats itself.
fn broadcast_strides(layout: &Layout, shape: &[usize]) -> Strides {
    let lead = shape.len() - layout.shape.len();
    let own = |axis: usize| match axis.checked_sub(lead) {
        Some(axis) if layout.shape[axis] != 1 => layout.strides[axis],
        _ => 0,
    };
    (0..shape.len()).map(own).collect()
}

/// `shape` and the strides with which each layout covers it, by as few dimensions as possible and at least one: dimensions of size
/// one go, and neighbours that all layouts walk as one are merged.
pub(crate) fn coalesce<const N: usize>(shape: &[usize], layouts: [&Layout; N]) -> (Shape, [Strides; N]) {
    if layouts.iter().all(|layout| layout.shape() == shape && layout.is_contiguous()) {
        let one = |_| SmallVec::from_slice(&[1]);
        return (SmallVec::from_slice(&[shape.iter().product()]), layouts.map(one));
    }
    let wide = layouts.map(|layout| broadcast_strides(layout, shape));
    let mut sizes = Shape::new();
    let mut strides = [(); N].map(|()| Strides::new());
    for (axis, &size) in shape.iter().enumerate() {
        if size == 1 {
            continue;
        }
        let merges = !sizes.is_empty()
            && (0..N).all(|i| strides[i].last() == Some(&(wide[i][axis].saturating_mul(size as isize))));
        if merges {
            *sizes.last_mut().unwrap_or(&mut 0) *= size;
        } else {
            sizes.push(size);
        }
        for i in 0..N {
            if merges {
                strides[i].pop();
            }
            strides[i].push(wide[i][axis]);
        }
    }
    if sizes.is_empty() {
        sizes.push(1);
        strides.iter_mut().for_each(|strides| strides.push(0));
    }
    (sizes, strides)
}

/// The shape that `left` and `right` broadcast to.
pub(crate) fn broadcast_shapes(op: &'static str, left: &[usize], right: &[usize]) -> Result<Shape> {
    if left == right {
        return Ok(left.into());
    }
    let ndim = left.len().max(right.len());
    let size =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(ndim).map_or(1, |axis| shape[axis]);
    let both = |axis| match (size(left, axis), size(right, axis)) {
        (l, r) if l == r => Ok(l),
        (1, r) => Ok(r),
        (l, 1) => Ok(l),
        _ => Err(Error::Shapes {
            op,
            rule: "the shapes must broadcast: sizes must be equal or 1, aligned at the last dimension",
            left: left.into(),
            right: right.into(),
        }),
    };
    (0..ndim).map(both).collect()
}

/// `axis` of `ndim`, counted from the end if negative. A tensor without dimensions is treated as if it had one, as torch does.
pub(crate) fn resolve_axis(op: &'static str, axis: isize, ndim: usize) -> Result<usize> {
    let size = ndim.max(1) as isize;
    if (-size..size).contains(&axis) {
        return Ok(if axis < 0 { axis + size } else { axis } as usize);
    }
    Err(Error::Index { op, what: "the list of dimensions", index: axis as i64, size: ndim })
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

/// The bytes of `shape` in memory that is to be allocated.
pub(crate) fn bytes_of(shape: &[usize], element: usize) -> Result<usize> {
    match checked_numel("allocate", shape, element) {
        Ok(numel) => Ok(numel * element),
        Err(_) => Err(Error::OutOfMemory {
            bytes: shape.iter().fold(element, |bytes, &size| bytes.saturating_mul(size)),
        }),
    }
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
    fn strided_layouts_reshape_where_they_can() {
        let turned = Layout::contiguous(&[2, 3, 4]).permute(&[1, 2, 0]);
        assert_eq!(turned.reshape(&[12, 2]).unwrap().strides(), [1, 12]);
        assert_eq!(turned.reshape(&[3, 2, 2, 1, 2]).unwrap().strides(), [4, 2, 1, 24, 12]);
        assert!(turned.reshape(&[24]).is_none());
        assert_eq!(Layout::contiguous(&[3]).expand(&[2, 3]).strides(), [0, 1]);
    }

    #[test]
    fn shapes_broadcast() {
        assert_eq!(broadcast_shapes("add", &[4, 1, 3], &[2, 1]).unwrap().as_slice(), [4, 2, 3]);
        assert_eq!(broadcast_shapes("add", &[0, 1], &[1, 5]).unwrap().as_slice(), [0, 5]);
        assert!(broadcast_shapes("add", &[2], &[3]).is_err());
    }

    #[test]
    fn impossible_sizes_are_refused() {
        assert!(checked_numel("zeros", &[1 << 40, 1 << 40], 4).is_err());
        assert_eq!(checked_numel("zeros", &[3, 0, 5], 4).unwrap(), 0);
    }
}
