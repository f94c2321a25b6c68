//! The Hugging Face hub: the requests of `nb`, their tokens, and the files in the cache. Two test servers replace the hub and
//! the host of its large files. The expected requests were recorded from `huggingface_hub` 2.4: a HEAD for each file, a GET if
//! it is not in the cache, and the token only for the hub.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::place::{Ended, Place, train_arguments};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// SHA-256 of "weights", by `sha256sum`.
const WEIGHTS: &str = "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c";
const TOKEN: &str = "hf_secret";

/// A request that a server received.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    method: String,
    path: String,
    authorization: Option<String>,
    range: Option<String>,
}

/// A local server that records its requests.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server. `answer` returns the response to a request: status line with headers, and body.
    fn start(answer: impl Fn(&Request) -> (String, Vec<u8>) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read_request(&stream) else { continue };
                record.lock().unwrap().push(request.clone());
                let (head, body) = answer(&request);
                let body = if request.method == "HEAD" { Vec::new() } else { body };
                // The client may have disconnected.
                let _ = stream.write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes());
                let _ = stream.write_all(&body);
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.requests.lock().unwrap())
    }
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let first = lines.next()?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let headers: Vec<String> = lines.collect();
    let header = |name: &str| {
        let values = headers.iter().filter_map(|line| line.split_once(": "));
        values.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    Some(Request { method, path, authorization: header("authorization"), range: header("range") })
}

/// Starts the host of large files; each of them contains `weights`.
fn storage() -> Server {
    Server::start(|request| {
        let range = request.range.as_deref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
        let start: usize = range.map_or(0, |start| start.parse().unwrap());
        let body = b"weights"[start..].to_vec();
        let status = if start == 0 { "200 OK" } else { "206 Partial Content" };
        (format!("{status}\r\nContent-Length: {}", body.len()), body)
    })
}

/// Starts a hub with the repository `me/tiny`, whose weights are on a different host.
fn hub(storage: &Server) -> Server {
    let location = format!("http://localhost:{}/signed/weights?signature=x", storage.port);
    Server::start(move |request| {
        let file = request.path.rsplit('/').next().unwrap_or_default();
        let body = match file {
            "config.json" => "{}",
            "vocab.txt" => "[UNK]\n",
            "model.safetensors" => {
                let head = format!(
                    "302 Found\r\nLocation: {location}\r\nX-Repo-Commit: {COMMIT}\r\nX-Linked-Etag: \"{WEIGHTS}\"\r\n\
                     X-Linked-Size: 7\r\nContent-Length: 0"
                );
                return (head, Vec::new());
            }
            _ => return (format!("404 Not Found\r\nX-Repo-Commit: {COMMIT}\r\nContent-Length: 0"), Vec::new()),
        };
        let head = format!("200 OK\r\nX-Repo-Commit: {COMMIT}\r\nETag: W/\"{file}\"\r\nContent-Length: {}", body.len());
        (head, body.into())
    })
}

/// Runs `nb fetch hf:me/tiny` with these variables.
fn fetch(place: &Place, variables: &[(&str, &str)]) -> Ended {
    let mut command = place.command();
    command.args(["fetch", "hf:me/tiny"]).envs(variables.iter().copied());
    command.output().unwrap().into()
}

fn endpoint(server: &Server) -> String {
    format!("http://127.0.0.1:{}", server.port)
}

/// Puts `me/tiny` into a cache and returns the folder of the snapshot.
fn fill(place: &Place, cache: &str) -> PathBuf {
    let repository = format!("{cache}/models--me--tiny");
    place.write(&format!("{repository}/refs/main"), COMMIT);
    for file in ["config.json", "model.safetensors", "vocab.txt"] {
        place.write(&format!("{repository}/snapshots/{COMMIT}/{file}"), file);
    }
    place.path(&format!("{repository}/snapshots/{COMMIT}"))
}

