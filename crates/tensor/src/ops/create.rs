//! Tensors made from nothing but a shape.

use crate::{DType, Device, Error, Result, Scalar, Tensor};

impl Tensor {
    /// A float32 tensor of zeros.
    ///
    /// # Errors
    /// `OutOfMemory` or `Argument` when there is no such memory.
    pub fn zeros(shape: &[usize]) -> Result<Tensor> {
        Tensor::zeros_of(shape, DType::F32)
    }

    /// A tensor of zeros of `dtype`.
    ///
    /// # Errors
    /// As for [`Tensor::zeros`].
    pub fn zeros_of(shape: &[usize], dtype: DType) -> Result<Tensor> {
        Tensor::zeros_on(shape, dtype, Device::Cpu)
    }

    /// A tensor of zeros of `dtype` on `device`.
    ///
    /// # Errors
    /// As for [`Tensor::zeros`]; `OutOfDeviceMemory` and `Device`.
    pub fn zeros_on(shape: &[usize], dtype: DType, device: Device) -> Result<Tensor> {
        let zeros = Tensor::uninit(shape, dtype, device)?;
        zeros.backend().zero(&zeros)?;
        Ok(zeros)
    }

    /// A tensor of ones of `dtype`.
    ///
    /// # Errors
    /// As for [`Tensor::zeros`].
    pub fn ones(shape: &[usize], dtype: DType) -> Result<Tensor> {
        Tensor::full(shape, 1i64, dtype)
    }

    /// A tensor whose elements all are `value`.
    ///
    /// # Errors
    /// As for [`Tensor::zeros`].
    pub fn full(shape: &[usize], value: impl Into<Scalar>, dtype: DType) -> Result<Tensor> {
        Tensor::full_on(shape, value, dtype, Device::Cpu)
    }

    /// [`Tensor::full`] on `device`.
    ///
    /// # Errors
    /// As for [`Tensor::zeros_on`].
    pub fn full_on(
        shape: &[usize],
        value: impl Into<Scalar>,
        dtype: DType,
        device: Device,
    ) -> Result<Tensor> {
        let full = Tensor::uninit(shape, dtype, device)?;
        let value = Tensor::scalar_on(value, dtype, device)?;
        full.backend().assign(&full, &value)?;
        Ok(full)
    }

    /// Zeros of this shape and dtype, on the same device.
    ///
    /// # Errors
    /// As for [`Tensor::zeros`].
    pub fn zeros_like(&self) -> Result<Tensor> {
        Tensor::zeros_on(self.shape(), self.dtype(), self.device())
    }

