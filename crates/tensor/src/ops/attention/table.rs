//! Numbers that the host works out for kernels to read.

use std::sync::OnceLock;

use crate::{Device, Result, Tensor};

/// Their copy on a device: made when a kernel first asks for it, so that all layers of a pass share one. Of no consequence for what the numbers
/// are: clones make their own, and all are equal.
#[derive(Debug, Default)]
pub(crate) struct Table(OnceLock<Tensor>);

impl Table {
    /// The numbers on `device`, int64.
    pub(crate) fn on(&self, device: Device, numbers: impl FnOnce() -> Vec<i64>) -> Result<Tensor> {
        if let Some(copy) = self.0.get().filter(|copy| copy.device() == device) {
            return Ok(copy.clone());
        }
        let numbers = numbers();
        let copy = Tensor::from_slice(&numbers, &[numbers.len()])?.to_device(device)?;
        Ok(self.0.get_or_init(|| copy).clone())
    }
}

impl Clone for Table {
    fn clone(&self) -> Table {
        Table::default()
    }
}

impl PartialEq for Table {
    fn eq(&self, _: &Table) -> bool {
        true
    }
}

impl Eq for Table {}