#[test]
fn the_token_is_sent_to_the_hub_but_not_to_redirect_targets() {
    let (storage, place) = (storage(), Place::new());
    let hub = hub(&storage);
    // The address may end in a slash. Each file is requested once, and its content only if it is not in the cache.
    let addresses = [endpoint(&hub), endpoint(&hub) + "/"];
    for (round, address) in addresses.iter().enumerate() {
        let ended =
            fetch(&place, &[("HF_ENDPOINT", address), ("HF_TOKEN", " hf_secret\n"), ("NB_LOG", "trace")]).done();
        let snapshot = place.path(&format!("cache/huggingface/hub/models--me--tiny/snapshots/{COMMIT}"));
        assert_eq!(ended.out.trim_end(), snapshot.to_str().unwrap());
        assert!(!ended.err.contains(TOKEN) && !ended.out.contains(TOKEN), "{}", ended.err);
        let requests = hub.requests();
        assert!(
            requests.iter().all(|request| request.authorization.as_deref() == Some("Bearer hf_secret")),
            "{requests:?}"
        );
        let paths_of = |method: &str| -> Vec<&str> {
            let paths = requests.iter().filter(|request| request.method == method).map(|request| request.path.as_str());
            paths.collect()
        };
        let heads: Vec<String> = [
            "main/config.json".to_owned(),
            format!("{COMMIT}/model.safetensors"),
            format!("{COMMIT}/tokenizer.json"),
            format!("{COMMIT}/vocab.txt"),
            format!("{COMMIT}/tokenizer_config.json"),
            format!("{COMMIT}/special_tokens_map.json"),
            format!("{COMMIT}/added_tokens.json"),
            format!("{COMMIT}/modules.json"),
            format!("{COMMIT}/1_Pooling/config.json"),
            format!("{COMMIT}/sentence_bert_config.json"),
            format!("{COMMIT}/config_sentence_transformers.json"),
        ]
        .map(|file| format!("/me/tiny/resolve/{file}"))
        .into();
        assert_eq!(paths_of("HEAD"), heads);
        let stored = storage.requests();
        if round == 0 {
            assert_eq!(paths_of("GET"), [heads[0].as_str(), heads[3].as_str()]);
            let weights = Request {
                method: "GET".to_owned(),
                path: "/signed/weights?signature=x".to_owned(),
                authorization: None,
                range: None,
            };
            assert_eq!(stored, [weights]);
        } else {
            assert!(paths_of("GET").is_empty() && stored.is_empty(), "{requests:?} {stored:?}");
        }
        for (file, content) in [("config.json", "{}"), ("model.safetensors", "weights"), ("vocab.txt", "[UNK]\n")] {
            assert_eq!(std::fs::read_to_string(snapshot.join(file)).unwrap(), content);
        }
        let repository = "cache/huggingface/hub/models--me--tiny";
        assert_eq!(place.text(&format!("{repository}/refs/main")), COMMIT);
        assert_eq!(
            place.names(&format!("{repository}/blobs")),
            ["config.json", "vocab.txt", WEIGHTS].map(str::to_owned).into()
        );
    }
}

