//! A file: its header, held against its size.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::metadata::{Numbers, Texts, Value};
use crate::reader::{Fault, LARGEST, Reader, damaged};
use crate::{Error, Kind, Result};

/// Where tensors lie if the file does not say: on multiples of so many bytes.
const ALIGNMENT: u64 = 32;
/// ggml's tensors have so many dimensions at most.
const DIMENSIONS: u32 = 4;
/// What is behind a tensor's name: dimensions, one size, type and place.
const SMALLEST_TENSOR: u64 = 8 + 4 + 8 + 4 + 8;
/// A key, a type and a value of one byte.
const SMALLEST_VALUE: u64 = 8 + 4 + 1;

/// What a GGUF file says, and where its tensors are. Everything has been checked against the file's size.
#[derive(Clone, Debug)]
pub struct File {
    /// The file, and the others that hold tensors of its model.
    pub(crate) paths: Vec<PathBuf>,
    metadata: BTreeMap<String, Value>,
    pub(crate) tensors: Vec<TensorInfo>,
}

/// A tensor of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// llama.cpp's name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Its shape, the last dimension the one whose numbers lie side by side (files write the dimensions the other way round).
    pub shape: Vec<usize>,
    /// How its numbers are stored.
    pub kind: Kind,
    /// The bytes of the file that hold it.
    pub bytes: Range<usize>,
    /// Which of [`File::paths`] that file is.
    pub part: usize,
}

impl File {
    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// `Io` or `LfsPointer` if there is no such file; `Damaged` if it is none, or if a length, a count, a type or a place in it cannot
    /// be, tensors overlap, or a name comes twice; `Unsupported` for other versions, other byte orders and unknown types of tensors.
    pub fn open(path: &Path) -> Result<File> {
        let io = |source| Error::Io { path: path.into(), source };
        let file = fs::File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut source = BufReader::with_capacity(1 << 16, file);
        if source.fill_buf().map_err(io)?.starts_with(b"version https://git-lfs.github.com/spec/") {
            return Err(Error::LfsPointer { path: path.into() });
        }
        read(source, size, path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.paths[0]
    }

    /// Where it is, and where the other parts of its model are if they were opened with it.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Its tensors, in the file's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// Whether there is a tensor of this name.
    pub fn has_tensor(&self, name: &str) -> bool {
        self.tensors.iter().any(|tensor| tensor.name == name)
    }

    /// Everything that it says, by name.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// A value, if it is there.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A text, if it is there.
    pub fn text(&self, key: &str) -> Result<Option<&str>> {
        self.one_of(key, "a text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A whole number, at least 0, if it is there.
    pub fn size(&self, key: &str) -> Result<Option<usize>> {
        self.one_of(key, "a whole number, at least 0", |value| match value {
            Value::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        })
    }

    /// `true` or `false`, if it is there.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.one_of(key, "true or false", |value| match value {
            Value::Flag(flag) => Some(*flag),
            _ => None,
        })
    }

    /// An array of texts, if it is there.
    pub fn texts(&self, key: &str) -> Result<Option<&Texts>> {
        self.one_of(key, "an array of texts", |value| match value {
            Value::Texts(texts) => Some(texts),
            _ => None,
        })
    }

    /// An array of numbers, if it is there.
    pub fn numbers(&self, key: &str) -> Result<Option<&Numbers>> {
        self.one_of(key, "an array of numbers", |value| match value {
            Value::Numbers(numbers) => Some(numbers),
            _ => None,
        })
    }

    /// The numbers of a small tensor of float32, read from the file, if there is one of this name.
    ///
    /// # Errors
    /// `Io`, or `Unsupported` for one of another type, or of more than a million numbers.
    pub fn floats(&self, name: &str) -> Result<Option<Vec<f32>>> {
        let Some(tensor) = self.tensors.iter().find(|tensor| tensor.name == name) else { return Ok(None) };
        if tensor.kind.name != "F32" || tensor.bytes.len() > 4 << 20 {
            let TensorInfo { shape, kind, .. } = tensor;
            return Err(
                self.unsupported(format!("{name} is {kind:?} {shape:?}, and a few float32 were expected"))
            );
        }
        let mut bytes = vec![0; tensor.bytes.len()];
        let path = &self.paths[tensor.part];
        fs::File::open(path)
            .and_then(|mut file| {
                file.seek(SeekFrom::Start(tensor.bytes.start as u64))?;
                file.read_exact(&mut bytes)
            })
            .map_err(|source| Error::Io { path: path.clone(), source })?;
        let number = |bytes: &[u8]| bytes.try_into().map_or(f32::NAN, f32::from_le_bytes);
        Ok(Some(bytes.chunks_exact(4).map(number).collect()))
    }

