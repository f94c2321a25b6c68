//! Downloads from a small hub on this machine: its files, revisions and requests.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::cache::CachedRepository;
use super::download::download_with;
use super::settings::{Environment, Settings};
use crate::repository::Repository;

const MAIN_COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER_COMMIT: &str = "fedcba9876543210fedcba9876543210fedcba98";
const SHARDS: &str = r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;

/// The files of the repository `me/tiny`, at every revision.
type Files = BTreeMap<&'static str, &'static str>;

/// A hub whose `main` is one commit and whose other revisions are another one.
struct Hub {
    port: u16,
    /// The method, path and token of each request.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start(files: Files) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), &files, &record);
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

fn answer(mut stream: TcpStream, files: &Files, record: &Mutex<Vec<String>>) {
    let lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let lines: Vec<String> = lines.collect();
    let Some([method, path, _]) =
        lines.first().map(|line| line.split(' ').collect::<Vec<_>>()).as_deref().map(|words| {
            let words: [&str; 3] = words.try_into().unwrap();
            words.map(str::to_owned)
        })
    else {
        return;
    };
    let token = lines.iter().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or("-");
    let asked = path.strip_prefix("/me/tiny/resolve/").unwrap();
    record.lock().unwrap().push(format!("{method} {asked} {token}"));
    let (revision, file) = asked.split_once('/').unwrap();
    let commit = if ["main", MAIN_COMMIT].contains(&revision) { MAIN_COMMIT } else { OTHER_COMMIT };
    let (status, body) = files.get(file).map_or(("404 Not Found", ""), |body| ("200 OK", *body));
    let etag = file.replace('/', "-");
    let head = format!("X-Repo-Commit: {commit}\r\nETag: \"{etag}\"\r\nContent-Length: {}", body.len());
    let body = if method == "HEAD" { "" } else { body };
    // The client may have disconnected.
    let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n{head}\r\nConnection: close\r\n\r\n{body}").as_bytes());
}

/// The files that every model has, and `others`.
fn files(others: &[(&'static str, &'static str)]) -> Files {
    [("config.json", "{}"), ("vocab.txt", "[UNK]\n")].into_iter().chain(others.iter().copied()).collect()
}

/// The settings of a process with these variables.
fn settings(variables: &[(&str, &str)]) -> Settings {
    let variable = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Settings::read(&Environment { variable: &variable, home: &|_| None })
}

/// The repository `me/tiny` at a revision.
fn tiny(revision: &str) -> Repository<'_> {
    Repository { owner: "me", name: "tiny", revision }
}

