//! Complex numbers: taken apart, put together and converted. Arithmetic is for real ones.

use crate::autograd::is_grad_enabled;
use crate::{DType, Error, Layout, Result, Scalar, Tensor};

impl Tensor {
    /// The real parts, a view; of real numbers the tensor itself.
    pub fn real(&self) -> Tensor {
        self.part(0).unwrap_or_else(|| self.clone())
    }

    /// The imaginary parts: a view.
    ///
    /// # Errors
    /// `DType` for real numbers.
    pub fn imag(&self) -> Result<Tensor> {
        let rule = "only complex numbers have imaginary parts";
        self.part(1).ok_or(Error::DType { op: "imag", rule, dtype: self.dtype() })
    }

    /// The conjugates, in new memory; of real numbers the tensor itself.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn conj(&self) -> Result<Tensor> {
        if !self.dtype().is_complex() {
            return Ok(self.clone());
        }
        let conjugates = self.copy()?;
        conjugates.imag()?.mul_(-1.0)?;
        Ok(conjugates)
    }

    /// The real (0) or imaginary (1) parts of complex numbers.
    fn part(&self, which: usize) -> Option<Tensor> {
        let dtype = match self.dtype() {
            DType::C64 => DType::F32,
            DType::C128 => DType::F64,
            _ => return None,
        };
        let layout = self.layout();
        let strides: Vec<isize> = layout.strides().iter().map(|stride| stride.saturating_mul(2)).collect();
        let layout = Layout::strided(layout.shape(), &strides, layout.offset() * 2 + which);
        Some(Tensor::over(self.storage().clone(), layout, dtype))
    }

    /// Writes `x`, broadcast and converted, over the elements of this tensor, in other memory. Complex numbers lose their imaginary
    /// parts where they become real, and are true where either part is not zero.
    pub(super) fn assign(&self, x: &Tensor) -> Result<()> {
        if self.dtype() == x.dtype() {
            return self.backend().assign(self, x);
        }
        match (self.part(0).zip(self.part(1)), x.part(0).zip(x.part(1))) {
            (None, None) => self.backend().assign(self, x),
            (Some((real, imag)), Some((x_real, x_imag))) => {
                real.backend().assign(&real, &x_real)?;
                imag.backend().assign(&imag, &x_imag)
            }
            (Some((real, imag)), None) => {
                real.backend().assign(&real, x)?;
                imag.backend().assign(&imag, &Tensor::scalar(0.0, imag.dtype())?)
            }
            (None, Some((real, imag))) if self.dtype() == DType::Bool => {
                self.backend().assign(self, &real.truth()?.logical_or(&imag.truth()?)?)
            }
            (None, Some((real, _))) => self.backend().assign(self, &real),
        }
    }

    /// Whether two tensors of complex numbers, of one dtype, are equal, for every pair of elements.
    pub(super) fn equal_parts(&self, other: &Tensor) -> Result<Tensor> {
        self.real().eq(&other.real())?.logical_and(&self.imag()?.eq(&other.imag()?)?)
    }

    /// Refuses to make complex numbers of what a gradient is asked for: it would be lost.
    pub(super) fn expect_no_gradient_lost(&self, op: &'static str, dtype: DType) -> Result<()> {
        if dtype.is_complex() && self.requires_grad() && is_grad_enabled() {
            let rule = "complex numbers carry no gradients: call detach() first";
            return Err(Error::Graph { op, rule });
        }
        Ok(())
    }

    /// One real number as an element of the complex `dtype`.
    pub(super) fn complex_scalar(value: Scalar, dtype: DType) -> Result<Tensor> {
        Tensor::scalar(value.to_f64(), DType::F64)?.to_dtype(dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complex(parts: &[f32]) -> Tensor {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.to_ne_bytes()).collect();
        Tensor::from_bytes(&bytes, &[parts.len() / 2], DType::C64).unwrap()
    }

    fn reals(x: &Tensor) -> Vec<f32> {
        x.to_dtype(DType::F32).unwrap().contiguous().unwrap().as_slice::<f32>().unwrap().to_vec()
    }

    #[test]
    fn parts_are_views_and_conversions_keep_them() {
        let x = complex(&[1.0, 2.0, 0.0, -3.0, 0.0, 0.0]);
        assert_eq!(
            (reals(&x.real()), reals(&x.imag().unwrap())),
            (vec![1.0, 0.0, 0.0], vec![2.0, -3.0, 0.0])
        );
        let wide = x.to_dtype(DType::C128).unwrap();
        assert_eq!(reals(&wide.imag().unwrap()), [2.0, -3.0, 0.0]);
        assert!(wide.to_dtype(DType::C64).unwrap().equal_parts(&x).unwrap().all().unwrap());
        assert_eq!(reals(&x.to_dtype(DType::F16).unwrap()), [1.0, 0.0, 0.0]);
        assert_eq!(reals(&x.to_dtype(DType::Bool).unwrap()), [1.0, 1.0, 0.0]);
        assert_eq!(reals(&x.conj().unwrap().imag().unwrap()), [-2.0, 3.0, 0.0]);
        let back = Tensor::from_slice(&[5i32, 7], &[2]).unwrap().to_dtype(DType::C64).unwrap();
        assert_eq!((reals(&back), reals(&back.imag().unwrap())), (vec![5.0, 7.0], vec![0.0, 0.0]));
        x.imag().unwrap().fill_(1.0).unwrap();
        assert_eq!(reals(&x.narrow(0, 1, 3).unwrap().imag().unwrap()), [1.0, 1.0]);
        assert!(back.real().imag().is_err());
        assert_eq!(reals(&Tensor::ones(&[2], DType::C128).unwrap()), [1.0, 1.0]);
    }

    #[test]
    fn equality_looks_at_both_parts_and_gradients_are_not_lost() {
        let (x, y) = (complex(&[1.0, 2.0, 3.0, 4.0]), complex(&[1.0, 2.0, 3.0, 5.0]));
        assert_eq!(reals(&x.eq(&y).unwrap()), [1.0, 0.0]);
        assert_eq!(reals(&x.ne(&y).unwrap()), [0.0, 1.0]);
        assert!(x.lt(&y).is_err() && x.add(&y).is_err());
        let leaf = Tensor::ones(&[2], DType::F32).unwrap();
        leaf.set_requires_grad(true).unwrap();
        assert!(leaf.to_dtype(DType::C64).is_err());
    }
}
