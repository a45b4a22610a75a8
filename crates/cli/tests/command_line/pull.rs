//! `ptm pull`, and what it leaves in the cache, against a hub on the local machine.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

use super::server::{COMMIT, Server, sha256};
use super::{alone, json, parity, printed, ptm, refused};

/// The hub, and the cache of somebody who uses it.
struct Hub {
    server: Server,
    home: TempDir,
    weights: Vec<u8>,
}

/// Every file below a directory: its name, with `/`, and what it holds.
pub fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            found.extend(files(&entry.path()).into_iter().map(|(inner, data)| (format!("{name}/{inner}"), data)));
        } else if let Ok(data) = fs::read(entry.path()) {
            found.push((name, data));
        }
    }
    found
}

/// A hub whose model has the files of a directory, without the answers that tests compare with.
pub fn serve(dir: &Path) -> Server {
    let mut files = files(dir);
    files.retain(|(name, _)| !name.starts_with("golden") && name != "fill-mask.json");
    let server = Server::start(&files.iter().map(|(name, data)| (name.as_str(), data.as_slice())).collect::<Vec<_>>());
    // the weights alone are elsewhere, so that it is their download that is cut
    for (name, content) in &mut server.state().files {
        content.large = name.ends_with(".safetensors");
    }
    server
}

impl Hub {
    fn new() -> Self {
        let dir = parity("sentence/mean");
        let weights = fs::read(dir.join("model.safetensors")).unwrap();
        Self { server: serve(&dir), home: tempfile::tempdir().unwrap(), weights }
    }

    /// The binary with this hub and cache.
    fn ptm(&self) -> Command {
        let mut command = ptm();
        command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", &self.server.endpoint).env("HF_HOME", self.home.path());
        command
    }

    fn pull(&self) -> Command {
        let mut command = self.ptm();
        command.args(["pull", "org/model"]);
        command
    }

    fn model(&self) -> PathBuf {
        self.home.path().join("hub/models--org--model")
    }

    fn snapshot(&self) -> PathBuf {
        self.model().join("snapshots").join(COMMIT)
    }

    fn incomplete(&self) -> PathBuf {
        self.model().join("blobs").join(format!("{}.incomplete", sha256(&self.weights)))
    }

    /// What came of the weights lies under a name of its own, and nothing under theirs.
    fn in_part(&self, bytes: usize) {
        assert_eq!(fs::metadata(self.incomplete()).unwrap().len(), bytes as u64);
        assert!(!self.model().join("blobs").join(sha256(&self.weights)).exists());
        assert!(fs::symlink_metadata(self.snapshot().join("model.safetensors")).is_err());
        assert!(!self.model().join("refs/main").exists());
    }

    /// The next run fetches the rest alone.
    fn goes_on_from(&self, bytes: usize) {
        self.server.state().seen.clear();
        assert_eq!(printed(&mut self.pull()).trim_end(), self.snapshot().display().to_string());
        let seen = self.server.state().seen.clone();
        let weights = seen.iter().filter(|r| r.cdn && r.path.ends_with("/model.safetensors"));
        let ranges: Vec<_> = weights.map(|r| r.headers.get("range").cloned()).collect();
        assert_eq!(ranges, [Some(format!("bytes={bytes}-"))]);
        assert!(fs::read(self.snapshot().join("model.safetensors")).unwrap() == self.weights);
        assert!(!self.incomplete().exists());
    }
}

#[test]
fn a_whole_model_and_its_use_without_network() {
    let hub = Hub::new();
    let output = hub.pull().assert().success().get_output().clone();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", hub.snapshot().display()));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    for (name, data) in files(&hub.snapshot()) {
        assert!(data == fs::read(parity("sentence/mean").join(&name)).unwrap(), "{name}");
    }
    assert_eq!(json(hub.pull().arg("--json"))["path"], hub.snapshot().display().to_string());

    hub.server.requests();
    let offline = || {
        let mut command = hub.ptm();
        command.env("HF_HUB_OFFLINE", "1");
        command
    };
    let list = json(offline().args(["list", "--json"]));
    assert_eq!(list[0]["id"], "org/model");
    assert!(list[0]["size_bytes"].as_u64().unwrap() > hub.weights.len() as u64);
    assert_eq!(list[0]["revisions"][0]["refs"], serde_json::json!(["main"]));
    let text = printed(offline().arg("list"));
    assert!(text.contains("org/model") && text.contains("1 model in "), "{text}");
    let embed = |model: &str| json(offline().args(["embed", "--json", "Hello", "--model", model]));
    assert_eq!(embed("org/model"), embed(parity("sentence/mean").to_str().unwrap()));
    assert_eq!(printed(offline().args(["pull", "org/model"])).trim_end(), hub.snapshot().display().to_string());
    let said = refused(offline().args(["pull", "org/model", "--revision", "v2"]));
    assert!(said.contains("HF_HUB_OFFLINE") && said.contains("`ptm pull org/model --revision v2`"), "{said}");
    assert!(hub.server.requests().is_empty());
}

