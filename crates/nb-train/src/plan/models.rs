//! The two models of a plan: where their weights come from, their shapes, and whether they fit the method.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_checkpoint::{BertConfig, CONFIG_FILE, CheckpointLocation, ConfigDifference, Description};
use nb_share::{Init, LayerMap};

use super::{DataPlan, TaskPlan};
use crate::config::{RunConfig, StudentConfig, StudentInit, TeacherConfig};
use crate::method::{Method, TeacherRole, TermKind};

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

/// The models' part of a plan.
pub(super) struct ModelsPlan {
    pub(super) teacher: ModelSource,
    pub(super) source_config: BertConfig,
    pub(super) trained: Vec<PathBuf>,
    pub(super) teacher_config: BertConfig,
    pub(super) student_config: BertConfig,
    pub(super) student_start: StudentStart,
}

/// Checks the configuration's `teacher` and `student` against the method.
///
/// # Errors
/// With the key, what stands there and what was expected.
pub(super) fn models(config: &RunConfig, method: &Method, data: &DataPlan) -> Result<ModelsPlan> {
    let (teacher, source_config) = source(&config.teacher)?;
    let mut trained = config.teacher.trained.clone().unwrap_or_default();
    if let (true, ModelSource::Folder(folder), TeacherRole::Frozen) = (trained.is_empty(), &teacher, method.teacher)
        && Description::read(folder)?.is_some_and(|own| own.task == task_name(data))
    {
        trained.push(folder.clone()); // it is one already
    }
    if !trained.is_empty() && method.teacher == TeacherRole::Joint {
        bail!("teacher.trained is given, but method.teacher is joint, which trains teacher.checkpoint");
    }
    let teacher_config = match (trained.first(), method.teacher) {
        (Some(folder), TeacherRole::Frozen) => {
            BertConfig::read(&folder.join(CONFIG_FILE)).context("teacher.trained")?
        }
        _ => source_config.clone(),
    };
    let student_start = start(&config.student.init)?;
    let student_config = shape(&config.student, &source_config)?;
    if method.has_student() {
        check_start(&config.student, &student_start, &student_config, &source_config)?;
        check_pair(method, &student_config, &teacher_config)?;
    }
    Ok(ModelsPlan { teacher, source_config, trained, teacher_config, student_config, student_start })
}

fn task_name(data: &DataPlan) -> &'static str {
    match data.task {
        TaskPlan::Topic(_) => "topic",
        TaskPlan::Recommend(_) => "recommend",
        TaskPlan::Retrieve(_) => "retrieve",
    }
}

fn source(config: &TeacherConfig) -> Result<(ModelSource, BertConfig)> {
    match (&config.checkpoint, &config.random) {
        (Some(name), None) => {
            let folder = name.parse::<CheckpointLocation>()?.resolve().context("teacher.checkpoint")?;
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
            StudentStart::Checkpoint(name.parse::<CheckpointLocation>()?.resolve().context("student.init")?)
        }
    })
}

/// The student's shape: the teacher's, but for its depth and what the configuration says.
fn shape(config: &StudentConfig, source: &BertConfig) -> Result<BertConfig> {
    let mut shape = source.with_layers(config.layers as i64);
    shape.hidden_size = config.hidden.unwrap_or(shape.hidden_size);
    shape.num_attention_heads = config.heads.unwrap_or(shape.num_attention_heads);
    let inner = config.hidden.map_or(source.intermediate_size, |hidden| hidden.saturating_mul(4));
    shape.intermediate_size = config.intermediate.unwrap_or(inner);
    if config.layers > 0 {
        shape.check().context("student")?;
    }
    Ok(shape)
}

/// A student that starts from the teacher's layers cannot be deeper or of another width; one of its own must be what the
/// configuration says, with the teacher's vocabulary, since the tokenizer is the teacher's.
fn check_start(config: &StudentConfig, start: &StudentStart, own: &BertConfig, source: &BertConfig) -> Result<()> {
    const MOST_LAYERS: usize = 1024;
    let l = source.num_hidden_layers as usize;
    let most = if matches!(start, StudentStart::Teacher(_)) { l } else { MOST_LAYERS };
    if !(1..=most).contains(&config.layers) {
        bail!("student.layers is {}, expected 1 to {most}", config.layers);
    }
    match start {
        StudentStart::Teacher(_) => {
            for (key, given, teachers) in [
                ("hidden", config.hidden, source.hidden_size),
                ("heads", config.heads, source.num_attention_heads),
                ("intermediate", config.intermediate, source.intermediate_size),
            ] {
                if let Some(given) = given.filter(|&given| given != teachers) {
                    bail!(
                        "student.{key} is {given}, but a student that starts from the teacher's layers has its \
                         {teachers}; expected student.init: random or a checkpoint"
                    );
                }
            }
        }
        StudentStart::Random => {}
        StudentStart::Checkpoint(folder) => {
            let found = BertConfig::read(&folder.join(CONFIG_FILE)).context("student.init")?;
            if found.num_hidden_layers as usize != config.layers {
                bail!(
                    "student.layers is {}, but {} has {} layers",
                    config.layers,
                    folder.display(),
                    found.num_hidden_layers
                );
            }
            if let Some(ConfigDifference { key, value, other }) = found.first_difference(own) {
                let folder = folder.display();
                bail!(
                    "student.init: {folder} has {key} {value}, expected {other}: the teacher's, or what student.hidden, \
                     heads and intermediate say"
                );
            }
        }
    }
    Ok(())
}

/// Teacher and student must fit what the method compares, blends and shares.
fn check_pair(method: &Method, student: &BertConfig, teacher: &BertConfig) -> Result<()> {
    let (l, n) = (teacher.num_hidden_layers as usize, student.num_hidden_layers as usize);
    if method.needs_layer_map() {
        LayerMap::uniform(l, n).context("student.layers")?;
    }
    if method.any(|kind| kind == TermKind::Patience) && n > l {
        bail!("student.layers is {n}, but the term patience needs a teacher at least as deep, which has {l}");
    }
    if student.hidden_size != teacher.hidden_size {
        let (own, others) = (student.hidden_size, teacher.hidden_size);
        if method.share.is_any() {
            bail!("method.share needs equal widths, but the student has {own} hidden units and the teacher {others}");
        }
        if method.blends() {
            bail!("method.beta needs equal widths, but the student has {own} hidden units and the teacher {others}");
        }
    }
    if method.blends() && student.intermediate_size != teacher.intermediate_size {
        let (own, others) = (student.intermediate_size, teacher.intermediate_size);
        bail!(
            "method.beta needs layers of equal shape, but the student has {own} feed-forward units, the teacher {others}"
        );
    }
    if method.any(|kind| kind == TermKind::Attention) && student.num_attention_heads != teacher.num_attention_heads {
        let (own, others) = (student.num_attention_heads, teacher.num_attention_heads);
        bail!(
            "method.weights.attention needs as many heads in both models, but the student has {own}, the teacher {others}"
        );
    }
    Ok(())
}
