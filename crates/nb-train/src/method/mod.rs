//! Methods as data: where the teacher stands, what is shared and blended, and which weighted terms are summed when.
//!
//! The step interprets a [`Method`] and never asks for its name. A new method is one entry in [`presets`]; a new kind of
//! term is one variant of [`TermKind`], one arm in [`crate::step::terms`] and one function in `nb-loss`.

mod config;
mod course;
mod presets;
mod temperature;
mod term;

use anyhow::{Result, bail};
use nb_loss::SoftScaling;
use nb_model::Capture;
use nb_share::{LayerMap, Sharing};

pub use course::Course;
pub use presets::presets;
pub use temperature::Temperature;
pub use term::{Term, TermKind};

/// Where the teacher stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeacherRole {
    /// There is none.
    Absent,
    /// It was trained before, has a top of its own, and does not change.
    Frozen,
    /// It is trained along with the student, or alone.
    Joint,
}

/// Which top layers teacher and student have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Attentive pooling.
    pub pooling: Sharing,
    /// The dense layer; in recommendation the reader model.
    pub dense: Sharing,
}

impl Share {
    /// Each model has its own.
    pub const NOTHING: Self = Self { pooling: Sharing::Separate, dense: Sharing::Separate };
    /// Both are one.
    pub const TOP: Self = Self { pooling: Sharing::Shared, dense: Sharing::Shared };

    /// Whether anything is shared.
    pub fn is_any(self) -> bool {
        self != Self::NOTHING
    }
}

/// Which of the student's gradients take in the teacher's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blend {
    /// Those of the encoder layers, as in the paper.
    Layers,
    /// Those of the embedding layer too.
    LayersAndEmbeddings,
}

/// Which teacher layers the term `patience` sets against the student's layers 1 to N − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Layer j learns from layer jK.
    Skip,
    /// Layer j learns from layer L − N + j.
    Last,
}

impl Patience {
    /// The teacher's state that student state `j` (1 to N − 1) learns from, with L and N layers.
    pub fn teacher_state(self, j: usize, teacher_layers: usize, student_layers: usize) -> usize {
        match self {
            Self::Skip => j * (teacher_layers / student_layers),
            Self::Last => teacher_layers - student_layers + j,
        }
    }
}

/// How the logits of several frozen teachers become one row of logits v.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensemble {
    /// v = their mean.
    Mean,
    /// v = Σ_i w_i v_i with w = softmax over teachers of −CE(v_i, y), by row; rows without a label take the mean
    /// (Tiny-NewsRec, Yu et al. 2022, section 3.3).
    Loss,
}

/// A part of the training with terms of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its share of the steps, relative to the other stages'.
    pub share: f64,
    /// The terms of the total loss, in the order of [`TermKind::ALL`]; none has weight 0 throughout.
    pub terms: Vec<Term>,
}

impl Stage {
    /// Whether some term is of a kind that `is` is true of.
    pub fn any(&self, is: impl Fn(TermKind) -> bool) -> bool {
        self.terms.iter().any(|term| is(term.kind))
    }

    /// What the encoders have to show of their way to the last state.
    pub fn capture(&self) -> Capture {
        if self.any(|kind| kind == TermKind::Attention) {
            Capture::Scores
        } else if self.any(TermKind::needs_states) {
            Capture::States
        } else {
            Capture::Last
        }
    }
}

/// One way for a student (or a teacher) to learn.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// For reports; nothing depends on it.
    pub name: String,
    /// Where the teacher stands.
    pub teacher: TeacherRole,
    /// Temperature T of the soft terms.
    pub temperature: Temperature,
    /// Whether the soft terms are multiplied by T².
    pub scaling: SoftScaling,
    /// Share β of the teacher's gradients in the student's.
    pub beta: Course,
    /// What β applies to.
    pub blend: Blend,
    /// Which top layers are shared.
    pub share: Share,
    /// Which teacher layers the term `patience` looks at.
    pub patience: Patience,
    /// How several frozen teachers' logits become one.
    pub ensemble: Ensemble,
    /// One after the other; at least one, each with at least one term.
    pub stages: Vec<Stage>,
}

