//! From a plan to the models of a run.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nb_dist::ProcessGroup;
use nb_model::{Arena, Bert, BertConfig, Dense};
use nb_share::{LayerMap, initialise};
use tch::Kind;

use crate::method::{Method, Share, TeacherRole, TermKind};
use crate::model::saved_folder::{Description, fill_top};
use crate::model::teacher_cache::{self, Kept, Output};
use crate::model::{Model, Models};
use crate::plan::{ModelSource, Plan, StudentStart};
use crate::run_folder::provenance;
use crate::task::{Layers, Task, Tops, Widths};

/// Salts that keep the random numbers of different purposes apart.
const TOP_SEED: u64 = 1;
const TEACHER_SEED: u64 = 2;
const STUDENT_SEED: u64 = 3;
const PROJECTION_SEED: u64 = 4;

impl<T: Layers> Models<T> {
    /// Loads the teachers, makes the student, and gives all their top layers.
    ///
    /// # Errors
    /// If a checkpoint cannot be loaded, or if teacher and student do not fit the method.
    pub fn build<K: Task<Top = T>>(plan: &Plan, task: &K) -> Result<Self> {
        let method = &plan.method;
        let source = load(&plan.teacher, &plan.source_config, plan, TEACHER_SEED).context("teacher")?;
        let student = method.has_student().then(|| student(plan, &source)).transpose().context("student")?;
        let map = match &student {
            Some(student) if method.needs_layer_map() => {
                Some(LayerMap::uniform(plan.teacher_config.num_hidden_layers as usize, student.depth())?)
            }
            _ => None,
        };
        let widths = Widths {
            teacher: plan.teacher_config.hidden_size,
            student: student.as_ref().map_or(plan.teacher_config.hidden_size, |s| s.config().hidden_size),
        };
        let Tops { teacher: teacher_top, student: student_top } =
            task.tops(widths, method.share, nb_data::random::mix(&[plan.seed, TOP_SEED]), plan.device);
        let keeping = |mut bert: Bert| {
            bert.set_keep(plan.train.keep);
            bert
        };
        let mut frozen = Vec::new();
        if method.teacher == TeacherRole::Frozen {
            let one = |folder: &std::path::PathBuf| {
                trained(folder, plan, task).context(format!("teacher {}", folder.display()))
            };
            frozen = plan.trained.iter().map(one).collect::<Result<_>>()?;
        }
        let kept = keep(plan, task, &frozen);
        let mut frozen = frozen.into_iter();
        Ok(Self {
            teacher: match method.teacher {
                TeacherRole::Absent => None,
                TeacherRole::Frozen => Some(frozen.next().context("method.teacher is frozen, but there is none")?),
                TeacherRole::Joint => Some(Model { bert: keeping(source), top: teacher_top }),
            },
            others: frozen.collect(),
            projection: student.as_ref().and_then(|_| projection(plan, widths)),
            student: student.map(|bert| Model { bert: keeping(bert), top: student_top }),
            map,
            kept,
        })
    }

    /// All parameters that the method trains beside the encoders of [`Models::named`] and what stands on them.
    pub fn extra_arenas(&self) -> Vec<&Arena> {
        self.projection.iter().map(Dense::arena).collect()
    }
}

