//! Where the cache is, which server is asked, and with what token: the environment variables of Python's
//! `huggingface_hub`, with the same defaults and the same legacy names, so that both share one cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Error;

/// How the hub is used. [`Settings::from_env`] reads the environment; the fields may then be changed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory of models: `HF_HUB_CACHE`, else `HUGGINGFACE_HUB_CACHE`, else `HF_HOME/hub`.
    pub cache: PathBuf,
    /// The server, without a slash at the end: `HF_ENDPOINT`.
    pub endpoint: String,
    /// Never use the network: `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`.
    pub offline: bool,
    /// Where the token comes from.
    pub token_source: TokenSource,
    /// How long a question about a file may take: `HF_HUB_ETAG_TIMEOUT`.
    pub question_timeout: Duration,
    /// How long the server may pause in a download: `HF_HUB_DOWNLOAD_TIMEOUT`.
    pub download_timeout: Duration,
    /// Whether to draw progress bars: not with `HF_HUB_DISABLE_PROGRESS_BARS`.
    pub progress_bars: bool,
    /// Whether snapshots link to blobs: not with `HF_HUB_DISABLE_SYMLINKS`; then they hold copies.
    pub symlinks: bool,
    /// Certificates (PEM) of the authorities that servers are checked against, instead of the built-in ones:
    /// `REQUESTS_CA_BUNDLE`, else `CURL_CA_BUNDLE`, else `SSL_CERT_FILE`.
    pub certificates: Option<PathBuf>,
    /// The pause before the first repetition of a request that failed; it doubles with each.
    pub retry_pause: Duration,
    pub(super) token: Option<Token>,
}

/// A token, which no log may show.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token(pub(super) String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where the token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSource {
    /// There is none.
    None,
    /// This environment variable.
    Variable(&'static str),
    /// This file.
    File(PathBuf),
    /// The program itself: [`Settings::set_token`].
    Program,
}

/// A variable by its name, `None` when unset.
type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// The settings of the environment.
    pub fn from_env() -> Self {
        Self::from_lookup(&|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// The settings that an environment would give, whose variables `lookup` knows.
    pub fn from_lookup(lookup: Lookup) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let path = |name: &str| set(name).map(|value| expand(&value, lookup));
        let is_true = |name: &str| set(name).is_some_and(|value| is_true(&value));
        let seconds = |name: &str| {
            let value = set(name).and_then(|value| value.trim().parse().ok()).filter(|&value| value > 0);
            Duration::from_secs(value.unwrap_or(10))
        };

        let home = path("HF_HOME").unwrap_or_else(|| {
            path("XDG_CACHE_HOME").unwrap_or_else(|| expand("~/.cache", lookup)).join("huggingface")
        });
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| home.join("hub"));
        let token_file = path("HF_TOKEN_PATH").unwrap_or_else(|| home.join("token"));
        let (token, token_source) = if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            (None, TokenSource::None)
        } else {
            find_token(&set, &token_file)
        };
        let endpoint = set("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Self {
            cache,
            endpoint: endpoint.trim().trim_end_matches('/').to_owned(),
            offline: is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE"),
            token_source,
            question_timeout: seconds("HF_HUB_ETAG_TIMEOUT"),
            download_timeout: seconds("HF_HUB_DOWNLOAD_TIMEOUT"),
            progress_bars: !is_true("HF_HUB_DISABLE_PROGRESS_BARS"),
            symlinks: !is_true("HF_HUB_DISABLE_SYMLINKS"),
            certificates: ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"].into_iter().find_map(path),
            retry_pause: Duration::from_millis(500),
            token,
        }
    }

    /// Uses this token, whatever the environment says.
    pub fn set_token(&mut self, token: &str) {
        self.token = clean(token).map(Token);
        self.token_source = if self.token.is_some() { TokenSource::Program } else { TokenSource::None };
    }

    pub(super) fn checked_token(&self) -> Result<Option<&str>, Error> {
        match &self.token {
            Some(Token(token)) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Err(Error::BadToken { source_name: self.token_source.to_string() })
            }
            token => Ok(token.as_ref().map(|token| token.0.as_str())),
        }
    }
}

impl std::fmt::Display for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Program => f.write_str("the program"),
        }
    }
}

fn find_token(set: &dyn Fn(&str) -> Option<String>, file: &Path) -> (Option<Token>, TokenSource) {
    for name in ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"] {
        if let Some(token) = set(name).as_deref().and_then(clean) {
            return (Some(Token(token)), TokenSource::Variable(name));
        }
    }
    // a token is a line; whatever else has the name is not read in full
    let small = file.metadata().is_ok_and(|found| found.is_file() && found.len() <= 4096);
    match small.then(|| fs::read_to_string(file).ok()).flatten().as_deref().and_then(clean) {
        Some(token) => (Some(Token(token)), TokenSource::File(file.to_owned())),
        None => (None, TokenSource::None),
    }
}

