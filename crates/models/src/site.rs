//! Where a layer works, and in which dtype.

use trustformers_tensor::{DType, Device, Tensor, autocast};

use crate::Result;

/// A device, and the dtype that hidden states have there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    pub device: Device,
    pub dtype: DType,
}

impl Default for Site {
    fn default() -> Site {
        Site { device: Device::Cpu, dtype: DType::F32 }
    }
}

impl Site {
    /// Where `parameters` are used, which lie on one device. On a GPU hidden states are of the 16 bits that all of these have, as torch's are: half
    /// the traffic, and products take and give them as they are. The processor computes in float32, and so does a GPU beside blocks and where
    /// some are wider.
    pub fn of<'a>(parameters: impl IntoIterator<Item = &'a Tensor>) -> Site {
        let mut parameters = parameters.into_iter();
        let Some(first) = parameters.next() else { return Site::default() };
        let (device, dtype) = (first.device(), first.dtype());
        let is_half = matches!(device, Device::Cuda(_))
            && matches!(dtype, DType::F16 | DType::BF16)
            && parameters.all(|other| other.dtype() == dtype);
        Site { device, dtype: if is_half { dtype } else { DType::F32 } }
    }

    /// Hidden states as they are there. Within a scope of mixed precision operations choose their dtype themselves.
    pub fn bring(self, hidden: &Tensor) -> Result<Tensor> {
        let hidden = hidden.to_device(self.device)?;
        Ok(if autocast().is_some() { hidden } else { hidden.to_dtype(self.dtype)? })
    }
}
