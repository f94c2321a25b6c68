//! Models at work, as `nb predict` has them: texts in, probabilities on the host out, tokenising included.
//!
//! The teacher and the student that a run would begin with are saved as a run saves its best, and loaded as `nb predict`
//! loads them: what they answer is of no use, but it takes as long. Left out: loading, and the first calls.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use nb_data::Tokenizer;
use nb_data::read::{Article, read};
use nb_model::Precision;
use nb_train::config::RunConfig;
use nb_train::inference::{SavedModel, WINDOW};
use nb_train::model::{Models, Role};
use nb_train::plan::{Plan, TaskPlan};
use nb_train::task::{Task, Topic};
use serde_json::{Value, json};

use crate::cases::{Case, Entry, Fields, Origin, Set, choose, news_source};
use crate::cli::Found;
use crate::device::{self, precision_name};
use crate::memory::{peak_bytes, reset_peak};
use crate::peer::Round;
use crate::report::Unit;
use crate::setting::{Against, Setting, text};
use crate::turns::{Work, take_turns};

/// Longest text, in tokens.
const MAX_TOKENS: usize = 64;
/// Titles of a round of single calls.
const CALLS: usize = 200;
/// Texts that both sides answer before the first round.
const WARM_UP: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// One title a call.
    One,
    /// All texts, the batches by length.
    Bulk,
}

const CASES: [Entry<(How, Role)>; 4] = [
    entry(["one-title", "sample-one-title"], How::One, Role::Student),
    entry(["bulk-64", "sample-bulk-64"], How::Bulk, Role::Student),
    entry(["one-title-teacher", "sample-one-title-teacher"], How::One, Role::Teacher),
    entry(["bulk-64-teacher", "sample-bulk-64-teacher"], How::Bulk, Role::Teacher),
];

const fn entry([real, sample]: [&'static str; 2], how: How, role: Role) -> Entry<(How, Role)> {
    Entry { real, sample, set: Set::News, what: (how, role) }
}

/// Measures the cases called `wanted`, all if none are.
///
/// # Errors
/// If there is no such case, a model or text cannot be read, or a peer fails.
pub(crate) fn run(setting: &Setting, wanted: &[String], found: Found<'_>) -> Result<()> {
    for case in choose(&CASES, wanted, &setting.data)? {
        let plan = Plan::new(config(setting, case.origin)?)?;
        let folder = model(setting, &plan, case.what.1)?;
        for &precision in &setting.precisions {
            let precision = nb_train::plan::precision(precision);
            Bench { setting, case, plan: &plan, folder: &folder, precision }.run(found)?;
        }
    }
    Ok(())
}

/// A configuration that makes the models.
fn config(setting: &Setting, origin: Origin) -> Result<RunConfig> {
    let files = setting.corpora.news(origin);
    let mut data = json!({
        "train": text(&files.train)?,
        "dev": text(&files.dev)?,
        "max_tokens": MAX_TOKENS,
        "cache": text(&setting.path("tokens"))?,
    });
    match origin {
        Origin::Real => {
            data["format"] = json!("csv");
            data["columns"] = json!({"label": 0, "text": Fields::Both.columns()});
        }
        Origin::Sample => data["format"] = json!("mind"),
    }
    let config = json!({
        "name": "infer",
        "output": text(&setting.path("run"))?,
        "device": setting.device.to_string(),
        "threads": setting.threads,
        "task": "topic",
        "data": data,
        "teacher": {"checkpoint": setting.teacher},
        "student": {"layers": setting.layers},
    });
    Ok(serde_json::from_value(config)?)
}

/// The folder of a model of a run that has not begun.
fn model(setting: &Setting, plan: &Plan, role: Role) -> Result<PathBuf> {
    let TaskPlan::Topic(files) = &plan.data.task else { unreachable!("the configuration is of topics") };
    let task = Topic::open(plan, files)?;
    let models = Models::build(plan, &task)?;
    let (_, model) = models.named().find(|(own, _)| *own == role).context("the method lacks a model")?;
    let folder = setting.folder(role.name())?;
    model.bert.save(&folder)?;
    task.save(&model.head, &folder)?;
    Ok(folder)
}

/// One case in one number format.
struct Bench<'a> {
    setting: &'a Setting,
    case: Case<(How, Role)>,
    plan: &'a Plan,
    folder: &'a Path,
    precision: Precision,
}

