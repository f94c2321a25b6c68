//! From what the user typed to what will be done: every check that can be made before training, and every derived value.
//!
//! The rest of the crate sees a [`Plan`] or parts of it, never the configuration.

mod data;
pub mod estimate;
mod models;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_data::BatchSize;
use nb_model::{ActivationCheckpoint, BertConfig, Precision};
use tch::Device;

use crate::config::{
    self, CheckpointsConfig, DeviceChoice, EvalEvery, NotFiniteChoice, OutputsChoice, Override, PrecisionChoice,
    RunConfig, TaskChoice, TrainConfig,
};
use crate::method::{Method, TeacherRole, Temperature, TermKind};
use crate::model::teacher_cache::KeepOutputs;
pub use data::cache_folder;
pub use data::{ClickLog, DataPlan, Dev, QueryLog, RecommendPlan, RetrievePlan, TaskPlan, TopicPlan, click_log};
pub use models::{ModelSource, StudentStart};

/// Everything a run needs to know, checked.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The run's name.
    pub name: String,
    /// The run folder that was asked for.
    pub output: PathBuf,
    /// Seed of everything random.
    pub seed: u64,
    /// Where to compute.
    pub device: Device,
    /// Number format of the products.
    pub precision: Precision,
    /// CPU threads.
    pub threads: usize,
    /// The texts.
    pub data: DataPlan,
    /// Where the large model comes from, and with it the student's first weights.
    pub teacher: ModelSource,
    /// The shape of that.
    pub source_config: BertConfig,
    /// Folders of teachers that were trained for the task before; the first is the one whose states count.
    pub trained: Vec<PathBuf>,
    /// The shape of the teacher that the student learns from.
    pub teacher_config: BertConfig,
    /// Whether a frozen teacher's outputs are kept.
    pub keep_outputs: KeepOutputs,
    /// Depth of the small model.
    pub student_layers: usize,
    /// The small model's shape.
    pub student_config: BertConfig,
    /// Where the small model's weights come from.
    pub student_start: StudentStart,
    /// How they learn.
    pub method: Method,
    /// The optimisation.
    pub train: TrainPlan,
    /// What is kept to go on with.
    pub checkpoints: CheckpointsConfig,
    /// The configuration with every default filled in, for the run folder.
    pub resolved: RunConfig,
}

/// The optimisation, checked.
#[derive(Debug, Clone)]
pub struct TrainPlan {
    /// Passes over the training texts.
    pub epochs: u64,
    /// Updates at most.
    pub max_steps: Option<u64>,
    /// Size of a micro-batch.
    pub batch: BatchSize,
    /// Micro-batches per update.
    pub accumulate: usize,
    /// Peak rate of the student's encoder.
    pub lr: f64,
    /// Peak rate of the top layers.
    pub head_lr: f64,
    /// Peak rate of the teacher's encoder.
    pub teacher_lr: f64,
    /// Share of steps with a rising rate.
    pub warmup: f64,
    /// λ of AdamW.
    pub weight_decay: f64,
    /// Largest norm of the gradient; 0 for none.
    pub clip: f64,
    /// When to evaluate.
    pub eval_every: EvalEvery,
    /// Evaluations without a better metric before stopping.
    pub patience: Option<u64>,
    /// Steps between log lines.
    pub log_every: u64,
    /// What happens when a loss or a gradient is not finite.
    pub not_finite: NotFiniteChoice,
    /// What is kept of each layer for the backward pass.
    pub keep: ActivationCheckpoint,
}

