//! The two models of a plan: the sources of their weights, their shapes, and the checks that they fit the method.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_checkpoint::{BertConfig, CONFIG_FILE, CheckpointLocation, ConfigDifference, Description, SavedClassifier};
use nb_data::tokenizer::Words;
use nb_share::{LayerMap, end_layers, first_layers, spaced_layers};

use super::data::DataPlan;
use super::parts::LearnedParts;
use super::task::TaskKind;
use super::train::check_teacher;
use crate::config::{ConfigError, KeyPath, RunConfig, StudentConfig, StudentInit, TeacherConfig};
use crate::method::{Method, TeacherRole, TermKind};

/// Source of a model.
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
    /// Returns the folder of the tokenizer.
    pub fn tokenizer(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Random { tokenizer } => tokenizer,
        }
    }
}

/// Source of the student's initial weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StudentStart {
    /// The teacher's embeddings and these of its layers, counted from 0; one for each layer of the student.
    Teacher(Vec<usize>),
    /// Random weights.
    Random,
    /// A model folder.
    Checkpoint(PathBuf),
}

/// The part of a plan that describes the models.
pub(super) struct ModelsPlan {
    pub(super) teacher: ModelSource,
    pub(super) source_config: BertConfig,
    pub(super) trained: Vec<PathBuf>,
    pub(super) teacher_config: BertConfig,
    pub(super) parts: LearnedParts,
    pub(super) student_config: BertConfig,
    pub(super) student_start: StudentStart,
}

impl ModelsPlan {
    /// Checks the configuration's `teacher` and `student` against the method.
    ///
    /// # Errors
    /// If a value cannot be used, or a model that a key names cannot be read.
    pub(super) fn new(config: &RunConfig, method: &Method, data: &DataPlan, kind: &dyn TaskKind) -> Result<Self> {
        check_teacher(&config.teacher.train.unwrap_or_default())?;
        let (teacher, source_config) = source(&config.teacher, data.words)?;
        if !kind.trains_teacher() && matches!(teacher, ModelSource::Random { .. }) {
            let why = format!("task: {} learns from a trained checkpoint", kind.name());
            bail!(ConfigError::conflict("teacher.random", "given", why).and("task"));
        }
        let trained = trained(&config.teacher, &teacher, method, data, kind)?;
        let teacher_config = match (trained.first(), method.teacher) {
            (Some(folder), TeacherRole::Frozen) => shape("teacher.trained", folder)?,
            _ => source_config.clone(),
        };
        let student_start = if method.has_student() {
            start(&config.student, source_config.num_hidden_layers as usize)?
        } else {
            StudentStart::Teacher(Vec::new())
        };
        let student_config = student_shape(&config.student, &source_config)?;
        if method.has_student() {
            check_start(&config.student, &student_start, &student_config, &source_config)?;
            check_pair(method, &student_config, &teacher_config)?;
        }
        let teacher_learns = match method.teacher {
            TeacherRole::Joint => true,
            TeacherRole::Frozen => trained.is_empty(),
            TeacherRole::Absent => false,
        };
        Ok(Self {
            parts: LearnedParts::new(config, method, teacher_learns, &source_config, &student_config)?,
            teacher,
            source_config,
            trained,
            teacher_config,
            student_config,
            student_start,
        })
    }
}

