//! What the environment says: the variables of `huggingface_hub`, read anew for each repository.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};

const ENDPOINT: &str = "https://huggingface.co";
const TIMEOUT: Duration = Duration::from_secs(10);

/// Which access token goes with the requests to the hub.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Token {
    /// That of the environment or of `hf auth login`, if there is one.
    #[default]
    Implicit,
    /// The same, but it is an error if there is none.
    Required,
    /// This one.
    Given(String),
    /// None.
    Anonymous,
}

/// A token must not end in a log.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Implicit => "Implicit",
            Self::Required => "Required",
            Self::Given(_) => "Given(..)",
            Self::Anonymous => "Anonymous",
        })
    }
}

/// The settings of one repository.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The hub, without a slash at the end.
    pub endpoint: String,
    /// Where models are kept.
    pub cache_dir: PathBuf,
    /// The variable that forbids connections, if one does.
    pub offline_by: Option<&'static str>,
    /// How long the question for a file's metadata may wait for an answer.
    pub etag_timeout: Duration,
    /// How long a download may wait for the next byte.
    pub download_timeout: Duration,
    /// Whether snapshots may link to the blobs.
    pub symlinks: bool,
    /// Whether progress bars may be shown.
    pub progress: bool,
    env_token: Option<String>,
    token_path: PathBuf,
    implicit_token: bool,
}

impl Settings {
    /// Reads the process's environment.
    pub fn from_env() -> Result<Self> {
        Self::read(|name| std::env::var_os(name))
    }

    /// Reads an environment. A variable that is set to nothing counts as unset.
    fn read(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self> {
        let var = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let text = |name: &str| var(name).map(|value| value.to_string_lossy().into_owned());
        let flag = |name: &str| text(name).is_some_and(|value| is_true(&value));
        let path = |name: &str| var(name).map(|value| expand(Path::new(&value), &var));

        let hf_home = path("HF_HOME").unwrap_or_else(|| {
            let caches = path("XDG_CACHE_HOME").unwrap_or_else(|| expand(Path::new("~/.cache"), &var));
            caches.join("huggingface")
        });
        // HF_HUB_OFFLINE=0 overrules TRANSFORMERS_OFFLINE=1, as it does in Python.
        let offline_by =
            ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| var(name).is_some());

        Ok(Self {
            endpoint: endpoint(text("HF_ENDPOINT"))?,
            cache_dir: path("HF_HUB_CACHE")
                .or_else(|| path("HUGGINGFACE_HUB_CACHE"))
                .unwrap_or_else(|| hf_home.join("hub")),
            offline_by: offline_by.filter(|name| flag(name)),
            etag_timeout: timeout("HF_HUB_ETAG_TIMEOUT", text("HF_HUB_ETAG_TIMEOUT"))?,
            download_timeout: timeout("HF_HUB_DOWNLOAD_TIMEOUT", text("HF_HUB_DOWNLOAD_TIMEOUT"))?,
            symlinks: !flag("HF_HUB_DISABLE_SYMLINKS"),
            progress: !flag("HF_HUB_DISABLE_PROGRESS_BARS"),
            env_token: ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"].into_iter().find_map(text),
            token_path: path("HF_TOKEN_PATH").unwrap_or_else(|| hf_home.join("token")),
            implicit_token: !flag("HF_HUB_DISABLE_IMPLICIT_TOKEN"),
        })
    }

    /// The token to send, if any.
    pub fn token(&self, wish: &Token) -> Result<Option<String>> {
        let token = match wish {
            Token::Anonymous => None,
            Token::Given(token) => clean(token),
            Token::Implicit if !self.implicit_token => None,
            Token::Implicit => self.own_token()?,
            Token::Required => Some(self.own_token()?.ok_or(Error::NoToken)?),
        };
        match token {
            Some(token) if !token.chars().all(|c| c.is_ascii_graphic()) => Err(Error::InvalidToken),
            token => Ok(token),
        }
    }

