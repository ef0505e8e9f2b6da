//! Memory of results that are not needed any more, for those that come next.

use crate::{DType, Device, Result, Tensor};

/// Results of a few rows that the layers of a model write one after another, step by step, each over an earlier one: so a step of decoding
/// asks for no memory.
#[derive(Default)]
pub struct Workspace {
    idle: Vec<Tensor>,
}

impl Workspace {
    /// More are not kept: a layer has no more results than these at a time.
    const MOST: usize = 16;
    /// Nor greater ones: those of many rows, of which the memory cache keeps as much as is good.
    const LARGEST: usize = 1 << 20;

    /// A contiguous tensor, with anything in it.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub(crate) fn take(&mut self, shape: &[usize], dtype: DType, device: Device) -> Result<Tensor> {
        let fits =
            |tensor: &Tensor| tensor.shape() == shape && tensor.dtype() == dtype && tensor.device() == device;
        match self.idle.iter().rposition(fits) {
            Some(place) => Ok(self.idle.swap_remove(place)),
            None => Tensor::uninit(shape, dtype, device),
        }
    }

    /// Takes back what is not needed any more; nothing happens to what somebody else still holds.
    pub fn give(&mut self, tensor: Tensor) {
        let is_small = tensor.dtype().size() * tensor.numel() <= Workspace::LARGEST;
        let is_plain = tensor.base().is_none() && !tensor.requires_grad();
        if is_small && is_plain && tensor.is_sole() {
            if self.idle.len() == Workspace::MOST {
                self.idle.remove(0);
            }
            self.idle.push(tensor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_comes_back() {
        let mut workspace = Workspace::default();
        let one = workspace.take(&[2, 3], DType::F32, Device::Cpu).unwrap();
        let (first, held) = (one.as_ptr(), one.clone());
        workspace.give(one);
        let other = workspace.take(&[2, 3], DType::F32, Device::Cpu).unwrap();
        assert_ne!(other.as_ptr(), first);
        workspace.give(held);
        assert_ne!(workspace.take(&[6], DType::F32, Device::Cpu).unwrap().as_ptr(), first);
        assert_eq!(workspace.take(&[2, 3], DType::F32, Device::Cpu).unwrap().as_ptr(), first);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut workspace = Workspace::default();
        for size in 1..100 {
            let tensor = workspace.take(&[size], DType::F32, Device::Cpu).unwrap();
            workspace.give(tensor);
        }
        let large = workspace.take(&[1 << 20], DType::F32, Device::Cpu).unwrap();
        workspace.give(large);
        assert_eq!(workspace.idle.len(), Workspace::MOST);
        assert_eq!(workspace.idle[0].shape(), [84]);
    }
}