impl Plan {
    /// Checks a configuration and derives the plan. Reads the checkpoints' `config.json`, and downloads what is named on
    /// the hub; loads no weights and no texts.
    ///
    /// # Errors
    /// With the key, what stands there and what was expected.
    pub fn new(mut config: RunConfig) -> Result<Self> {
        let name = config.name.clone().filter(|n| !n.is_empty()).unwrap_or_else(|| "run".to_owned());
        if Path::new(&name).components().count() != 1 || name.starts_with('.') {
            bail!("name is `{name}`, expected a plain name: it becomes a folder");
        }
        let output = config.output.clone().unwrap_or_else(|| Path::new("runs").join(&name));
        let output = std::path::absolute(&output).with_context(|| format!("output is {}", output.display()))?;
        config.output = Some(output.clone());
        config.name = Some(name.clone());
        let threads = config.threads.unwrap_or_else(cores);
        if !(1..=4096).contains(&threads) {
            bail!("threads is {threads}, expected a number from 1 to 4096");
        }
        config.threads = Some(threads);
        let method = Method::from_config(&config.method)?;
        config.method = method.to_config();
        let joins = |kind: TermKind| match config.task {
            TaskChoice::Topic => !kind.needs_label(),
            TaskChoice::Recommend | TaskChoice::Retrieve => kind.compares_texts(),
        };
        if config.data.unlabelled.is_some() && !method.any(joins) {
            tracing::info!("data.unlabelled is left out: the method has no term that such texts could join");
            config.data.unlabelled = None;
        }
        let train = train(&config.train)?;
        if config.checkpoints.keep == 0 {
            bail!("checkpoints.keep is 0, expected at least 1; `checkpoints.every: never` makes none");
        }
        (config.train.head_lr, config.train.teacher_lr) = (Some(train.head_lr), Some(train.teacher_lr));
        let data = data::data(&mut config)?;
        let models = models::models(&config, &method, &data)?;
        check_together(&data, &train, &method, &models)?;
        Ok(Self {
            name,
            output,
            seed: config.seed,
            device: device(config.device)?,
            precision: precision(config.precision),
            threads,
            data,
            teacher: models.teacher,
            source_config: models.source_config,
            trained: models.trained,
            teacher_config: models.teacher_config,
            keep_outputs: match config.teacher.outputs {
                OutputsChoice::Auto => KeepOutputs::IfItPays,
                OutputsChoice::Compute => KeepOutputs::No,
                OutputsChoice::F32 => KeepOutputs::F32,
                OutputsChoice::Bf16 => KeepOutputs::Bf16,
            },
            student_layers: config.student.layers,
            student_config: models.student_config,
            student_start: models.student_start,
            method,
            train,
            checkpoints: config.checkpoints.clone(),
            resolved: config,
        })
    }
}

/// Reads a configuration, applies overrides and plans it.
///
/// # Errors
/// As [`config::read`] and [`Plan::new`]; a problem that the plan finds points at the line of the file, or at the
/// override, that it comes from.
pub fn read_plan(path: &Path, overrides: &[Override]) -> Result<Plan> {
    read_shared_plan(path, overrides, (0, 1))
}

