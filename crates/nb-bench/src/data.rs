//! The data path: from files to token stores.
//!
//! Files are repeated until they have at least 12 MiB, so a round takes much longer than the resolution of the clock.
//! The data path does not depend on a number format. Its results are labelled `f32` because every result has a number
//! format.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nb_checkpoint::CheckpointLocation;
use nb_data::behaviors::{BehaviorSource, Behaviors, ClickRule};
use nb_data::read::{Article, LabelRule, Source, read};
use nb_data::store::Origin as StoreOrigin;
use nb_data::{IdIndex, TokenStore, Tokenizer};
use serde_json::{Value, json};

use crate::cases::{ArticleFields, Case, CaseEntry, Corpus, Dataset, article_source, select};
use crate::context::{BenchContext, utf8};
use crate::interleave::{Measurement, run_interleaved};
use crate::memory::{peak_bytes, reset_peak};
use crate::peer::Round;
use crate::report::{OutcomeSink, Unit};
use crate::statistics::median;

/// Maximum length of a text, in tokens.
const MAX_TOKENS: usize = 64;
/// Minimum size of the files that are read.
const MIN_FILE_BYTES: usize = 12 << 20;
/// Maximum number of the most recent clicks that are read for a reader.
const MAX_HISTORY: usize = 50;

/// The work that a case measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CaseKind {
    ParseCsv,
    ParseMindNews,
    ParseBehaviors,
    Tokenise,
}

const CASES: [CaseEntry<CaseKind>; 4] = [
    entry("parse", "sample-parse", Dataset::AgNews, CaseKind::ParseCsv),
    entry("parse-mind", "sample-parse-mind", Dataset::Clicks, CaseKind::ParseMindNews),
    entry("parse-behaviors", "sample-parse-behaviors", Dataset::Clicks, CaseKind::ParseBehaviors),
    entry("tokenise", "sample-tokenise", Dataset::AgNews, CaseKind::Tokenise),
];

const fn entry(
    dataset_name: &'static str,
    sample_name: &'static str,
    dataset: Dataset,
    kind: CaseKind,
) -> CaseEntry<CaseKind> {
    CaseEntry { dataset_name, sample_name, dataset, kind }
}

/// Measures the cases with the names `wanted`, or all cases if there are none.
///
/// # Errors
/// If a name is unknown, a file cannot be read, or a peer fails.
pub(crate) fn run(context: &BenchContext, wanted: &[String], sink: OutcomeSink<'_>) -> Result<()> {
    context.check_torch_alone()?;
    for case in select(&CASES, wanted, &context.data)? {
        let bench = Bench { context, case };
        match case.kind {
            CaseKind::ParseCsv => bench.parse(&bench.csv_source()?, "csv", sink)?,
            CaseKind::ParseMindNews => bench.parse(&bench.mind_source()?, "mind", sink)?,
            CaseKind::ParseBehaviors => bench.parse_behaviors(sink)?,
            CaseKind::Tokenise => bench.tokenise(&bench.csv_source()?, sink)?,
        }
    }
    Ok(())
}

/// One case.
struct Bench<'a> {
    context: &'a BenchContext,
    case: Case<CaseKind>,
}

