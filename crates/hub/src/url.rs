//! The little that redirects need to know about URLs.

use ureq::http::Uri;

/// Scheme, host and port: what decides whether two addresses are the same server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Origin(String, String, u16);

impl Origin {
    /// Reads it from a URL.
    pub fn of(url: &str) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let (scheme, host) = (uri.scheme_str()?.to_ascii_lowercase(), uri.host()?.to_ascii_lowercase());
        let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        Some(Self(scheme, host, port))
    }
}

/// Resolves a reference against the address that it came from.
pub(crate) fn join(base: &str, reference: &str) -> Option<String> {
    let uri: Uri = base.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    if let Some((scheme, _)) = reference.split_once("://").filter(|(scheme, _)| !scheme.contains(['/', '?']))
    {
        let known = scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
        return known.then(|| reference.to_owned());
    }
    if reference.starts_with("//") {
        return Some(format!("{scheme}:{reference}"));
    }
    if reference.starts_with('/') {
        return Some(format!("{scheme}://{authority}{reference}"));
    }
    let folder = uri.path().rsplit_once('/').map_or("", |(folder, _)| folder);
    Some(format!("{scheme}://{authority}{folder}/{reference}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved() {
        let base = "https://hub.co:8080/a/b/resolve/main/c.json?x=1";
        let cases = [
            ("https://cdn.co/f?sig=%2F", Some("https://cdn.co/f?sig=%2F")),
            ("/d/resolve/main/c.json", Some("https://hub.co:8080/d/resolve/main/c.json")),
            ("//cdn.co/f", Some("https://cdn.co/f")),
            ("d.json", Some("https://hub.co:8080/a/b/resolve/main/d.json")),
            ("/f?next=http://x", Some("https://hub.co:8080/f?next=http://x")),
            ("file:///etc/passwd", None),
            ("gopher://x", None),
        ];
        for (reference, expected) in cases {
            assert_eq!(join(base, reference).as_deref(), expected, "{reference}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| Origin::of(a).unwrap() == Origin::of(b).unwrap();
        assert!(same("https://HF.co/x", "https://hf.co:443/y"));
        assert!(!same("https://hf.co", "http://hf.co"));
        assert!(!same("http://127.0.0.1:1", "http://127.0.0.1:2"));
        assert!(!same("https://hf.co", "https://hf.co.evil.com"));
        assert!(!same("https://hf.co", "https://hf.co@evil.com"));
        assert_eq!(Origin::of("not a url"), None);
    }
}
