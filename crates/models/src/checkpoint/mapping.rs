//! A file in memory, and tensors over it.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;

use memmap2::{MmapOptions, MmapRaw};
use trustformers_tensor::{Buffer, DType, Layout, Storage, Tensor};

use crate::{Error, Result};

/// A file in memory: its pages are read when they are first used, and shared between processes. Who writes to one has it as a copy of
/// their own; the file stays as it is.
///
/// As with every mapping, whoever truncates the file meanwhile ends the process that reads the lost part.
pub(super) struct Mapping {
    pub path: PathBuf,
    map: Arc<MmapRaw>,
}

impl Mapping {
    pub fn open(path: &Path) -> Result<Mapping> {
        let io = |source| Error::Io { path: path.into(), source };
        let file = File::open(path).map_err(io)?;
        // Swap is not reserved for copies of pages that are hardly ever written.
        // SAFETY: that the file is not truncated while it is in use is the caller's part, as documented.
        let map = unsafe { MmapOptions::new().no_reserve_swap().map_copy(&file) }.map_err(io)?;
        // A bias of a few bytes shall not take 2 MiB of memory where the system holds files in pages of that size. Where it declines the
        // advice, nothing is lost.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::NoHugePage);
        if map.starts_with(b"version https://git-lfs.github.com/spec/") {
            return Err(Error::LfsPointer { path: path.into() });
        }
        Ok(Mapping { path: path.into(), map: Arc::new(map.into()) })
    }

    /// The whole file, for those who read it before they hand out tensors.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is readable as a whole and lives as long as this; tensors over it are written only once they are handed out.
        unsafe { slice::from_raw_parts(self.map.as_ptr(), self.map.len()) }
    }

    /// The elements that lie in `range` of the file, in place if they lie on their alignment there and else copied; `None` if the file
    /// does not reach so far.
    pub fn run(&self, range: Range<usize>, dtype: DType) -> Result<Option<Run>> {
        let Some(bytes) = self.bytes().get(range.clone()) else { return Ok(None) };
        let len = bytes.len() / dtype.size();
        Ok(Some(if range.start.is_multiple_of(dtype.size()) {
            let ptr = NonNull::from(bytes).cast();
            // SAFETY: the bytes are readable and writable, stay in place, and live as long as the owner given here; the mapping is private,
            // and nobody writes to it but through its buffers.
            let buffer = unsafe { Buffer::mapping(ptr, bytes.len(), Box::new(self.map.clone())) };
            Run { storage: Arc::new(Storage::Cpu(buffer)), first: 0, len, dtype }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const COUNT: usize = 64 << 10;

    /// So many ones in a file.
    fn ones() -> (tempfile::TempDir, Tensor) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ones");
        fs::write(&path, 1f32.to_le_bytes().repeat(COUNT)).unwrap();
        let run = Mapping::open(&path).unwrap().run(0..4 * COUNT, DType::F32).unwrap().unwrap();
        (folder, run.contiguous(&[COUNT]).unwrap().unwrap())
    }

    #[test]
    fn evicted_pages_are_read_again() {
        let (_folder, tensor) = ones();
        for _ in 0..2 {
            assert!(tensor.as_slice::<f32>().unwrap().iter().all(|&value| value == 1.0));
            tensor.evict();
        }
    }

    #[test]
    fn what_was_written_is_not_evicted() {
        let (_folder, tensor) = ones();
        tensor.narrow(0, 0, COUNT / 2).unwrap().mul_(2.0).unwrap();
        tensor.evict();
        assert_eq!(tensor.sum(&[], false).unwrap().item().unwrap().to_f64(), 1.5 * COUNT as f64);
    }

    #[test]
    fn what_others_may_have_written_is_not_evicted() {
        let (_folder, tensor) = ones();
        let Storage::Cpu(buffer) = tensor.storage().as_ref() else {
            panic!("a mapped file is the processor's")
        };
        buffer.lend();
        // SAFETY: the memory is writable, and nobody else's.
        unsafe { tensor.as_ptr().cast_mut().cast::<f32>().add(9).write(7.0) };
        tensor.evict();
        assert_eq!(tensor.as_slice::<f32>().unwrap()[9], 7.0);
    }
}
