//! The name, the colour and the score of a row of a comparison.

use maud::{Markup, html};

use crate::Comparison;
use crate::format::score;
use crate::plot::Ink;

/// Mean and spread for a cell of a table.
pub(super) fn with_spread(mean: f64, spread: Option<f64>) -> Markup {
    html! { (score(mean)) @if let Some(spread) = spread { " " small { "± " (score(spread)) } } }
}

/// The colour of a method, by its place among the labels of the comparison.
pub(super) fn ink(comparison: &Comparison, label: &str) -> Ink {
    let mut labels: Vec<&str> = Vec::new();
    for row in &comparison.rows {
        if !labels.contains(&row.label.as_str()) {
            labels.push(&row.label);
        }
    }
    Ink::Series(labels.iter().position(|other| *other == label).unwrap_or(0))
}

/// The name of a row, with its depth if the comparison has several.
pub(super) fn row_name(comparison: &Comparison, label: &str, layers: u64) -> String {
    let depths = comparison.rows.iter().any(|row| row.layers != layers);
    if depths { format!("{label} {layers}L") } else { label.to_owned() }
}
