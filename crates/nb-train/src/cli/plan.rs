//! `nb plan`: what a configuration would do, before anything is trained.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use nb_share::LayerMap;

use crate::config::{self, Override};
use crate::plan::{Plan, TaskPlan};
use crate::task::{Recommend, Retrieve, Task, Topic};

#[derive(Debug, Args)]
#[command(after_help = "Example: nb plan --config my.yaml --set student.layers=1")]
pub(super) struct ShowPlan {
    /// The run's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Override one key, e.g. train.lr=2e-4; repeats, the last wins; paths count from here
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<Override>,
}

impl ShowPlan {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let plan = Plan::new(config::read(&self.config, &self.sets)?)?;
        let teacher = &plan.teacher_config;
        say!("run       {} -> {}", plan.name, plan.output.display());
        say!("compute   {:?}, {:?}, {} threads", plan.device, plan.precision, plan.threads);
        say!(
            "teacher   {} layers of {} units, {:.1} M parameters, {}",
            teacher.num_hidden_layers,
            teacher.hidden_size,
            nb_model::parameter_count(teacher) as f64 / 1e6,
            if plan.method.has_teacher() { "trained along" } else { "gives the student its first weights" },
        );
        if plan.method.has_student() {
            let student = teacher.with_layers(plan.student_layers as i64);
            let count = nb_model::parameter_count(&student) as f64 / 1e6;
            say!("student   {} layers, {count:.1} M parameters, from {:?}", plan.student_layers, plan.student_start);
            if plan.method.needs_layer_map() {
                show_map(
                    LayerMap::uniform(teacher.num_hidden_layers as usize, plan.student_layers)?,
                    plan.method.beta.get(),
                )?;
            }
        }
        let terms: Vec<String> =
            plan.method.terms.iter().map(|t| format!("{} × {}", t.weight, t.kind.name())).collect();
        say!("method    {}: {}; T = {}", plan.method.name, terms.join(" + "), plan.method.temperature);
        let above = match plan.data.task {
            TaskPlan::Topic(_) => format!(", dense: {:?}", plan.method.share.dense),
            TaskPlan::Recommend(_) => format!(", reader: {:?}", plan.method.share.dense),
            TaskPlan::Retrieve(_) => String::new(),
        };
        say!("shared    pooling: {:?}{above}", plan.method.share.pooling);
        match &plan.data.task {
            TaskPlan::Topic(files) => show_task(&plan, &Topic::open(&plan, files)?)?,
            TaskPlan::Recommend(files) => show_task(&plan, &Recommend::open(&plan, files)?)?,
            TaskPlan::Retrieve(files) => show_task(&plan, &Retrieve::open(&plan, files)?)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The data, and what the first epoch makes of it.
fn show_task<K: Task>(plan: &Plan, task: &K) -> Result<()> {
    for (name, value) in task.describe() {
        say!("{name:<9} {value}");
    }
    let (mut tokens, mut padded) = (0, 0);
    for rows in task.epoch(0) {
        let packed = task.packed(&task.batch(0, &rows));
        tokens += packed.tokens();
        padded += packed.sequences() * packed.lengths().iter().copied().max().unwrap_or(0);
    }
    say!("tokens    {tokens} in the first epoch");
    say!(
        "padding   {:.0} % of what padded batches would compute is left out",
        100.0 * (1.0 - tokens as f64 / padded.max(1) as f64)
    );
    say!("steps     {}", crate::run::total_steps(plan, task));
    Ok(())
}

fn show_map(map: LayerMap, beta: f64) -> Result<()> {
    for k in 0..map.student_layers() {
        let group = map.group(k);
        say!(
            "  layer {:<2} learns from H_{} of the teacher; its gradient takes in {beta} of the mean of layers {} to {}",
            k + 1,
            map.teacher_state(k + 1),
            group.start + 1,
            group.end
        );
    }
    Ok(())
}
