//! Matrices stored in few bits: blocks of small integers with scales, as ggml and GGUF files have them.

mod encode;
mod format;
mod run;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

pub(crate) use encode::encoder;
pub use format::BlockFormat;
pub(crate) use run::{GROUP, RUN, Run, widen};

use crate::cpu::{Interleaved, for_each_run_of};
use crate::{DType, Device, Error, Result, Tensor};

/// Elements that are widened at a time.
const AT_ONCE: usize = 4 << 20;

/// A matrix (rows, columns) in a [`BlockFormat`]. Its bytes usually belong to a mapped file, and are never expanded but where a product
/// goes along them. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Quantized {
    format: BlockFormat,
    shape: [usize; 2],
    stored: Stored,
}

/// How the blocks lie.
#[derive(Clone, Debug)]
enum Stored {
    /// (rows, [`BlockFormat::row_bytes`]), as files have them.
    Rows(Tensor),
    /// As the kernel reads them, and only so: what no file has would take memory twice. Rows are made again for whoever asks.
    Interleaved(Interleaved),
}

impl Quantized {
    /// A matrix of `shape` (rows, columns) whose `blocks` are uint8: (rows, [`BlockFormat::row_bytes`]), or as many in one dimension.
    ///
    /// # Errors
    /// `Argument` when columns are not whole blocks or there are not as many bytes as the shape needs; `DType` for other than uint8.
    pub fn new(format: BlockFormat, blocks: Tensor, shape: [usize; 2]) -> Result<Quantized> {
        if blocks.dtype() != DType::U8 {
            let rule = "blocks must be bytes, that is uint8";
            return Err(Error::DType { op: "quantized", rule, dtype: blocks.dtype() });
        }
        let row_bytes = format.row_bytes(shape[1])?;
        if row_bytes.checked_mul(shape[0]) != Some(blocks.numel()) {
            let message = format!(
                "a matrix of shape {shape:?} in {format} has {row_bytes} bytes in each row, got {} bytes",
                blocks.numel()
            );
            return Err(Error::argument("quantized", message));
        }
        let blocks = blocks.detach().contiguous()?.view(&[shape[0], row_bytes])?;
        Ok(Quantized { format, shape, stored: Stored::Rows(blocks) })
    }

    /// `x` (rows, columns), of any float dtype, in `format`, rounded as ggml's reference does.
    ///
    /// # Errors
    /// `Argument` when `x` is no matrix, its columns are not whole blocks, or the format can only be read; `DType` for other than floats.
    pub fn quantize(x: &Tensor, format: BlockFormat) -> Result<Quantized> {
        let &[rows, columns] = x.shape() else {
            let message = format!("only matrices can be quantized, got shape {:?}", x.shape());
            return Err(Error::argument("quantize", message));
        };
        if !x.dtype().is_float() {
            let rule = "only floating-point numbers can be quantized";
            return Err(Error::DType { op: "quantize", rule, dtype: x.dtype() });
        }
        let encode = encoder(format)?;
        let row_bytes = format.row_bytes(columns)?;
        let x = x.detach();
        let blocks = Tensor::build(&[rows, row_bytes], |out: &mut [MaybeUninit<u8>]| {
            out.fill(MaybeUninit::new(0));
            // SAFETY: initialised by the line above.
            let out = unsafe { out.assume_init_mut() };
            // Some rows at a time are widened, so that a large matrix of 16 bits is not held as one of 32.
            let rows_at_once = (AT_ONCE / columns.max(1)).max(1);
            for (first, out) in
                (0..).step_by(rows_at_once).zip(out.chunks_mut((rows_at_once * row_bytes).max(1)))
            {
                let some = x.narrow(0, first, first + out.len() / row_bytes)?;
                let some = some.to_dtype(DType::F32)?.contiguous()?;
                let some = some.as_slice::<f32>()?;
                for_each_run_of(out, row_bytes, columns, |first, out| {
                    for (i, out) in out.chunks_exact_mut(row_bytes).enumerate() {
                        encode(&some[(first + i) * columns..][..columns], out);
                    }
                })?;
            }
            Ok(())
        })?;
        let matrix = Quantized { format, shape: [rows, columns], stored: Stored::Rows(blocks) };
        if !Interleaved::is_read() {
            return Ok(matrix);
        }
        Ok(Quantized { stored: Stored::Interleaved(Interleaved::of(&matrix)?), ..matrix })
    }

