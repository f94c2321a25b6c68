//! The way from files to token stores.
//!
//! Files are repeated until they are a few megabytes, so that a round takes longer than a clock's noise. Number formats have
//! no say here; results carry `f32`, so that every result has one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nb_checkpoint::CheckpointLocation;
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule};
use nb_data::read::{Article, LabelRule, Source, read};
use nb_data::store::Origin as Store;
use nb_data::{IdIndex, TokenStore, Tokenizer};
use serde_json::{Value, json};

use crate::cases::{Case, Entry, Fields, Origin, Set, choose, news_source};
use crate::cli::Found;
use crate::memory::{peak_bytes, reset_peak};
use crate::peer::Round;
use crate::report::Unit;
use crate::setting::{Against, Setting, text};
use crate::statistics::median;
use crate::turns::{Work, take_turns};

/// Longest text, in tokens.
const MAX_TOKENS: usize = 64;
/// Size that files are brought to, at least.
const BYTES: usize = 12 << 20;
/// Most recent clicks of a reader that are read.
const HISTORY: usize = 50;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Csv,
    Mind,
    Behaviors,
    Tokenise,
}

const CASES: [Entry<What>; 4] = [
    Entry { real: "parse", sample: "sample-parse", set: Set::News, what: What::Csv },
    Entry { real: "parse-mind", sample: "sample-parse-mind", set: Set::Clicks, what: What::Mind },
    Entry { real: "parse-behaviors", sample: "sample-parse-behaviors", set: Set::Clicks, what: What::Behaviors },
    Entry { real: "tokenise", sample: "sample-tokenise", set: Set::News, what: What::Tokenise },
];

/// Measures the cases called `wanted`, all if none are.
///
/// # Errors
/// If there is no such case, a file cannot be read, or a peer fails.
pub(crate) fn run(setting: &Setting, wanted: &[String], found: Found<'_>) -> Result<()> {
    if setting.is_against(Against::Onnx) {
        bail!("--against onnx is for infer: onnxruntime does not read texts");
    }
    for case in choose(&CASES, wanted, &setting.data)? {
        let bench = Bench { setting, case };
        match case.what {
            What::Csv => bench.parse(&news_source(Origin::Real, bench.csv()?, Fields::Both), found)?,
            What::Mind => {
                let path = bench.repeated(&setting.corpora.clicks(case.origin).train.with_file_name("news.tsv"))?;
                let source = news_source(Origin::Sample, path, Fields::Both); // MIND's columns, as the sample has them
                bench.parse(&Source { labels: LabelRule::Optional, ..source }, found)?;
            }
            What::Behaviors => bench.behaviors(found)?,
            What::Tokenise => bench.tokenise(&news_source(Origin::Real, bench.csv()?, Fields::Both), found)?,
        }
    }
    Ok(())
}

/// One case.
struct Bench<'a> {
    setting: &'a Setting,
    case: Case<What>,
}

