//! A temporary folder with a tiny corpus, a tokenizer and a configuration, in which `nb` runs as a user would start it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
#[cfg(unix)]
use std::time::{Duration, Instant};

use nb_data::random::Stream;
use nb_data::read::Article;
use serde_json::Value;
use tempfile::TempDir;

/// Topics with their words, in the order of the model's labels, which is alphabetical.
pub(crate) const TOPICS: [(&str, [&str; 5]); 3] = [
    ("finance", ["bank", "shares", "profit", "market", "loan"]),
    ("sports", ["goal", "match", "coach", "league", "striker"]),
    ("weather", ["rain", "storm", "snow", "wind", "clouds"]),
];
/// Words that all topics share.
const COMMON_WORDS: [&str; 6] = ["the", "in", "after", "big", "new", "today"];
pub(crate) const TRAIN_ROWS: usize = 48;
pub(crate) const DEV_ROWS: usize = 18;

/// The configuration of a run; tests change it with `--set`.
pub(crate) const CONFIG: &str = "\
name: tiny
output: runs/tiny
task: topic
device: cpu
threads: 1
data:
  format: mind
  train: train.tsv
  dev: dev.tsv
  max_tokens: 16
teacher:
  random: {layers: 4, hidden: 16, heads: 2, tokenizer: tokenizer}
student: {layers: 2}
method: {name: newsbert}
train: {epochs: 1, batch: 8, lr: 1e-3, log_every: 1}
";

/// The student of the configured run.
pub(crate) const STUDENT: &str = "runs/tiny/student";
/// The setting of the method without a teacher.
pub(crate) const FINETUNE: &str = "method.name=finetune";

/// The folder.
pub(crate) struct Place {
    home: TempDir,
}

/// The exit code and the output of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("nb writes UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Ended {
    /// Fails unless the command succeeded.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self
    }

    /// Fails unless the command exited with code 1 and an error that contains all of `parts`.
    #[track_caller]
    pub(crate) fn failed(self, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        let error = self.err.find("error: ").map_or("", |at| &self.err[at..]);
        for part in parts {
            assert!(error.contains(part), "`{part}` is not in: {}", self.err);
        }
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self
    }

    /// Parses standard output as one JSON object per line.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
    }
}