    /// One number, as a tensor without dimensions.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn scalar(value: impl Into<Scalar>, dtype: DType) -> Result<Tensor> {
        Tensor::scalar_on(value, dtype, Device::Cpu)
    }

    /// [`Tensor::scalar`] on `device`.
    ///
    /// # Errors
    /// As for [`Tensor::zeros_on`].
    pub fn scalar_on(value: impl Into<Scalar>, dtype: DType, device: Device) -> Result<Tensor> {
        let value = value.into();
        if dtype.is_complex() {
            return Tensor::complex_scalar(value, dtype)?.to_device(device);
        }
        let out = Tensor::uninit(&[], dtype, device)?;
        out.backend().fill(&out, value)?;
        Ok(out)
    }

    /// `start`, `start + step`, .. before `end`. Integers if all three are, in which case `dtype` may be any; computed in f64 otherwise.
    ///
    /// # Errors
    /// `Argument` for a step of zero or one that leads away from the end.
    pub fn arange(start: Scalar, end: Scalar, step: Scalar, dtype: DType) -> Result<Tensor> {
        let integers = [start, end, step].iter().all(|x| !matches!(x, Scalar::Float(_)));
        let count = if integers {
            let (start, end, step) =
                (i128::from(start.to_i64()), i128::from(end.to_i64()), i128::from(step.to_i64()));
            if step == 0 || (end - start).signum() * step.signum() < 0 {
                None
            } else {
                Some(((end - start).abs() + step.abs() - 1) / step.abs())
            }
        } else {
            let count = ((end.to_f64() - start.to_f64()) / step.to_f64()).ceil();
            (0.0..1e15).contains(&count).then_some(count as i128)
        };
        let count = count.and_then(|count| usize::try_from(count).ok()).ok_or_else(|| {
            Error::argument("arange", format!("no steps of {step:?} lead from {start:?} to {end:?}"))
        })?;
        let index = Tensor::count(count)?;
        if integers {
            return index.mul(step.to_i64())?.add(start.to_i64())?.to_dtype(dtype);
        }
        index.to_dtype(DType::F64)?.mul(step)?.add(start)?.to_dtype(dtype)
    }

    /// 0, 1, .. below `count`, as int64.
    pub(crate) fn count(count: usize) -> Result<Tensor> {
        Tensor::build(&[count], |out| {
            for (i, out) in out.iter_mut().enumerate() {
                out.write(i as i64);
            }
            Ok(())
        })
    }

    /// `count` numbers at equal distances from `start` to `end`, both included. Computed in f64, from either end to the middle.
    ///
    /// # Errors
    /// As for [`Tensor::zeros`].
    pub fn linspace(start: f64, end: f64, count: usize, dtype: DType) -> Result<Tensor> {
        let step = (end - start) / count.saturating_sub(1).max(1) as f64;
        let at = |i: usize| {
            if i < count / 2 || i == 0 {
                start + step * i as f64
            } else {
                end - step * (count - 1 - i) as f64
            }
        };
        let values: Vec<f64> = (0..count).map(at).collect();
        Tensor::from_slice(&values, &[count])?.to_dtype(dtype)
    }

    /// Ones on the diagonal of a (rows, columns) matrix of zeros.
    ///
    /// # Errors
    /// As for [`Tensor::zeros`].
    pub fn eye(rows: usize, columns: usize, dtype: DType) -> Result<Tensor> {
        let row = Tensor::count(rows)?.unsqueeze(1)?;
        row.eq(&Tensor::count(columns)?)?.to_dtype(dtype)
    }

    /// The elements on and below the diagonal `offset` (0 the main one, negative below it) of each matrix; zero elsewhere.
    ///
    /// # Errors
    /// `Argument` for less than two dimensions.
    pub fn tril(&self, offset: i64) -> Result<Tensor> {
        self.triangle("tril", |row, column| column.le(&row.add(offset)?))
    }

    /// The elements on and above the diagonal `offset` (0 the main one, positive above it) of each matrix; zero elsewhere.
    ///
    /// # Errors
    /// `Argument` for less than two dimensions.
    pub fn triu(&self, offset: i64) -> Result<Tensor> {
        self.triangle("triu", |row, column| column.ge(&row.add(offset)?))
    }

    fn triangle(
        &self,
        op: &'static str,
        keeps: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let [.., rows, columns] = *self.shape() else {
            return Err(Error::argument(
                op,
                format!("there must be at least two dimensions, got {:?}", self.shape()),
            ));
        };
        let keep = keeps(&Tensor::count(rows)?.unsqueeze(1)?, &Tensor::count(columns)?)?;
        let zero = Tensor::scalar_on(0i64, self.dtype(), self.device())?;
        Tensor::select_where(&keep.to_device(self.device())?, self, &zero)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::check_gradient;

    #[test]
    fn ranges() {
        let ints = |a: i64, b: i64, c: i64| Tensor::arange(a.into(), b.into(), c.into(), DType::I64);
        assert_eq!(ints(2, 9, 3).unwrap().as_slice::<i64>().unwrap(), [2, 5, 8]);
        assert_eq!(ints(3, 0, -1).unwrap().as_slice::<i64>().unwrap(), [3, 2, 1]);
        assert!(ints(0, 3, 0).is_err() && ints(0, 3, -1).is_err() && ints(0, i64::MAX, 1).is_err());
        let floats = Tensor::arange(0.0.into(), 1.0.into(), 0.25.into(), DType::F32).unwrap();
        assert_eq!(floats.as_slice::<f32>().unwrap(), [0.0, 0.25, 0.5, 0.75]);
        assert_eq!(
            Tensor::linspace(0.0, 1.0, 3, DType::F64).unwrap().as_slice::<f64>().unwrap(),
            [0.0, 0.5, 1.0]
        );
        assert_eq!(Tensor::linspace(2.0, 1.0, 1, DType::F64).unwrap().as_slice::<f64>().unwrap(), [2.0]);
    }

    #[test]
    fn triangles() {
        let x = Tensor::ones(&[2, 3], DType::I32).unwrap();
        assert_eq!(x.tril(0).unwrap().as_slice::<i32>().unwrap(), [1, 0, 0, 1, 1, 0]);
        assert_eq!(x.triu(1).unwrap().as_slice::<i32>().unwrap(), [0, 1, 1, 0, 0, 1]);
        assert_eq!(Tensor::eye(2, 3, DType::U8).unwrap().as_slice::<u8>().unwrap(), [1, 0, 0, 0, 1, 0]);
        check_gradient("tril", &[&[2, 3, 3]], (-1.0, 1.0), 1, |x| x[0].tril(-1));
    }

    #[test]
    fn a_petabyte_is_refused() {
        assert!(Tensor::zeros(&[1 << 48]).is_err());
        assert!(Tensor::ones(&[1 << 20, 1 << 30], DType::F64).is_err());
    }
}
