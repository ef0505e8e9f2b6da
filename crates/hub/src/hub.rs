//! A repository of the hub: what the cache knows of it, and when the hub itself has to be asked.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cache::{Cache, Known};
use crate::client::{Answer, Client, Place};
use crate::download::Download;
use crate::error::{Error, Result};
use crate::names;
use crate::progress::Bar;
use crate::repo::Options;
use crate::settings::{Settings, expand_home};

/// One repository, at one commit.
#[derive(Debug)]
pub(crate) struct Hub {
    id: String,
    revision: String,
    cache: Cache,
    client: Client,
    force: bool,
    progress: bool,
    state: Mutex<State>,
}

/// What is known so far. The commit is settled once, so that all files belong together.
#[derive(Debug, Clone)]
struct State {
    commit: Option<String>,
    contact: Contact,
}

#[derive(Debug, Clone)]
enum Contact {
    /// The hub has not been asked yet.
    Untried,
    /// It answered.
    Live,
    /// It did not, for this reason, but the cache did, and goes on alone.
    Lost(String),
    /// It must not be asked, because of this variable or argument.
    Forbidden(&'static str),
}

impl Hub {
    /// Opens the repository of this name; `path` is what the name would be as a path.
    pub fn open(name: &str, path: &Path, options: Options) -> Result<Self> {
        names::check_repo_id(name).map_err(|rule| Error::InvalidName {
            name: name.to_owned(),
            reason: if path.is_file() { "it is a file" } else { rule },
        })?;
        names::check_path("revision", &options.revision)?;
        let settings = Settings::from_env()?;
        let forbidden =
            if options.local_files_only { Some("local_files_only=True") } else { settings.offline_by };
        let token = match forbidden {
            Some(offline_by) if options.force_download => return Err(Error::ForcedOffline { offline_by }),
            Some(_) => None,
            None => settings.token(&options.token)?,
        };
        let root = options.cache_dir.as_deref().map_or_else(|| settings.cache_dir.clone(), expand_home);
        let root = std::path::absolute(&root).map_err(Error::io("find", &root))?;
        let cache = Cache::new(root, name, settings.symlinks);
        // What never moves, or cannot be asked after, is settled from the start.
        let settled = forbidden.is_some() || names::is_commit(&options.revision);
        let state = State {
            commit: settled.then(|| cache.commit_of(&options.revision)).flatten(),
            contact: forbidden.map_or(Contact::Untried, Contact::Forbidden),
        };
        Ok(Self {
            id: name.to_owned(),
            client: Client::new(&settings, token, options.interrupt),
            force: options.force_download,
            progress: options.progress && settings.progress,
            revision: options.revision,
            cache,
            state: Mutex::new(state),
        })
    }

    /// The commit, once it is settled.
    pub fn commit(&self) -> Option<String> {
        self.state().commit.clone()
    }

    /// Where a file is; `None` if there is none.
    pub fn file(&self, file: &str) -> Result<Option<PathBuf>> {
        let State { commit, contact } = self.state().clone();
        if !self.force
            && let Some(commit) = &commit
        {
            match self.cache.find(commit, file) {
                Known::Present(path) => return Ok(Some(path)),
                Known::Absent => return Ok(None),
                Known::Unknown => {}
            }
        }
        match contact {
            Contact::Untried => self.ask(file, commit, false),
            Contact::Live => self.ask(file, commit, true),
            Contact::Lost(_) | Contact::Forbidden(_) => match commit {
                Some(commit) if self.cache.has_snapshot(&commit) => Ok(None),
                _ => Err(self.missing(file)),
            },
        }
    }

    /// The error that says why a file is not there.
    pub fn missing(&self, file: &str) -> Error {
        let (name, file, endpoint) = (self.id.clone(), file.to_owned(), self.client.endpoint().to_owned());
        match self.state().contact.clone() {
            Contact::Forbidden(offline_by) => {
                Error::Offline { name, file, endpoint, offline_by, cache: self.cache.root().to_owned() }
            }
            Contact::Lost(cause) => Error::Unreachable { name, file, endpoint, cause },
            Contact::Untried | Contact::Live => {
                let place = format!("{endpoint}/{name}/tree/{}", self.revision);
                Error::FileNotFound { name, file, place }
            }
        }
    }

    /// Asks the hub. While it has not answered yet, what the cache has from the last time is a fair answer to its silence.
    fn ask(&self, file: &str, settled: Option<String>, live: bool) -> Result<Option<PathBuf>> {
        let last_seen =
            settled.clone().or_else(|| self.cache.commit_of(&self.revision)).filter(|_| !live && !self.force);
        let cached = match &last_seen {
            Some(commit) => self.cache.find(commit, file),
            None => Known::Unknown,
        };
        let attempts = if cached == Known::Unknown { u32::MAX } else { 1 };
        let place = Place { name: &self.id, revision: settled.as_deref().unwrap_or(&self.revision), file };
        match self.client.head(&place, attempts) {
            Ok(Answer { commit: answered, file: found }) => {
                let commit = answered.as_deref().map(|commit| self.settle(commit));
                if settled.is_none() && commit != answered {
                    // The revision moved, and another thread had settled on where it was before.
                    return self.ask(file, commit, true);
                }
                match (commit, found) {
                    (Some(commit), Some(metadata)) => {
                        // By its commit from here on: the revision may move before the file is here.
                        let place = Place { revision: &commit, ..place };
                        let bar = Bar::new(file, self.progress);
                        let download =
                            Download { client: &self.client, place: &place, metadata: &metadata, bar };
                        download.run(&self.cache, &commit, self.force).map(Some)
                    }
                    (Some(commit), None) => {
                        // Saves a question the next time, but the answer stands without.
                        let _ = self.cache.remember_absent(&commit, file);
                        Ok(None)
                    }
                    (None, _) => Ok(None),
                }
            }
            // A mirror that does not say what it is that it has not found has shown the repository already.
            Err(Error::Http { status: 404, .. }) if live => Ok(None),
            Err(e) if cached != Known::Unknown && e.leaves_the_cache() => {
                let cause = match e {
                    Error::Unreachable { cause, .. } => cause,
                    e => e.to_string(),
                };
                *self.state() = State { commit: last_seen, contact: Contact::Lost(cause) };
                Ok(if let Known::Present(path) = cached { Some(path) } else { None })
            }
            Err(e) => Err(e),
        }
    }

    /// Settles on the first commit that the hub names, and returns the one that is settled on.
    fn settle(&self, commit: &str) -> String {
        let commit = {
            let mut state = self.state();
            state.contact = Contact::Live;
            state.commit.get_or_insert_with(|| commit.to_owned()).clone()
        };
        // Only offline runs need it, and a read-only cache may well hold the file.
        let _ = self.cache.remember_commit(&self.revision, &commit);
        commit
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