    fn own_token(&self) -> Result<Option<String>> {
        if let Some(token) = self.env_token.as_deref().and_then(clean) {
            return Ok(Some(token));
        }
        match fs::read_to_string(&self.token_path) {
            Ok(text) => Ok(clean(&text)),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(Error::io("read the access token in", &self.token_path)(e)),
        }
    }
}

fn clean(token: &str) -> Option<String> {
    let token = token.trim();
    (!token.is_empty()).then(|| token.to_owned())
}

fn is_true(value: &str) -> bool {
    ["1", "on", "yes", "true"].iter().any(|word| value.eq_ignore_ascii_case(word))
}

fn endpoint(value: Option<String>) -> Result<String> {
    let value = value.unwrap_or_else(|| ENDPOINT.to_owned());
    let is_url = |uri: &ureq::http::Uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    };
    match value.parse() {
        Ok(uri) if is_url(&uri) && uri.query().is_none() => Ok(value.trim_end_matches('/').to_owned()),
        _ => Err(Error::InvalidVariable {
            variable: "HF_ENDPOINT",
            value,
            expected: "the URL of a hub, like https://huggingface.co",
        }),
    }
}

fn timeout(variable: &'static str, value: Option<String>) -> Result<Duration> {
    let Some(value) = value else { return Ok(TIMEOUT) };
    match value.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        Some(Duration::ZERO) => Ok(TIMEOUT),
        Some(duration) => Ok(duration),
        None => Err(Error::InvalidVariable { variable, value, expected: "a number of seconds" }),
    }
}

/// Replaces a leading `~` and each `$NAME` or `${NAME}` that is set, as Python's `expanduser` and `expandvars` do.
fn expand(path: &Path, var: &impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let Some(text) = path.to_str().filter(|text| text.contains('$')) else { return expand_home(path) };
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, tail) = rest.split_at(at);
        let tail = &tail[1..];
        let (name, after) = match tail.strip_prefix('{').and_then(|braced| braced.split_once('}')) {
            Some(parts) => parts,
            None => tail.split_at(
                tail.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(tail.len()),
            ),
        };
        out.push_str(before);
        match var(name) {
            Some(value) => out.push_str(&value.to_string_lossy()),
            None => out.push_str(&rest[at..rest.len() - after.len()]),
        }
        rest = after;
    }
    out.push_str(rest);
    expand_home(Path::new(&out))
}

