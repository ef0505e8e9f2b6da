//! The two requests that the hub is asked: what is this file, and give it to me.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::Agent;
use ureq::http::response::Parts;
use ureq::http::{HeaderMap, StatusCode, header};

use crate::agent::agent;
use crate::error::{Error, Result};
use crate::http::{Piece, Request, text};
use crate::interrupt::{Attended, Interrupt};
use crate::names;
use crate::retry::{Backoff, Trouble};
use crate::settings::Settings;
use crate::url::Origin;

/// What Python's `quote` leaves alone.
const QUOTED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'.').remove(b'-').remove(b'~');
const QUOTED_PATH: &AsciiSet = &QUOTED.remove(b'/');

/// A hub, with who we are to it.
pub(crate) struct Client {
    endpoint: String,
    token: Option<String>,
    interrupt: Interrupt,
    etag_timeout: Duration,
    download_timeout: Duration,
    /// Made with the first request, and anew in a forked child: connections must not be shared with the parent.
    agent: Mutex<Option<(u32, Agent)>>,
}

/// One file of one repository.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub name: &'a str,
    pub revision: &'a str,
    pub file: &'a str,
}

/// What the hub says of a file.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The commit that it speaks of. Only some mirrors do not say it, and only of a file that is not there.
    pub commit: Option<String>,
    /// The file, if this commit has it.
    pub file: Option<Metadata>,
}

/// What will have to come.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub etag: String,
    pub size: Option<u64>,
    /// Whether the etag is the SHA-256 of the content: the hub says so of large files only.
    pub hashed: bool,
}

impl Client {
    /// A client for the hub of these settings. Opens no connection.
    pub fn new(settings: &Settings, token: Option<String>, interrupt: Interrupt) -> Self {
        Self {
            endpoint: settings.endpoint.clone(),
            token,
            interrupt,
            etag_timeout: settings.etag_timeout,
            download_timeout: settings.download_timeout,
            agent: Mutex::default(),
        }
    }

    /// Asks for a file's metadata, at most `attempts` times.
    pub fn head(&self, place: &Place<'_>, attempts: u32) -> Result<Answer> {
        let mut backoff = Backoff::default();
        loop {
            match self.try_head(place) {
                Ok(answer) => return Ok(answer),
                Err(trouble) => backoff.wait(trouble.at_most(attempts), &self.interrupt)?,
            }
        }
    }

    fn try_head(&self, place: &Place<'_>) -> Result<Answer, Trouble> {
        let url = self.url(place);
        let request = self.request(&url, 0, self.etag_timeout);
        let mut answer = self.interrupt.attend(move |out| {
            let _ = out.send(request.head());
        })?;
        let parts = match answer.next()? {
            Some(Ok(parts)) => parts,
            Some(Err(e)) => return Err(self.transport_trouble(place, &e)),
            None => return Err(self.cut_short(place)),
        };
        let commit = match text(&parts.headers, "x-repo-commit") {
            Some(commit) if !names::is_file_name(commit) => {
                return Err(Error::NotAHub { url, header: "X-Repo-Commit" }.into());
            }
            commit => commit.map(str::to_owned),
        };
        if parts.status == StatusCode::NOT_FOUND
            && text(&parts.headers, "x-error-code") == Some("EntryNotFound")
        {
            return Ok(Answer { commit, file: None });
        }
        if parts.status.is_client_error() || parts.status.is_server_error() {
            return Err(self.refusal(place, &parts));
        }
        let linked = text(&parts.headers, "x-linked-etag");
        let etag = linked
            .or_else(|| text(&parts.headers, "etag"))
            .map(plain_etag)
            .filter(|etag| names::is_file_name(etag));
        let (Some(_), Some(etag)) = (&commit, etag) else {
            let header = if commit.is_none() { "X-Repo-Commit" } else { "ETag" };
            return Err(Error::NotAHub { url, header }.into());
        };
        let length =
            if parts.status.is_redirection() { None } else { number(&parts.headers, "content-length") };
        let file = Metadata {
            etag: etag.to_owned(),
            size: number(&parts.headers, "x-linked-size").or(length),
            hashed: linked.is_some() && names::is_sha256(etag),
        };
        Ok(Answer { commit, file: Some(file) })
    }

