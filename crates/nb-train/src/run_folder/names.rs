//! The names of the files in a run folder.

/// The resolved configuration of a run, present from the start.
pub(crate) const CONFIG: &str = "config.yaml";
/// The result of a run, present once the run has finished.
pub(crate) const SUMMARY: &str = "summary.json";
/// The log of steps and evaluations, one line each.
pub(crate) const METRICS: &str = "metrics.jsonl";
/// Each model's outcome on each row.
pub(crate) const OUTCOMES: &str = "outcomes.safetensors";
/// The HTML report.
pub(crate) const REPORT: &str = "report.html";
/// The folder of the checkpoints in a run folder.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
