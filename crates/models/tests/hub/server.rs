//! A small hub on the local machine: lists models, answers HEAD and GET with ranges, redirects large files to a second
//! address as the real one does, and misbehaves on request.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: HashMap<String, String>,
    /// Whether it came to the second address.
    pub cdn: bool,
}

/// A file that the hub has.
#[derive(Clone)]
pub struct Content {
    pub data: Vec<u8>,
    pub etag: String,
    /// Large files are elsewhere: the hub answers with a redirection.
    pub large: bool,
}

#[derive(Default)]
pub struct State {
    pub files: HashMap<String, Content>,
    /// What to list, if not the files.
    pub listed: Option<String>,
    /// Branches, besides `main`.
    pub revisions: Vec<String>,
    /// The token that is needed.
    pub token: Option<String>,
    /// Answers to the next requests: a status and an error code.
    pub refuse: Vec<(u16, &'static str)>,
    /// Bodies of large files end after so many bytes; one entry a download.
    pub cut: Vec<usize>,
    /// Bytes sent after the announced end, as if the file had grown.
    pub surplus: usize,
    /// Bytes that HEAD announces beyond those that there are.
    pub overstated: usize,
    /// A file, and the address on this host that its own redirects to.
    pub moved: Option<(&'static str, &'static str)>,
    pub no_ranges: bool,
    /// ETags of the next downloads, where they differ from what HEAD says.
    pub other_etag: Vec<String>,
    /// One byte in the next downloads is wrong.
    pub spoil: usize,
    /// Whether a body that is cut stays open, its rest awaited in vain.
    pub stall: bool,
    /// Whether every id is that of the model.
    pub any_id: bool,
    /// How long a body takes to begin.
    pub delay: Duration,
    pub seen: Vec<Request>,
}

#[derive(Clone)]
pub struct Server {
    pub endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// A hub with the model `org/model`, which has these files; those over 1000 bytes are large.
    pub fn start(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(name, data)| {
            let large = data.len() > 1000;
            let sha = sha256(data);
            let etag = if large { sha } else { sha[..40].to_owned() };
            ((*name).to_owned(), Content { data: data.to_vec(), etag, large })
        });
        let state = Arc::new(Mutex::new(State { files: files.collect(), ..State::default() }));
        let cdn = listen(&state, None);
        let endpoint = listen(&state, Some(cdn));
        Self { endpoint, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The requests since the last call, `METHOD path`.
    pub fn requests(&self) -> Vec<String> {
        self.state().seen.drain(..).map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }
}

pub fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn listen(state: &Arc<Mutex<State>>, cdn: Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let state = Arc::clone(state);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (state, cdn) = (Arc::clone(&state), cdn.clone());
            // a client that goes away is not the server's trouble
            thread::spawn(move || answer(stream, &state, cdn.as_deref()));
        }
    });
    address
}

