//! The hub against a local server: downloads whole, cut, damaged, refused, offline, at once; and the cache on disk.

mod offline;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ptm_models::hub::{Error, Hub, Pattern, Progress, Settings, TokenSource};
use server::{COMMIT, Server, sha256};
use tempfile::TempDir;

const CONFIG: &[u8] = b"{\"model_type\":\"bert\"}";

/// Contents of a large file.
fn large() -> Vec<u8> {
    (0..50_000_u32).flat_map(|i| (i * i).to_le_bytes()).collect()
}

fn settings(endpoint: &str, cache: &Path) -> Settings {
    let mut settings = Settings::from_lookup(&|_| None);
    endpoint.clone_into(&mut settings.endpoint);
    cache.clone_into(&mut settings.cache);
    settings.retry_pause = Duration::from_millis(1);
    settings
}

struct Setup {
    server: Server,
    dir: TempDir,
    large: Vec<u8>,
}

impl Setup {
    fn new() -> Self {
        let large = large();
        let server = Server::start(&[
            ("config.json", CONFIG),
            ("1_Pooling/config.json", b"{}"),
            ("model.safetensors", &large),
            ("pytorch_model.bin", &large[1..]),
            ("onnx/model.onnx", &large[2..]),
            ("README.md", b"hello"),
        ]);
        Self { server, dir: tempfile::tempdir().unwrap(), large }
    }

    fn settings(&self) -> Settings {
        settings(&self.server.endpoint, self.dir.path())
    }

    fn hub(&self) -> Hub {
        Hub::new(self.settings())
    }

    fn resolve(&self) -> Result<PathBuf, Error> {
        self.hub().resolve("org/model", None, &[])
    }

    fn model(&self) -> PathBuf {
        self.dir.path().join("models--org--model")
    }

    fn blob(&self) -> PathBuf {
        self.model().join("blobs").join(sha256(&self.large))
    }

    /// Resolves, and checks that the large file came out right.
    fn right(&self) {
        let path = self.resolve().unwrap();
        assert!(fs::read(path.join("model.safetensors")).unwrap() == self.large);
    }

    /// Downloads of the large file's contents, the ranges they asked for.
    fn ranges(&self) -> Vec<Option<String>> {
        let seen = &self.server.state().seen;
        seen.iter().filter(|r| r.cdn).map(|r| r.headers.get("range").cloned()).collect()
    }
}

