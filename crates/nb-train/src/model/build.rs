//! Building the models of a run from its plan.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nb_checkpoint::{CONFIG_FILE, Description};
use nb_dist::ProcessGroup;
use nb_model::{Arena, Bert, BertConfig, Dense, TrainedParts};
use nb_share::{LayerMap, initialise};

use crate::method::{Share, TeacherRole, TermKind};
use crate::model::classifier::read_head;
use crate::model::saved_folder::{check_projection, fill_head};
use crate::model::{Model, Models, caches};
use crate::plan::{ModelSource, Plan, StudentStart};
use crate::task::{Task, TaskHead, Widths};

/// Salts that separate the random numbers of different purposes.
const HEAD_SEED: u64 = 1;
const TEACHER_SEED: u64 = 2;
const STUDENT_SEED: u64 = 3;
const PROJECTION_SEED: u64 = 4;

impl<T: TaskHead> Models<T> {
    /// Loads the teachers, initialises the student, and adds a head to each.
    ///
    /// # Errors
    /// If a checkpoint cannot be loaded, or if teacher and student do not fit the method.
    pub fn build<K: Task<Head = T>>(plan: &Plan, task: &K) -> Result<Self> {
        let method = &plan.method;
        let source = source(plan)?;
        let student = method.has_student().then(|| first_student(plan, &source)).transpose()?;
        let map = match &student {
            Some(student) if method.needs_layer_map() => {
                Some(LayerMap::uniform(plan.teacher_config.num_hidden_layers as usize, student.depth())?)
            }
            _ => None,
        };
        let widths = widths(plan);
        let heads = task.heads(widths, method.share, nb_data::random::mix(&[plan.seed, HEAD_SEED]), plan.device);
        let trainable = |mut bert: Bert, head, parts| {
            bert.train_only(parts);
            bert.set_activation_checkpoint(plan.train.keep);
            Model { bert, head }
        };
        let frozen = frozen_teachers(plan, task)?;
        if let Some(teacher) = frozen.first().filter(|_| takes_teachers_head(plan)) {
            copy_head(&teacher.head, &heads.student);
        }
        let teacher_caches = caches::of_teachers(plan, task, &frozen);
        let mut frozen = frozen.into_iter();
        let mut models = Self {
            teacher: match method.teacher {
                TeacherRole::Absent => None,
                TeacherRole::Frozen => {
                    Some(frozen.next().context("method.teacher is frozen, but no teacher is given")?)
                }
                TeacherRole::Joint => Some(trainable(source, heads.teacher, plan.parts.teacher)),
            },
            extra_teachers: frozen.collect(),
            projection: student.as_ref().and_then(|_| projection(plan, widths)),
            student: student.map(|mut bert| {
                if !plan.student_dropout {
                    bert.turn_off_dropout();
                }
                trainable(bert, heads.student, plan.parts.student)
            }),
            map,
            teacher_caches,
            fixed_states: BTreeMap::new(),
        };
        models.fixed_states = caches::of_fixed_layers(plan, task, &models);
        Ok(models)
    }

    /// Returns the parameters that the method trains besides the encoders and heads of [`Models::named`].
    pub fn extra_arenas(&self) -> Vec<&Arena> {
        self.projection.iter().map(Dense::arena).collect()
    }
}

/// Returns whether the student starts with the head of its frozen teacher: in tasks that rank, if no term trains what follows
/// the vectors, such as a reader model. The student learns the teacher's vectors, so the teacher's head fits them.
pub(crate) fn takes_teachers_head(plan: &Plan) -> bool {
    plan.ranks
        && plan.method.teacher == TeacherRole::Frozen
        && !plan.method.any(|kind| kind.needs_label() || kind.compares_logits())
}

/// Returns the layers of the student's or a joint teacher's head that are trained. Without a gradient, weight decay alone would
/// change what follows the vectors.
pub fn trained_head<'a, T: TaskHead>(plan: &Plan, head: &'a T) -> Vec<&'a Arena> {
    if takes_teachers_head(plan) { head.vector_arenas() } else { head.arenas() }
}

