//! `nb plan`: the run that a configuration describes, before anything is trained. No weights are loaded.

mod data;
mod layer_map;
mod method;
mod models;
mod page;
mod parameters;
mod preview;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use nb_model::Precision;
use nb_train::plan::{LocalProcess, Plan, Workload, read_plan};
use nb_train::run::{Epochs, schedule};
use nb_train::task::{AllTasks, Task, TaskList, TaskVisitor};

use self::data::FirstEpoch;
use self::page::{Page, count};
use super::config_file::ConfigFile;

#[derive(Debug, Args)]
#[command(after_help = "Example: nb plan --config my.yaml --set student.layers=1")]
pub(crate) struct ShowPlan {
    #[command(flatten)]
    config: ConfigFile,
}

impl ShowPlan {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let plan = read_plan(&self.config.path, &self.config.sets, AllTasks::KINDS, LocalProcess::ALONE)?;
        let page = AllTasks::visit(&plan, ShowTask)?;
        say!("{}", page.to_string().trim_end());
        Ok(ExitCode::SUCCESS)
    }
}

/// Makes the page of a plan.
struct ShowTask;

impl TaskVisitor for ShowTask {
    type Output = Page;

    fn visit<K: Task>(self, plan: &Plan, task_plan: &K::Plan) -> Result<Page> {
        page(plan, &K::open(plan, task_plan)?)
    }
}

fn page<K: Task>(plan: &Plan, task: &K) -> Result<Page> {
    let mut page = Page::default();
    let epochs = Epochs::of(plan, task);
    let schedule = schedule(plan, &epochs);
    run(&mut page, plan);
    models::origins(&mut page, plan)?;
    layer_map::layer_map(&mut page, plan)?;
    let head = parameters::parameters(&mut page, plan, task)?;
    method::method(&mut page, plan, &schedule);
    let FirstEpoch { largest, words, .. } = data::texts(&mut page, plan, task);
    let evaluations = data::steps(&mut page, plan, &epochs, &schedule);
    let cached_states = data::cached_outputs(&mut page, plan, task);
    data::memory(&mut page, plan, &Workload { head, largest, words: &words, cached_states, has_test: task.has_test() });
    let warnings_of_method = method::warnings(&plan.method, plan.student_layers, plan.train.patience, evaluations);
    let mut warnings = [task.warnings(), warnings_of_method].concat();
    warnings.extend(layer_map::warning(plan));
    if !warnings.is_empty() {
        page.heading("Warnings");
        warnings.iter().for_each(|warning| page.line("warning", warning));
    }
    Ok(page)
}

fn run(page: &mut Page, plan: &Plan) {
    page.heading("Run");
    page.line("run", format!("{} -> {}", plan.name, plan.output.display()));
    page.line("seed", plan.seed);
    let device = match plan.device {
        tch::Device::Cuda(n) => format!("cuda:{n}"),
        other => format!("{other:?}").to_lowercase(),
    };
    let precision = match plan.precision {
        Precision::F32 => "f32",
        Precision::Bf16 => "bf16 products",
    };
    page.line("compute", format!("{device}, {precision}, {}", count(plan.threads as u64, "thread")));
    page.line("processors", nb_cpu::Processors::detect());
}
