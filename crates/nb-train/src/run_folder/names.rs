//! The names of what a run folder contains besides the files of the record ([`nb_report::record`]).

/// The HTML report.
pub(crate) const REPORT: &str = "report.html";
/// The folder of the checkpoints in a run folder.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
