//! The part of a plan that belongs to a task.

use std::any::Any;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use nb_checkpoint::BertConfig;
use nb_data::read::Source;

use super::files::{Dev, all_files};
use super::train::TrainPlan;
use crate::config::{ConfigError, DataConfig, RunConfig};
use crate::method::{Method, TermKind};

/// A kind of task that a configuration can name.
pub trait TaskKind: Debug + Send + Sync {
    /// Returns the name in configurations and reports.
    fn name(&self) -> &'static str;

    /// Returns true if `term` can use texts without labels.
    fn uses_unlabelled(&self, term: TermKind) -> bool;

    /// Returns true if the task ranks texts by the scores of vectors, to which `head.score` and `head.scale` apply.
    fn ranks(&self) -> bool {
        false
    }

    /// Returns true if a teacher can be trained for the task. If not, the teacher is used as it comes.
    fn trains_teacher(&self) -> bool {
        true
    }

    /// Returns true if the task has readers, to which the section `reader` applies.
    fn has_readers(&self) -> bool {
        false
    }

    /// Checks the task's part of a configuration and finds its files.
    ///
    /// # Errors
    /// If a value cannot be used, or a file is missing.
    fn plan(&self, config: &RunConfig) -> Result<Arc<dyn TaskPlan>>;
}

/// The kinds of task that a configuration can name.
pub type TaskKinds = &'static [&'static dyn TaskKind];

/// The files and settings of a task, checked.
pub trait TaskPlan: Any + Debug + Send + Sync {
    /// Returns the name in configurations and reports.
    fn name(&self) -> &'static str;

    /// Returns the articles of the training rows.
    fn articles(&self) -> &Source;

    /// Returns the share of the training rows that is held out for development; `None` if development rows have separate
    /// files.
    fn dev_fraction(&self) -> Option<f64>;

    /// Returns the files of each split.
    fn split_files(&self) -> Vec<SplitFiles>;

    /// Fills in the task's defaults.
    fn complete(&self, config: &mut DataConfig);

    /// Checks that the task fits the shape of a model; `key` names the model in messages.
    ///
    /// # Errors
    /// If it does not.
    fn check_model(&self, _key: &str, _model: &BertConfig) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Checks that the task fits the method and the optimisation.
    ///
    /// # Errors
    /// If it does not.
    fn check_method(&self, _method: &Method, _train: &TrainPlan) -> Result<(), ConfigError> {
        Ok(())
    }
}

impl dyn TaskPlan {
    /// Returns the plan as type `T`, or `None` if it belongs to another task.
    pub fn downcast<T: TaskPlan>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }
}

/// The files of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitFiles {
    /// The split: `train`, `dev`, `test`, `unlabelled` or `eval`.
    pub split: &'static str,
    /// Its files.
    pub paths: Vec<PathBuf>,
}

/// The splits of a task whose files are of type `T`.
#[derive(Debug, Clone)]
pub struct Splits<T> {
    /// Training rows.
    pub train: T,
    /// Development rows.
    pub dev: Dev<T>,
    /// Held-out rows.
    pub test: Option<T>,
    /// A file of texts without labels.
    pub unlabelled: Option<Source>,
}

impl<T> Splits<T> {
    /// Returns the files of each split; `paths` returns the files of one split.
    pub fn files(&self, paths: impl Fn(&T) -> Vec<PathBuf>) -> Vec<SplitFiles> {
        let mut all = vec![SplitFiles { split: "train", paths: paths(&self.train) }];
        if let Dev::Given(dev) = &self.dev {
            all.push(SplitFiles { split: "dev", paths: paths(dev) });
        }
        if let Some(test) = &self.test {
            all.push(SplitFiles { split: "test", paths: paths(test) });
        }
        if let Some(unlabelled) = &self.unlabelled {
            all.push(SplitFiles { split: "unlabelled", paths: all_files(unlabelled) });
        }
        all
    }
}