    /// `general.architecture`, which says how all else is to be read.
    pub fn architecture(&self) -> Result<&str> {
        let key = "general.architecture";
        self.text(key)?.ok_or_else(|| self.wrong(key, "is missing"))
    }

    /// The error that says what is wrong with a value.
    pub fn wrong(&self, key: &str, reason: impl Into<String>) -> Error {
        Error::Field { path: self.path().into(), key: key.into(), reason: reason.into() }
    }

    /// The error that says that something in the file is not supported.
    pub fn unsupported(&self, reason: impl Into<String>) -> Error {
        Error::Unsupported { path: self.path().into(), reason: reason.into() }
    }

    fn one_of<'a, T>(
        &'a self,
        key: &str,
        rule: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.metadata.get(key) else { return Ok(None) };
        let wrong = || self.wrong(key, format!("must be {rule}, and it is {}", value.what()));
        read(value).map(Some).ok_or_else(wrong)
    }
}

/// A tensor whose place is not known yet: that counts from where all of them begin.
struct Unplaced {
    name: String,
    shape: Vec<usize>,
    kind: u32,
    offset: u64,
}

fn read(source: impl BufRead, size: u64, path: &Path) -> Result<File> {
    let failed = |fault| match fault {
        Fault::Io(source) => Error::Io { path: path.into(), source },
        Fault::Damaged(reason) => Error::Damaged { path: path.into(), reason },
    };
    let mut reader = Reader::new(source, size);
    if let Some(reason) = refused(version(&mut reader).map_err(failed)?) {
        return Err(Error::Unsupported { path: path.into(), reason });
    }
    let (metadata, unplaced) = contents(&mut reader).map_err(failed)?;
    let mut file = File { paths: vec![path.into()], metadata, tensors: Vec::new() };
    let alignment = match file.size("general.alignment")? {
        None => ALIGNMENT,
        Some(bytes) if bytes.is_power_of_two() && bytes as u64 <= LARGEST => bytes as u64,
        Some(bytes) => {
            return Err(file.wrong("general.alignment", format!("must be a power of two, and it is {bytes}")));
        }
    };
    let data = reader.position.next_multiple_of(alignment);
    for tensor in unplaced {
        let kind = Kind::from_id(tensor.kind).ok_or_else(|| {
            let (name, id) = (&tensor.name, tensor.kind);
            file.unsupported(format!("the tensor {name} is of ggml's type {id}, which is not known here"))
        })?;
        file.tensors.push(tensor.placed(kind, data, alignment, size).map_err(failed)?);
    }
    apart(&file.tensors).map_err(failed)?;
    Ok(file)
}

fn version(reader: &mut Reader<impl BufRead>) -> Result<u32, Fault> {
    match &reader.magic()? {
        b"GGUF" => reader.u32("the version"),
        other => damaged(format!("it begins with {:?} instead of GGUF", String::from_utf8_lossy(other))),
    }
}

fn contents(reader: &mut Reader<impl BufRead>) -> Result<(BTreeMap<String, Value>, Vec<Unplaced>), Fault> {
    let tensors = reader.count(SMALLEST_TENSOR, "the number of tensors")?;
    let values = reader.count(SMALLEST_VALUE, "the number of metadata values")?;
    let mut metadata = BTreeMap::new();
    for index in 0..values {
        let key = reader.text(&format!("the key of metadata value {index}"))?;
        let value = reader.value(&format!("`{key}`"))?;
        if metadata.insert(key.clone(), value).is_some() {
            return damaged(format!("the key `{key}` comes twice"));
        }
    }
    let mut names = BTreeSet::new();
    let mut unplaced = Vec::new();
    for index in 0..tensors {
        let tensor = tensor(reader, index)?;
        if !names.insert(tensor.name.clone()) {
            return damaged(format!("the tensor {} comes twice", tensor.name));
        }
        unplaced.push(tensor);
    }
    Ok((metadata, unplaced))
}

