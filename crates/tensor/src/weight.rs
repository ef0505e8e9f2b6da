//! The matrix of a linear layer, in the form its users had and in the form its kernel wants.

use std::sync::{Arc, PoisonError, RwLock};

use crate::cpu::{Interleaved, Packed, Pairs, Panels, Stacked};
use crate::{DType, Error, Matrix, Result, Tensor, profile};

/// The weights of one linear operation: one matrix, or several that share their input and are applied as one (query, key and value).
///
/// The parts stay as they were loaded, often mapped from a file, as numbers or as blocks. The kernel's layout is made on first use and
/// kept until a part changes in place. A weight that is being trained changes with every step, so it is not packed at all.
pub struct Weight {
    parts: Vec<Matrix>,
    made: RwLock<Option<Made>>,
    is_passing: bool,
}

/// The kernel's form, and the versions of the parts that it was made from.
#[derive(Clone)]
struct Made {
    form: Arc<Form>,
    versions: Vec<u64>,
}

/// What a kernel streams: panels that lie one after another.
pub(crate) enum Form {
    /// Of floats, all parts as one.
    Floats(Packed<f32>),
    /// Of blocks, of every part that is blocks.
    Blocks(Vec<Option<Interleaved>>),
}

impl Weight {
    /// A weight of `parts`, each of shape (out, in) with the same `in`: floats of any dtype, or blocks.
    ///
    /// # Errors
    /// `Argument`, `Shapes` or `DType` when the parts are none, do not fit one another, or are not floats.
    pub fn new(parts: impl IntoIterator<Item: Into<Matrix>>) -> Result<Weight> {
        let parts: Vec<Matrix> = parts.into_iter().map(Into::into).collect();
        let first =
            parts.first().ok_or_else(|| Error::argument("weight", "there must be at least one part"))?;
        for part in &parts {
            if part.shape().len() != 2 || part.shape()[1..] != first.shape()[1..] {
                let rule = "the parts must be matrices with the same number of columns";
                return Err(Error::Shapes {
                    op: "weight",
                    rule,
                    left: first.shape().into(),
                    right: part.shape().into(),
                });
            }
            if let Some(dtype) = part.dense().map(Tensor::dtype).filter(|dtype| !dtype.is_float()) {
                let rule = "weights must be floating-point numbers";
                return Err(Error::DType { op: "weight", rule, dtype });
            }
        }
        Ok(Weight { parts, made: RwLock::default(), is_passing: false })
    }

    /// A weight of one part for one product: the kernel's layout would not be used again, so it is made as the product goes along.
    ///
    /// # Errors
    /// As [`Weight::new`].
    pub fn passing(part: Tensor) -> Result<Weight> {
        Ok(Weight { is_passing: true, ..Weight::new([part])? })
    }

    /// The matrices as they were given.
    pub fn parts(&self) -> &[Matrix] {
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

    /// Whether a gradient is asked for any part.
    pub fn requires_grad(&self) -> bool {
        self.parts.iter().filter_map(Matrix::dense).any(Tensor::requires_grad)
    }

    /// The parts as pairs of bfloat16, where they are that and the processor multiplies those.
    pub(crate) fn pairs(&self) -> Option<Pairs<'_>> {
        Pairs::of(&self.parts)
    }

    /// The kernel's form, made now if there is none or a part has changed; `None` where the parts have no such form, and where it is not
    /// worth keeping, as the next product has other values or is of another weight. Several threads may ask at once; one result is kept.
    pub(crate) fn form(&self) -> Result<Option<Arc<Form>>> {
        if self.is_passing || self.requires_grad() {
            return Ok(None);
        }
        let versions = || self.parts.iter().map(|part| part.memory().storage().version());
        // A panic elsewhere leaves either the old form or the new one, and both say what they were made from.
        let kept = self.made.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = kept.as_ref().filter(|made| made.versions.iter().copied().eq(versions())) {
            return Ok(Some(made.form.clone()));
        }
        drop(kept);
        let versions = versions().collect();
        let Some(form) = self.make()? else { return Ok(None) };
        let form = Arc::new(form);
        // What it was made from is not needed in memory any more, so that a matrix takes memory once.
        self.parts.iter().map(Matrix::memory).for_each(Tensor::evict);
        let mut kept = self.made.write().unwrap_or_else(PoisonError::into_inner);
        *kept = Some(Made { form: form.clone(), versions });
        Ok(Some(form))
    }

    fn make(&self) -> Result<Option<Form>> {
        if self.parts.iter().any(|part| part.quantized().is_some()) {
            if !Interleaved::is_read() {
                return Ok(None);
            }
            let _measured = profile::span("pack_weights");
            let of = |part: &Matrix| part.quantized().map(Interleaved::of).transpose();
            return Ok(Some(Form::Blocks(self.parts.iter().map(of).collect::<Result<_>>()?)));
        }
        let is_wide = |part: &Matrix| part.dense().is_some_and(|part| part.dtype() == DType::F32);
        let (pairs, stacked) = (self.pairs(), Stacked(&self.parts));
        let panels: &dyn Panels<f32> = match &pairs {
            Some(pairs) => pairs,
            None if self.parts.iter().all(is_wide) => &stacked,
            None => return Ok(None),
        };
        let _measured = profile::span("pack_weights");
        Ok(Some(Form::Floats(Packed::made(panels)?)))
    }

    /// Gives back the kernel's form, until it is needed again.
    pub fn unpack(&self) {
        *self.made.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