fn clean(token: &str) -> Option<String> {
    let token: String = token.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

fn is_true(value: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].iter().any(|yes| value.eq_ignore_ascii_case(yes))
}

/// A path with `~` at its start and `$NAME` or `${NAME}` in it; unknown names stay.
fn expand(path: &str, lookup: Lookup) -> PathBuf {
    let mut text = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let braced = after.strip_prefix('{').and_then(|after| after.split_once('}'));
        let end = after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(after.len());
        let (name, following) = braced.unwrap_or_else(|| after.split_at(end));
        if let Some(value) = lookup(name).filter(|_| !name.is_empty()) {
            text.push_str(&value);
            rest = following;
        } else {
            text.push('$');
            rest = after;
        }
    }
    text.push_str(rest);
    match text.strip_prefix('~') {
        Some(inner) if inner.is_empty() || inner.starts_with('/') => {
            let home = lookup("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
            let home = home.or_else(std::env::home_dir).unwrap_or_else(|| ".".into());
            home.join(inner.trim_start_matches('/'))
        }
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Settings {
        Settings::from_lookup(&|name| variables.iter().find(|v| v.0 == name).map(|v| v.1.to_owned()))
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        let cache = |variables: &[(&str, &str)]| with(variables).cache.display().to_string();
        assert_eq!(cache(&[("HOME", "/h")]), "/h/.cache/huggingface/hub");
        assert_eq!(cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), "/x/huggingface/hub");
        assert_eq!(cache(&[("HOME", "/h"), ("HF_HOME", "~/models")]), "/h/models/hub");
        assert_eq!(cache(&[("HF_HOME", "/a"), ("HUGGINGFACE_HUB_CACHE", "/old")]), "/old");
        assert_eq!(cache(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")]), "/new");
        assert_eq!(cache(&[("D", "/d"), ("HF_HUB_CACHE", "$D/${D}/$NONE/a$")]), "/d//d/$NONE/a$");
    }

    #[test]
    fn offline_by_either_name() {
        assert!(with(&[("HF_HUB_OFFLINE", "yes")]).offline && with(&[("TRANSFORMERS_OFFLINE", "1")]).offline);
        assert!(!with(&[("HF_HUB_OFFLINE", "0")]).offline && !with(&[]).offline);
    }

    #[test]
    fn tokens_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        assert_eq!(with(&[("HF_HOME", home)]).token_source, TokenSource::None);
        fs::write(dir.path().join("token"), "hf_file\n").unwrap();
        let file = with(&[("HF_HOME", home)]);
        assert_eq!(
            (file.token.as_ref().map(|t| &t.0[..]), &file.token_source),
            (Some("hf_file"), &TokenSource::File(dir.path().join("token")))
        );
        let old = with(&[("HF_HOME", home), ("HUGGING_FACE_HUB_TOKEN", "hf_old")]);
        assert_eq!(old.token_source, TokenSource::Variable("HUGGING_FACE_HUB_TOKEN"));
        let both = with(&[("HUGGING_FACE_HUB_TOKEN", "hf_old"), ("HF_TOKEN", " hf_new\r\n")]);
        assert_eq!(both.checked_token().unwrap(), Some("hf_new"));
        assert!(!format!("{both:?}").contains("hf_new"));
        assert_eq!(with(&[("HF_TOKEN", "x"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).token, None);
        assert!(with(&[("HF_TOKEN", "a b\u{7f}")]).checked_token().is_err());
    }

    #[test]
    fn certificates_by_the_names_of_others() {
        assert_eq!(with(&[]).certificates, None);
        let both = with(&[("SSL_CERT_FILE", "/c.pem"), ("CURL_CA_BUNDLE", ""), ("REQUESTS_CA_BUNDLE", "/r.pem")]);
        assert_eq!(both.certificates, Some("/r.pem".into()));
        assert_eq!(with(&[("SSL_CERT_FILE", "/c.pem")]).certificates, Some("/c.pem".into()));
    }

    #[test]
    fn endpoint_and_timeouts() {
        let settings = with(&[
            ("HF_ENDPOINT", "http://mirror/x/"),
            ("HF_HUB_ETAG_TIMEOUT", "3"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "x"),
        ]);
        assert_eq!(settings.endpoint, "http://mirror/x");
        assert_eq!((settings.question_timeout.as_secs(), settings.download_timeout.as_secs()), (3, 10));
    }
}
