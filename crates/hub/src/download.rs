//! From the hub into the cache, once and whole.

use std::path::PathBuf;

use crate::cache::{Cache, Known};
use crate::client::{Client, Metadata, Place};
use crate::error::{Error, Result};
use crate::partial::Partial;
use crate::progress::Bar;
use crate::retry::{Backoff, Trouble};

/// One file that is to be had.
#[derive(Debug)]
pub(crate) struct Download<'a> {
    pub client: &'a Client,
    pub place: &'a Place<'a>,
    pub metadata: &'a Metadata,
    pub bar: Bar,
}

impl Download<'_> {
    /// Sees to it that the cache has the file at this commit, and says where. It is downloaded if it is not there, or if
    /// `anew` insists.
    ///
    /// Of several processes one downloads and the others wait for it. What an earlier download left is gone on with. Nothing
    /// gets its final name before its size, and for large files its SHA-256, is as the hub has said: hashing costs a fraction
    /// of what the network takes, and is what notices a resumed file that does not fit together.
    pub fn run(&self, cache: &Cache, commit: &str, anew: bool) -> Result<PathBuf> {
        let (file, etag) = (self.place.file, &self.metadata.etag);
        let present = || match cache.find(commit, file) {
            Known::Present(path) if !anew => Some(path),
            _ => None,
        };
        if let Some(path) = present() {
            return Ok(path);
        }
        cache.prepare()?;
        let _lock = cache.lock(etag, self.client.interrupt(), || self.bar.waiting(file))?;
        if let Some(path) = present() {
            return Ok(path);
        }
        let blob = cache.blob(etag);
        if !anew && blob.is_file() {
            return cache.link(etag, commit, file, false);
        }
        let path = cache.blob(&format!("{etag}.incomplete"));
        let resumed = !anew && path.is_file();
        let partial = match self.fetch(path.clone(), anew) {
            // What was there may have been the fault, and is gone now.
            Err(Error::WrongSize { .. } | Error::WrongHash { .. }) if resumed => self.fetch(path, false)?,
            fetched => fetched?,
        };
        partial.complete(&blob)?;
        self.bar.finish();
        cache.link(etag, commit, file, true)
    }

    /// Receives and checks the file; one that is wrong is removed.
    fn fetch(&self, path: PathBuf, anew: bool) -> Result<Partial> {
        let mut partial = Partial::open(path, self.metadata.hashed)?;
        if anew {
            partial.rewind()?;
        }
        match self.receive(&mut partial).and_then(|()| self.verify(&partial)) {
            Ok(()) => Ok(partial),
            Err(e @ (Error::WrongSize { .. } | Error::WrongHash { .. })) => {
                partial.discard()?;
                Err(e)
            }
            Err(e) => Err(e),
        }
    }

    /// Receives what is missing, in as many attempts as it takes while there is progress.
    fn receive(&self, partial: &mut Partial) -> Result<()> {
        let mut backoff = Backoff::default();
        loop {
            let before = partial.len();
            self.bar.start(self.place.file, before, self.metadata.size);
            match self.try_receive(partial) {
                Ok(()) => return Ok(()),
                Err(trouble) => {
                    if partial.len() > before {
                        backoff = Backoff::default();
                    }
                    backoff.wait(trouble, self.client.interrupt())?;
                }
            }
        }
    }

    fn try_receive(&self, partial: &mut Partial) -> Result<(), Trouble> {
        if let Some(size) = self.metadata.size
            && partial.len() >= size
        {
            return Ok(self.check_size(size, partial.len())?);
        }
        let mut body = self.client.get(self.place, partial.len())?;
        if body.start == 0 && partial.len() > 0 {
            partial.rewind()?;
        }
        let size = self.metadata.size.or(body.total);
        if let (Some(size), Some(total)) = (size, body.total) {
            self.check_size(size, total)?;
        }
        self.bar.start(self.place.file, partial.len(), size);
        while let Some(bytes) = body.next()? {
            partial.append(&bytes)?;
            self.bar.at(partial.len());
            if size.is_some_and(|size| partial.len() > size) {
                break;
            }
        }
        match size {
            Some(size) if partial.len() < size => Err(body.cut_short()),
            Some(size) => Ok(self.check_size(size, partial.len())?),
            None => Ok(()),
        }
    }

    fn check_size(&self, expected: u64, found: u64) -> Result<()> {
        if expected == found {
            return Ok(());
        }
        let (name, file) = (self.place.name.to_owned(), self.place.file.to_owned());
        Err(Error::WrongSize { name, file, expected, found })
    }

    fn verify(&self, partial: &Partial) -> Result<()> {
        match partial.sha256() {
            Some(found) if found != self.metadata.etag => Err(Error::WrongHash {
                name: self.place.name.to_owned(),
                file: self.place.file.to_owned(),
                expected: self.metadata.etag.clone(),
                found,
            }),
            _ => Ok(()),
        }
    }
}
