//! The terms of a method's loss, computed from the outputs of teacher and student.
//!
//! Every term is a sum over its unit divided by the count of that unit in the whole global batch ([`Counts`]), so the
//! terms of micro-batches add up to those of the batch.

use nb_loss::{SoftScaling, hard_cross_entropy, soft_cross_entropy, state_mse};
use nb_share::LayerMap;
use tch::Tensor;

use crate::method::{Method, TermKind};
use crate::task::Outputs;

/// Units in the whole global batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Real tokens.
    pub tokens: i64,
    /// Vectors that come out of pooling: sequences.
    pub pooled: i64,
    /// Rows of logits.
    pub rows: i64,
    /// Rows of logits with a label.
    pub labelled: i64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            tokens: self.tokens + other.tokens,
            pooled: self.pooled + other.pooled,
            rows: self.rows + other.rows,
            labelled: self.labelled + other.labelled,
        }
    }
}

/// What one model made of a micro-batch.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// E, H₁ … of the encoder.
    pub states: &'a [Tensor],
    /// Pooled vectors and logits.
    pub outputs: &'a Outputs,
}

/// Both models' outputs for a micro-batch, and what they are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Compared<'a> {
    /// The teacher's, where there is one.
    pub teacher: Option<Side<'a>>,
    /// The student's, where there is one.
    pub student: Option<Side<'a>>,
    /// One label for each row of logits.
    pub labels: &'a Tensor,
    /// Which teacher state each student state learns from.
    pub map: Option<LayerMap>,
}

impl Compared<'_> {
    /// One term, unweighted.
    ///
    /// # Panics
    /// If the method lets a term need a model that is not there; [`Method`]'s checks exclude it.
    pub fn term(&self, kind: TermKind, method: &Method, counts: Counts) -> Tensor {
        let student = || self.student.expect("a method with this term has a student");
        let teacher = || self.teacher.expect("a method with this term has a teacher");
        let map = || self.map.expect("a method with this term has a layer map");
        match kind {
            TermKind::Teacher => hard_cross_entropy(&teacher().outputs.logits, self.labels, counts.labelled),
            TermKind::Hard => hard_cross_entropy(&student().outputs.logits, self.labels, counts.labelled),
            TermKind::Embedding => state_mse(&teacher().states[0], &student().states[0], counts.tokens),
            TermKind::Hidden => (1..student().states.len())
                .map(|i| state_mse(&teacher().states[map().teacher_state(i)], &student().states[i], counts.tokens))
                .sum(),
            TermKind::Pooled => state_mse(&teacher().outputs.pooled, &student().outputs.pooled, counts.pooled),
            TermKind::Soft => {
                let t = method.temperature;
                let soft = soft_cross_entropy(&teacher().outputs.logits, &student().outputs.logits, t, counts.rows);
                match method.scaling {
                    SoftScaling::Plain => soft,
                    SoftScaling::TemperatureSquared => soft * (t * t),
                }
            }
        }
    }
}