/// Returns the folders of teachers that are already trained for the task: the given folders, else the teacher's checkpoint
/// if it was trained for the task, is a classifier whose training is not asked for, or is used as it comes.
fn trained(
    config: &TeacherConfig,
    source: &ModelSource,
    method: &Method,
    data: &DataPlan,
    kind: &dyn TaskKind,
) -> Result<Vec<PathBuf>> {
    let given = config.trained.clone().unwrap_or_default();
    if !given.is_empty() && method.teacher == TeacherRole::Joint {
        let why = "method.teacher is joint, which trains teacher.checkpoint";
        bail!(ConfigError::conflict("teacher.trained", "given", why).and("method.teacher"));
    }
    let is_untouched = !kind.trains_teacher() || config.train.unwrap_or_default().epochs == Some(0);
    if config.train.unwrap_or_default().epochs == Some(0) && !given.is_empty() {
        let why = "teacher.trained is given, and trained teachers are used as they are";
        bail!(ConfigError::conflict("teacher.train.epochs", 0, why).and("teacher.trained"));
    }
    match source {
        ModelSource::Folder(folder) if is_untouched && given.is_empty() && method.teacher == TeacherRole::Frozen => {
            Ok(vec![folder.clone()])
        }
        ModelSource::Folder(folder)
            if given.is_empty()
                && method.teacher == TeacherRole::Frozen
                && Description::read(folder)?.is_some_and(|description| description.task == data.task.name()) =>
        {
            Ok(vec![folder.clone()])
        }
        ModelSource::Folder(folder)
            if given.is_empty()
                && method.teacher == TeacherRole::Frozen
                && config.train.unwrap_or_default().epochs.is_none()
                && !kind.ranks() // which uses no classifier
                // A head that is not one of topics, such as a regression, is left out, and a new one is trained.
                && matches!(SavedClassifier::read(folder), Ok(Some(_))) =>
        {
            Ok(vec![folder.clone()])
        }
        _ => Ok(given),
    }
}

/// Reads the shape of the model in the folder that a key names.
fn shape(key: &str, folder: &Path) -> Result<BertConfig> {
    BertConfig::read(&folder.join(CONFIG_FILE)).with_context(|| KeyPath::from(key))
}