impl Bench<'_> {
    /// Reading a file of news.
    fn parse(&self, source: &Source, found: Found<'_>) -> Result<()> {
        let what = if self.case.what == What::Csv { "csv" } else { "mind" };
        let job = json!({"what": what, "path": text(&source.path)?});
        self.read(&source.path, &job, &|| Ok(read(source)?.articles.len()), found)
    }

    /// Reading impressions.
    fn behaviors(&self, found: Found<'_>) -> Result<()> {
        let log = self.setting.corpora.clicks(self.case.origin).train;
        let path = self.repeated(&log)?;
        let news = news_source(Origin::Sample, log.with_file_name("news.tsv"), Fields::Title);
        let articles = read(&Source { labels: LabelRule::Optional, ..news })?.articles;
        let ids: Vec<&str> = articles.iter().filter_map(|article| article.id.as_deref()).collect();
        let index = IdIndex::new(ids.iter().map(|&id| Some(id)));
        let source = BehaviorSource {
            path: path.clone(),
            history: HISTORY,
            clicks: ClickRule::Required,
            allowed_unusable: Source::ALLOWED_UNUSABLE,
        };
        let job = json!({"what": "behaviors", "path": text(&path)?, "news": ids, "history": HISTORY});
        self.read(&path, &job, &|| Ok(Behaviors::read(&source, &index)?.len()), found)
    }

    /// Rounds of reading one file, which has `rows` rows each time.
    fn read(&self, path: &Path, job: &Value, rows: &dyn Fn() -> Result<usize>, found: Found<'_>) -> Result<()> {
        let work = self.work(Unit::Rows);
        let peers = self.setting.peers("data.py", job, &self.modes("python"))?;
        rows()?; // the page cache is warm for both
        reset_peak();
        let mut round = || {
            let begin = Instant::now();
            let sequences = rows()? as u64;
            let seconds = begin.elapsed().as_secs_f64();
            Ok(Round { seconds, sequences, tokens: 0, peak_bytes: peak_bytes(), latencies: Vec::new() })
        };
        let turns = take_turns(&work, self.setting.rounds, &mut round, peers)?;
        let megabytes = fs::metadata(path)?.len() as f64 / 1e6;
        let speed = megabytes / turns.seconds();
        let mut outcome = turns.outcome(&work);
        outcome.details.insert("megabytes_per_second".to_owned(), json!(speed));
        found(&outcome);
        Ok(())
    }

    /// From a file to a token store, and how long a second start takes that finds it.
    fn tokenise(&self, source: &Source, found: Found<'_>) -> Result<()> {
        let work = self.work(Unit::Texts);
        let folder = self.setting.teacher.parse::<CheckpointLocation>()?.resolve()?;
        let tokenizer = Tokenizer::from_folder(&folder)?;
        let cache = self.setting.path("stores");
        let open = || TokenStore::open_or_build(&cache, source, &tokenizer, MAX_TOKENS);
        let job = json!({
            "what": "tokenise", "path": text(&source.path)?, "max_tokens": MAX_TOKENS,
            "tokenizer": tokenizer_file(&folder)?, "store": text(&self.setting.path("store.npz"))?,
        });
        let peers = self.setting.peers("data.py", &job, &self.modes("tokenizers"))?;
        let mut second = Vec::new();
        let mut round = || {
            let begin = Instant::now();
            let store = open()?;
            let seconds = begin.elapsed().as_secs_f64();
            ensure!(*store.origin() == Store::Built, "the token store was there already");
            let begin = Instant::now();
            let again = open()?;
            second.push(1e3 * begin.elapsed().as_secs_f64());
            ensure!(*again.origin() == Store::Found, "a second start did not find the token store");
            let (sequences, tokens) = (store.len() as u64, store.token_count());
            fs::remove_file(store.path()).with_context(|| format!("cannot remove {}", store.path().display()))?;
            Ok(Round { seconds, sequences, tokens, peak_bytes: peak_bytes(), latencies: Vec::new() })
        };
        round()?; // warm-up
        reset_peak();
        let turns = take_turns(&work, self.setting.rounds, &mut round, peers)?;
        let mut outcome = turns.outcome(&work);
        outcome.details.insert("second_start_ms".to_owned(), json!(median(&second)));
        found(&outcome);
        Ok(())
    }

    fn work(&self, unit: Unit) -> Work<'_> {
        Work { bench: "data", case: self.case.name, precision: "f32", unit }
    }

    fn modes<'a>(&self, mode: &'a str) -> Vec<&'a str> {
        if self.setting.is_against(Against::Torch) { vec![mode] } else { Vec::new() }
    }

    /// The training texts as one large CSV file: label, title, description.
    fn csv(&self) -> Result<PathBuf> {
        let path = self.setting.corpora.news(self.case.origin).train;
        if self.case.origin == Origin::Real {
            return self.repeated(&path);
        }
        let articles = read(&news_source(self.case.origin, path, Fields::Both))?.articles;
        let written = self.setting.path("sample.csv");
        fs::write(&written, articles.iter().map(record).collect::<String>())
            .with_context(|| format!("cannot write {}", written.display()))?;
        self.repeated(&written)
    }

    /// A file as often as it takes to be large.
    fn repeated(&self, path: &Path) -> Result<PathBuf> {
        let mut text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        let name = path.file_name().context("a path without a name")?;
        let large = self.setting.folder("large")?.join(name);
        fs::write(&large, text.repeat(BYTES.div_ceil(text.len())))
            .with_context(|| format!("cannot write {}", large.display()))?;
        Ok(large)
    }
}

/// A record as RFC 4180 has it.
fn record(article: &Article) -> String {
    let quoted = |text: Option<&str>| format!("\"{}\"", text.unwrap_or_default().replace('"', "\"\""));
    let Article { label, first, second, .. } = article;
    format!("{},{},{}\n", quoted(label.as_deref()), quoted(Some(first)), quoted(second.as_deref()))
}

/// The file that the peer's tokenizer is made of.
fn tokenizer_file(folder: &Path) -> Result<PathBuf> {
    let folder = std::path::absolute(folder)?;
    let files = ["tokenizer.json", "vocab.txt"].map(|name| folder.join(name));
    let found = files.into_iter().find(|file| file.is_file());
    found.with_context(|| format!("{} has neither tokenizer.json nor vocab.txt", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_in_a_field_are_doubled() {
        let article =
            Article { line: 1, id: None, label: Some("sports".into()), first: "A \"win\", late".into(), second: None };
        assert_eq!(record(&article), "\"sports\",\"A \"\"win\"\", late\",\"\"\n");
    }
}