/// As [`read_plan`], for process `local_rank` of the `local_size` on this machine: where the configuration leaves it open,
/// they divide the cores, and each has a GPU of its own.
///
/// # Errors
/// As [`read_plan`].
pub fn read_shared_plan(path: &Path, overrides: &[Override], (local_rank, local_size): (usize, usize)) -> Result<Plan> {
    let mut config = config::read(path, overrides)?;
    config.threads.get_or_insert((cores() / local_size).max(1));
    let is_open = config.device == DeviceChoice::Auto;
    let mut plan = Plan::new(config).map_err(|problem| config::point(problem, path, overrides))?;
    // Where a launcher shows each process one GPU alone, that is its own.
    if is_open && matches!(plan.device, Device::Cuda(_)) && tch::Cuda::device_count() > 1 {
        plan.device = device(DeviceChoice::Cuda(local_rank))?;
    }
    Ok(plan)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// What no section of the configuration can check alone.
fn check_together(data: &DataPlan, train: &TrainPlan, method: &Method, models: &models::ModelsPlan) -> Result<()> {
    let all = [
        ("teacher", &models.teacher_config, true),
        ("teacher.checkpoint", &models.source_config, method.teacher == TeacherRole::Joint),
        ("student", &models.student_config, method.has_student()),
    ];
    for (name, config, _) in all.into_iter().filter(|(_, _, takes_part)| *takes_part) {
        let most = config.max_position_embeddings;
        if data.max_tokens as i64 > most {
            bail!("data.max_tokens is {}, but the {name} has {most} positions", data.max_tokens);
        }
        if let TaskPlan::Recommend(RecommendPlan { self_attention: Some(heads), .. }) = data.task
            && config.hidden_size % heads != 0
        {
            bail!(
                "reader.self_attention is {heads}, expected a number of heads that divides the {} hidden units of the {name}",
                config.hidden_size
            );
        }
    }
    if let (TaskPlan::Retrieve(RetrievePlan { negatives: 0, .. }), BatchSize::Sequences(1)) = (&data.task, train.batch)
    {
        bail!("train.batch is 1, expected at least 2: a batch's other news are what a query's is told from");
    }
    if let (TaskPlan::Retrieve(_), Temperature::Flsw { .. }) = (&data.task, method.temperature) {
        bail!(
            "method.temperature.rule is flsw, but in task: retrieve the scores that stand for no candidate would decide; \
             expected cwsm or a number"
        );
    }
    Ok(())
}

/// The number format that a choice stands for.
pub fn precision(choice: PrecisionChoice) -> Precision {
    match choice {
        PrecisionChoice::F32 => Precision::F32,
        PrecisionChoice::Bf16 => Precision::Bf16,
    }
}

/// The device that a choice stands for on this machine.
///
/// # Errors
/// If libtorch sees no such device.
pub fn device(choice: DeviceChoice) -> Result<Device> {
    let count = tch::Cuda::device_count() as usize;
    match choice {
        DeviceChoice::Auto if count > 0 => Ok(Device::Cuda(0)),
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(n) if n < count => Ok(Device::Cuda(n)),
        DeviceChoice::Cuda(n) => {
            bail!("device is cuda:{n}, but libtorch sees {count} CUDA devices; `cargo xtask doctor` says more")
        }
    }
}

fn train(config: &TrainConfig) -> Result<TrainPlan> {
    let c = config;
    let positive = [
        ("train.epochs", c.epochs),
        ("train.batch", c.batch as u64),
        ("train.accumulate", c.accumulate as u64),
        ("train.log_every", c.log_every),
        ("train.max_steps", c.max_steps.unwrap_or(1)),
        ("train.patience", c.patience.unwrap_or(1)),
        ("train.tokens", c.tokens.unwrap_or(1) as u64),
    ];
    if let Some((key, _)) = positive.iter().find(|(_, n)| *n == 0) {
        bail!("{key} is 0, expected at least 1");
    }
    let (head_lr, teacher_lr) = (c.head_lr.unwrap_or(c.lr), c.teacher_lr.unwrap_or(c.lr));
    let numbers = [
        ("train.lr", c.lr),
        ("train.head_lr", head_lr),
        ("train.teacher_lr", teacher_lr),
        ("train.weight_decay", c.weight_decay),
        ("train.clip", c.clip),
    ];
    if let Some((key, n)) = numbers.iter().find(|(_, n)| !(*n >= 0.0 && n.is_finite())) {
        bail!("{key} is {n}, expected a number of at least 0");
    }
    if !(0.0..=1.0).contains(&c.warmup) {
        bail!("train.warmup is {}, expected a share of the steps from 0 to 1", c.warmup);
    }
    Ok(TrainPlan {
        epochs: c.epochs,
        max_steps: c.max_steps,
        batch: c.tokens.map_or(BatchSize::Sequences(c.batch), BatchSize::Tokens),
        accumulate: c.accumulate,
        lr: c.lr,
        head_lr,
        teacher_lr,
        warmup: c.warmup,
        weight_decay: c.weight_decay,
        clip: c.clip,
        eval_every: c.eval_every,
        patience: c.patience,
        log_every: c.log_every,
        not_finite: c.not_finite,
        keep: if c.recompute { ActivationCheckpoint::LayerInputs } else { ActivationCheckpoint::Off },
    })
}
