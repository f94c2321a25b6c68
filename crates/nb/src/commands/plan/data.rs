//! The texts, the batches and steps, the teacher's outputs cached on disk, and the memory.

use std::collections::BTreeSet;

use nb_checkpoint::{Truncation, Windows};
use nb_train::config::EvalEvery;
use nb_train::method::{TeacherRole, TermKind};
use nb_train::model::{CachePlan, EncoderOutput, Role, cache_size, format_bytes};
use nb_train::plan::{BatchLoad, CachePolicy, Estimate, Plan, Workload};
use nb_train::run::{Epochs, is_evaluation};
use nb_train::step::Schedule;
use nb_train::task::Task;
use tch::{Device, Kind};

use super::page::{Page, count};

/// The micro-batches of the first epoch.
#[derive(Default)]
pub(super) struct FirstEpoch {
    batches: u64,
    tokens: i64,
    /// Tokens with padding to the longest sequence of each batch.
    padded: i64,
    pub(super) largest: BatchLoad,
    /// The distinct tokens of the micro-batches that are trained on, in ascending order.
    pub(super) words: Vec<u32>,
}

impl FirstEpoch {
    fn of<K: Task>(plan: &Plan, task: &K) -> Self {
        let mut epoch = Self::default();
        let mut words: BTreeSet<u32> = BTreeSet::new();
        let most = plan.train.max_steps.map_or(u64::MAX, |steps| steps.saturating_mul(plan.train.accumulate as u64));
        for rows in &task.epoch(0) {
            let packed = task.packed(&task.batch(0, rows));
            if epoch.batches < most {
                words.extend(packed.distinct_ids());
            }
            epoch.batches += 1;
            epoch.tokens += packed.tokens();
            epoch.padded += packed.sequences() * packed.lengths().iter().copied().max().unwrap_or(0);
            let load = BatchLoad { tokens: packed.tokens() as u64, pairs: packed.pairs() as u64 };
            epoch.largest = if load.tokens > epoch.largest.tokens { load } else { epoch.largest };
        }
        Self { words: words.into_iter().collect(), ..epoch }
    }
}

/// Shows the data and the batches of the first epoch, and returns the latter.
pub(super) fn texts<K: Task>(page: &mut Page, plan: &Plan, task: &K) -> FirstEpoch {
    page.heading("Data");
    for (name, value) in task.describe() {
        page.line(name, value);
    }
    let most = plan.data.max_tokens;
    if plan.data.truncation == Truncation::HeadTail {
        page.line("long texts", format!("keep their beginning (a quarter) and their end, {most} tokens in total"));
    }
    if let Some(Windows { size, stride }) = plan.data.windows {
        let rest = format!("of {size} tokens that start {stride} apart, up to {most} tokens of an article");
        page.line("windows", format!("{rest}; an article's vector is the mean of theirs"));
    }
    let epoch = FirstEpoch::of(plan, task);
    let FirstEpoch { batches, tokens, padded, largest, .. } = &epoch;
    page.line("tokens", format!("{tokens} in the first epoch"));
    page.line(
        "batches",
        format!("{} in the first epoch, with at most {} tokens each", count(*batches, "micro-batch"), largest.tokens),
    );
    page.line(
        "padding",
        format!(
            "avoiding it saves {:.0} % of the work of padded batches",
            100.0 * (1.0 - *tokens as f64 / (*padded).max(1) as f64)
        ),
    );
    epoch
}

/// Shows steps and evaluations, and returns the number of evaluations.
pub(super) fn steps(page: &mut Page, plan: &Plan, epochs: &Epochs, schedule: &Schedule) -> u64 {
    page.heading("Training");
    page.line("steps", schedule.total());
    let most =
        plan.train.max_steps.map(|most| format!(", at most {} in total", count(most, "step"))).unwrap_or_default();
    let first = epochs.updates.first().copied().unwrap_or(0);
    page.line(
        "epochs",
        format!(
            "{} of {} ({} each){most}",
            plan.train.epochs,
            count(first, "step"),
            count(plan.train.accumulate as u64, "micro-batch")
        ),
    );
    let evaluations = evaluations(plan, epochs, schedule);
    let when = match plan.train.eval_every {
        EvalEvery::Epoch => "after each epoch".to_owned(),
        EvalEvery::Steps(n) => format!("every {}", count(n, "step")),
    };
    let unseen: Vec<String> = (1..)
        .zip(&plan.method.stages)
        .filter(|(_, stage)| !stage.any(TermKind::needs_outputs))
        .map(|(i, _): (usize, _)| i.to_string())
        .collect();
    let unseen = match unseen.as_slice() {
        [] => String::new(),
        stages => format!(", none in stage {}, which trains nothing that a metric measures", stages.join(", ")),
    };
    let patience = plan.train.patience.map(|n| format!("; stops early after {n} without an improvement"));
    page.line("evaluations", format!("{evaluations}: {when} and at the end{unseen}{}", patience.unwrap_or_default()));
    evaluations
}