fn tensor(reader: &mut Reader<impl BufRead>, index: usize) -> Result<Unplaced, Fault> {
    let name = reader.text(&format!("the name of tensor {index}"))?;
    let dimensions = reader.u32(&name)?;
    if dimensions > DIMENSIONS {
        return damaged(format!(
            "{name} has {dimensions} dimensions, and {DIMENSIONS} are the most there are"
        ));
    }
    let mut shape = Vec::new();
    for _ in 0..dimensions {
        let size = reader.u64(&name)?;
        match usize::try_from(size) {
            Ok(size) if size > 0 => shape.insert(0, size),
            _ => return damaged(format!("{name} has a dimension of {size}")),
        }
    }
    Ok(Unplaced { kind: reader.u32(&name)?, offset: reader.u64(&name)?, name, shape })
}

/// Why a version is not read.
fn refused(version: u32) -> Option<String> {
    match version {
        2 | 3 => None,
        _ if matches!(version.swap_bytes(), 1..=3) => Some(
            "it is for machines of the other byte order (big-endian): convert it with gguf_convert_endian.py of llama.cpp"
                .into(),
        ),
        _ => Some(format!("it is of version {version} of GGUF, and 2 and 3 are read: convert the model anew")),
    }
}

impl Unplaced {
    fn placed(self, kind: Kind, data: u64, alignment: u64, size: u64) -> Result<TensorInfo, Fault> {
        let Unplaced { name, shape, offset, .. } = self;
        let row = shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(kind.block_len) {
            return damaged(format!(
                "{name} has rows of {row} numbers, which are no whole blocks of {} ({})",
                kind.name, kind.block_len
            ));
        }
        if !offset.is_multiple_of(alignment) {
            return damaged(format!("{name} begins at {offset}, which is no multiple of {alignment}"));
        }
        let length = shape
            .iter()
            .try_fold(1usize, |all, &one| all.checked_mul(one))
            .and_then(|all| (all / kind.block_len).checked_mul(kind.block_bytes));
        let place = length.and_then(|length| {
            let start = usize::try_from(data.checked_add(offset)?).ok()?;
            let end = start.checked_add(length).filter(|&end| end as u64 <= size)?;
            Some(start..end)
        });
        match place {
            Some(bytes) => Ok(TensorInfo { name, shape, kind, bytes, part: 0 }),
            None => damaged(format!(
                "{name}, {} {shape:?} at {offset} behind the header, lies outside the file of {size} bytes",
                kind.name
            )),
        }
    }
}

