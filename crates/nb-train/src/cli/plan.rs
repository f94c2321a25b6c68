//! `nb plan`: what a configuration would do, before anything is trained.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use nb_share::LayerMap;

use crate::config::{self, Override};
use crate::plan::Plan;
use crate::task::{Task, Topic};

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
        let topic = Topic::open(&plan)?;
        let (rows, tokens) = topic.train_size();
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
        say!("shared    pooling: {:?}, dense: {:?}", plan.method.share.pooling, plan.method.share.dense);
        say!(
            "texts     {rows} to train on ({tokens} tokens an epoch), {} to develop on, {} labels",
            topic.dev_size(),
            topic.classes()
        );
        let micro = topic.epoch(0);
        let widest: usize =
            micro.iter().map(|rows| rows.len() * rows.iter().map(|&r| topic.length(r)).max().unwrap_or(0)).sum();
        say!(
            "padding   {:.0} % of what padded batches would compute is left out",
            100.0 * (1.0 - tokens as f64 / widest.max(1) as f64)
        );
        say!("steps     {}", crate::run::total_steps(&plan, &topic));
        Ok(ExitCode::SUCCESS)
    }
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