impl Place {
    /// Creates a folder with `train.tsv` and `dev.tsv` in MIND's format, `train.csv` and `dev.csv` with the same rows (label,
    /// title, abstract), `tokenizer/vocab.txt` and `tiny.yaml`.
    pub(crate) fn new() -> Self {
        let place = Self { home: TempDir::new().unwrap() };
        for (name, rows, seed) in [("train", TRAIN_ROWS, 1), ("dev", DEV_ROWS, 2)] {
            let articles = articles(rows, seed);
            place.write(&format!("{name}.tsv"), mind(&articles));
            let csv = articles.iter().map(|[label, title, body]| format!("{label},\"{title}\",\"{body}\"\n"));
            place.write(&format!("{name}.csv"), csv.collect::<String>());
        }
        place.write("tokenizer/vocab.txt", vocabulary());
        place.write("tiny.yaml", CONFIG);
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Writes a file; creates its folder if it is missing.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    pub(crate) fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    /// Reads the summary of a run.
    #[track_caller]
    pub(crate) fn summary(&self, run: &str) -> Value {
        self.json(&format!("{run}/summary.json"))
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// Returns the names in a folder.
    pub(crate) fn names(&self, folder: &str) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap_or_else(|e| panic!("{folder}: {e}"));
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Returns `nb` in this folder, isolated from the caches and settings of the user.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nb-under-test"));
        self.configure(&mut command);
        command
    }

    /// Sets the folder and the environment of a command.
    pub(crate) fn configure(&self, command: &mut Command) {
        command.current_dir(self.home.path()).env("HOME", self.path("home")).env("XDG_CACHE_HOME", self.path("cache"));
        for name in [
            "NB_LOG",
            "HF_HOME",
            "HF_HUB_CACHE",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN",
            "HF_HUB_OFFLINE",
            "HF_TOKEN",
            "HF_TOKEN_PATH",
            "HF_ENDPOINT",
            "HUGGINGFACE_HUB_CACHE",
            "HUGGING_FACE_HUB_TOKEN",
            "TRANSFORMERS_OFFLINE",
            "RUST_BACKTRACE",
            "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
            "LRU_CACHE_CAPACITY",
            "TORCH_CPP_LOG_LEVEL",
        ] {
            command.env_remove(name);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    }

    /// Runs `nb` with these arguments.
    pub(crate) fn nb(&self, arguments: &[&str]) -> Ended {
        self.command().args(arguments).output().unwrap().into()
    }

    /// Runs `nb` with `input` on its standard input.
    pub(crate) fn nb_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut child = self.command().args(arguments).stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap().into()
    }

    /// Runs `nb train` with `tiny.yaml` and these `--set`s.
    pub(crate) fn train(&self, sets: &[&str]) -> Ended {
        self.command().args(train_arguments(sets)).output().unwrap().into()
    }
}

/// Returns `train --config tiny.yaml --set …`.
pub(crate) fn train_arguments(sets: &[&str]) -> Vec<String> {
    let sets = sets.iter().flat_map(|set| ["--set".to_owned(), (*set).to_owned()]);
    ["train", "--config", "tiny.yaml"].map(str::to_owned).into_iter().chain(sets).collect()
}

/// Runs `nb` with files limited to `kilobytes`, which fails like a full disk: a write in the middle of a file.
#[cfg(target_os = "linux")]
pub(crate) fn with_file_limit(place: &Place, kilobytes: u32, arguments: &[String]) -> Ended {
    // POSIX counts blocks of 512 bytes. Without the trap, a signal would end the process.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", 2 * kilobytes);
    let mut command = Command::new("sh");
    place.configure(&mut command);
    command.args(["-c", &script, env!("CARGO_BIN_EXE_nb-under-test")]).args(arguments);
    command.output().unwrap().into()
}

/// Formats articles as MIND's `news.tsv`, with the ids `N0`, `N1` and so on.
pub(crate) fn mind(articles: &[[String; 3]]) -> String {
    let row = |(i, [label, title, body]): (usize, &[String; 3])| {
        format!("N{i}\t{label}\tall\t{title}\t{body}\thttps://example.org/{i}\t[]\t[]\n")
    };
    articles.iter().enumerate().map(row).collect()
}

/// Returns rows of label, title and abstract, which cycle through the topics.
pub(crate) fn articles(rows: usize, seed: u64) -> Vec<[String; 3]> {
    let mut stream = Stream::new(seed);
    let mut text = |words: &[&str], n: usize| {
        let mut text = String::new();
        for i in 0..n {
            let word = if i % 2 == 0 { stream.choose(words) } else { stream.choose(&COMMON_WORDS[..]) };
            write!(text, "{}{word}", if i == 0 { "" } else { " " }).unwrap();
        }
        text
    };
    (0..rows)
        .map(|i| {
            let (label, words) = TOPICS[i % TOPICS.len()];
            [label.to_owned(), text(&words, 3 + i % 3), text(&words, 4 + i % 5)]
        })
        .collect()
}

/// Returns a vocabulary with the words of the corpus, one token per line.
fn vocabulary() -> String {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
    let words = TOPICS.iter().flat_map(|(_, words)| words);
    special.iter().chain(words).chain(&COMMON_WORDS).map(|token| format!("{token}\n")).collect()
}

/// Reads the tensors of a safetensors file by name.
pub(crate) fn tensors(path: &Path) -> Vec<(String, tch::Tensor)> {
    nb_model::read_tensors(path).unwrap_or_else(|e| panic!("{e}")).into_iter().collect()
}

/// Returns an article as a command reads it.
pub(crate) fn article(first: &str, second: Option<&str>) -> Article {
    Article { line: 1, first: first.to_owned(), second: second.map(str::to_owned), ..Article::default() }
}

/// Waits until `done`; fails after two minutes.
#[cfg(unix)]
#[track_caller]
pub(crate) fn wait_until(event: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(120), "timeout while waiting for {event}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Fails unless two evaluations agree in the number of rows, under the key `rows`, and in each metric.
#[track_caller]
pub(crate) fn assert_same_metrics(found: &Value, expected: &Value, rows: &str, metrics: &[&str]) {
    assert_eq!(found[rows], expected[rows]);
    for &metric in metrics {
        let difference = found[metric].as_f64().unwrap() - expected[metric].as_f64().unwrap();
        assert!(difference.abs() < 1e-6, "{metric}: {found}, expected {expected}");
    }
}

/// Fails unless a metric lies within its confidence interval, and the interval between 0 and 1.
#[track_caller]
pub(crate) fn assert_within_interval(evaluation: &Value, metric: &str) {
    let value = evaluation[metric].as_f64().unwrap();
    let [low, high] = [0, 1].map(|end| evaluation["intervals"][metric][end].as_f64().unwrap());
    assert!(0.0 <= low && low <= value && value <= high && high <= 1.0, "{evaluation}");
}
