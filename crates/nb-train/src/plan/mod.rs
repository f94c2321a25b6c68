//! The settings of a run, checked and derived before any weight or text is loaded.
//!
//! A [`Plan`] is derived from the configuration: with every check that is possible before training, and every derived value.

mod cache_policy;
mod data;
pub(crate) mod estimate;
pub(crate) mod files;
mod head;
pub(crate) mod label_columns;
mod machine;
mod models;
mod parts;
mod task;
pub(crate) mod texts;
mod train;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nb_checkpoint::HeadDescription;
use nb_model::{BertConfig, Precision};
use tch::Device;

pub use self::cache_policy::CachePolicy;
pub use self::data::DataPlan;
pub use self::estimate::{BatchLoad, Estimate, MemoryPart, Workload};
pub use self::files::Dev;
pub use self::machine::{LocalProcess, device, precision};
use self::models::ModelsPlan;
pub use self::models::{ModelSource, StudentStart};
pub use self::parts::{LearnedParts, check_trained};
pub use self::task::{SplitFiles, Splits, TaskKind, TaskKinds, TaskPlan};
pub use self::train::TrainPlan;
use crate::config::{
    self, ArticlesChoice, CheckpointsConfig, ConfigError, KeyPath, MethodConfig, Override, RunConfig, ThreadsChoice,
};
use crate::method::{Method, TeacherRole, TermKind};

/// The settings of a run, checked and complete.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Name of the run.
    pub name: String,
    /// Requested run folder.
    pub output: PathBuf,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Device to compute on.
    pub device: Device,
    /// Number format of the matrix products.
    pub precision: Precision,
    /// Number of CPU threads.
    pub threads: usize,
    /// Kinds of task that the configuration can name.
    pub kinds: TaskKinds,
    /// Texts to train and evaluate on.
    pub data: DataPlan,
    /// True if the task ranks by vectors.
    pub ranks: bool,
    /// Head of the models. A projection follows from their widths.
    pub head: HeadDescription,
    /// Head with which models are measured before any training, in tasks that rank.
    pub untouched_head: HeadDescription,
    /// True if a student of another width than its teacher has a projection to the teacher's vectors, which is saved with it:
    /// if a term compares the vectors of a task that ranks by them.
    pub projects_vectors: bool,
    /// Source of the large model, and of the weights of a student that starts from its layers.
    pub teacher: ModelSource,
    /// Shape of the model in `teacher`.
    pub source_config: BertConfig,
    /// Folders of teachers that are already trained for the task; hidden states come from the first one.
    pub trained: Vec<PathBuf>,
    /// Shape of the teacher that the student learns from.
    pub teacher_config: BertConfig,
    /// Caching of a frozen teacher's outputs, and of the outputs of layers that are not trained.
    pub cache_policy: CachePolicy,
    /// Parts of the models that are trained.
    pub parts: LearnedParts,
    /// Number of layers of the small model.
    pub student_layers: usize,
    /// Shape of the small model.
    pub student_config: BertConfig,
    /// True if the student is trained with the dropout of its `config.json`.
    pub student_dropout: bool,
    /// Source of the small model's initial weights.
    pub student_start: StudentStart,
    /// Method by which the student learns.
    pub method: Method,
    /// Optimisation.
    pub train: TrainPlan,
    /// Settings of the checkpoints to resume from.
    pub checkpoints: CheckpointsConfig,
    /// The configuration with every default filled in, for the run folder.
    pub resolved: RunConfig,
}

impl Plan {
    /// Returns true if a frozen teacher is `teacher.checkpoint` as it comes.
    pub(crate) fn takes_teacher_as_it_comes(&self) -> bool {
        let trains = self.kinds.iter().any(|kind| kind.name() == self.resolved.task && kind.trains_teacher());
        !trains || self.resolved.teacher.train.unwrap_or_default().epochs == Some(0)
    }

    /// Checks a configuration and derives the plan of a run with a single process. Reads the `config.json` of checkpoints
    /// and downloads checkpoints from the hub, but loads no weights and no texts.
    ///
    /// # Errors
    /// If a value cannot be used ([`ConfigError`]), or a file that a key names cannot be read.
    pub fn new(config: RunConfig, kinds: TaskKinds) -> Result<Self> {
        Self::for_process(config, kinds, LocalProcess::ALONE)
    }

