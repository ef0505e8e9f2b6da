//! Writing a safetensors file.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::slice;

use serde_json::{Map, Value, json};
use trustformers_tensor::{DType, Tensor, interrupt};

use crate::{Error, Parameter, Result};

/// How many bytes are written before it is asked whether to go on.
const PART: usize = 8 << 20;

/// Writes `tensors`, by name, and what is to be said about them to the file at `path`. It is written beside the old file and takes its
/// place when it is complete: readers see the old one or the new one, and tensors mapped from the old one stay as they are. A tensor that
/// is not contiguous is made so only while it is written, and blocks become numbers, in float32, one parameter after the other.
///
/// # Errors
/// `Save` when the file cannot be written, a dtype is none of the format's, or two tensors have one name.
pub fn save_file(
    path: &Path,
    tensors: Vec<(String, impl Into<Parameter>)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<()> {
    let failed = |reason: String| Error::Save { path: path.into(), reason };
    let mut tensors: Vec<(String, Parameter)> =
        tensors.into_iter().map(|(name, tensor)| (name, tensor.into())).collect();
    // Wide elements first, so that each tensor lies on its alignment.
    tensors.sort_by(|(a, x), (b, y)| y.dtype().size().cmp(&x.dtype().size()).then(a.cmp(b)));
    let header = header(&tensors, metadata).map_err(failed)?;
    replace(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        for (_, tensor) in &tensors {
            let tensor = tensor.tensor().map_err(io::Error::other)?;
            let tensor = tensor.detach().contiguous().map_err(io::Error::other)?;
            for part in bytes(&tensor).chunks(PART) {
                interrupt::check().map_err(io::Error::other)?;
                file.write_all(part)?;
            }
        }
        Ok(())
    })
}

/// Where each tensor will lie: JSON, padded to eight bytes.
fn header(
    tensors: &[(String, Parameter)],
    metadata: Option<HashMap<String, String>>,
) -> Result<String, String> {
    let mut entries = Map::new();
    if let Some(metadata) = metadata {
        entries.insert("__metadata__".into(), json!(metadata.into_iter().collect::<BTreeMap<_, _>>()));
    }
    let mut end = 0;
    for (name, tensor) in tensors {
        if tensor.dtype() == DType::C128 {
            return Err(format!("safetensors has no complex128, which {name} is: convert it to complex64"));
        }
        let start = end;
        end += tensor.numel() * tensor.dtype().size();
        let dtype = tensor.dtype().safetensors();
        let entry = json!({"dtype": dtype, "shape": tensor.shape(), "data_offsets": [start, end]});
        if entries.insert(name.clone(), entry).is_some() {
            return Err(format!("two tensors are named {name}"));
        }
    }
    let mut header = Value::Object(entries).to_string();
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    Ok(header)
}

/// The elements of a contiguous tensor.
fn bytes(tensor: &Tensor) -> &[u8] {
    match tensor.numel() * tensor.dtype().size() {
        0 => &[],
        // SAFETY: the tensor is contiguous, so its elements are this many initialised bytes, and it keeps them.
        length => unsafe { slice::from_raw_parts(tensor.as_ptr(), length) },
    }
}

/// Writes a file beside the one at `path` and puts it in its place when it is complete.
pub(crate) fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
) -> Result<()> {
    let written = || {
        let path = std::path::absolute(path)?;
        let (beside, file) = Beside::create(&path)?;
        let mut buffer = BufWriter::with_capacity(1 << 20, &file);
        write(&mut buffer)?;
        buffer.flush()?;
        drop(buffer);
        fs::rename(&beside.0, &path)
    };
    written().map_err(|error: io::Error| match interrupt::check() {
        Err(interrupted) => interrupted.into(),
        Ok(()) => Error::Save { path: path.into(), reason: error.to_string() },
    })
}

/// A file that is removed unless it takes the place of another.
struct Beside(PathBuf);

impl Beside {
    fn create(path: &Path) -> io::Result<(Beside, File)> {
        let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
        for attempt in 0u32.. {
            let name = format!(".{}.{}-{attempt}", name.to_string_lossy(), std::process::id());
            let beside = path.with_file_name(name);
            match OpenOptions::new().write(true).create_new(true).open(&beside) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1000 => continue,
                result => return result.map(|file| (Beside(beside), file)),
            }
        }
        Err(io::Error::other("no free name beside it"))
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

    /// Saves one number there.
    fn save(dir: &tempfile::TempDir, value: f32) -> Result<()> {
        let tensor = Tensor::from_slice(&[value], &[1])?;
        save_file(&file(dir), vec![("x".into(), tensor)], None)
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let matrix = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.], &[2, 3]).unwrap();
        let tensors = vec![
            ("byte".into(), Tensor::from_slice(&[1u8], &[1]).unwrap()),
            ("turned".into(), matrix.mt().unwrap()),
            ("none".into(), Tensor::zeros(&[0, 3]).unwrap()),
        ];
        save_file(&file(&dir), tensors, Some([("format".into(), "pt".into())].into())).unwrap();
        let mut loaded = MappedFile::open(&file(&dir)).unwrap().tensors().unwrap();
        loaded.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(loaded[1].1.shape(), [0, 3]);
        assert_eq!(loaded[2].1.as_slice::<f32>().unwrap(), [1., 4., 2., 5., 3., 6.]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_old_file_stays_for_those_who_have_it_mapped() {
        let dir = tempfile::tempdir().unwrap();
        save(&dir, 1.0).unwrap();
        let old = MappedFile::open(&file(&dir)).unwrap().tensors().unwrap();
        save(&dir, 2.0).unwrap();
        assert_eq!(old[0].1.as_slice::<f32>().unwrap(), [1.0]);
        assert_eq!(
            MappedFile::open(&file(&dir)).unwrap().tensors().unwrap()[0].1.as_slice::<f32>().unwrap(),
            [2.0]
        );
    }

    #[test]
    fn who_interrupts_finds_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        save(&dir, 1.0).unwrap();
        let error = interrupt::during(|| true, || save(&dir, 2.0)).unwrap_err();
        assert!(matches!(error, Error::Tensor(trustformers_tensor::Error::Interrupted)), "{error}");
        let tensors = MappedFile::open(&file(&dir)).unwrap().tensors().unwrap();
        assert_eq!(tensors[0].1.as_slice::<f32>().unwrap(), [1.0]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_name_twice() {
        let dir = tempfile::tempdir().unwrap();
        let tensor = || ("x".to_owned(), Tensor::zeros(&[1]).unwrap());
        let error = save_file(&file(&dir), vec![tensor(), tensor()], None).unwrap_err();
        assert!(error.to_string().contains("named x"), "{error}");
    }

    #[test]
    fn failures_name_the_file_and_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let gone = dir.path().join("no folder").join("x.safetensors");
        let error = save_file(&gone, Vec::<(String, Tensor)>::new(), None).unwrap_err();
        assert!(error.to_string().contains("no folder"), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
