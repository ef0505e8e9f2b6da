//! A safetensors file: opening it reads the header and nothing else.

use std::collections::HashSet;
use std::fmt;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};
use trustformers_tensor::{DType, Tensor};

use super::mapping::Mapping;
use crate::{Error, Result};

/// An open safetensors file whose header has been checked against its size.
///
/// The tensors made from it borrow the mapping: their pages are read when they are first used, and shared between processes.
/// As with every mapping, whoever truncates the file meanwhile ends the process that reads the lost part.
pub struct MappedFile {
    mapping: Mapping,
    header: Metadata,
    data: usize,
}

impl MappedFile {
    /// Maps `path` and checks its header.
    ///
    /// # Errors
    /// `Io` when it cannot be read; `LfsPointer` when it only says where the file is; `Weights` when the header is truncated, lies
    /// about sizes, names a tensor twice, or tensors overlap.
    pub fn open(path: &Path) -> Result<MappedFile> {
        let mapping = Mapping::open(path)?;
        let bytes = mapping.bytes();
        let damaged = |reason: String| Error::Weights { path: path.into(), reason };
        let (size, header) = SafeTensors::read_metadata(bytes).map_err(|error| damaged(error.to_string()))?;
        serde_json::Deserializer::from_slice(&bytes[8..8 + size])
            .deserialize_map(NoNameTwice)
            .map_err(|error| damaged(error.to_string()))?;
        Ok(MappedFile { mapping, header, data: 8 + size })
    }

    /// The tensors by name, over the mapped memory; only where the file has them off their alignment they are copied.
    ///
    /// # Errors
    /// `Weights` when a dtype is none of ours.
    pub fn tensors(&self) -> Result<Vec<(String, Tensor)>> {
        let damaged = |reason: String| Error::Weights { path: self.mapping.path.clone(), reason };
        self.header
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let code = info.dtype.to_string();
                let dtype = DType::from_safetensors(&code).ok_or_else(|| {
                    damaged(format!(
                        "the tensor {name} has the dtype {code}, which trustformers does not know"
                    ))
                })?;
                let (start, end) = info.data_offsets;
                let run = self.mapping.run(self.data + start..self.data + end, dtype)?;
                let tensor = run.map(|run| run.contiguous(&info.shape)).transpose()?.flatten();
                let tensor = tensor.ok_or_else(|| damaged(format!("{name} lies outside the file")))?;
                Ok((name, tensor))
            })
            .collect()
    }
}

/// Reads a JSON object for its names only. The format's own crate lets the last of equal names win.
struct NoNameTwice;

impl<'de> Visitor<'de> for NoNameTwice {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let mut names = HashSet::new();
        while let Some((name, IgnoredAny)) = map.next_entry::<String, _>()? {
            if let Some(name) = names.replace(name) {
                return Err(M::Error::custom(format!("the header names {name} twice")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn opened(header: &str, data: usize) -> Result<Vec<(String, Tensor)>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let length = (header.len() as u64).to_le_bytes();
        fs::write(&path, [&length, header.as_bytes(), &vec![0; data]].concat()).unwrap();
        MappedFile::open(&path)?.tensors()
    }

    #[test]
    fn a_name_may_come_once_even_where_the_bytes_agree() {
        let entry = r#""a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}"#;
        assert_eq!(opened(&format!("{{{entry}}}"), 8).unwrap().len(), 1);
        let error = opened(&format!("{{{entry}, {entry}}}"), 8).unwrap_err().to_string();
        assert!(error.contains("names a twice"), "{error}");
    }

    #[test]
    fn tensors_off_their_alignment_are_copied() {
        let header = r#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"F32","shape":[2],"data_offsets":[3,11]}}"#;
        let mut tensors = opened(header, 11).unwrap();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(tensors[1].1.as_slice::<f32>().unwrap(), [0.0, 0.0]);
    }
}
