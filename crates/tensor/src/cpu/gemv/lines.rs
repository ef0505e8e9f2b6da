//! A matrix as it lies: lines of elements, rows or columns, some way apart.

use super::Left;
use crate::Tensor;
use crate::cpu::level::Level;

/// What is to be multiplied with a matrix of `T`, and where the matrix lies.
pub(super) struct Lines<'a, T> {
    pub(super) level: Level,
    pub(super) left: Left<'a>,
    first: *const T,
    stride: usize,
}

// SAFETY: only read, and what is read is borrowed.
unsafe impl<T> Sync for Lines<'_, T> {}

impl<'a, T> Lines<'a, T> {
    /// `matrix` holds elements of T, lines `stride` elements apart.
    pub(super) fn new(level: Level, left: Left<'a>, matrix: &'a Tensor, stride: usize) -> Lines<'a, T> {
        Lines { level, left, first: matrix.as_ptr().cast(), stride }
    }

    /// Where an element of a line lies.
    #[inline(always)]
    pub(super) fn at(&self, line: usize, element: usize) -> *const T {
        self.first.wrapping_add(line * self.stride + element)
    }
}
