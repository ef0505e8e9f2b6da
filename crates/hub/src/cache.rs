//! The folder that a repository has in the cache, laid out as `huggingface_hub` lays it out:
//!
//! ```text
//! hub/
//! ├── CACHEDIR.TAG
//! ├── .locks/models--org--name/<etag>.lock       one download at a time
//! └── models--org--name/
//!     ├── blobs/<etag>                           the files, each once
//!     ├── blobs/<etag>.incomplete                on their way
//!     ├── refs/main                              the commit that a branch or tag was last seen at
//!     ├── snapshots/<commit>/config.json         -> ../../blobs/<etag>
//!     └── .no_exist/<commit>/config.json         known to be missing from this commit
//! ```

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::names;

const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # This file is a cache directory tag created by huggingface_hub.\n\
    # For information about cache directory tags, see:\n\
    #\thttps://bford.info/cachedir/\n";

/// What the cache knows of a file at a commit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Present(PathBuf),
    Absent,
    Unknown,
}

/// One repository's part of the cache.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
    folder: PathBuf,
    locks: PathBuf,
    symlinks: bool,
}

impl Cache {
    /// The part of the cache in `root` that belongs to the repository `id`.
    pub fn new(root: PathBuf, id: &str, symlinks: bool) -> Self {
        let name = format!("models--{}", id.replace('/', "--"));
        Self { folder: root.join(&name), locks: root.join(".locks").join(name), root, symlinks }
    }

    /// The folder that holds all repositories.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The commit that a revision was last seen at.
    pub fn commit_of(&self, revision: &str) -> Option<String> {
        if names::is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        let commit = commit.trim();
        names::is_file_name(commit).then(|| commit.to_owned())
    }

    /// Whether anything of a commit is here.
    pub fn has_snapshot(&self, commit: &str) -> bool {
        self.snapshot(commit).is_dir()
    }

    /// Looks a file up. A link whose blob is gone counts as unknown.
    pub fn find(&self, commit: &str, file: &str) -> Known {
        let pointer = self.snapshot(commit).join(file);
        if pointer.is_file() {
            Known::Present(pointer)
        } else if self.no_exist(commit, file).is_file() {
            Known::Absent
        } else {
            Known::Unknown
        }
    }

    /// Notes which commit a revision stands at.
    pub fn remember_commit(&self, revision: &str, commit: &str) -> Result<()> {
        // Nothing is written where nothing changed: the cache may be mounted read-only.
        if revision == commit || self.commit_of(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        create_parent(&path)?;
        replace(&path, |temporary| fs::write(temporary, commit)).map_err(Error::io("write", &path))
    }

    /// Notes that a commit has no such file.
    pub fn remember_absent(&self, commit: &str, file: &str) -> Result<()> {
        let path = self.no_exist(commit, file);
        create_parent(&path)?;
        File::create(&path).map(drop).map_err(Error::io("write", &path))
    }

    /// Where the content with this etag is, or will be.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// Makes the folders that a download writes into, and marks the cache as one for backup programs.
    pub fn prepare(&self) -> Result<()> {
        let blobs = self.folder.join("blobs");
        fs::create_dir_all(&blobs).map_err(Error::io("create", &blobs))?;
        let tag = self.root.join("CACHEDIR.TAG");
        if !tag.exists() {
            // Only a courtesy to backup programs: no reason to fail.
            let _ = fs::write(tag, CACHEDIR_TAG);
        }
        Ok(())
    }

    /// Makes the snapshot's entry for a blob, over whatever is there. `fresh` says that the blob has just been downloaded.
    pub fn link(&self, etag: &str, commit: &str, file: &str, fresh: bool) -> Result<PathBuf> {
        let blob = self.blob(etag);
        let pointer = self.snapshot(commit).join(file);
        create_parent(&pointer)?;
        if self.symlinks {
            let up = "../".repeat(2 + file.matches('/').count());
            let target = PathBuf::from(format!("{up}blobs/{etag}"));
            if replace(&pointer, |temporary| symlink(&target, temporary)).is_ok() {
                return Ok(pointer);
            }
        }
        // No links here. A new blob belongs to nothing else yet, so it can move; an older one may be another's.
        let placed = if fresh {
            fs::rename(&blob, &pointer)
        } else {
            replace(&pointer, |temporary| fs::copy(&blob, temporary).map(drop))
        };
        placed.map_err(Error::io("write", &pointer))?;
        Ok(pointer)
    }

    /// Waits until no other process downloads the content with this etag; `waiting` is called once if there is one.
    ///
    /// Where the file system has no locks the download goes on without: see [`Partial`](crate::partial::Partial).
    pub fn lock(&self, etag: &str, interrupt: &Interrupt, waiting: impl FnOnce()) -> Result<Lock> {
        let path = self.locks.join(format!("{etag}.lock"));
        create_parent(&path)?;
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o664);
        let file = options.open(&path).map_err(Error::io("open the lock", &path))?;
        let mut waiting = Some(waiting);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::WouldBlock) => {
                    if let Some(waiting) = waiting.take() {
                        waiting();
                    }
                    interrupt.sleep(Duration::from_millis(100))?;
                }
                Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(TryLockError::Error(_)) => return Ok(Lock(file)),
            }
        }
    }

    fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    fn no_exist(&self, commit: &str, file: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(file)
    }
}

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "closing the file is what gives the lock back")] File);

fn create_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(Error::io("create", parent))
}