/// Every file and link below a directory, with contents or target.
fn tree(dir: &Path) -> Vec<String> {
    fn walk(base: &Path, dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(base).unwrap().display().to_string();
            if let Ok(target) = fs::read_link(&path) {
                found.push(format!("{name} -> {}", target.display()));
            } else if path.is_dir() {
                walk(base, &path, found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found.sort();
    found
}

#[test]
fn the_cache_is_laid_out_as_python_does() {
    let setup = Setup::new();
    let only = ["config.json", "model.safetensors", "1_Pooling/config.json", "vocab.txt"].map(Pattern::new);
    let path = setup.hub().resolve("org/model", None, &only).unwrap();
    assert_eq!(path, setup.model().join("snapshots").join(COMMIT));
    let (config, pooling, weights) = (&sha256(CONFIG)[..40], &sha256(b"{}")[..40], sha256(&setup.large));
    let mut expected = vec![
        format!(".no_exist/{COMMIT}/vocab.txt"),
        format!("blobs/{config}"),
        format!("blobs/{pooling}"),
        format!("blobs/{weights}"),
        "refs/main".to_owned(),
        format!("snapshots/{COMMIT}/1_Pooling/config.json -> ../../../blobs/{pooling}"),
        format!("snapshots/{COMMIT}/config.json -> ../../blobs/{config}"),
        format!("snapshots/{COMMIT}/model.safetensors -> ../../blobs/{weights}"),
    ];
    expected.sort();
    assert_eq!(tree(&setup.model()), expected);
    assert_eq!(fs::read(setup.model().join("refs/main")).unwrap(), COMMIT.as_bytes());
    assert!(setup.dir.path().join(".locks/models--org--model").join(format!("{weights}.lock")).exists());
    setup.right();
}

#[test]
fn only_what_is_needed_and_only_once() {
    let setup = Setup::new();
    setup.right();
    let requests = setup.server.requests();
    assert!(
        !requests.iter().any(|r| r.contains("onnx") || r.contains("pytorch") || r.contains("README")),
        "{requests:?}"
    );
    setup.right();
    assert_eq!(setup.server.requests(), ["GET /api/models/org/model/revision/main"]);
}

#[test]
fn revisions() {
    let setup = Setup::new();
    setup.server.state().revisions.push("refs%2Fpr%2F7".into());
    let hub = setup.hub();
    let path = hub.resolve("org/model", Some("refs/pr/7"), &[]).unwrap();
    assert_eq!(fs::read(setup.model().join("refs/refs/pr/7")).unwrap(), COMMIT.as_bytes());
    assert_eq!(hub.resolve("org/model", Some(COMMIT), &[]).unwrap(), path);
    let error = hub.resolve("org/model", Some("v9"), &[]).unwrap_err();
    assert!(error.to_string().contains("no revision \"v9\""), "{error}");
    assert!(matches!(hub.resolve("org/model", Some("../x"), &[]), Err(Error::BadRevision { .. })));
}

#[test]
fn a_directory_wins_over_an_id() {
    let setup = Setup::new();
    let hub = setup.hub();
    let here = setup.dir.path().to_str().unwrap();
    assert_eq!(hub.resolve(here, None, &[]).unwrap(), setup.dir.path());
    assert!(matches!(hub.resolve(&format!("{here}/none"), None, &[]), Err(Error::NoSuchDirectory { .. })));
    assert!(matches!(hub.resolve("./none", None, &[]), Err(Error::NoSuchDirectory { .. })));
    let file = setup.dir.path().join("model.safetensors");
    fs::write(&file, "").unwrap();
    assert!(matches!(hub.resolve(file.to_str().unwrap(), None, &[]), Err(Error::NotADirectory { .. })));
    assert!(matches!(hub.resolve("a--b", None, &[]), Err(Error::BadId { .. })));
    assert!(setup.server.requests().is_empty());
}

#[test]
fn a_cut_connection_is_resumed() {
    let setup = Setup::new();
    setup.server.state().cut = vec![70_000, 0, 30_000];
    setup.right();
    let range = |start: usize| Some(format!("bytes={start}-"));
    assert_eq!(setup.ranges(), [None, range(70_000), range(70_000), range(100_000)]);
    assert!(!setup.blob().with_extension("incomplete").exists());
}

#[test]
fn a_connection_that_is_cut_forever_is_an_error_and_keeps_what_came() {
    let setup = Setup::new();
    setup.server.state().cut = [vec![10_000], vec![0; 20]].concat();
    let error = setup.resolve().unwrap_err();
    assert!(matches!(error, Error::Network { .. }), "{error}");
    assert_eq!(setup.ranges().len(), 5);
    assert!(!setup.blob().exists() && !setup.model().join("refs").exists());
    let incomplete = setup.model().join("blobs").join(format!("{}.incomplete", sha256(&setup.large)));
    assert_eq!(fs::metadata(&incomplete).unwrap().len(), 10_000);
    // the next run goes on from there
    setup.server.state().cut.clear();
    setup.server.state().seen.clear();
    setup.right();
    assert_eq!(setup.ranges(), [Some("bytes=10000-".to_owned())]);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let setup = Setup::new();
    setup.server.state().no_ranges = true;
    setup.server.state().cut = vec![70_000];
    setup.right();
}

#[test]
fn leftovers_of_another_file_are_replaced() {
    for leftover in [vec![9; 300], vec![9; 200_000], vec![9; 900_000]] {
        let setup = Setup::new();
        fs::create_dir_all(setup.model().join("blobs")).unwrap();
        let incomplete = setup.model().join("blobs").join(format!("{}.incomplete", sha256(&setup.large)));
        fs::write(&incomplete, leftover).unwrap();
        setup.right();
        assert!(!incomplete.exists());
    }
}

#[test]
fn a_damaged_download_is_fetched_again_and_never_visible() {
    let setup = Setup::new();
    setup.server.state().spoil = 1;
    // the small files are spoilt too, and have no checksum: fetch the large one alone
    let weights = [Pattern::new("model.safetensors")];
    setup.hub().resolve("org/model", None, &weights).unwrap();
    assert!(fs::read(setup.blob()).unwrap() == setup.large);

    let setup = Setup::new();
    setup.server.state().spoil = 100;
    let error = setup.hub().resolve("org/model", None, &weights).unwrap_err();
    assert!(error.to_string().contains("model.safetensors: the download is damaged: its SHA-256"), "{error}");
    assert!(tree(&setup.model()).is_empty());
}

#[test]
fn wrong_length() {
    let setup = Setup::new();
    setup.server.state().surplus = 5;
    let error = setup.resolve().unwrap_err();
    assert!(error.to_string().contains("more than it announced"), "{error}");
    assert!(tree(&setup.model()).is_empty(), "{:?}", tree(&setup.model()));
}

#[test]
fn a_server_that_has_less_than_it_announces() {
    // all that there is comes, the rest is beyond the end (416): three rounds, then an error
    let setup = Setup::new();
    setup.server.state().overstated = 100;
    let error = setup.resolve().unwrap_err();
    assert!(matches!(&error, Error::Damaged { file, .. } if file == "model.safetensors"), "{error}");
    assert!(error.to_string().contains("continues at another place"), "{error}");
    let beyond = Some(format!("bytes={}-", setup.large.len()));
    assert_eq!(setup.ranges(), [None, beyond.clone(), None, beyond.clone(), None, beyond]);
    assert!(!setup.blob().exists() && !setup.model().join("refs").exists());
}

#[test]
fn a_redirect_with_an_address_in_its_query_stays_on_the_host() {
    let setup = Setup::new();
    setup.server.state().moved = Some(("config.json", "/l?to=http://z"));
    setup.right();
    assert_eq!(fs::read(setup.resolve().unwrap().join("config.json")).unwrap(), CONFIG);
    let requests = setup.server.requests();
    assert!(requests.iter().any(|request| request == "GET /l?to=http://z"), "{requests:?}");
}

#[test]
fn a_file_that_changes_in_between_is_asked_about_again() {
    let setup = Setup::new();
    setup.server.state().other_etag = vec!["feed".repeat(16)];
    setup.right();
    assert_eq!(setup.server.requests().iter().filter(|request| request.starts_with("HEAD")).count(), 4);
    let setup = Setup::new();
    setup.server.state().other_etag = vec!["feed".repeat(16); 20];
    assert!(setup.resolve().unwrap_err().to_string().contains("changed on the server"));
}

#[test]
fn refusals_say_what_to_do() {
    let setup = Setup::new();
    setup.server.state().token = Some("hf_secret".into());
    let says = setup.resolve().unwrap_err().to_string();
    assert!(says.contains("(401)") && says.contains("set HF_TOKEN") && says.contains("/org/model"), "{says}");
    let with = |token: &str| {
        let mut settings = setup.settings();
        settings.set_token(token);
        Hub::new(settings)
    };
    assert!(with("hf_secret").resolve("org/model", None, &[]).is_ok());
    let says = with("hf_other").resolve("org/model", Some("main"), &[]).unwrap_err().to_string();
    assert!(says.contains("accept its terms at") && !says.contains("hf_other"), "{says}");
    assert!(!format!("{:?}", with("hf_secret")).contains("hf_secret"));

    setup.server.state().token = None;
    setup.server.state().refuse = vec![(403, "GatedRepo")];
    let says = setup.resolve().unwrap_err().to_string();
    assert!(says.contains("(403)") && says.contains("terms"), "{says}");
    let says = setup.hub().resolve("org/none", None, &[]).unwrap_err().to_string();
    assert!(says.contains("org/none: there is no such model"), "{says}");
}

#[test]
fn the_token_goes_to_the_endpoint_alone() {
    let setup = Setup::new();
    setup.server.state().token = Some("hf_secret".into());
    let mut settings = setup.settings();
    settings.set_token("hf_secret");
    Hub::new(settings).resolve("org/model", None, &[]).unwrap();
    let seen = setup.server.state().seen.clone();
    assert!(seen.iter().any(|r| r.cdn) && seen.iter().all(|r| r.cdn != r.headers.contains_key("authorization")));
}

#[test]
fn a_listed_file_that_is_missing() {
    let setup = Setup::new();
    let listed = format!("{{\"sha\":\"{COMMIT}\",\"siblings\":[{{\"rfilename\":\"vocab.txt\"}}]}}");
    setup.server.state().listed = Some(listed);
    assert!(matches!(setup.resolve().unwrap_err(), Error::NoFile { file, .. } if file == "vocab.txt"));
    setup.server.state().listed = Some(format!("{{\"sha\":\"{COMMIT}\",\"siblings\":[]}}"));
    assert!(matches!(setup.resolve().unwrap_err(), Error::NothingWanted { .. }));
}

#[test]
fn a_busy_server_is_asked_again() {
    let setup = Setup::new();
    setup.server.state().refuse = vec![(500, ""), (503, ""), (429, "")];
    setup.right();
    let setup = Setup::new();
    setup.server.state().refuse = vec![(500, ""); 50];
    assert!(matches!(setup.resolve().unwrap_err(), Error::Status { status: 500, .. }));
    assert_eq!(setup.server.requests().len(), 5);
}

#[test]
fn a_server_that_is_no_hub() {
    let setup = Setup::new();
    let says = |listed: String| {
        setup.server.state().listed = Some(listed);
        let error = setup.resolve().unwrap_err();
        assert!(matches!(error, Error::BadAnswer { .. }), "{error}");
        error.to_string()
    };
    says("<html>".into());
    says("{\"sha\":\"../../x\",\"siblings\":[]}".into());
    let file = |name: &str| format!("{{\"sha\":\"{COMMIT}\",\"siblings\":[{{\"rfilename\":\"{name}\"}}]}}");
    let all = [Pattern::new("*"), Pattern::new("*/*/*"), Pattern::new("*/*")];
    for name in ["../../../evil", "..", "/etc/evil", "a//b"] {
        setup.server.state().listed = Some(file(name));
        let error = setup.hub().resolve("org/model", None, &all).unwrap_err();
        assert!(matches!(error, Error::BadAnswer { .. } | Error::NothingWanted { .. }), "{name}: {error}");
    }
    setup.server.state().listed = None;
    setup.server.state().files.get_mut("config.json").unwrap().etag = "../../evil".into();
    assert!(setup.resolve().unwrap_err().to_string().contains("no ETag"));
    assert!(!setup.dir.path().join("evil").exists() && !setup.model().join("evil").exists());
}

#[test]
fn two_threads_fetch_once() {
    let setup = Setup::new();
    setup.server.state().delay = Duration::from_millis(50);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| setup.right());
        }
    });
    assert_eq!(setup.ranges(), [None]);
}

