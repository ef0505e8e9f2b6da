//! Writing a safetensors file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::slice;

use safetensors::tensor::{Dtype, SafeTensorError, View, serialize_to_file};
use trustformers_tensor::{DType, Tensor};

use crate::{Error, Result};

/// A contiguous tensor as the format's writer wants it.
struct Contiguous(Tensor);

impl View for Contiguous {
    fn dtype(&self) -> Dtype {
        match self.0.dtype() {
            DType::Bool => Dtype::BOOL,
            DType::U8 => Dtype::U8,
            DType::U16 => Dtype::U16,
            DType::U32 => Dtype::U32,
            DType::U64 => Dtype::U64,
            DType::I8 => Dtype::I8,
            DType::I16 => Dtype::I16,
            DType::I32 => Dtype::I32,
            DType::I64 => Dtype::I64,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            DType::F32 => Dtype::F32,
            DType::F64 => Dtype::F64,
            DType::C64 => Dtype::C64,
            // `save_file` has refused it: the format has no such code.
            DType::C128 => Dtype::C64,
        }
    }

    fn shape(&self) -> &[usize] {
        self.0.shape()
    }

    fn data(&self) -> Cow<'_, [u8]> {
        if self.data_len() == 0 {
            return Cow::Borrowed(&[]);
        }
        // SAFETY: the tensor is contiguous, so its elements are this many initialised bytes, and it keeps them.
        Cow::Borrowed(unsafe { slice::from_raw_parts(self.0.as_ptr(), self.data_len()) })
    }

    fn data_len(&self) -> usize {
        self.0.numel() * self.0.dtype().size()
    }
}

/// Writes `tensors`, by name, and what is to be said about them to the file at `path`. It is written beside the old file and takes its
/// place when it is complete: readers see the old one or the new one, and tensors mapped from the old one stay as they are.
///
/// # Errors
/// `Save` when the file cannot be written or a dtype is none of the format's.
pub fn save_file(
    path: &Path,
    tensors: Vec<(String, Tensor)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<()> {
    let failed = |reason: String| Error::Save { path: path.into(), reason };
    if let Some((name, _)) = tensors.iter().find(|(_, tensor)| tensor.dtype() == DType::C128) {
        return Err(failed(format!(
            "safetensors has no complex128, which {name} is: convert it to complex64"
        )));
    }
    let views =
        tensors.into_iter().map(|(name, tensor)| Ok((name, Contiguous(tensor.detach().contiguous()?))));
    let views: Vec<_> = views.collect::<Result<_>>()?;
    let path = std::path::absolute(path).map_err(|error| failed(error.to_string()))?;
    let beside = Beside::create(&path).map_err(|error| failed(error.to_string()))?;
    serialize_to_file(views, metadata, &beside.0).map_err(|error| match error {
        SafeTensorError::IoError(error) => failed(error.to_string()),
        error => failed(error.to_string()),
    })?;
    beside.replace(&path).map_err(|error| failed(error.to_string()))
}

/// A file that is removed unless it takes the place of another.
struct Beside(PathBuf);

impl Beside {
    fn create(path: &Path) -> io::Result<Beside> {
        let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        for attempt in 0u32.. {
            let name = format!(".{}.{}-{attempt}", name.to_string_lossy(), std::process::id());
            let beside = path.with_file_name(name);
            match OpenOptions::new().write(true).create_new(true).open(&beside) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => continue,
                result => return result.map(|_| Beside(beside)),
            }
        }
        Err(io::Error::other("no free name beside it"))
    }

    /// Moves the file to `path`, with the permissions that a new file has here: the writer has made its own for itself alone.
    fn replace(self, path: &Path) -> io::Result<()> {
        let plain = Beside::create(path)?;
        fs::set_permissions(&self.0, fs::metadata(&plain.0)?.permissions())?;
        fs::rename(&self.0, path)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Gone already when it has taken its place; otherwise what is left behind can only be left behind.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MappedFile;

    fn file(dir: &tempfile::TempDir) -> PathBuf {
        dir.path().join("weights.safetensors")
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let matrix = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.], &[2, 3]).unwrap();
        let tensors =
            vec![("turned".into(), matrix.mt().unwrap()), ("none".into(), Tensor::zeros(&[0, 3]).unwrap())];
        save_file(&file(&dir), tensors, Some([("format".into(), "pt".into())].into())).unwrap();
        let mut loaded = MappedFile::open(&file(&dir)).unwrap().tensors().unwrap();
        loaded.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(loaded[0].1.shape(), [0, 3]);
        assert_eq!(loaded[1].1.as_slice::<f32>().unwrap(), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_old_file_stays_for_those_who_have_it_mapped() {
        let dir = tempfile::tempdir().unwrap();
        let save = |value: f32| {
            let tensor = Tensor::from_slice(&[value], &[1]).unwrap();
            save_file(&file(&dir), vec![("x".into(), tensor)], None)
        };
        save(1.0).unwrap();
        let old = MappedFile::open(&file(&dir)).unwrap().tensors().unwrap();
        save(2.0).unwrap();
        assert_eq!(old[0].1.as_slice::<f32>().unwrap(), [1.0]);
        assert_eq!(
            MappedFile::open(&file(&dir)).unwrap().tensors().unwrap()[0].1.as_slice::<f32>().unwrap(),
            [2.0]
        );
    }

    #[test]
    fn failures_name_the_file_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("no folder").join("x.safetensors");
        let error = save_file(&gone, vec![], None).unwrap_err();
        assert!(error.to_string().contains("no folder"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
