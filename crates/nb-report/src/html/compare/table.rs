//! The table of a comparison: the untouched and the trained teacher, then every row.

use maud::{Markup, html};

use super::rows::with_spread;
use crate::format::{NONE, count, name, number, p_value, percent, score, signed};
use crate::{Against, Comparison, Row, TeacherRow};

/// Returns a table of all rows, sorted by depth and, within a depth, in the order of the comparison. The best row of
/// each depth has a mark.
pub(super) fn rows(comparison: &Comparison) -> Markup {
    let columns = Columns::of(comparison);
    let mut rows: Vec<&Row> = comparison.rows.iter().collect();
    rows.sort_by_key(|row| row.layers);
    let caption = format!("Methods and depths by {}", name(&comparison.metric));
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table.rows {
                caption { span { (caption) } }
                thead {
                    tr {
                        th scope="col" { "method" }
                        th scope="col" { "layers" }
                        th scope="col" { (name(&comparison.metric)) }
                        @if columns.before { th scope="col" { "before" } }
                        th scope="col" { "kept" }
                        @if columns.tests {
                            th scope="col" { "to " (comparison.baseline) }
                            th scope="col" { "p (Holm)" }
                        }
                        @for metric in &columns.metrics { th scope="col" { (name(metric)) } }
                        th scope="col" { "ms per text" }
                        @if columns.throughput { th scope="col" { "texts/s" } }
                        th scope="col" { "parameters" }
                        th scope="col" { "MB" }
                        @for cost in &columns.costs { th scope="col" { (cost.title) } }
                    }
                }
                tbody {
                    @if let Some(row) = &comparison.untouched { (teacher("untouched teacher", row, None, &columns)) }
                    @if let Some(row) = &comparison.teacher { (teacher("teacher", row, Some(1.0), &columns)) }
                    @for row in rows { (student(comparison, row, &columns)) }
                }
            }
        }
    }
}

/// The columns that only some comparisons have.
struct Columns<'a> {
    /// The metric before any training.
    before: bool,
    /// The difference to the baseline, and its p value.
    tests: bool,
    /// Texts per second.
    throughput: bool,
    /// The metrics besides the comparison's own.
    metrics: Vec<&'a str>,
    /// The cost of the training, and the quality at equal cost.
    costs: Vec<CostColumn>,
}

/// A column about the cost of the training.
struct CostColumn {
    title: &'static str,
    value: fn(&Row) -> Option<f64>,
    format: fn(f64) -> String,
}

impl<'a> Columns<'a> {
    fn of(comparison: &'a Comparison) -> Self {
        let rows = &comparison.rows;
        let mut metrics: Vec<&str> = rows.iter().flat_map(|row| row.metrics.keys().map(String::as_str)).collect();
        metrics.sort_unstable();
        metrics.dedup();
        metrics.retain(|metric| *metric != comparison.metric);
        let is_known = |column: &CostColumn| rows.iter().any(|row| (column.value)(row).is_some());
        let costs = [
            CostColumn { title: "seconds", value: Row::seconds, format: number },
            CostColumn { title: "processor seconds", value: Row::processor_seconds, format: number },
        ];
        let equal = CostColumn { title: "at equal cost", value: |row| row.at_equal_cost, format: score };
        let equal = comparison.shown_budget().map(|_| equal);
        Self {
            before: rows.iter().any(|row| row.untouched.is_some()),
            costs: costs.into_iter().filter(is_known).chain(equal).collect(),
            tests: rows.iter().any(|row| row.against.is_some()),
            throughput: rows.iter().any(|row| row.texts_per_second.is_some()),
            metrics,
        }
    }
}

fn teacher(label: &str, row: &TeacherRow, kept: Option<f64>, columns: &Columns) -> Markup {
    html! {
        tr.teacher {
            th scope="row" { (label) }
            td { (row.layers) }
            td { (score(row.score)) }
            @if columns.before { td { (NONE) } }
            td { (optional(kept, percent)) }
            @for _ in 0..columns.metrics.len() + 2 * usize::from(columns.tests) { td { (NONE) } }
            td { (optional(row.milliseconds_per_text, number)) }
            @if columns.throughput { td { (optional(row.texts_per_second, count)) } }
            td { (count(row.parameters as f64)) }
            td { (number(row.parameters as f64 * 4e-6)) }
            @for _ in &columns.costs { td { (NONE) } }
        }
    }
}

fn student(comparison: &Comparison, row: &Row, columns: &Columns) -> Markup {
    let best = comparison.rows.iter().all(|other| other.layers != row.layers || other.mean <= row.mean);
    let first =
        comparison.rows.iter().find(|other| other.layers == row.layers).is_some_and(|first| std::ptr::eq(first, row));
    html! {
        tr.depth[first] {
            th scope="row" { (row.label) @if row.label != row.method { " " small { (row.method) } } }
            td { (row.layers) }
            td.best[best] {
                (with_spread(row.mean, row.spread))
                @if best { span.star title="best at its depth" { " ★" } }
            }
            @if columns.before { td { (optional(row.untouched, score)) } }
            td { (optional(row.kept, percent)) }
            @if columns.tests { (against(row.against.as_ref())) }
            @for metric in &columns.metrics {
                td { @match row.metrics.get(*metric) { Some(s) => (with_spread(s.mean, s.spread)), None => (NONE) } }
            }
            td { (optional(row.milliseconds_per_text, number)) }
            @if columns.throughput { td { (optional(row.texts_per_second, count)) } }
            td { (count(row.parameters as f64)) }
            td { (number(row.megabytes)) }
            @for cost in &columns.costs { td { (optional((cost.value)(row), cost.format)) } }
        }
    }
}

fn against(test: Option<&Against>) -> Markup {
    html! {
        @match test {
            Some(test) => {
                td { (signed(test.difference)) " " small { "[" (signed(test.low)) ", " (signed(test.high)) "]" } }
                td { (p_value(test.p_holm)) }
            }
            None => { td { (NONE) } td { (NONE) } }
        }
    }
}

fn optional(value: Option<f64>, format: fn(f64) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), format)
}