impl Method {
    /// Every term of every stage.
    pub fn terms(&self) -> impl Iterator<Item = &Term> {
        self.stages.iter().flat_map(|stage| &stage.terms)
    }

    /// Whether some term of some stage is of a kind that `is` is true of.
    pub fn any(&self, is: impl Fn(TermKind) -> bool) -> bool {
        self.terms().any(|term| is(term.kind))
    }

    /// Whether a student is trained.
    pub fn has_student(&self) -> bool {
        self.any(TermKind::needs_student)
    }

    /// Whether there is a teacher, trained along or frozen.
    pub fn has_teacher(&self) -> bool {
        self.teacher != TeacherRole::Absent
    }

    /// Whether gradients are blended at any time.
    pub fn blends(&self) -> bool {
        self.beta.most() > 0.0
    }

    /// Whether the layers of teacher and student are set against each other in groups.
    pub fn needs_layer_map(&self) -> bool {
        self.blends() || self.any(TermKind::needs_layers)
    }

    /// The teacher's states that some term compares with, in ascending order, for L and N layers.
    pub fn teacher_states(&self, teacher_layers: usize, student_layers: usize) -> Vec<usize> {
        let mut states = Vec::new();
        for term in self.terms() {
            match term.kind {
                TermKind::Embedding => states.push(0),
                TermKind::Cosine => states.push(teacher_layers),
                TermKind::Hidden => {
                    let map = LayerMap::uniform(teacher_layers, student_layers).ok();
                    states.extend(map.iter().flat_map(|map| (1..=student_layers).map(|i| map.teacher_state(i))));
                }
                _ => {}
            }
        }
        states.sort_unstable();
        states.dedup();
        states
    }

    /// Checks that the parts go together.
    ///
    /// # Errors
    /// If they do not; the message names the key.
    pub fn check(&self) -> Result<()> {
        if self.stages.iter().any(|stage| stage.terms.is_empty()) {
            bail!("method.weights leaves no term: at least one weight must be above 0");
        }
        match self.teacher {
            TeacherRole::Absent => self.check_absent(),
            TeacherRole::Frozen => self.check_frozen(),
            TeacherRole::Joint => self.check_joint(),
        }
    }

    fn check_absent(&self) -> Result<()> {
        if let Some(term) = self.terms().find(|t| t.kind.needs_teacher()) {
            bail!("method.weights.{} needs a teacher, but method.teacher is none", term.kind.name());
        }
        if self.blends() {
            bail!("method.beta is {}, but without a teacher there is no gradient to blend", self.beta);
        }
        if self.share.is_any() {
            bail!("method.share names top layers, but without a teacher there is nobody to share with");
        }
        Ok(())
    }

    fn check_frozen(&self) -> Result<()> {
        if self.any(|kind| kind == TermKind::Teacher) {
            bail!("method.weights.teacher is above 0, but method.teacher is frozen: it does not learn");
        }
        if self.blends() {
            bail!("method.beta is {}, but method.teacher is frozen: it has no gradient to blend", self.beta);
        }
        if self.share.is_any() {
            bail!("method.share names top layers, but method.teacher is frozen: it has a top of its own");
        }
        if !self.any(TermKind::needs_teacher) {
            bail!("method.teacher is frozen, but no term of method.weights looks at it; expected `none`");
        }
        Ok(())
    }

    fn check_joint(&self) -> Result<()> {
        if !self.has_student() && (self.blends() || self.share.is_any()) {
            bail!("method.beta and method.share are for a student, but no term of method.weights trains one");
        }
        if !self.any(|kind| kind == TermKind::Teacher) {
            bail!("method.teacher is joint, but method.weights.teacher is 0: the teacher would learn nothing");
        }
        if !self.stages.iter().all(|stage| stage.any(|kind| kind == TermKind::Teacher)) {
            bail!("method.stages has a stage without `teacher`, but method.teacher is joint: it learns in every stage");
        }
        Ok(())
    }
}