/// Replaces a leading `~` by the home folder.
pub(crate) fn expand_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), std::env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Settings> {
        Settings::read(|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn defaults_are_those_of_huggingface_hub() {
        let settings = read(&[]).unwrap();
        let home = std::env::home_dir().unwrap();
        assert_eq!(settings.endpoint, "https://huggingface.co");
        assert_eq!(settings.cache_dir, home.join(".cache/huggingface/hub"));
        assert_eq!(settings.token_path, home.join(".cache/huggingface/token"));
        assert_eq!((settings.etag_timeout, settings.download_timeout), (TIMEOUT, TIMEOUT));
        assert_eq!(settings.offline_by, None);
        assert!(settings.symlinks && settings.progress && settings.implicit_token);
    }

    #[test]
    fn the_cache_follows_the_most_particular_variable() {
        let all = [
            ("XDG_CACHE_HOME", "/xdg"),
            ("HF_HOME", "/home"),
            ("HUGGINGFACE_HUB_CACHE", "/old"),
            ("HF_HUB_CACHE", "/new"),
        ];
        let expected = ["/xdg/huggingface/hub", "/home/hub", "/old", "/new"];
        for (count, expected) in expected.into_iter().enumerate() {
            assert_eq!(read(&all[..=count]).unwrap().cache_dir, Path::new(expected));
        }
        let unset = [("HF_HOME", "/home"), ("HF_HUB_CACHE", "")];
        assert_eq!(read(&unset).unwrap().cache_dir, Path::new("/home/hub"));
        assert_eq!(read(&[("HF_HOME", "/home")]).unwrap().token_path, Path::new("/home/token"));
    }

    #[test]
    fn paths_are_expanded() {
        let home = std::env::home_dir().unwrap();
        let cases = [
            ("~/models", home.join("models")),
            ("$DISK/hub", PathBuf::from("/mnt/hub")),
            ("/a/${DISK}x/$DISK", PathBuf::from("/a//mntx//mnt")),
            ("$NOWHERE/${NOWHERE}/$", PathBuf::from("$NOWHERE/${NOWHERE}/$")),
            ("/a~b", PathBuf::from("/a~b")),
        ];
        for (given, expected) in cases {
            let settings = read(&[("HF_HUB_CACHE", given), ("DISK", "/mnt")]).unwrap();
            assert_eq!(settings.cache_dir, expected, "{given}");
        }
    }

    #[test]
    fn either_variable_means_offline_and_the_first_one_wins() {
        let hub = |value| ("HF_HUB_OFFLINE", value);
        let transformers = |value| ("TRANSFORMERS_OFFLINE", value);
        for value in ["1", "on", "YES", "True"] {
            assert_eq!(read(&[hub(value)]).unwrap().offline_by, Some("HF_HUB_OFFLINE"));
            assert_eq!(
                read(&[hub(""), transformers(value)]).unwrap().offline_by,
                Some("TRANSFORMERS_OFFLINE")
            );
        }
        assert_eq!(read(&[hub("0"), transformers("1")]).unwrap().offline_by, None);
        assert_eq!(read(&[hub("no")]).unwrap().offline_by, None);
    }

    #[test]
    fn endpoints_and_timeouts_are_checked() {
        assert_eq!(
            read(&[("HF_ENDPOINT", "http://mirror:8080/hf/")]).unwrap().endpoint,
            "http://mirror:8080/hf"
        );
        for bad in ["mirror", "ftp://mirror", "https://", "https:// x", "/", "https://a?b"] {
            let error = read(&[("HF_ENDPOINT", bad)]).unwrap_err();
            assert!(error.to_string().contains("HF_ENDPOINT"), "{bad}: {error}");
        }
        let half = read(&[("HF_HUB_DOWNLOAD_TIMEOUT", "0.5")]).unwrap();
        assert_eq!(half.download_timeout, Duration::from_millis(500));
        assert_eq!(read(&[("HF_HUB_ETAG_TIMEOUT", "0")]).unwrap().etag_timeout, TIMEOUT);
        for bad in ["x", "-1", "nan", "inf", "1e99"] {
            assert!(read(&[("HF_HUB_ETAG_TIMEOUT", bad)]).is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_come_from_the_argument_the_environment_or_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let at = ("HF_TOKEN_PATH", file.to_str().unwrap());

        let none = read(&[at]).unwrap();
        assert_eq!(none.token(&Token::Implicit).unwrap(), None);
        assert!(matches!(none.token(&Token::Required), Err(Error::NoToken)));

        fs::write(&file, "hf_file\n").unwrap();
        let token = |vars: &[(&str, &str)], wish| read(vars).unwrap().token(&wish).unwrap();
        assert_eq!(token(&[at], Token::Implicit).as_deref(), Some("hf_file"));
        assert_eq!(
            token(&[at, ("HUGGING_FACE_HUB_TOKEN", "hf_old")], Token::Implicit).as_deref(),
            Some("hf_old")
        );
        let both = [at, ("HUGGING_FACE_HUB_TOKEN", "hf_old"), ("HF_TOKEN", "hf_env")];
        assert_eq!(token(&both, Token::Implicit).as_deref(), Some("hf_env"));
        assert_eq!(token(&both, Token::Anonymous), None);
        assert_eq!(token(&both, Token::Given(" hf_own ".into())).as_deref(), Some("hf_own"));

        let explicit = [at, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")];
        assert_eq!(token(&explicit, Token::Implicit), None);
        assert_eq!(token(&explicit, Token::Required).as_deref(), Some("hf_file"));
        for bad in ["hf\r\nX-Evil: 1", "hf ä"] {
            assert!(matches!(none.token(&Token::Given(bad.into())), Err(Error::InvalidToken)));
        }
    }

    #[test]
    fn a_token_is_not_printed() {
        assert_eq!(format!("{:?}", Token::Given("hf_secret".into())), "Given(..)");
    }
}
