//! How connections are made: whom to trust, and through which proxy.

use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Proxy};

/// An agent that neither follows redirects by itself nor takes a status for an error. Opens no connection.
pub(crate) fn agent(endpoint: &str) -> Agent {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let roots = if certificates.is_empty() {
        RootCerts::WebPki
    } else {
        let certificates: Vec<_> =
            certificates.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
        RootCerts::new_with_certs(&certificates)
    };
    Agent::config_builder()
        .user_agent(concat!("trustformers/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .proxy(proxy(endpoint, |name| std::env::var(name).ok()))
        .build()
        .into()
}

/// The proxy that the environment names for this scheme. (Ureq's own reading takes the one for HTTPS for everything.)
fn proxy(endpoint: &str, var: impl Fn(&str) -> Option<String>) -> Option<Proxy> {
    let either = |name: &str| {
        [name.to_owned(), name.to_ascii_uppercase()]
            .iter()
            .find_map(|name| var(name).filter(|value| !value.is_empty()))
    };
    let scheme = endpoint.split(':').next()?;
    let proxy = Proxy::new(&either(&format!("{scheme}_proxy")).or_else(|| either("all_proxy"))?).ok()?;
    let mut builder = Proxy::builder(proxy.protocol()).host(proxy.host()).port(proxy.port());
    if let Some(username) = proxy.username() {
        builder = builder.username(username);
    }
    if let Some(password) = proxy.password() {
        builder = builder.password(password);
    }
    for host in either("no_proxy").unwrap_or_default().split(',').map(str::trim) {
        builder = builder.no_proxy(host);
    }
    builder.build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq::http::Uri;

    #[test]
    fn each_scheme_has_its_proxy() {
        let proxy = |endpoint: &str, vars: &[(&str, &str)]| {
            let lookup =
                |name: &str| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            proxy(endpoint, lookup).map(|proxy| format!("{}:{}", proxy.host(), proxy.port()))
        };
        let vars = [
            ("HTTPS_PROXY", "http://secure:1"),
            ("http_proxy", "http://plain:2"),
            ("ALL_PROXY", "socks5://all:3"),
        ];
        assert_eq!(proxy("https://hf.co", &vars).as_deref(), Some("secure:1"));
        assert_eq!(proxy("http://mirror", &vars).as_deref(), Some("plain:2"));
        assert_eq!(proxy("http://mirror", &vars[2..]).as_deref(), Some("all:3"));
        assert_eq!(proxy("http://mirror", &vars[..1]), None);
        assert_eq!(proxy("https://hf.co", &[("HTTPS_PROXY", "")]), None);
    }

    #[test]
    fn no_proxy_exempts_hosts_and_credentials_survive() {
        let lookup = |name: &str| match name {
            "https_proxy" => Some("http://user:p%40ss@proxy:8080".to_owned()),
            "NO_PROXY" => Some("localhost, .internal".to_owned()),
            _ => None,
        };
        let proxy = proxy("https://hf.co", lookup).unwrap();
        assert_eq!((proxy.username(), proxy.password()), (Some("user"), Some("p@ss")));
        assert!(proxy.is_no_proxy(&Uri::from_static("https://hub.internal")));
        assert!(!proxy.is_no_proxy(&Uri::from_static("https://hf.co")));
    }
}