impl Bench<'_> {
    fn run(&self, found: Found<'_>) -> Result<()> {
        let (how, _) = self.case.what;
        let unit = if how == How::One { Unit::Milliseconds } else { Unit::Texts };
        let precision = precision_name(self.precision);
        let work = Work { bench: "infer", case: self.case.name, precision, unit };
        let articles = self.articles()?;
        let tokens = Tokenizer::from_folder(self.folder)?.encode_all(&articles, MAX_TOKENS)?;
        let tokens = tokens.iter().map(|tokens| tokens.ids.len() as u64).sum();
        let peers = self.setting.peers("infer.py", &self.job(&articles)?, &self.modes())?;
        let ours = Ours { model: SavedModel::load(self.folder, self.plan.device, self.precision)?, articles, tokens };
        ours.work(how, WARM_UP)?;
        reset_peak();
        let turns = take_turns(&work, self.setting.rounds, &mut || ours.round(how), peers)?;
        found(&turns.outcome(&work));
        Ok(())
    }

    /// The development texts; of those that are answered one by one the first titles.
    fn articles(&self) -> Result<Vec<Article>> {
        let (how, _) = self.case.what;
        let fields = if how == How::One { Fields::Title } else { Fields::Both };
        let path = self.setting.corpora.news(self.case.origin).dev;
        let mut articles = read(&news_source(self.case.origin, path, fields))?.articles;
        if how == How::One {
            articles.truncate(CALLS);
        }
        Ok(articles)
    }

    fn modes(&self) -> Vec<&'static str> {
        let mut modes = Vec::new();
        if self.setting.is_against(Against::Torch) {
            modes.extend(["torch-eager", "torch-compile"]);
        }
        if self.setting.is_against(Against::Onnx) {
            modes.push("onnx-f32");
        }
        modes
    }

    fn job(&self, articles: &[Article]) -> Result<Value> {
        let texts: Vec<_> = articles.iter().map(|article| (&article.first, &article.second)).collect();
        Ok(json!({
            "model": text(self.folder)?,
            "how": if self.case.what.0 == How::One { "one" } else { "bulk" },
            "texts": texts,
            "max_tokens": MAX_TOKENS,
            "warm_up": WARM_UP,
            "precision": precision_name(self.precision),
            "threads": self.setting.threads,
            "device": device::name(self.plan.device),
            "exported": text(&self.setting.path("model.onnx"))?,
        }))
    }
}

/// Our side.
struct Ours {
    model: SavedModel,
    articles: Vec<Article>,
    /// Of all articles.
    tokens: u64,
}

impl Ours {
    fn round(&self, how: How) -> Result<Round> {
        let begin = Instant::now();
        let latencies = self.work(how, self.articles.len())?;
        let seconds = begin.elapsed().as_secs_f64();
        let sequences = self.articles.len() as u64;
        Ok(Round { seconds, sequences, tokens: self.tokens, peak_bytes: peak_bytes(), latencies })
    }

    /// Answers the first `count` texts; in single calls it gives the milliseconds of each.
    fn work(&self, how: How, count: usize) -> Result<Vec<f64>> {
        let articles = &self.articles[..count.min(self.articles.len())];
        // What comes out is on the host, so that no clock needs to wait for the device.
        match how {
            How::One => {
                let one = |article| {
                    let begin = Instant::now();
                    self.model.probabilities(std::slice::from_ref(article))?;
                    Ok(1e3 * begin.elapsed().as_secs_f64())
                };
                articles.iter().map(one).collect()
            }
            How::Bulk => {
                articles.chunks(WINDOW).try_for_each(|window| self.model.probabilities(window).map(drop))?;
                Ok(Vec::new())
            }
        }
    }
}
