//! Whether the models are as right as they are sure.

use maud::{Markup, html};
use nb_eval::{Calibration, calibration};

use crate::html::format::score;
use crate::html::page::grid;
use crate::plot::{Ink, Reliability};
use crate::{Outcomes, ReportError, RunRecord};

const BINS: usize = 10;

/// A reliability diagram for each model whose confidence is known.
pub(super) fn diagrams(record: &RunRecord) -> Result<Option<Markup>, ReportError> {
    let Some(outcomes) = &record.outcomes else { return Ok(None) };
    let mut figures = Vec::new();
    for (name, ink) in [("student", Ink::Student), ("teacher", Ink::Teacher)] {
        if let Some((found, left_out)) = of(outcomes, name) {
            let drawn = Reliability { name, ink, bins: &found.bins }.draw()?;
            figures.push(Some(html! {
                figure {
                    figcaption {
                        span.title { (name) }
                        span.last { "expected calibration error " strong { (score(found.expected_error)) } }
                        @if left_out > 0 { span.last { (left_out) " rows without a confidence left out" } }
                    }
                    (drawn)
                }
            }));
        }
    }
    Ok(grid(figures))
}

/// The calibration of a model, and how many rows have no confidence.
fn of(outcomes: &Outcomes, model: &str) -> Option<(Calibration, usize)> {
    let confidence = outcomes.numbers.get(&format!("{model}.probability"))?;
    let predicted = outcomes.classes.get(&format!("{model}.predicted"))?;
    let truth = outcomes.classes.get("truth")?;
    let right = truth.iter().zip(predicted).map(|(truth, predicted)| truth == predicted);
    // Probabilities were rounded to f32 and may stand a hair outside of 0 to 1.
    let known = confidence.iter().zip(right).filter(|(p, _)| (-1e-5..=1.0 + 1e-5).contains(*p));
    let (known, right): (Vec<f64>, Vec<bool>) = known.map(|(p, right)| (p.clamp(0.0, 1.0), right)).unzip();
    let left_out = confidence.len() - known.len();
    Some((calibration(&known, &right, BINS).ok()?, left_out))
}
