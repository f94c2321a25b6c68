//! Where a result comes from: data, models, versions, machine.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nb_checkpoint::{HEAD_FILE, WEIGHTS_FILE};
use nb_data::read::Source;
use serde_json::{Map, Value, json};

use crate::plan::{Dev, ModelSource, Plan, StudentStart, TaskPlan};

/// What a result depends on beside its configuration: files of data, checkpoints, versions. To be taken before the run, and
/// compared before an old result is taken for a new one.
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

/// A BLAKE3 of the weights of each checkpoint that the run starts from.
fn models(plan: &Plan) -> Result<Value> {
    let mut out = Map::new();
    if let ModelSource::Folder(folder) = &plan.teacher {
        out.insert("checkpoint".to_owned(), weights(folder)?.into());
    }
    if let StudentStart::Checkpoint(folder) = &plan.student_start {
        out.insert("student".to_owned(), weights(folder)?.into());
    }
    let trained: Vec<String> = plan.trained.iter().map(|folder| weights(folder)).collect::<Result<_>>()?;
    if !trained.is_empty() {
        out.insert("trained".to_owned(), trained.into());
    }
    Ok(out.into())
}

/// A BLAKE3 of the weights in a model folder, those of its top layers included where it has some.
///
/// # Errors
/// If a file cannot be read.
pub(crate) fn weights(folder: &Path) -> Result<String> {
    let files: Vec<PathBuf> =
        [WEIGHTS_FILE, HEAD_FILE].iter().map(|name| folder.join(name)).filter(|path| path.is_file()).collect();
    hash(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>())
}

/// Paths of each split's files, and a BLAKE3 of what they hold.
///
/// # Errors
/// If one cannot be read.
fn data(plan: &Plan) -> Result<Value> {
    let mut out = Map::new();
    for (name, paths) in files(&plan.data.task) {
        let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        out.insert(name.to_owned(), json!({"path": names.join(", "), "blake3": hash(&paths)?}));
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

fn hash(paths: &[&Path]) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for path in paths {
        let context = || format!("cannot read {}", path.display());
        hasher.update_reader(File::open(path).with_context(context)?).with_context(context)?;
    }
    Ok(hasher.finalize().to_hex()[..16].to_owned())
}

/// Versions of what computed the result.
fn versions() -> Value {
    json!({"newsbert": env!("CARGO_PKG_VERSION"), "libtorch": "2.11.0", "tch": "0.24.0"})
}

/// The machine and what the plan uses of it.
pub(crate) fn machine(plan: &Plan) -> Value {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    json!({
        "cpu": cpu(), "cores": cores, "threads": plan.threads, "device": format!("{:?}", plan.device),
        "precision": format!("{:?}", plan.precision).to_lowercase(),
    })
}

/// The processor's name, where the system tells it.
fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
