//! Teacher and student as a run holds them, and how they come to be.

use anyhow::{Context, Result};
use nb_model::{Arena, Bert, BertConfig, DropoutKey, Packed, Pass};
use nb_share::{LayerMap, initialise};

use crate::plan::{ModelSource, Plan, StudentStart};
use crate::task::{Task, Tops};

/// An encoder with the top layers of a task.
#[derive(Debug)]
pub struct Model<T> {
    /// The encoder.
    pub bert: Bert,
    /// What stands on it.
    pub top: T,
}

/// The models that a run trains.
#[derive(Debug)]
pub struct Models<T> {
    /// The large one, where the method trains it.
    pub teacher: Option<Model<T>>,
    /// The small one, where the method trains it.
    pub student: Option<Model<T>>,
    /// Which teacher layers stand behind each student layer, where the method sets them against each other.
    pub map: Option<LayerMap>,
}

/// Salts that keep the random numbers of different purposes apart.
const TOP_SEED: u64 = 1;
const TEACHER_SEED: u64 = 2;
const STUDENT_SEED: u64 = 3;

impl<T> Models<T> {
    /// Loads the teacher's checkpoint, makes the student from it, and gives both their top layers.
    ///
    /// # Errors
    /// If a checkpoint cannot be loaded, or if teacher and student do not fit the method.
    pub fn build<K: Task<Top = T>>(plan: &Plan, task: &K) -> Result<Self> {
        let method = &plan.method;
        let source = load(&plan.teacher, &plan.teacher_config, plan, TEACHER_SEED).context("teacher")?;
        let hidden = source.config().hidden_size;
        let student = method.has_student().then(|| student(plan, &source)).transpose().context("student")?;
        let map = match &student {
            Some(student) if method.needs_layer_map() => Some(LayerMap::uniform(source.depth(), student.depth())?),
            _ => None,
        };
        let Tops { teacher: teacher_top, student: student_top } =
            task.tops(hidden, method.share, nb_data::random::mix(&[plan.seed, TOP_SEED]), plan.device);
        Ok(Self {
            teacher: method.has_teacher().then_some(Model { bert: source, top: teacher_top }),
            student: student.map(|bert| Model { bert, top: student_top }),
            map,
        })
    }

    /// Both models with their names, the teacher first.
    pub fn named(&self) -> impl Iterator<Item = (Role, &Model<T>)> {
        let teacher = self.teacher.iter().map(|m| (Role::Teacher, m));
        teacher.chain(self.student.iter().map(|m| (Role::Student, m)))
    }
}

/// Which of the two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The large one.
    Teacher,
    /// The small one.
    Student,
}

impl Role {
    /// The name in files and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Teacher => "teacher",
            Self::Student => "student",
        }
    }
}

impl<T> Model<T> {
    /// A training pass over a micro-batch; the dropout key belongs to this model and this micro-batch alone.
    pub fn encode(&self, packed: &Packed, key: u64) -> nb_model::Encoded {
        self.bert.encode(packed, Pass::Training(DropoutKey::Key(key)))
    }

    /// The encoder's parameters.
    pub fn arena(&self) -> &Arena {
        self.bert.arena()
    }
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
    let config = teacher.config().with_layers(plan.student_layers as i64);
    match &plan.student_start {
        StudentStart::Teacher(init) => {
            let mut student = Bert::zeros(config, plan.device, plan.precision)?;
            initialise(&mut student, teacher, *init);
            Ok(student)
        }
        StudentStart::Random => random(&config, plan, STUDENT_SEED),
        StudentStart::Checkpoint(folder) => Ok(Bert::load(folder, plan.device, plan.precision)?),
    }
}
