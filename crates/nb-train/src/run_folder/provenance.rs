//! The provenance of a result: data, models, versions, machine.

use std::path::Path;

use anyhow::Result;
use nb_data::read::Source;
use serde_json::{Map, Value, json};

use crate::model::saved_folder::{files_digest, weights_digest};
use crate::plan::{Dev, ModelSource, Plan, StudentStart, TaskPlan};

/// Everything that a result depends on beside its configuration: data files, checkpoints, versions. Record it before the run, and
/// compare it before reusing an earlier result.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn sources(plan: &Plan) -> Result<Map<String, Value>> {
    let mut out = Map::new();
    out.insert("data".to_owned(), data(plan)?);
    out.insert("models".to_owned(), models(plan)?);
    out.insert("versions".to_owned(), versions());
    Ok(out)
}

/// The digest of each checkpoint that the run starts from.
fn models(plan: &Plan) -> Result<Value> {
    let mut out = Map::new();
    if let ModelSource::Folder(folder) = &plan.teacher {
        out.insert("checkpoint".to_owned(), weights_digest(folder)?.into());
    }
    if let StudentStart::Checkpoint(folder) = &plan.student_start {
        out.insert("student".to_owned(), weights_digest(folder)?.into());
    }
    let trained: Vec<String> = plan.trained.iter().map(|folder| weights_digest(folder)).collect::<Result<_>>()?;
    if !trained.is_empty() {
        out.insert("trained".to_owned(), trained.into());
    }
    Ok(out.into())
}

/// The paths of each split's files, and a digest of their content.
///
/// # Errors
/// If one cannot be read.
fn data(plan: &Plan) -> Result<Value> {
    let mut out = Map::new();
    for (name, paths) in files(&plan.data.task) {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        out.insert(name.to_owned(), json!({"path": names.join(", "), "blake3": files_digest(&paths)?}));
    }
    Ok(out.into())
}

/// The files of each split.
fn files(task: &TaskPlan) -> Vec<(&'static str, Vec<&Path>)> {
    match task {
        TaskPlan::Topic(files) => {
            splits((&files.train, &files.dev, &files.test), &files.unlabelled, |source| vec![source.path.as_path()])
        }
        TaskPlan::Recommend(files) => splits((&files.train, &files.dev, &files.test), &files.unlabelled, |log| {
            vec![log.news.path.as_path(), &log.behaviors.path]
        }),
        TaskPlan::Retrieve(files) => splits((&files.train, &files.dev, &files.test), &files.unlabelled, |log| {
            vec![log.corpus.path.as_path(), &log.queries.path, &log.qrels]
        }),
    }
}

fn splits<'a, T>(
    (train, dev, test): (&'a T, &'a Dev<T>, &'a Option<T>),
    unlabelled: &'a Option<Source>,
    of: impl Fn(&'a T) -> Vec<&'a Path>,
) -> Vec<(&'static str, Vec<&'a Path>)> {
    let mut all = vec![("train", of(train))];
    if let Dev::Given(dev) = dev {
        all.push(("dev", of(dev)));
    }
    all.extend(test.iter().map(|test| ("test", of(test))));
    all.extend(unlabelled.iter().map(|texts| ("unlabelled", vec![texts.path.as_path()])));
    all
}

/// The versions of the software that computes the result.
fn versions() -> Value {
    json!({"newsbert": env!("CARGO_PKG_VERSION"), "libtorch": "2.11.0", "tch": "0.24.0"})
}

/// The machine, and the part of it that the plan uses.
pub(crate) fn machine(plan: &Plan) -> Value {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    json!({
        "cpu": cpu(), "cores": cores, "threads": plan.threads, "device": format!("{:?}", plan.device),
        "precision": format!("{:?}", plan.precision).to_lowercase(),
    })
}

/// The processor's name, or its architecture where the system does not tell the name.
fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