/// Downloads `me/tiny` into a cache.
fn download(hub: &Hub, cache: &Path, revision: &str) -> Result<PathBuf, String> {
    let address = format!("http://127.0.0.1:{}", hub.port);
    let settings = settings(&[("HF_ENDPOINT", &address), ("HF_HUB_CACHE", cache.to_str().unwrap())]);
    download_with(&settings, tiny(revision)).map_err(|error| error.to_string())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn the_first_form_of_weights_is_downloaded_with_all_its_files() {
    let all = [
        ("model.safetensors", "weights"),
        ("model.safetensors.index.json", SHARDS),
        ("model-1.safetensors", "one"),
        ("model-2.safetensors", "two"),
        ("pytorch_model.bin", "pickle"),
        ("pytorch_model.bin.index.json", r#"{"weight_map": {"a": "pytorch_model-1.bin"}}"#),
        ("pytorch_model-1.bin", "part"),
        ("unrelated.bin", "never"),
    ];
    for (first, expected) in [
        (0, &["model.safetensors"][..]),
        (1, &["model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"]),
        (4, &["pytorch_model.bin"]),
        (5, &["pytorch_model-1.bin", "pytorch_model.bin.index.json"]),
    ] {
        let (hub, cache) = (Hub::start(files(&all[first..])), tempfile::tempdir().unwrap());
        let folder = download(&hub, cache.path(), "main").unwrap();
        let found: Vec<String> =
            names(&folder).into_iter().filter(|name| !["config.json", "vocab.txt"].contains(&name.as_str())).collect();
        assert_eq!(found, expected);
        assert_eq!(
            fs::read_to_string(folder.join(expected[0])).unwrap(),
            all.iter().find(|(name, _)| *name == expected[0]).unwrap().1
        );
        // The snapshot is complete, and a second call downloads no content.
        hub.requests();
        assert_eq!(download(&hub, cache.path(), "main").unwrap(), folder);
        assert!(hub.requests().iter().all(|request| request.starts_with("HEAD ")));
    }
}

#[test]
fn a_repository_without_usable_weights_is_refused() {
    for (others, message) in [
        (
            &[][..],
            "no model.safetensors in me/tiny, nor model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json",
        ),
        (
            &[("model.safetensors.index.json", SHARDS), ("model-1.safetensors", "one")],
            "no model-2.safetensors in me/tiny, which its index names",
        ),
        (
            &[("model.safetensors.index.json", r#"{"weight_map": {"a": "../../x"}}"#)],
            "tensor a is in `../../x`, expected the name of a file in the same folder",
        ),
    ] {
        let (hub, cache) = (Hub::start(files(others)), tempfile::tempdir().unwrap());
        let error = download(&hub, cache.path(), "main").unwrap_err();
        assert!(error.contains(message), "`{message}` is not in: {error}");
        assert!(CachedRepository::new(cache.path(), tiny("main")).snapshot().is_err());
    }
}

#[test]
fn a_snapshot_without_one_of_its_shards_is_incomplete() {
    let all =
        [("model.safetensors.index.json", SHARDS), ("model-1.safetensors", "one"), ("model-2.safetensors", "two")];
    let (hub, cache) = (Hub::start(files(&all)), tempfile::tempdir().unwrap());
    let folder = download(&hub, cache.path(), "main").unwrap();
    fs::remove_file(folder.join("model-2.safetensors")).unwrap();
    let error = CachedRepository::new(cache.path(), tiny("main")).snapshot().unwrap_err();
    assert!(error.ends_with("has no model-2.safetensors"), "{error}");
}

/// The layout of `_cache_commit_hash_for_specific_revision` in huggingface_hub 2.4, and the address of `hf_hub_url`.
#[test]
fn revisions_are_cached_as_in_huggingface_hub() {
    let (hub, cache) = (Hub::start(files(&[("model.safetensors", "x")])), tempfile::tempdir().unwrap());
    let repository = cache.path().join("models--me--tiny");
    for (revision, asked, commit) in [
        ("main", "main", MAIN_COMMIT),
        ("v1.0", "v1.0", OTHER_COMMIT),
        ("refs/pr/1", "refs%2Fpr%2F1", OTHER_COMMIT),
        (OTHER_COMMIT, OTHER_COMMIT, OTHER_COMMIT),
    ] {
        let folder = download(&hub, cache.path(), revision).unwrap();
        assert_eq!(folder, repository.join("snapshots").join(commit));
        let requests = hub.requests();
        assert_eq!(requests[0], format!("HEAD {asked}/config.json -"));
        // All other files come from the commit.
        let of_commit = |request: &&String| request.contains(&format!(" {commit}/"));
        assert!(requests.iter().filter(of_commit).count() >= 7, "{requests:?}");
        let reference = repository.join("refs").join(revision);
        assert_eq!(fs::read_to_string(reference).ok().as_deref(), (revision != commit).then_some(commit));
    }
    assert_eq!(names(&repository.join("refs")), ["main", "refs", "v1.0"]);
    assert_eq!(names(&repository.join("snapshots")), [MAIN_COMMIT, OTHER_COMMIT]);
}

#[test]
fn a_hub_that_returns_another_commit_is_refused() {
    let (hub, cache) = (Hub::start(files(&[("model.safetensors", "x")])), tempfile::tempdir().unwrap());
    let asked = "1".repeat(40);
    let error = download(&hub, cache.path(), &asked).unwrap_err();
    assert!(error.contains(&format!("returned commit {OTHER_COMMIT}, expected {asked}")), "{error}");
    assert!(error.contains(&format!("hf:me/tiny@{asked}")), "{error}");
}

#[test]
fn the_variables_apply_to_every_revision() {
    let (hub, place) = (Hub::start(files(&[("model.safetensors", "x")])), tempfile::tempdir().unwrap());
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("token"), "hf_of_file\n").unwrap();
    let (address, cache, token) = (format!("http://127.0.0.1:{}", hub.port), path("cache"), path("token"));
    let online = [("HF_ENDPOINT", address.as_str()), ("HF_HUB_CACHE", &cache), ("HF_TOKEN_PATH", &token)];
    let offline = [("HF_ENDPOINT", address.as_str()), ("HF_HUB_CACHE", &cache), ("HF_HUB_OFFLINE", "1")];
    for revision in ["v1.0", "refs/pr/1", OTHER_COMMIT] {
        let _ = fs::remove_dir_all(&cache);
        let error = download_with(&settings(&offline), tiny(revision)).unwrap_err().to_string();
        assert!(
            error.contains(&format!("hf:me/tiny@{revision} is not in the cache, and HF_HUB_OFFLINE is set")),
            "{error}"
        );
        assert_eq!(hub.requests(), [""; 0]);
        let folder = download_with(&settings(&online), tiny(revision)).unwrap();
        assert!(folder.starts_with(&cache));
        assert!(hub.requests().iter().all(|request| request.ends_with(" Bearer hf_of_file")));
        assert_eq!(download_with(&settings(&offline), tiny(revision)).unwrap(), folder);
        assert_eq!(hub.requests(), [""; 0]);
        // Another revision is not a substitute.
        let error = download_with(&settings(&offline), tiny("v2.0")).unwrap_err().to_string();
        assert!(error.contains("refs/v2.0"), "{error}");
        // A hub that does not answer is replaced by the cache.
        let gone = [("HF_ENDPOINT", "http://127.0.0.1:9"), ("HF_HUB_CACHE", &cache)];
        assert_eq!(download_with(&settings(&gone), tiny(revision)).unwrap(), folder);
    }
}

#[test]
fn a_vocabulary_of_bytes_is_downloaded_if_there_is_no_other() {
    let bytes = [("vocab.json", "{}"), ("merges.txt", "#"), ("model.safetensors", "x")];
    let mut without = files(&bytes);
    without.remove("vocab.txt");
    let (hub, cache) = (Hub::start(without.clone()), tempfile::tempdir().unwrap());
    let folder = download(&hub, cache.path(), "main").unwrap();
    assert_eq!(names(&folder), ["config.json", "merges.txt", "model.safetensors", "vocab.json"]);
    without.insert("tokenizer.json", "{}");
    let (hub, cache) = (Hub::start(without.clone()), tempfile::tempdir().unwrap());
    let folder = download(&hub, cache.path(), "main").unwrap();
    assert_eq!(names(&folder), ["config.json", "model.safetensors", "tokenizer.json"]);
    without.retain(|name, _| !["tokenizer.json", "merges.txt"].contains(name));
    let (hub, cache) = (Hub::start(without), tempfile::tempdir().unwrap());
    let error = download(&hub, cache.path(), "main").unwrap_err();
    assert!(error.contains("has neither tokenizer.json nor vocab.txt nor vocab.json with merges.txt"), "{error}");
}

#[test]
fn the_weights_of_dense_modules_are_downloaded_in_the_first_form() {
    let modules = r#"[{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"},
        {"path": "2_Dense", "type": "a.Dense"}, {"path": "3_Dense", "type": "a.Dense"}, {"path": "../4", "type": "a.Dense"}]"#;
    let all = [
        ("model.safetensors", "weights"),
        ("modules.json", modules),
        ("config_sentence_transformers.json", "{}"),
        ("1_Pooling/config.json", "{}"),
        ("2_Dense/config.json", "{}"),
        ("2_Dense/model.safetensors", "two"),
        ("2_Dense/pytorch_model.bin", "never"),
        ("3_Dense/config.json", "{}"),
        ("3_Dense/pytorch_model.bin", "three"),
    ];
    let (hub, cache) = (Hub::start(files(&all)), tempfile::tempdir().unwrap());
    let folder = download(&hub, cache.path(), "main").unwrap();
    assert_eq!(names(&folder.join("2_Dense")), ["config.json", "model.safetensors"]);
    assert_eq!(names(&folder.join("3_Dense")), ["config.json", "pytorch_model.bin"]);
    assert_eq!(fs::read_to_string(folder.join("3_Dense/pytorch_model.bin")).unwrap(), "three");
    assert!(folder.join("config_sentence_transformers.json").is_file());
    assert!(!hub.requests().iter().any(|request| request.contains("../4")));
}
