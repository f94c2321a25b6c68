//! The settings that were tried, and the chosen settings.

use maud::{Markup, html};

use crate::format::{name, plural, score};
use crate::html::page::folded;
use crate::{Comparison, ReportError, Sweep};

/// The explanation above the tries.
pub(super) const ABOUT: &str = "Each method at each depth was tried with several settings, on data that the table \
                                does not use; the best settings were chosen.";

/// Returns a collapsible section with a table for each method and depth; `None` if nothing was tried.
pub(super) fn tries(comparison: &Comparison) -> Result<Option<Markup>, ReportError> {
    let sweeps: Vec<&Sweep> = comparison.sweeps.iter().filter(|sweep| !sweep.tries.is_empty()).collect();
    if sweeps.is_empty() {
        return Ok(None);
    }
    let each = sweeps.iter().map(|sweep| {
        let chosen = sweep.tries.iter().find(|tried| tried.chosen);
        let chosen = chosen.map(|tried| format!(": {}", settings(&tried.settings))).unwrap_or_default();
        let title = format!("{}, {}{chosen}", sweep.label, plural(sweep.layers, "layer"));
        folded(&title, &table(sweep, &name(&comparison.metric)))
    });
    Ok(Some(html! { div.folds { @for sweep in each { (sweep) } } }))
}

fn settings(settings: &std::collections::BTreeMap<String, String>) -> String {
    let each = settings.iter().map(|(key, value)| format!("{key} = {value}"));
    each.collect::<Vec<_>>().join(", ")
}

/// Returns a table with a row for each try, best first, and bars scaled from the worst to the best score.
fn table(sweep: &Sweep, metric: &str) -> Markup {
    let mut keys: Vec<&String> = sweep.tries.iter().flat_map(|tried| tried.settings.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut tries: Vec<_> = sweep.tries.iter().collect();
    tries.sort_by(|a, b| b.score.total_cmp(&a.score));
    let finite = || tries.iter().map(|tried| tried.score).filter(|score| score.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let length = |score: f64| if high > low { 100.0 * (score - low) / (high - low) } else { 100.0 };
    let caption = format!("Trials of {}, {}", sweep.label, plural(sweep.layers, "layer"));
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table.rows {
                caption { span { (caption) } }
                thead { tr { @for key in &keys { th scope="col" { (key) } } th scope="col" { (metric) } th scope="col" { "" } } }
                tbody {
                    @for tried in tries {
                        tr {
                            @for key in &keys { td { (tried.settings.get(*key).map_or("–", String::as_str)) } }
                            td.best[tried.chosen] { (score(tried.score)) }
                            td.bar {
                                @if tried.score.is_finite() { span style=(format!("width:{:.0}%", length(tried.score).max(1.0))) {} }
                                @if tried.chosen { " ★ chosen" }
                            }
                        }
                    }
                }
            }
        }
    }
}
