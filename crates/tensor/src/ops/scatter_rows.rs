//! Putting rows back where they came from.

use super::{activation_dtype, activations};
use crate::autograd::record;
use crate::{DType, Error, Result, Tensor};

impl Tensor {
    /// Spreads the rows of this (rows, ..) tensor of floats over (total, ..): row `i` goes to `positions[i]`, all others are zero.
    ///
    /// # Errors
    /// `Argument` when the number of positions is not that of rows; `Index` for a position beyond `total`.
    pub fn scatter_rows(&self, positions: &[usize], total: usize) -> Result<Tensor> {
        self.expect_float("scatter_rows")?;
        if self.shape().first() != Some(&positions.len()) {
            let message = format!("{} positions do not fit shape {:?}", positions.len(), self.shape());
            return Err(Error::argument("scatter_rows", message));
        }
        if let Some(&position) = positions.iter().find(|&&position| position >= total) {
            let index = position as i64;
            return Err(Error::Index { op: "scatter_rows", what: "the result", index, size: total });
        }
        if self.dtype() == DType::F64 {
            let places: Vec<i64> = positions.iter().map(|&position| position as i64).collect();
            let mut shape = self.shape().to_vec();
            shape[0] = total;
            let width = shape[1..].iter().product::<usize>();
            let places = Tensor::from_slice(&places, &[places.len()])?.mul(width as i64)?;
            return Tensor::zeros_of(&shape, DType::F64)?.put_at(&places, width, self, false);
        }
        let x = activations(self, activation_dtype(self))?;
        let out = self.backend().scatter_rows(&x, positions, total)?;
        let rows = positions.to_vec();
        let out =
            record("scatter_rows", out, &[self], &[], move |b| Ok(vec![Some(b.grad().gather_rows(&rows)?)]));
        out.to_dtype(self.dtype())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_gradient, draw, same_gradients};

    #[test]
    fn rows_go_where_they_are_sent() {
        let x = Tensor::from_slice(&[1f32, 2., 3., 4.], &[2, 2]).unwrap();
        let y = x.scatter_rows(&[3, 1], 4).unwrap();
        assert_eq!(y.as_slice::<f32>().unwrap(), [0., 0., 3., 4., 0., 0., 1., 2.]);
        assert!(x.scatter_rows(&[4, 1], 4).is_err());
        assert!(x.scatter_rows(&[1], 4).is_err());
    }

    #[test]
    fn gradients() {
        check_gradient("scatter_rows", &[&[2, 3]], (-1.0, 1.0), 1, |x| x[0].scatter_rows(&[3, 1], 4));
        let x = draw(&[2, 3], (-1.0, 1.0), 1).to_dtype(DType::F32).unwrap();
        same_gradients(
            "scatter_rows",
            &[x],
            1e-6,
            |x| x[0].scatter_rows(&[3, 1], 4),
            |x| x[0].to_dtype(DType::F64)?.scatter_rows(&[3, 1], 4)?.to_dtype(DType::F32),
        );
    }
}
