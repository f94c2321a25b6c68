//! Teacher and student as a run holds them.

pub mod build;
pub mod saved_folder;
pub mod teacher_cache;
pub(crate) mod tokenizer;

use nb_model::{Arena, Bert, Capture, Dense, DropoutKey, Encoded, Packed, Pass};
use nb_share::LayerMap;
use serde::{Deserialize, Serialize};

use crate::method::TeacherRole;
use crate::model::teacher_cache::TeacherCache;

/// An encoder with the top layers of a task.
#[derive(Debug)]
pub struct Model<T> {
    /// The encoder.
    pub bert: Bert,
    /// What stands on it.
    pub head: T,
}

/// The models of a run.
#[derive(Debug)]
pub struct Models<T> {
    /// The large one, where the method has one.
    pub teacher: Option<Model<T>>,
    /// Further frozen teachers, whose logits count along.
    pub others: Vec<Model<T>>,
    /// The small one, where the method trains it.
    pub student: Option<Model<T>>,
    /// From the student's width to the teacher's, where they differ and states are compared.
    pub projection: Option<Dense>,
    /// Which teacher layers stand behind each student layer, where the method sets them against each other.
    pub map: Option<LayerMap>,
    /// What frozen teachers make of the texts, where that is kept: the first teacher's, then the others'.
    pub kept: Vec<TeacherCache>,
}

impl<T> Models<T> {
    /// Teacher and student alone.
    pub fn pair(teacher: Model<T>, student: Model<T>) -> Self {
        let map = LayerMap::uniform(teacher.bert.depth(), student.bert.depth()).ok();
        let (teacher, student) = (Some(teacher), Some(student));
        Self { teacher, others: Vec::new(), student, projection: None, map, kept: Vec::new() }
    }

    /// Both models with their names, the teacher first.
    pub fn named(&self) -> impl Iterator<Item = (Role, &Model<T>)> {
        let teacher = self.teacher.iter().map(|m| (Role::Teacher, m));
        teacher.chain(self.student.iter().map(|m| (Role::Student, m)))
    }

    /// Those of them that are trained where the teacher has this role.
    pub fn trained(&self, teacher: TeacherRole) -> impl Iterator<Item = (Role, &Model<T>)> {
        self.named().filter(move |(role, _)| *role == Role::Student || teacher == TeacherRole::Joint)
    }

    /// Tells the encoders that are trained where the teacher has this role that their values were written.
    pub(crate) fn parameters_changed(&mut self, teacher: TeacherRole) {
        let trained = self.teacher.iter_mut().filter(|_| teacher == TeacherRole::Joint);
        trained.chain(&mut self.student).for_each(|model| model.bert.parameters_changed());
    }

    /// Layers of teacher and student; 0 for one that is not there.
    pub fn depths(&self) -> (usize, usize) {
        let depth = |model: &Option<Model<T>>| model.as_ref().map_or(0, |m| m.bert.depth());
        (depth(&self.teacher), depth(&self.student))
    }
}

/// Which of the two models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    pub fn encode(&self, packed: &Packed, capture: Capture, key: u64) -> Encoded {
        self.bert.encode(packed, Pass::Training(DropoutKey::Key(key)), capture)
    }

    /// The encoder's parameters.
    pub fn arena(&self) -> &Arena {
        self.bert.arena()
    }
}
