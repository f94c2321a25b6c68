//! A method, its stages and their terms.

use nb_loss::SoftScaling;
use nb_model::Capture;
use nb_share::LayerMap;

use super::parts::{Blend, Ensemble, PkdLayers, Share, TeacherRole};
use super::ramp::Ramp;
use super::temperature::Temperature;
use crate::config::TermKind;

/// A term of the total loss, with its weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// Kind of the loss.
    pub kind: TermKind,
    /// Factor over the course of the stage.
    pub weight: Ramp,
}

/// A part of the training, with its own terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Share of the steps, relative to the other stages.
    pub share: f64,
    /// The terms of the total loss, in the order of [`TermKind::ALL`]; none has weight 0 throughout.
    pub terms: Vec<Term>,
}

impl Stage {
    /// Returns whether `is` holds for the kind of any term.
    pub fn any(&self, is: impl Fn(TermKind) -> bool) -> bool {
        self.terms.iter().any(|term| is(term.kind))
    }

    /// Returns the values that the encoders must record for the terms, in addition to the last state.
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

/// A method by which a student (or a teacher) learns.
#[derive(Debug, Clone, PartialEq)]
pub struct Method {
    /// Name for reports; nothing depends on it.
    pub name: String,
    /// Role of the teacher.
    pub teacher: TeacherRole,
    /// Temperature T of the soft terms.
    pub temperature: Temperature,
    /// Scaling of the soft terms: by T², or none.
    pub scaling: SoftScaling,
    /// Scale of the cosines in the term `similarity_kl`.
    pub similarity_scale: f64,
    /// Share β of the teacher's gradients in the student's.
    pub beta: Ramp,
    /// Gradients that β applies to.
    pub blend: Blend,
    /// Top layers that are shared.
    pub share: Share,
    /// Teacher layers, counted from 0, that the terms `hidden` and `attention` compare with, one for each student layer;
    /// `None` for the last layer of each group of the [`LayerMap`].
    pub layers: Option<Vec<usize>>,
    /// Teacher layers that the term `patience` compares with.
    pub pkd_layers: PkdLayers,
    /// Combination of the logits of several frozen teachers.
    pub ensemble: Ensemble,
    /// Stages in order; at least one, each with at least one term.
    pub stages: Vec<Stage>,
}

impl Method {
    /// Returns every term of every stage.
    pub fn terms(&self) -> impl Iterator<Item = &Term> {
        self.stages.iter().flat_map(|stage| &stage.terms)
    }

    /// Returns whether `is` holds for the kind of any term of any stage.
    pub fn any(&self, is: impl Fn(TermKind) -> bool) -> bool {
        self.terms().any(|term| is(term.kind))
    }

    /// Returns whether a student is trained.
    pub fn has_student(&self) -> bool {
        self.any(TermKind::needs_student)
    }

    /// Returns whether there is a teacher, joint or frozen.
    pub fn has_teacher(&self) -> bool {
        self.teacher != TeacherRole::Absent
    }

    /// Returns whether gradients are blended at any step.
    pub fn blends(&self) -> bool {
        self.beta.max() > 0.0
    }

    /// Returns whether each student layer stands for a group of teacher layers.
    pub fn needs_layer_map(&self) -> bool {
        self.blends() || self.layers.is_none() && self.any(TermKind::needs_layers)
    }

    /// Returns the index of the teacher's hidden state that state `i` of the student (1 to N) learns from, in the terms
    /// `hidden` and `attention`: the output of the layer that [`Method::layers`] names, or iK.
    ///
    /// # Panics
    /// If no layers are given and N does not divide L; the checks of a plan rule that out.
    pub fn teacher_state(&self, i: usize, teacher_layers: usize, student_layers: usize) -> usize {
        match &self.layers {
            Some(layers) => layers[i - 1] + 1,
            None => LayerMap::uniform(teacher_layers, student_layers)
                .expect("a method that compares layers has a student whose depth divides the teacher's")
                .teacher_state(i),
        }
    }

    /// Returns the indices of the teacher's hidden states that terms compare with, in ascending order.
    pub(crate) fn teacher_states(&self, teacher_layers: usize, student_layers: usize) -> Vec<usize> {
        let mut states = Vec::new();
        for term in self.terms() {
            match term.kind {
                TermKind::Embedding => states.push(0),
                TermKind::Cosine => states.push(teacher_layers),
                TermKind::Hidden => {
                    let state = |i| self.teacher_state(i, teacher_layers, student_layers);
                    states.extend((1..=student_layers).map(state));
                }
                _ => {}
            }
        }
        states.sort_unstable();
        states.dedup();
        states
    }
}