#[test]
fn tokens_are_found_in_the_places_of_huggingface_hub() {
    let storage = storage();
    let hub = hub(&storage);
    let address = endpoint(&hub);
    let sent = |variables: &[(&str, &str)], file: Option<&str>| {
        let place = Place::new();
        if let Some(path) = file {
            place.write(path, "hf_of_file\n");
        }
        fetch(&place, &[&[("HF_ENDPOINT", address.as_str())], variables].concat()).done();
        let requests = hub.requests();
        assert!(requests.iter().all(|request| request.authorization == requests[0].authorization), "{requests:?}");
        requests[0].authorization.clone()
    };
    let bearer = |token: &str| Some(format!("Bearer {token}"));
    assert_eq!(sent(&[], None), None);
    assert_eq!(sent(&[], Some("cache/huggingface/token")), bearer("hf_of_file"));
    assert_eq!(sent(&[("HF_TOKEN_PATH", "~/here")], Some("home/here")), bearer("hf_of_file"));
    assert_eq!(sent(&[("HF_TOKEN", "hf_a")], Some("cache/huggingface/token")), bearer("hf_a"));
    assert_eq!(sent(&[("HF_TOKEN", ""), ("HUGGING_FACE_HUB_TOKEN", "hf_b")], None), bearer("hf_b"));
    assert_eq!(sent(&[("HF_TOKEN", "hf_a"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")], None), None);
}

#[test]
fn offline_mode_sends_no_request() {
    let (storage, place) = (storage(), Place::new());
    let hub = hub(&storage);
    let address = endpoint(&hub);
    for (variable, value) in [("HF_HUB_OFFLINE", "1"), ("HF_HUB_OFFLINE", "on"), ("TRANSFORMERS_OFFLINE", "YES")] {
        let ended = fetch(&place, &[("HF_ENDPOINT", &address), (variable, value)]);
        ended.failed(&[
            "hf:me/tiny",
            variable,
            "huggingface/hub/models--me--tiny/refs/main",
            "nb fetch",
            "HF_HUB_CACHE",
        ]);
        // A run fails with the same message before it creates any file.
        let mut command = place.command();
        command.args(train_arguments(&["teacher={checkpoint: 'hf:me/tiny'}"]));
        let ended: Ended = command.env("HF_ENDPOINT", &address).env(variable, value).output().unwrap().into();
        ended.failed(&["teacher.checkpoint", variable]);
        assert!(!place.exists("runs"));
    }
    assert_eq!(hub.requests(), []);
    fetch(&place, &[("HF_ENDPOINT", &address), ("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]).done();
    assert!(!hub.requests().is_empty());
}

#[test]
fn the_variables_select_the_cache() {
    for (cache, variables) in [
        ("x", [("HF_HUB_CACHE", "~/../x"), ("HF_HOME", "/nowhere")]),
        ("x", [("HUGGINGFACE_HUB_CACHE", "${PLACE}/x"), ("HF_HOME", "/nowhere")]),
        ("x/hub", [("HF_HOME", "$PLACE/x"), ("XDG_CACHE_HOME", "/nowhere")]),
        ("x/huggingface/hub", [("XDG_CACHE_HOME", "$PLACE/x"), ("HF_HUB_OFFLINE", "1")]),
    ] {
        let place = Place::new();
        let snapshot = fill(&place, cache);
        std::fs::create_dir(place.path("home")).unwrap();
        let root = place.path("");
        let variables =
            [&variables[..], &[("HF_HUB_OFFLINE", "1"), ("PLACE", root.to_str().unwrap().trim_end_matches('/'))]]
                .concat();
        let ended = fetch(&place, &variables).done();
        let found = PathBuf::from(ended.out.trim_end());
        assert_eq!(found.canonicalize().unwrap(), snapshot.canonicalize().unwrap(), "{variables:?}");
    }
}

#[test]
fn partial_downloads_continue_and_complete_ones_are_reused() {
    let (storage, place) = (storage(), Place::new());
    let hub = hub(&storage);
    let address = endpoint(&hub);
    let blobs = "cache/huggingface/hub/models--me--tiny/blobs";
    place.write(&format!("{blobs}/{WEIGHTS}.nb-part"), "wei");
    fetch(&place, &[("HF_ENDPOINT", &address)]).done();
    assert_eq!(storage.requests()[0].range.as_deref(), Some("bytes=3-"));
    assert_eq!(place.text(&format!("{blobs}/{WEIGHTS}")), "weights");
    // The hub is no longer needed.
    let ended = fetch(&place, &[("HF_ENDPOINT", "http://127.0.0.1:9")]).done();
    assert!(ended.err.contains("using the cached copy of hf:me/tiny"), "{}", ended.err);
}

#[test]
fn errors_of_the_hub_suggest_a_remedy() {
    let place = Place::new();
    let private = Server::start(|_| ("401 Unauthorized\r\nContent-Length: 0".to_owned(), Vec::new()));
    let address = endpoint(&private);
    fetch(&place, &[("HF_ENDPOINT", &address)]).failed(&["hf:me/tiny", "401", "set HF_TOKEN"]);
    let ended = fetch(&place, &[("HF_ENDPOINT", &address), ("HF_TOKEN", TOKEN)]);
    ended.failed(&["401", "the token does not grant access"]);
    fetch(&place, &[("HF_ENDPOINT", &address), ("HF_TOKEN", "hf sécret")]).failed(&["HF_TOKEN", "non-ASCII"]);
    fetch(&place, &[("HF_ENDPOINT", "hub.example")]).failed(&["HF_ENDPOINT is `hub.example`", "https://"]);
    let other = Server::start(|_| ("200 OK\r\nContent-Length: 2".to_owned(), b"hi".to_vec()));
    fetch(&place, &[("HF_ENDPOINT", &endpoint(&other))])
        .failed(&["x-repo-commit", "is HF_ENDPOINT a Hugging Face hub"]);
    assert!(!place.exists("cache/huggingface"));
    let sharded = Server::start(|request| {
        let exists = ["config.json", "model.safetensors.index.json"].iter().any(|file| request.path.ends_with(file));
        let status = if exists { "200 OK\r\nETag: \"e\"" } else { "404 Not Found" };
        (format!("{status}\r\nX-Repo-Commit: {COMMIT}\r\nContent-Length: 2"), b"{}".to_vec())
    });
    fetch(&place, &[("HF_ENDPOINT", &endpoint(&sharded))])
        .failed(&["model.safetensors.index.json is not the index of a complete model", "missing field `weight_map`"]);
}

#[test]
fn truncated_or_changed_content_is_refused() {
    for (body, message) in
        [("weigh", "received 5 bytes, expected 7"), ("Weights", "has SHA-256"), ("weights!", "received 8 bytes")]
    {
        let storage = Server::start(move |_| (format!("200 OK\r\nContent-Length: {}", body.len()), body.into()));
        let (place, hub) = (Place::new(), hub(&storage));
        fetch(&place, &[("HF_ENDPOINT", &endpoint(&hub))]).failed(&["model.safetensors", message]);
        assert!(!place.exists("cache/huggingface/hub/models--me--tiny/refs"));
    }
}
