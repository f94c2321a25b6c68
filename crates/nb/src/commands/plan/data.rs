//! The texts and what an epoch makes of them, the steps, what is kept on disk, and the memory.

use nb_train::config::EvalEvery;
use nb_train::method::{Stage, TeacherRole, TermKind};
use nb_train::model::build;
use nb_train::model::teacher_cache::{KeepOutputs, TeacherOutput, cache_size, format_bytes};
use nb_train::plan::Plan;
use nb_train::plan::estimate::{Estimate, Load, Rest};
use nb_train::run::setup::{Epochs, is_evaluation};
use nb_train::step::schedule::Schedule;
use nb_train::task::Task;
use tch::{Device, Kind};

use super::page::{Page, count};

/// The data, and what the first epoch makes of it; returns the largest micro-batch.
pub(super) fn texts<K: Task>(page: &mut Page, task: &K) -> Load {
    page.layers("Data");
    for (name, value) in task.describe() {
        page.line(name, value);
    }
    let (mut tokens, mut padded, mut largest) = (0, 0, Load::default());
    let batches = task.epoch(0);
    for rows in &batches {
        let packed = task.packed(&task.batch(0, rows));
        tokens += packed.tokens();
        padded += packed.sequences() * packed.lengths().iter().copied().max().unwrap_or(0);
        let load = Load { tokens: packed.tokens() as u64, pairs: packed.pairs() as u64 };
        largest = if load.tokens > largest.tokens { load } else { largest };
    }
    page.line("tokens", format!("{tokens} in the first epoch"));
    page.line(
        "batches",
        format!(
            "{} in the first epoch, of {} tokens at most",
            count(batches.len() as u64, "micro-batch"),
            largest.tokens
        ),
    );
    page.line(
        "padding",
        format!(
            "{:.0} % of what padded batches would compute is left out",
            100.0 * (1.0 - tokens as f64 / padded.max(1) as f64)
        ),
    );
    largest
}

/// Updates and evaluations; returns how many evaluations there are.
pub(super) fn steps(page: &mut Page, plan: &Plan, epochs: &Epochs, schedule: &Schedule) -> u64 {
    page.layers("Training");
    page.line("steps", schedule.total());
    let most = plan.train.max_steps.map(|most| format!(", {most} at most")).unwrap_or_default();
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
    let blind = |(_, stage): &(usize, &Stage)| !stage.any(TermKind::needs_outputs);
    let blind: Vec<String> = (1..).zip(&plan.method.stages).filter(blind).map(|(i, _)| i.to_string()).collect();
    let blind = match blind.as_slice() {
        [] => String::new(),
        stages => format!(", none in stage {}, which trains nothing that a metric sees", stages.join(", ")),
    };
    let patience = plan.train.patience.map(|n| format!("; stops early after {n} without a better metric"));
    page.line("evaluations", format!("{evaluations}: {when} and at the end{blind}{}", patience.unwrap_or_default()));
    evaluations
}

fn evaluations(plan: &Plan, epochs: &Epochs, schedule: &Schedule) -> u64 {
    let is_due = |step: &u64| is_evaluation(plan, schedule, schedule.at(*step), epochs.locate(*step).is_last);
    (0..schedule.total()).filter(is_due).count() as u64
}

/// What is kept of a frozen teacher, or why nothing is; returns how many states of every token are.
pub(super) fn kept<K: Task>(page: &mut Page, plan: &Plan, task: &K) -> Option<u64> {
    if plan.method.teacher != TeacherRole::Frozen {
        return None;
    }
    let Some(outputs) = build::cacheable_outputs(&plan.method, &plan.teacher_config, plan.student_layers) else {
        page.line("kept", "nothing of the teacher: attention scores are as many as texts are long squared");
        return None;
    };
    let stores = task.stores();
    let size = |outputs: &[TeacherOutput], kind| cache_size(outputs, &stores, plan.teacher_config.hidden_size, kind);
    let Some(kind) = plan.keep_outputs.kind(plan.train.epochs, |kind| size(&outputs, kind)) else {
        page.line("kept", format!("nothing of the teacher: {}", why_not(plan, size(&outputs, Kind::BFloat16))));
        return None;
    };
    let further = plan.trained.len().saturating_sub(1) as u64 * size(&[TeacherOutput::Pooled], kind);
    let names: Vec<String> = outputs.iter().map(|output| named(*output)).collect();
    page.line(
        "kept",
        format!(
            "{} of the teacher's outputs, computed once, in {}: {} ({})",
            format_bytes(size(&outputs, kind) + further),
            plan.data.cache.join("outputs").display(),
            names.join(", "),
            if kind == Kind::Float { "f32" } else { "states in bf16" }
        ),
    );
    Some(outputs.iter().filter(|output| matches!(output, TeacherOutput::State(_))).count() as u64)
}

fn why_not(plan: &Plan, least: u64) -> String {
    match plan.keep_outputs {
        KeepOutputs::No => "teacher.outputs is compute".to_owned(),
        _ if plan.train.epochs < 2 => "in one epoch they are used once".to_owned(),
        _ => format!("{} is a lot of disk; teacher.outputs: bf16 keeps them all the same", format_bytes(least)),
    }
}

fn named(output: TeacherOutput) -> String {
    match output {
        TeacherOutput::Pooled => "pooled vectors".to_owned(),
        TeacherOutput::First(i) => format!("H_{i} of [CLS]"),
        TeacherOutput::State(i) => format!("H_{i}"),
    }
}

/// The estimated peak and its parts.
pub(super) fn memory(page: &mut Page, plan: &Plan, rest: &Rest) {
    let estimate = Estimate::new(plan, rest);
    let at = if plan.device == Device::Cpu { "" } else { ", beside what CUDA itself takes" };
    page.line("memory", format!("about {} at its peak{at}", format_bytes(estimate.total())));
    for (name, bytes) in estimate.parts {
        page.line("", format!("{:>9}  {name}", format_bytes(bytes)));
    }
}
