//! The page of a run: results, training, errors, calibration, and the sources of the run.

mod calibration;
mod confusion;
mod headline;
mod metrics;
mod setup;
mod training;

use maud::{Markup, html};

use super::page::{notes, page, section};
use crate::format::{duration, plural};
use crate::record::{ModelSummary, Named, Summary};
use crate::{ReportError, RunRecord};

pub(super) use metrics::curve as metric_curve;
pub(super) use training::loss;

/// Returns the report of a run as a self-contained HTML document.
///
/// The page omits what the record lacks, so a run without a teacher or without logged steps has a shorter report. Long
/// series are thinned to a few hundred points, and a note on the page says so.
///
/// # Errors
/// If a plot cannot be drawn.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # std::fs::write(folder.path().join("config.yaml"), "name: quickstart\n")?;
/// # std::fs::write(folder.path().join("metrics.jsonl"), "")?;
/// # std::fs::write(folder.path().join("summary.json"), r#"{"name": "quickstart", "student": {"accuracy": 0.75}}"#)?;
/// let record = nb_report::RunRecord::read(folder.path())?;
/// let page = nb_report::run_report(&record)?;
/// assert!(page.contains("<h1>quickstart</h1>") && page.contains("0.7500"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_report(record: &RunRecord) -> Result<String, ReportError> {
    let body = html! {
        (warnings(&record.summary))
        (headline::tiles(record))
        (section("Results", "", metrics::results(record)?))
        (section("Training", &training::about(record), training::curves(record)?))
        (section("Errors by class", "", confusion::matrices(record)))
        (section("Calibration", CALIBRATION, calibration::diagrams(record)?))
        (section("Sources", "", Some(setup::tables(record))))
    };
    Ok(page(title(record), "run report", &lead(&record.summary), &body))
}

const CALIBRATION: &str = "Is a prediction with a confidence of 90 % right nine times out of ten? On the diagonal it is; \
                           below it the model is overconfident. Grey bars count the predictions.";

/// Returns the name of a run, or the name of its folder if the run has none.
pub(super) fn title(record: &RunRecord) -> &str {
    let folder = record.folder.file_name().and_then(|name| name.to_str());
    record.summary.name.as_deref().or(folder).unwrap_or("run")
}

/// Returns the line below the title: task, method, models, seed, steps and duration.
fn lead(summary: &Summary) -> Markup {
    let layers = |model: &Option<ModelSummary>| model.as_ref()?.layers.map(|n| plural(n, "layer"));
    let teacher = summary.teacher.as_ref().and_then(|teacher| teacher.layers);
    let student = layers(&summary.student).map(|layers| match teacher {
        Some(teacher) => format!("{layers}, from a teacher with {teacher}"),
        None => layers,
    });
    let train = summary.train.as_ref();
    let parts = [
        summary.task.as_ref().map(|task| format!("task {task}")),
        summary.method.as_ref().map(|method| format!("method {method}")),
        student,
        summary.seed.map(|seed| format!("seed {seed}")),
        train.and_then(|train| train.steps).map(|steps| plural(steps, "step")),
        train.and_then(|train| train.seconds).map(duration),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    html! { @if !parts.is_empty() { p.lead { (parts.join(" · ")) } } }
}

fn warnings(summary: &Summary) -> Markup {
    let mut lines = summary.warnings.clone().unwrap_or_default();
    for (term, steps) in summary.terms_without_unit.iter().flat_map(Named::iter).filter(|(_, steps)| **steps > 0) {
        lines.push(format!("The loss term {term} had no data in {}.", plural(*steps, "step")));
    }
    notes("Warnings", "warning", &lines)
}