fn answer(mut stream: TcpStream, state: &Mutex<State>, cdn: Option<&str>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.by_ref().take(10_000).read_line(&mut line).ok()? == 0 || line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let mut first = lines.first()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<_, _> = lines[1..]
        .iter()
        .filter_map(|line| line.split_once(": "))
        .map(|(k, v)| (k.to_lowercase(), v.to_owned()))
        .collect();
    let (head, range) = (method == "HEAD", headers.get("range").cloned());
    let token = headers.get("authorization").cloned();

    let shared = state;
    let mut state = shared.lock().ok()?;
    state.seen.push(Request { method, path: path.clone(), headers, cdn: cdn.is_none() });
    let path = if state.any_id { with_known_id(&path) } else { path };
    if cdn.is_some() && !state.refuse.is_empty() {
        let (status, code) = state.refuse.remove(0);
        let code = if code.is_empty() { String::new() } else { format!("x-error-code: {code}\r\n") };
        return send(&mut stream, status, &code, b"{\"error\":\"refused\"}", head);
    }
    if cdn.is_some() && state.token.as_ref().is_some_and(|t| token != Some(format!("Bearer {t}"))) {
        return send(&mut stream, 401, "x-error-code: RepoNotFound\r\n", b"", head);
    }
    if let Some(revision) = path.strip_prefix("/api/models/org/model/revision/") {
        let known = revision == "main" || revision == COMMIT || state.revisions.iter().any(|r| r == revision);
        if !known {
            return send(&mut stream, 404, "x-error-code: RevisionNotFound\r\n", b"", head);
        }
        let mut names: Vec<_> = state.files.keys().map(|name| format!("{{\"rfilename\":\"{name}\"}}")).collect();
        names.sort();
        let list = format!("{{\"id\":\"org/model\",\"sha\":\"{COMMIT}\",\"siblings\":[{}]}}", names.join(","));
        let list = state.listed.clone().unwrap_or(list);
        return send(&mut stream, 200, "content-type: application/json\r\n", list.as_bytes(), head);
    }
    let resolve = format!("/org/model/resolve/{COMMIT}/");
    // Python asks by revision
    let mut file =
        path.strip_prefix(&resolve).or(path.strip_prefix("/org/model/resolve/main/")).or(path.strip_prefix("/cdn/"));
    if let Some((name, target)) = state.moved {
        if file == Some(name) {
            return send(&mut stream, 307, &format!("location: {target}\r\n"), b"", head);
        }
        file = file.or((path == target).then_some(name));
    }
    let Some(content) = file.and_then(|file| state.files.get(file).cloned()) else {
        let code = if path.starts_with("/org/model/") { "EntryNotFound" } else { "RepoNotFound" };
        return send(&mut stream, 404, &format!("x-error-code: {code}\r\nx-repo-commit: {COMMIT}\r\n"), b"", head);
    };
    let mut etag = content.etag.clone();
    if !head && !state.other_etag.is_empty() {
        etag = state.other_etag.remove(0);
    }
    if let (true, Some(cdn)) = (content.large, cdn) {
        let headers = format!(
            "location: {cdn}/cdn/{}\r\nx-repo-commit: {COMMIT}\r\nx-linked-etag: \"{etag}\"\r\nx-linked-size: {}\r\n",
            file?,
            content.data.len() + state.overstated
        );
        return send(&mut stream, 302, &headers, b"", head);
    }
    let mut data = content.data;
    let total = data.len();
    let mut headers = format!("x-repo-commit: {COMMIT}\r\netag: W/\"{etag}\"\r\naccept-ranges: bytes\r\n");
    let start =
        range.filter(|_| !state.no_ranges).and_then(|r| r.strip_prefix("bytes=")?.split('-').next()?.parse().ok());
    if let Some(start) = start.filter(|&start: &usize| start > 0) {
        if start >= total {
            return send(&mut stream, 416, "", b"", head);
        }
        data.drain(..start);
        let _ = write!(headers, "content-range: bytes {start}-{}/{total}\r\n", total - 1);
    }
    if head {
        return send(&mut stream, 200, &headers, &data, true);
    }
    if state.spoil > 0 {
        state.spoil -= 1;
        data[0] ^= 1;
    }
    data.extend(vec![0; state.surplus]);
    let (announced, mut stalls) = (data.len(), false);
    if content.large && !state.cut.is_empty() {
        let cut = state.cut.remove(0);
        data.truncate(cut);
        stalls = state.stall;
    }
    let delay = state.delay;
    drop(state);
    thread::sleep(delay);
    let status = if start.unwrap_or(0) > 0 { "206 Partial Content" } else { "200 OK" };
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {announced}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&data).ok()?;
    while stalls && shared.lock().ok()?.stall {
        thread::sleep(Duration::from_millis(10));
    }
    Some(())
}

/// The path with `org/model` in place of its own id.
fn with_known_id(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').collect();
    match &parts[..] {
        ["", "api", "models", _, _, rest @ ..] => format!("/api/models/org/model/{}", rest.join("/")),
        ["", _, _, rest @ ..] if rest.first() == Some(&"resolve") => format!("/org/model/{}", rest.join("/")),
        _ => path.to_owned(),
    }
}

fn send(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8], head: bool) -> Option<()> {
    let start = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(start.as_bytes()).ok()?;
    if head { Some(()) } else { stream.write_all(body).ok() }
}
