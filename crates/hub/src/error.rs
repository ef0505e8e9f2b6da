//! What can go wrong, each with what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// The result of anything that looks for a file.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a repository could not be opened or a file not be had.
///
/// The wording follows `transformers` where it has an error of the same kind, since people search for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Neither a folder nor something that can be the name of a repository.
    #[error(
        "{name:?} is not a local folder and is not a valid model identifier: {reason}. \
         Pass the path of a folder that exists, or a repository as 'name' or 'namespace/name'"
    )]
    InvalidName {
        /// As it was given.
        name: String,
        /// Which rule it breaks.
        reason: &'static str,
    },

    /// A file name, revision, etag or commit that could lead outside of the folder it belongs in.
    #[error("refused the {kind} {value:?}: {reason}")]
    InvalidPath {
        /// What it was meant to be: "file name", "revision", ...
        kind: &'static str,
        /// As it was given.
        value: String,
        /// Which rule it breaks.
        reason: &'static str,
    },

    /// An environment variable that cannot be read as what it stands for.
    #[error("the environment variable {variable} is {value:?}, but must be {expected}. Correct or unset it")]
    InvalidVariable {
        /// Its name.
        variable: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },

    /// A token that cannot be sent in an HTTP header.
    #[error(
        "the access token contains characters that no token has. Check that it was copied whole and alone"
    )]
    InvalidToken,

    /// A token was asked for and there is none.
    #[error(
        "a token is required (token=True), but none was found. Log in with `hf auth login`, set HF_TOKEN, \
         or pass the token itself. See https://huggingface.co/settings/tokens"
    )]
    NoToken,

    /// A download was demanded and forbidden at once.
    #[error("cannot pass force_download=True while {offline_by} forbids downloads. Give up one of the two")]
    ForcedOffline {
        /// What forbids them.
        offline_by: &'static str,
    },

    /// The hub knows no such repository, or does not show it to this token.
    #[error(
        "{name} is not a local folder and is not a valid model identifier listed on '{endpoint}/models'\n\
         If this is a private repository, make sure to pass a token having permission to this repo either by logging \
         in with `hf auth login` or by passing `token=<your_token>`"
    )]
    RepositoryNotFound {
        /// The repository.
        name: String,
        /// The hub that was asked.
        endpoint: String,
    },

    /// The repository has no such branch, tag or commit.
    #[error(
        "{revision} is not a valid git identifier (branch name, tag name or commit id) that exists for this model name. \
         Check the model page at '{endpoint}/{name}' for available revisions"
    )]
    RevisionNotFound {
        /// The repository.
        name: String,
        /// The revision.
        revision: String,
        /// The hub that was asked.
        endpoint: String,
    },

    /// The repository or folder has no such file.
    #[error("{name} does not appear to have a file named {file}. Check out '{place}' for available files")]
    FileNotFound {
        /// The repository or folder.
        name: String,
        /// The file, with its subfolder.
        file: String,
        /// Where its files can be looked at.
        place: String,
    },

    /// The repository is gated and this token has not been let in.
    #[error(
        "You are trying to access a gated repo.\nMake sure to have access to it at {endpoint}/{name}, and pass a token of \
         the account that has it: log in with `hf auth login`, set HF_TOKEN, or pass `token=<your_token>`.{message}"
    )]
    Gated {
        /// The repository.
        name: String,
        /// The hub that was asked.
        endpoint: String,
        /// What the hub said, after a space; may be empty.
        message: String,
    },

    /// The file is not in the cache and the network must not be used.
    #[error(
        "We couldn't connect to '{endpoint}' to load {file} of {name}, because {offline_by} forbids it, and couldn't find \
         it in the cached files in {}. Allow the connection once to download it, or correct the cache folder \
         (HF_HOME, HF_HUB_CACHE, cache_dir)", cache.display()
    )]
    Offline {
        /// The repository.
        name: String,
        /// The file, with its subfolder.
        file: String,
        /// The hub that was not asked.
        endpoint: String,
        /// What forbids it: the name of a variable or argument.
        offline_by: &'static str,
        /// Where it was looked for.
        cache: PathBuf,
    },

    /// The hub did not answer, and what is wanted is not in the cache.
    #[error(
        "We couldn't connect to '{endpoint}' to load {file} of {name} ({cause}), and couldn't find it in the cached files.\n\
         Check your internet connection and the variables HF_ENDPOINT, HTTPS_PROXY and SSL_CERT_FILE, or download the files \
         elsewhere and pass the folder that holds them"
    )]
    Unreachable {
        /// The repository.
        name: String,
        /// The file, with its subfolder.
        file: String,
        /// The hub that was asked.
        endpoint: String,
        /// What happened.
        cause: String,
    },

    /// The hub answered with an error of another kind.
    #[error("There was a specific connection error when trying to load {name}: HTTP {status} for '{url}'.{message}{}", remedy_of_status(*status))]
    Http {
        /// The repository.
        name: String,
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
        /// What the hub said, after a space; may be empty.
        message: String,
    },

    /// What answered is not a hub.
    #[error(
        "the answer for '{url}' lacks a usable {header} header, so it does not seem to be served by a Hugging Face Hub. \
         If HF_ENDPOINT is set, check that it names one; otherwise check your firewall and proxy"
    )]
    NotAHub {
        /// What was asked for.
        url: String,
        /// The header that is missing or malformed.
        header: &'static str,
    },

    /// The file that came is not of the size that was announced. Nothing of it was kept.
    #[error(
        "{file} of {name} should be of {expected} bytes, but {found} came. Nothing was kept; \
         try again, and if it happens again the server or a proxy before it alters the file"
    )]
    WrongSize {
        /// The repository.
        name: String,
        /// The file, with its subfolder.
        file: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes that came, or were going to.
        found: u64,
    },

    /// The file that came is not the one that was announced. Nothing of it was kept.
    #[error(
        "{file} of {name} arrived altered: its SHA-256 is {found} instead of {expected}. Nothing was kept; \
         try again, and if it happens again do not trust the server or the proxy before it"
    )]
    WrongHash {
        /// The repository.
        name: String,
        /// The file, with its subfolder.
        file: String,
        /// SHA-256 announced, in hexadecimal.
        expected: String,
        /// SHA-256 of what came.
        found: String,
    },

    /// The file system refused something.
    #[error("cannot {action} {}: {source}{}", path.display(), remedy_of_kind(source.kind()))]
    Io {
        /// What was tried, as in "cannot `action` `path`".
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },

    /// The caller's [`Interrupt`](crate::Interrupt) asked to stop.
    #[error("interrupted; a download goes on from where it stopped when it is asked for again")]
    Interrupted,
}

