//! Numbers that come from a device while it does more.

use crate::{Device, Result, Tensor, cuda};

/// Numbers on their way to the processor: [`Tensor::to_host_later`].
pub struct Later {
    to: Tensor,
    coming: Option<cuda::Coming>,
}

impl Tensor {
    /// [`Tensor::to_host`], without a gradient, of which the numbers are waited for when they are wanted. What its device is asked for from now on does
    /// not hold them up.
    ///
    /// # Errors
    /// As for [`Tensor::to_device`].
    pub fn to_host_later(&self) -> Result<Later> {
        let whole = self.detach().contiguous()?;
        match cuda::send(&whole)? {
            None => Ok(Later { to: whole.to_host()?, coming: None }),
            coming => Ok(Later { to: Tensor::uninit(self.shape(), self.dtype(), Device::Cpu)?, coming }),
        }
    }
}

impl Later {
    /// The numbers, waited for.
    ///
    /// # Errors
    /// `Device` when their device is lost.
    pub fn wait(self) -> Result<Tensor> {
        if let Some(coming) = self.coming {
            coming.wait(&self.to)?;
        }
        Ok(self.to)
    }
}
