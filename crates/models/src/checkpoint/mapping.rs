//! A file in memory, and tensors over it.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::Arc;

use memmap2::Mmap;
use trustformers_tensor::{Buffer, DType, Layout, Storage, Tensor};

use crate::{Error, Result};

/// A file mapped read-only: its pages are read when they are first used, and shared between processes.
///
/// As with every mapping, whoever truncates the file meanwhile ends the process that reads the lost part.
pub(super) struct Mapping {
    pub path: PathBuf,
    map: Arc<Mmap>,
    storage: Arc<Storage>,
}

impl Mapping {
    pub fn open(path: &Path) -> Result<Mapping> {
        let io = |source| Error::Io { path: path.into(), source };
        let file = File::open(path).map_err(io)?;
        // SAFETY: the map is read-only; that the file is not truncated while it is in use is the caller's part, as documented.
        let map = Arc::new(unsafe { Mmap::map(&file) }.map_err(io)?);
        if map.starts_with(b"version https://git-lfs.github.com/spec/") {
            return Err(Error::LfsPointer { path: path.into() });
        }
        let ptr = NonNull::from(&map[..]).cast();
        // SAFETY: the mapping is readable as a whole, stays in place, and lives as long as the owner given here.
        let buffer = unsafe { Buffer::foreign(ptr, map.len(), false, Box::new(map.clone())) };
        Ok(Mapping { path: path.into(), map, storage: Arc::new(Storage::Cpu(buffer)) })
    }

    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The elements that lie in `range` of the file, in place if they lie on their alignment there and else copied; `None` if the file
    /// does not reach so far.
    pub fn run(&self, range: Range<usize>, dtype: DType) -> Result<Option<Run>> {
        let Some(bytes) = self.map.get(range.clone()) else { return Ok(None) };
        let len = bytes.len() / dtype.size();
        Ok(Some(if range.start.is_multiple_of(dtype.size()) {
            Run { storage: self.storage.clone(), first: range.start / dtype.size(), len, dtype }
        } else {
            let copy = Tensor::from_bytes(&bytes[..len * dtype.size()], &[len], dtype)?;
            Run { storage: copy.storage().clone(), first: 0, len, dtype }
        }))
    }
}

/// Elements that lie one after another in some storage.
#[derive(Clone)]
pub(super) struct Run {
    storage: Arc<Storage>,
    first: usize,
    len: usize,
    dtype: DType,
}

impl Run {
    /// The tensor whose element (i, j, …) is element `offset + i * strides[0] + j * strides[1] + …` of the run, where no stride is negative;
    /// `None` if the run does not reach so far.
    pub fn view(&self, offset: usize, shape: &[usize], strides: &[isize]) -> Result<Option<Tensor>> {
        let empty = shape.contains(&0);
        let last = shape.iter().zip(strides).fold(offset as i128, |last, (&size, &stride)| {
            last.saturating_add((size as i128 - 1).saturating_mul(stride as i128))
        });
        if !empty && last >= self.len as i128 {
            return Ok(None);
        }
        let layout = Layout::strided(shape, strides, if empty { 0 } else { self.first + offset });
        Ok(Some(Tensor::from_storage(self.storage.clone(), layout, self.dtype)?))
    }

    /// The tensor of this shape that is the run in C order; `None` if the run is too short.
    pub fn contiguous(&self, shape: &[usize]) -> Result<Option<Tensor>> {
        self.view(0, shape, Layout::contiguous(shape).strides())
    }
}