impl Error {
    /// Turns an [`io::Error`] into one that says what was tried with which file: `.map_err(Error::io("write", path))`.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }

    /// Whether a copy in the cache is a fair answer to this failure: the hub is away or in trouble, or no longer shows the
    /// repository. Not where it says that the revision does not exist, or where the caller is at fault.
    pub(crate) fn leaves_the_cache(&self) -> bool {
        match self {
            Self::RepositoryNotFound { .. }
            | Self::Gated { .. }
            | Self::Unreachable { .. }
            | Self::Http { .. }
            | Self::NotAHub { .. } => true,
            Self::InvalidName { .. }
            | Self::InvalidPath { .. }
            | Self::InvalidVariable { .. }
            | Self::InvalidToken
            | Self::NoToken
            | Self::ForcedOffline { .. }
            | Self::RevisionNotFound { .. }
            | Self::FileNotFound { .. }
            | Self::Offline { .. }
            | Self::WrongSize { .. }
            | Self::WrongHash { .. }
            | Self::Io { .. }
            | Self::Interrupted => false,
        }
    }
}

fn remedy_of_status(status: u16) -> &'static str {
    match status {
        401 | 403 => " Make sure that your token is valid and has the permission for this repository",
        429 => " Too many requests: wait a while, or pass a token, which raises the limit",
        500..=599 => " The hub is in trouble: try again later",
        _ => "",
    }
}

fn remedy_of_kind(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ". Make room, or set HF_HOME or cache_dir to a larger disk; a download goes on from where it stopped"
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ". Make the folder writable, or set HF_HOME or cache_dir to one that is"
        }
        _ => "",
    }
}
