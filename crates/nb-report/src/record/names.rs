//! The names of the files of a record.

/// The resolved configuration of a run, present from the start.
pub const CONFIG_FILE: &str = "config.yaml";
/// The result of a run, present once the run has finished.
pub const SUMMARY_FILE: &str = "summary.json";
/// The log of steps and evaluations, one line each.
pub const METRICS_FILE: &str = "metrics.jsonl";
/// Each model's outcome on each row.
pub const OUTCOMES_FILE: &str = "outcomes.safetensors";
/// The table of a comparison.
pub(crate) const COMPARISON_FILE: &str = "compare.json";