fn evaluations(plan: &Plan, epochs: &Epochs, schedule: &Schedule) -> u64 {
    let is_due = |step: &u64| is_evaluation(plan, schedule, schedule.at(*step), epochs.locate(*step).is_last);
    (0..schedule.total()).filter(is_due).count() as u64
}

/// Shows the outputs of a frozen teacher and of fixed layers that are cached, or the reason why none are. Returns the number
/// of hidden states of the teacher among them.
pub(super) fn cached_outputs<K: Task>(page: &mut Page, plan: &Plan, task: &K) -> Option<u64> {
    for role in [Role::Teacher, Role::Student] {
        if let Some(cached) = CachePlan::of_fixed_layers(plan, task, role) {
            page.line("cached", of_fixed_layers(plan, task, role, &cached));
        }
    }
    if plan.method.teacher != TeacherRole::Frozen {
        return None;
    }
    let Some(cached) = CachePlan::of_frozen_teacher(plan, task) else {
        page.line(
            "cached",
            "no teacher outputs: the number of attention scores grows with the square of the text length",
        );
        return None;
    };
    let Some(kind) = cached.kind else {
        page.line("cached", format!("no teacher outputs: {}", why_not(plan, task, &cached)));
        return None;
    };
    let pooled = [EncoderOutput::Pooled];
    let pooled = cache_size(&pooled, &task.stores(), plan.teacher_config.hidden_size, kind);
    let further = plan.trained.len().saturating_sub(1) as u64 * pooled;
    let bytes = format_bytes(cached.bytes(task, kind) + further);
    page.line("cached", format!("{bytes} of the teacher's outputs, computed once, {}", place(plan, &cached, kind)));
    Some(cached.outputs.iter().filter(|output| matches!(output, EncoderOutput::State(_))).count() as u64)
}

/// Describes the cached states of the layers of a model that are not trained.
fn of_fixed_layers<K: Task>(plan: &Plan, task: &K, role: Role, cached: &CachePlan) -> String {
    let role = role.name();
    let Some(kind) = cached.kind else {
        return format!("no states of the {role}'s fixed layers: {}", why_not(plan, task, cached));
    };
    let bytes = format_bytes(cached.bytes(task, kind));
    format!("{bytes} of states of the {role}'s fixed layers, computed once, {}", place(plan, cached, kind))
}

/// The folder of cached outputs, and their names.
fn place(plan: &Plan, cached: &CachePlan, kind: Kind) -> String {
    let names: Vec<String> = cached.outputs.iter().map(|output| name(*output)).collect();
    let kind = if kind == Kind::Float { "f32" } else { "states in bf16" };
    format!("in {}: {} ({kind})", plan.data.cache.join("outputs").display(), names.join(", "))
}

fn why_not<K: Task>(plan: &Plan, task: &K, cached: &CachePlan) -> String {
    match plan.cache_policy {
        CachePolicy::Never => "teacher.outputs is compute".to_owned(),
        _ if cached.uses < CachePolicy::FEWEST_USES => {
            format!("the run uses each of them only {:.1} times on average", cached.uses)
        }
        _ => {
            let least = format_bytes(cached.bytes(task, Kind::BFloat16));
            format!("they need {least} of disk space; set teacher.outputs: bf16 to cache them anyway")
        }
    }
}

fn name(output: EncoderOutput) -> String {
    match output {
        EncoderOutput::Pooled => "pooled vectors".to_owned(),
        EncoderOutput::First(i) => format!("H_{i} of [CLS]"),
        EncoderOutput::State(i) => format!("H_{i}"),
    }
}

/// Shows the estimated peak memory and its parts.
pub(super) fn memory(page: &mut Page, plan: &Plan, work: &Workload<'_>) {
    let estimate = Estimate::new(plan, work);
    let cuda = if plan.device == Device::Cpu { "" } else { ", plus CUDA's own memory" };
    page.line("memory", format!("about {} at peak{cuda}", format_bytes(estimate.total())));
    for part in estimate.parts {
        page.line("", format!("{:>9}  {}", format_bytes(part.bytes), part.name));
    }
}