impl Bench<'_> {
    /// Measures reading a file of articles. `format` is the name of the file's format in the peer's job.
    fn parse(&self, source: &Source, format: &str, sink: OutcomeSink<'_>) -> Result<()> {
        let job = json!({"kind": format, "path": utf8(&source.path)?});
        self.read_rows(&source.path, &job, &|| Ok(read(source)?.articles.len()), sink)
    }

    /// Measures reading impressions.
    fn parse_behaviors(&self, sink: OutcomeSink<'_>) -> Result<()> {
        let log = self.context.corpora.impressions(self.case.corpus).train;
        let path = self.enlarged(&log)?;
        let news = article_source(Corpus::Sample, log.with_file_name("news.tsv"), ArticleFields::Title);
        let articles = read(&Source { labels: LabelRule::Optional, ..news })?.articles;
        let ids: Vec<&str> = articles.iter().filter_map(|article| article.id.as_deref()).collect();
        let index = IdIndex::new(ids.iter().map(|&id| Some(id)));
        let source = BehaviorSource {
            path: path.clone(),
            history: MAX_HISTORY,
            clicks: ClickRule::Required,
            allowed_unusable: Source::ALLOWED_UNUSABLE,
        };
        let job = json!({"kind": "behaviors", "path": utf8(&path)?, "ids": ids, "history": MAX_HISTORY});
        self.read_rows(&path, &job, &|| Ok(Behaviors::read(&source, &index)?.len()), sink)
    }

    /// Measures rounds of `read`, which reads the file at `path` and returns its number of rows.
    fn read_rows(
        &self,
        path: &Path,
        job: &Value,
        read: &dyn Fn() -> Result<usize>,
        sink: OutcomeSink<'_>,
    ) -> Result<()> {
        let measurement = self.measurement(Unit::Rows);
        let peers = self.context.start_peers("data.py", job, &self.modes("python"))?;
        read()?; // warms the page cache for every side
        reset_peak();
        let mut round = || {
            let begin = Instant::now();
            let sequences = read()? as u64;
            let seconds = begin.elapsed().as_secs_f64();
            Ok(Round { seconds, sequences, tokens: 0, peak_bytes: peak_bytes(), latencies: Vec::new() })
        };
        let rounds = run_interleaved(&measurement, self.context.rounds, &mut round, peers)?;
        let megabytes = fs::metadata(path)?.len() as f64 / 1e6;
        let speed = megabytes / rounds.median_seconds();
        let mut outcome = rounds.outcome(&measurement);
        outcome.details.megabytes_per_second = Some(speed);
        sink(outcome);
        Ok(())
    }

    /// Measures building a token store from a file, and opening the existing store.
    fn tokenise(&self, source: &Source, sink: OutcomeSink<'_>) -> Result<()> {
        let measurement = self.measurement(Unit::Texts);
        let folder = self.context.teacher.parse::<CheckpointLocation>()?.resolve()?;
        let tokenizer = Tokenizer::from_folder(&folder)?;
        let cache = self.context.scratch_path("stores");
        let job = json!({
            "kind": "tokenise", "path": utf8(&source.path)?, "max_tokens": MAX_TOKENS,
            "tokenizer": tokenizer_file(&folder)?, "store": utf8(&self.context.scratch_path("store.npz"))?,
        });
        let peers = self.context.start_peers("data.py", &job, &self.modes("tokenizers"))?;
        let mut reopened_ms = Vec::new();
        let mut round = || {
            let begin = Instant::now();
            let store = TokenStore::open_or_build(&cache, source, &tokenizer, MAX_TOKENS)?;
            let seconds = begin.elapsed().as_secs_f64();
            ensure!(*store.origin() == StoreOrigin::Built, "the token store existed before the round");
            let begin = Instant::now();
            let reopened = TokenStore::open_or_build(&cache, source, &tokenizer, MAX_TOKENS)?;
            reopened_ms.push(1e3 * begin.elapsed().as_secs_f64());
            ensure!(*reopened.origin() == StoreOrigin::Found, "the token store was rebuilt, expected it to be reused");
            let (sequences, tokens) = (store.len() as u64, store.token_count());
            fs::remove_file(store.path()).with_context(|| format!("cannot remove {}", store.path().display()))?;
            Ok(Round { seconds, sequences, tokens, peak_bytes: peak_bytes(), latencies: Vec::new() })
        };
        round()?; // warm-up
        reset_peak();
        let rounds = run_interleaved(&measurement, self.context.rounds, &mut round, peers)?;
        let mut outcome = rounds.outcome(&measurement);
        outcome.details.second_start_ms = Some(median(&reopened_ms));
        sink(outcome);
        Ok(())
    }

    fn measurement(&self, unit: Unit) -> Measurement<'_> {
        Measurement { bench: "data", case: self.case.name, precision: "f32", unit }
    }

    /// Returns the mode of the peer, or no mode if there is no peer to compare with.
    fn modes<'a>(&self, mode: &'a str) -> Vec<&'a str> {
        if self.context.against.is_empty() { Vec::new() } else { vec![mode] }
    }

    /// Returns the training articles as a large CSV file with label, title and description.
    fn csv_source(&self) -> Result<Source> {
        Ok(article_source(Corpus::Dataset, self.csv_file()?, ArticleFields::TitleAndAbstract))
    }

    /// Returns the training articles as a large file in MIND's format.
    fn mind_source(&self) -> Result<Source> {
        let path = self.context.corpora.impressions(self.case.corpus).train.with_file_name("news.tsv");
        // The sample corpus has MIND's columns too.
        let source = article_source(Corpus::Sample, self.enlarged(&path)?, ArticleFields::TitleAndAbstract);
        Ok(Source { labels: LabelRule::Optional, ..source })
    }

    fn csv_file(&self) -> Result<PathBuf> {
        let path = self.context.corpora.articles(self.case.corpus).train;
        if self.case.corpus == Corpus::Dataset {
            return self.enlarged(&path);
        }
        let articles = read(&article_source(self.case.corpus, path, ArticleFields::TitleAndAbstract))?.articles;
        let csv = self.context.scratch_path("sample.csv");
        fs::write(&csv, articles.iter().map(csv_record).collect::<String>())
            .with_context(|| format!("cannot write {}", csv.display()))?;
        self.enlarged(&csv)
    }

    /// Writes a copy of a file that repeats it up to [`MIN_FILE_BYTES`], and returns its path.
    fn enlarged(&self, path: &Path) -> Result<PathBuf> {
        let mut text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        if !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        let name = path.file_name().context("a path without a file name")?;
        let large = self.context.scratch_folder("large")?.join(name);
        fs::write(&large, text.repeat(MIN_FILE_BYTES.div_ceil(text.len())))
            .with_context(|| format!("cannot write {}", large.display()))?;
        Ok(large)
    }
}

/// Returns an article as a CSV record (RFC 4180).
fn csv_record(article: &Article) -> String {
    let quoted = |text: Option<&str>| format!("\"{}\"", text.unwrap_or_default().replace('"', "\"\""));
    let Article { label, first, second, .. } = article;
    format!("{},{},{}\n", quoted(label.as_deref()), quoted(Some(first)), quoted(second.as_deref()))
}

/// Returns the file from which the peer builds its tokenizer.
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
        let (label, first) = (Some("sports".into()), "A \"win\", late".into());
        let article = Article { line: 1, label, first, ..Article::default() };
        assert_eq!(csv_record(&article), "\"sports\",\"A \"\"win\"\", late\",\"\"\n");
    }
}
