//! Files for the tests, with whatever mistakes they are to have.

use std::fs;

use crate::{File, Result};

/// A file that is being made.
pub struct Builder {
    version: u32,
    counts: Option<(u64, u64)>,
    values: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    data: usize,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder { version: 3, counts: None, values: Vec::new(), tensors: Vec::new(), data: 0 }
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

impl Builder {
    pub fn version(self, version: u32) -> Builder {
        Builder { version, ..self }
    }

    /// What the file says of how many tensors and values it has.
    pub fn counts(self, tensors: u64, values: u64) -> Builder {
        Builder { counts: Some((tensors, values)), ..self }
    }

    pub fn raw(mut self, key: &str, kind: u32, value: &[u8]) -> Builder {
        self.values.push([&text(key), &kind.to_le_bytes()[..], value].concat());
        self
    }

    pub fn text(self, key: &str, value: &str) -> Builder {
        self.raw(key, 8, &text(value))
    }

    pub fn u32(self, key: &str, value: u32) -> Builder {
        self.raw(key, 4, &value.to_le_bytes())
    }

    pub fn texts(self, key: &str, values: &[&str]) -> Builder {
        let all: Vec<u8> = values.iter().flat_map(|value| text(value)).collect();
        self.raw(key, 9, &[&8u32.to_le_bytes()[..], &(values.len() as u64).to_le_bytes(), &all].concat())
    }

    /// A tensor with ggml's order of dimensions.
    pub fn tensor(mut self, name: &str, dimensions: &[u64], kind: u32, offset: u64) -> Builder {
        let mut bytes = text(name);
        bytes.extend((dimensions.len() as u32).to_le_bytes());
        bytes.extend(dimensions.iter().flat_map(|size| size.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        self.tensors.push(bytes);
        self
    }

    /// So many more bytes behind the header.
    pub fn data(self, bytes: usize) -> Builder {
        Builder { data: self.data + bytes, ..self }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let (tensors, values) = self.counts.unwrap_or((self.tensors.len() as u64, self.values.len() as u64));
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(values.to_le_bytes());
        bytes.extend(self.values.concat());
        bytes.extend(self.tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(32) + self.data, 0);
        bytes
    }
}

pub fn opened(bytes: &[u8]) -> Result<File> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.gguf");
    fs::write(&path, bytes).unwrap();
    File::open(&path)
}
