//! Models by id: from the Hugging Face hub or a server like it, through the cache that Python's library uses too, by
//! the same environment variables. Small and synchronous on `ureq`: the crate `hf-hub` (1.0) brings an asynchronous
//! runtime and a second transfer protocol with it. Only fetches; to publish models is not its task.

mod cache;
mod download;
mod error;
mod http;
mod names;
mod settings;
mod wanted;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;

pub use cache::{CachedModel, CachedRevision};
pub use error::Error;
pub use settings::{Settings, TokenSource};
pub use wanted::Pattern;

use cache::ModelCache;
use http::{ATTEMPTS, Answer, Failure, Http, header};

/// The revision when none is given.
pub const MAIN: &str = "main";

/// Is told how downloads get on; the command line draws a bar from it. Files come one after the other; one that is
/// started again, after a cut connection, begins anew.
pub trait Progress: Send + Sync {
    /// A file begins; its size in bytes, where the server tells.
    fn start(&self, file: &str, total: Option<u64>);
    /// So many bytes more are here, among them those of an earlier attempt.
    fn advance(&self, bytes: u64);
    /// The file is complete.
    fn finish(&self);
}

struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// Models by id.
pub struct Hub {
    settings: Settings,
    progress: Arc<dyn Progress>,
    http: OnceLock<Http>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // without the token
        f.debug_struct("Hub")
            .field("cache", &self.settings.cache)
            .field("endpoint", &self.settings.endpoint)
            .finish_non_exhaustive()
    }
}

/// What the server tells about a revision.
#[derive(Deserialize)]
struct Listing {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
}

impl Hub {
    /// With the settings of the environment.
    pub fn from_env() -> Self {
        Self::new(Settings::from_env())
    }

    /// With these settings.
    pub fn new(settings: Settings) -> Self {
        Self { settings, progress: Arc::new(Silent), http: OnceLock::new() }
    }

    /// Tells `progress` how downloads get on.
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    /// What it works with; says where the token comes from, not what it is.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Every model in the cache, by id. What cannot be read is left out.
    pub fn list_cached(&self) -> Vec<CachedModel> {
        cache::list(&self.settings.cache)
    }

    /// The directory of a model: `id_or_path` itself when it is a directory, else the model of that id, from the cache
    /// or through it. `revision` is a branch, a tag, a commit or `refs/pr/N`, `main` when `None`; `wanted` are the files
    /// to have there, with none a whole model: [`Pattern::model`]. Without network, what is in the cache will do, if it
    /// is whole: a configuration and weights, all shards of them.
    ///
    /// # Errors
    /// When there is no such model, it may not be read, the network fails and the cache does not have it, a download
    /// is damaged, or the cache cannot be written.
    pub fn resolve(&self, id_or_path: &str, revision: Option<&str>, wanted: &[Pattern]) -> Result<PathBuf, Error> {
        let path = Path::new(id_or_path);
        if path.is_dir() {
            return Ok(path.to_owned());
        }
        if path.is_file() {
            return Err(Error::NotADirectory { path: path.to_owned() });
        }
        if let Err(error) = names::check_id(id_or_path) {
            let is_path = path.is_absolute()
                || id_or_path.starts_with(['.', '~'])
                || id_or_path.contains('\\')
                || id_or_path.matches('/').count() > 1;
            return Err(if is_path { Error::NoSuchDirectory { path: path.to_owned() } } else { error });
        }
        let revision = revision.unwrap_or(MAIN);
        names::check_revision(revision)?;
        let (id, cache) = (id_or_path, ModelCache::new(&self.settings.cache, id_or_path));
        if self.settings.offline {
            return self.cached(
                &cache,
                id,
                revision,
                wanted,
                "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids the network".into(),
            );
        }
        // who has it already doesn't wait long for a server that is away
        let have = self.cached(&cache, id, revision, wanted, String::new()).is_ok();
        let listing = match self.listing(id, revision, if have { 1 } else { ATTEMPTS }) {
            Ok(listing) => listing,
            // without a server, what is there will do
            Err(error @ (Error::Network { .. } | Error::Status { .. })) => {
                return match self.cached(&cache, id, revision, wanted, error.to_string()) {
                    Ok(path) => {
                        tracing::warn!(%error, "using the cached model");
                        Ok(path)
                    }
                    Err(Error::NotCached { missing, .. }) if missing.is_empty() => Err(error),
                    Err(other) => Err(other),
                };
            }
            Err(error) => return Err(error),
        };
        let model = Pattern::model();
        let wanted = if wanted.is_empty() { &model } else { wanted };
        let files: Vec<String> = listing.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        let selected = wanted::select(&files, wanted);
        if selected.is_empty() {
            return Err(Error::NothingWanted { id: id.to_owned() });
        }
        for file in selected {
            if !names::is_relative_path(file) {
                let problem = format!("it lists the file {file:?}, which leaves the model's directory");
                return Err(Error::BadAnswer { url: self.list_url(id, revision), problem });
            }
            self.fetch(&cache, id, &listing.sha, file)?;
        }
        for name in wanted.iter().filter_map(Pattern::name) {
            if !files.iter().any(|file| file == name) && names::is_relative_path(name) {
                cache.set_absent(&listing.sha, name);
            }
        }
        // last, so that the revision never points to something incomplete
        cache.set_ref(revision, &listing.sha)?;
        Ok(cache.snapshot(&listing.sha))
    }

