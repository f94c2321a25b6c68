//! Calibration: the accuracy of the models compared with their confidence.

use maud::{Markup, html};
use nb_eval::calibration;

use crate::format::score;
use crate::html::page::grid;
use crate::plot::{Ink, Reliability};
use crate::record::Classes;
use crate::{ReportError, RunRecord};

const BINS: usize = 10;

/// Probabilities were rounded to f32, so they may be this far outside 0 to 1.
const ROUNDING: f64 = 1e-5;

/// Returns a reliability diagram for each model whose confidences are known.
pub(super) fn diagrams(record: &RunRecord) -> Result<Option<Markup>, ReportError> {
    let Some(outcomes) = &record.outcomes else { return Ok(None) };
    let models = [("student", Ink::Student, &outcomes.student), ("teacher", Ink::Teacher, &outcomes.teacher)];
    let mut figures = Vec::new();
    for (name, ink, outcomes) in models {
        let classes = outcomes.as_ref().and_then(|outcomes| outcomes.classes.as_ref());
        figures.push(classes.map(|classes| diagram(name, ink, classes)).transpose()?.flatten());
    }
    Ok(grid(figures))
}

/// Returns the diagram of a model; `None` if no row has a confidence.
fn diagram(name: &str, ink: Ink, classes: &Classes) -> Result<Option<Markup>, ReportError> {
    let (mut confidence, mut right) = (Vec::new(), Vec::new());
    for (row, &probability) in classes.probability.iter().enumerate() {
        let probability = f64::from(probability);
        if (-ROUNDING..=1.0 + ROUNDING).contains(&probability) {
            confidence.push(probability.clamp(0.0, 1.0));
            right.push(classes.truth.get(row) == classes.predicted.get(row));
        }
    }
    let skipped = classes.probability.len() - confidence.len();
    let Ok(calibration) = calibration(&confidence, &right, BINS) else { return Ok(None) };
    let drawn = Reliability { name, ink, bins: &calibration.bins }.draw()?;
    Ok(Some(html! {
        figure {
            figcaption {
                span.title { (name) }
                span.last { "expected calibration error " strong { (score(calibration.expected_error)) } }
                @if skipped > 0 { span.last { (skipped) " rows without a confidence were skipped" } }
            }
            (drawn)
        }
    }))
}