/// Copies each layer of a head that the other head has with the same shape.
fn copy_head<T: TaskHead>(from: &T, to: &T) {
    for arena in to.arenas() {
        if let Some(same) = from.arenas().into_iter().find(|other| other.layout().slots() == arena.layout().slots()) {
            arena.values().copy_(&same.values());
        }
    }
}

/// Loads the frozen teachers of a method, if it has any.
fn frozen_teachers<K: Task>(plan: &Plan, task: &K) -> Result<Vec<Model<K::Head>>> {
    if plan.method.teacher != TeacherRole::Frozen {
        return Ok(Vec::new());
    }
    let load = |folder: &PathBuf| -> Result<Model<K::Head>> {
        let mut model = saved_model(folder, plan, task)?;
        model.bert.train_only(TrainedParts::NONE);
        let (vectors, hidden) = (model.vector_width() as i64, model.bert.config().hidden_size);
        if vectors != hidden {
            bail!("its head projects to {vectors} units, expected the {hidden} hidden units of its encoder");
        }
        Ok(model)
    };
    plan.trained.iter().map(|folder| load(folder).with_context(|| format!("teacher {}", folder.display()))).collect()
}

/// Returns the widths of a plan's models. Without a student they are all the teacher's.
pub fn widths(plan: &Plan) -> Widths {
    let teacher = plan.teacher_config.hidden_size;
    let student = if plan.method.has_student() { plan.student_config.hidden_size } else { teacher };
    Widths { teacher, student, vectors: if plan.projects_vectors { teacher } else { student } }
}

/// Returns whether a term compares states or vectors of teacher and student that differ in width and that the student's head
/// does not project.
pub fn needs_projection(kind: TermKind, widths: Widths) -> bool {
    let student = if kind.compares_vectors() { widths.vectors } else { widths.student };
    kind.compares_widths() && student != widths.teacher
}

/// Makes a projection from the student's width to the teacher's, if a term needs it.
fn projection(plan: &Plan, widths: Widths) -> Option<Dense> {
    let needed = plan.method.any(|kind| needs_projection(kind, widths));
    needed.then(|| {
        let mut projection = Dense::named("projection", widths.student, widths.teacher, plan.device);
        projection.randomise(nb_data::random::mix(&[plan.seed, PROJECTION_SEED]));
        projection
    })
}

fn load(source: &ModelSource, config: &BertConfig, plan: &Plan, salt: u64) -> Result<Bert> {
    match source {
        ModelSource::Folder(folder) => Ok(Bert::load(folder, plan.device, plan.precision)?),
        ModelSource::Random { .. } => random(config, plan, salt),
    }
}

/// Makes a model with random weights.
fn random(config: &BertConfig, plan: &Plan, salt: u64) -> Result<Bert> {
    let mut bert = Bert::zeros(config.clone(), plan.device, plan.precision)?;
    bert.randomise(nb_data::random::mix(&[plan.seed, salt]));
    Ok(bert)
}

/// Loads the model that the teacher starts from.
///
/// # Errors
/// If it cannot be loaded.
pub(crate) fn source(plan: &Plan) -> Result<Bert> {
    load(&plan.teacher, &plan.source_config, plan, TEACHER_SEED).context("teacher")
}

/// Makes the student before its first step; `teacher` is the model that the teacher starts from.
///
/// # Errors
/// If a checkpoint cannot be loaded.
pub(crate) fn first_student(plan: &Plan, teacher: &Bert) -> Result<Bert> {
    init_student(plan, teacher).context("student")
}

/// Makes the student and initialises it according to the plan.
fn init_student(plan: &Plan, teacher: &Bert) -> Result<Bert> {
    match &plan.student_start {
        StudentStart::Teacher(layers) => {
            let mut student = Bert::zeros(plan.student_config.clone(), plan.device, plan.precision)?;
            initialise(&mut student, teacher, layers);
            Ok(student)
        }
        StudentStart::Random => random(&plan.student_config, plan, STUDENT_SEED),
        StudentStart::Checkpoint(folder) => Ok(Bert::load(folder, plan.device, plan.precision)?),
    }
}