#[test]
fn a_command_fetches_the_model_it_needs() {
    let hub = Hub::new();
    let vector = json(hub.ptm().args(["embed", "--json", "Hello", "--model", "org/model"]));
    assert!(vector[0].as_array().unwrap().len() > 1 && hub.snapshot().join("model.safetensors").exists());
}

#[test]
fn private_and_unknown_models() {
    let hub = Hub::new();
    hub.server.state().token = Some("hf_secret".into());
    let said = refused(&mut hub.pull());
    assert!(said.contains("access denied (401)") && said.contains("HF_TOKEN"), "{said}");
    let said = refused(hub.pull().env("HF_TOKEN", "hf_wrong"));
    assert!(said.contains("access denied") && !said.contains("hf_wrong"), "{said}");
    assert!(!hub.model().join("refs").exists());
    let output = hub.pull().args(["--verbose"]).env("HF_TOKEN", "hf_secret").assert().success().get_output().clone();
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hf_secret"));

    hub.server.state().token = None;
    let said = refused(hub.ptm().args(["pull", "org/none"]));
    assert!(said.contains("org/none: there is no such model"), "{said}");
    let said = refused(hub.pull().args(["--revision", "v9"]));
    assert!(said.contains("no revision \"v9\""), "{said}");
}

#[test]
fn a_connection_that_breaks_and_the_next_run() {
    let hub = Hub::new();
    hub.server.state().cut = [vec![30_000], vec![0; 20]].concat();
    let said = refused(&mut hub.pull());
    assert!(said.contains("model.safetensors") || said.contains("network"), "{said}");
    hub.in_part(30_000);
    hub.server.state().cut.clear();
    hub.goes_on_from(30_000);
}

#[test]
fn no_server() {
    let hub = Hub::new();
    let said = refused(hub.pull().env("HF_ENDPOINT", "http://127.0.0.1:1"));
    assert!(said.contains("127.0.0.1:1") && said.contains("check the network"), "{said}");
}

/// A download that hangs at 20 000 bytes is ended by `signal`; gives what the program said and its exit code.
#[cfg(unix)]
fn ended_by(signal: &str, hub: &Hub) -> (Option<i32>, String) {
    use std::time::{Duration, Instant};
    {
        let mut state = hub.server.state();
        state.cut = vec![20_000];
        state.stall = true;
    }
    let mut command = alone(env!("CARGO_BIN_EXE_ptm"));
    command.env_remove("HF_HUB_OFFLINE").env("HF_ENDPOINT", &hub.server.endpoint).env("HF_HOME", hub.home.path());
    let child = command.args(["pull", "org/model"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while fs::metadata(hub.incomplete()).map_or(0, |metadata| metadata.len()) < 20_000 {
        assert!(begun.elapsed() < Duration::from_mins(1), "the download does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    let kill = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let output = child.wait_with_output().unwrap();
    hub.server.state().stall = false;
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[cfg(unix)]
#[test]
fn ctrl_c_leaves_what_came_for_the_next_run() {
    let hub = Hub::new();
    let (code, said) = ended_by("-INT", &hub);
    assert_eq!((code, &said[..]), (Some(130), ""));
    hub.in_part(20_000);
    // nobody takes it for a model
    let said = refused(hub.pull().env("HF_HUB_OFFLINE", "1"));
    assert!(said.contains("org/model at revision main is not in the cache"), "{said}");
    hub.goes_on_from(20_000);
}

#[cfg(unix)]
#[test]
fn a_killed_download_does_not_lock_out_the_next() {
    let hub = Hub::new();
    let (code, _) = ended_by("-KILL", &hub);
    assert_eq!(code, None);
    hub.in_part(20_000);
    hub.goes_on_from(20_000);
}
