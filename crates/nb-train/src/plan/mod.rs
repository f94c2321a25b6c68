//! From what the user typed to what will be done: every check that can be made before training, and every derived value.
//!
//! The rest of the crate sees a [`Plan`] or parts of it, never the configuration.

mod data;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_data::BatchSize;
use nb_model::{BertConfig, CONFIG_FILE, Checkpoint, Precision};
use nb_share::{Init, LayerMap};
use tch::Device;

use crate::config::{DeviceChoice, EvalEvery, PrecisionChoice, RunConfig, StudentInit, TeacherConfig, TrainConfig};
use crate::method::Method;
pub(crate) use data::cache_folder;
pub use data::{ClickLog, DataPlan, Dev, QueryLog, RecommendPlan, RetrievePlan, TaskPlan, TopicPlan, click_log};

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
    /// Where the large model comes from.
    pub teacher: ModelSource,
    /// The large model's shape.
    pub teacher_config: BertConfig,
    /// Depth of the small model.
    pub student_layers: usize,
    /// Where the small model's weights come from.
    pub student_start: StudentStart,
    /// How they learn.
    pub method: Method,
    /// The optimisation.
    pub train: TrainPlan,
    /// The configuration with every default filled in, for the run folder.
    pub resolved: RunConfig,
}

/// Where a model comes from.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// A Hugging Face folder.
    Folder(PathBuf),
    /// Random weights.
    Random {
        /// Folder of the tokenizer.
        tokenizer: PathBuf,
    },
}

impl ModelSource {
    /// The folder of the tokenizer.
    pub fn tokenizer(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Random { tokenizer } => tokenizer,
        }
    }
}

/// What the student starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StudentStart {
    /// The teacher's embeddings and some of its layers.
    Teacher(Init),
    /// Random weights.
    Random,
    /// A folder of its own.
    Checkpoint(PathBuf),
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
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = config.threads.unwrap_or(cores);
        if !(1..=4096).contains(&threads) {
            bail!("threads is {threads}, expected a number from 1 to 4096");
        }
        config.threads = Some(threads);
        let method = Method::from_config(&config.method)?;
        config.method = method.to_config();
        let train = train(&config.train)?;
        (config.train.head_lr, config.train.teacher_lr) = (Some(train.head_lr), Some(train.teacher_lr));
        let data = data::data(&mut config)?;
        let (teacher, teacher_config) = teacher(&config.teacher)?;
        let most = teacher_config.max_position_embeddings;
        if data.max_tokens as i64 > most {
            bail!("data.max_tokens is {}, but the teacher has {most} positions", data.max_tokens);
        }
        if let (TaskPlan::Retrieve(RetrievePlan { negatives: 0, .. }), BatchSize::Sequences(1)) =
            (&data.task, train.batch)
        {
            bail!("train.batch is 1, expected at least 2: a batch's other news are what a query's is told from");
        }
        if let TaskPlan::Recommend(RecommendPlan { self_attention: Some(heads), .. }) = data.task
            && teacher_config.hidden_size % heads != 0
        {
            let hidden = teacher_config.hidden_size;
            bail!(
                "reader.self_attention is {heads}, expected a number of heads that divides the {hidden} hidden units"
            );
        }
        let student_layers = config.student.layers;
        let student_start = start(&config.student.init)?;
        if method.has_student() {
            student_depth(&method, &student_start, &teacher_config, student_layers)?;
        }
        Ok(Self {
            name,
            output,
            seed: config.seed,
            device: device(config.device)?,
            precision: precision(config.precision),
            threads,
            data,
            teacher,
            teacher_config,
            student_layers,
            student_start,
            method,
            train,
            resolved: config,
        })
    }
}

/// The number format that a choice stands for.
pub(crate) fn precision(choice: PrecisionChoice) -> Precision {
    match choice {
        PrecisionChoice::F32 => Precision::F32,
        PrecisionChoice::Bf16 => Precision::Bf16,
    }
}

/// The device that a choice stands for on this machine.
pub(crate) fn device(choice: DeviceChoice) -> Result<Device> {
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
    })
}

fn teacher(config: &TeacherConfig) -> Result<(ModelSource, BertConfig)> {
    match (&config.checkpoint, &config.random) {
        (Some(name), None) => {
            let folder = name.parse::<Checkpoint>()?.resolve().context("teacher.checkpoint")?;
            let shape = BertConfig::read(&folder.join(CONFIG_FILE)).context("teacher.checkpoint")?;
            Ok((ModelSource::Folder(folder), shape))
        }
        (None, Some(random)) => {
            let tokenizer = nb_data::Tokenizer::from_folder(&random.tokenizer).context("teacher.random.tokenizer")?;
            let mut shape = BertConfig::new(tokenizer.vocab_size() as i64, random.hidden, random.layers, random.heads);
            shape.intermediate_size = random.intermediate.unwrap_or(shape.intermediate_size);
            shape.check().context("teacher.random")?;
            Ok((ModelSource::Random { tokenizer: random.tokenizer.clone() }, shape))
        }
        _ => bail!("teacher needs one of `checkpoint` and `random`"),
    }
}

fn start(init: &StudentInit) -> Result<StudentStart> {
    Ok(match init {
        StudentInit::First => StudentStart::Teacher(Init::First),
        StudentInit::Spaced => StudentStart::Teacher(Init::Spaced),
        StudentInit::Random => StudentStart::Random,
        StudentInit::Checkpoint(name) => {
            StudentStart::Checkpoint(name.parse::<Checkpoint>()?.resolve().context("student.init")?)
        }
    })
}

/// A student that is set against the teacher layer by layer must divide it; one that starts from its layers cannot be
/// deeper; one of its own must be of the teacher's shape, since tokenizer, top layers and terms are made for that.
fn student_depth(method: &Method, start: &StudentStart, teacher: &BertConfig, layers: usize) -> Result<()> {
    const MOST_LAYERS: usize = 1024;
    let l = teacher.num_hidden_layers as usize;
    if method.needs_layer_map() {
        LayerMap::uniform(l, layers).context("student.layers")?;
    }
    let most = if matches!(start, StudentStart::Teacher(_)) { l } else { MOST_LAYERS };
    if !(1..=most).contains(&layers) {
        bail!("student.layers is {layers}, expected 1 to {most}");
    }
    if let StudentStart::Checkpoint(folder) = start {
        let own = BertConfig::read(&folder.join(CONFIG_FILE)).context("student.init")?;
        if own.num_hidden_layers as usize != layers {
            bail!("student.layers is {layers}, but {} has {} layers", folder.display(), own.num_hidden_layers);
        }
        if let Some((key, own, teachers)) = own.differing_key(teacher) {
            let folder = folder.display();
            bail!("student.init: {folder} has {key} {own}, the teacher {teachers}; only the depth may differ");
        }
    }
    Ok(())
}
