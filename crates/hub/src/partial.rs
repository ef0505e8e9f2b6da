//! A file on its way into the cache.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use crate::error::{Error, Result};

/// The bytes of `<etag>.incomplete`, with their hash where one will be compared.
///
/// Normally a lock keeps it to one process. Some network file systems grant such a lock to everybody, so nothing here depends
/// on it: the name stands for the content, whoever writes writes the same bytes at the same places, the file only grows, and
/// whoever is second to move it finds the blob already there.
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    len: u64,
    hash: Option<Context>,
}

impl Partial {
    /// Opens what an earlier download left at `path`, or begins.
    pub fn open(path: PathBuf, hashed: bool) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io("write", &path))?;
        let mut hash = hashed.then(|| Context::new(&SHA256));
        let len = match &mut hash {
            Some(hash) => read_into(&mut file, hash),
            None => file.seek(SeekFrom::End(0)),
        };
        let len = len.map_err(Error::io("read", &path))?;
        Ok(Self { path, file, len, hash })
    }

    /// How many bytes are here.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(Error::io("write", &self.path))?;
        self.len += bytes.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        Ok(())
    }

    /// Begins again; what was there is overwritten in place.
    pub fn rewind(&mut self) -> Result<()> {
        self.file.rewind().map_err(Error::io("write", &self.path))?;
        self.len = 0;
        self.hash = self.hash.as_ref().map(|_| Context::new(&SHA256));
        Ok(())
    }

    /// The SHA-256 of the bytes in hexadecimal, where it was asked for.
    pub fn sha256(&self) -> Option<String> {
        let digest = self.hash.clone()?.finish();
        Some(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Removes the file.
    pub fn discard(self) -> Result<()> {
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", &self.path)(e)),
            _ => Ok(()),
        }
    }

    /// Moves the whole file to `blob`, once its bytes are safe on the disk.
    pub fn complete(self, blob: &Path) -> Result<()> {
        let Self { path, file, len, .. } = self;
        file.set_len(len).and_then(|()| file.sync_data()).map_err(Error::io("write", &path))?;
        drop(file);
        match fs::rename(&path, blob) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && blob.is_file() => Ok(()),
            moved => moved.map_err(Error::io("write", blob)),
        }
    }
}

fn read_into(file: &mut File, hash: &mut Context) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                hash.update(&buffer[..count]);
                total += count as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    fn place() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (path, blob) = (dir.path().join("etag.incomplete"), dir.path().join("etag"));
        (dir, path, blob)
    }

    #[test]
    fn it_goes_on_where_it_stopped() {
        let (_dir, path, blob) = place();
        Partial::open(path.clone(), true).unwrap().append(b"he").unwrap();
        let mut partial = Partial::open(path.clone(), true).unwrap();
        assert_eq!(partial.len(), 2);
        partial.append(b"llo").unwrap();
        assert_eq!(partial.sha256().as_deref(), Some(HELLO));
        partial.complete(&blob).unwrap();
        assert_eq!(fs::read(blob).unwrap(), b"hello");
        assert!(!path.exists());
    }

    #[test]
    fn beginning_again_leaves_no_trace_of_what_was_there() {
        let (_dir, path, blob) = place();
        fs::write(&path, "something longer").unwrap();
        let mut partial = Partial::open(path, true).unwrap();
        partial.rewind().unwrap();
        assert_eq!(partial.len(), 0);
        partial.append(b"hello").unwrap();
        assert_eq!(partial.sha256().as_deref(), Some(HELLO));
        partial.complete(&blob).unwrap();
        assert_eq!(fs::read(blob).unwrap(), b"hello");
    }

    #[test]
    fn two_writers_without_a_lock_end_with_the_whole_file() {
        let (_dir, path, blob) = place();
        let mut one = Partial::open(path.clone(), false).unwrap();
        one.append(b"hel").unwrap();
        let mut two = Partial::open(path.clone(), false).unwrap();
        assert_eq!(two.len(), 3);
        two.rewind().unwrap();
        two.append(b"h").unwrap();
        one.append(b"lo").unwrap();
        one.complete(&blob).unwrap();
        two.append(b"ello").unwrap();
        two.complete(&blob).unwrap();
        assert_eq!(fs::read(blob).unwrap(), b"hello");
    }

    #[test]
    fn a_discarded_file_is_gone_and_may_be_gone_already() {
        let (_dir, path, _) = place();
        let (one, two) =
            (Partial::open(path.clone(), false).unwrap(), Partial::open(path.clone(), false).unwrap());
        one.discard().unwrap();
        assert!(!path.exists());
        two.discard().unwrap();
    }
}
