//! The runs of a comparison, all checked before the first one starts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use nb_dist::ProcessGroup;
use serde_yaml::Value;

use super::check::check;
use super::config::CompareConfig;
use super::variant::{RunSpec, TEACHER, Variant, shared_teacher, variants};
use crate::config::{Override, RunConfig, Tree, folder, locate, locate_below};
use crate::method::TeacherRole;
use crate::plan::Plan;
use crate::run::teacher::{finished, train_teacher};
use crate::run::{Outcome, run};
use crate::run_folder::Unfinished;
use crate::task::{AllTasks, TaskList};

/// A method that learns from the shared teacher.
const FROZEN_METHOD: &str = "kd";

/// A comparison with all its runs.
#[derive(Debug, Clone)]
pub struct ComparePlan {
    /// Name of the comparison.
    pub(crate) name: String,
    /// Folder of the comparison, with a folder for each run.
    pub(crate) output: PathBuf,
    /// Number of CPU threads of every run.
    pub threads: usize,
    /// Seeds of the comparison.
    pub(crate) seeds: Vec<u64>,
    /// Label of the entries that the others are tested against.
    pub(crate) baseline: String,
    /// The teacher that frozen methods share.
    pub(crate) teacher: Variant,
    /// Variants to compare, one row of the table each.
    pub(crate) variants: Vec<Variant>,
    /// True if there are held-out rows.
    pub(crate) has_test: bool,
    /// The keys below `run`.
    run: Tree,
    /// The folder that paths in the file are relative to.
    folder: PathBuf,
}

/// State of a run before the comparison starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Finished by an earlier comparison.
    Done,
    /// Still to run.
    Pending,
    /// Still to run, with settings that the trials choose.
    AfterTrials,
}

/// A run's name and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunStatus {
    /// Name of the run.
    pub name: String,
    /// Its state.
    pub state: RunState,
}

impl ComparePlan {
    /// Reads a comparison's file and checks each of its runs.
    ///
    /// # Errors
    /// If the file or the configuration of a run cannot be used; in that case no run has started.
    pub fn read(path: &Path, overrides: &[Override]) -> Result<Self> {
        let config = CompareConfig::read(path, overrides)?;
        let folder = folder(path)?;
        let mut run = Tree::new(config.run.clone(), &folder);
        check(&config, &mut run).map_err(|error| locate(error.into(), path, overrides))?;
        let name = config.name.clone().unwrap_or_else(|| "compare".to_owned());
        let output = config.output.clone().unwrap_or_else(|| Path::new("runs").join(&name));
        let mut plan = Self {
            output: std::path::absolute(&output).with_context(|| path.display().to_string())?,
            threads: 0,
            seeds: config.seeds.clone(),
            baseline: config.baseline.clone().unwrap_or_else(|| "finetune".to_owned()),
            teacher: shared_teacher(&config),
            variants: variants(&config),
            has_test: run.has("data.test"),
            name,
            run,
            folder,
        };
        plan.threads = plan.check_runs(path, overrides)?;
        Ok(plan)
    }

    /// Returns the number of runs.
    pub fn count(&self) -> usize {
        self.all_variants().map(|variant| variant.tries.len() + variant.seeds.len()).sum()
    }

    /// Returns every run with its state.
    ///
    /// # Errors
    /// If a run cannot be planned.
    pub fn statuses(&self) -> Result<Vec<RunStatus>> {
        let done = |run: &RunSpec| self.plan(run).and_then(|plan| finished(&plan)).with_context(|| run.name());
        let teacher = match self.teacher.tries.is_empty() {
            true => done(&self.teacher.run(self.seeds[0], None))?.map(|folder| folder.join(TEACHER)),
            false => None,
        };
        let mut statuses = Vec::new();
        for variant in self.all_variants() {
            let runs = variant.seeds.iter().map(|&seed| variant.run(seed, teacher.as_deref()));
            for run in variant.trials(teacher.as_deref()).into_iter().chain(runs) {
                let is_done = done(&run)?.is_some();
                let state = match run.trial {
                    None if !variant.tries.is_empty() => RunState::AfterTrials,
                    _ if is_done => RunState::Done,
                    _ => RunState::Pending,
                };
                statuses.push(RunStatus { name: run.name(), state });
            }
        }
        Ok(statuses)
    }