    /// How it is stored.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// Rows and columns.
    pub fn shape(&self) -> &[usize; 2] {
        &self.shape
    }

    /// The bytes of all rows, on any device. The form of a kernel has more where it fills up rows or columns that are few.
    pub fn nbytes(&self) -> usize {
        self.shape[0] * self.row_bytes()
    }

    fn row_bytes(&self) -> usize {
        // They were whole blocks when this was made.
        self.format.row_bytes(self.shape[1]).unwrap_or_default()
    }

    /// The memory that holds the blocks, in whatever order.
    pub fn memory(&self) -> &Tensor {
        match &self.stored {
            Stored::Rows(blocks) => blocks,
            Stored::Interleaved(interleaved) => interleaved.memory(),
        }
    }

    /// The bytes: (rows, [`BlockFormat::row_bytes`]); made now, where they lie otherwise.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn blocks(&self) -> Result<Tensor> {
        let Stored::Interleaved(interleaved) = &self.stored else { return Ok(self.memory().clone()) };
        let row_bytes = self.row_bytes();
        Tensor::build(&[self.shape[0], row_bytes], |out: &mut [MaybeUninit<u8>]| {
            out.fill(MaybeUninit::new(0));
            // SAFETY: initialised by the line above.
            let out = unsafe { out.assume_init_mut() };
            for_each_run_of(out, row_bytes, row_bytes, |first, out| {
                for (row, out) in (first..).zip(out.chunks_exact_mut(row_bytes.max(1))) {
                    interleaved.write_row(row, out);
                }
            })
        })
    }

    /// The bytes of a row, which must be there, of a matrix of the processor's; in `space`, where they lie otherwise.
    pub(crate) fn row<'a>(&'a self, row: usize, space: &'a mut Vec<u8>) -> &'a [u8] {
        match &self.stored {
            Stored::Rows(blocks) => {
                let row_bytes = self.row_bytes();
                &blocks.elements()[row * row_bytes..][..row_bytes]
            }
            Stored::Interleaved(interleaved) => {
                space.resize(self.row_bytes(), 0);
                interleaved.write_row(row, space);
                space
            }
        }
    }

    /// The form of the kernel, if that is all there is.
    pub(crate) fn interleaved(&self) -> Option<&Interleaved> {
        match &self.stored {
            Stored::Rows(_) => None,
            Stored::Interleaved(interleaved) => Some(interleaved),
        }
    }

    /// The same blocks on `device`.
    ///
    /// # Errors
    /// As for [`Tensor::to_device`].
    pub fn to_device(&self, device: Device) -> Result<Quantized> {
        if self.memory().device() == device {
            return Ok(self.clone());
        }
        Ok(Quantized { stored: Stored::Rows(self.blocks()?.to_device(device)?), ..self.clone() })
    }

    /// The same blocks in memory of their own.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn copy(&self) -> Result<Quantized> {
        let stored = match &self.stored {
            Stored::Rows(blocks) => Stored::Rows(blocks.copy()?),
            Stored::Interleaved(interleaved) => Stored::Interleaved(interleaved.copy()?),
        };
        Ok(Quantized { stored, ..*self })
    }

    /// The numbers that this stands for: (rows, columns), float32.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn dequantize(&self) -> Result<Tensor> {
        self.memory().backend().dequantize(self, None)
    }

    /// The rows that `ids` name, as numbers: (ids, columns), float32. What an embedding looks up.
    ///
    /// # Errors
    /// `Index` for a row that is not there.
    pub fn rows(&self, ids: &[i64]) -> Result<Tensor> {
        self.check("rows", ids)?;
        self.memory().backend().dequantize(self, Some(ids))
    }

    /// The matrix of the rows that `ids` name, in the same format.
    ///
    /// # Errors
    /// `Index` for a row that is not there.
    pub fn select_rows(&self, ids: &[i64]) -> Result<Quantized> {
        self.check("select_rows", ids)?;
        let blocks = self.blocks()?.index_select(0, &Tensor::from_slice(ids, &[ids.len()])?)?;
        Ok(Quantized { shape: [ids.len(), self.shape[1]], stored: Stored::Rows(blocks), ..*self })
    }

    fn check(&self, op: &'static str, ids: &[i64]) -> Result<()> {
        let size = self.shape[0];
        match ids.iter().find(|&&id| usize::try_from(id).map_or(true, |id| id >= size)) {
            Some(&index) => Err(Error::Index { op, what: "the matrix", index, size }),
            None => Ok(()),
        }
    }
}
