//! One request with its redirects, as the thread that sends it sees it.

use std::io::Read;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_encode};
use ureq::http::response::Parts;
use ureq::http::{HeaderMap, Method, Response, header};
use ureq::{Agent, Body};

use crate::url::{Origin, join};

const MAX_REDIRECTS: usize = 20;
const CHUNK: usize = 64 << 10;

/// What cannot stand in a request as it is.
const UNSENDABLE: &AsciiSet = &CONTROLS.add(b' ');

/// What a download sends: first the headers, then the body as it comes.
pub(crate) enum Piece {
    Head(Box<Parts>),
    Body(Vec<u8>),
    Broken(ureq::Error),
}

/// A request as the thread that sends it needs it.
pub(crate) struct Request {
    pub agent: Agent,
    pub url: String,
    /// Those who may see the token.
    pub hubs: Vec<Origin>,
    pub token: Option<String>,
    /// The first byte that is wanted.
    pub offset: u64,
    /// For each step: the name, the connection, each wait for the server.
    pub timeout: Duration,
}

impl Request {
    /// Asks for the headers, following redirects within the hub. One that leads elsewhere is the answer: it carries the
    /// file's metadata.
    pub fn head(mut self) -> Result<Parts, ureq::Error> {
        for _ in 0..=MAX_REDIRECTS {
            let (parts, _) = self.send(Method::HEAD)?.into_parts();
            match redirect(&self.url, &parts) {
                Some(next) if self.is_hub(&next) => self.url = next,
                _ => return Ok(parts),
            }
        }
        Err(ureq::Error::TooManyRedirects)
    }

    /// Asks for the body, wherever it is, and sends it on as it comes.
    pub fn get(self, out: &SyncSender<Piece>) {
        if let Err(e) = self.forward(out) {
            // An error here means that nobody listens, so nobody needs to know.
            let _ = out.send(Piece::Broken(e));
        }
    }

    fn forward(mut self, out: &SyncSender<Piece>) -> Result<(), ureq::Error> {
        for _ in 0..=MAX_REDIRECTS {
            let (parts, body) = self.send(Method::GET)?.into_parts();
            if let Some(next) = redirect(&self.url, &parts) {
                self.url = next;
                continue;
            }
            let wanted = parts.status.is_success();
            let mut listened = out.send(Piece::Head(Box::new(parts))).is_ok();
            let mut body = body.into_reader();
            while wanted && listened {
                let mut bytes = vec![0; CHUNK];
                match body.read(&mut bytes)? {
                    0 => break,
                    count => bytes.truncate(count),
                }
                listened = out.send(Piece::Body(bytes)).is_ok();
            }
            return Ok(());
        }
        Err(ureq::Error::TooManyRedirects)
    }

    fn send(&self, method: Method) -> Result<Response<Body>, ureq::Error> {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(&self.url)
            // The size of the file, not of some packed form of it, is what will be compared.
            .header(header::ACCEPT_ENCODING, "identity");
        if let Some(token) = self.token.as_ref().filter(|_| self.is_hub(&self.url)) {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if self.offset > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.offset));
        }
        let request = self
            .agent
            .configure_request(request.body(())?)
            .timeout_resolve(Some(self.timeout))
            .timeout_connect(Some(self.timeout))
            .timeout_recv_response(Some(self.timeout))
            .timeout_per_read(Some(self.timeout))
            .timeout_per_write(Some(self.timeout))
            .build();
        self.agent.run(request)
    }

    /// Whether the token may go there.
    fn is_hub(&self, url: &str) -> bool {
        Origin::of(url).is_some_and(|origin| self.hubs.contains(&origin))
    }
}

/// Where an answer sends us, if it does.
fn redirect(url: &str, parts: &Parts) -> Option<String> {
    if !matches!(parts.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    // Some servers send the address as it is rather than as the standard wants it.
    let location = percent_encode(parts.headers.get(header::LOCATION)?.as_bytes(), UNSENDABLE);
    join(url, &location.to_string())
}

/// A header that is there and is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_may_send_us_elsewhere() {
        let redirected = |status: u16, location: &[u8]| {
            let answer = Response::builder().status(status).header("location", location).body(()).unwrap();
            redirect("http://hub/a/b", &answer.into_parts().0)
        };
        assert_eq!(redirected(302, b"https://cdn/x?y=%20").as_deref(), Some("https://cdn/x?y=%20"));
        assert_eq!(redirected(307, b"/c d/\xc3\xa4").as_deref(), Some("http://hub/c%20d/%C3%A4"));
        assert_eq!(redirected(302, b"mailto://nobody"), None);
        assert_eq!(redirected(304, b"https://cdn/x"), None);
        assert_eq!(redirected(200, b"https://cdn/x"), None);
    }
}
