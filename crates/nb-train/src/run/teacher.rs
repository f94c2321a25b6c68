//! The frozen teacher of a run, trained first if it does not exist yet.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use nb_dist::ProcessGroup;
use nb_report::record::SUMMARY_FILE;

use crate::config::{MethodConfig, RunConfig, TeacherTrainConfig};
use crate::method::TeacherRole;
use crate::model::Role;
use crate::plan::Plan;
use crate::run::outcome::Outcome;
use crate::run::run;
use crate::run_folder::checkpoint::Identity;
use crate::run_folder::provenance;
use crate::run_folder::{RunFolder, Unfinished};
use crate::step::sync::broadcast_from_main;
use crate::task::TaskList;

/// Returns the plan with a trained teacher. A plan that needs none or has one is returned unchanged. Otherwise a teacher is
/// trained in `<output>-teacher`, unless an earlier run trained the same one. Returns `None` if a signal stopped its training.
///
/// # Errors
/// If the teacher cannot be planned or trained.
pub(crate) fn prepare_teacher<'a, L: TaskList>(
    plan: &'a Plan,
    unfinished: &Unfinished,
    stop: &Arc<AtomicBool>,
    processes: &Rc<ProcessGroup>,
) -> Result<Option<Cow<'a, Plan>>> {
    if plan.method.teacher != TeacherRole::Frozen || !plan.trained.is_empty() {
        return Ok(Some(Cow::Borrowed(plan)));
    }
    if let Some(trained) = broadcast_from_main(processes, || started_with(plan, unfinished))? {
        let mut config = plan.resolved.clone();
        config.teacher.trained = Some(trained);
        return Ok(Some(Cow::Owned(derived(plan, config)?)));
    }
    let teacher = teacher_plan(plan).context("teacher.train: training the frozen teacher first")?;
    let folder = match broadcast_from_main(processes, || finished(&teacher))? {
        Some(folder) => {
            tracing::info!("the teacher is already trained: {}", folder.display());
            folder
        }
        None => {
            tracing::info!("training the teacher first, in {}", teacher.output.display());
            match run::<L>(&teacher, unfinished, stop, processes)? {
                Outcome::Finished(summary) => summary.folder,
                Outcome::AlreadyFinished(folder) | Outcome::FinishedByMain(folder) => folder,
                Outcome::Interrupted => return Ok(None),
            }
        }
    };
    let mut config = plan.resolved.clone();
    config.teacher.trained = Some(vec![folder.join(Role::Teacher.name())]);
    Ok(Some(Cow::Owned(derived(plan, config)?)))
}

/// Returns the teachers of the unfinished run to resume. They stay the same even if other settings differ now.
fn started_with(plan: &Plan, unfinished: &Unfinished) -> Result<Option<Vec<PathBuf>>> {
    if !unfinished.resumes() {
        return Ok(None);
    }
    let Some(folder) = RunFolder::unfinished(&plan.output)? else { return Ok(None) };
    let trained = Identity::of_folder(&folder).and_then(|identity| identity.trained_teachers());
    Ok(trained.filter(|folders| !folders.is_empty() && folders.iter().all(|folder| folder.is_dir())))
}

/// Returns the plan of the run that trains the teacher of `plan`.
///
/// # Errors
/// If its configuration is invalid.
pub fn teacher_plan(plan: &Plan) -> Result<Plan> {
    let mut config: RunConfig = plan.resolved.clone();
    train_teacher(&mut config);
    config.name = Some(format!("{}-teacher", plan.name));
    config.output = Some(teacher_output(&plan.output)?);
    config.method = MethodConfig { name: Some("teacher".to_owned()), ..MethodConfig::default() };
    config.student = Default::default();
    config.data.unlabelled = None;
    config.data.articles = None;
    derived(plan, config)
}

/// Returns the plan of `config` on the device of `plan`, since a configuration may leave the device open.
fn derived(plan: &Plan, config: RunConfig) -> Result<Plan> {
    Ok(Plan { device: plan.device, ..Plan::new(config, plan.kinds)? })
}

/// Applies `teacher.train` to the training section. The parts of the teacher that are trained stay in `teacher.train`.
pub(crate) fn train_teacher(config: &mut RunConfig) {
    let settings = config.teacher.train.unwrap_or_default();
    let TeacherTrainConfig { layers, embeddings, epochs, batch, lr, head_lr, patience } = settings;
    let parts = TeacherTrainConfig { layers, embeddings, ..TeacherTrainConfig::default() };
    config.teacher.train = (parts != TeacherTrainConfig::default()).then_some(parts);
    config.train.epochs = epochs.unwrap_or(config.train.epochs);
    if let Some(batch) = batch {
        (config.train.batch, config.train.tokens) = (batch, None);
    }
    config.train.teacher_lr = lr.or(config.train.teacher_lr);
    config.train.head_lr = head_lr.or(config.train.head_lr);
    config.train.patience = patience.or(config.train.patience);
}

fn teacher_output(output: &Path) -> Result<PathBuf> {
    let mut name = output.file_name().context("output has no name")?.to_owned();
    name.push("-teacher");
    Ok(output.with_file_name(name))
}

/// Returns the folder of a finished run with the same configuration, data, checkpoints and versions, at the plan's output or
/// beside it.
///
/// # Errors
/// If data or checkpoints cannot be read.
pub fn finished(plan: &Plan) -> Result<Option<PathBuf>> {
    let now = Identity::new(&plan.resolved, &provenance::sources(plan)?)?;
    let name = plan.output.file_name().context("output has no name")?.to_string_lossy().into_owned();
    for number in 1_u32.. {
        let folder = match number {
            1 => plan.output.clone(),
            n => plan.output.with_file_name(format!("{name}-{n}")),
        };
        if !folder.exists() {
            break;
        }
        let Some(was) = Identity::of_folder(&folder).filter(|_| folder.join(SUMMARY_FILE).exists()) else { continue };
        if was.differences(&now).is_empty() {
            return Ok(Some(folder));
        }
        if was.without_sources().differences(&now.without_sources()).is_empty() {
            tracing::info!("not reusing {}: data, checkpoints or versions have changed since", folder.display());
        }
    }
    Ok(None)
}
