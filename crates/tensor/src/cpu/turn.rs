//! A copy that turns memory around: neighbours in the result lie far apart in the source, and the other way round. Done in square tiles,
//! so that every cache line that is fetched is used in full before it goes.

use super::elementwise::{PARALLEL_FROM, Path};
use crate::{Result, team};

/// How a tensor is turned around.
pub(super) struct Turn {
    /// The dimension along which the source's elements are neighbours; along the last one the result's are.
    axis: usize,
}

impl Turn {
    /// Elements of a tile's side: a tile's lines on both sides fit the first-level cache together.
    const TILE: usize = 32;

    /// How to copy `from` to `to`, if it is of this kind and large enough.
    pub(super) fn of<T>(to: &Path, from: &Path) -> Option<Turn> {
        let (last, size) = (to.shape.len() - 1, size_of::<T>() as isize);
        let axis = from.strides.iter().position(|&stride| stride == size)?;
        let pays =
            axis != last && to.strides[last] == size && to.shape[axis].min(to.shape[last]) >= Turn::TILE / 2;
        pays.then_some(Turn { axis })
    }

    pub(super) fn copy<T: Copy>(&self, to: &Path, from: &Path) -> Result<()> {
        let (last, shape) = (to.shape.len() - 1, to.shape);
        let others: Vec<usize> = (0..last).filter(|&axis| axis != self.axis).collect();
        let rows = shape[self.axis].div_ceil(Turn::TILE);
        let blocks = others.iter().map(|&axis| shape[axis]).product::<usize>() * rows;
        // One task is a band of the result: a tile high, a row wide.
        let band = |task: usize| {
            let (first, mut rest) = (task % rows * Turn::TILE, task / rows);
            let (mut source, mut target) = (0, 0);
            for &axis in others.iter().rev() {
                let at = (rest % shape[axis]) as isize;
                rest /= shape[axis];
                source += at * from.strides[axis];
                target += at * to.strides[axis];
            }
            let row_end = (first + Turn::TILE).min(shape[self.axis]);
            for start in (0..shape[last]).step_by(Turn::TILE) {
                for row in first..row_end {
                    for column in start..(start + Turn::TILE).min(shape[last]) {
                        let at = |path: &Path| {
                            row as isize * path.strides[self.axis] + column as isize * path.strides[last]
                        };
                        // SAFETY: both positions are inside the common shape, hence inside the tensors' storages; each task
                        // writes its own rows.
                        unsafe {
                            let value = from.first.0.wrapping_offset(source + at(from)).cast::<T>().read();
                            to.first.0.wrapping_offset(target + at(to)).cast::<T>().write(value);
                        }
                    }
                }
            }
        };
        if shape.iter().product::<usize>() < PARALLEL_FROM {
            (0..blocks).for_each(band);
            return Ok(());
        }
        team::for_each(blocks, band)
    }
}
