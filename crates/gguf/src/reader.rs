//! The bytes of a header one after another, none of which is believed: a length is held against what is left of the file, and
//! against what a header may take, before memory is asked for.

use std::io::{self, BufRead};

use crate::metadata::{Numbers, Scalar, Texts, Value};

/// What a header may take. The largest vocabularies, of a quarter of a million tokens, take a tenth of it.
pub(crate) const LARGEST: u64 = 128 << 20;
/// So deep may arrays lie in arrays.
const DEEPEST: usize = 4;

/// Why a header ends here.
pub(crate) enum Fault {
    Io(io::Error),
    /// What does not hold.
    Damaged(String),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

pub(crate) fn damaged<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Damaged(reason.into()))
}

/// A header that is being read.
pub(crate) struct Reader<R> {
    source: R,
    /// How far it has been read.
    pub position: u64,
    /// How long the file is.
    pub size: u64,
}

impl<R: BufRead> Reader<R> {
    pub fn new(source: R, size: u64) -> Reader<R> {
        Reader { source, position: 0, size }
    }

    /// Takes `count` bytes of what `what` calls.
    fn take(&mut self, count: u64, what: &str) -> Result<(), Fault> {
        match self.position.checked_add(count) {
            Some(end) if end > self.size => damaged(format!(
                "the file ends after {} bytes, in the middle of {what}, which says that it has {count}",
                self.size
            )),
            Some(end) if end <= LARGEST => {
                self.position = end;
                Ok(())
            }
            _ => damaged(format!("{what} reaches beyond the {} MiB that a header may take", LARGEST >> 20)),
        }
    }

    fn fixed<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Fault> {
        self.take(N as u64, what)?;
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub fn u32(&mut self, what: &str) -> Result<u32, Fault> {
        self.fixed(what).map(u32::from_le_bytes)
    }

    pub fn u64(&mut self, what: &str) -> Result<u64, Fault> {
        self.fixed(what).map(u64::from_le_bytes)
    }

    pub fn magic(&mut self) -> Result<[u8; 4], Fault> {
        self.fixed("the magic number")
    }

    /// A number of things that take at least `least` bytes each.
    pub fn count(&mut self, least: u64, what: &str) -> Result<usize, Fault> {
        let count = self.u64(what)?;
        let left = self.size.min(LARGEST) - self.position;
        match usize::try_from(count) {
            Ok(count) if count as u64 <= left / least => Ok(count),
            _ => damaged(format!(
                "{what} is {count}, for which the {left} bytes that are left of the header are too few"
            )),
        }
    }

    fn bytes(&mut self, length: u64, what: &str, into: &mut Vec<u8>) -> Result<(), Fault> {
        self.take(length, what)?;
        let start = into.len();
        // `take` has bounded the length.
        into.resize(start + length as usize, 0);
        Ok(self.source.read_exact(&mut into[start..])?)
    }

    /// UTF-8 behind its length.
    pub fn text(&mut self, what: &str) -> Result<String, Fault> {
        let length = self.u64(what)?;
        let mut bytes = Vec::new();
        self.bytes(length, what, &mut bytes)?;
        String::from_utf8(bytes).or_else(|_| damaged(format!("{what} is not UTF-8")))
    }

    /// A value behind its type.
    pub fn value(&mut self, what: &str) -> Result<Value, Fault> {
        let id = self.u32(what)?;
        self.value_of(id, what, 0)
    }

    fn value_of(&mut self, id: u32, what: &str, depth: usize) -> Result<Value, Fault> {
        match (id, Scalar::from_id(id)) {
            (_, Some(scalar)) => {
                let mut bytes = Vec::new();
                self.bytes(scalar.size() as u64, what, &mut bytes)?;
                Ok(scalar.value(&bytes))
            }
            (8, _) => self.text(what).map(Value::Text),
            (9, _) if depth == DEEPEST => damaged(format!("{what} holds arrays in arrays, {depth} deep")),
            (9, _) => {
                let id = self.u32(what)?;
                self.array(id, what, depth + 1)
            }
            _ => damaged(format!("{what} is of type {id}, which GGUF does not have")),
        }
    }

    fn array(&mut self, id: u32, what: &str, depth: usize) -> Result<Value, Fault> {
        let length = format!("the length of {what}");
        if let Some(scalar) = Scalar::from_id(id) {
            let count = self.count(scalar.size() as u64, &length)?;
            let mut bytes = Vec::new();
            self.bytes((count * scalar.size()) as u64, what, &mut bytes)?;
            return Ok(Value::Numbers(Numbers { scalar, bytes }));
        }
        if id != 8 {
            let count = self.count(12, &length)?;
            return (0..count)
                .map(|_| self.value_of(id, what, depth))
                .collect::<Result<_, _>>()
                .map(Value::Lists);
        }
        let count = self.count(8, &length)?;
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(count));
        for index in 0..count {
            let length = self.u64(what)?;
            self.bytes(length, what, &mut bytes)?;
            if str::from_utf8(&bytes[bytes.len() - length as usize..]).is_err() {
                return damaged(format!("{what}[{index}] is not UTF-8"));
            }
            ends.push(bytes.len());
        }
        // Each is UTF-8, and so is one behind the other.
        String::from_utf8(bytes)
            .map(|text| Value::Texts(Texts { text, ends }))
            .or_else(|_| damaged(format!("{what} is not UTF-8")))
    }
}