fn source(config: &TeacherConfig, words: Words) -> Result<(ModelSource, BertConfig)> {
    match (&config.checkpoint, &config.random) {
        (Some(name), None) => {
            let folder = checkpoint("teacher.checkpoint", name)?;
            let shape = shape("teacher.checkpoint", &folder)?;
            Ok((ModelSource::Folder(folder), shape))
        }
        (None, Some(random)) => {
            let key = || KeyPath::from("teacher.random.tokenizer");
            let tokenizer = nb_data::Tokenizer::with_words(&random.tokenizer, words).with_context(key)?;
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

/// Most layers of a student that does not start from the teacher's.
const MAX_LAYERS: usize = 1024;

/// Returns the student's initial weights. `l` is the number of the teacher's layers.
fn start(config: &StudentConfig, l: usize) -> Result<StudentStart> {
    let n = config.layers;
    let from_teacher = !matches!(config.init, StudentInit::Random | StudentInit::Checkpoint(_));
    let most = if from_teacher { l } else { MAX_LAYERS };
    if !(1..=most).contains(&n) {
        bail!(ConfigError::expected("student.layers", n, format!("1 to {most}")));
    }
    Ok(StudentStart::Teacher(match &config.init {
        StudentInit::First => first_layers(n),
        StudentInit::Spaced => spaced_layers(n, l),
        StudentInit::Ends => end_layers(n, l),
        StudentInit::Layers(layers) => {
            check_layers("student.init.layers", layers, n, l)?;
            if let Some((i, layer)) = layers.iter().enumerate().find(|&(i, layer)| layers[..i].contains(layer)) {
                bail!(ConfigError::expected(format!("student.init.layers[{i}]"), layer, "distinct layers"));
            }
            layers.clone()
        }
        StudentInit::Random => return Ok(StudentStart::Random),
        StudentInit::Checkpoint(name) => return Ok(StudentStart::Checkpoint(checkpoint("student.init", name)?)),
    }))
}

/// Checks layers of the teacher that a key gives by number: one for each of `n` student layers, of `l` teacher layers.
fn check_layers(key: &str, layers: &[usize], n: usize, l: usize) -> Result<(), ConfigError> {
    if layers.len() != n {
        let expected = format!("{n} numbers, one for each of student.layers");
        return Err(ConfigError::expected(key, format!("{layers:?}"), expected).and("student.layers"));
    }
    match layers.iter().enumerate().find(|&(_, &layer)| layer >= l) {
        Some((i, layer)) => {
            Err(ConfigError::expected(format!("{key}[{i}]"), layer, format!("0 to {}, a layer of the teacher", l - 1)))
        }
        None => Ok(()),
    }
}

/// Returns the folder of a checkpoint, and downloads the checkpoint if it is on the hub.
fn checkpoint(key: &str, name: &str) -> Result<PathBuf> {
    let checkpoint = name.parse::<CheckpointLocation>().with_context(|| KeyPath::from(key))?;
    checkpoint.resolve().with_context(|| KeyPath::from(key))
}

/// Returns the student's shape: the teacher's shape, with the configured number of layers and sizes.
fn student_shape(config: &StudentConfig, source: &BertConfig) -> Result<BertConfig> {
    let mut shape = source.with_layers(config.layers as i64);
    shape = shape.with_hidden_size(config.hidden.unwrap_or(shape.hidden_size));
    shape.num_attention_heads = config.heads.unwrap_or(shape.num_attention_heads);
    let inner = config.hidden.map_or(source.intermediate_size, |hidden| hidden.saturating_mul(4));
    shape.intermediate_size = config.intermediate.unwrap_or(inner);
    if config.layers > 0 {
        shape.check().context(KeyPath::from("student"))?;
    }
    Ok(shape)
}

/// Checks the student's shape against its initial weights.
fn check_start(config: &StudentConfig, start: &StudentStart, student: &BertConfig, source: &BertConfig) -> Result<()> {
    match start {
        StudentStart::Teacher(_) => Ok(check_teachers_layers(config, source)?),
        StudentStart::Random => Ok(()),
        StudentStart::Checkpoint(folder) => check_checkpoint(config, folder, student),
    }
}

/// Checks that the student has the sizes of the teacher's layers, from which it starts.
fn check_teachers_layers(config: &StudentConfig, source: &BertConfig) -> Result<(), ConfigError> {
    let check = |key: &str, given: Option<i64>, teachers: i64| match given.filter(|&given| given != teachers) {
        Some(given) => {
            let why = format!(
                "a student that starts from the teacher's layers needs {teachers}, as in the teacher; set student.init to random \
                 or a checkpoint"
            );
            Err(ConfigError::conflict(key, given, why).and("student.init"))
        }
        None => Ok(()),
    };
    check("student.hidden", config.hidden, source.hidden_size)?;
    check("student.heads", config.heads, source.num_attention_heads)?;
    check("student.intermediate", config.intermediate, source.intermediate_size)
}

/// Checks that a checkpoint has the configured shape and the teacher's vocabulary, since the student uses the teacher's
/// tokenizer.
fn check_checkpoint(config: &StudentConfig, folder: &Path, student: &BertConfig) -> Result<()> {
    let found = shape("student.init", folder)?;
    if found.num_hidden_layers as usize != config.layers {
        let why = format!("{} has {} layers", folder.display(), found.num_hidden_layers);
        bail!(ConfigError::conflict("student.layers", config.layers, why).and("student.init"));
    }
    if let Some(ConfigDifference { key, value, other }) = found.first_difference(student) {
        let why = format!(
            "its {key} is {value}, expected {other}, the teacher's value or the one set by student.hidden, \
             student.heads and student.intermediate"
        );
        bail!(ConfigError::conflict("student.init", folder.display(), why));
    }
    Ok(())
}

/// Checks that teacher and student fit what the method compares, blends and shares.
fn check_pair(method: &Method, student: &BertConfig, teacher: &BertConfig) -> Result<()> {
    let (l, n) = (teacher.num_hidden_layers as usize, student.num_hidden_layers as usize);
    if method.needs_layer_map() {
        LayerMap::uniform(l, n).context(KeyPath::from("student.layers"))?;
    }
    if let Some(layers) = &method.layers {
        check_layers("method.layers", layers, n, l)?;
    }
    if method.any(|kind| kind == TermKind::Patience) && n > l {
        let why = format!("the term `patience` needs a teacher at least as deep, and the teacher has {l} layers");
        bail!(ConfigError::conflict("student.layers", n, why));
    }
    equal_sizes(method).into_iter().try_for_each(|needed| needed.check(student, teacher))?;
    Ok(())
}

/// A size that must be equal in teacher and student for a part of the method.
struct EqualSize {
    /// The part of the method.
    key: &'static str,
    /// Its value.
    found: String,
    needs: &'static str,
    unit: &'static str,
    size: fn(&BertConfig) -> i64,
    /// The key that sets the student's size.
    set_by: &'static str,
}

/// Returns the sizes that must be equal for a method.
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
