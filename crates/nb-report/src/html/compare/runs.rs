//! The learning curves of every run, in collapsible sections.

use maud::{Markup, html};

use crate::format::{plural, score};
use crate::html::page::{curves as figure, folded, grid};
use crate::html::run::{loss, metric_curve, title};
use crate::{Comparison, ReportError, Row, RunRecord};

/// Returns a collapsible section for each row, with loss and metric of each of its runs; `None` without a record of any
/// run.
pub(super) fn curves(comparison: &Comparison, runs: &[RunRecord]) -> Result<Option<Markup>, ReportError> {
    let mut folds = Vec::new();
    for row in &comparison.rows {
        let mut figures = Vec::new();
        for (name, value) in row.runs.iter().zip(row.scores.iter().map(Some).chain(std::iter::repeat(None))) {
            let Some(record) = runs.iter().find(|record| has_name(record, name)) else { continue };
            let plots = [figure(&loss(record))?, figure(&metric_curve(record, &comparison.metric))?];
            if let Some(plots) = grid(plots.into()) {
                let value = value.map(|value| format!(" · {}", score(*value))).unwrap_or_default();
                figures.push(html! { h4 { (name) (value) } (plots) });
            }
        }
        if !figures.is_empty() {
            folds.push(folded(&summary(row), &html! { @for figure in &figures { (figure) } }));
        }
    }
    Ok((!folds.is_empty()).then(|| html! { div.folds { @for fold in &folds { (fold) } } }))
}

fn has_name(record: &RunRecord, name: &str) -> bool {
    record.folder.file_name().is_some_and(|folder| folder == name) || title(record) == name
}

fn summary(row: &Row) -> String {
    format!("{}, {} ({})", row.label, plural(row.layers, "layer"), plural(row.runs.len() as u64, "run"))
}
