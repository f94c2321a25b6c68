//! The two models of a plan: where their weights come from, their shapes, and whether they fit the method.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_model::{BertConfig, CONFIG_FILE, Checkpoint};
use nb_share::{Init, LayerMap};

use super::{DataPlan, TaskPlan};
use crate::config::{ConfigError, KeyPath, RunConfig, StudentConfig, StudentInit, TeacherConfig};
use crate::method::{Method, TeacherRole, TermKind};
use crate::model::saved_folder::Description;

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
        let why = "method.teacher is joint, which trains teacher.checkpoint";
        bail!(ConfigError::conflict("teacher.trained", "given", why).and("method.teacher"));
    }
    let teacher_config = match (trained.first(), method.teacher) {
        (Some(folder), TeacherRole::Frozen) => {
            BertConfig::read(&folder.join(CONFIG_FILE)).context(KeyPath::from("teacher.trained"))?
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
            let folder = checkpoint("teacher.checkpoint", name)?;
            let key = || KeyPath::from("teacher.checkpoint");
            let shape = BertConfig::read(&folder.join(CONFIG_FILE)).with_context(key)?;
            Ok((ModelSource::Folder(folder), shape))
        }
        (None, Some(random)) => {
            let key = || KeyPath::from("teacher.random.tokenizer");
            let tokenizer = nb_data::Tokenizer::from_folder(&random.tokenizer).with_context(key)?;
            let mut shape = BertConfig::new(tokenizer.vocab_size() as i64, random.hidden, random.layers, random.heads);
            shape.intermediate_size = random.intermediate.unwrap_or(shape.intermediate_size);
            shape.check().context(KeyPath::from("teacher.random"))?;
            Ok((ModelSource::Random { tokenizer: random.tokenizer.clone() }, shape))
        }
        (Some(_), Some(_)) => {
            let why = "teacher.random is given too; remove one of them";
            bail!(ConfigError::conflict("teacher.checkpoint", "given", why).and("teacher.random"))
        }
        (None, None) => bail!(ConfigError::expected("teacher", "empty", "one of `checkpoint` and `random`")),
    }
}

fn start(init: &StudentInit) -> Result<StudentStart> {
    Ok(match init {
        StudentInit::First => StudentStart::Teacher(Init::First),
        StudentInit::Spaced => StudentStart::Teacher(Init::Spaced),
        StudentInit::Random => StudentStart::Random,
        StudentInit::Checkpoint(name) => StudentStart::Checkpoint(checkpoint("student.init", name)?),
    })
}

/// The folder of a checkpoint, which is downloaded if it is on the hub.
fn checkpoint(key: &str, name: &str) -> Result<PathBuf> {
    let checkpoint = name.parse::<Checkpoint>().with_context(|| KeyPath::from(key))?;
    checkpoint.resolve().with_context(|| KeyPath::from(key))
}

/// The student's shape: the teacher's, but for its depth and what the configuration says.
fn shape(config: &StudentConfig, source: &BertConfig) -> Result<BertConfig> {
    let mut shape = source.with_layers(config.layers as i64);
    shape.hidden_size = config.hidden.unwrap_or(shape.hidden_size);
    shape.num_attention_heads = config.heads.unwrap_or(shape.num_attention_heads);
    let inner = config.hidden.map_or(source.intermediate_size, |hidden| hidden.saturating_mul(4));
    shape.intermediate_size = config.intermediate.unwrap_or(inner);
    if config.layers > 0 {
        shape.check().context(KeyPath::from("student"))?;
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
        bail!(ConfigError::expected("student.layers", config.layers, format!("1 to {most}")));
    }
    match start {
        StudentStart::Teacher(_) => {
            for (key, given, teachers) in [
                ("hidden", config.hidden, source.hidden_size),
                ("heads", config.heads, source.num_attention_heads),
                ("intermediate", config.intermediate, source.intermediate_size),
            ] {
                if let Some(given) = given.filter(|&given| given != teachers) {
                    let why = format!(
                        "a student that starts from the teacher's layers has its {teachers}; expected student.init: \
                         random or a checkpoint"
                    );
                    bail!(ConfigError::conflict(format!("student.{key}"), given, why).and("student.init"));
                }
            }
        }
        StudentStart::Random => {}
        StudentStart::Checkpoint(folder) => {
            let found = BertConfig::read(&folder.join(CONFIG_FILE)).context(KeyPath::from("student.init"))?;
            if found.num_hidden_layers as usize != config.layers {
                let why = format!("{} has {} layers", folder.display(), found.num_hidden_layers);
                bail!(ConfigError::conflict("student.layers", config.layers, why).and("student.init"));
            }
            if let Some((key, found, expected)) = found.differing_key(own) {
                let why = format!(
                    "its {key} is {found}, expected {expected}: the teacher's, or the one that student.hidden, heads and \
                     intermediate give"
                );
                bail!(ConfigError::conflict("student.init", folder.display(), why));
            }
        }
    }
    Ok(())
}

/// Teacher and student must fit what the method compares, blends and shares.
fn check_pair(method: &Method, student: &BertConfig, teacher: &BertConfig) -> Result<()> {
    let (l, n) = (teacher.num_hidden_layers as usize, student.num_hidden_layers as usize);
    if method.needs_layer_map() {
        LayerMap::uniform(l, n).context(KeyPath::from("student.layers"))?;
    }
    if method.any(|kind| kind == TermKind::Patience) && n > l {
        let why = format!("the term `patience` needs a teacher at least as deep, and the teacher has {l} layers");
        bail!(ConfigError::conflict("student.layers", n, why));
    }
    equal_sizes(method).into_iter().try_for_each(|needed| needed.check(student, teacher))?;
    Ok(())
}

/// A size that teacher and student must have in common, since a part of the method needs it.
struct EqualSize {
    /// The part of the method.
    key: &'static str,
    /// Its value.
    found: String,
    needs: &'static str,
    unit: &'static str,
    size: fn(&BertConfig) -> i64,
    /// The key that gives the student another size than the teacher's.
    set_by: &'static str,
}

/// The sizes that a method needs to be equal.
fn equal_sizes(method: &Method) -> Vec<EqualSize> {
    let width = |key, found| EqualSize {
        key,
        found,
        needs: "equal widths",
        unit: "hidden units",
        size: |config| config.hidden_size,
        set_by: "student.hidden",
    };
    let mut needed = Vec::new();
    if method.share.is_any() {
        needed.push(width("method.share", method.share.to_string()));
    }
    if method.blends() {
        needed.push(width("method.beta", method.beta.to_string()));
        needed.push(EqualSize {
            needs: "layers of equal shape",
            unit: "feed-forward units",
            size: |config| config.intermediate_size,
            set_by: "student.intermediate",
            ..width("method.beta", method.beta.to_string())
        });
    }
    if method.any(|kind| kind == TermKind::Attention) {
        needed.push(EqualSize {
            needs: "equal numbers of attention heads",
            unit: "heads",
            size: |config| config.num_attention_heads,
            set_by: "student.heads",
            ..width("method.weights.attention", "above 0".to_owned())
        });
    }
    needed
}

impl EqualSize {
    fn check(&self, student: &BertConfig, teacher: &BertConfig) -> Result<(), ConfigError> {
        let (student, teacher) = ((self.size)(student), (self.size)(teacher));
        if student == teacher {
            return Ok(());
        }
        let (needs, unit) = (self.needs, self.unit);
        let why = format!("it needs {needs}: the student has {student} {unit}, the teacher {teacher}");
        Err(ConfigError::conflict(self.key, &self.found, why).and(self.set_by))
    }
}
