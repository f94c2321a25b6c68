//! The configuration of a run, section by section.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checkpoints::CheckpointsConfig;
use super::choices::{DeviceChoice, PrecisionChoice};
use super::data::{DataConfig, ReaderConfig};
use super::head::HeadConfig;
use super::method::MethodConfig;
use super::models::{StudentConfig, TeacherConfig};
use super::threads::ThreadsChoice;
use super::train::TrainConfig;

/// The configuration of a run.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Configuration of a NewsBERT run")]
pub struct RunConfig {
    /// Name of the run; by default the name of the configuration file.
    pub name: Option<String>,
    /// Folder of the run; by default `runs/<name>`.
    pub output: Option<PathBuf>,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Device to compute on.
    #[serde(default)]
    pub device: DeviceChoice,
    /// Number format of the matrix products.
    #[serde(default)]
    pub precision: PrecisionChoice,
    /// CPU threads per process.
    #[serde(default)]
    pub threads: ThreadsChoice,
    /// Task that the models are trained for.
    pub task: String,
    /// Texts to train and evaluate on.
    pub data: DataConfig,
    /// Head: pooling and score.
    #[serde(default)]
    pub head: HeadConfig,
    /// Reader model (recommend).
    #[serde(default)]
    pub reader: ReaderConfig,
    /// Large model.
    pub teacher: TeacherConfig,
    /// Small model.
    #[serde(default)]
    pub student: StudentConfig,
    /// Method by which the student learns.
    #[serde(default)]
    pub method: MethodConfig,
    /// Optimisation.
    #[serde(default)]
    pub train: TrainConfig,
    /// Checkpoints to resume from.
    #[serde(default)]
    pub checkpoints: CheckpointsConfig,
}

impl RunConfig {
    /// Returns the JSON schema (draft 2020-12) of the configuration, by which editors complete and check it.
    /// `tasks` are the tasks that it may name.
    pub fn schema(tasks: &[&str]) -> serde_json::Value {
        let mut schema = schemars::schema_for!(Self).to_value();
        schema["properties"]["task"]["enum"] = tasks.into();
        schema
    }
}
