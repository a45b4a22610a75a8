//! Requests to the hub: redirects followed by hand, so that the token goes to the endpoint's own host and nowhere else
//! and the headers on the way are seen; what may pass (a cut connection, a server that is busy) is tried again.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

use super::Error;
use super::settings::Settings;

/// Attempts in all, where nothing gets on.
pub(super) const ATTEMPTS: u32 = 5;
const REDIRECTS: usize = 8;
/// The list of files of the largest model is far shorter.
const MAX_LIST: u64 = 64 << 20;

/// What failed: for good, or perhaps not.
pub(super) struct Failure {
    error: Box<Error>,
    /// Whether it is worth another attempt.
    passing: bool,
    /// When, if the server says so.
    after: Option<Duration>,
}

impl Failure {
    /// Worth another attempt.
    pub(super) fn passing(error: Error) -> Self {
        Self { error: Box::new(error), passing: true, after: None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error: Box::new(error), passing: false, after: None }
    }
}

/// A client for one endpoint.
pub(super) struct Http {
    questions: Agent,
    downloads: Agent,
    origin: String,
    token: Option<String>,
    pause: Duration,
}

/// An answer, and the headers of the first answer on the way to it.
pub(super) struct Answer {
    pub(super) url: String,
    pub(super) first: HeaderMap,
    pub(super) response: Response<Body>,
}

impl Answer {
    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(self.response.headers(), name)
    }

    /// A failure for a status that the caller does not expect.
    pub(super) fn unexpected(&self) -> Failure {
        let status = self.status().as_u16();
        let error = Error::Status { url: self.url.clone(), status };
        if matches!(status, 408 | 429 | 500 | 502 | 503 | 504) {
            let after = self.header("retry-after").and_then(|seconds| seconds.parse().ok());
            let after = after.map(|seconds: u64| Duration::from_secs(seconds.min(60)));
            Failure { after, ..Failure::passing(error) }
        } else {
            error.into()
        }
    }

    /// The body, as a text that is not too long.
    pub(super) fn text(self) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        let url = self.url;
        let read = self.response.into_body().into_reader().take(MAX_LIST + 1).read_to_end(&mut bytes);
        read.map_err(|error| Failure::passing(Error::Network { url: url.clone(), problem: error.to_string() }))?;
        if bytes.len() as u64 > MAX_LIST {
            return Err(Error::BadAnswer { url, problem: format!("longer than {MAX_LIST} bytes") }.into());
        }
        String::from_utf8(bytes).map_err(|_| Error::BadAnswer { url, problem: "it is not UTF-8".into() }.into())
    }

    pub(super) fn reader(self) -> impl Read {
        self.response.into_body().into_reader()
    }
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

impl Http {
    pub(super) fn new(settings: &Settings) -> Result<Self, Error> {
        let roots = settings.certificates.as_deref().map(certificates).transpose()?;
        let agent = |whole: Option<Duration>| {
            let tls = TlsConfig::builder().root_certs(roots.clone().unwrap_or(RootCerts::WebPki)).build();
            let pause = settings.question_timeout.max(settings.download_timeout);
            Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .max_redirects_will_error(false)
                .user_agent(concat!("ptm/", env!("CARGO_PKG_VERSION"), "; rust"))
                // lengths must be those of the files
                .accept_encoding("identity")
                .tls_config(tls)
                .timeout_connect(Some(pause))
                .timeout_recv_response(Some(pause))
                .timeout_per_read(Some(settings.download_timeout))
                .timeout_per_call(whole)
                .build()
                .new_agent()
        };
        Ok(Self {
            questions: agent(Some(settings.question_timeout)),
            downloads: agent(None),
            origin: origin(&settings.endpoint).to_owned(),
            token: settings.checked_token()?.map(str::to_owned),
            pause: settings.retry_pause,
        })
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Does something again until it succeeds, fails for good or has failed too often. `progress` says how far it has
    /// come: an attempt that got further doesn't count.
    pub(super) fn persist<T>(
        &self,
        attempts: u32,
        mut progress: impl FnMut() -> u64,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Error> {
        let (mut failed, mut reached) = (0, progress());
        loop {
            let (error, after) = match attempt() {
                Ok(done) => return Ok(done),
                Err(failure) if !failure.passing => return Err(*failure.error),
                Err(failure) => (failure.error, failure.after),
            };
            let now = progress();
            failed = if now > reached { 1 } else { failed + 1 };
            reached = now;
            if failed >= attempts {
                return Err(*error);
            }
            let pause = after.unwrap_or(self.pause * 2_u32.pow(failed - 1));
            tracing::debug!(%error, ?pause, "trying again");
            sleep(pause);
        }
    }

    /// Asks about a file. Stops at the first answer of the endpoint itself, which may be a redirection to where the
    /// contents are.
    pub(super) fn head(&self, url: &str) -> Result<Answer, Failure> {
        self.request(&self.questions, url, true, None)
    }

    /// Reads a short text.
    pub(super) fn get(&self, url: &str) -> Result<Answer, Failure> {
        self.request(&self.questions, url, false, None)
    }

    /// Reads a file from `start` on.
    pub(super) fn download(&self, url: &str, start: u64) -> Result<Answer, Failure> {
        self.request(&self.downloads, url, false, (start > 0).then_some(start))
    }

    fn request(&self, agent: &Agent, url: &str, head: bool, start: Option<u64>) -> Result<Answer, Failure> {
        let mut url = url.to_owned();
        let mut first = None;
        for _ in 0..=REDIRECTS {
            let mut request = if head { agent.head(&url) } else { agent.get(&url) };
            if let Some(token) = self.token.as_ref().filter(|_| origin(&url) == self.origin) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if let Some(start) = start {
                request = request.header("range", format!("bytes={start}-"));
            }
            let response = request.call().map_err(|error| failure(&url, &error))?;
            let target = header(response.headers(), "location").filter(|_| response.status().is_redirection());
            let Some(target) = target.map(|target| join(&url, target)) else {
                let first = first.unwrap_or_else(|| response.headers().clone());
                return Ok(Answer { url, first, response });
            };
            let inside = origin(&target) == self.origin;
            if head && !inside {
                let first = response.headers().clone();
                return Ok(Answer { url, first, response });
            }
            if origin(&url).starts_with("https:") && !origin(&target).starts_with("https:") {
                let problem = "it redirects to an address without encryption".into();
                return Err(Error::BadAnswer { url, problem }.into());
            }
            // within the endpoint (a model that was renamed), only the last answer speaks of the file
            if !inside && first.is_none() {
                first = Some(response.headers().clone());
            }
            url = target;
        }
        Err(Error::BadAnswer { url, problem: "it redirects again and again".into() }.into())
    }
}

/// The certificates in a PEM file; whatever else is in it is not looked at.
fn certificates(path: &Path) -> Result<RootCerts, Error> {
    let bad = |problem: String| Error::BadCertificates { path: path.to_owned(), problem };
    // asked before opening: to open a pipe would wait for its other end
    let found = path.metadata().map_err(|error| bad(error.to_string()))?;
    if !found.is_file() || found.len() > MAX_LIST {
        return Err(bad("not a file of certificates".into()));
    }
    let text = fs::read(path).map_err(|error| bad(error.to_string()))?;
    let mut all = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| bad(error.to_string()))? {
            all.push(certificate);
        }
    }
    if all.is_empty() {
        return Err(bad("no PEM certificate is in it".into()));
    }
    Ok(RootCerts::new_with_certs(&all))
}

