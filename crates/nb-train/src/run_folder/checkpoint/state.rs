//! The state of a run in a checkpoint, apart from its tensors.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use crate::method::TermKind;
use crate::run_folder::best::Best;
use crate::run_folder::clock::Clock;

/// The state of a run, apart from its parameters and their moments.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct State {
    /// Updates made, including those skipped because they were not finite.
    pub step: u64,
    /// The best evaluation of each model that is trained.
    pub best: Vec<Best>,
    /// Time spent in steps.
    pub clock: Clock,
    /// Number of steps in which a term had no unit, by term.
    #[serde(rename = "without_unit")]
    pub empty_terms: BTreeMap<TermKind, u64>,
    /// Updates that were skipped because they were not finite.
    #[serde(rename = "left_out")]
    pub skipped: u64,
}

/// `state.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    /// The state of the run.
    pub state: State,
    /// Size of `metrics.jsonl` at that step, in bytes.
    pub metrics: u64,
    /// The identity of the run.
    pub identity: Identity,
}
