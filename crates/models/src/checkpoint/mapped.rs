//! A safetensors file, mapped into memory: opening it reads the header and nothing else.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use trustformers_tensor::{Buffer, DType, Layout, Storage, Tensor};

use crate::{Error, Result};

/// An open safetensors file whose header has been checked against its size.
///
/// The tensors made from it borrow the mapping: their pages are read when they are first used, and shared between processes.
/// As with every mapping, whoever truncates the file meanwhile ends the process that reads the lost part.
pub struct MappedFile {
    path: PathBuf,
    map: Arc<Mmap>,
    header: Metadata,
    data: usize,
}

impl MappedFile {
    /// Maps `path` and checks its header.
    ///
    /// # Errors
    /// `Io` when it cannot be read; `Weights` when the header is truncated, lies about sizes, or tensors overlap.
    pub fn open(path: &Path) -> Result<MappedFile> {
        let io = |source| Error::Io { path: path.into(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is read-only; that the file is not truncated while it is in use is the caller's part, as documented.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let damaged = |reason: String| Error::Weights { path: path.into(), reason };
        let (header_size, header) =
            SafeTensors::read_metadata(&map).map_err(|error| damaged(error.to_string()))?;
        Ok(MappedFile { path: path.into(), map: Arc::new(map), header, data: 8 + header_size })
    }

    /// The tensors by name, over the mapped memory; only where the file has them off their alignment they are copied.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let storage = Arc::new(self.storage());
        self.header
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let code = info.dtype.to_string();
                let dtype = DType::from_safetensors(&code).ok_or_else(|| {
                    self.damaged(format!(
                        "the tensor {name} has the dtype {code}, which trustformers does not know"
                    ))
                })?;
                let (start, end) = info.data_offsets;
                let (start, end) = (self.data + start, self.data + end);
                let bytes = self
                    .map
                    .get(start..end)
                    .ok_or_else(|| self.damaged(format!("{name} lies outside the file")))?;
                let address = bytes.as_ptr() as usize;
                let tensor = if address.is_multiple_of(dtype.size()) && start.is_multiple_of(dtype.size()) {
                    let layout = Layout::contiguous(&info.shape);
                    let layout = Layout::strided(layout.shape(), layout.strides(), start / dtype.size());
                    Tensor::from_storage(storage.clone(), layout, dtype)?
                } else {
                    Tensor::from_bytes(bytes, &info.shape, dtype)?
                };
                Ok((name, tensor))
            })
            .collect()
    }

    /// The whole file as the memory of tensors.
    fn storage(&self) -> Storage {
        let bytes: &[u8] = &self.map;
        let ptr = NonNull::from(bytes).cast();
        // SAFETY: the mapping is readable as a whole, stays in place, and lives as long as the owner given here.
        Storage::Cpu(unsafe { Buffer::foreign(ptr, bytes.len(), false, Box::new(self.map.clone())) })
    }

    fn damaged(&self, reason: String) -> Error {
        Error::Weights { path: self.path.clone(), reason }
    }
}