    /// Asks for a file's bytes from `offset` on. The file is resolved anew each time: the address of its storage expires.
    pub fn get<'a>(&'a self, place: &'a Place<'a>, offset: u64) -> Result<Bytes<'a>, Trouble> {
        let request = self.request(&self.url(place), offset, self.download_timeout);
        let mut pieces = self.interrupt.attend(move |out| request.get(&out))?;
        let parts = match pieces.next()? {
            Some(Piece::Head(parts)) => parts,
            Some(Piece::Broken(e)) => return Err(self.transport_trouble(place, &e)),
            Some(Piece::Body(_)) | None => return Err(self.cut_short(place)),
        };
        let (start, total) = match (parts.status, text(&parts.headers, "content-range").and_then(parse_range))
        {
            (StatusCode::OK, _) => (0, number(&parts.headers, "content-length")),
            (StatusCode::PARTIAL_CONTENT, Some((start, total))) if start == offset => (start, total),
            // What is here does not fit what is there.
            (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, _) if offset > 0 => {
                return self.get(place, 0);
            }
            _ => return Err(self.refusal(place, &parts)),
        };
        if parts.headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            return Err(Error::NotAHub { url: self.url(place), header: "Content-Encoding" }.into());
        }
        Ok(Bytes { client: self, place, start, total, pieces })
    }

    /// The hub's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What this client listens to while it waits.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    fn url(&self, place: &Place<'_>) -> String {
        let revision = utf8_percent_encode(place.revision, QUOTED);
        let file = utf8_percent_encode(place.file, QUOTED_PATH);
        format!("{}/{}/resolve/{revision}/{file}", self.endpoint, place.name)
    }

    fn request(&self, url: &str, offset: u64, timeout: Duration) -> Request {
        let hubs = [self.endpoint.as_str(), "https://huggingface.co", "https://hf.co"];
        Request {
            agent: self.agent(),
            url: url.to_owned(),
            hubs: hubs.into_iter().filter_map(Origin::of).collect(),
            token: self.token.clone(),
            offset,
            timeout,
        }
    }

    fn agent(&self) -> Agent {
        let mut slot = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        let process = std::process::id();
        match &*slot {
            Some((owner, agent)) if *owner == process => agent.clone(),
            _ => slot.insert((process, agent(&self.endpoint))).1.clone(),
        }
    }

    /// What an answer that is no success means.
    fn refusal(&self, place: &Place<'_>, parts: &Parts) -> Trouble {
        let (name, endpoint) = (place.name.to_owned(), self.endpoint.clone());
        let code = text(&parts.headers, "x-error-code").unwrap_or_default();
        let message = text(&parts.headers, "x-error-message").unwrap_or_default();
        let message: String = message.chars().filter(|c| !c.is_control()).take(300).collect();
        let spaced = if message.is_empty() { String::new() } else { format!(" {message}") };
        let status = parts.status.as_u16();
        match (status, code) {
            (_, "RevisionNotFound") => {
                Error::RevisionNotFound { name, revision: place.revision.to_owned(), endpoint }.into()
            }
            (_, "GatedRepo") => Error::Gated { name, endpoint, message: spaced }.into(),
            // The hub says "unauthorized" of every repository that it does not show, so that nobody learns which exist.
            (_, "RepoNotFound") => Error::RepositoryNotFound { name, endpoint }.into(),
            (401, _) if message != "Invalid credentials in Authorization header" => {
                Error::RepositoryNotFound { name, endpoint }.into()
            }
            _ => {
                let error = Error::Http { name, url: self.url(place), status, message: spaced };
                match status {
                    408 | 429 | 500 | 502 | 503 | 504 => Trouble::passing(error, asked_wait(&parts.headers)),
                    _ => error.into(),
                }
            }
        }
    }

    fn transport_trouble(&self, place: &Place<'_>, error: &ureq::Error) -> Trouble {
        let passes = match error {
            ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
            ureq::Error::Protocol(_) => true,
            // A certificate that is not trusted comes as invalid data.
            ureq::Error::Io(e) => e.kind() != std::io::ErrorKind::InvalidData,
            _ => false,
        };
        let error = self.unreachable(place, error.to_string());
        if passes { Trouble::unreached(error) } else { error.into() }
    }

    fn cut_short(&self, place: &Place<'_>) -> Trouble {
        Trouble::passing(self.unreachable(place, "the connection was closed too early".to_owned()), None)
    }

    fn unreachable(&self, place: &Place<'_>, cause: String) -> Error {
        Error::Unreachable {
            name: place.name.to_owned(),
            file: place.file.to_owned(),
            endpoint: self.endpoint.clone(),
            cause,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// A body on its way.
pub(crate) struct Bytes<'a> {
    client: &'a Client,
    place: &'a Place<'a>,
    /// Where in the file the bytes begin: 0 if the server does not know ranges.
    pub start: u64,
    /// The size of the whole file, if the server says it.
    pub total: Option<u64>,
    pieces: Attended<Piece>,
}

impl Bytes<'_> {
    /// The next bytes; `None` at the end, which may have come too early.
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        match self.pieces.next()? {
            Some(Piece::Body(bytes)) => Ok(Some(bytes)),
            Some(Piece::Broken(e)) => {
                Err(Trouble::passing(self.client.unreachable(self.place, e.to_string()), None))
            }
            Some(Piece::Head(_)) | None => Ok(None),
        }
    }

    /// What it means if that was too early.
    pub fn cut_short(&self) -> Trouble {
        self.client.cut_short(self.place)
    }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

fn plain_etag(etag: &str) -> &str {
    etag.trim_start_matches("W/").trim_matches('"')
}

/// Reads `bytes 5-9/10` as the first byte and the size of the whole.
fn parse_range(value: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = value.strip_prefix("bytes")?.trim().split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

/// How long the hub asks us to wait: `Retry-After: 5`, or `RateLimit: "api";r=0;t=55` when nothing remains.
fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let limit = || {
        let mut fields = text(headers, "ratelimit")?.split(';').map(str::trim);
        fields.any(|field| field == "r=0").then_some(())?;
        fields.find_map(|field| field.strip_prefix("t="))?.parse().ok()
    };
    // A second more, since the hub rounds.
    limit()
        .or_else(|| number(headers, "retry-after"))
        .map(|seconds| Duration::from_secs(seconds.saturating_add(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read() {
        assert_eq!(plain_etag("\"abc\""), "abc");
        assert_eq!(plain_etag("W/\"abc\""), "abc");
        assert_eq!(plain_etag("abc"), "abc");
        assert_eq!(parse_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(parse_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["", "bytes", "bytes */10", "bytes x-9/10", "lines 1-2/3"] {
            assert_eq!(parse_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_hub_may_ask_for_a_wait() {
        let wait = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, header::HeaderValue::from_static(value));
            asked_wait(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait("retry-after", "5"), Some(6));
        assert_eq!(wait("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(wait("ratelimit", "\"api\";r=0;t=55"), Some(56));
        assert_eq!(wait("ratelimit", "\"api\";r=9;t=55"), None);
        assert_eq!(wait("retry-after", "18446744073709551615"), Some(u64::MAX));
    }
}