/// Makes `path` anew beside itself and moves it into place, so that no reader ever sees half of it.
fn replace(path: &Path, make: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let unique = format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(unique);
    let temporary = PathBuf::from(temporary);
    let made = make(&temporary).and_then(|()| fs::rename(&temporary, path));
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn cache(symlinks: bool) -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::new(dir.path().to_owned(), "org/name", symlinks);
        (dir, cache)
    }

    /// Every file below, relative, with where links lead.
    fn tree(root: &Path) -> Vec<String> {
        fn walk(at: &Path, root: &Path, out: &mut Vec<String>) {
            for entry in fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                match fs::read_link(&path) {
                    Ok(target) => out.push(format!("{name} -> {}", target.display())),
                    Err(_) if path.is_dir() => walk(&path, root, out),
                    Err(_) => out.push(name),
                }
            }
        }
        let mut out = Vec::new();
        walk(root, root, &mut out);
        out.sort();
        out
    }

    #[test]
    fn the_layout_is_that_of_huggingface_hub() {
        let (dir, cache) = cache(true);
        cache.prepare().unwrap();
        cache.remember_commit("main", COMMIT).unwrap();
        cache.remember_commit("refs/pr/1", COMMIT).unwrap();
        cache.remember_commit(COMMIT, COMMIT).unwrap();
        cache.remember_absent(COMMIT, "onnx/model.onnx").unwrap();
        fs::write(cache.blob("abc"), "{}").unwrap();
        drop(cache.lock("abc", &Interrupt::default(), || panic!("nobody holds it")).unwrap());
        cache.link("abc", COMMIT, "config.json", true).unwrap();
        cache.link("abc", COMMIT, "1_Pooling/config.json", false).unwrap();
        let expected = [
            ".locks/models--org--name/abc.lock",
            "CACHEDIR.TAG",
            &format!("models--org--name/.no_exist/{COMMIT}/onnx/model.onnx"),
            "models--org--name/blobs/abc",
            "models--org--name/refs/main",
            "models--org--name/refs/refs/pr/1",
            &format!("models--org--name/snapshots/{COMMIT}/1_Pooling/config.json -> ../../../blobs/abc"),
            &format!("models--org--name/snapshots/{COMMIT}/config.json -> ../../blobs/abc"),
        ];
        assert_eq!(tree(dir.path()), expected);
        assert_eq!(fs::read_to_string(dir.path().join("models--org--name/refs/main")).unwrap(), COMMIT);
    }

    #[test]
    fn a_file_is_present_absent_or_unknown() {
        let (_dir, cache) = cache(true);
        assert_eq!(cache.find(COMMIT, "a"), Known::Unknown);
        assert!(!cache.has_snapshot(COMMIT));
        cache.remember_absent(COMMIT, "a").unwrap();
        assert_eq!(cache.find(COMMIT, "a"), Known::Absent);

        cache.prepare().unwrap();
        fs::write(cache.blob("b"), "").unwrap();
        let path = cache.link("b", COMMIT, "a", true).unwrap();
        assert_eq!(cache.find(COMMIT, "a"), Known::Present(path));
        assert!(cache.has_snapshot(COMMIT));

        fs::remove_file(cache.blob("b")).unwrap();
        assert_eq!(cache.find(COMMIT, "a"), Known::Absent, "a link to nothing is no file");
    }

    #[test]
    fn revisions_resolve_through_refs() {
        let (dir, cache) = cache(true);
        assert_eq!(cache.commit_of("main"), None);
        assert_eq!(cache.commit_of(COMMIT).as_deref(), Some(COMMIT));
        cache.remember_commit("main", COMMIT).unwrap();
        assert_eq!(cache.commit_of("main").as_deref(), Some(COMMIT));
        cache.remember_commit("main", "fedcba").unwrap();
        assert_eq!(cache.commit_of("main").as_deref(), Some("fedcba"));

        let planted = dir.path().join("models--org--name/refs/evil");
        fs::write(planted, "../../../../etc").unwrap();
        assert_eq!(cache.commit_of("evil"), None);
    }

    #[test]
    fn without_links_a_new_blob_moves_and_an_old_one_is_copied() {
        let (_dir, cache) = cache(false);
        cache.prepare().unwrap();
        fs::write(cache.blob("b"), "content").unwrap();
        let copy = cache.link("b", COMMIT, "copy", false).unwrap();
        assert!(cache.blob("b").is_file());
        let moved = cache.link("b", COMMIT, "moved", true).unwrap();
        assert!(!cache.blob("b").exists());
        for path in [copy, moved] {
            assert_eq!(fs::read_to_string(&path).unwrap(), "content");
            assert!(!path.is_symlink());
        }
    }

    #[test]
    fn a_link_replaces_what_is_there() {
        let (_dir, cache) = cache(true);
        cache.prepare().unwrap();
        fs::write(cache.blob("new"), "new").unwrap();
        let stale = cache.link("old", COMMIT, "a", false).unwrap();
        assert!(!stale.exists());
        cache.link("new", COMMIT, "a", false).unwrap();
        assert_eq!(fs::read_to_string(stale).unwrap(), "new");
    }

    #[test]
    fn a_held_lock_is_waited_for_and_the_wait_can_be_interrupted() {
        let (_dir, cache) = cache(true);
        let never = Interrupt::default();
        let held = cache.lock("b", &never, || panic!("nobody holds it")).unwrap();
        let mut waited = false;
        let now = Interrupt::new(|| true);
        assert!(matches!(cache.lock("b", &now, || waited = true), Err(Error::Interrupted)));
        assert!(waited);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| cache.lock("b", &never, || {}));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiter.is_finished());
            drop(held);
            waiter.join().unwrap().unwrap();
        });
    }
}
