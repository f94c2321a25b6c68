//! Training steps: the work of a run between two lines of its log, including the data path.
//!
//! A round runs a fixed number of steps over the same batches, the first batches of epoch 0. Reading files, loading
//! models and three warm-up steps are not timed.

mod job;
mod ours;

use std::num::NonZeroU16;

use anyhow::{Context, Result, bail};
use nb_train::config::{PrecisionChoice, RunConfig};
use nb_train::plan::Plan;
use nb_train::task::{AllTasks, Recommend, RecommendPlan, Task, TaskList, Topic, TopicPlan};
use serde_json::json;

use crate::cases::{ArticleFields, Case, CaseEntry, Dataset, select};
use crate::context::BenchContext;
use crate::details::TrainingDetails;
use crate::device::precision_name;
use crate::interleave::{Measurement, run_interleaved};
use crate::peak::PeakRates;
use crate::report::{OutcomeSink, Unit};
use crate::run_config::{CaseRun, CaseTask};
use job::ExportBatch;
use ours::Trainer;

/// The size of a round.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct StepOptions {
    /// Steps per round [default: 8; 16 for titles and fine-tuning]
    #[arg(long, value_name = "N")]
    steps: Option<NonZeroU16>,
    /// Texts or clicks per step [default: 32 texts, 16 clicks]
    #[arg(long, value_name = "N")]
    batch: Option<NonZeroU16>,
}

/// The work that a case measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CaseKind {
    Texts,
    Titles,
    Clicks,
    ClicksFinetune,
}

/// The peer modes of PyTorch.
const TORCH_MODES: [&str; 4] = ["torch-eager", "torch-eager-bucketed", "torch-compile", "torch-compile-bucketed"];

const CASES: [CaseEntry<CaseKind>; 4] = [
    entry("ag-64", "sample-64", Dataset::AgNews, CaseKind::Texts),
    entry("ag-titles", "sample-titles", Dataset::AgNews, CaseKind::Titles),
    entry("clicks-titles", "sample-clicks", Dataset::Clicks, CaseKind::Clicks),
    entry("clicks-titles-finetune", "sample-clicks-finetune", Dataset::Clicks, CaseKind::ClicksFinetune),
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
/// If a name is unknown, a model or text cannot be read, or a peer fails.
pub(crate) fn run(
    context: &BenchContext,
    wanted: &[String],
    options: StepOptions,
    sink: OutcomeSink<'_>,
) -> Result<()> {
    context.check_torch_alone()?;
    let precisions = context.formats.iter().map(|format| {
        format
            .of_training()
            .with_context(|| format!("--precision {} is for infer, expected f32, bf16 or both", format.name()))
    });
    let precisions = precisions.collect::<Result<Vec<_>>>()?;
    for case in select(&CASES, wanted, &context.data)? {
        for &precision in &precisions {
            let plan = Plan::new(config(context, case, precision, options)?, AllTasks::KINDS)?;
            let bench = Bench { context, case, plan: &plan, steps: case.kind.steps(options) };
            if let Some(topic) = plan.data.task.downcast::<TopicPlan>() {
                bench.run(&Topic::open(&plan, topic)?, sink)?;
            } else if let Some(recommend) = plan.data.task.downcast::<RecommendPlan>() {
                bench.run(&Recommend::open(&plan, recommend)?, sink)?;
            } else {
                bail!("no case trains task: {}", plan.data.task.name());
            }
        }
    }
    Ok(())
}

impl CaseKind {
    /// Returns the number of steps per round. By default, a round takes a few seconds on two cores.
    fn steps(self, options: StepOptions) -> usize {
        let default = match self {
            Self::Texts | Self::Clicks => 8,
            Self::Titles | Self::ClicksFinetune => 16,
        };
        options.steps.map_or(default, |steps| usize::from(steps.get()))
    }

    /// Returns the number of texts or clicks per step.
    fn batch_size(self, options: StepOptions) -> usize {
        let default = if self.is_recommendation() { 16 } else { 32 };
        options.batch.map_or(default, |batch| usize::from(batch.get()))
    }

    fn task(self) -> CaseTask {
        match self {
            Self::Texts | Self::Titles => CaseTask::Topic,
            Self::Clicks | Self::ClicksFinetune => CaseTask::Recommend,
        }
    }

    fn is_recommendation(self) -> bool {
        self.task() == CaseTask::Recommend
    }

    fn method(self) -> &'static str {
        if self == Self::ClicksFinetune { "finetune" } else { "newsbert" }
    }

    fn unit(self) -> Unit {
        if self.is_recommendation() { Unit::Samples } else { Unit::Sequences }
    }
}

/// Returns the configuration of a case.
fn config(
    context: &BenchContext,
    case: Case<CaseKind>,
    precision: PrecisionChoice,
    options: StepOptions,
) -> Result<RunConfig> {
    let (fields, max_tokens) = match case.kind {
        CaseKind::Texts => (ArticleFields::TitleAndAbstract, 64),
        _ => (ArticleFields::Title, 32),
    };
    let layers = if case.kind.is_recommendation() { 1 } else { context.layers };
    let run = CaseRun { name: case.name, task: case.kind.task(), corpus: case.corpus, fields, max_tokens, layers };
    let mut config = run.config(context)?;
    config["precision"] = json!(precision);
    config["method"] = json!({"name": case.kind.method()});
    config["train"] = json!({"batch": case.kind.batch_size(options)});
    Ok(serde_json::from_value(config)?)
}

/// One case in one number format.
struct Bench<'a> {
    context: &'a BenchContext,
    case: Case<CaseKind>,
    plan: &'a Plan,
    steps: usize,
}

impl Bench<'_> {
    fn run<K: ExportBatch>(&self, task: &K, sink: OutcomeSink<'_>) -> Result<()> {
        let (context, plan) = (self.context, self.plan);
        let measurement = Measurement {
            bench: "train",
            case: self.case.name,
            precision: precision_name(plan.precision),
            unit: self.case.kind.unit(),
        };
        let mut ours = Trainer::new(plan, task, self.steps)?;
        let modes: &[&str] = if context.against.is_empty() { &[] } else { &TORCH_MODES };
        let peers = context.start_peers("train.py", &job::job(plan, task, &ours.batches())?, modes)?;
        ours.warm_up()?;
        let peak = PeakRates::measure(plan.device, plan.precision, &plan.student_config, ours.tokens_per_step());
        crate::memory::reset_peak();
        let rounds = run_interleaved(&measurement, context.rounds, &mut || ours.round(measurement.unit), peers)?;
        let gflops = ours.operations() / rounds.median_seconds() / 1e9;
        let phases = ours.phases()?;
        let mut outcome = rounds.outcome(&measurement);
        outcome.details.training = Some(TrainingDetails {
            gflops,
            peak_gflops: peak.square,
            peak_gflops_at_shapes: peak.layer,
            share_of_peak: gflops / peak.square,
            share_of_peak_at_shapes: gflops / peak.layer,
            phases_ms: phases,
            steps: self.steps,
        });
        sink(outcome);
        Ok(())
    }
}