    /// The model as the cache has it.
    fn cached(
        &self,
        cache: &ModelCache,
        id: &str,
        revision: &str,
        wanted: &[Pattern],
        why: String,
    ) -> Result<PathBuf, Error> {
        let commit = cache.commit_of(revision);
        let lacks = commit.as_ref().and_then(|commit| cache.lacks(commit, wanted));
        match (commit, lacks) {
            (Some(commit), Some(missing)) if missing.is_empty() => Ok(cache.snapshot(&commit)),
            (_, missing) => Err(Error::NotCached {
                id: id.to_owned(),
                revision: revision.to_owned(),
                cache: self.settings.cache.clone(),
                missing: missing.unwrap_or_default(),
                why,
            }),
        }
    }

    fn http(&self) -> Result<&Http, Error> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let http = Http::new(&self.settings)?;
        Ok(self.http.get_or_init(|| http))
    }

    fn list_url(&self, id: &str, revision: &str) -> String {
        format!("{}/api/models/{id}/revision/{}", self.settings.endpoint, names::quote(revision, b""))
    }

    fn page(&self, id: &str) -> String {
        format!("{}/{id}", self.settings.endpoint)
    }

    fn listing(&self, id: &str, revision: &str, attempts: u32) -> Result<Listing, Error> {
        let url = self.list_url(id, revision);
        self.http()?.persist(
            attempts,
            || 0,
            || {
                let answer = self.http()?.get(&url)?;
                if !answer.status().is_success() {
                    return Err(self.refusal(&answer, id, revision, None));
                }
                let bad = |problem: String| Error::BadAnswer { url: url.clone(), problem };
                let listing: Listing =
                    serde_json::from_str(&answer.text()?).map_err(|error| bad(format!("no list of files: {error}")))?;
                if !names::is_commit(&listing.sha) {
                    return Err(bad("the name of its commit is not one".into()).into());
                }
                Ok(listing)
            },
        )
    }

    /// What a refused request means.
    fn refusal(&self, answer: &Answer, id: &str, revision: &str, file: Option<&str>) -> Failure {
        let (id, page) = (id.to_owned(), self.page(id));
        let status = answer.status().as_u16();
        match (status, header(&answer.first, "x-error-code"), file) {
            (401 | 403, _, _) | (_, Some("GatedRepo"), _) => {
                let has_token = self.http.get().is_some_and(Http::has_token);
                Error::Denied { id, status, page, has_token }.into()
            }
            (404, Some("RevisionNotFound"), _) => Error::NoRevision { id, revision: revision.to_owned(), page }.into(),
            (404, _, Some(file)) => Error::NoFile { id, file: file.to_owned() }.into(),
            (404, _, None) => Error::NoModel { id, endpoint: self.settings.endpoint.clone() }.into(),
            _ => answer.unexpected(),
        }
    }
}
