//! Inference as `nb predict` does it: from texts to probabilities on the host, including tokenisation.
//!
//! The untrained teacher and student of a run are saved like the best models of a run, and loaded as `nb predict` loads
//! them. Their predictions are useless, but take as long as the predictions of trained models. Loading and the first
//! calls are not timed.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use nb_data::Tokenizer;
use nb_data::read::{Article, read};
use nb_model::Precision;
use nb_train::config::RunConfig;
use nb_train::inference::{SavedModel, WINDOW};
use nb_train::model::{Models, Role};
use nb_train::plan::Plan;
use nb_train::task::{AllTasks, Task, TaskList, Topic};
use serde_json::{Value, json};

use crate::cases::{ArticleFields, Case, CaseEntry, Corpus, Dataset, article_source, select};
use crate::context::{BenchContext, utf8};
use crate::device::{self, precision_name};
use crate::interleave::{Measurement, run_interleaved};
use crate::memory::{peak_bytes, reset_peak};
use crate::options::PeerLibrary;
use crate::peer::Round;
use crate::report::{OutcomeSink, Unit};
use crate::run_config::{CaseRun, CaseTask};

/// Maximum length of a text, in tokens.
const MAX_TOKENS: usize = 64;
/// Number of titles in a round of single calls.
const SINGLE_CALLS: usize = 200;
/// Number of texts that every side predicts before the first round.
const WARM_UP_TEXTS: usize = 64;

/// The number of texts per call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Batching {
    /// One title per call.
    Single,
    /// Many texts per call, in batches of similar length.
    Bulk,
}

impl Batching {
    /// Returns its name in the job of a peer.
    fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Bulk => "bulk",
        }
    }
}

/// The work that a case measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CaseKind {
    batching: Batching,
    /// The model that predicts.
    role: Role,
}

const CASES: [CaseEntry<CaseKind>; 4] = [
    entry("one-title", "sample-one-title", Batching::Single, Role::Student),
    entry("bulk-64", "sample-bulk-64", Batching::Bulk, Role::Student),
    entry("one-title-teacher", "sample-one-title-teacher", Batching::Single, Role::Teacher),
    entry("bulk-64-teacher", "sample-bulk-64-teacher", Batching::Bulk, Role::Teacher),
];

const fn entry(
    dataset_name: &'static str,
    sample_name: &'static str,
    batching: Batching,
    role: Role,
) -> CaseEntry<CaseKind> {
    CaseEntry { dataset_name, sample_name, dataset: Dataset::AgNews, kind: CaseKind { batching, role } }
}

/// Measures the cases with the names `wanted`, or all cases if there are none.
///
/// # Errors
/// If a name is unknown, a model or text cannot be read, or a peer fails.
pub(crate) fn run(context: &BenchContext, wanted: &[String], sink: OutcomeSink<'_>) -> Result<()> {
    for case in select(&CASES, wanted, &context.data)? {
        let plan = Plan::new(config(context, case.corpus)?, AllTasks::KINDS)?;
        let folder = save_model(context, &plan, case.kind.role)?;
        for &precision in &context.precisions {
            let precision = nb_train::plan::precision(precision);
            Bench { context, case, plan: &plan, folder: &folder, precision }.run(sink)?;
        }
    }
    Ok(())
}

/// Returns the configuration of a run with these models.
fn config(context: &BenchContext, corpus: Corpus) -> Result<RunConfig> {
    let run = CaseRun {
        name: "infer",
        task: CaseTask::Topic,
        corpus,
        fields: ArticleFields::TitleAndAbstract,
        max_tokens: MAX_TOKENS,
        layers: context.layers,
    };
    Ok(serde_json::from_value(run.config(context)?)?)
}

/// Saves an untrained model of the run and returns its folder.
fn save_model(context: &BenchContext, plan: &Plan, role: Role) -> Result<PathBuf> {
    let topic_plan = plan.data.task.downcast().context("the plan is not for topics")?;
    let task = Topic::open(plan, topic_plan)?;
    let models = Models::build(plan, &task)?;
    let (_, model) = models.named().find(|(named, _)| *named == role).context("the method has no such model")?;
    let folder = context.scratch_folder(role.name())?;
    model.bert.save(&folder)?;
    task.save(&model.head, &folder)?;
    Ok(folder)
}

