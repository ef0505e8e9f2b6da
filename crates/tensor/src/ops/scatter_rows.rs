//! Putting rows back where they came from.

use super::expect_float32;
use crate::{Error, Result, Tensor};

impl Tensor {
    /// Spreads the rows of this (rows, ..) float32 tensor over (total, ..): row `i` goes to `positions[i]`, all others are zero.
    ///
    /// # Errors
    /// `Argument` when the number of positions is not that of rows; `Index` for a position beyond `total`.
    pub fn scatter_rows(&self, positions: &[usize], total: usize) -> Result<Tensor> {
        expect_float32("scatter_rows", &[self])?;
        if self.shape().first() != Some(&positions.len()) {
            let message = format!("{} positions do not fit shape {:?}", positions.len(), self.shape());
            return Err(Error::argument("scatter_rows", message));
        }
        if let Some(&position) = positions.iter().find(|&&position| position >= total) {
            let index = position as i64;
            return Err(Error::Index { op: "scatter_rows", what: "the result", index, size: total });
        }
        self.backend().scatter_rows(&self.contiguous()?, positions, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_where_they_are_sent() {
        let x = Tensor::from_slice(&[1f32, 2., 3., 4.], &[2, 2]).unwrap();
        let y = x.scatter_rows(&[3, 1], 4).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [0., 0., 3., 4., 0., 0., 1., 2.]);
        assert!(x.scatter_rows(&[4, 1], 4).is_err());
        assert!(x.scatter_rows(&[1], 4).is_err());
    }
}
