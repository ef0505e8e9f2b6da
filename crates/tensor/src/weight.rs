//! The matrix of a linear layer, in the form its users had and in the form its kernel wants.

use std::sync::OnceLock;

use crate::cpu::PackedMatrix;
use crate::{Error, Result, Tensor};

/// The weights of one linear operation: one matrix, or several that share their input and are applied as one (query, key and value).
///
/// The parts stay as they were loaded, often mapped from a file. The kernel's layout is made from them on first use and kept.
pub struct Weight {
    parts: Vec<Tensor>,
    packed: OnceLock<PackedMatrix>,
}

impl Weight {
    /// A weight of `parts`, each of shape (out, in) with the same `in`, of any real floating-point dtype.
    ///
    /// # Errors
    /// `Argument`, `Shapes` or `DType` when the parts are none, do not fit one another, or are not floats.
    pub fn new(parts: Vec<Tensor>) -> Result<Weight> {
        let first =
            parts.first().ok_or_else(|| Error::argument("weight", "there must be at least one part"))?;
        for part in &parts {
            if part.ndim() != 2 || part.shape()[1..] != first.shape()[1..] {
                let rule = "the parts must be matrices with the same number of columns";
                return Err(Error::Shapes {
                    op: "weight",
                    rule,
                    left: first.shape().into(),
                    right: part.shape().into(),
                });
            }
            if !part.dtype().is_float() {
                let rule = "weights must be floating-point numbers";
                return Err(Error::DType { op: "weight", rule, dtype: part.dtype() });
            }
        }
        Ok(Weight { parts, packed: OnceLock::new() })
    }

    /// The matrices as they were given.
    pub fn parts(&self) -> &[Tensor] {
        &self.parts
    }

    /// The size of the input's last dimension.
    pub fn in_features(&self) -> usize {
        self.parts[0].shape()[1]
    }

    /// The size of the output's last dimension, over all parts.
    pub fn out_features(&self) -> usize {
        self.parts.iter().map(|part| part.shape()[0]).sum()
    }

    /// The kernel's form, made now if it was not. Several threads may ask at once; one result is kept.
    pub(crate) fn packed(&self) -> Result<&PackedMatrix> {
        if let Some(packed) = self.packed.get() {
            return Ok(packed);
        }
        let packed = PackedMatrix::pack(&self.parts)?;
        Ok(self.packed.get_or_init(|| packed))
    }
}
