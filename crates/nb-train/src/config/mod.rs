//! The configuration as the user writes it: the YAML of a run, read strictly.
//!
//! The types mirror the file and do nothing else. [`crate::plan::Plan`] checks that the values are compatible and derives
//! the settings of the run; [`crate::method::Method`] does so for the section `method`.
//!
//! Elsewhere in the crate, a [`RunConfig`] is used only as a whole: the resolved configuration, which is stored in the run
//! folder and compared when a run resumes. A plan contains some simple choices unchanged, such as [`EvalEvery`],
//! [`CheckpointEvery`], [`TermKind`] and [`UnknownLabels`].

mod checkpoints;
mod choices;
mod class_weights;
mod data;
mod error;
mod head;
mod key;
mod locate;
mod method;
mod models;
mod overrides;
mod positions;
mod ramp;
mod read;
mod recipe;
mod run;
mod schema;
#[cfg(test)]
mod schema_tests;
mod student_init;
mod term;
mod threads;
mod train;
mod trained_layers;
mod tree;

pub use checkpoints::{CheckpointEvery, CheckpointsConfig, OnCheckpointError};
pub use choices::{ColumnKey, ColumnKeys, DeviceChoice, PrecisionChoice, QuotingChoice, UnknownLabels};
pub use class_weights::ClassWeights;
pub use data::{ArticlesChoice, ClickedBeforeChoice, ColumnsConfig, DataConfig, DataFormat, ReaderConfig, data_field};
pub(crate) use data::{data_truncation, data_windows};
pub use error::ConfigError;
pub use head::{HeadConfig, PoolingChoice, ReaderPoolingChoice, ScoreChoice};
pub use key::KeyPath;
pub(crate) use locate::{locate, locate_below};
pub use method::{
    BlendChoice, EnsembleChoice, MethodConfig, PkdLayersChoice, PresetChoice, ShareChoice, StageConfig,
    TeacherRoleChoice, WeightsConfig,
};
pub use models::{OutputsChoice, RandomConfig, StudentConfig, StudentTrainConfig, TeacherConfig, TeacherTrainConfig};
pub use overrides::Override;
pub use ramp::{BetweenConfig, RampConfig, RampShape, RuleChoice, RuleConfig, TemperatureConfig};
pub use read::read;
pub(crate) use read::{anchor_paths, folder, load, stem};
pub use run::RunConfig;
pub use student_init::StudentInit;
pub use term::TermKind;
pub use threads::ThreadsChoice;
pub use train::{EvalEvery, NotFiniteChoice, ScheduleChoice, TrainConfig};
pub use trained_layers::TrainedLayers;
pub(crate) use tree::Tree;