    /// The shared teacher and the variants.
    fn all_variants(&self) -> impl Iterator<Item = &Variant> {
        std::iter::once(&self.teacher).chain(&self.variants)
    }

    /// Checks the plan of every run and returns their common number of threads. An error starts with its line in the file.
    fn check_runs(&self, path: &Path, overrides: &[Override]) -> Result<usize> {
        let mut threads = BTreeSet::new();
        for variant in self.all_variants() {
            let first = variant.seeds.first().map(|&seed| variant.run(seed, None));
            for run in variant.trials(None).into_iter().chain(first) {
                let settings =
                    [run.trial.map(|i| format!("{}.tries[{i}]", variant.key)), Some(format!("{}.set", variant.key))];
                let within: Vec<&str> =
                    settings.iter().flatten().map(String::as_str).chain(["run", &variant.key]).collect();
                let plan = self.plan(&run).with_context(|| run.name());
                threads.insert(plan.map_err(|e| locate_below(e, path, overrides, &within))?.threads);
            }
        }
        match threads.first() {
            Some(&common) if threads.len() == 1 => Ok(common),
            _ => bail!("{}: the runs have different `threads`, expected the same for all", path.display()),
        }
    }

    fn plan(&self, run: &RunSpec) -> Result<Plan> {
        let mut tree = self.tree(run)?;
        let config = if run.label == TEACHER { self.teacher_config(tree.clone())? } else { tree.config()? };
        let plan = Plan::new(config, AllTasks::KINDS)?;
        match &run.teacher {
            // Teachers named in the file take precedence.
            Some(folder) if plan.method.teacher == TeacherRole::Frozen && plan.trained.is_empty() => {
                let folder = folder.to_string_lossy().into_owned();
                tree.set("teacher.trained", vec![Value::from(folder)].into(), &self.folder)?;
                Plan::new(tree.config()?, AllTasks::KINDS)
            }
            _ => Ok(plan),
        }
    }

    /// The configuration of the shared teacher. The recipe fills it in as for the methods that learn from this teacher.
    fn teacher_config(&self, mut tree: Tree) -> Result<RunConfig> {
        tree.set("method.name", FROZEN_METHOD.into(), &self.folder)?;
        let mut config = tree.config()?;
        config.method.name = Some(TEACHER.to_owned());
        train_teacher(&mut config);
        Ok(config)
    }

    /// The configuration of a run as a tree of keys.
    fn tree(&self, run: &RunSpec) -> Result<Tree> {
        let mut tree = self.run.clone();
        let mut set = |key: &str, value: Value| tree.set(key, value, &self.folder);
        set("method.name", run.method.as_str().into())?;
        set("student.layers", run.depth.into())?;
        set("seed", run.seed.into())?;
        set("name", run.name().into())?;
        set("output", self.output.join(run.name()).to_string_lossy().as_ref().into())?;
        for (key, value) in &run.settings {
            set(key, value.clone())?;
        }
        if run.trial.is_some() {
            set("data.test", Value::Null)?; // settings are chosen without the held-out rows
        }
        Ok(tree)
    }

    /// Performs a run unless it has already finished. Returns its folder; `None` if a signal stopped it.
    ///
    /// # Errors
    /// If the run fails.
    pub(crate) fn run(&self, spec: &RunSpec, stop: &Arc<AtomicBool>) -> Result<Option<PathBuf>> {
        let plan = self.plan(spec).with_context(|| spec.name())?;
        if let Some(folder) = finished(&plan)? {
            tracing::info!("already done: {}", folder.display());
            return Ok(Some(folder));
        }
        let alone = Rc::new(ProcessGroup::alone());
        match run::<AllTasks>(&plan, &Unfinished::ResumeSame, stop, &alone).with_context(|| spec.name())? {
            Outcome::Finished(summary) => Ok(Some(summary.folder)),
            Outcome::AlreadyFinished(folder) | Outcome::FinishedByMain(folder) => Ok(Some(folder)),
            Outcome::Interrupted => Ok(None),
        }
    }
}
