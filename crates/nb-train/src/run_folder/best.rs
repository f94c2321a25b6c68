//! The best model so far: its metrics, and its folder, which is replaced atomically.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::atomic_file::replace_folder;
use crate::model::Role;
use crate::model::saved_folder::weights_digest;
use nb_rank::Measurements;

/// The best evaluation of one model.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Best {
    role: Role,
    metric: String,
    saved: Option<SavedBest>,
    /// Evaluations since the best one.
    #[serde(rename = "worse")]
    evals_since_best: u64,
}

/// A model that was saved as the best.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SavedBest {
    /// The step of its evaluation.
    pub(crate) step: u64,
    /// Its evaluation.
    pub(crate) evaluation: Measurements,
    /// A hash of the weights in its folder.
    weights: String,
}

impl Best {
    /// Starts without an evaluation; `metric` decides which evaluation is better.
    pub(crate) fn new(role: Role, metric: &str) -> Self {
        Self { role, metric: metric.to_owned(), saved: None, evals_since_best: 0 }
    }

    /// Takes the evaluation of step `step`. If it is the best so far (a tie is not), saves the model with `save`, which returns
    /// a hash of its weights. Returns the number of consecutive evaluations that were not the best.
    ///
    /// # Errors
    /// If the model cannot be saved; the previously saved model remains.
    pub(crate) fn offer(
        &mut self,
        step: u64,
        evaluation: Measurements,
        save: impl FnOnce() -> Result<String>,
    ) -> Result<u64> {
        let value = |evaluation: &Measurements| evaluation.get(&self.metric).unwrap_or(f64::NEG_INFINITY);
        if self.saved.as_ref().is_some_and(|best| value(&best.evaluation) >= value(&evaluation)) {
            self.evals_since_best += 1;
            return Ok(self.evals_since_best);
        }
        self.saved = Some(SavedBest { step, evaluation, weights: save()? });
        self.evals_since_best = 0;
        Ok(0)
    }

    /// Writes a model's folder into a run folder, atomically; returns a hash of its weights.
    ///
    /// # Errors
    /// If it cannot be written; an earlier folder remains.
    pub(crate) fn save(role: Role, run: &Path, save: impl FnOnce(&Path) -> Result<()>) -> Result<String> {
        let folder = run.join(role.name());
        replace_folder(&folder, save)?;
        weights_digest(&folder)
    }

    /// Resets the number of evaluations since the best one to 0.
    pub(crate) fn begin_stage(&mut self) {
        self.evals_since_best = 0;
    }

    /// Returns the model's role.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Returns whether a model was saved.
    pub(crate) fn is_saved(&self) -> bool {
        self.saved.is_some()
    }

    /// Returns whether the folder of a run contains exactly the model that was saved.
    pub(crate) fn is_in(&self, run: &Path) -> bool {
        let in_folder = || weights_digest(&run.join(self.role.name())).ok();
        self.saved.as_ref().is_none_or(|saved| in_folder().is_some_and(|weights| weights == saved.weights))
    }

    /// Drops the best evaluation and the number of evaluations since it.
    pub(crate) fn reset(&mut self) {
        (self.saved, self.evals_since_best) = (None, 0);
    }

    /// Returns the best evaluation and its step.
    pub(crate) fn evaluation(&self) -> Option<&SavedBest> {
        self.saved.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nb_rank::Metric;

    #[test]
    fn only_a_better_metric_replaces_the_folder() {
        let run = tempfile::tempdir().unwrap();
        let mut best = Best::new(Role::Student, "accuracy");
        let mut offer = |step: u64, accuracy| {
            let metrics = vec![Metric::new("macro_f1", 1.0 - accuracy), Metric::new("accuracy", accuracy)];
            let evaluation = Measurements { metrics, ..Measurements::default() };
            let write = |f: &Path| Ok(std::fs::write(f.join("step"), step.to_string())?);
            best.offer(step, evaluation, || Best::save(Role::Student, run.path(), write)).unwrap()
        };
        assert_eq!([offer(1, 0.5), offer(2, 0.7), offer(3, 0.7), offer(4, 0.6)], [0, 0, 1, 2]);
        assert_eq!(std::fs::read_to_string(run.path().join("student/step")).unwrap(), "2");
        assert_eq!(best.evaluation().unwrap().step, 2);
    }
}
