//! Views of matrices: any strides to read, whole rows to write.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::Runs;
use crate::{Element, Error, Result, Tensor};

/// A matrix that is read: its element (i, j) is `i · row_stride + j · column_stride` from its first.
pub(crate) struct Matrix<'a, T> {
    data: *const T,
    pub(super) rows: usize,
    pub(super) columns: usize,
    row_stride: isize,
    column_stride: isize,
    borrowed: PhantomData<&'a [T]>,
}

impl<T> Clone for Matrix<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Matrix<'_, T> {}

// SAFETY: as a shared slice.
unsafe impl<T: Sync> Send for Matrix<'_, T> {}
// SAFETY: as a shared slice.
unsafe impl<T: Sync> Sync for Matrix<'_, T> {}

impl<'a, T> Matrix<'a, T> {
    /// A matrix within `data`.
    ///
    /// # Errors
    /// `Argument` when it reaches beyond the end.
    pub(crate) fn new(
        data: &'a [T],
        [rows, columns]: [usize; 2],
        [row_stride, column_stride]: [usize; 2],
    ) -> Result<Self> {
        let reach =
            || (rows - 1).checked_mul(row_stride)?.checked_add((columns - 1).checked_mul(column_stride)?);
        if rows > 0 && columns > 0 && reach().is_none_or(|reach| reach >= data.len()) {
            let message = format!(
                "{rows} by {columns} elements with strides {row_stride} and {column_stride} reach beyond {} elements",
                data.len()
            );
            return Err(Error::argument("matrix", message));
        }
        let (row_stride, column_stride) = (row_stride as isize, column_stride as isize);
        Ok(Matrix { data: data.as_ptr(), rows, columns, row_stride, column_stride, borrowed: PhantomData })
    }

    /// Matrix number `index` of those in the last two dimensions of `tensor`, on the CPU.
    ///
    /// # Errors
    /// `Argument` when it has fewer dimensions, and `DType` when its elements are others.
    pub(crate) fn of(tensor: &'a Tensor, mut index: usize) -> Result<Self>
    where
        T: Element,
    {
        let ([batch @ .., rows, columns], [strides @ .., row_stride, column_stride]) =
            (tensor.shape(), tensor.layout().strides())
        else {
            return Err(Error::argument("matrix", "a matrix has two dimensions"));
        };
        if tensor.dtype() != T::DTYPE {
            let rule = "the elements must have the kernel's type";
            return Err(Error::DType { op: "matrix", rule, dtype: tensor.dtype() });
        }
        let mut offset = 0;
        for (&size, &stride) in batch.iter().zip(strides).rev() {
            offset += (index % size.max(1)) as isize * stride;
            index /= size.max(1);
        }
        // Wrapping, because an empty matrix may lie anywhere. Every element of a tensor lies within its storage.
        let data = tensor.as_ptr().cast::<T>().wrapping_offset(offset);
        Ok(Matrix {
            data,
            rows: *rows,
            columns: *columns,
            row_stride: *row_stride,
            column_stride: *column_stride,
            borrowed: PhantomData,
        })
    }

    /// The same elements, columns as rows.
    pub(crate) fn transposed(self) -> Self {
        Matrix {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Some rows, each a run over some columns.
    pub(super) fn rows_as_runs(&self, rows: (usize, usize), columns: (usize, usize)) -> Runs<T> {
        let offset = rows.0 as isize * self.row_stride + columns.0 as isize * self.column_stride;
        Runs {
            data: self.data.wrapping_offset(offset),
            lanes: rows.1 - rows.0,
            // The stride of a dimension with one position can be anything.
            lane_stride: if self.rows == 1 { 1 } else { self.row_stride },
            inner: columns.1 - columns.0,
            inner_stride: if self.columns == 1 { 1 } else { self.column_stride },
        }
    }

    /// Some columns, each a run over some rows.
    pub(super) fn columns_as_runs(&self, columns: (usize, usize), rows: (usize, usize)) -> Runs<T> {
        self.transposed().rows_as_runs(columns, rows)
    }
}

/// A matrix that is written; its rows are contiguous.
pub(crate) struct MatrixMut<'a, T> {
    pub(super) data: *mut T,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    borrowed: PhantomData<&'a mut [T]>,
}

// SAFETY: as an exclusive slice.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}
// SAFETY: shared access only reads the pointer; whoever writes through it answers for not racing.
unsafe impl<T: Send> Sync for MatrixMut<'_, T> {}

impl<'a, T> MatrixMut<'a, T> {
    /// A matrix within `data`, its rows `row_stride` apart.
    ///
    /// # Errors
    /// `Argument` when rows overlap or reach beyond the end.
    pub(crate) fn new(
        data: &'a mut [MaybeUninit<T>],
        [rows, columns]: [usize; 2],
        row_stride: usize,
    ) -> Result<Self> {
        let reach = || (rows - 1).checked_mul(row_stride)?.checked_add(columns);
        let is_inside = rows == 0 || columns == 0 || reach().is_some_and(|reach| reach <= data.len());
        if !is_inside || (rows > 1 && row_stride < columns) {
            let message = format!(
                "{rows} rows of {columns} elements, {row_stride} apart, do not fit {} elements",
                data.len()
            );
            return Err(Error::argument("matrix", message));
        }
        Ok(MatrixMut { data: data.as_mut_ptr().cast(), rows, columns, row_stride, borrowed: PhantomData })
    }
}
