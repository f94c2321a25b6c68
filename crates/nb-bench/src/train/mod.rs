//! Training steps: what a run does between two lines of its log, data path included.
//!
//! A round makes a fixed number of steps over the same batches, the first ones of epoch 0. Left out: reading files, loading
//! models, and three steps of warm-up.

mod job;
mod ours;

use std::num::NonZeroU16;

use anyhow::{Result, bail};
use nb_train::config::{PrecisionChoice, RunConfig};
use nb_train::plan::{Plan, TaskPlan};
use nb_train::task::{Recommend, Topic};
use serde_json::{Value, json};

use crate::cases::{Case, Entry, Fields, Origin, Set, choose};
use crate::cli::Found;
use crate::device::precision_name;
use crate::peak::Peak;
use crate::report::Unit;
use crate::setting::{Against, Setting, text};
use crate::turns::{Work, take_turns};
use job::Exported;
use ours::Trainer;

/// How much a round is.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Steps {
    /// Steps of a round [default: 8, of finetune and titles 16]
    #[arg(long, value_name = "N")]
    steps: Option<NonZeroU16>,
    /// Texts or clicks of a step [default: 32, of clicks 16]
    #[arg(long, value_name = "N")]
    batch: Option<NonZeroU16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Texts,
    Titles,
    Clicks,
    ClicksFinetune,
}

/// The peers of [`Against::Torch`].
const TORCH: [&str; 4] = ["torch-eager", "torch-eager-bucketed", "torch-compile", "torch-compile-bucketed"];

const CASES: [Entry<What>; 4] = [
    Entry { real: "ag-64", sample: "sample-64", set: Set::News, what: What::Texts },
    Entry { real: "ag-titles", sample: "sample-titles", set: Set::News, what: What::Titles },
    Entry { real: "clicks-titles", sample: "sample-clicks", set: Set::Clicks, what: What::Clicks },
    Entry {
        real: "clicks-titles-finetune",
        sample: "sample-clicks-finetune",
        set: Set::Clicks,
        what: What::ClicksFinetune,
    },
];

/// Measures the cases called `wanted`, all if none are.
///
/// # Errors
/// If there is no such case, a model or text cannot be read, or a peer fails.
pub(crate) fn run(setting: &Setting, wanted: &[String], steps: Steps, found: Found<'_>) -> Result<()> {
    if setting.is_against(Against::Onnx) {
        bail!("--against onnx is for infer: onnxruntime does not train");
    }
    for case in choose(&CASES, wanted, &setting.data)? {
        for &precision in &setting.precisions {
            let plan = Plan::new(config(setting, case, precision, steps)?)?;
            let bench = Bench { setting, case, plan: &plan, steps: case.what.steps(steps) };
            match &plan.data.task {
                TaskPlan::Topic(files) => bench.run(&Topic::open(&plan, files)?, found)?,
                TaskPlan::Recommend(files) => bench.run(&Recommend::open(&plan, files)?, found)?,
                TaskPlan::Retrieve(_) => unreachable!("no case retrieves"),
            }
        }
    }
    Ok(())
}

impl What {
    /// So many that a round takes some seconds on two cores.
    fn steps(self, asked: Steps) -> usize {
        let usual = if matches!(self, Self::Texts | Self::Clicks) { 8 } else { 16 };
        asked.steps.map_or(usual, |steps| usize::from(steps.get()))
    }

    fn unit(self) -> Unit {
        match self {
            Self::Texts | Self::Titles => Unit::Sequences,
            Self::Clicks | Self::ClicksFinetune => Unit::Samples,
        }
    }
}

/// A configuration as a user would write it.
fn config(setting: &Setting, case: Case<What>, precision: PrecisionChoice, steps: Steps) -> Result<RunConfig> {
    let (task, data) = data(setting, case)?;
    let (layers, batch) = match case.what {
        What::Texts | What::Titles => (setting.layers, 32),
        What::Clicks | What::ClicksFinetune => (1, 16),
    };
    let method = if case.what == What::ClicksFinetune { "finetune" } else { "newsbert" };
    let config = json!({
        "name": case.name,
        "output": text(&setting.path("run"))?,
        "device": setting.device.to_string(),
        "precision": precision,
        "threads": setting.threads,
        "task": task,
        "data": data,
        "teacher": {"checkpoint": setting.teacher},
        "student": {"layers": layers},
        "method": {"name": method},
        "train": {"batch": steps.batch.map_or(batch, |batch| usize::from(batch.get()))},
    });
    Ok(serde_json::from_value(config)?)
}

/// The task, and its texts.
fn data(setting: &Setting, case: Case<What>) -> Result<(&'static str, Value)> {
    let clicks = matches!(case.what, What::Clicks | What::ClicksFinetune);
    let (fields, max_tokens) = if case.what == What::Texts { (Fields::Both, 64) } else { (Fields::Title, 32) };
    let files = if clicks { setting.corpora.clicks(case.origin) } else { setting.corpora.news(case.origin) };
    let mut data = json!({
        "train": text(&files.train)?,
        "dev": text(&files.dev)?,
        "max_tokens": max_tokens,
        "cache": text(&setting.path("tokens"))?,
    });
    if clicks || case.origin == Origin::Sample {
        data["format"] = json!("mind");
        data["fields"] = json!(fields.names());
    } else {
        data["format"] = json!("csv");
        data["columns"] = json!({"label": 0, "text": fields.columns()});
    }
    if clicks {
        data["history"] = json!(20);
    }
    Ok((if clicks { "recommend" } else { "topic" }, data))
}

/// One case in one number format.
struct Bench<'a> {
    setting: &'a Setting,
    case: Case<What>,
    plan: &'a Plan,
    steps: usize,
}

impl Bench<'_> {
    fn run<K: Exported>(&self, task: &K, found: Found<'_>) -> Result<()> {
        let (setting, plan) = (self.setting, self.plan);
        let work = Work {
            bench: "train",
            case: self.case.name,
            precision: precision_name(plan.precision),
            unit: self.case.what.unit(),
        };
        let mut ours = Trainer::new(plan, task, self.steps)?;
        let modes: &[&str] = if setting.is_against(Against::Torch) { &TORCH } else { &[] };
        let peers = setting.peers("train.py", &job::job(plan, task, &ours.batches())?, modes)?;
        ours.warm_up()?;
        let peak = Peak::measure(plan.device, plan.precision, &plan.student_config, ours.tokens_per_step());
        crate::memory::reset_peak();
        let turns = take_turns(&work, setting.rounds, &mut || ours.round(work.unit), peers)?;
        let gflops = ours.operations() / turns.seconds() / 1e9;
        let phases = ours.phases()?;
        let mut outcome = turns.outcome(&work);
        for (key, value) in [
            ("gflops", json!(gflops)),
            ("peak_gflops", json!(peak.square)),
            ("peak_gflops_at_shapes", json!(peak.shapes)),
            ("share_of_peak", json!(gflops / peak.square)),
            ("share_of_peak_at_shapes", json!(gflops / peak.shapes)),
            ("phases_ms", phases),
            ("steps", json!(self.steps)),
        ] {
            outcome.details.insert(key.to_owned(), value);
        }
        found(&outcome);
        Ok(())
    }
}