/// A layer from the student's width to the teacher's, where a term compares both.
fn projection(plan: &Plan, widths: Widths) -> Option<Dense> {
    let needed = widths.student != widths.teacher && plan.method.any(TermKind::compares_widths);
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

/// A model of random weights.
fn random(config: &BertConfig, plan: &Plan, salt: u64) -> Result<Bert> {
    let mut bert = Bert::zeros(config.clone(), plan.device, plan.precision)?;
    bert.randomise(nb_data::random::mix(&[plan.seed, salt]));
    Ok(bert)
}

fn student(plan: &Plan, teacher: &Bert) -> Result<Bert> {
    match &plan.student_start {
        StudentStart::Teacher(init) => {
            let mut student = Bert::zeros(plan.student_config.clone(), plan.device, plan.precision)?;
            initialise(&mut student, teacher, *init);
            Ok(student)
        }
        StudentStart::Random => random(&plan.student_config, plan, STUDENT_SEED),
        StudentStart::Checkpoint(folder) => Ok(Bert::load(folder, plan.device, plan.precision)?),
    }
}

/// A model of a run as it was saved, for the same task.
///
/// # Errors
/// If the folder holds no such model, or one of another task, other labels or another tokenizer.
pub fn trained<K: Task>(folder: &Path, plan: &Plan, task: &K) -> Result<Model<K::Top>> {
    let Some(description) = Description::read(folder)? else {
        bail!("it holds an encoder without top layers, expected a model folder of a run")
    };
    task.accept(&description)?;
    let bert = Bert::load(folder, plan.device, plan.precision)?;
    let tokenizer = crate::model::tokenizer::load(folder, bert.config())?;
    if tokenizer.fingerprint() != task.tokenizer().fingerprint() {
        bail!("its tokenizer is not that of {}, expected the same", plan.teacher.tokenizer().display());
    }
    let most = bert.config().max_position_embeddings;
    if plan.data.max_tokens as i64 > most {
        bail!("it has {most} positions, but data.max_tokens is {}", plan.data.max_tokens);
    }
    let top = own_top(&bert, plan, task);
    fill_top(folder, &top.arenas())?;
    Ok(Model { bert, top })
}

/// A model of a run as the first process has it in a folder, in all processes: for the same task, of the form of `like`.
///
/// # Errors
/// Of the first process those of [`trained`]; if a process is lost.
pub fn trained_by_first<K: Task>(
    folder: &Path,
    (plan, task): (&Plan, &K),
    like: &BertConfig,
    processes: &ProcessGroup,
) -> Result<Model<K::Top>> {
    let mut model = if processes.is_first() {
        let _work = processes.at_work();
        trained(folder, plan, task)?
    } else {
        let bert = Bert::zeros(like.clone(), plan.device, plan.precision)?;
        let top = own_top(&bert, plan, task);
        Model { bert, top }
    };
    for arena in std::iter::once(model.bert.arena()).chain(model.top.arenas()) {
        processes.broadcast(&mut arena.values())?;
    }
    model.bert.parameters_changed();
    Ok(model)
}

/// Top layers for an encoder that shares them with no other.
fn own_top<K: Task>(bert: &Bert, plan: &Plan, task: &K) -> K::Top {
    let hidden = bert.config().hidden_size;
    task.tops(Widths { teacher: hidden, student: hidden }, Share::NONE, 0, plan.device).teacher
}

/// The outputs of frozen teachers that a method looks at, if all of them can be kept. Attention scores cannot: they are as
/// many as text is long squared.
pub fn outputs(method: &Method, teacher: &BertConfig, student_layers: usize) -> Option<Vec<Output>> {
    if method.any(|kind| kind == TermKind::Attention) {
        return None;
    }
    let layers = teacher.num_hidden_layers as usize;
    let mut outputs: Vec<Output> =
        method.teacher_states(layers, student_layers).into_iter().map(Output::State).collect();
    if method.any(|kind| kind == TermKind::Patience) {
        let firsts = (1..student_layers).map(|j| method.pkd_layers.teacher_state(j, layers, student_layers));
        outputs.extend(firsts.map(Output::First));
    }
    if method.any(TermKind::needs_outputs) {
        outputs.push(Output::Pooled);
    }
    outputs.sort();
    outputs.dedup();
    Some(outputs)
}

/// What frozen teachers make of the texts, kept on disk if the plan says so; where that fails they compute it in every step.
fn keep<K: Task>(plan: &Plan, task: &K, teachers: &[Model<K::Top>]) -> Vec<Kept> {
    let Some((outputs, states)) = kept_outputs(plan, task) else { return Vec::new() };
    let one = |(folder, model): (&std::path::PathBuf, &Model<K::Top>)| -> Result<Kept> {
        let key = format!("{} {:?} {:?}", provenance::weights(folder)?, plan.precision, plan.device);
        let source =
            teacher_cache::Source { bert: &model.bert, key: &key, cache: &plan.data.cache.join("outputs"), states };
        // Of a further teacher the logits alone count.
        let outputs = if std::ptr::eq(model, &teachers[0]) { outputs.clone() } else { vec![Output::Pooled] };
        Kept::open(&source, &outputs, &task.stores(), |states, packed| task.pooled(&model.top, states, packed))
    };
    let all: Result<Vec<Kept>> = plan.trained.iter().zip(teachers).map(one).collect();
    all.unwrap_or_else(|e| {
        tracing::warn!("the teacher's outputs are computed in every step, since they cannot be kept: {e:#}");
        Vec::new()
    })
}

/// Which outputs of a frozen teacher are kept, and the kind of their states; none if they are computed in every step.
pub fn kept_outputs<K: Task>(plan: &Plan, task: &K) -> Option<(Vec<Output>, Kind)> {
    if plan.method.teacher != TeacherRole::Frozen {
        return None;
    }
    let outputs = outputs(&plan.method, &plan.teacher_config, plan.student_layers)?;
    let bytes = |kind| teacher_cache::bytes(&outputs, &task.stores(), plan.teacher_config.hidden_size, kind);
    let kind = plan.cache_policy.kind(plan.train.epochs, bytes)?;
    tracing::info!(
        "keeping the teacher's outputs ({}) in {}",
        teacher_cache::readable(bytes(kind)),
        plan.data.cache.join("outputs").display()
    );
    Some((outputs, kind))
}