/// One case in one number format.
struct Bench<'a> {
    context: &'a BenchContext,
    case: Case<CaseKind>,
    plan: &'a Plan,
    folder: &'a Path,
    precision: Precision,
}

impl Bench<'_> {
    fn run(&self, sink: OutcomeSink<'_>) -> Result<()> {
        let batching = self.case.kind.batching;
        let unit = match batching {
            Batching::Single => Unit::Milliseconds,
            Batching::Bulk => Unit::Texts,
        };
        let precision = precision_name(self.precision);
        let measurement = Measurement { bench: "infer", case: self.case.name, precision, unit };
        let articles = self.articles()?;
        let encoded = Tokenizer::from_folder(self.folder)?.encode_all(&articles, MAX_TOKENS)?;
        let tokens = encoded.iter().map(|text| text.ids.len() as u64).sum();
        let peers = self.context.start_peers("infer.py", &self.job(&articles)?, &self.modes())?;
        let model = SavedModel::load(self.folder, self.plan.device, self.precision)?;
        let ours = Predictor { model, articles, tokens };
        ours.predict(batching, WARM_UP_TEXTS)?;
        reset_peak();
        let rounds = run_interleaved(&measurement, self.context.rounds, &mut || ours.round(batching), peers)?;
        sink(rounds.outcome(&measurement));
        Ok(())
    }

    /// Reads the development texts; for single calls, only the first titles.
    fn articles(&self) -> Result<Vec<Article>> {
        let path = self.context.corpora.articles(self.case.corpus).dev;
        let read_fields =
            |fields| Ok::<_, anyhow::Error>(read(&article_source(self.case.corpus, path, fields))?.articles);
        match self.case.kind.batching {
            Batching::Bulk => read_fields(ArticleFields::TitleAndAbstract),
            Batching::Single => {
                let mut titles = read_fields(ArticleFields::Title)?;
                titles.truncate(SINGLE_CALLS);
                Ok(titles)
            }
        }
    }

    fn modes(&self) -> Vec<&'static str> {
        let mut modes = Vec::new();
        if self.context.compares_with(PeerLibrary::Torch) {
            modes.extend(["torch-eager", "torch-compile"]);
        }
        if self.context.compares_with(PeerLibrary::Onnx) {
            modes.push("onnx-f32");
        }
        modes
    }

    fn job(&self, articles: &[Article]) -> Result<Value> {
        let texts: Vec<_> = articles.iter().map(|article| (&article.first, &article.second)).collect();
        Ok(json!({
            "model": utf8(self.folder)?,
            "batching": self.case.kind.batching.name(),
            "texts": texts,
            "max_tokens": MAX_TOKENS,
            "warm_up": WARM_UP_TEXTS,
            "precision": precision_name(self.precision),
            "threads": self.context.threads,
            "device": device::name(self.plan.device),
            "exported": utf8(&self.context.scratch_path("model.onnx"))?,
        }))
    }
}

/// Our side: a model and the texts of a round.
struct Predictor {
    model: SavedModel,
    articles: Vec<Article>,
    /// Number of tokens in all articles.
    tokens: u64,
}

impl Predictor {
    fn round(&self, batching: Batching) -> Result<Round> {
        let begin = Instant::now();
        let latencies = self.predict(batching, self.articles.len())?;
        let seconds = begin.elapsed().as_secs_f64();
        let sequences = self.articles.len() as u64;
        Ok(Round { seconds, sequences, tokens: self.tokens, peak_bytes: peak_bytes(), latencies })
    }

    /// Predicts the first `count` texts. Returns the milliseconds of each single call; empty for bulk calls.
    fn predict(&self, batching: Batching, count: usize) -> Result<Vec<f64>> {
        let articles = &self.articles[..count.min(self.articles.len())];
        // Probabilities arrive on the host, so the clock needs no synchronisation with the device.
        match batching {
            Batching::Single => articles.iter().map(|article| self.latency(article)).collect(),
            Batching::Bulk => {
                articles.chunks(WINDOW).try_for_each(|window| self.model.probabilities(window).map(drop))?;
                Ok(Vec::new())
            }
        }
    }

    /// Predicts one text and returns the milliseconds it took.
    fn latency(&self, article: &Article) -> Result<f64> {
        let begin = Instant::now();
        self.model.probabilities(std::slice::from_ref(article))?;
        Ok(1e3 * begin.elapsed().as_secs_f64())
    }
}
