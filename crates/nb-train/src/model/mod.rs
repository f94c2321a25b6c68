//! The models of a run: teacher and student, each an encoder with the head of its task.

pub(crate) mod build;
pub(crate) mod caches;
mod card;
mod classifier;
mod head_layers;
pub(crate) mod output_cache;
mod outputs;
pub(crate) mod saved_folder;
pub(crate) mod tokenizer;

use std::collections::BTreeMap;

use nb_model::{Arena, Bert, Capture, Dense, DropoutKey, Encoded, Packed, Pass};
use nb_share::LayerMap;
use serde::{Deserialize, Serialize};

pub use self::build::{needs_projection, trained_head, widths};
pub use self::caches::{CachePlan, cacheable_outputs};
pub use self::card::{CardLabels, CardText, ModelCard};
pub use self::head_layers::HeadLayers;
pub use self::output_cache::{CachedEncoder, EncoderOutput, LoadedOutputs, OutputCache, cache_size, format_bytes};
pub use self::outputs::HeadOutputs;
pub use self::saved_folder::save_head;
use crate::method::TeacherRole;
use crate::optim::ParamGroup;
use crate::task::TaskHead;

/// An encoder with the head of a task.
#[derive(Debug)]
pub struct Model<T> {
    /// The encoder.
    pub bert: Bert,
    /// The head.
    pub head: T,
}

/// The models of a run.
#[derive(Debug)]
pub struct Models<T> {
    /// The large model, if the method has one.
    pub teacher: Option<Model<T>>,
    /// Further frozen teachers, whose logits are combined with the first one's.
    pub extra_teachers: Vec<Model<T>>,
    /// The small model, if the method trains one.
    pub student: Option<Model<T>>,
    /// Projection from the student's width to the teacher's, if they differ and states are compared.
    pub projection: Option<Dense>,
    /// The teacher layers of each student layer, if the method compares or blends layers.
    pub map: Option<LayerMap>,
    /// Cached outputs of the frozen teachers: the first teacher's, then the extra teachers'. Empty without a cache.
    pub teacher_caches: Vec<OutputCache>,
    /// Cached states of the fixed layers of models that learn ([`Bert::fixed_layers`]).
    pub fixed_states: BTreeMap<Role, OutputCache>,
}

impl<T> Models<T> {
    /// Makes the models of a method with one teacher and a student.
    pub fn pair(teacher: Model<T>, student: Model<T>) -> Self {
        let map = LayerMap::uniform(teacher.bert.depth(), student.bert.depth()).ok();
        let (teacher, student) = (Some(teacher), Some(student));
        Self {
            teacher,
            extra_teachers: Vec::new(),
            student,
            projection: None,
            map,
            teacher_caches: Vec::new(),
            fixed_states: BTreeMap::new(),
        }
    }

    /// Returns teacher and student with their roles, the teacher first.
    pub fn named(&self) -> impl Iterator<Item = (Role, &Model<T>)> {
        let teacher = self.teacher.iter().map(|m| (Role::Teacher, m));
        teacher.chain(self.student.iter().map(|m| (Role::Student, m)))
    }

    /// Returns the models that are trained if the teacher has this role.
    pub fn trained(&self, teacher: TeacherRole) -> impl Iterator<Item = (Role, &Model<T>)> {
        self.named().filter(move |(role, _)| *role == Role::Student || teacher == TeacherRole::Joint)
    }

    /// Notifies the trained encoders that their parameters have changed. `teacher` is the teacher's role.
    pub(crate) fn parameters_changed(&mut self, teacher: TeacherRole) {
        self.trained_mut(teacher).for_each(|model| model.bert.trained_parameters_changed());
    }

    /// Notifies the trained encoders that an update of `groups` has changed their parameters.
    pub(crate) fn updated(&mut self, teacher: TeacherRole, groups: &[ParamGroup]) {
        for model in self.trained_mut(teacher) {
            if groups.iter().any(|group| group.writes_copies_of(&model.bert)) {
                model.bert.trained_parameters_and_copies_changed();
            } else {
                model.bert.trained_parameters_changed();
            }
        }
    }

    fn trained_mut(&mut self, teacher: TeacherRole) -> impl Iterator<Item = &mut Model<T>> {
        let trained = self.teacher.iter_mut().filter(move |_| teacher == TeacherRole::Joint);
        trained.chain(&mut self.student)
    }
}

/// Teacher or student.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The large model.
    Teacher,
    /// The small model.
    Student,
}

impl Role {
    /// Returns the name in files and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Teacher => "teacher",
            Self::Student => "student",
        }
    }
}

impl<T> Model<T> {
    /// Runs a training pass over a micro-batch. The dropout key must be unique to this model and this micro-batch.
    pub fn encode(&self, packed: &Packed, capture: Capture, key: u64) -> Encoded {
        self.bert.encode(packed, Pass::Training(DropoutKey::Key(key)), capture)
    }

    /// Returns the width of the model's vectors.
    pub(crate) fn vector_width(&self) -> usize
    where
        T: TaskHead,
    {
        self.head.width(self.bert.config().hidden_size) as usize
    }

    /// Returns the encoder's parameters.
    pub fn arena(&self) -> &Arena {
        self.bert.arena()
    }
}
