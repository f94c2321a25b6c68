//! The best model so far: its metrics, and its folder, which is replaced whole or not at all.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::model::Role;
use crate::run_folder::atomic_file::replace_folder;
use crate::run_folder::provenance;
use crate::task::evaluation::Evaluation;

/// The best of one model's evaluations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Best {
    role: Role,
    metric: String,
    saved: Option<Saved>,
    /// Evaluations since.
    worse: u64,
}

/// A model that was the best.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Saved {
    step: u64,
    evaluation: Evaluation,
    /// A hash of the weights in its folder.
    weights: String,
}

impl Best {
    /// Nothing yet; `metric` decides.
    pub fn new(role: Role, metric: &str) -> Self {
        Self { role, metric: metric.to_owned(), saved: None, worse: 0 }
    }

    /// Takes the evaluation of step `step` and, if they are the best (a tie is not), saves the model by `save`, which returns
    /// a hash of its weights. Returns how many evaluations in a row were not the best.
    ///
    /// # Errors
    /// If the model cannot be saved; the one saved before stays.
    pub(crate) fn offer(
        &mut self,
        step: u64,
        evaluation: Evaluation,
        save: impl FnOnce() -> Result<String>,
    ) -> Result<u64> {
        let value = |evaluation: &Evaluation| evaluation.get(&self.metric).unwrap_or(f64::NEG_INFINITY);
        if self.saved.as_ref().is_some_and(|best| value(&best.evaluation) >= value(&evaluation)) {
            self.worse += 1;
            return Ok(self.worse);
        }
        self.saved = Some(Saved { step, evaluation, weights: save()? });
        self.worse = 0;
        Ok(0)
    }

    /// Puts a model's folder into that of a run, whole or not at all; returns a hash of its weights.
    ///
    /// # Errors
    /// If it cannot be written; the one that was there stays.
    pub(crate) fn save(role: Role, run: &Path, save: impl FnOnce(&Path) -> Result<()>) -> Result<String> {
        let folder = run.join(role.name());
        replace_folder(&folder, save)?;
        provenance::weights(&folder)
    }

    /// Counts evaluations that were not the best from here on.
    pub fn begin_stage(&mut self) {
        self.worse = 0;
    }

    /// Whose evaluations these are.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether a model was saved.
    pub fn is_saved(&self) -> bool {
        self.saved.is_some()
    }

    /// Whether the folder of a run holds just the model that this is about.
    pub(crate) fn is_in(&self, run: &Path) -> bool {
        let in_folder = || provenance::weights(&run.join(self.role.name())).ok();
        self.saved.as_ref().is_none_or(|saved| in_folder().is_some_and(|weights| weights == saved.weights))
    }

    /// Drops the evaluations.
    pub(crate) fn reset(&mut self) {
        (self.saved, self.worse) = (None, 0);
    }

    /// The step of the best evaluation, and what it said.
    pub fn evaluation(&self) -> Option<(u64, &Evaluation)> {
        self.saved.as_ref().map(|saved| (saved.step, &saved.evaluation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::evaluation::Metric;

    #[test]
    fn only_a_better_metric_replaces_the_folder() {
        let run = tempfile::tempdir().unwrap();
        let mut best = Best::new(Role::Student, "accuracy");
        let mut offer = |step: u64, accuracy| {
            let metrics = vec![Metric::plain("macro_f1", 1.0 - accuracy), Metric::plain("accuracy", accuracy)];
            let evaluation = Evaluation { metrics, ..Evaluation::default() };
            let write = |f: &Path| Ok(std::fs::write(f.join("step"), step.to_string())?);
            best.offer(step, evaluation, || Best::save(Role::Student, run.path(), write)).unwrap()
        };
        assert_eq!([offer(1, 0.5), offer(2, 0.7), offer(3, 0.7), offer(4, 0.6)], [0, 0, 1, 2]);
        assert_eq!(std::fs::read_to_string(run.path().join("student/step")).unwrap(), "2");
        assert_eq!(best.evaluation().unwrap().0, 2);
    }
}
