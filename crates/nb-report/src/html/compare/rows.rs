//! The name, the colour and the score of a row of a comparison.

use maud::{Markup, html};

use crate::Comparison;
use crate::format::score;
use crate::plot::Ink;

/// Formats mean and spread for a table cell.
pub(super) fn with_spread(mean: f64, spread: Option<f64>) -> Markup {
    html! { (score(mean)) @if let Some(spread) = spread { " " small { "± " (score(spread)) } } }
}

/// Returns the colour of a method, by its position among the labels of the comparison.
pub(super) fn ink(comparison: &Comparison, label: &str) -> Ink {
    let mut labels: Vec<&str> = Vec::new();
    for row in &comparison.rows {
        if !labels.contains(&row.label.as_str()) {
            labels.push(&row.label);
        }
    }
    Ink::Series(labels.iter().position(|other| *other == label).unwrap_or(0))
}

/// Returns the name of a row, with its depth if the comparison has several depths.
pub(super) fn row_name(comparison: &Comparison, label: &str, layers: u64) -> String {
    let has_other_depths = comparison.rows.iter().any(|row| row.layers != layers);
    if has_other_depths { format!("{label} {layers}L") } else { label.to_owned() }
}
