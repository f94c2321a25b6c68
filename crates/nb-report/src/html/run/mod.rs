//! The page of one run: what came out, how it got there, where it goes wrong, and what it was made from.

mod calibration;
mod confusion;
mod headline;
mod metrics;
mod setup;
mod training;

use maud::{Markup, html};
use serde_json::Value;

use super::format::{plural, task};
use super::page::{notes, page, section};
use super::read::{at, number, text};
use crate::{ReportError, RunRecord};

pub(super) use metrics::curve as metric_curve;
pub(super) use training::loss;

/// The report of a run as a self-contained HTML document.
///
/// What the run folder lacks is left out of the page: a run without a teacher, or one that logged no step, has a
/// shorter report and is no error. Long series are thinned to a few hundred points, which the page says.
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
        (section("Where it errs", "", confusion::matrices(record)))
        (section("Calibration", CALIBRATION, calibration::diagrams(record)?))
        (section("Made from", "", Some(setup::tables(record))))
    };
    Ok(page(title(record), "run report", &lead(&record.summary), &body))
}

const CALIBRATION: &str = "Is a prediction of which the model is 90 % sure right nine times out of ten? On the diagonal \
                           it is; below it the model is surer than it should be. Grey bars count the predictions.";

/// The name of a run, else that of its folder.
pub(super) fn title(record: &RunRecord) -> &str {
    let folder = record.folder.file_name().and_then(|name| name.to_str());
    text(&record.summary, &["name"]).or(folder).unwrap_or("run")
}

/// One line that says what kind of run it was.
fn lead(summary: &Value) -> Markup {
    let layers = |model: &str| at(summary, &[model, "layers"]).as_u64().map(|n| plural(n, "layer"));
    let student = layers("student").map(|layers| match self::layers_of_teacher(summary) {
        Some(teacher) => format!("{layers} from a teacher of {teacher}"),
        None => layers,
    });
    let parts = [
        text(summary, &["task"]).map(|key| task(key).to_owned()),
        text(summary, &["method"]).map(|method| format!("method {method}")),
        student,
        at(summary, &["seed"]).as_u64().map(|seed| format!("seed {seed}")),
        number(summary, &["train", "steps"]).map(|steps| plural(steps as u64, "step")),
        number(summary, &["train", "seconds"]).map(super::format::duration),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    html! { @if !parts.is_empty() { p.lead { (parts.join(" · ")) } } }
}

fn layers_of_teacher(summary: &Value) -> Option<u64> {
    at(summary, &["teacher", "layers"]).as_u64()
}

fn warnings(summary: &Value) -> Markup {
    let said = at(summary, &["warnings"]).as_array().into_iter().flatten();
    let mut lines: Vec<String> = said.map(super::format::plain).collect();
    for (term, steps) in at(summary, &["terms_without_unit"]).as_object().into_iter().flatten() {
        if let Some(steps) = steps.as_u64().filter(|steps| *steps > 0) {
            lines.push(format!("The loss term {term} had nothing to be computed from in {}.", plural(steps, "step")));
        }
    }
    notes("Warnings", "warning", &lines)
}