/// Loads a saved model of a run, for the same task, or a fine-tuned classifier for a task with classes; for a teacher that is
/// used as it comes, an encoder will do.
///
/// # Errors
/// If the folder contains no such model, or one for another task, with other labels or with another tokenizer.
pub(crate) fn saved_model<K: Task>(folder: &Path, plan: &Plan, task: &K) -> Result<Model<K::Head>> {
    let description = match Description::read(folder)? {
        Some(found) => checked(found, folder, plan, task)?,
        None => None,
    };
    let hidden = BertConfig::read(&folder.join(CONFIG_FILE))?.hidden_size;
    let classifier = match &description {
        Some(_) => None,
        None => read_head(folder, hidden, plan, task)?,
    };
    if description.is_none() && classifier.is_none() && !is_untouched(folder, plan) {
        bail!("the folder contains an encoder without a head, expected the model folder of a run or a classifier");
    }
    let bert = Bert::load(folder, plan.device, plan.precision)?;
    let tokenizer = crate::model::tokenizer::load_for(plan, folder, bert.config())?;
    if tokenizer.fingerprint() != task.tokenizer().fingerprint() {
        bail!("its tokenizer differs, expected that of {}", plan.teacher.tokenizer().display());
    }
    let most = bert.config().max_tokens();
    let longest = plan.data.longest_sequence();
    if longest as i64 > most {
        let key = if plan.data.windows.is_some() { "data.windows.size" } else { "data.max_tokens" };
        bail!("it has {most} positions, expected at least {longest} ({key})");
    }
    if let Some(head) = classifier {
        return Ok(Model { bert, head });
    }
    if let Some(description) = &description {
        check_projection(folder, &description.head, hidden)?;
    }
    let projected = description.as_ref().and_then(|description| description.head.projection);
    let head = separate_head(&bert, projected.unwrap_or(hidden), plan, task);
    if description.is_some() {
        fill_head(folder, &head.arenas())?;
    }
    Ok(Model { bert, head })
}

/// Returns the description of a saved model if the task can use the model; `None` if the task can use its encoder alone.
fn checked<K: Task>(found: Description, folder: &Path, plan: &Plan, task: &K) -> Result<Option<Description>> {
    match task.check_description(&found) {
        Ok(()) => Ok(Some(found)),
        // An encoder that was trained for another task is a checkpoint like any other, if its vectors need nothing else.
        Err(_)
            if is_untouched(folder, plan)
                && found.task != task.name()
                && found.head.pooling == plan.head.pooling
                && found.head.projection.is_none() =>
        {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// Returns whether a folder is that of a frozen teacher that is used as it comes, whose head needs no training.
fn is_untouched(folder: &Path, plan: &Plan) -> bool {
    let is_source = matches!(&plan.teacher, ModelSource::Folder(source) if source == folder);
    plan.takes_teacher_as_it_comes() && is_source && plan.trained == [folder]
}

/// Loads a saved model with the shapes of `like` in the main process, and copies it to all others.
///
/// # Errors
/// If [`saved_model`] fails in the main process, or if a process is lost.
pub(crate) fn saved_model_from_main<K: Task>(
    folder: &Path,
    plan: &Plan,
    task: &K,
    like: &Model<K::Head>,
    processes: &ProcessGroup,
) -> Result<Model<K::Head>> {
    let mut model = if processes.is_main() {
        let _work = processes.busy();
        saved_model(folder, plan, task)?
    } else {
        let bert = Bert::zeros(like.bert.config().clone(), plan.device, plan.precision)?;
        let head = separate_head(&bert, like.vector_width() as i64, plan, task);
        Model { bert, head }
    };
    for arena in std::iter::once(model.bert.arena()).chain(model.head.arenas()) {
        processes.broadcast(&mut arena.values())?;
    }
    model.bert.parameters_changed();
    Ok(model)
}

/// Makes a head that is not shared, whose vectors have `vectors` units.
fn separate_head<K: Task>(bert: &Bert, vectors: i64, plan: &Plan, task: &K) -> K::Head {
    let hidden = bert.config().hidden_size;
    task.heads(Widths { vectors, ..Widths::equal(hidden) }, Share::NONE, 0, plan.device).student
}
