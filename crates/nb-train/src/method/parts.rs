//! The parts of a method that take one of a few values.

use std::fmt;

use nb_share::Sharing;

use crate::config::{EnsembleChoice, PkdLayersChoice, TeacherRoleChoice};

/// Role of the teacher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeacherRole {
    /// There is no teacher.
    Absent,
    /// The teacher was trained before the student, has its own top layers, and does not change.
    Frozen,
    /// The teacher is trained together with the student, or alone.
    Joint,
}

impl From<TeacherRoleChoice> for TeacherRole {
    fn from(choice: TeacherRoleChoice) -> Self {
        match choice {
            TeacherRoleChoice::None => Self::Absent,
            TeacherRoleChoice::Frozen => Self::Frozen,
            TeacherRoleChoice::Joint => Self::Joint,
        }
    }
}

impl From<TeacherRole> for TeacherRoleChoice {
    fn from(part: TeacherRole) -> Self {
        match part {
            TeacherRole::Absent => Self::None,
            TeacherRole::Frozen => Self::Frozen,
            TeacherRole::Joint => Self::Joint,
        }
    }
}

/// Top layers that teacher and student share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Attentive pooling.
    pub pooling: Sharing,
    /// The dense layer; in recommendation the user model.
    pub dense: Sharing,
}

impl Share {
    /// Each model has its own top layers.
    pub const NONE: Self = Self { pooling: Sharing::Separate, dense: Sharing::Separate };
    /// All top layers are shared.
    pub const ALL: Self = Self { pooling: Sharing::Shared, dense: Sharing::Shared };

    /// Returns whether any layer is shared.
    pub fn is_any(self) -> bool {
        self != Self::NONE
    }
}

impl fmt::Display for Share {
    /// The shared layers, as the configuration lists them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_shared = |sharing| sharing == Sharing::Shared;
        f.write_str(match (is_shared(self.pooling), is_shared(self.dense)) {
            (true, true) => "[pooling, dense]",
            (true, false) => "[pooling]",
            (false, true) => "[dense]",
            (false, false) => "[]",
        })
    }
}

/// The student's gradients that the teacher's are blended into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blend {
    /// The gradients of the encoder layers, as in the paper.
    Layers,
    /// The gradients of the encoder layers and of the embedding layer.
    LayersAndEmbeddings,
}

/// Teacher layers that the term `patience` (PKD) compares with the student's layers 1 to N − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PkdLayers {
    /// Layer j learns from layer jK.
    Skip,
    /// Layer j learns from layer L − N + j.
    Last,
}

impl PkdLayers {
    /// Returns the index of the teacher state that student state `j` (1 to N − 1) learns from, with L teacher layers and N
    /// student layers.
    pub fn teacher_state(self, j: usize, teacher_layers: usize, student_layers: usize) -> usize {
        match self {
            Self::Skip => j * (teacher_layers / student_layers),
            Self::Last => teacher_layers - student_layers + j,
        }
    }
}

impl From<PkdLayersChoice> for PkdLayers {
    fn from(choice: PkdLayersChoice) -> Self {
        match choice {
            PkdLayersChoice::Skip => Self::Skip,
            PkdLayersChoice::Last => Self::Last,
        }
    }
}

impl From<PkdLayers> for PkdLayersChoice {
    fn from(part: PkdLayers) -> Self {
        match part {
            PkdLayers::Skip => Self::Skip,
            PkdLayers::Last => Self::Last,
        }
    }
}

/// Combination of the logits v_i of several frozen teachers into one row of logits v.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ensemble {
    /// v = mean of the v_i.
    Mean,
    /// v = Σ_i w_i v_i with w = softmax over teachers of −CE(v_i, y), per row; rows without a label take the mean
    /// (Tiny-NewsRec, Yu et al. 2022, section 3.3).
    Loss,
}

impl From<EnsembleChoice> for Ensemble {
    fn from(choice: EnsembleChoice) -> Self {
        match choice {
            EnsembleChoice::Mean => Self::Mean,
            EnsembleChoice::Loss => Self::Loss,
        }
    }
}

impl From<Ensemble> for EnsembleChoice {
    fn from(part: Ensemble) -> Self {
        match part {
            Ensemble::Mean => Self::Mean,
            Ensemble::Loss => Self::Loss,
        }
    }
}