/// Refuses tensors that share bytes.
fn apart(tensors: &[TensorInfo]) -> Result<(), Fault> {
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by_key(|tensor| tensor.bytes.start);
    match sorted.windows(2).find(|pair| pair[0].bytes.end > pair[1].bytes.start) {
        Some(pair) => damaged(format!("the tensors {} and {} overlap", pair[0].name, pair[1].name)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Builder, opened};

    fn good() -> Builder {
        Builder::default()
            .text("general.architecture", "llama")
            .u32("llama.block_count", 2)
            .texts("tokenizer.ggml.tokens", &["a", "", "ä"])
            .tensor("a.weight", &[32, 3], 2, 0)
            .tensor("b.bias", &[4], 0, 64)
            .data(64 + 16)
    }

    fn reason(builder: Builder) -> String {
        opened(&builder.bytes()).unwrap_err().to_string()
    }

    #[test]
    fn a_file_is_read() {
        let file = opened(&good().bytes()).unwrap();
        assert_eq!(file.architecture().unwrap(), "llama");
        assert_eq!(file.size("llama.block_count").unwrap(), Some(2));
        assert_eq!(file.size("llama.none").unwrap(), None);
        let tokens: Vec<_> = file.texts("tokenizer.ggml.tokens").unwrap().unwrap().iter().collect();
        assert_eq!(tokens, ["a", "", "ä"]);
        let [a, b] = file.tensors() else { panic!("two tensors") };
        assert_eq!((a.shape.as_slice(), a.kind.name, a.bytes.len()), (&[3, 32][..], "Q4_0", 54));
        assert_eq!((b.shape.as_slice(), b.bytes.start - a.bytes.start), (&[4][..], 64));
    }

    #[test]
    fn a_file_cut_short_is_refused_wherever_it_ends() {
        let bytes = good().bytes();
        for end in 0..bytes.len() {
            let error = opened(&bytes[..end]).unwrap_err().to_string();
            assert!(error.contains("GGUF file"), "{end}: {error}");
        }
    }

    #[test]
    fn lies_are_named() {
        for (builder, word) in [
            (good().text("general.architecture", "x"), "`general.architecture` comes twice"),
            (good().u32("general.alignment", 24), "power of two"),
            (good().tensor("a.weight", &[1], 0, 96).data(32), "a.weight comes twice"),
            (good().tensor("c", &[1], 0, 16 * 64), "c, F32 [1]"),
            (good().tensor("c", &[4], 0, 32), "a.weight and c overlap"),
            (good().tensor("c", &[33], 2, 96).data(64), "whole blocks of Q4_0"),
            (good().tensor("c", &[4], 0, 72).data(64), "no multiple of 32"),
            (good().tensor("c", &[1, 1, 1, 1, 1], 0, 96), "5 dimensions"),
            (good().tensor("c", &[0], 0, 96), "dimension of 0"),
            (good().tensor("c", &[1 << 40, 1 << 40], 0, 96), "lies outside"),
            (good().tensor("c", &[32], 4, 96), "ggml's type 4"),
            (good().raw("k", 13, &[0]), "`k` is of type 13"),
            (good().raw("k", 8, &u64::MAX.to_le_bytes()), "`k` reaches beyond"),
            (good().raw("k", 8, &1000u64.to_le_bytes()), "in the middle of `k`"),
            (good().raw("k", 8, b"\x01\0\0\0\0\0\0\0\xff"), "`k` is not UTF-8"),
            (good().raw("k", 9, b"\x08\0\0\0\xff\xff\xff\xff\0\0\0\0"), "the length of `k`"),
            (good().raw("k", 9, b"\x09\0\0\0\xff\xff\0\0\0\0\0\0"), "the length of `k`"),
            (good().version(1), "version 1"),
            (good().version(3 << 24), "big-endian"),
            (good().counts(u64::MAX, 3), "the number of tensors"),
            (good().counts(2, 1 << 30), "the number of metadata values"),
        ] {
            let reason = reason(builder);
            assert!(reason.contains(word), "{word} is not in {reason}");
        }
        assert!(opened(b"GGML1234").unwrap_err().to_string().contains("GGML"));
        assert!(
            opened(b"version https://git-lfs.github.com/spec/v1")
                .unwrap_err()
                .to_string()
                .contains("lfs pull")
        );
    }

    #[test]
    fn every_type_of_value_is_read() {
        let builder = good()
            .raw("i8", 1, &[0xff])
            .raw("u16", 2, &[1, 1])
            .raw("f32", 6, &1.5f32.to_le_bytes())
            .raw("flag", 7, &[1])
            .raw("i64", 11, &(-5i64).to_le_bytes())
            .raw("f64", 12, &2.5f64.to_le_bytes())
            .raw("nested", 9, b"\x09\0\0\0\x01\0\0\0\0\0\0\0\x05\0\0\0\x01\0\0\0\0\0\0\0\x07\0\0\0");
        let file = opened(&builder.bytes()).unwrap();
        assert_eq!(file.get("i8"), Some(&Value::Int(-1)));
        assert_eq!(file.get("u16"), Some(&Value::Int(257)));
        assert_eq!(file.get("f32"), Some(&Value::Float(1.5)));
        assert_eq!(file.flag("flag").unwrap(), Some(true));
        assert_eq!(file.get("i64"), Some(&Value::Int(-5)));
        assert_eq!(file.get("f64"), Some(&Value::Float(2.5)));
        let Some(Value::Lists(lists)) = file.get("nested") else { panic!("arrays in an array") };
        let Value::Numbers(numbers) = &lists[0] else { panic!("numbers") };
        assert_eq!(numbers.iter().collect::<Vec<_>>(), [Value::Int(7)]);
        let error = file.text("flag").unwrap_err().to_string();
        assert!(error.contains("`flag` must be a text, and it is true or false"), "{error}");
    }
}
