//! What can go wrong between a model id and its files. Each message says what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// An error of the hub or its cache.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a directory nor an id.
    #[error("{id:?} is neither a directory nor a model id: {problem}. An id is `name` or `organisation/name`")]
    BadId {
        /// What was given.
        id: String,
        /// The rule that it breaks.
        problem: &'static str,
    },
    /// A path that isn't there.
    #[error("{path}: no such directory; give a model directory, or a model id such as organisation/name")]
    NoSuchDirectory {
        /// What was given.
        path: PathBuf,
    },
    /// A file in place of a directory.
    #[error(
        "{path} is a file; give the directory that holds it with the model's other files: config.json, weights, tokenizer"
    )]
    NotADirectory {
        /// What was given.
        path: PathBuf,
    },
    /// A revision that git would not take either.
    #[error("{revision:?} is not a revision; give a branch, a tag, a commit or refs/pr/N")]
    BadRevision {
        /// What was given.
        revision: String,
    },
    /// The token has characters that no token has.
    #[error(
        "the token from {source_name} holds characters that no token has; copy it again from the hub's settings page"
    )]
    BadToken {
        /// The variable or file that it comes from.
        source_name: String,
    },
    /// The file of certificates holds none, or cannot be read.
    #[error(
        "{path}: no certificates to check servers with: {problem}; correct REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or \
         SSL_CERT_FILE, or unset it to use the built-in ones"
    )]
    BadCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// 401 or 403.
    #[error(
        "{id}: access denied ({status}): the model is private or gated, or there is none of that name; {}",
        if *has_token { format!("accept its terms at {page} with the account of your token, or use another token") }
        else { format!("check the spelling, or set HF_TOKEN to a token that may read it (terms, if it has some: {page})") }
    )]
    Denied {
        /// The model.
        id: String,
        /// The server's answer, 401 or 403.
        status: u16,
        /// The model's page.
        page: String,
        /// Whether a token was sent.
        has_token: bool,
    },
    /// 404 for the model.
    #[error("{id}: there is no such model at {endpoint}; check the spelling")]
    NoModel {
        /// The model.
        id: String,
        /// The server.
        endpoint: String,
    },
    /// 404 for the revision.
    #[error("{id}: there is no revision {revision:?}; see its branches and tags at {page}")]
    NoRevision {
        /// The model.
        id: String,
        /// What was asked for.
        revision: String,
        /// The model's page.
        page: String,
    },
    /// 404 for a file that the list of files has.
    #[error("{id}: the server lists {file}, but does not have it; try again later")]
    NoFile {
        /// The model.
        id: String,
        /// The file.
        file: String,
    },
    /// The model has no file that was asked for.
    #[error(
        "{id}: no file of it is one that ptm reads; looked for config.json, tokenizer files, safetensors or PyTorch weights"
    )]
    NothingWanted {
        /// The model.
        id: String,
    },
    /// Offline, and the cache lacks it.
    #[error(
        "{id} at revision {revision} is not in the cache {cache}{}, and {why}; `ptm pull {id}{}` fetches it where there is \
         a network",
        missing_text(missing),
        if revision == super::MAIN { String::new() } else { format!(" --revision {revision}") }
    )]
    NotCached {
        /// The model.
        id: String,
        /// The revision.
        revision: String,
        /// The cache's directory.
        cache: PathBuf,
        /// What it lacks, where other files are there.
        missing: Vec<String>,
        /// Why it isn't fetched: offline mode, or the network's error.
        why: String,
    },
    /// The network failed, after several attempts.
    #[error(
        "{url}: {problem}; where a directory was meant, there is none of that name; else check the network, HF_ENDPOINT and proxy \
         variables, or set HF_HUB_OFFLINE=1 to use the cache alone"
    )]
    Network {
        /// What was asked for.
        url: String,
        /// What happened.
        problem: String,
    },
    /// A status that nothing else here explains.
    #[error("{url}: the server answers {status}; try again later")]
    Status {
        /// What was asked for.
        url: String,
        /// The server's answer.
        status: u16,
    },
    /// An answer that the hub would not give.
    #[error("{url}: not an answer of a model hub: {problem}; check HF_ENDPOINT")]
    BadAnswer {
        /// What was asked for.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A download that isn't what was announced.
    #[error("{file}: the download is damaged: {problem}; it was removed, try again")]
    Damaged {
        /// The file.
        file: String,
        /// What differs.
        problem: String,
    },
    /// The operating system refused.
    #[error("{path}: cannot {action}: {source}{}", hint(source))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }
}

fn missing_text(missing: &[String]) -> String {
    if missing.is_empty() { String::new() } else { format!(" as a whole (it lacks {})", missing.join(", ")) }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; set HF_HUB_CACHE to a directory that you may write to"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free some space, or set HF_HUB_CACHE to a directory on another disk; the download will go on from here"
        }
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "; something else is in the way of the cache: set HF_HUB_CACHE to another directory"
        }
        _ => "",
    }
}
