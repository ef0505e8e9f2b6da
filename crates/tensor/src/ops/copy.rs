//! Copies: of a strided tensor, into another dtype, over another tensor.

use crate::autograd::{Before, record};
use crate::layout::broadcast_shapes;
use crate::{DType, Device, Error, Operand, Result, Scalar, Tensor, cuda};

impl Tensor {
    /// The same numbers as `dtype`: the tensor itself where it has it already. Floats become integers by truncation, out-of-range ones
    /// saturate; anything but zero becomes `true`.
    ///
    /// Complex numbers lose their imaginary parts where they become real.
    ///
    /// # Errors
    /// `Graph` when a gradient would be lost because complex numbers carry none.
    pub fn to_dtype(&self, dtype: DType) -> Result<Tensor> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        self.expect_no_gradient_lost("to", dtype)?;
        self.copy_as(dtype)
    }

    /// The same numbers on `device`: the tensor itself where they are there already. The gradient comes back from there.
    ///
    /// # Errors
    /// `Device` when there is none such, `OutOfDeviceMemory`, `OutOfMemory`.
    pub fn to_device(&self, device: Device) -> Result<Tensor> {
        if self.device() == device {
            return Ok(self.clone());
        }
        let from = self.device();
        let whole = self.detach().contiguous()?;
        let out = Tensor::uninit(self.shape(), self.dtype(), device)?;
        cuda::carry(&out, &whole)?;
        Ok(record("to", out, &[self], &[], move |b| Ok(vec![Some(b.grad().to_device(from)?)])))
    }

    /// The same numbers where the processor reads them.
    ///
    /// # Errors
    /// As for [`Tensor::to_device`].
    pub fn to_host(&self) -> Result<Tensor> {
        self.to_device(Device::Cpu)
    }

    /// The same numbers in C order without gaps: the tensor itself where they lie so already.
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.is_contiguous() { Ok(self.clone()) } else { self.copy() }
    }

    /// The same numbers in new memory, in C order: torch's `clone`.
    pub fn copy(&self) -> Result<Tensor> {
        self.copy_as(self.dtype())
    }

    fn copy_as(&self, dtype: DType) -> Result<Tensor> {
        let out = Tensor::uninit(self.shape(), dtype, self.device())?;
        out.assign(self)?;
        // The walk gives every gradient its source's dtype.
        Ok(record("copy", out, &[self], &[], |b| Ok(vec![Some(b.grad().clone())])))
    }

    /// A contiguous tensor with these numbers that nobody else holds: this one, if that is so, or else a copy.
    pub(crate) fn owned(self) -> Result<Tensor> {
        if self.is_sole() || self.requires_grad() { Ok(self) } else { self.copy() }
    }

    /// Writes `values`, broadcast and converted, over this tensor's elements.
    ///
    /// # Errors
    /// `Argument` when the memory is read-only; `Shapes` when the values do not broadcast to this shape; `Graph` for a leaf that requires
    /// a gradient, or one that would be lost because complex numbers carry none.
    pub fn copy_<'a>(&self, values: impl Into<Operand<'a>>) -> Result<()> {
        self.write(&values.into().tensor(self.dtype(), self)?, Before::Overwritten)
    }

    /// [`Tensor::copy_`] for values that were made from this very tensor: what it was before has its gradient from them alone.
    ///
    /// # Errors
    /// As for [`Tensor::copy_`].
    pub fn become_(&self, values: &Tensor) -> Result<()> {
        self.write(values, Before::InValues)
    }

    fn write(&self, values: &Tensor, before: Before) -> Result<()> {
        if broadcast_shapes("copy_", self.shape(), values.shape())?.as_slice() != self.shape() {
            let rule = "the values must broadcast to the shape that they are written to";
            let (left, right) = (self.shape().into(), values.shape().into());
            return Err(Error::Shapes { op: "copy_", rule, left, right });
        }
        values.expect_no_gradient_lost("copy_", self.dtype())?;
        let recorded = self.check_in_place("copy_", &[values])?;
        let source = if values.shares_storage(self) { values.detach().copy()? } else { values.clone() };
        // As torch's does, it brings values from wherever they are: at once to where they belong, if they lie there as they do here.
        let source = source.detach();
        let is_carried = source.device() != self.device()
            && [self, &source].into_iter().all(Tensor::is_contiguous)
            && (source.dtype(), source.shape()) == (self.dtype(), self.shape());
        self.storage().bump_version();
        if is_carried {
            cuda::carry(self, &source)?;
        } else {
            self.assign(&source.to_device(self.device())?)?;
        }
        if recorded { self.rebase(values, before) } else { Ok(()) }
    }

    /// Writes `value` over every element.
    ///
    /// # Errors
    /// As for [`Tensor::copy_`].
    pub fn fill_(&self, value: impl Into<Scalar>) -> Result<()> {
        self.copy_(Operand::Scalar(value.into()))
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::check_gradient;

    #[test]
    fn numbers_survive_a_wider_dtype() {
        let x = Tensor::from_slice(&[1.5f32, -2.0, 300.0], &[3]).unwrap();
        for dtype in [DType::F16, DType::BF16, DType::F64] {
            let back = x.to_dtype(dtype).unwrap().to_dtype(DType::F32).unwrap();
            assert_eq!(back.as_slice::<f32>().unwrap(), [1.5, -2.0, 300.0]);
        }
        assert_eq!(x.to_dtype(DType::I64).unwrap().as_slice::<i64>().unwrap(), [1, -2, 300]);
        assert_eq!(x.to_dtype(DType::U8).unwrap().as_slice::<u8>().unwrap(), [1, 0, 255]);
        assert_eq!(x.to_dtype(DType::BF16).unwrap().as_slice::<bf16>().unwrap()[0], bf16::from_f32(1.5));
        assert_eq!(x.to_dtype(DType::F16).unwrap().as_slice::<f16>().unwrap()[1], f16::from_f32(-2.0));
    }

    #[test]
    fn a_strided_view_becomes_contiguous() {
        let x = Tensor::from_slice(&[0i32, 1, 2, 3, 4, 5], &[2, 3]).unwrap();
        let column = x.select(1, 1).unwrap();
        assert_eq!(column.contiguous().unwrap().as_slice::<i32>().unwrap(), [1, 4]);
        assert_eq!(column.to_dtype(DType::F32).unwrap().as_slice::<f32>().unwrap(), [1.0, 4.0]);
    }

    proptest! {
        #[test]
        fn any_order_of_any_dtype_is_copied((a, b, c) in (0usize..40, 0usize..40, 0usize..40), index in 0..DType::ALL.len()) {
            let dtype = DType::ALL[index];
            let bytes: Vec<u8> = (0..a * b * c * dtype.size()).map(|i| (i * 31 % 251) as u8 % 2).collect();
            let whole = Tensor::from_bytes(&bytes, &[a, b, c], dtype).unwrap();
            let turned = whole.permute(&[2, 0, 1]).unwrap();
            let back = turned.contiguous().unwrap().permute(&[1, 2, 0]).unwrap().contiguous().unwrap();
            prop_assert_eq!(back.to_bytes().unwrap(), bytes);
        }
    }

    #[test]
    fn copies_pass_their_gradient() {
        check_gradient("copy", &[&[2, 3]], (-1.0, 1.0), 1, |x| x[0].copy());
        check_gradient("copy_", &[&[2], &[2, 3]], (-1.0, 1.0), 2, |x| {
            let y = x[1].mul(2.0)?;
            let column = y.select(1, 1)?;
            y.narrow(1, 1, 3)?.mul_(3.0)?;
            column.copy_(&x[0].mul(&column.copy()?)?)?;
            // A view taken before the changes has their gradient, too.
            y.mul(&y)?.add(&column.unsqueeze(1)?)
        });
    }

    #[test]
    fn read_only_and_expanded_memory_is_left_alone() {
        let x = Tensor::zeros(&[1]).unwrap();
        assert!(x.expand(&[3]).unwrap().fill_(1.0).is_err());
        assert!(x.copy_(&Tensor::zeros(&[2]).unwrap()).is_err());
    }
}