/// Scheme, host and port.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
}

/// Where a redirection leads.
fn join(from: &str, target: &str) -> String {
    if target.split_once("://").is_some_and(|(scheme, _)| scheme.chars().all(|c| c.is_ascii_alphanumeric())) {
        target.to_owned()
    } else if let Some(host) = target.strip_prefix("//") {
        format!("{}//{host}", &from[..from.find("//").unwrap_or(0)])
    } else if target.starts_with('/') {
        format!("{}{target}", origin(from))
    } else {
        let base = from.rfind('/').map_or(from, |at| &from[..at]);
        format!("{base}/{target}")
    }
}

fn failure(url: &str, error: &ureq::Error) -> Failure {
    use ureq::Error as E;
    // an address may hold a signature; what matters is before it
    let shown = url.split('?').next().unwrap_or(url).to_owned();
    let network = Error::Network { url: shown.clone(), problem: error.to_string() };
    match error {
        E::BadUri(_) | E::Http(_) => Error::BadAnswer { url: shown, problem: error.to_string() }.into(),
        // a machine without network: waiting does not help
        E::Io(io) if matches!(io.kind(), io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable) => {
            network.into()
        }
        E::Io(_) | E::Timeout(_) | E::ConnectionFailed | E::Protocol(_) | E::BodyStalled | E::ConnectProxyFailed(_) => {
            Failure::passing(network)
        }
        // no such host, no encryption, …
        _ => network.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        assert_eq!(origin("https://hub.example/a/b?c"), "https://hub.example");
        assert_eq!(origin("http://[::1]:80"), "http://[::1]:80");
        assert_ne!(origin("https://hub.example.evil/a"), origin("https://hub.example/a"));
        assert_ne!(origin("http://hub.example"), origin("https://hub.example"));
        assert_ne!(origin("https://hub.example@evil/"), origin("https://hub.example/"));
    }

    #[test]
    fn files_of_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let problem = || certificates(&path).unwrap_err().to_string();
        assert!(problem().contains("SSL_CERT_FILE"), "{}", problem());
        std::fs::write(&path, "# no certificate\n").unwrap();
        assert!(problem().contains("no PEM certificate"), "{}", problem());
        std::fs::write(&path, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
        assert!(problem().contains("no certificates to check servers with"), "{}", problem());
        std::fs::write(&path, "x\n-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".repeat(2)).unwrap();
        assert!(matches!(certificates(&path), Ok(RootCerts::Specific(all)) if all.len() == 2));
        assert!(certificates(dir.path()).is_err());
    }

    #[test]
    fn redirections() {
        let from = "https://hub/a/b?c=d";
        assert_eq!(join(from, "/x"), "https://hub/x");
        assert_eq!(join(from, "//cdn/x"), "https://cdn/x");
        assert_eq!(join(from, "http://y/z"), "http://y/z");
        assert_eq!(join("https://hub/a/b", "c"), "https://hub/a/c");
    }
}