    /// Does the same as [`Plan::new`] for one of several processes on a machine.
    ///
    /// # Errors
    /// Same as [`Plan::new`].
    pub(crate) fn for_process(config: RunConfig, kinds: TaskKinds, process: LocalProcess) -> Result<Self> {
        let name = name(&config)?;
        let output = output(&config, &name)?;
        let threads = process.threads(config.threads);
        let kind = task_kind(&config.task, kinds)?;
        let method = Method::from_config(&config.method)?;
        let train = TrainPlan::new(&config.train)?;
        let config = only_used_texts(config, kind, &method)?;
        let data = DataPlan::new(&config, kind)?;
        let models = ModelsPlan::new(&config, &method, &data, kind)?;
        let head = head::head(&config, kind, &models)?;
        check_fit(&data, &method, &train, &models)?;
        let resolved = RunConfig {
            name: Some(name.clone()),
            output: Some(output.clone()),
            threads: ThreadsChoice::Count(threads),
            data: data.to_config(&config.data),
            method: MethodConfig { preset: config.method.preset, ..method.to_config() },
            train: train.to_config(&config.train),
            ..head::resolve(&head, config.clone(), kind)
        };
        Ok(Self {
            name,
            output,
            seed: config.seed,
            device: process.device(config.device)?,
            precision: precision(config.precision),
            threads,
            kinds,
            data,
            ranks: kind.ranks(),
            head,
            untouched_head: head::untouched(&models, kind),
            projects_vectors: kind.ranks() && method.any(TermKind::compares_vectors),
            teacher: models.teacher,
            source_config: models.source_config,
            trained: models.trained,
            teacher_config: models.teacher_config,
            parts: models.parts,
            cache_policy: config.teacher.outputs.into(),
            student_layers: config.student.layers,
            student_config: models.student_config,
            student_dropout: config.student.dropout,
            student_start: models.student_start,
            method,
            train,
            checkpoints: checkpoints(&config)?,
            resolved,
        })
    }
}

/// Reads a configuration, applies overrides and derives its plan.
///
/// # Errors
/// Same as [`config::read`] and [`Plan::new`]; an error from the plan starts with the line of the file, or the override,
/// that caused it.
pub fn read_plan(path: &Path, overrides: &[Override], kinds: TaskKinds, process: LocalProcess) -> Result<Plan> {
    let config = config::read(path, overrides)?;
    Plan::for_process(config, kinds, process).map_err(|error| config::locate(error, path, overrides))
}

fn name(config: &RunConfig) -> Result<String, ConfigError> {
    let name = config.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("run");
    if Path::new(name).components().count() != 1 || name.starts_with('.') {
        let expected = "a plain name without `/`, since a folder is named after it";
        return Err(ConfigError::expected("name", format_args!("`{name}`"), expected));
    }
    Ok(name.to_owned())
}

fn output(config: &RunConfig, name: &str) -> Result<PathBuf> {
    let output = config.output.clone().unwrap_or_else(|| Path::new("runs").join(name));
    std::path::absolute(output).context(KeyPath::from("output"))
}

fn checkpoints(config: &RunConfig) -> Result<CheckpointsConfig, ConfigError> {
    if config.checkpoints.keep == 0 {
        let expected = "at least 1; for no checkpoints, set checkpoints.every to never";
        return Err(ConfigError::expected("checkpoints.keep", 0, expected));
    }
    Ok(config.checkpoints.clone())
}

/// Returns the kind of task with the given name.
fn task_kind(name: &str, kinds: TaskKinds) -> Result<&'static dyn TaskKind, ConfigError> {
    kinds.iter().copied().find(|kind| kind.name() == name).ok_or_else(|| {
        let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        ConfigError::expected("task", format_args!("`{name}`"), format!("one of {}", names.join(", ")))
    })
}

/// Removes the texts without labels from a configuration if no term of the method can use them.
fn only_used_texts(mut config: RunConfig, kind: &dyn TaskKind, method: &Method) -> Result<RunConfig, ConfigError> {
    let data = &mut config.data;
    let takes_all = data.articles == Some(ArticlesChoice::All);
    if data.unlabelled.is_some() && takes_all {
        let why = "data.unlabelled is given, and texts without labels come from one of the two";
        return Err(ConfigError::conflict("data.articles", "all", why).and("data.unlabelled"));
    }
    if !method.any(|term| kind.uses_unlabelled(term)) {
        for (key, given) in [("data.unlabelled", data.unlabelled.is_some()), ("data.articles", takes_all)] {
            if given {
                tracing::info!("{key} is skipped: no term of the method can use texts without labels");
            }
        }
        data.unlabelled = None;
        data.articles = data.articles.map(|_| ArticlesChoice::Used);
    }
    Ok(config)
}

/// Checks that the texts fit the models, and the method the task.
fn check_fit(data: &DataPlan, method: &Method, train: &TrainPlan, models: &ModelsPlan) -> Result<(), ConfigError> {
    let check = |model: &str, config: &BertConfig| {
        let most = config.max_tokens();
        let key = if data.windows.is_some() { "data.windows.size" } else { "data.max_tokens" };
        if data.longest_sequence() as i64 > most {
            let why = format!("the {model} has {most} positions");
            return Err(ConfigError::conflict(key, data.longest_sequence(), why).and(model));
        }
        data.task.check_model(model, config)
    };
    check("teacher", &models.teacher_config)?;
    if method.teacher == TeacherRole::Joint {
        check("teacher.checkpoint", &models.source_config)?;
    }
    if method.has_student() {
        check("student", &models.student_config)?;
    }
    if data.windows.is_some() && method.any(|term| term == TermKind::Patience) {
        let why = "the term patience compares one [CLS] per text, and a text in windows has several";
        return Err(ConfigError::conflict("data.windows", "given", why).and("method.weights.patience"));
    }
    data.task.check_method(method, train)
}
