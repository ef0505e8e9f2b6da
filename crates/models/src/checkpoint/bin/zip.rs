//! Where the entries of a zip archive lie in the file. PyTorch stores them as they are, so they can be mapped.

use std::collections::BTreeMap;
use std::ops::Range;

/// The directory of an archive.
pub struct Archive<'a> {
    /// The folder that PyTorch puts all entries in, with its slash.
    pub folder: &'a str,
    entries: BTreeMap<&'a str, Range<usize>>,
}

/// Why it is refused, to follow the file's name.
type Result<T> = std::result::Result<T, String>;

/// A field of 32 (16) bits that says: see the one of 64 bits.
const WIDE: usize = 0xffff_ffff;
const WIDE_COUNT: usize = 0xffff;

impl<'a> Archive<'a> {
    /// Reads the directory at the end of the file and checks it: every entry lies where it says, in front of the directory, overlaps no
    /// other, and is neither compressed nor encrypted.
    pub fn open(file: &'a [u8]) -> Result<Archive<'a>> {
        let (count, directory) =
            directory(file).ok_or("its zip directory is missing: the file is cut short, fetch it again")?;
        let end_of_data = directory.start;
        let mut at = directory.start;
        let mut folder = "";
        let mut entries = BTreeMap::new();
        let mut taken = Vec::new();
        for _ in 0..count {
            let entry = Entry::read(&file[..directory.end], at).ok_or_else(damaged)?;
            let data = entry.data(&file[..end_of_data]).ok_or_else(damaged)?;
            at = entry.end;
            let Entry { name, .. } = entry;
            if entry.encrypted || entry.compressed {
                return Err(format!(
                    "its entry {name} is compressed or encrypted, which torch.save never does: unpack it and pack it again with `zip -0`"
                ));
            }
            if taken.is_empty() {
                folder =
                    name.split_inclusive('/').next().filter(|folder| folder.ends_with('/')).unwrap_or("");
            }
            taken.push((entry.header..data.end, name));
            if entries.insert(name, data).is_some() {
                return Err(format!("it has two entries named {name}"));
            }
        }
        if at != directory.end {
            return Err(damaged());
        }
        taken.sort_by_key(|(range, _)| range.start);
        for pair in taken.windows(2) {
            if pair[0].0.end > pair[1].0.start {
                return Err(format!("its entries {} and {} overlap", pair[0].1, pair[1].1));
            }
        }
        Ok(Archive { folder, entries })
    }

    /// Where the entry `name` of the folder lies, if there is one.
    pub fn entry(&self, name: &str) -> Option<Range<usize>> {
        self.entries.get(format!("{}{name}", self.folder).as_str()).cloned()
    }
}

fn damaged() -> String {
    "its zip directory is damaged: fetch it again".into()
}

/// How many entries there are, and the bytes that list them.
fn directory(file: &[u8]) -> Option<(usize, Range<usize>)> {
    const RECORD: usize = 22;
    // The end record is followed by a comment of its own length, which is nearly always empty.
    let last = file.len().checked_sub(RECORD)?;
    let end = (last.saturating_sub(0xffff)..=last).rev().find(|&at| {
        file[at..].starts_with(b"PK\x05\x06") && number(file, at + 20, 2) == Some(file.len() - at - RECORD)
    })?;
    let (mut count, mut size) = (number(file, end + 10, 2)?, number(file, end + 12, 4)?);
    let (mut start, mut limit) = (number(file, end + 16, 4)?, end);
    if count == WIDE_COUNT || size == WIDE || start == WIDE {
        let locator = end.checked_sub(20)?;
        let record = number(file, signed(file, locator, b"PK\x06\x07")? + 8, 8)?;
        signed(file, record, b"PK\x06\x06")?;
        count = number(file, record.checked_add(32)?, 8)?;
        size = number(file, record.checked_add(40)?, 8)?;
        start = number(file, record.checked_add(48)?, 8)?;
        limit = record;
    }
    let stop = start.checked_add(size).filter(|&stop| stop <= limit)?;
    Some((count, start..stop))
}

/// One row of the directory.
struct Entry<'a> {
    name: &'a str,
    encrypted: bool,
    compressed: bool,
    /// Where the entry begins: its own header, a name again, and then the data.
    header: usize,
    size: usize,
    /// Where the next row begins.
    end: usize,
}

impl<'a> Entry<'a> {
    fn read(file: &'a [u8], at: usize) -> Option<Entry<'a>> {
        const ROW: usize = 46;
        let at = signed(file, at, b"PK\x01\x02")?;
        let field = |offset, length| number(file, at + offset, length);
        let (packed, size, header) = (field(20, 4)?, field(24, 4)?, field(42, 4)?);
        let name_end = at + ROW + field(28, 2)?;
        let extra_end = name_end + field(30, 2)?;
        let mut wide = wide_fields(file.get(name_end..extra_end)?);
        let mut widen = |field| if field == WIDE { wide.next() } else { Some(field) };
        let (size, packed, header) = (widen(size)?, widen(packed)?, widen(header)?);
        Some(Entry {
            name: std::str::from_utf8(file.get(at + ROW..name_end)?).ok()?,
            encrypted: field(8, 2)? & 1 != 0,
            compressed: field(10, 2)? != 0 || packed != size,
            header,
            size,
            end: extra_end + field(32, 2)?,
        })
    }

    /// Where the data lie. The entry must say the same name as the directory.
    fn data(&self, file: &[u8]) -> Option<Range<usize>> {
        const HEADER: usize = 30;
        let header = signed(file, self.header, b"PK\x03\x04")?;
        let name_end = header + HEADER + number(file, header + 26, 2)?;
        let start = name_end + number(file, header + 28, 2)?;
        let named = file.get(header + HEADER..name_end)? == self.name.as_bytes();
        let data = start..start.checked_add(self.size)?;
        (named && data.end <= file.len()).then_some(data)
    }
}

/// The 64-bit numbers of a row's extra field, in the order of the fields that they stand for.
fn wide_fields(mut extra: &[u8]) -> impl Iterator<Item = usize> {
    let mut wide: &[u8] = &[];
    while let (Some(id), Some(length)) = (number(extra, 0, 2), number(extra, 2, 2)) {
        let Some((field, rest)) = extra[4..].split_at_checked(length) else { break };
        if id == 1 {
            wide = field;
        }
        extra = rest;
    }
    wide.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes) as usize)
}

/// `at`, if the signature stands there.
fn signed(file: &[u8], at: usize, signature: &[u8; 4]) -> Option<usize> {
    file.get(at..)?.starts_with(signature).then_some(at)
}

/// A little-endian number.
fn number(file: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = file.get(at..)?.get(..length)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
}