/// The other process of the test below; on its own it does nothing.
#[test]
fn other_process() {
    let (Ok(endpoint), Ok(cache)) = (std::env::var("PTM_TEST_ENDPOINT"), std::env::var("PTM_TEST_CACHE")) else {
        return;
    };
    Hub::new(settings(&endpoint, Path::new(&cache))).resolve("org/model", None, &[]).unwrap();
}

#[test]
fn two_processes_fetch_once() {
    let setup = Setup::new();
    setup.server.state().delay = Duration::from_millis(100);
    let children: Vec<_> = (0..2)
        .map(|_| {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", "other_process"]).env("PTM_TEST_ENDPOINT", &setup.server.endpoint);
            command.env("PTM_TEST_CACHE", setup.dir.path()).stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    setup.right();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(setup.ranges(), [None]);
}

#[test]
fn a_cache_that_cannot_be_written() {
    let setup = Setup::new();
    let file = setup.dir.path().join("file");
    fs::write(&file, "").unwrap();
    let hub = Hub::new(settings(&setup.server.endpoint, &file.join("cache")));
    let error = hub.resolve("org/model", None, &[]).unwrap_err();
    assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("HF_HUB_CACHE"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_read_only_cache_that_has_everything_will_do() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new();
    let path = setup.resolve().unwrap();
    let mode = |mode| {
        for dir in ["", "blobs", "refs", "snapshots", ".no_exist"] {
            fs::set_permissions(setup.model().join(dir), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    // whoever may write everywhere is told apart below
    fs::remove_dir_all(setup.dir.path().join(".locks")).unwrap();
    fs::write(setup.dir.path().join(".locks"), "").unwrap();
    mode(0o555);
    assert_eq!(setup.resolve().unwrap(), path);
    fs::remove_file(path.join("config.json")).unwrap();
    fs::remove_file(setup.model().join("blobs").join(&sha256(CONFIG)[..40])).ok();
    let refused = setup.resolve();
    mode(0o755);
    assert!(matches!(refused, Err(Error::Io { .. })), "{refused:?}");
}

#[test]
fn copies_where_links_are_not_wanted() {
    let setup = Setup::new();
    let mut settings = setup.settings();
    settings.symlinks = false;
    let path = Hub::new(settings).resolve("org/model", None, &[]).unwrap();
    assert!(!path.join("config.json").is_symlink());
    assert_eq!(fs::read(path.join("config.json")).unwrap(), CONFIG);
}

#[test]
fn progress_adds_up() {
    type Entry = (String, Option<u64>, u64, bool);
    #[derive(Default)]
    struct Log(Mutex<Vec<Entry>>);
    impl Progress for Log {
        fn start(&self, file: &str, total: Option<u64>) {
            self.0.lock().unwrap().push((file.to_owned(), total, 0, false));
        }
        fn advance(&self, bytes: u64) {
            self.0.lock().unwrap().last_mut().unwrap().2 += bytes;
        }
        fn finish(&self) {
            self.0.lock().unwrap().last_mut().unwrap().3 = true;
        }
    }
    let setup = Setup::new();
    setup.server.state().cut = vec![2, 1, 1000, 5000];
    let log = Arc::new(Log::default());
    setup.hub().with_progress(log.clone()).resolve("org/model", None, &[]).unwrap();
    let log = log.0.lock().unwrap();
    for (file, size) in [("config.json", CONFIG.len()), ("model.safetensors", setup.large.len())] {
        let last = log.iter().rfind(|entry| entry.0 == file).unwrap();
        assert_eq!((last.1, last.2, last.3), (Some(size as u64), size as u64, true), "{file}");
    }
    assert!(log.iter().any(|entry| !entry.3));
}

#[test]
fn the_list_of_models() {
    let setup = Setup::new();
    assert!(setup.hub().list_cached().is_empty());
    setup.server.state().revisions.push("v1".into());
    setup.hub().resolve("org/model", Some("v1"), &[]).unwrap();
    setup.resolve().unwrap();
    fs::create_dir_all(setup.dir.path().join("models--broken")).unwrap();
    fs::create_dir_all(setup.dir.path().join("datasets--org--data/snapshots/x")).unwrap();
    fs::create_dir_all(setup.dir.path().join("models--..--x/snapshots/x")).unwrap();
    let list = setup.hub().list_cached();
    assert_eq!(list.len(), 1, "{list:?}");
    let model = &list[0];
    assert_eq!((&model.id[..], &model.path), ("org/model", &setup.model()));
    assert_eq!(
        (&model.revisions[0].commit[..], &model.revisions[0].refs),
        (COMMIT, &vec!["main".to_owned(), "v1".into()])
    );
    let contents = (setup.large.len() + CONFIG.len() + 2) as u64;
    assert_eq!(model.size_bytes, contents + 80);
    assert!(model.last_modified.is_some());
    assert_eq!(setup.hub().settings().token_source, TokenSource::None);
}
