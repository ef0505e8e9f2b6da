//! A place that models come from, asked for files by name.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::hub::Hub;
use crate::interrupt::Interrupt;
use crate::names;
use crate::settings::Token;

/// How to look for files; the names are those of `from_pretrained`.
#[derive(Debug, Clone)]
pub struct Options {
    /// A branch, a tag or a commit.
    pub revision: String,
    /// The folder inside the repository that the files are in; empty for its root.
    pub subfolder: String,
    /// Where the cache is, instead of where the environment says.
    pub cache_dir: Option<PathBuf>,
    /// Open no connection: what is not in the cache is not there.
    pub local_files_only: bool,
    /// Download also what is in the cache already.
    pub force_download: bool,
    /// Who asks.
    pub token: Token,
    /// Show a progress bar, where standard error is a terminal and `HF_HUB_DISABLE_PROGRESS_BARS` does not forbid it.
    pub progress: bool,
    /// Asked again and again while a call blocks, whether to give up.
    pub interrupt: Interrupt,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            revision: "main".to_owned(),
            subfolder: String::new(),
            cache_dir: None,
            local_files_only: false,
            force_download: false,
            token: Token::default(),
            progress: true,
            interrupt: Interrupt::default(),
        }
    }
}

/// A local folder or a repository of the hub.
#[derive(Debug)]
pub struct Repo {
    name: String,
    subfolder: String,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Folder(PathBuf),
    Hub(Box<Hub>),
}

impl Repo {
    /// Opens the folder at `name_or_path` if there is one, and otherwise the repository of that name. Nothing is fetched yet.
    ///
    /// # Errors
    /// If it is neither a folder nor a repository's name, if the revision or the subfolder leads outside, if a variable of
    /// the environment is malformed, or if there is no token where one is required.
    pub fn open(name_or_path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = name_or_path.as_ref();
        let name = path.to_string_lossy().into_owned();
        let subfolder = options.subfolder.trim_end_matches('/').to_owned();
        let source = if path.is_dir() {
            Source::Folder(path.to_owned())
        } else {
            if !subfolder.is_empty() {
                names::check_path("subfolder", &subfolder)?;
            }
            Source::Hub(Box::new(Hub::open(&name, path, options)?))
        };
        Ok(Self { name, subfolder, source })
    }

    /// The name or path that it was opened with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The commit that the files are taken from, once the first file has settled it. A folder has none.
    pub fn commit(&self) -> Option<String> {
        match &self.source {
            Source::Folder(_) => None,
            Source::Hub(hub) => hub.commit(),
        }
    }

    /// Where a file is, downloaded first if need be; `None` if there is no such file.
    ///
    /// Where the hub cannot be asked, a file that is not in the cache counts as missing if other files of the same commit
    /// are there: so optional files may be.
    ///
    /// # Errors
    /// See [`Error`]: the repository or revision does not exist or is not shown to this token, the hub cannot be reached
    /// and nothing is cached, what came is not what was announced, the cache cannot be written, ...
    pub fn file(&self, name: &str) -> Result<Option<PathBuf>> {
        names::check_path("file name", name)?;
        match &self.source {
            Source::Folder(folder) => {
                let path = folder.join(&self.subfolder).join(name);
                Ok(path.is_file().then_some(path))
            }
            Source::Hub(hub) => hub.file(&self.full_name(name)),
        }
    }

    /// Where a file is that must be there.
    ///
    /// # Errors
    /// Those of [`file`](Self::file), and [`missing`](Self::missing) if there is no such file.
    pub fn require(&self, name: &str) -> Result<PathBuf> {
        self.file(name)?.ok_or_else(|| self.missing(name))
    }

    /// The error that says why a file is not there, for callers that try several names before they give up.
    pub fn missing(&self, name: &str) -> Error {
        let file = self.full_name(name);
        match &self.source {
            Source::Folder(folder) => {
                Error::FileNotFound { name: self.name.clone(), file, place: folder.display().to_string() }
            }
            Source::Hub(hub) => hub.missing(&file),
        }
    }

    fn full_name(&self, name: &str) -> String {
        if self.subfolder.is_empty() { name.to_owned() } else { format!("{}/{name}", self.subfolder) }
    }
}
